"""A stub of MogileFS as a process of its own: one tracker, and two storage nodes with a device each.

It is no MogileFS: it was written from what MogileFS's own tracker says and checks, so that a client which it takes
can talk to that. What it acknowledged is on its disk. New files are copied to the other device at once, and those
that were replaced are removed at once, where MogileFS takes its time for both.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socketserver
import sqlite3
import threading
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode

HOST = "127.0.0.1"
MOST_KEYS = 1000
CHUNK = 1 << 18
RANGE = re.compile(r"bytes=(\d+)-(\d*)")

SCHEMA = """
    CREATE TABLE IF NOT EXISTS domain (name TEXT PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS class (domain TEXT, name TEXT, PRIMARY KEY (domain, name));
    CREATE TABLE IF NOT EXISTS tempfile (fid INTEGER PRIMARY KEY AUTOINCREMENT, domain TEXT, key TEXT, class TEXT);
    CREATE TABLE IF NOT EXISTS file
        (domain TEXT, key TEXT, fid INTEGER, class TEXT, length INTEGER, PRIMARY KEY (domain, key));
"""


class Refused(Exception):
    """What follows "ERR"."""


class Place:
    """The folder with the devices and the tracker's tables."""

    def __init__(self, folder: Path, told_ports: list[int]) -> None:
        self.folder = folder
        self.ports = dict(enumerate(told_ports, 1))
        self._lock = threading.Lock()
        for devid in self.ports:
            (folder / f"dev{devid}").mkdir(exist_ok=True)
        self._tables = sqlite3.connect(folder / "tracker.db", check_same_thread=False, isolation_level=None)
        self._tables.executescript(SCHEMA)

    @contextmanager
    def tables(self) -> Any:
        """All that a command reads and writes, in one transaction."""
        with self._lock:
            self._tables.execute("BEGIN IMMEDIATE")
            try:
                yield self._tables
            except BaseException:
                self._tables.execute("ROLLBACK")
                raise
            self._tables.execute("COMMIT")

    def path(self, devid: int, fid: int) -> Path:
        return self.folder / f"dev{devid}" / f"{fid:010}.fid"

    def url(self, devid: int, fid: int) -> str:
        return f"http://{HOST}:{self.ports[devid]}/dev{devid}/{fid:010}.fid"

    def copy_to_all(self, devid: int, fid: int) -> None:
        for other in self.ports.keys() - {devid}:
            copy = self.path(other, fid).with_suffix(".copy")
            shutil.copyfile(self.path(devid, fid), copy)
            copy.replace(self.path(other, fid))

    def remove(self, fid: int) -> None:
        for devid in self.ports:
            self.path(devid, fid).unlink(missing_ok=True)


class Tracker(socketserver.StreamRequestHandler):
    place: ClassVar[Place]

    def handle(self) -> None:
        while line := self.rfile.readline():
            if not line.endswith(b"\r\n"):
                return
            try:
                answer = f"OK {urlencode(self.answer(line.decode().rstrip()))}"
            except Refused as refusal:
                answer = f"ERR {refusal} {refusal}"
            self.wfile.write(f"{answer}\r\n".encode())

    def answer(self, line: str) -> dict[str, Any]:
        command, _, rest = line.partition(" ")
        command = command.lower()
        if command not in COMMANDS:
            raise Refused("unknown_command")
        arguments = dict(parse_qsl(rest, keep_blank_values=True, strict_parsing=bool(rest)))
        with self.place.tables() as tables:
            if command not in WITHOUT_DOMAIN:
                require_domain(tables, arguments)
            return COMMANDS[command](self.place, tables, arguments) or {}


def require_domain(tables: Any, arguments: dict[str, str]) -> None:
    if not arguments.get("domain"):
        raise Refused("no_domain")
    if not tables.execute("SELECT 1 FROM domain WHERE name = ?", [arguments["domain"]]).fetchone():
        raise Refused("unreg_domain")


def create_domain(place: Place, tables: Any, arguments: dict[str, str]) -> dict[str, Any]:
    try:
        tables.execute("INSERT INTO domain VALUES (?)", [arguments["domain"]])
    except sqlite3.IntegrityError as error:
        raise Refused("domain_exists") from error
    return {"domain": arguments["domain"]}


def create_class(place: Place, tables: Any, arguments: dict[str, str]) -> None:
    if int(arguments.get("mindevcount", 0)) < 1:
        raise Refused("invalid_mindevcount")
    tables.execute("INSERT INTO class VALUES (?, ?)", [arguments["domain"], arguments["class"]])


def create_open(place: Place, tables: Any, arguments: dict[str, str]) -> dict[str, Any]:
    kind = arguments.get("class", "")
    known = tables.execute(
        "SELECT 1 FROM class WHERE (domain, name) = (?, ?)", [arguments["domain"], kind]
    ).fetchone()
    if kind and not known:
        raise Refused("unreg_class")
    cursor = tables.execute(
        "INSERT INTO tempfile (domain, key, class) VALUES (?, ?, ?)",
        [arguments["domain"], arguments.get("key", ""), kind],
    )
    fid = cursor.lastrowid
    if not int(arguments.get("multi_dest", 0)):
        return {"fid": fid, "devid": 1, "path": place.url(1, fid)}
    answer = {"fid": fid, "dev_count": len(place.ports)}
    for devid in place.ports:
        answer |= {f"devid_{devid}": devid, f"path_{devid}": place.url(devid, fid)}
    return answer


def create_close(place: Place, tables: Any, arguments: dict[str, str]) -> None:
    for needed in ("fid", "devid", "path"):
        if not arguments.get(needed):
            raise Refused(f"no_{needed}")
    fid, devid = int(arguments["fid"]), int(arguments["devid"])
    if devid not in place.ports or arguments["path"] != place.url(devid, fid):
        raise Refused("bogus_args")
    opened = tables.execute("SELECT domain, key, class FROM tempfile WHERE fid = ?", [fid]).fetchone()
    if opened is None:
        raise Refused("no_temp_file")
    domain, key, kind = opened
    if (domain, key) != (arguments["domain"], arguments.get("key")):  # which MogileFS does not look at
        raise Refused("bogus_args")
    path = place.path(devid, fid)
    if not path.exists():
        raise Refused("size_verify_error")
    length, told = path.stat().st_size, int(arguments.get("size") or 0)
    if told and told != length:
        raise Refused("size_mismatch")
    place.copy_to_all(devid, fid)
    old = tables.execute("SELECT fid FROM file WHERE (domain, key) = (?, ?)", [domain, key]).fetchone()
    tables.execute("DELETE FROM tempfile WHERE fid = ?", [fid])
    tables.execute("INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?)", [domain, key, fid, kind, length])
    if old:
        place.remove(old[0])


def find(tables: Any, arguments: dict[str, str], key: str = "key") -> tuple[int, str, int]:
    if not arguments.get(key):
        raise Refused("no_key")
    found: tuple[int, str, int] | None = tables.execute(
        "SELECT fid, class, length FROM file WHERE (domain, key) = (?, ?)",
        [arguments["domain"], arguments[key]],
    ).fetchone()
    if found is None:
        raise Refused("unknown_key")
    return found


def get_paths(place: Place, tables: Any, arguments: dict[str, str]) -> dict[str, Any]:
    fid, _, _ = find(tables, arguments)
    most = max(int(arguments.get("pathcount") or 2), 2)
    devids = [devid for devid in place.ports if place.path(devid, fid).exists()][:most]
    paths = {f"path{number}": place.url(devid, fid) for number, devid in enumerate(devids, 1)}
    return {"paths": len(paths), **paths}


def file_info(place: Place, tables: Any, arguments: dict[str, str]) -> dict[str, Any]:
    fid, kind, length = find(tables, arguments)
    facts = {"fid": fid, "class": kind or "default", "length": length, "devcount": len(place.ports)}
    return facts | {"domain": arguments["domain"], "key": arguments["key"]}


def list_keys(place: Place, tables: Any, arguments: dict[str, str]) -> dict[str, Any]:
    prefix, after = arguments.get("prefix", ""), arguments.get("after", "")
    if prefix and after and not re.match(prefix, after):  # a pattern: so it is in MogileFS
        raise Refused("after_mismatch")
    limit = min(int(arguments.get("limit") or MOST_KEYS), MOST_KEYS)
    rows = tables.execute(
        "SELECT key FROM file WHERE domain = ? AND key > ? AND substr(key, 1, ?) = ? ORDER BY key LIMIT ?",
        [arguments["domain"], after, len(prefix), prefix, limit],
    ).fetchall()
    if not rows:
        raise Refused("none_match")
    keys = {f"key_{number}": key for number, (key,) in enumerate(rows, 1)}
    return {"key_count": len(keys), "next_after": rows[-1][0], **keys}


def rename(place: Place, tables: Any, arguments: dict[str, str]) -> None:
    if not arguments.get("to_key"):
        raise Refused("no_key")
    fid, _, _ = find(tables, arguments, "from_key")
    try:
        tables.execute("UPDATE file SET key = ? WHERE fid = ?", [arguments["to_key"], fid])
    except sqlite3.IntegrityError as error:
        raise Refused("key_exists") from error


def delete(place: Place, tables: Any, arguments: dict[str, str]) -> None:
    fid, _, _ = find(tables, arguments)
    tables.execute("DELETE FROM file WHERE fid = ?", [fid])
    place.remove(fid)


def noop(place: Place, tables: Any, arguments: dict[str, str]) -> None:
    """Tell that the tracker is up."""


COMMANDS: dict[str, Any] = {
    each.__name__: each
    for each in (
        create_domain, create_class, create_open, create_close, get_paths, file_info, list_keys, rename, delete,
        noop,
    )
}  # fmt: skip
WITHOUT_DOMAIN = ("noop", "create_domain")


class Node(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: ClassVar[Path]

    def do_PUT(self) -> None:
        length = self.headers.get("Content-Length")
        if length is None:
            return self._tell(411)
        path, left = self._path(), int(length)
        arriving = path.with_suffix(f".{threading.get_ident()}")
        with arriving.open("wb") as file:
            while left and (data := self.rfile.read(min(left, CHUNK))):
                file.write(data)
                left -= len(data)
        if left:
            arriving.unlink()
            self.close_connection = True
            return None
        arriving.replace(path)
        return self._tell(201)

    def do_GET(self) -> None:
        path = self._path()
        if not path.exists():
            return self._tell(404)
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start, end, status = self._range(size)
            if start > end:
                return self._tell(416)
            self.send_response(status)
            self.send_header("Last-Modified", formatdate(path.stat().st_mtime, usegmt=True))
            self.send_header("Content-Length", str(end - start))
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
            self.end_headers()
            file.seek(start)
            left = end - start if self.command == "GET" else 0
            while left:
                data = file.read(min(left, CHUNK))
                self.wfile.write(data)
                left -= len(data)
        return None

    def do_HEAD(self) -> None:
        self.do_GET()

    def _range(self, size: int) -> tuple[int, int, int]:
        """Where to begin and to end, and with which status; a start beyond the end says 416."""
        asked = RANGE.fullmatch(self.headers.get("Range", ""))
        if asked is None:
            return 0, size, 200
        start, end = int(asked[1]), int(asked[2]) + 1 if asked[2] else size
        return (1, 0, 416) if start >= size else (start, min(end, size), 206)

    def _path(self) -> Path:
        assert re.fullmatch(r"/dev\d+/\d{10}\.fid", self.path), self.path
        return self.folder / self.path[1:]

    def _tell(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Keep quiet."""


class TrackerServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("--nodes", type=int, nargs="+", help="ports that the nodes listen on")
    parser.add_argument("--told", type=int, nargs="+", help="ports that the tracker names instead")
    arguments = parser.parse_args()
    Node.folder = arguments.folder
    Tracker.place = Place(arguments.folder, arguments.told or arguments.nodes)
    for port in arguments.nodes:
        threading.Thread(target=ThreadingHTTPServer((HOST, port), Node).serve_forever, daemon=True).start()
    TrackerServer((HOST, arguments.port), Tracker).serve_forever()


if __name__ == "__main__":
    main()
