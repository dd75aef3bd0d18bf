"""The Celery app of the tests, for this process and, by ``celery -A tests.celery_app``, for real workers."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

app = Celery("queued_storage_tests")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
