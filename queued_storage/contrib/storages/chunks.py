"""Bytes in chunks of one size: cut from what a user brings, and read one at a time."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

from django.core.files.base import File


def cut(content: File[Any], size: int) -> Iterator[bytes]:
    """Yield the content, texts in UTF-8, in chunks of that size, the last one as short as it is."""
    waiting = bytearray()
    for part in content.chunks():
        data = part.encode() if isinstance(part, str) else part
        # Parts may be larger than a chunk by far: they are not copied whole.
        for start in range(0, len(data), size):
            waiting += data[start : start + size]
            if len(waiting) >= size:
                yield bytes(waiting[:size])
                del waiting[:size]
    if waiting:
        yield bytes(waiting)


class ChunkedStream(io.RawIOBase):
    """A seekable stream over chunks that are fetched by number as they are needed; one is in memory at a time."""

    def __init__(self, fetch: Callable[[int], bytes], size: int, chunk_size: int) -> None:
        self.size = size
        self._fetch = fetch
        self._chunk_size = chunk_size
        self._position = 0
        self._number = -1
        self._chunk = b""

    def readinto(self, buffer: Any) -> int:
        if self._position >= self.size:
            return 0
        number, start = divmod(self._position, self._chunk_size)
        if number != self._number:
            self._chunk, self._number = self._fetch(number), number
        view = memoryview(buffer)
        data = memoryview(self._chunk)[start : start + view.nbytes]
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
