"""Servers of documents: mongoeco, which speaks MongoDB's protocol, and pouchdb-server, which speaks CouchDB's."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.support.file_servers import NODE, need_modules, secret
from tests.support.processes import Process, free_ports
from tests.support.restartable import Running, running
from tests.support.servers import temporary_folder
from tests.support.services import HOST, not_installed

HERE = Path(__file__).parent
#: An interpreter with mongoeco, which needs Python >= 3.13 whatever the tests run on.
MONGOECO = Path(
    os.environ.get("QUEUED_STORAGE_TEST_MONGOECO") or HERE.parent.parent / ".mongoeco" / "bin" / "python"
)


@dataclass(eq=False)
class MongoEco(Running):
    """An emulator of MongoDB; each ``place`` is a database, with the bucket "fs"."""

    port: int
    folder: Path
    #: Whether it keeps nothing on its disk, which is much quicker.
    in_memory: bool = False
    user: str = "tester"
    password: str = field(default_factory=secret, repr=False)

    kind = "gridfs"

    def launch(self) -> list[Process]:
        file = "" if self.in_memory else str(self.folder / "mongo.db")
        command = [str(MONGOECO), str(HERE / "mongo_server.py"), file, str(self.port), self.user]
        return [Process(command, env={"MONGO_PASSWORD": self.password})]

    def version(self) -> str:
        told = "from importlib.metadata import version; print(version('mongoeco'))"
        number = subprocess.run([MONGOECO, "-c", told], check=True, capture_output=True, text=True).stdout
        return f"mongoeco {number.strip()}"

    def uri(self, port: int | None = None) -> str:
        # The mechanism that pymongo would choose is not the one that mongoeco masters.
        return f"mongodb://{HOST}:{port or self.port}/?directConnection=true&authMechanism=SCRAM-SHA-256"

    @contextmanager
    def client(self) -> Iterator[Any]:
        from pymongo import MongoClient

        options: dict[str, Any] = {"serverSelectionTimeoutMS": 1000, "socketTimeoutMS": 20_000}
        with MongoClient(self.uri(), username=self.user, password=self.password, **options) as client:
            yield client

    @contextmanager
    def bucket(self, place: str) -> Iterator[Any]:
        """pymongo's own GridFSBucket."""
        from gridfs import GridFSBucket

        with self.client() as client:
            yield GridFSBucket(client[place])

    def answers(self) -> bool:
        from pymongo.errors import PyMongoError

        try:
            with self.client() as client:
                client.admin.command("ping")
        except PyMongoError:
            return False
        return True

    def new_place(self, name: str = "") -> str:
        return f"place-{uuid.uuid4().hex[:12]}"

    def read(self, place: str, name: str) -> bytes:
        with self.bucket(place) as bucket, bucket.open_download_stream_by_name(name) as stream:
            content: bytes = stream.read()
            return content

    def content_type(self, place: str, name: str) -> str:
        with self.client() as client:
            return str(client[place]["fs.files"].find_one({"filename": name})["metadata"]["contentType"])

    def names(self, place: str) -> list[str]:
        """The names of all revisions, of files that are not published too: there should be none of either."""
        with self.client() as client:
            return sorted(each["filename"] for each in client[place]["fs.files"].find())

    def put(self, place: str, name: str, content: bytes) -> None:
        with self.bucket(place) as bucket:
            bucket.upload_from_stream(name, content)

    def tier(self, place: str, port: int | None = None, **extra: Any) -> dict[str, Any]:
        options = {
            "uri": self.uri(port),
            "database": place,
            "username": self.user,
            "password": self.password,
            "base_url": "/gridfs/",
        }
        return {
            "BACKEND": "queued_storage.contrib.storages.gridfs.GridFSStorage",
            "OPTIONS": options | extra,
        }


@contextmanager
def mongoeco(*, in_memory: bool = False) -> Iterator[MongoEco]:
    """A server whose data lies in a folder that goes with it, or in memory."""
    if not MONGOECO.exists():
        not_installed(
            "mongoeco", "make test-storages, or name its interpreter in QUEUED_STORAGE_TEST_MONGOECO"
        )
    need_modules("pymongo")
    from queued_storage.contrib.storages.gridfs import close_clients

    with (
        temporary_folder("mongo") as folder,
        running(lambda: MongoEco(free_ports(1)[0], folder, in_memory)) as server,
    ):
        yield server
        close_clients()


@dataclass(eq=False)
class PouchDB(Running):
    """An emulator of CouchDB; each ``place`` is a database."""

    port: int
    folder: Path
    user: str = "tester"
    password: str = field(default_factory=secret, repr=False)

    kind = "couchdb"

    def launch(self) -> list[Process]:
        program = pouchdb_program()
        assert program is not None
        config, temporary = self.folder / "config.json", self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        if not config.exists():
            log = {"file": str(self.folder / "log.txt"), "level": "error"}
            config.write_text(json.dumps({"admins": {self.user: self.password}, "log": log}))
        arguments = ["--host", HOST, "--port", str(self.port), "--dir", str(self.folder / "data")]
        quiet = ["--config", str(config), "--no-stdout-logs"]
        return [
            Process([*program, *arguments, *quiet], cwd=self.folder, env={"TMPDIR": str(temporary)}),
        ]

    def version(self) -> str:
        package = json.loads((NODE / "node_modules" / "pouchdb-server" / "package.json").read_text())
        return f"pouchdb-server {package['version']}"

    @functools.cached_property
    def session(self) -> Any:
        import requests

        session = requests.Session()
        session.auth = (self.user, self.password)
        return session

    def ask(self, method: str, *path: str, **arguments: Any) -> Any:
        address = "/".join([f"http://{HOST}:{self.port}", *(quote(each, safe="") for each in path)])
        response = self.session.request(method, address, timeout=20, **arguments)
        response.raise_for_status()
        return response

    def answers(self) -> bool:
        import requests

        try:
            self.ask("GET", "_all_dbs")
        except requests.RequestException:
            return False
        return True

    def new_place(self, name: str = "") -> str:
        place = f"place-{uuid.uuid4().hex[:12]}"
        self.ask("PUT", place)
        return place

    def document(self, place: str, name: str) -> dict[str, Any]:
        document: dict[str, Any] = self.ask("GET", place, name).json()
        return document

    def read(self, place: str, name: str) -> bytes:
        attachment = self.document(place, name).get("attachment", "content")
        content: bytes = self.ask("GET", place, name, attachment).content
        return content

    def content_type(self, place: str, name: str) -> str:
        document = self.document(place, name)
        return str(document["_attachments"][document["attachment"]]["content_type"])

    def names(self, place: str) -> list[str]:
        return sorted(row["id"] for row in self.ask("GET", place, "_all_docs").json()["rows"])

    def put(self, place: str, name: str, content: bytes) -> None:
        """Put a file as storages of old did: an attachment with the name "content"."""
        revision = self.ask("PUT", place, name, json={"size": len(content)}).json()["rev"]
        headers = {"Content-Type": "application/octet-stream"}
        self.ask("PUT", place, name, "content", params={"rev": revision}, data=content, headers=headers)

    def tier(self, place: str, port: int | None = None, **extra: Any) -> dict[str, Any]:
        options = {
            "url": f"http://{HOST}:{port or self.port}",
            "database": place,
            "username": self.user,
            "password": self.password,
            "base_url": "/couchdb/",
        }
        return {
            "BACKEND": "queued_storage.contrib.storages.couchdb.CouchDBStorage",
            "OPTIONS": options | extra,
        }


def pouchdb_program() -> list[str] | None:
    """The command of pouchdb-server, installed in ``.node``; None without it, or without node."""
    node = shutil.which("node")
    script = NODE / "node_modules" / "pouchdb-server" / "bin" / "pouchdb-server"
    return [node, str(script)] if node and script.exists() else None


@contextmanager
def pouchdb() -> Iterator[PouchDB]:
    """A server whose data lies in a folder that goes with it."""
    if pouchdb_program() is None:
        not_installed("pouchdb-server", "npm install --prefix .node pouchdb-server")
    need_modules("requests")
    with temporary_folder("pouchdb") as folder, running(lambda: PouchDB(free_ports(1)[0], folder)) as server:
        yield server
