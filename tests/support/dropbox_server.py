"""A stub of Dropbox's HTTP API as a process of its own, over TLS, its files in a folder.

It is written from the API's reference, and knows what django-storages' DropboxStorage asks for and no more: it shows
how the SDK is used, not how Dropbox behaves. Below a folder "full" no byte can be written, below "denied" nothing at
all, and below "busy" every request is told to come back later. Names are told apart by case, which Dropbox does not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import ssl
import tempfile
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

#: Entries of a listing that one answer holds: few, so that every client of more must ask for the rest.
PAGE = 10
BLOCK = 4 << 20

Json = dict[str, Any]


class Refused(Exception):
    """An answer that the API's reference calls an error of the route."""

    def __init__(self, error: Json) -> None:
        self.error = error


def looked_up(reason: str, tag: str = "path") -> Refused:
    return Refused({".tag": tag, tag: {".tag": reason}})


def not_written(reason: Json) -> Refused:
    return Refused({".tag": "path", "reason": reason, "upload_session_id": "none"})


# ---- the files ----


def place_of(path: str) -> Path:
    return arguments.folder / "files" / path.strip("/")


def metadata(path: str, tag: str = "path") -> Json:
    place = place_of(path)
    try:
        found = place.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise looked_up("not_found", tag) from None
    named = {"name": place.name, "path_lower": path.lower(), "path_display": path}
    if place.is_dir():
        return {".tag": "folder", **named, "id": f"id:{found.st_ino}"}
    modified = datetime.fromtimestamp(found.st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        ".tag": "file", **named, "id": f"id:{found.st_ino}", "rev": f"{found.st_mtime_ns:016x}",
        "client_modified": modified, "server_modified": modified, "size": found.st_size,
    }  # fmt: skip


def require_room(path: str) -> None:
    if "/full/" in path:
        raise not_written({".tag": "insufficient_space"})
    if "/denied/" in path:
        raise not_written({".tag": "no_write_permission"})


def commit(commit: Json, content: Path) -> Json:
    """Make the content appear in one step, as the mode says."""
    path, place = commit["path"], place_of(commit["path"])
    require_room(path)
    mode = commit.get("mode", {".tag": "add"})
    if place.is_dir():
        raise not_written({".tag": "conflict", "conflict": {".tag": "folder"}})
    place.parent.mkdir(parents=True, exist_ok=True)
    if mode[".tag"] == "overwrite":
        os.replace(content, place)
    else:
        try:
            os.link(content, place)
        except FileExistsError:
            raise not_written({".tag": "conflict", "conflict": {".tag": "file"}}) from None
        content.unlink()
    return metadata(path)


def written(data: bytes) -> Path:
    descriptor, path = tempfile.mkstemp(dir=arguments.folder / "uploads")
    with open(descriptor, "wb") as file:
        file.write(data)
    return Path(path)


def require_hash(argument: Json, data: bytes) -> None:
    expected = argument.get("content_hash")
    blocks = (data[start : start + BLOCK] for start in range(0, len(data), BLOCK))
    found = hashlib.sha256(b"".join(hashlib.sha256(block).digest() for block in blocks)).hexdigest()
    if expected not in (None, found):
        raise Refused({".tag": "content_hash_mismatch"})


# ---- the routes ----


def get_metadata(argument: Json, _: bytes) -> Json:
    return metadata(argument["path"])


def list_folder(argument: Json, _: bytes) -> Json:
    return listed(argument["path"], 0)


def list_folder_continue(argument: Json, _: bytes) -> Json:
    start, _, path = argument["cursor"].partition(" ")
    return listed(path, int(start))


def listed(path: str, start: int) -> Json:
    place = place_of(path)
    if not place.exists():
        raise looked_up("not_found")
    if not place.is_dir():
        raise looked_up("not_folder")
    names = sorted(os.listdir(place))
    entries = [metadata(f"{path}/{name}") for name in names[start : start + PAGE]]
    end = start + PAGE
    return {"entries": entries, "cursor": f"{end} {path}", "has_more": end < len(names)}


def delete(argument: Json, _: bytes) -> Json:
    gone = metadata(argument["path"], "path_lookup")
    if "/denied/" in argument["path"]:
        raise Refused({".tag": "path_write", "path_write": {".tag": "no_write_permission"}})
    place = place_of(argument["path"])
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink()
    return gone


def delete_v2(argument: Json, body: bytes) -> Json:
    return {"metadata": delete(argument, body)}


def get_temporary_link(argument: Json, _: bytes) -> Json:
    found = metadata(argument["path"])
    found.pop(".tag")
    return {
        "metadata": found,
        "link": f"https://{arguments.host}:{arguments.port}/links{quote(argument['path'])}",
    }


def upload(argument: Json, data: bytes) -> Json:
    require_hash(argument, data)
    return untagged(commit(argument, written(data)))


def session_start(_: Json, data: bytes) -> Json:
    path = written(data)
    name = uuid.uuid4().hex
    path.rename(path.with_name(name))
    return {"session_id": name}


def session_append(argument: Json, data: bytes) -> None:
    continued(argument["cursor"], data)


def session_finish(argument: Json, data: bytes) -> Json:
    try:
        return untagged(commit(argument["commit"], continued(argument["cursor"], data)))
    except Refused as refused:
        if "reason" not in refused.error:
            raise
        raise Refused({".tag": "path", "path": refused.error["reason"]}) from None  # as this route tells it


def continued(cursor: Json, data: bytes) -> Path:
    path: Path = arguments.folder / "uploads" / cursor["session_id"]
    if not path.exists():
        raise looked_up("not_found", "lookup_failed")
    if path.stat().st_size != cursor["offset"]:
        wrong = {".tag": "incorrect_offset", "correct_offset": path.stat().st_size}
        raise Refused({".tag": "lookup_failed", "lookup_failed": wrong})
    with path.open("ab") as file:
        file.write(data)
    return path


def untagged(found: Json) -> Json:
    return {key: value for key, value in found.items() if key != ".tag"}


ROUTES: dict[str, Callable[[Json, bytes], Json | None]] = {
    "delete": delete,
    "delete_v2": delete_v2,
    "get_metadata": get_metadata,
    "get_temporary_link": get_temporary_link,
    "list_folder": list_folder,
    "list_folder/continue": list_folder_continue,
    "upload": upload,
    "upload_session/append_v2": session_append,
    "upload_session/finish": session_finish,
    "upload_session/start": session_start,
}


# ---- HTTP ----


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != f"Bearer {os.environ['DROPBOX_TOKEN']}":
            error = {".tag": "invalid_access_token"}
            self.answer(HTTPStatus.UNAUTHORIZED, {"error_summary": "invalid_access_token/", "error": error})
            return
        told = self.headers.get("Dropbox-API-Arg")
        argument: Json = json.loads(told or body or b"{}")
        if "/busy/" in str(argument):
            self.answer(
                HTTPStatus.TOO_MANY_REQUESTS,
                {"error": {"reason": {".tag": "too_many_requests"}, "retry_after": 0}},
            )
            return
        try:
            self.answer_to(self.path.removeprefix("/2/files/"), argument, body)
        except Refused as refused:
            self.answer(HTTPStatus.CONFLICT, {"error_summary": "refused/", "error": refused.error})

    def answer_to(self, route: str, argument: Json, body: bytes) -> None:
        if route == "download":
            self.send_file(argument["path"])
        elif route in ROUTES:
            self.answer(HTTPStatus.OK, ROUTES[route](argument, body))
        else:
            self.answer(HTTPStatus.NOT_FOUND, {"error_summary": "unknown route"})

    def do_GET(self) -> None:
        """A temporary link needs no login."""
        if self.path.startswith("/links/"):
            self.send_file(unquote(self.path.removeprefix("/links")))
        else:
            self.answer(HTTPStatus.OK, {})

    def send_file(self, path: str) -> None:
        found = metadata(path)
        if found[".tag"] == "folder":
            raise looked_up("not_file")
        with place_of(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
            self.send_response(HTTPStatus.PARTIAL_CONTENT if "Range" in self.headers else HTTPStatus.OK)
            if "Range" in self.headers:
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            self.send_header("Dropbox-API-Result", json.dumps(untagged(found)))
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(size - start))
            self.end_headers()
            file.seek(start)
            shutil.copyfileobj(file, self.wfile)

    def answer(self, status: HTTPStatus, content: Json | None) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Errors are printed by the server itself."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


def serve() -> None:
    for name in ("files", "uploads"):
        (arguments.folder / name).mkdir(exist_ok=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(arguments.certificate)
    server = Server((arguments.host, arguments.port), Handler)
    # The handshake is made by the thread of the request: a client that makes none would hold up all others.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


parser = argparse.ArgumentParser()
parser.add_argument("folder", type=Path)
parser.add_argument("certificate")
parser.add_argument("host")
parser.add_argument("port", type=int)
arguments = parser.parse_args()
serve()
