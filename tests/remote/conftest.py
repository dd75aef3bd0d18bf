"""Servers of the tests in this folder: each is started at its first use, once for the run."""

from __future__ import annotations

import base64
import copy
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support import dropbox_stub, file_servers, libcloud_servers, swift_server
from tests.support.dropbox_stub import DropboxStub
from tests.support.file_servers import Azurite, FakeGCS, FileServer
from tests.support.libcloud_servers import LocalCloud, S3Cloud
from tests.support.relay import Relay, relay_to
from tests.support.swift_server import Swift


def pytest_itemcollected(item: pytest.Item) -> None:
    # AzureStorage's, on every construction, from Python 3.12 on.
    item.add_marker(pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning"))


@pytest.fixture(scope="session")
def sftp() -> Iterator[FileServer]:
    with file_servers.file_server("sftp") as server:
        yield server


@pytest.fixture(scope="session")
def ftp() -> Iterator[FileServer]:
    with file_servers.file_server("ftp") as server:
        yield server


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    with file_servers.azurite() as server:
        yield server


@pytest.fixture(scope="session")
def fake_gcs() -> Iterator[FakeGCS]:
    with file_servers.fake_gcs() as server:
        yield server


@pytest.fixture(scope="session")
def swift() -> Iterator[Swift]:
    with swift_server.swift() as server:
        yield server


@pytest.fixture(scope="session")
def dropbox() -> Iterator[DropboxStub]:
    with dropbox_stub.dropbox() as server:
        yield server


@pytest.fixture(scope="session")
def libcloud_s3() -> Iterator[S3Cloud]:
    with libcloud_servers.s3() as server:
        yield server


@pytest.fixture(scope="session")
def libcloud_local() -> Iterator[LocalCloud]:
    with libcloud_servers.local() as server:
        yield server


#: The option that holds the credential, where it is nothing else.
LOGINS = {"s3": "secret_key", "swift": "api_key", "dropbox": "oauth2_access_token", "libcloud-s3": "key"}


@dataclass(frozen=True)
class Far:
    """A place of the test's own on one of the servers, behind a relay that can take it down."""

    server: Any
    place: str
    relay: Relay

    @property
    def kind(self) -> str:
        kind: str = self.server.kind
        return kind

    @property
    def keeps_content_type(self) -> bool:
        return hasattr(self.server, "content_type")

    @property
    def names(self) -> list[str]:
        names: list[str] = self.server.names(self.place)
        return names

    def read(self, name: str) -> bytes:
        content: bytes = self.server.read(self.place, name)
        return content

    def put(self, name: str, content: bytes) -> None:
        self.server.put(self.place, name, content)

    def content_type(self, name: str) -> str:
        content_type: str = self.server.content_type(self.place, name)
        return content_type

    def tier(self, options: Mapping[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
        """The settings of a tier that reaches it through the relay."""
        exact = {"file_overwrite": False} if self.kind == "s3" else {}
        tier: dict[str, Any] = self.server.tier(self.place, self.relay.port, **exact | dict(options or {}))
        return tier | settings

    def tier_with_wrong_login(self, secret: str) -> dict[str, Any]:
        tier = copy.deepcopy(self.tier())
        options = tier["OPTIONS"]
        if self.kind == "sftp":
            options["params"]["password"] = secret
        elif self.kind == "ftp":
            options["location"] = options["location"].replace(self.server.password, secret)
        elif self.kind == "azure":
            key = base64.b64encode(secret.encode()).decode()
            options["connection_string"] = self.server.connection_string(self.relay.port, key)
        else:
            options[LOGINS[self.kind]] = secret
        return tier

    def tier_without_place(self) -> dict[str, Any]:
        """The settings of a tier whose bucket (or container, or folder) is not there."""
        tier = copy.deepcopy(self.tier())
        missing = (
            f"no-such-{uuid.uuid4().hex[:12]}"  # of its own: SeaweedFS makes the bucket that is written to
        )
        for option, value in tier["OPTIONS"].items():
            if isinstance(value, str):
                tier["OPTIONS"][option] = value.replace(self.place, missing)
        return tier


#: The fixture of each kind of server.
KINDS = {
    "s3": "seaweedfs", "sftp": "sftp", "ftp": "ftp", "azure": "azurite", "google": "fake_gcs",
    "swift": "swift", "dropbox": "dropbox", "libcloud-s3": "libcloud_s3",
}  # fmt: skip


@pytest.fixture(params=KINDS)
def far(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Far]:
    """Run the test with each kind of server."""
    server = request.getfixturevalue(KINDS[request.param])
    with relay_to(server.port) as relay:
        for name, value in server.environment(relay.port).items():
            monkeypatch.setenv(name, value)
        yield Far(server, server.new_place(), relay)
