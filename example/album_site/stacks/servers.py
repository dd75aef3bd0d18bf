"""As in production: PostgreSQL, Redis, an S3 server of one's own, and no DEBUG.

PostgreSQL is found as psql finds it, by PGHOST, PGPORT, PGUSER and PGPASSWORD.
"""

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parents[2]
# The first tier lies here. Site and worker must see the same folder, and it must outlive both.
DATA_DIR = Path(os.environ.get("ALBUM_DATA", BASE_DIR / "data")).resolve()

DEBUG = False
SECRET_KEY = os.environ.get("ALBUM_SECRET_KEY", "")
if not SECRET_KEY:
    raise ImproperlyConfigured(
        "ALBUM_STACK=servers needs ALBUM_SECRET_KEY: links to documents are signed with it. Make one with "
        "python -c 'import secrets; print(secrets.token_urlsafe(50))'."
    )
ALLOWED_HOSTS = os.environ.get("ALBUM_HOSTS", "127.0.0.1,localhost").split(",")
CSRF_TRUSTED_ORIGINS = [f"https://{host}" for host in ALLOWED_HOSTS]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ.get("PGDATABASE", "album"),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    },
}

REDIS = os.environ.get("ALBUM_REDIS", "redis://127.0.0.1:6379")
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": f"{REDIS}/1",
        # The cache only saves look-ups: one that hangs must not hold up a page.
        "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 1},
    },
}
CELERY_BROKER_URL = f"{REDIS}/0"

# WhiteNoise serves the static files that `manage.py collectstatic` has put here.
STATIC_ROOT = BASE_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
