"""Content to be saved: whole, breaking off, or watched; and the tier that a lower one's files are copied from."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from typing import Any, ClassVar

from django.core.files.base import File
from django.core.files.storage import Storage

#: Every byte, and more than one buffer of them.
SMALL = bytes(range(256)) * 40
#: More than one chunk, and one part, of most clients; no two parts of it are alike.
LARGE = random.Random(0).randbytes(3_000_000)  # noqa: S311 - it has to be the same in every process


class SourceBroke(OSError):
    """What a source raises that breaks off half-way."""


class Watched(File):  # type: ignore[type-arg]
    """Content with something to be done whenever half of it was read."""

    def __init__(self, content: bytes, at_half: Callable[[], None], content_type: str = "") -> None:
        super().__init__(_Watched(content, at_half), name="watched")
        self.size = len(content)
        if content_type:
            self.content_type = content_type


class _Watched(io.BytesIO):
    def __init__(self, content: bytes, at_half: Callable[[], None]) -> None:
        super().__init__(content)
        self._half = len(content) // 2
        self._at_half = at_half

    def read(self, size: int | None = -1) -> bytes:
        before = self.tell()
        data = super().read(size)
        if data and before <= self._half < self.tell():
            try:
                self._at_half()
            except BaseException:
                self.seek(before)  # so that who tries again meets the same
                raise
        return data

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        data = self.read(view.nbytes)
        view[: len(data)] = data
        return len(data)


def broken(content: bytes) -> Watched:
    """Return content that breaks off half-way."""

    def breaks() -> None:
        raise SourceBroke("the source broke off half-way")

    return Watched(content, breaks)


class Forward(io.RawIOBase):
    """Content that can only be read forward, as a pipe."""

    def __init__(self, content: bytes) -> None:
        self._rest = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._rest.readinto(buffer)


class Above(Storage):
    """The tier above a lower one: it has what is being copied down, and nothing else."""

    files: ClassVar[dict[str, File[Any]]] = {}

    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        return self._file(name)

    def exists(self, name: str) -> bool:
        return name in self.files

    def size(self, name: str) -> int:
        return self._file(name).size

    def delete(self, name: str) -> None:
        """Nothing that it has is its own."""

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        raise FileNotFoundError(path)

    def url(self, name: str | None) -> str:
        raise FileNotFoundError(name)

    def _file(self, name: str) -> File[Any]:
        if name not in self.files:
            raise FileNotFoundError(name)
        return self.files[name]
