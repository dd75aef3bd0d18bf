"""A port in front of a server that can be taken down, struck dumb, slowed, robbed of its answers, and brought back."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

HOST = "127.0.0.1"


class Relay:
    """Hands on what comes to ``port``; or refuses connections; or takes them and never answers."""

    def __init__(self, target: int, watch: Callable[[], Callable[[bytes], None]] | None = None) -> None:
        """``watch`` is called for each connection, and what it returns with what the client sends."""
        self.target = target
        self._watch = watch or (lambda: lambda data: None)
        self.accepted = 0
        self._silent = False
        self._delay = 0.0
        self._swallows = False
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.hand_on(port=0)
        self.port: int = self._listener.getsockname()[1]  # type: ignore[attr-defined]

    def hand_on(self, port: int | None = None) -> None:
        """Serve; what was taken in silence before is cut off."""
        self._reset(silent=False, port=self.port if port is None else port)

    def be_silent(self) -> None:
        """Take connections, and what is sent on them, and say nothing; those that stand are cut off."""
        self._reset(silent=True, port=self.port)

    def refuse(self) -> None:
        """Refuse connections; those that stand are cut off."""
        self._reset(silent=False, port=None)

    def delay(self, seconds: float) -> None:
        """Hold back each piece of what comes, in both directions, for so long; connections stand."""
        self._delay = seconds

    def swallow(self) -> None:
        """Hand on what clients send, and lose what the server answers; connections stand."""
        self._swallows = True

    def cut(self) -> None:
        """Cut off every connection that stands, as a restart of the server does."""
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _reset(self, *, silent: bool, port: int | None) -> None:
        if self._listener is not None:
            # close() alone would leave a thread in accept(), and with it the port, as they are.
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
            self._accepting.join()
        self.cut()
        self._silent, self._swallows, self._delay = silent, False, 0.0
        if port is not None:
            self._listener = socket.create_server((HOST, port))
            self._accepting = self._start(self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._start(self._absorb if self._silent else self._serve, client)

    def _absorb(self, client: socket.socket) -> None:
        with self._tracked(client):
            while client.recv(65536):
                pass

    def _serve(self, client: socket.socket) -> None:
        with self._tracked(client), self._tracked(socket.create_connection((HOST, self.target))) as server:
            other = {client: server, server: client}
            seen = self._watch()
            while True:
                for ready in select.select(list(other), [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    if ready is client:
                        seen(data)
                    if self._delay:
                        time.sleep(self._delay)
                    if not (self._swallows and ready is server):
                        other[ready].sendall(data)

    @contextmanager
    def _tracked(self, connection: socket.socket) -> Iterator[socket.socket]:
        with self._lock:
            self._open.add(connection)
        try:
            with connection, contextlib.suppress(OSError):
                yield connection
        finally:
            with self._lock:
                self._open.discard(connection)

    def _start(self, function: object, *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=function, args=arguments, name="relay", daemon=True)  # type: ignore[arg-type]
        thread.start()
        return thread


@contextmanager
def relay_to(target: int) -> Iterator[Relay]:
    relay = Relay(target)
    try:
        yield relay
    finally:
        relay.refuse()
