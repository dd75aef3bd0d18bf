"""A file as it is sent to browsers: what tells it from others of its name, its bytes, and its path for a web server."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from asgiref.sync import sync_to_async
from django.core.files.base import File

from . import catalog, disk, renaming, traits
from .chain import Chain
from .storage import TieredStorage
from .tier import Tier

if TYPE_CHECKING:
    from .models import StoredFile

#: Bytes that are read, and held, at a time.
CHUNK = 1 << 17
#: How often a file is opened anew that is replaced in that moment.
ATTEMPTS = 3


@dataclass(frozen=True)
class Facts:
    """What is known of the content that a name has now."""

    #: As HTTP has it, quotes included; "" where nothing tells one content from another.
    etag: str = ""
    modified: datetime | None = None
    #: Whether no other content of this name can be of the same second.
    is_dated: bool = False
    content_type: str = ""
    #: In bytes; None where only the file itself tells.
    size: int | None = None

    @property
    def same_since(self) -> int | None:
        """Return the second, as POSIX counts them, from which on the content is this; None where nothing tells."""
        if self.modified is None:
            return None
        second = int(self.modified.timestamp())
        return second if self.is_dated else second + 1

    def of_size(self, size: int) -> Facts:
        """Return them as they hold for content of this size: nothing, if it is not what they tell of."""
        if self.size in (None, size):
            return replace(self, size=size)
        return Facts(content_type=self.content_type, size=size)


def facts(storage: TieredStorage, name: str) -> Facts:
    """Return what the catalog says of the file or, of one that it does not know, its tier; raise FileNotFoundError."""
    row = catalog.find(storage.alias, name) if storage.is_catalogued else None
    if row is not None and row.is_live:
        return _of_row(row, storage.chain)
    try:
        modified = storage.get_modified_time(name)
    except NotImplementedError:
        return Facts()
    return Facts(f'W/"{_stamp(modified)}"', modified)


def _of_row(row: StoredFile, chain: Chain) -> Facts:
    if row.staged:  # it is committed that the content is another, and not yet seen by all
        return Facts(content_type=row.content_type)
    is_sure = not _may_be_ahead_of_its_row(chain.first)
    return Facts(
        f'"{row.digest}"' if is_sure and row.digest else f'W/"{row.generation}-{_stamp(row.saved_at)}"',
        row.saved_at,
        is_dated=is_sure and row.generation == 1,  # two saves may be of one second
        content_type=row.content_type,
        size=row.size,
    )


def _stamp(moment: datetime) -> str:
    return f"{int(moment.timestamp() * 1_000_000):x}"


def _may_be_ahead_of_its_row(first: Tier) -> bool:
    """Tell whether readers may see new content on the tier, by the old name, a moment before its row is committed."""
    stages = disk.can_stage(first.storage) or renaming.can_stage(first.storage)
    return traits.overwrites(first.storage) and not stages


# ---- bytes ----


def opened(storage: TieredStorage, name: str) -> tuple[File[bytes], Facts]:
    """Open the file, with what is known of exactly these bytes; raise as ``storage.open`` does."""
    before = facts(storage, name)
    for _ in range(ATTEMPTS):
        file = storage.open(name)
        with _closed_on_error(file):
            now = facts(storage, name)
            if now == before:
                return file, now.of_size(_size(file))
        file.close()
        before = now
    file = storage.open(name)
    with _closed_on_error(file):
        return file, Facts(content_type=before.content_type, size=_size(file))


@contextmanager
def _closed_on_error(file: File[bytes]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        file.close()
        raise


def _size(file: File[bytes]) -> int:
    size: int = file.seek(0, io.SEEK_END) or file.tell()
    return size


class Part:
    """A part of an open file, a chunk at a time; whoever iterates gets all of it or an error."""

    def __init__(self, file: File[Any], offsets: range) -> None:
        self._file = file
        self._left = len(offsets)
        file.seek(offsets.start)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if not self._left:
            raise StopIteration
        return self.read()

    def read(self) -> bytes:
        """Return the next bytes, none at the end."""
        data: bytes = self._file.read(min(CHUNK, self._left))
        if self._left and not data:
            raise OSError(errno.EIO, "the file ended before its size")
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._file.close()


class AsyncPart:
    """The same for ASGI: the event loop goes on while bytes are read, in the thread that opened the file."""

    def __init__(self, part: Part) -> None:
        self._read = sync_to_async(part.read, thread_sensitive=True)
        self.close = part.close

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if data := await self._read():
            return data
        raise StopAsyncIteration


# ---- paths ----


@dataclass(frozen=True)
class Place:
    """Where a web server finds the file itself."""

    tier: Tier
    path: str
    #: Below the location of the tier.
    relative: str

    @classmethod
    def of(cls, storage: TieredStorage, name: str) -> Self | None:
        """Return the file's place; None where it has none, or one that a link leads out of the tier's location to."""
        try:
            tier, path = storage.reader.place(name)
        except NotImplementedError:
            return None
        location = getattr(tier.storage, "location", None)
        if not isinstance(location, str | os.PathLike) or not _is_below(path, str(location)):
            return None
        return cls(tier, path, os.path.relpath(path, location))

    def accelerated(self, prefix: str) -> str:
        """Return the URI of nginx's internal location that stands for the path."""
        return quote(f"{prefix}{self.tier.chain}/{self.tier.name}/{self.relative}")

    def quoted(self) -> str:
        return quote(self.path)

    def size(self) -> int:
        return os.stat(self.path).st_size


def _is_below(path: str, location: str) -> bool:
    within, real = os.path.abspath(location), os.path.realpath(location)
    return _starts(os.path.abspath(path), within) and _starts(os.path.realpath(path), real)


def _starts(path: str, folder: str) -> bool:
    return path.startswith(os.path.join(folder, ""))
