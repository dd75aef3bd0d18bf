"""A line with latency in front of a server: ``python -m benchmarks.latency TARGET_PORT MILLISECONDS``.

What comes is handed on half a round trip later, in both directions, at any rate; a new connection costs a round trip,
as it does on a real line. A process of its own, so that it shares no interpreter with who is measured. Prints its port.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque

HOST = "127.0.0.1"
#: Bytes of one connection and direction that are on their way at most; then the sender waits, as with TCP's window.
WINDOW = 8 << 20


class End(asyncio.Protocol):
    """One end of a connection; what it receives, the other end sends, later."""

    transport: asyncio.Transport

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.other: End | None = None
        self._is_gone = False
        self._loop = asyncio.get_running_loop()
        self._not_before = 0.0
        self._under_way: deque[bytes] = deque()
        self._size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def wait_for_handshake(self) -> None:
        self._not_before = self._loop.time() + 3 * self.delay

    def data_received(self, data: bytes) -> None:
        self._send_later(data)
        self._size += len(data)
        if self._size > WINDOW:
            self.transport.pause_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self._is_gone = True
        self._send_later(b"")  # an empty one ends the connection, behind what is under way

    def _send_later(self, data: bytes) -> None:
        self._under_way.append(data)
        self._loop.call_at(max(self._loop.time() + self.delay, self._not_before), self._arrive)

    def _arrive(self) -> None:
        # Whichever timer fires first: what was sent first arrives first.
        data = self._under_way.popleft()
        self._size -= len(data)
        if self.other is not None and data:
            self.other.transport.write(data)
        elif self.other is not None:
            self.other.transport.close()
        if self._size <= WINDOW and not self._is_gone:
            self.transport.resume_reading()


class Client(End):
    """The end that a client connected to."""

    def __init__(self, delay: float, target: int) -> None:
        super().__init__(delay)
        self._target = target

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.wait_for_handshake()
        self.transport.pause_reading()  # until there is somebody to hand it on to
        self._connecting = asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        try:
            _, server = await self._loop.create_connection(lambda: End(self.delay), HOST, self._target)
        except OSError:
            self.transport.close()
            return
        self.other, server.other = server, self
        self.transport.resume_reading()


async def serve(target: int, milliseconds: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Client(milliseconds / 2000, target), HOST, 0, backlog=512)
    print(f"port {server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))
