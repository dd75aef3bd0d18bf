"""Storages without a server, with the face that servers have in the tests of all storages."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import django
from django.core.files.base import ContentFile
from django.db import connections

from queued_storage.contrib.storages.database import DatabaseStorage
from queued_storage.contrib.storages.models import DatabaseChunk, DatabaseContent, DatabaseFile

from tests.support import services
from tests.support.file_servers import FileServer
from tests.support.servers import temporary_folder
from tests.support.storages import SharedMemoryStorage

FILE_SYSTEM = "django.core.files.storage.FileSystemStorage"


class Disk(FileServer):
    """A folder of this disk; each ``place`` is a folder of its own in there."""

    backend = FILE_SYSTEM

    def version(self) -> str:
        return f"Django {django.__version__}"

    def tier(self, place: str, port: int | None = None, **extra: Any) -> dict[str, Any]:
        options = {"location": str(self.path(place)), "base_url": "/files/"}
        return {"BACKEND": self.backend, "OPTIONS": options | extra}


@contextmanager
def disk(backend: str = FILE_SYSTEM) -> Iterator[Disk]:
    with temporary_folder("disk") as folder:
        server = Disk("disk", 0, folder)
        server.backend = backend
        yield server


class Memory:
    """The memory of this process; each ``place`` is a storage of its own."""

    kind = "memory"

    def new_place(self, name: str = "") -> str:
        return f"place-{uuid.uuid4().hex[:12]}"

    def environment(self, port: int | None = None) -> dict[str, str]:
        return {}

    def version(self) -> str:
        return f"Django {django.__version__}"

    def read(self, place: str, name: str) -> bytes:
        with SharedMemoryStorage(place).open(name) as file:
            content: bytes = file.read()
        return content

    def names(self, place: str, folder: str = "") -> list[str]:
        folders, files = SharedMemoryStorage(place).listdir(folder)
        found = [f"{folder}{name}" for name in files]
        for each in folders:
            found += self.names(place, f"{folder}{each}/")
        return sorted(found)

    def put(self, place: str, name: str, content: bytes) -> None:
        SharedMemoryStorage(place).save(name, ContentFile(content))

    def tier(self, place: str, port: int | None = None, **extra: Any) -> dict[str, Any]:
        options = {"bucket": place, "base_url": "/memory/"}
        return {"BACKEND": "tests.support.storages.SharedMemoryStorage", "OPTIONS": options | extra}


@contextmanager
def memory() -> Iterator[Memory]:
    yield Memory()


class Database:
    """A database of the tests; each ``place`` is a location of its own in there."""

    kind = "database"

    def __init__(self, alias: str) -> None:
        self.alias = alias

    def new_place(self, name: str = "") -> str:
        return f"place-{uuid.uuid4().hex[:12]}"

    def environment(self, port: int | None = None) -> dict[str, str]:
        return {}

    def version(self) -> str:
        connection = connections[self.alias]
        name = "MariaDB" if getattr(connection, "mysql_is_mariadb", False) else connection.display_name
        return f"{name} {'.'.join(map(str, connection.get_database_version()))}"

    def _contents(self, place: str) -> dict[str, DatabaseContent]:
        files = DatabaseFile.objects.using(self.alias).select_related("content")
        return {
            file.name.removeprefix(f"{place}/"): file.content
            for file in files.filter(name__startswith=f"{place}/")
        }

    def read(self, place: str, name: str) -> bytes:
        chunks = DatabaseChunk.objects.using(self.alias).filter(content=self._contents(place)[name])
        return b"".join(bytes(chunk) for chunk in chunks.order_by("number").values_list("data", flat=True))

    def content_type(self, place: str, name: str) -> str:
        return self._contents(place)[name].content_type

    def names(self, place: str) -> list[str]:
        return sorted(self._contents(place))

    def put(self, place: str, name: str, content: bytes) -> None:
        DatabaseStorage(location=place).save(name, ContentFile(content))

    def tier(self, place: str, port: int | None = None, **extra: Any) -> dict[str, Any]:
        options = {"location": place, "base_url": "/database/"}
        return {
            "BACKEND": "queued_storage.contrib.storages.database.DatabaseStorage",
            "OPTIONS": options | extra,
        }


@contextmanager
def database(alias: str) -> Iterator[Database]:
    if alias != "default":
        services.need(alias)
    yield Database(alias)
