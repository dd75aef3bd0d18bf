from __future__ import annotations

from django.urls import path

from . import views

app_name = "queued_storage_prometheus"
urlpatterns = [path("", views.metrics, name="metrics"), path("catalog", views.catalog, name="catalog")]
