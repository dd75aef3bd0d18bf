from django.conf import settings
from django.conf.urls.static import static
from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("album.urls")),
    path("admin/", admin.site.urls),
    # The first tier's own addresses, such as those of the thumbnails. Static files of a folder: DEBUG only.
    *static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),
]
