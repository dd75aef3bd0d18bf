"""One URL for each file of the chains that have ``"URLS": "stable"``: ``…/<chain>/<name>``."""

from __future__ import annotations

from django.urls import path, register_converter

from . import views


class NameConverter:
    """Any name: slashes, and even line breaks, are a part of it."""

    regex = r"[\s\S]+"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


register_converter(NameConverter, "queued_storage_name")

app_name = "queued_storage"
urlpatterns = [path("<str:chain>/<queued_storage_name:name>", views.serve, name="file")]
