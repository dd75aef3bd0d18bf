from __future__ import annotations

from django.apps import AppConfig


class GalleryConfig(AppConfig):
    name = "tests.third_party.gallery"
    label = "gallery"
