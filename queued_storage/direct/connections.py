"""Connections to servers that are kept between requests: each is one request's at a time."""

from __future__ import annotations

import os
import select
import ssl
import threading
from collections import deque
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection, RemoteDisconnected
from typing import Any, NamedTuple

from .heads import Answer, Resumed, Whole, whole

#: Idle connections that are kept to a server.
KEPT = 32

#: Bytes that are sent in one call: a body of so many goes with its head.
SENT_AT_ONCE = 1 << 16
#: Bytes of an answer that are read first: most answers are no longer.
READ_AT_ONCE = 1 << 14

#: What a connection that fails raises.
BROKEN: tuple[type[Exception], ...] = (OSError, HTTPException)
#: What is raised where the other end has closed a kept connection.
_CLOSED = (ConnectionResetError, BrokenPipeError, RemoteDisconnected)


class Server(NamedTuple):
    """A server, and how it is spoken to."""

    scheme: str
    #: With the port, where that is not the scheme's own.
    host: str
    #: The file or folder with the certificates to trust; empty: none is looked at.
    trust: str
    #: In seconds.
    connect_timeout: float | None
    read_timeout: float | None


class Connections:
    """The kept connections of this process to one server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.host = server.host
        self._idle: deque[HTTPConnection] = deque()
        self._context = _context(server) if server.scheme == "https" else None

    def ask(
        self, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Exchange:
        """Send the request and wait for the answer's head; raise one of BROKEN."""
        if (kept := self._take()) is not None:
            try:
                return self._ask_on(kept, method, target, body, headers)
            except _CLOSED:
                pass  # the server closed it in this moment; a new one tells whether it is there
        return self._ask_on(self._connect(), method, target, body, headers)

    def _ask_on(
        self,
        connection: HTTPConnection,
        method: str,
        target: str,
        body: Any,
        headers: Mapping[str, str] | None,
    ) -> Exchange:
        try:
            _send(connection, f"{method} {target}", headers or {}, body)
            return Exchange(begin(connection, method), connection, self)
        except BaseException:
            connection.close()
            raise

    def give_back(self, connection: HTTPConnection) -> None:
        if len(self._idle) < KEPT:
            self._idle.append(connection)
        else:
            connection.close()

    def _take(self) -> HTTPConnection | None:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if _is_quiet(connection):
                return connection
            connection.close()

    def _connect(self) -> HTTPConnection:
        server = self._server
        connection: HTTPConnection
        if self._context is None:
            connection = HTTPConnection(server.host, timeout=server.connect_timeout)
        else:
            connection = HTTPSConnection(server.host, timeout=server.connect_timeout, context=self._context)
        try:
            connection.connect()
            connection.sock.settimeout(server.read_timeout)
        except BaseException:
            connection.close()
            raise
        return connection


class Exchange:
    """A request that was sent, and its answer; the connection is kept once that was read to its end."""

    def __init__(
        self, response: Answer | Whole, connection: HTTPConnection, connections: Connections
    ) -> None:
        self.status = response.status
        self.headers = response.headers
        self._response = response
        self._connection: HTTPConnection | None = connection
        self._connections = connections
        #: Whether the body broke off: what comes on the connection may be the rest of it.
        self._is_broken = False

    def read(self) -> bytes:
        """Return all that is left of the answer's body, and end the exchange; raise one of BROKEN."""
        try:
            return self._response.read()
        except BaseException:
            self._is_broken = True
            raise
        finally:
            self.close()

    def readinto(self, buffer: Any) -> int:
        """Read some of the body, as io does; raise one of BROKEN."""
        try:
            count = self._response.readinto(buffer)
        except BaseException:
            self._is_broken = True
            raise
        if not count and self._response.length:
            self._is_broken = True
        return count

    def close(self) -> None:
        """Keep the connection, or close it if the answer was not read to its end; again, it is another's by now."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._response.isclosed() and not (self._response.will_close or self._is_broken):
            self._connections.give_back(connection)
        else:
            self._response.close()
            connection.close()


def _send(connection: HTTPConnection, asked: str, headers: Mapping[str, str], body: Any) -> None:
    """Send the request: head and small body at once, which HTTPConnection would do in two calls and ten more steps."""
    lines = [f"{asked} HTTP/1.1", "Accept-Encoding: identity", *[f"{k}: {v}" for k, v in headers.items()]]
    if body is None and asked.startswith("PUT "):
        body = b""
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    text = "\r\n".join(lines)
    if not (text.count("\n") == text.count("\r") == len(lines) - 1):
        raise ValueError("a header with a line break")
    head = f"{text}\r\n\r\n".encode("latin-1")
    if body is None or len(body) <= SENT_AT_ONCE:
        connection.sock.sendall(head + (body or b""))
        return
    connection.sock.sendall(head)
    # The timeout is for each call: on a slow line a whole part would take longer, though its bytes flow.
    for start in range(0, len(body), SENT_AT_ONCE):
        connection.sock.sendall(memoryview(body)[start : start + SENT_AT_ONCE])


def begin(connection: HTTPConnection, method: str) -> Answer | Whole:
    """Wait for the answer's head, and read the rest of it if that comes along; raise one of BROKEN."""
    seen = connection.sock.recv(READ_AT_ONCE)
    if (answer := whole(seen, method)) is not None:
        return answer
    rest = Answer(Resumed(connection.sock, seen), method=method)  # type: ignore[arg-type] # it asks for a file alone
    rest.begin()
    return rest


def _is_quiet(connection: HTTPConnection) -> bool:
    """Tell whether the server has neither closed the connection nor said anything on it."""
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return not poll.poll(0)


def _context(server: Server) -> ssl.SSLContext:
    from urllib3.util.ssl_ import create_urllib3_context

    context: ssl.SSLContext = create_urllib3_context()  # as botocore's own
    if not server.trust:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    context.check_hostname = True
    context.verify_mode = ssl.CERT_REQUIRED
    of_file = not os.path.isdir(server.trust)
    context.load_verify_locations(
        cafile=server.trust if of_file else None, capath=None if of_file else server.trust
    )
    return context


_kept: dict[tuple[int, Server], Connections] = {}
_lock = threading.Lock()


def to(server: Server) -> Connections:
    """Return this process' connections to the server; a forked one has none of its parent's."""
    key = (os.getpid(), server)
    with _lock:
        if key not in _kept:
            _kept[key] = Connections(server)
        return _kept[key]
