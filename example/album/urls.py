from django.urls import path

from . import views

app_name = "album"
urlpatterns = [
    path("", views.AlbumView.as_view(), name="album"),
    path("upload/", views.UploadView.as_view(), name="upload"),
    path("places.json", views.places_json, name="places"),
    path("photo/<int:pk>/", views.PhotoView.as_view(), name="photo"),
    path("photo/<int:pk>/transfer/", views.transfer, name="transfer"),
    path("photo/<int:pk>/delete/", views.delete, name="delete"),
]
