"""Enough of a Django project to import the package for its reference."""

SECRET_KEY = "of-the-docs-only"  # noqa: S105
INSTALLED_APPS = ["queued_storage"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
USE_TZ = True
