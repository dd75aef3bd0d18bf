"""Settings of the site whose admin is pictured: a catalog in SQLite, made up of what a busy week leaves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.base_settings import *  # noqa: F403
from tests.base_settings import INSTALLED_APPS, MIDDLEWARE

ROOT = Path(os.environ["QUEUED_STORAGE_SCREENSHOTS"])
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(ROOT / "db.sqlite3")}}
DEBUG = True
INSTALLED_APPS = [
    *(app for app in INSTALLED_APPS if app != "tests.testapp"),
    "django.contrib.staticfiles",
]
MIDDLEWARE = [*MIDDLEWARE, "tests.screenshots.site.strict"]
DISK = "django.core.files.storage.FileSystemStorage"


def _disk(name: str, **keys: Any) -> dict[str, Any]:
    return {"BACKEND": DISK, "OPTIONS": {"location": str(ROOT / name)}} | keys


QUEUED_STORAGE_TIERS: dict[str, Any] = {
    "media": {
        "TIERS": {
            "disk": _disk("disk"),
            "bucket": _disk("bucket", TIMEOUT=5),
            "vault": _disk("vault", TIMEOUT=5),
            "old-archive": _disk("archive", READ_ONLY=True),
        },
        "POLICY": "transfer",
    },
    "scans": {
        "TIERS": {"desk": _disk("desk", SHARED=False), "bucket": _disk("scans")},
        "POLICY": "transfer",
        "URLS": "stable",
    },
    "invoices": {"TIERS": {"disk": _disk("invoices"), "safe": _disk("safe")}, "POLICY": "delayed"},
}

QUEUED_STORAGE_HOST = "web-1"

#: What the pages must do without: no script and no style of their own inside of them, and nothing from elsewhere.
POLICY = "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'"


def strict(get_response: Any) -> Any:
    """Send the policy with each page: the browser then tells what breaks it."""

    def middleware(request: Any) -> Any:
        response = get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response

    return middleware
