"""Opening a file of a tier for reading, in bounded memory, seekable, and with errors told at once."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage, Storage

from . import disk, traits
from .spooling import spooled

READ_AHEAD = 1 << 18


def open_for_read(storage: Storage, name: str, *, may_go: bool = False) -> File[bytes]:
    """Open the file in binary; a missing file or a dead server raises here, not at the first read.

    ``may_go`` says that the file may be deleted there while it is read, and must be read to its end all the same.
    """
    if isinstance(storage, FileSystemStorage) and _is_stock(storage):
        return disk.open_file(storage, name)
    if (stream := traits.stream(storage, name, may_go=may_go)) is not None:
        return File(io.BufferedReader(stream, READ_AHEAD), name=name)
    file = storage.open(name, "rb")
    if traits.keeps_content_in_instance(type(storage)):
        # InMemoryStorage gives every reader the same file object, with one position, and the writer too.
        return File(io.BytesIO(file.file.getvalue()), name=name)  # type: ignore[union-attr]
    try:
        if not _is_seekable(file):
            return fetched(file, name)
        if not traits.opens_eagerly(storage):
            file.read(1)
            file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _is_stock(storage: Any) -> bool:
    return _reads_as_stock(storage.__class__)


_reads_as_stock = lru_cache(disk.reads_as_stock)


def as_text(file: File[bytes]) -> File[str]:
    """Return the binary file as text, for backends that know no text mode."""
    return File(io.TextIOWrapper(_Raw(file)), name=file.name)  # type: ignore[type-var]


class _Raw(io.BufferedIOBase):
    """A Django file as the io module wants one."""

    def __init__(self, file: File[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        data: bytes = self._file.read(-1 if size is None else size)
        return data

    read1 = read

    def seek(self, offset: int, whence: int = 0) -> int:
        self._file.seek(offset, whence)
        return self.tell()

    def tell(self) -> int:
        position: int = self._file.tell()
        return position

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _is_seekable(file: File[bytes]) -> bool:
    return file.seekable() if hasattr(file, "seekable") else hasattr(file, "seek")


def fetched(
    file: File[bytes], name: str, progress: Callable[[int], None] = lambda count: None
) -> File[bytes]:
    """Return a temporary file with all that the file holds, and close that."""

    def fetch(spool: Any) -> None:
        while data := file.read(READ_AHEAD):
            progress(spool.write(data))

    with file:
        return File(spooled(fetch), name=name)
