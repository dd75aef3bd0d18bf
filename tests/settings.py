"""Settings of the test suite.

TEST_DB (sqlite, postgresql, mysql) says which database is "default". PostgreSQL and MariaDB are further aliases
where they can be reached, for the tests that take the fixture ``catalog_db``.
"""

from __future__ import annotations

import os

from tests.base_settings import *  # noqa: F403
from tests.base_settings import RUN_DIR
from tests.support import databases

DATABASES = databases.for_tests(os.environ.get("TEST_DB", "sqlite"), RUN_DIR)
DATABASE_ROUTERS = ["tests.routers.CatalogRouter"]
