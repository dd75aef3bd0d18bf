"""moto's S3 as a process of its own with a journal: what it acknowledged is there after SIGKILL and a new start."""

from __future__ import annotations

import argparse
import base64
import io
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
from werkzeug.test import Client

WRITES = ("PUT", "POST", "DELETE")
#: What moto calls an upload in parts: it draws a new id for the same upload each time.
UPLOAD = re.compile(rb"<UploadId>(.+?)</UploadId>")


class Journal:
    """The application behind it, which takes every write that it answered well once more at the next start."""

    def __init__(self, application: Any, path: Path) -> None:
        self.application = application
        self.path = path
        self._lock = threading.Lock()
        #: What moto calls the uploads now that its clients know by an id of before.
        self._uploads: dict[str, str] = {}

    def replay(self) -> None:
        client = Client(self.application)
        for entry in self._entries():
            body, url = base64.b64decode(entry["body"]), self._renamed(entry["url"])
            with client.open(url, method=entry["method"], headers=entry["headers"], data=body) as response:
                if "upload" in entry:
                    self._uploads[entry["upload"]] = upload_in(response.data)

    def _renamed(self, url: str) -> str:
        for before, now in self._uploads.items():
            url = url.replace(f"uploadId={before}", f"uploadId={now}")
        return url

    def _entries(self) -> Iterator[dict[str, Any]]:
        if self.path.exists():
            for line in self.path.read_text().splitlines(keepends=True):
                if line.endswith("\n"):  # else it was being written, and its request not yet answered
                    yield json.loads(line)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in WRITES:
            return self.application(environ, start_response)  # type: ignore[no-any-return]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        entry: dict[str, Any] = {
            "method": environ["REQUEST_METHOD"],
            "url": environ["RAW_URI"],
            "headers": headers_of(environ),
            "body": base64.b64encode(body).decode(),
        }

        for variable in ("QUERY_STRING", "RAW_URI", "REQUEST_URI"):
            environ[variable] = self._renamed(environ.get(variable, ""))
        answer: list[Any] = []
        content = b"".join(self.application(environ, lambda *told: answer.extend(told)))
        if UPLOAD.search(content) and "uploadId=" not in entry["url"]:
            entry["upload"] = upload_in(content)
        if answer[0].startswith("2"):
            self._append(entry)
        start_response(*answer)
        return [content]

    def _append(self, entry: dict[str, Any]) -> None:
        with self._lock, self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")


def upload_in(content: bytes) -> str:
    found = UPLOAD.search(content)
    assert found is not None
    return found[1].decode()


def headers_of(environ: dict[str, Any]) -> dict[str, str]:
    named = {
        key.removeprefix("HTTP_").replace("_", "-"): value
        for key, value in environ.items()
        if key.startswith("HTTP_") or key == "CONTENT_TYPE"
    }
    return {key: str(value) for key, value in named.items()}


parser = argparse.ArgumentParser()
parser.add_argument("journal", type=Path)
parser.add_argument("-H", dest="host")
parser.add_argument("-p", dest="port", type=int)
arguments = parser.parse_args()
application = Journal(DomainDispatcherApplication(create_backend_app), arguments.journal)
application.replay()
run_simple(arguments.host, arguments.port, application, threaded=True)
