"""Content that is sent whole or not at all, and files that are read from a stream or not opened."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from django.core.files.base import File

from ..exceptions import CopyMismatch


class Whole:
    """A file as a client reads it that sends it: one that ends before its size is an error, not the end.

    Some clients take whatever they were given for all of it, and some wait for the rest.
    """

    def __init__(self, content: Any) -> None:
        content.seek(0)
        self._content = content
        self._position = 0
        self.size: int = content.size

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._content.read(size)
        self._position += len(data)
        if self._position < self.size and (not data or size < 0):
            raise CopyMismatch(f"the content ended after {self._position} of its {self.size} bytes")
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._content.seek(offset, whence)
        self._position = self._content.tell()
        return self._position

    def tell(self) -> int:
        return self._position


def opened(stream: Callable[[], Any], name: str, mode: str) -> File[bytes]:
    """Return the file on the stream; raise NotImplementedError for a mode whose writes would be lost."""
    if mode not in ("r", "rb"):
        raise NotImplementedError(f"This storage cannot open files with mode {mode!r}. Use save().")
    return File(io.BufferedReader(stream()), name=name)
