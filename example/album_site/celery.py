"""The Celery application; its worker moves the pictures."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "album_site.settings")

app = Celery("album_site")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
