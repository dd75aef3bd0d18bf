"""Content as users bring it: its bytes, to be sent as often as it takes, and what a client says of it."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from django.core.files.base import File

#: Bytes of content which are kept in memory before a temporary file takes them.
SPOOL = 1 << 20
#: Characters of a content type that the catalog keeps.
MAX_CONTENT_TYPE = 255
#: What files raise that cannot seek, are closed, or are hardly files.
_CANNOT_SEEK = (AttributeError, OSError, TypeError, ValueError)


def rewind(content: Any) -> None:
    """Go back to the start, where the content can be sought in and is open."""
    with suppress(*_CANNOT_SEEK):
        content.seek(0)


# ---- what a client says ----


def described(content: Any) -> tuple[str, dict[str, Any]]:
    """Return the content type and the metadata of an upload, as far as catalog and tiers can take them.

    A client writes what it likes into its headers, and none of it is worth the upload.
    """
    said = {
        "charset": getattr(content, "charset", None),
        "extra": getattr(content, "content_type_extra", None),
    }
    metadata = {key: _for_json(value) for key, value in said.items() if value}
    return _content_type(getattr(content, "content_type", None)), metadata


def _content_type(said: Any) -> str:
    text = said.strip(" ") if isinstance(said, str) else ""
    # A header with a line end or a NUL is refused by HTTP clients, in a way that looks like a dead server.
    return text if len(text) <= MAX_CONTENT_TYPE and text.isascii() and text.isprintable() else ""


def _for_json(value: Any) -> Any:
    """Return the value as every database takes it in JSON: PostgreSQL no NUL and no half of a pair, none NaN."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Mapping):
        return {_as_text(key): _for_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_for_json(item) for item in value]
    return _as_text(value)


def _as_text(value: Any) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text.replace("\0", "").encode(errors="replace").decode()


# ---- its bytes ----


class Upload:
    """Content whose size is known, and which a storage can take again after it took (and closed) it."""

    def __init__(self, content: File[Any], source: Any, size: int) -> None:
        self.size = size
        self._content = content
        self._source = source

    def file(self) -> File[bytes]:
        """Return the bytes, from their start, as a storage's ``save()`` takes them."""
        self._source.seek(0)
        return _Sent(
            self._content, io.BufferedReader(_Lent(self._source), File.DEFAULT_CHUNK_SIZE), self.size
        )


@contextmanager
def repeatable(content: File[Any]) -> Iterator[Upload]:
    """Yield the content as bytes: texts in UTF-8, and what can be read only once from a copy."""
    size = _measured(content)
    if size is not None:
        yield Upload(content, content, size)
        return
    with tempfile.SpooledTemporaryFile(max_size=SPOOL) as spool:
        for chunk in content.chunks():
            spool.write(chunk.encode() if isinstance(chunk, str) else chunk)
        yield Upload(content, spool, spool.tell())


@contextmanager
def replayable(content: File[Any]) -> Iterator[File[Any]]:
    """Yield the content as one that can be read from its start again, whatever storage had it before."""
    with repeatable(content) as upload:
        yield upload.file()


def is_readable(content: File[Any]) -> bool:
    """Tell whether the content can be read to its end, so that a failure to store it is the storage's."""
    try:
        content.seek(0)
        for _ in content.chunks():
            pass
    except Exception:  # noqa: BLE001 - an upload may break off in any way
        return False
    return True


def _measured(content: File[Any]) -> int | None:
    """Return the size of content that is bytes and can be sought in, else None."""
    try:
        if not content.seekable():
            return None
        content.seek(0)
        if not isinstance(content.read(0), bytes):
            return None
        content.seek(0, io.SEEK_END)
        size: int = content.tell()
        content.seek(0)
    except _CANNOT_SEEK:
        return None
    return size


class _Lent(io.RawIOBase):
    """A file that is not closed by who reads it: some clients close what they are given."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        data = self._source.read(view.nbytes)
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._source.seek(offset, whence)
        return self.tell()

    def tell(self) -> int:
        position: int = self._source.tell()
        return position


class _Sent(File):  # type: ignore[type-arg]
    """What a storage sees of an upload: its own attributes too, for storages that know them."""

    def __init__(self, content: File[Any], data: io.BufferedReader, size: int) -> None:
        super().__init__(data, name=content.name)
        self._content = content
        self.size = size
        self.content_type = described(content)[0] or None

    def __getattr__(self, name: str) -> Any:
        # A storage would move the temporary file away, and the content could not be sent again.
        if name.startswith("_") or name == "temporary_file_path":
            raise AttributeError(name)
        return getattr(self._content, name)
