"""Nothing to install and nothing to start: SQLite, a cache and a broker in folders, the S3 server of the demo."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parents[2]
DATA_DIR = Path(os.environ.get("ALBUM_DATA", BASE_DIR / "data")).resolve()
BROKER_DIR = DATA_DIR / "broker"

for folder in (BROKER_DIR / "queue", BROKER_DIR / "control"):
    folder.mkdir(parents=True, exist_ok=True)

DEBUG = True
SECRET_KEY = os.environ.get("ALBUM_SECRET_KEY", "of-the-example-only")
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]

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

CELERY_BROKER_URL = "filesystem://localhost/"
CELERY_BROKER_TRANSPORT = "album_site.broker:Transport"  # kombu's, mended
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # The same folder in both directions: the site writes messages, the worker takes them.
    "data_folder_in": str(BROKER_DIR / "queue"),
    "data_folder_out": str(BROKER_DIR / "queue"),
    "control_folder": str(BROKER_DIR / "control"),
    "polling_interval": 0.2,
}
