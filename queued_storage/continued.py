"""Files that are read on from another tier where the one that they were opened on fails, or has let them go."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.core.files.base import File

from . import failures

READ_AHEAD = 1 << 18


def open_continued(
    opened: File[bytes], reopen: Callable[[Exception], File[bytes]], most: int, *, name: str, size: int | None
) -> File[bytes]:
    """Return the file as one that goes on at the same place in what ``reopen`` returns, ``most`` times at most.

    ``reopen`` is called with what failed. It returns a file with the same bytes, or raises. A file that ends before
    ``size`` has failed, whatever its client makes of that.
    """
    return File(io.BufferedReader(_Continued(opened, reopen, most, size), READ_AHEAD), name=name)


class _Continued(io.RawIOBase):
    def __init__(
        self, file: File[bytes], reopen: Callable[[Exception], File[bytes]], most: int, size: int | None
    ) -> None:
        self._file = file
        self._reopen = reopen
        self._left = most
        self._size = size
        self._position = 0

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        data: bytes = self._persist(lambda: self._read(view.nbytes))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _read(self, most: int) -> bytes:
        data: bytes = self._file.read(most)
        if not data and most and self._size is not None and self._position < self._size:
            raise OSError(errno.EIO, "the file ended before its size")
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_CUR:
            offset, whence = self._position + offset, io.SEEK_SET
        self._position = self._persist(lambda: self._move(offset, whence))
        return self._position

    def _move(self, offset: int, whence: int) -> int:
        self._file.seek(offset, whence)
        position: int = self._file.tell()
        return position

    def _persist(self, call: Callable[[], Any]) -> Any:
        while True:
            try:
                return call()
            except Exception as error:
                if not self._left or failures.is_programming_error(error):
                    raise
                self._continue(error)

    def _continue(self, error: Exception) -> None:
        self._left -= 1
        file = self._reopen(error)
        with suppress(Exception):  # it has failed: what its end says is no news
            self._file.close()
        self._file = file
        self._file.seek(self._position)

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._file.close()
