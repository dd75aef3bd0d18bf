from django.urls import path

from . import views

app_name = "documents"
urlpatterns = [
    path("", views.DocumentsView.as_view(), name="documents"),
    path("<int:pk>/", views.DocumentView.as_view(), name="document"),
    path("<int:pk>/open/", views.open_document, name="open"),
    path("<int:pk>/delete/", views.delete, name="delete"),
]
