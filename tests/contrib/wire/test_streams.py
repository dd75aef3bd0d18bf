"""What HTTP servers say of the content that they send, and what is made of it: all parts are of one content."""

from __future__ import annotations

import errno
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from queued_storage import traits
from queued_storage.contrib.storages.webdav import WebDAVStorage

pytestmark = pytest.mark.servers

SIZE = 3 << 20
MONDAY, TUESDAY = "Mon, 05 Jan 2026 10:00:00 GMT", "Tue, 06 Jan 2026 10:00:00 GMT"


class Contents(ThreadingHTTPServer):
    """Has one content, of which it says what the test wants."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.content = b"A" * SIZE
        self.told: dict[str, str] = {}
        self.knows_ranges = True
        self.says_length = True
        self.shift = 0

    def become(self, content: bytes, told: dict[str, str]) -> None:
        self.content, self.told = content, told

    def storage(self) -> WebDAVStorage:
        return WebDAVStorage(f"http://127.0.0.1:{self.server_port}/dav")


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Contents

    def do_GET(self) -> None:
        content, asked = self.server.content, re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) + self.server.shift if asked and self.server.knows_ranges else 0
        if self.server.knows_ranges:
            if start >= len(content):
                return self._head(416, {"Content-Length": "0"})
            where = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
            self._head(206, where | {"Content-Length": str(len(content) - start)} | self.server.told)
        else:
            length = {"Content-Length": str(len(content))} if self.server.says_length else {}
            self._head(200, length | self.server.told)
        try:
            self.wfile.write(content[start:])
        except OSError:
            self.close_connection = True  # the reader has what it wanted
        return None

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.close_connection = True
        self.send_response(status)
        for each in headers.items():
            self.send_header(*each)
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def contents() -> Iterator[Contents]:
    server = Contents()
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # connections that a seek left
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def said(etag: str, modified: str = "") -> dict[str, str]:
    return {name: text for name, text in (("ETag", etag), ("Last-Modified", modified)) if text}


@pytest.mark.parametrize("knows_ranges", [True, False])
@pytest.mark.parametrize(
    ("first", "later"),
    [
        (said('W/"1"'), said('W/"2"')),
        (said('W/"1"'), said("")),
        (said('W/"1"', MONDAY), said('W/"1"', TUESDAY)),
        (said('"1"'), said('"2"')),  # this server does not look at If-Match
        (said("", MONDAY), said("", TUESDAY)),
        (said("", MONDAY), said("")),
    ],
    ids=str,
)
def test_another_content_is_told_from_the_first(
    contents: Contents, first: dict[str, str], later: dict[str, str], knows_ranges: bool
) -> None:
    contents.knows_ranges = knows_ranges
    contents.become(b"A" * SIZE, first)
    with contents.storage().open("a.bin") as file:
        assert file.read(4) == b"AAAA"
        contents.become(b"B" * SIZE, later)
        file.seek(2 << 20)
        with pytest.raises(OSError, match="replaced") as caught:
            file.read(4)
    assert caught.value.errno == errno.ESTALE
    assert not traits.is_missing(caught.value)


@pytest.mark.parametrize("size", [0, 1, SIZE + 1])
def test_content_of_another_size_is_told_from_the_first(contents: Contents, size: int) -> None:
    with contents.storage().open("a.bin") as file:
        file.seek(2 << 20)
        file.read(4)
        contents.become(b"B" * size, {})
        file.seek(0)
        with pytest.raises(OSError, match="replaced"):
            file.read(4)


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ({}, {}),
        (said('"1"', MONDAY), said('"1"', TUESDAY)),  # a strong one tells the content itself
        (said('W/"1"', MONDAY), said('"1"', MONDAY)),  # so Apache calls it when it is older than a second
        (said("", MONDAY), said("", MONDAY)),
    ],
    ids=str,
)
def test_same_content_is_read_on(contents: Contents, first: dict[str, str], later: dict[str, str]) -> None:
    contents.become(contents.content, first)
    with contents.storage().open("a.bin") as file:
        file.read(4)
        contents.become(contents.content, later)
        file.seek(2 << 20)
        assert file.read() == b"A" * (1 << 20)


def test_content_of_unknown_length_is_refused(contents: Contents) -> None:
    contents.knows_ranges = contents.says_length = False
    with pytest.raises(OSError, match="how long") as caught:
        contents.storage().open("a.bin")
    assert caught.value.errno == errno.EPROTO


def test_range_that_was_not_asked_for_is_refused(contents: Contents) -> None:
    with contents.storage().open("a.bin") as file:
        contents.shift = -(2 << 20)
        file.seek(2 << 20)
        with pytest.raises(OSError, match="range") as caught:
            file.read(4)
    assert caught.value.errno == errno.EPROTO
