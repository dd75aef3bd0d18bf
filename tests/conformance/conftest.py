from __future__ import annotations

from pathlib import Path

import pytest

SETTINGS = """
from tests.base_settings import *

DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project that runs the kit, in a process of its own: ``project.runpytest_subprocess()``."""
    pytester.makeini(
        f"[pytest]\npythonpath = . {Path(__file__).parents[2]}\n"
        "addopts = --ds=kit_settings --strict-markers --strict-config -p no:cacheprovider -p no:randomly\n"
    )
    pytester.makeconftest('pytest_plugins = ["queued_storage.testing.plugin"]\n')
    pytester.makepyfile(kit_settings=SETTINGS)
    return pytester
