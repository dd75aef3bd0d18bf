from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from .accounts import SignUpView

urlpatterns = [
    path("", include("album.urls")),
    path("films/", include("films.urls")),
    path("documents/", include("documents.urls")),
    path("placement/", include("placement.urls")),
    # The files themselves: one URL for each, wherever it lies.
    path("files/", include("queued_storage.urls")),
    path("accounts/login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("accounts/sign-up/", SignUpView.as_view(), name="sign-up"),
    path("admin/", admin.site.urls),
]
