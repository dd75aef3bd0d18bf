"""Settings of the album: SQLite, a Celery broker in a folder, pictures on disk and then in S3.

Where things lie comes from the environment, so that the demo can run on a scratch folder and its own S3 server.
"""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(os.environ.get("ALBUM_DATA", BASE_DIR / "data")).resolve()
BROKER_DIR = DATA_DIR / "broker"
MEDIA_ROOT = DATA_DIR / "media"

for folder in (BROKER_DIR / "queue", BROKER_DIR / "control", MEDIA_ROOT):
    folder.mkdir(parents=True, exist_ok=True)

# ---- the part that is about queued storage ----

QUEUED_STORAGE_TIERS = {
    "media": {
        "TIERS": {
            # Uploads are saved here, and acknowledged at the speed of a local disk.
            "disk": {
                "BACKEND": "django.core.files.storage.FileSystemStorage",
                "OPTIONS": {"location": MEDIA_ROOT, "base_url": "/media/"},
            },
            # A Celery worker brings them here.
            "s3": {
                "BACKEND": "storages.backends.s3.S3Storage",
                "OPTIONS": {
                    "bucket_name": os.environ.get("ALBUM_S3_BUCKET", "album"),
                    "endpoint_url": os.environ.get("ALBUM_S3_ENDPOINT"),  # None: Amazon's own
                    "region_name": os.environ.get("ALBUM_S3_REGION", "us-east-1"),
                    "access_key": os.environ.get("ALBUM_S3_ACCESS_KEY"),
                    "secret_key": os.environ.get("ALBUM_S3_SECRET_KEY"),
                    "addressing_style": "path",
                    "signature_version": "s3v4",
                    "querystring_expire": 600,
                },
                # Only this album writes to the bucket: no look-up there is needed to find a free name.
                "EXCLUSIVE": True,
            },
        },
        # What a field says itself wins: see album/models.py.
        "POLICY": "transfer-and-delete",
    },
}
QUEUED_STORAGE_RETRIES = 8
QUEUED_STORAGE_RETRY_DELAY = 2  # seconds, doubling: short, for one is watching
QUEUED_STORAGE_SWEEP_INTERVAL = 15

CELERY_BROKER_URL = "filesystem://localhost/"
CELERY_BROKER_TRANSPORT = "album_site.broker:Transport"  # kombu's, mended
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # The same folder in both directions: the site writes messages, the worker takes them.
    "data_folder_in": str(BROKER_DIR / "queue"),
    "data_folder_out": str(BROKER_DIR / "queue"),
    "control_folder": str(BROKER_DIR / "control"),
    "polling_interval": 0.2,
}
CELERY_TASK_IGNORE_RESULT = True
CELERY_BEAT_SCHEDULE_FILENAME = str(DATA_DIR / "beat-schedule")
CELERY_TIMEZONE = "UTC"

# ---- an ordinary Django project ----

SECRET_KEY = os.environ.get("ALBUM_SECRET_KEY", "of-the-example-only")
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]

INSTALLED_APPS = [
    "album",
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
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA_DIR / "album.sqlite3",
        # Site and worker write to one file: let them queue for the lock at the start of a transaction.
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    },
}
CACHES = {
    # In a folder, for the site and the worker to share.
    "default": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": DATA_DIR / "cache",
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
MEDIA_URL = "/media/"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"queued_storage": {"handlers": ["console"], "level": "INFO", "propagate": False}},
}
