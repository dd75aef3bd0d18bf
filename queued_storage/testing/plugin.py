"""A pytest plugin: the markers of the conformance kit, and its report.

    pytest_plugins = ["queued_storage.testing.plugin"]     # in the conftest.py at the top

The kit itself is imported when the first test is collected: Django's settings need not be there before.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

OPTION = "--conformance-report"
MARKERS = {
    "tier_conformance": "the function returns a storage, which should do what a tier should do",
    "chain_conformance": "the function returns a storage, with which chains should do what they should do",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("queued_storage")
    group.addoption(
        OPTION, metavar="FILE", help="write what the conformance tests found to FILE, as lines of JSON"
    )


def pytest_configure(config: pytest.Config) -> None:
    for name, says in MARKERS.items():
        config.addinivalue_line("markers", f"{name}(kind, cannot, roles, content_type, patience): {says}")


def pytest_sessionstart(session: pytest.Session) -> None:
    # The workers of xdist send what they find to the process that started them.
    path = session.config.getoption(OPTION)
    if path and not hasattr(session.config, "workerinput"):
        from .conformance.report import Report

        session.config.pluginmanager.register(Report(session.config.invocation_params.dir / Path(path)))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if _is_marked(metafunc.definition):
        from .conformance import marking

        marking.parametrize(metafunc)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests of chains have the database, as pytest-django's marker does."""
    for item in items:
        if item.get_closest_marker("chain_conformance") and not item.get_closest_marker("django_db"):
            item.add_marker(pytest.mark.django_db)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Any:
    if not _is_marked(pyfuncitem):
        return None
    from .conformance import marking

    return marking.call(pyfuncitem)


def _is_marked(item: Any) -> bool:
    return any(item.get_closest_marker(name) for name in MARKERS)
