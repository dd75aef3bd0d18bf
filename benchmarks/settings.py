"""Settings of the measured processes: those of the tests' throw-away projects, with what only benchmarks need."""

from __future__ import annotations

import os
import sys
from typing import Any

from tests.support.project_settings import *  # noqa: F403

#: Modules (a comma-separated list) that are to be missing, as where nobody installed them.
MISSING = "QUEUED_STORAGE_BENCH_MISSING"

for _name in filter(None, os.environ.get(MISSING, "").split(",")):
    sys.modules[_name] = None  # type: ignore[assignment]


# The tests' own app has chains of its own.
INSTALLED_APPS = ["django.contrib.contenttypes", "queued_storage"]
ROOT_URLCONF = None


class CatalogRouter:
    """Has the catalog in the database that a row of the benchmarks says."""

    database = "default"

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return self.database if model._meta.app_label == "queued_storage" else None

    db_for_read = db_for_write


DATABASE_ROUTERS = ["benchmarks.settings.CatalogRouter"]
