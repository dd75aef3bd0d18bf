"""Two hosts in one process: a test says on which it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.test import override_settings

from queued_storage import dispatch
from queued_storage.storage import TieredStorage

from tests.conftest import tier_settings
from tests.support import recording


class Hosts:
    """Hosts that have a disk each, a folder ``vault`` in common, and one database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.policy: Any = "transfer-and-delete"
        self.disk: dict[str, Any] = {}
        self.chain: dict[str, Any] = {}
        self.settings: dict[str, Any] = {}
        self.storage = TieredStorage("media")

    def root(self, host: str) -> Path:
        return self.folder / host

    def tiers(self, host: str) -> dict[str, Any]:
        options = {"location": str(self.root(host)), "base_url": "/media/"}
        disk = {"BACKEND": "django.core.files.storage.FileSystemStorage", "SHARED": False, "OPTIONS": options}
        return {"disk": disk | self.disk, "vault": tier_settings("vault", "disk", self.folder)}

    @contextmanager
    def on(self, host: str) -> Iterator[TieredStorage]:
        """Be this host."""
        chain = {"TIERS": self.tiers(host), "POLICY": self.policy, **self.chain}
        with override_settings(
            QUEUED_STORAGE_HOST=host, QUEUED_STORAGE_TIERS={"media": chain}, **self.settings
        ):
            yield self.storage

    def save(self, host: str, name: str, content: bytes = b"content") -> str:
        with self.on(host) as storage:
            return storage.save(name, ContentFile(content))

    def read(self, host: str, name: str) -> bytes:
        with self.on(host) as storage, storage.open(name) as file:
            return bytes(file.read())

    def work(self, host: str) -> int:
        """Do there what is due."""
        with self.on(host):
            dispatch.tend(host)
            return recording.work()

    def has(self, host: str, name: str) -> bool:
        return (self.root(host) / name).exists()


@pytest.fixture
def hosts(tmp_path: Path, settings: Any) -> Hosts:
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH
    return Hosts(tmp_path)
