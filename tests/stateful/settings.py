"""Settings of the state machine's own process: a database of its own, in memory where the machine has such a place."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from tests.base_settings import *  # noqa: F403

_MEMORY = Path("/dev/shm")  # noqa: S108 - only a folder of its own in there
FOLDER = Path(tempfile.mkdtemp(prefix="stateful-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None))
DATABASES: dict[str, Any] = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(FOLDER / "db.sqlite3"),
        "OPTIONS": {"timeout": 5, "init_command": "PRAGMA synchronous=OFF; PRAGMA journal_mode=MEMORY"},
    }
}
INSTALLED_APPS = ["queued_storage"]
MIDDLEWARE: list[str] = []
QUEUED_STORAGE_TIERS: dict[str, Any] = {}
QUEUED_STORAGE_DISPATCHER = "tests.stateful.world.Recorder"
LOGGING_CONFIG = None
