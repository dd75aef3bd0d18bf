"""The stub of Dropbox for the tests: ``dropbox_server.py`` as a process, and the storage that is pointed at it.

No emulator of Dropbox is to be had, and the stub is our own: what passes with it shows how the SDK is used.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.support.processes import Process, free_ports
from tests.support.restartable import Running, running
from tests.support.services import not_installed

HERE = Path(__file__).parent
HOST = "127.0.0.1"


class DropboxStub(Running):
    """A Dropbox of the test's own; each ``place`` is a folder."""

    kind = "dropbox"

    def __init__(self, folder: Path) -> None:
        import trustme

        self.folder = folder
        (self.port,) = free_ports(1)
        self.token = f"secret-{uuid.uuid4().hex}"
        authority = trustme.CA()
        #: Who vouches for the server, and the server's own certificate with its key.
        self.authority, self.certificate = folder / "authority.pem", folder / "server.pem"
        authority.cert_pem.write_to_path(self.authority)
        authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(self.certificate)

    # ---- its life ----

    def launch(self) -> list[Process]:
        command = [sys.executable, str(HERE / "dropbox_server.py"), str(self.folder), str(self.certificate)]
        return [Process([*command, HOST, str(self.port)], env={"DROPBOX_TOKEN": self.token})]

    def answers(self) -> bool:
        try:
            with requests.Session() as session:
                session.trust_env = False  # or an authority that is told there would be asked instead
                return session.get(f"https://{HOST}:{self.port}/", verify=str(self.authority), timeout=2).ok
        except requests.RequestException:
            return False

    def version(self) -> str:
        return "stub of our own"

    def stock_environment(self) -> dict[str, str]:
        """What points the stock storage at the stub, if it is there before the SDK is imported."""
        hosts = dict.fromkeys(("DROPBOX_API_HOST", "DROPBOX_API_CONTENT_HOST"), f"{HOST}:{self.port}")
        return hosts | {"REQUESTS_CA_BUNDLE": str(self.authority)}

    # ---- its face ----

    def new_place(self, name: str = "") -> str:
        place = f"{uuid.uuid4().hex[:12]}/{name}".rstrip("/")
        self.path(place).mkdir(parents=True)
        return place

    def path(self, place: str) -> Path:
        return self.folder / "files" / place

    def read(self, place: str, name: str) -> bytes:
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
        options = {
            "oauth2_access_token": self.token,
            "root_path": f"/{place}",
            "timeout": 20,
            "api_host": f"{HOST}:{port or self.port}",
            "ca_certs": str(self.authority),
        }
        return {"BACKEND": "tests.support.dropbox_storage.PointedDropboxStorage", "OPTIONS": options | extra}


@contextmanager
def dropbox() -> Iterator[DropboxStub]:
    """The stub, its files in a folder that goes with it."""
    for module in ("dropbox", "trustme"):
        if importlib.util.find_spec(module) is None:
            not_installed(module, f"pip install {module}")
    with (
        tempfile.TemporaryDirectory(prefix="queued-storage-dropbox-", ignore_cleanup_errors=True) as folder,
        running(lambda: DropboxStub(Path(tempfile.mkdtemp(dir=folder)))) as server,
    ):
        yield server
