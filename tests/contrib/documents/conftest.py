"""Places on servers of GridFS and CouchDB, behind relays that can take them down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.utils.module_loading import import_string

from queued_storage.contrib.storages.gridfs import close_clients

from tests.support import document_servers
from tests.support.document_servers import MongoEco, PouchDB
from tests.support.relay import Relay, relay_to


@dataclass(frozen=True)
class Documents:
    """A place of the test's own on a server, and storages for it."""

    server: Any
    place: str
    relay: Relay

    def tier(self, **options: Any) -> dict[str, Any]:
        tier: dict[str, Any] = self.server.tier(self.place, self.relay.port, **options)
        return tier

    def make(self, **options: Any) -> Any:
        tier = self.tier(**options)
        return import_string(tier["BACKEND"])(**tier["OPTIONS"])

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
def mongoeco() -> Iterator[MongoEco]:
    with document_servers.mongoeco(in_memory=True) as server:
        yield server


@pytest.fixture(scope="session")
def pouchdb() -> Iterator[PouchDB]:
    with document_servers.pouchdb() as server:
        yield server


@pytest.fixture
def gridfs(mongoeco: MongoEco) -> Iterator[Documents]:
    with relay_to(mongoeco.port) as relay:
        yield Documents(mongoeco, mongoeco.new_place(), relay)
        relay.hand_on()  # or the clients would wait for an answer to their good-bye
        close_clients()


@pytest.fixture
def couchdb(pouchdb: PouchDB) -> Iterator[Documents]:
    with relay_to(pouchdb.port) as relay:
        yield Documents(pouchdb, pouchdb.new_place(), relay)


@pytest.fixture(params=["gridfs", "couchdb"])
def documents(request: pytest.FixtureRequest) -> Documents:
    """Run the test on each of the servers."""
    found: Documents = request.getfixturevalue(request.param)
    return found
