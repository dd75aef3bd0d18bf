"""Settings that the tests and the throw-away projects share: everything but the databases."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

#: Whatever this process writes outside pytest's tmp_path; made and removed by conftest.
RUN_DIR = Path(tempfile.gettempdir()) / f"queued-storage-tests-{os.getpid()}"

SECRET_KEY = "only-for-tests"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "tests.urls"
STATIC_URL = "/static/"
MEDIA_ROOT = str(RUN_DIR / "media")
MEDIA_URL = "/media/"
# Users are made by many tests; a slow hash proves nothing here.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.admin",
    "queued_storage",
    "queued_storage.contrib.storages",
    "tests.testapp",
]

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# A busy machine takes seconds for what is meant to take milliseconds; the tests of G8 set a bound of their own.
QUEUED_STORAGE_DEADLINE = 20
# What is promised holds without the fast paths too: QUEUED_STORAGE_TEST_FAST_PATHS=off runs any of the tests so.
QUEUED_STORAGE_FAST_PATHS = os.environ.get("QUEUED_STORAGE_TEST_FAST_PATHS", "on") != "off"

CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

# A broker that keeps messages in this process: nothing leaves it unless a test asks for a real one.
CELERY_BROKER_URL = "memory://"
CELERY_TASK_IGNORE_RESULT = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False

DISK = "django.core.files.storage.FileSystemStorage"

QUEUED_STORAGE_TIERS: dict[str, Any] = {
    "media": {
        "TIERS": {
            "disk": {"BACKEND": DISK, "OPTIONS": {"location": str(RUN_DIR / "disk"), "base_url": "/media/"}},
            "vault": {
                "BACKEND": DISK,
                "OPTIONS": {"location": str(RUN_DIR / "vault"), "base_url": "/vault/"},
            },
        },
        "POLICY": "transfer",
    },
}
