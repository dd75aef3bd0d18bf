"""Settings of a throw-away project: the tests' own, and over them what its settings.json says."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.base_settings import *  # noqa: F403
from tests.support import databases

PROJECT_FILE = Path(os.environ["QUEUED_STORAGE_TEST_PROJECT"])

globals().update(json.loads(PROJECT_FILE.read_text()))

if any(database["ENGINE"].endswith("mysql") for database in globals()["DATABASES"].values()):
    databases.import_mysql_driver()
