"""The head of an answer, read in a fraction of the time that http.client takes: it parses all of them as e-mail.

Most answers come as a whole, head and body, in the first bytes of the connection, and need nothing of http.client.
"""

from __future__ import annotations

import io
from http import HTTPStatus
from http.client import BadStatusLine, HTTPException, HTTPResponse, UnknownProtocol
from socket import socket
from typing import Any

#: What http.client takes at most too: bytes of a line, and lines.
_LINE = 65_536
_LINES = 100
#: How many heads may come before the answer's own.
_INTERIM = 10
#: Digits that a length has at most.
_DIGITS = 19
#: What stands between a head and its body.
_BETWEEN = b"\r\n\r\n"
_EMPTY = frozenset((HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED))


class Headers(dict[str, str]):
    """The fields of a head, by names in any case; one with two values holds both, with a comma between."""

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


class Whole(io.BytesIO):
    """An answer that was read to its end, body and all, on a connection that goes on."""

    will_close = False
    #: What is left of the body on the connection.
    length = 0

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        super().__init__(body)
        self.status = status
        self.headers = headers

    def isclosed(self) -> bool:
        """Tell, as http.client does, whether the connection has nothing more of this answer."""
        return True


def whole(seen: bytes, method: str) -> Whole | None:
    """Return the answer that these first bytes are; None where they are not all of one, or an odd one."""
    end = _end_of_head(seen)
    if end < 0 or not seen.startswith(b"HTTP/1.1 "):
        return None
    first, *lines = _decoded(seen, end)
    _, status, _ = _status(first)
    headers = _parsed(lines)
    if status < HTTPStatus.OK or "transfer-encoding" in headers or "connection" in headers:
        return None
    is_empty = method == "HEAD" or status in _EMPTY
    length = 0 if is_empty else _length(headers)
    body = seen[end + len(_BETWEEN) :]
    return Whole(status, headers, body) if length == len(body) else None


class Answer(HTTPResponse):
    """An answer of an HTTP/1.1 server."""

    def begin(self) -> None:
        fields: Any = self
        for _ in range(_INTERIM):
            lines = _at_once(self.fp)
            if lines is None:
                version, status, reason = fields._read_status()
                headers = _read(self.fp)
            else:
                version, status, reason = _status(lines[0])
                headers = _parsed(lines[1:])
            if not 100 <= status < 200:
                break
        else:
            raise HTTPException("no answer follows what comes before it")
        if not version.startswith("HTTP/1."):
            raise UnknownProtocol(version)
        fields.version = 10 if version == "HTTP/1.0" else 11
        fields.code = fields.status = status
        fields.reason = reason.strip()
        fields.headers = fields.msg = headers
        is_chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        fields.chunked = is_chunked and status not in _EMPTY
        fields.chunk_left = None
        if fields._method == "HEAD" or status in _EMPTY:
            fields.length = 0
        else:
            fields.length = None if is_chunked else _length(headers)
        # Without a length the body ends where the connection does.
        fields.will_close = fields._check_close() or not (fields.chunked or fields.length is not None)


class Resumed(io.RawIOBase):
    """A connection some of whose bytes were read before, as http.client wants one."""

    def __init__(self, connection: socket, seen: bytes) -> None:
        self._connection = connection
        self._seen = seen

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._seen:
            return self._connection.recv_into(buffer)
        told, self._seen = self._seen[: len(buffer)], self._seen[len(buffer) :]
        buffer[: len(told)] = told
        return len(told)


def _at_once(file: Any) -> list[str] | None:
    """Return the lines of a head that has come as a whole; None where some of it is still on its way, or odd."""
    seen = file.peek(1)
    end = _end_of_head(seen)
    if end < 0 or not seen.startswith(b"HTTP/1."):
        return None
    file.read(end + len(_BETWEEN))
    return _decoded(seen, end)


def _end_of_head(seen: bytes) -> int:
    """Return where the head ends; -1 where some of it is missing, or its lines end as those of old do."""
    end = seen.find(_BETWEEN)
    return end if end >= 0 and seen.count(b"\n", 0, end) == seen.count(b"\r\n", 0, end) else -1


def _decoded(seen: bytes, end: int) -> list[str]:
    return seen[:end].decode("latin-1").split("\r\n")


def _status(line: str) -> tuple[str, int, str]:
    version, code, reason = (*line.split(None, 2), "", "")[:3]
    if not (len(code) == 3 and code.isascii() and code.isdecimal() and code >= "100"):
        raise BadStatusLine(line)
    return version, int(code), reason


def _length(headers: Headers) -> int | None:
    """Return the length of the body, if it is told; raise HTTPException where nobody knows what is meant."""
    told = headers.get("content-length")
    if told is None:
        return None
    if not (told.isascii() and told.isdecimal() and len(told) <= _DIGITS):
        raise HTTPException("the length of an answer is none")
    return int(told)


def _read(file: Any) -> Headers:
    """Read the fields up to the empty line; raise HTTPException where they are none."""
    lines: list[str] = []
    for _ in range(_LINES + 1):
        line = file.readline(_LINE + 1)
        if line in (b"\r\n", b"\n"):
            return _parsed(lines)
        if len(line) > _LINE or not line.endswith(b"\n"):
            raise HTTPException("the head of an answer is none")
        lines.append(line.decode("latin-1"))
    raise HTTPException(f"the head of an answer has more than {_LINES} lines")


def _parsed(lines: list[str]) -> Headers:
    """Return the fields of these lines; raise HTTPException where they are none."""
    if len(lines) > _LINES:
        raise HTTPException(f"the head of an answer has more than {_LINES} lines")
    headers = Headers()
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip():
            raise HTTPException("the head of an answer is none")
        name, value = name.lower(), value.strip()
        known = headers.setdefault(name, value)
        if known != value:
            headers[name] = f"{known}, {value}"
    return headers
