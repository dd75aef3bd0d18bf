"""Places on servers of MogileFS and WebDAV, behind relays that can take them down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.utils.module_loading import import_string

from tests.support import wire_servers
from tests.support.relay import Relay, relay_to
from tests.support.wire_servers import MogileFS, WebDAV


@dataclass(frozen=True)
class Remote:
    """A place of the test's own on a server, and storages for it."""

    server: Any
    place: str
    relay: Relay

    def make(self, **options: Any) -> Any:
        tier = self.server.tier(self.place, self.relay.port)
        return import_string(tier["BACKEND"])(**tier["OPTIONS"] | options)

    @property
    def kind(self) -> str:
        kind: str = self.server.kind
        return kind

    @property
    def names(self) -> list[str]:
        names: list[str] = self.server.names(self.place)
        return names

    def put(self, name: str, content: bytes) -> None:
        self.server.put(self.place, name, content)

    def read(self, name: str) -> bytes:
        content: bytes = self.server.read(self.place, name)
        return content


@pytest.fixture(scope="session")
def mogilefs_server() -> Iterator[MogileFS]:
    with wire_servers.mogilefs() as server:
        yield server


@pytest.fixture(scope="session")
def webdav_server() -> Iterator[WebDAV]:
    with wire_servers.webdav() as server:
        yield server


def remote_on(server: Any) -> Iterator[Remote]:
    with relay_to(server.port) as relay:
        yield Remote(server, server.new_place(), relay)


@pytest.fixture
def mogilefs(mogilefs_server: MogileFS) -> Iterator[Remote]:
    yield from remote_on(mogilefs_server)


@pytest.fixture
def webdav(webdav_server: WebDAV) -> Iterator[Remote]:
    yield from remote_on(webdav_server)


@pytest.fixture(params=["mogilefs", "webdav"])
def remote(request: pytest.FixtureRequest) -> Remote:
    """Run the test on each of the servers."""
    found: Remote = request.getfixturevalue(request.param)
    return found
