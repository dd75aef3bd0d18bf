"""Heads of answers are read as http.client reads them."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any

import pytest

from queued_storage.direct.connections import begin
from queued_storage.direct.heads import Answer, Whole

OK = b"HTTP/1.1 200 OK\r\n"
HEADS = {
    "plain": OK + b'ETag: "a"\r\nContent-Length: 4\r\n\r\nbody',
    "spaces and case": OK + b"x-AMZ-Some-Thing:  a b \t\r\ncontent-LENGTH:4\r\n\r\nbody",
    "line ends of old": b"HTTP/1.1 200 OK\nContent-Length: 4\n\nbody",
    "no reason": b"HTTP/1.1 404\r\nContent-Length: 4\r\n\r\nbody",
    "chunked": OK + b"Transfer-Encoding: Chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n",
    "until the end": OK + b"\r\nbody",
    "closing": OK + b"Connection: Close\r\nContent-Length: 4\r\n\r\nbody",
    "nothing": b"HTTP/1.1 204 No Content\r\n\r\n",
    "unchanged": b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n',
    "continued": b"HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\n" + OK + b"Content-Length: 4\r\n\r\nbody",
    "old server": b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nbody",
    "old server that stays": b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 4\r\n\r\nbody",
    "length told twice": OK + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nbody",
    "line ends of both kinds": OK + b"X-One: 1\nX-Two: 2\r\nContent-Length: 4\r\n\r\nbody",
    "not English": OK + "X-Name: Gr\u00fc\u00dfe\r\nContent-Length: 4\r\n\r\nbody".encode("latin-1"),
}


class Pieces(io.BytesIO):
    """Gives so many bytes at a time, as they come on a line."""

    size = io.DEFAULT_BUFFER_SIZE

    def readinto(self, buffer: Any) -> int:
        return super().readinto(memoryview(buffer)[: self.size])


class Socket:
    def __init__(self, sent: bytes, at_a_time: int) -> None:
        self.pieces = Pieces(sent)
        self.pieces.size = at_a_time

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self.pieces)  # type: ignore[arg-type]


@pytest.fixture(autouse=True, params=[io.DEFAULT_BUFFER_SIZE, 7], ids=["at once", "in pieces"])
def _at_a_time(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "AT_A_TIME", request.param)


AT_A_TIME = io.DEFAULT_BUFFER_SIZE


def begun(kind: type[HTTPResponse], sent: bytes, method: str) -> Any:
    answer: Any = kind(Socket(sent, AT_A_TIME), method=method)  # type: ignore[arg-type]
    answer.begin()
    return answer


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("sent", HEADS.values(), ids=HEADS.keys())
def test_answer_is_read_as_http_client_reads_it(sent: bytes, method: str) -> None:
    own, stock = (begun(kind, sent, method) for kind in (Answer, HTTPResponse))
    for fact in ("status", "reason", "version", "chunked", "length", "will_close"):
        assert (fact, getattr(own, fact)) == (fact, getattr(stock, fact))
    for name, value in stock.headers.items():
        assert own.headers.get(name) == value.strip()  # as RFC 9110 has it
    assert own.headers.keys() == {name.lower() for name in stock.headers}
    assert own.read() == stock.read()
    assert own.isclosed() == stock.isclosed()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("sent", HEADS.values(), ids=HEADS.keys())
@pytest.mark.parametrize("first", [1, 20, 1000], ids="first {} bytes".format)
def test_answer_that_begins_with_some_bytes_is_read_as_http_client_reads_it(
    sent: bytes, method: str, first: int
) -> None:
    if method == "HEAD":
        sent = sent.removesuffix(b"body")
    with connected(sent, first) as connection:
        own = begin(connection, method)
        stock = begun(HTTPResponse, sent, method)
        assert own.status == stock.status
        assert own.will_close == stock.will_close
        assert own.headers.keys() == {name.lower() for name in stock.headers}
        assert own.read() == stock.read()
        assert own.isclosed() or own.will_close


def test_answer_that_comes_at_once_is_read_at_once() -> None:
    with connected(HEADS["plain"], first=1000) as connection:
        answer = begin(connection, "PUT")
        assert isinstance(answer, Whole)
        assert (answer.status, answer.headers.get("ETag"), answer.read()) == (200, '"a"', b"body")


@pytest.mark.parametrize("name", ["plain", "until the end", "chunked"])
def test_answer_that_breaks_off_is_none(name: str) -> None:
    sent = HEADS[name]
    sent = sent[: sent.index(b"\r\n\r\n") + 1]
    with connected(sent, first=1000) as connection, pytest.raises((HTTPException, ConnectionError)):
        begin(connection, "GET").read()


def test_more_than_the_answer_is_not_taken_for_all_of_it() -> None:
    with connected(HEADS["plain"] + b"HTTP/1.1 200 OK", first=1000) as connection:
        answer = begin(connection, "GET")
        assert not isinstance(answer, Whole)
        assert answer.read() == b"body"


class Slow(socket.socket):
    """The end of a line on which so many bytes come first."""

    first = 0

    def recv(self, size: int, flags: int = 0) -> bytes:
        return super().recv(min(size, self.first), flags)


@contextmanager
def connected(sent: bytes, first: int) -> Iterator[HTTPConnection]:
    """A connection on which ``sent`` comes, so many bytes of it at first, and then its end."""
    here, there = socket.socketpair()
    connection = HTTPConnection("example.test")
    with there, Slow(fileno=here.detach()) as slow:
        slow.settimeout(20)
        slow.first = first
        connection.sock = slow
        there.sendall(sent)
        there.shutdown(socket.SHUT_WR)
        yield connection


def test_field_that_comes_twice_has_both_values() -> None:
    assert begun(Answer, OK + b"Vary: a\r\nvary: b\r\n\r\n", "GET").headers.get("VARY") == "a, b"


def test_field_that_is_not_there() -> None:
    headers = begun(Answer, OK + b"\r\n", "GET").headers
    assert (headers.get("ETag"), headers.get("ETag", "")) == (None, "")


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        OK,
        OK + b"Content-Length: 4\r\n",
        OK + b"no field\r\n\r\n",
        OK + b"X-One: 1\r\n folded\r\n\r\n",
        OK + b"X-Long: " + b"a" * 65_536 + b"\r\n\r\n",
        OK + b"X: 1\r\n" * 101 + b"\r\n",
        OK + b"Content-Length: -4\r\n\r\nbody",
        OK + b"Content-Length: abc\r\n\r\nbody",
        OK + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody",
        OK + b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\nbody",
        b"HTTP/1.1 102 Processing\r\n\r\n" * 20,
    ],
)
def test_g8_what_is_no_head_is_a_broken_connection(sent: bytes) -> None:
    with pytest.raises(HTTPException):
        begun(Answer, sent, "GET")


def test_what_comes_before_the_answer_is_passed_over() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
    answer = begun(Answer, early + OK + b"Content-Length: 4\r\n\r\nbody", "GET")
    assert (answer.status, answer.read()) == (200, b"body")


def test_answer_without_a_body_has_none_whatever_it_says() -> None:
    answer = begun(Answer, b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", "GET")
    assert (answer.read(), answer.isclosed(), answer.will_close) == (b"", True, False)
