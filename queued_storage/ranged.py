"""Remote objects as seekable streams that are read as they are asked for, in bounded memory."""

from __future__ import annotations

import errno
import io
from abc import abstractmethod
from typing import Any

#: Bytes of the first request of a ``BlockStream``, and of one after a seek; each that follows asks for twice as many.
FIRST_BLOCK = 1 << 18
LARGEST_BLOCK = 1 << 22


class RangedStream(io.RawIOBase):
    """A stream whose seek costs no request until something is read."""

    #: In bytes.
    size: int

    def __init__(self) -> None:
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        position = max(base + offset, 0)
        if position != self._position:
            self._drop()
            self._position = position
        return position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        if self._position >= self.size or not view.nbytes:
            return 0
        count = self._read_into(view[: self.size - self._position])
        if not count:
            raise OSError(errno.EIO, "the object ended before its size")
        self._position += count
        return count

    def close(self) -> None:
        self._drop()
        super().close()

    def _read_into(self, view: memoryview) -> int:
        """Fill the view, or its first bytes, with those from the position on; return how many, one at least."""
        data = self._read(len(view))
        view[: len(data)] = data
        return len(data)

    def _read(self, most: int) -> bytes:
        """Return bytes from the position on: one at least, and at most so many."""
        raise NotImplementedError

    @abstractmethod
    def _drop(self) -> None:
        """Let go of what was fetched for the position, which is left."""


class BlockStream(RangedStream):
    """A stream of a service that gives ranges alone: fetched in blocks, which grow while it is read on."""

    def __init__(self) -> None:
        super().__init__()
        self._block = memoryview(b"")
        self._next = FIRST_BLOCK

    def _read(self, most: int) -> bytes:
        if not self._block:
            self._block = memoryview(self._fetch(self._position, min(self._next, self.size - self._position)))
            self._next = min(self._next * 2, LARGEST_BLOCK)
        data, self._block = self._block[:most], self._block[most:]
        return bytes(data)

    def _drop(self) -> None:
        self._block = memoryview(b"")
        self._next = FIRST_BLOCK

    @abstractmethod
    def _fetch(self, start: int, length: int) -> bytes:
        """Return so many bytes of the version that was opened; raise if it is no longer there."""
