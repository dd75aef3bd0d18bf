"""Fixtures of the tests of all storages: each test runs on every kind; its server is started once for the run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connections

from tests import routers
from tests.storages import kinds
from tests.storages.kinds import Kind

#: The property in which a test of a dead server reports how long reads took.
TIMES = "seconds of reads past a dead tier"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what needs a server on every kind, or on those that the module names in KINDS."""
    if "running" in metafunc.fixturenames:
        chosen = getattr(metafunc.module, "KINDS", kinds.KINDS)
        # With -n and --dist loadgroup, one process runs all that needs the same server.
        groups = [
            pytest.param(kind, id=kind.name, marks=pytest.mark.xdist_group(kind.name)) for kind in chosen
        ]
        metafunc.parametrize("running", groups, indirect=True, scope="session")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec is not None and isinstance(kind := callspec.params.get("running"), Kind):
            for each in kind.warnings:
                item.add_marker(pytest.mark.filterwarnings(each))
            if kind.database:
                item.add_marker(database_marker(kind.database), append=False)


def database_marker(alias: str) -> pytest.MarkDecorator:
    """Access to the database of that alias, with real transactions; to none where it cannot be reached."""
    return pytest.mark.django_db(transaction=True, databases=[alias] if alias in connections else [])


@dataclass(frozen=True)
class Place:
    """A place of the test's own on one kind of storage."""

    kind: Kind
    server: Any
    name: str

    @property
    def names(self) -> list[str]:
        names: list[str] = self.server.names(self.name)
        return names

    def read(self, name: str) -> bytes:
        content: bytes = self.server.read(self.name, name)
        return content

    def put(self, name: str, content: bytes) -> None:
        self.server.put(self.name, name, content)

    @property
    def keeps_content_type(self) -> bool:
        return hasattr(self.server, "content_type")

    def content_type(self, name: str) -> str:
        content_type: str = self.server.content_type(self.name, name)
        return content_type

    def tier(self, port: int | None = None, **settings: Any) -> dict[str, Any]:
        """The settings of a tier on it; through a relay if its port is given."""
        tier: dict[str, Any] = self.server.tier(self.name, port, **self.kind.options)
        return tier | settings


@pytest.fixture(scope="session")
def running(request: pytest.FixtureRequest) -> Iterator[tuple[Kind, Any]]:
    kind: Kind = request.param
    with kind.start() as server:
        yield kind, server


@pytest.fixture
def place(running: tuple[Kind, Any], monkeypatch: pytest.MonkeyPatch) -> Place:
    kind, server = running
    if kind.database:
        monkeypatch.setattr(routers.CatalogRouter, "alias", kind.database)
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return Place(kind, server, server.new_place())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how long reads took that met a dead tier, a line for each storage."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    found = sorted(value for report in reports for name, value in report.user_properties if name == TIMES)
    if not found:
        return
    places = list(found[0][2])
    terminalreporter.section("milliseconds of a read past a dead tier, first time / afterwards")
    terminalreporter.line(f"{'':32}" + "".join(f"{place:>16}" for place in places))
    for title, death, times in found:
        cells = (
            f"{first * 1000:.0f} / {then * 1000:.0f}" for first, then in (times[each] for each in places)
        )
        terminalreporter.line(f"{title + ' ' + death:32}" + "".join(f"{cell:>16}" for cell in cells))
