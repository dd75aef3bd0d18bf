"""A line to an S3 server that counts what is sent to it: what a client asked for, whatever became of the client."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

from tests.support.relay import Relay

_END = b"\r\n\r\n"


class Counts:
    """How often each object of a bucket was sent, from the first byte of the request on."""

    def __init__(self) -> None:
        self.puts = Counter[str]()
        self._lock = threading.Lock()

    def note(self, method: str, target: str) -> None:
        _, _, key = urlsplit(target).path.lstrip("/").partition("/")
        if method == "PUT" and key:
            with self._lock:
                self.puts[unquote(key)] += 1

    def snapshot(self) -> Counter[str]:
        with self._lock:
            return self.puts.copy()


class Requests:
    """What one connection's client sends, taken apart as it comes."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._head = b""
        self._body = 0

    def feed(self, data: bytes) -> None:
        while data:
            if self._body:
                taken = min(self._body, len(data))
                self._body, data = self._body - taken, data[taken:]
                continue
            head, end, data = (self._head + data).partition(_END)
            self._head = b"" if end else head
            if end:
                self._begin(head.decode("latin-1").split("\r\n"))

    def _begin(self, lines: list[str]) -> None:
        method, target, _ = lines[0].split(" ")
        headers = dict(line.lower().split(":", 1) for line in lines[1:])
        assert "transfer-encoding" not in headers, "its body has no length"
        self._body = int(headers.get("content-length", 0))
        self._counts.note(method, target)


@contextmanager
def counted(port: int) -> Iterator[tuple[int, Counts]]:
    """Hand on what comes to a port of its own; yield that, and what is counted."""
    counts = Counts()
    relay = Relay(port, watch=lambda: Requests(counts).feed)
    try:
        yield relay.port, counts
    finally:
        relay.refuse()
