from django.urls import path

from . import views

app_name = "films"
urlpatterns = [
    path("", views.FilmsView.as_view(), name="films"),
    path("<int:pk>/", views.FilmView.as_view(), name="film"),
    path("<int:pk>/delete/", views.delete, name="delete"),
]
