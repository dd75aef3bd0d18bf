from django.urls import path

from .views import PlacementView

app_name = "placement"
urlpatterns = [path("", PlacementView.as_view(), name="placement")]
