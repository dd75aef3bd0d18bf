"""Settings of the site. ALBUM_STACK=servers has it run on PostgreSQL and Redis; without, it needs no server but S3.

Where S3 is comes from the environment too, so that the demo can run on a scratch folder and its own S3 server.
"""

import os
from typing import Any

from django.core.exceptions import ImproperlyConfigured

match STACK := os.environ.get("ALBUM_STACK", "embedded"):
    case "embedded":
        from .stacks.embedded import *  # noqa: F403
        from .stacks.embedded import DATA_DIR
    case "servers":
        from .stacks.servers import *  # noqa: F403
        from .stacks.servers import DATA_DIR
    case _:
        raise ImproperlyConfigured(f"ALBUM_STACK={STACK} is not known; write embedded or servers.")

# ---- the part that is about queued storage ----


def disk_tier(folder: str) -> dict[str, Any]:
    """Uploads are saved here, and acknowledged at the speed of a local disk."""
    return {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": DATA_DIR / "media" / folder},
    }


def s3_tier(folder: str) -> dict[str, Any]:
    """A Celery worker brings the files here: to a bucket that the chains share, each below a prefix of its own."""
    return {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "bucket_name": os.environ.get("ALBUM_S3_BUCKET", "album"),
            "location": folder,
            "endpoint_url": os.environ.get("ALBUM_S3_ENDPOINT"),  # None: Amazon's own
            "region_name": os.environ.get("ALBUM_S3_REGION", "us-east-1"),
            "access_key": os.environ.get("ALBUM_S3_ACCESS_KEY"),
            "secret_key": os.environ.get("ALBUM_S3_SECRET_KEY"),
            "addressing_style": "path",
            "signature_version": "s3v4",
        },
        # Only this site writes there: no look-up is needed to find a free name.
        "EXCLUSIVE": True,
    }


QUEUED_STORAGE_TIERS = {
    # Pictures, for everybody. A file has one URL for its whole life, /files/media/…: the
    # include in urls.py answers it.
    "media": {
        "TIERS": {"disk": disk_tier("pictures"), "s3": s3_tier("pictures")},
        # What a field says itself wins: see album/models.py.
        "POLICY": "transfer-and-delete",
        "URLS": "stable",
        # Django sends the bytes, from whichever tier. Cheaper: "redirect" where browsers
        # reach S3, and "x-accel-redirect" for a disk behind nginx.
        "SERVE": "stream",
    },
    # Films, for everybody: the URL answers ranges from the disk and from S3, so that a
    # player may seek all the time.
    "films": {
        "TIERS": {"disk": disk_tier("films"), "s3": s3_tier("films")},
        "POLICY": "transfer-and-delete",
        "URLS": "stable",
        "SERVE": "stream",
    },
    # Documents, for their owners: a URL opens nothing unless it is signed, and the
    # signature runs out.
    "documents": {
        "TIERS": {"disk": disk_tier("documents"), "s3": s3_tier("documents")},
        "POLICY": "transfer-and-delete",
        "URLS": "stable",
        "PRIVATE": True,
        # Of the links that the site itself opens; those to share say theirs.
        "LINK_LIFETIME": "PT1M",
    },
}
QUEUED_STORAGE_RETRIES = 8
QUEUED_STORAGE_RETRY_DELAY = 2  # seconds, doubling: short, for one is watching
QUEUED_STORAGE_SWEEP_INTERVAL = 15

CELERY_TASK_IGNORE_RESULT = True
CELERY_BEAT_SCHEDULE_FILENAME = str(DATA_DIR / "beat-schedule")
CELERY_TIMEZONE = "UTC"

# ---- an ordinary Django project ----

INSTALLED_APPS = [
    "album_site",  # before the admin, whose templates it goes before
    "album",
    "films",
    "documents",
    "placement",
    "queued_storage",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    *(["whitenoise.middleware.WhiteNoiseMiddleware"] if STACK == "servers" else []),
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "album_site.urls"
WSGI_APPLICATION = "album_site.wsgi.application"
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
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "album:album"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"queued_storage": {"handlers": ["console"], "level": "INFO", "propagate": False}},
}
