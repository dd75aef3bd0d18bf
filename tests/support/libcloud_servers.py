"""What Libcloud is used with in the tests: a folder of this disk, and moto's S3."""

from __future__ import annotations

import importlib.util
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import servers
from tests.support.services import not_installed

BACKEND = "tests.support.libcloud_storage.GivenLibCloudStorage"
PROVIDER = "libcloud.storage.types.Provider"


class LocalCloud:
    """A folder of this disk; each ``place`` is a bucket, which is a folder in there. Nothing serves it."""

    kind = "libcloud-local"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def new_place(self, name: str = "") -> str:
        place = f"place-{uuid.uuid4().hex[:12]}"
        (self.folder / place).mkdir()
        return place

    def read(self, place: str, name: str) -> bytes:
        return (self.folder / place / name).read_bytes()

    def names(self, place: str) -> list[str]:
        root = self.folder / place
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    def put(self, place: str, name: str, content: bytes) -> None:
        path = self.folder / place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def tier(self, place: str, port: int | None = None, **extra: Any) -> dict[str, Any]:
        provider = {"type": f"{PROVIDER}.LOCAL", "user": str(self.folder), "key": "", "bucket": place}
        return {"BACKEND": BACKEND, "OPTIONS": provider | extra}

    def environment(self, port: int | None = None) -> dict[str, str]:
        return {}

    def version(self) -> str:
        return "a folder"


@contextmanager
def local() -> Iterator[LocalCloud]:
    require("libcloud", "fasteners")
    with tempfile.TemporaryDirectory(prefix="queued-storage-libcloud-") as folder:
        yield LocalCloud(Path(folder))


class S3Cloud:
    """An S3 server as Libcloud reaches it; all else is the server's own."""

    kind = "libcloud-s3"

    def __init__(self, server: servers.S3Server) -> None:
        self.server = server

    def __getattr__(self, name: str) -> Any:
        return getattr(self.server, name)

    def tier(self, place: str, port: int | None = None, **extra: Any) -> dict[str, Any]:
        provider = {
            "type": f"{PROVIDER}.LOOPBACK_S3",
            "user": self.server.access_key,
            "key": self.server.secret_key,
            "region": str(port or self.server.port),
            "bucket": place,
        }
        return {"BACKEND": BACKEND, "OPTIONS": provider | extra}


@contextmanager
def s3(*, journal: bool = False) -> Iterator[S3Cloud]:
    require("libcloud")
    with servers.moto(journal=journal) as server:
        yield S3Cloud(server)


def require(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            not_installed(module, f"pip install {'apache-libcloud' if module == 'libcloud' else module}")
