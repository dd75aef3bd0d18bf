from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "album_site"
