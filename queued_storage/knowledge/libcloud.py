"""Apache Libcloud: django-storages' LibCloudStorage on any of its drivers.

* It opens lazily, and reads an empty file as an error and a large one up to the driver's first piece alone (5 MB of
  an object in S3), which it holds in memory.
* ``listdir`` reads the whole bucket, and knows folders at its top alone. It tells no modified time.
* It sends a file line by line, without the content type of the upload, and a file that ends before its size as it is.
  Of what is written to an opened file the last piece alone is stored.
* ``delete`` takes a refusal for success.
* The local driver writes in place, leaves an empty file where the source fails, and a lock file for each name in the
  folder for temporary files; what it deletes takes its empty folders along, under the feet of who writes there. Here
  its files are written, deleted and listed as the files that they are.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from django.core.files.base import File
from django.core.files.storage import Storage
from django.utils._os import safe_join
from django.utils.dateparse import parse_datetime

from ..names import staging_name
from ..ranged import RangedStream
from .base import Backend, always, class_paths, register
from .whole import Whole, opened

_DISK = "libcloud.storage.drivers.local.LocalStorageDriver"
PIECE = 1 << 18
#: The driver's own.
_FILE_MODE = 0o664


def _is_folder(error: Any) -> bool:
    """The local driver has no error of its own for it; that of a missing file is another."""
    return type(error).__name__ == "ObjectError"


def _path(storage: Any, name: str) -> Path | None:
    """Return the path of the file where the driver keeps files on this disk; raise if its bucket is missing there."""
    if _DISK not in class_paths(type(storage.driver)):
        return None
    return Path(safe_join(storage.driver.get_container_cdn_url(storage._get_bucket(), check=True), name))


# ---- asking ----


def _exists(self: Any, name: str) -> bool:
    from libcloud.storage.types import ObjectDoesNotExistError, ObjectError

    try:
        self._get_object(name)
    except ObjectDoesNotExistError:
        return False
    except ObjectError as error:
        if not _is_folder(error):
            raise
    return True


def _get_modified_time(self: Any, name: str) -> datetime:
    told = self._get_object(name).extra
    if "modify_time" in told:
        return datetime.fromtimestamp(told["modify_time"], UTC)
    if (moment := _parsed(str(told.get("last_modified", "")))) is None:
        raise NotImplementedError("This driver of Libcloud tells no modified times.")
    return moment


def _parsed(text: str) -> datetime | None:
    """Return the time of a header of HTTP, or of a listing."""
    try:
        return parsedate_to_datetime(text)
    except ValueError:
        return parse_datetime(text)


def _listdir(self: Any, path: str = "") -> tuple[list[str], list[str]]:
    path = path.strip("/")
    if (folder := _path(self, path)) is not None:
        with os.scandir(folder) as found:
            kinds = {entry.name: entry.is_dir() for entry in found}
        return [name for name in kinds if kinds[name]], [name for name in kinds if not kinds[name]]
    prefix = f"{path}/" if path else ""
    objects = self.driver.iterate_container_objects(self._get_bucket(), prefix=prefix)
    below = [each.name.removeprefix(prefix) for each in objects]
    folders = {name.partition("/")[0] for name in below if "/" in name}
    return sorted(folders), [name for name in below if name and "/" not in name]


# ---- reading ----


class LibcloudStream(RangedStream):
    """An object as one response that is read on; a seek costs a new request."""

    def __init__(self, storage: Any, name: str) -> None:
        super().__init__()
        self._storage = storage
        self._object = storage._get_object(name)
        self.size: int = self._object.size
        self._pieces: Iterator[bytes] | None = self._from_start()
        self._piece = memoryview(b"")

    def _read(self, most: int) -> bytes:
        if self._pieces is None:
            self._pieces = self._from_here()
        if not self._piece:
            self._piece = memoryview(next(self._pieces, b""))
        data, self._piece = self._piece[:most], self._piece[most:]
        return bytes(data)

    def _from_start(self) -> Iterator[bytes]:
        pieces: Iterator[bytes] = self._storage.driver.download_object_as_stream(self._object, PIECE)
        return pieces

    def _from_here(self) -> Iterator[bytes]:
        now = self._storage._get_object(self._object.name)
        if (now.hash, now.size) != (self._object.hash, self.size):
            raise FileNotFoundError(f"{self._object.name} was replaced while it was read")
        driver = self._storage.driver
        try:
            pieces: Iterator[bytes] = driver.download_object_range_as_stream(
                self._object, self._position, chunk_size=PIECE
            )
        except NotImplementedError:
            return _without(self._from_start(), self._position)
        return pieces

    def _drop(self) -> None:
        self._pieces, self._piece = None, memoryview(b"")


def _without(pieces: Iterator[bytes], most: int) -> Iterator[bytes]:
    """Yield the pieces from that byte on."""
    for piece in pieces:
        if most < len(piece):
            yield piece[most:]
        most = max(most - len(piece), 0)


def _stream(storage: Any, name: str) -> io.RawIOBase:
    path = _path(storage, name)
    return LibcloudStream(storage, name) if path is None else io.FileIO(path)


def _open(self: Any, name: str, mode: str = "rb") -> File[bytes]:
    return opened(lambda: _stream(self, name), name, mode)


# ---- writing ----


def _save(self: Any, name: str, content: Any) -> str:
    if (path := _path(self, name)) is not None:
        _write(path, content)
        return name
    content_type = getattr(content, "content_type", None)
    self.driver.upload_object_via_stream(
        _pieces(Whole(content)),
        self._get_bucket(),
        name,
        extra={"content_type": content_type} if content_type else None,
    )
    return name


def _pieces(content: Whole) -> Iterator[bytes]:
    while piece := content.read(PIECE):
        yield piece


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(staging_name())
    try:
        with staged.open("xb") as file:
            file.writelines(_pieces(Whole(content)))
            file.flush()
            os.fsync(file.fileno())
        staged.chmod(_FILE_MODE)
        os.replace(staged, path)
    finally:
        staged.unlink(missing_ok=True)


def _delete(self: Any, name: str) -> None:
    from libcloud.storage.types import ObjectDoesNotExistError

    if (path := _path(self, name)) is not None:
        path.unlink(missing_ok=True)
        return
    with suppress(ObjectDoesNotExistError):
        if not self.driver.delete_object(self._get_object(name)):
            raise OSError(errno.EIO, "the server did not delete the object")


def _is_name_available(self: Any, name: str, max_length: int | None = None) -> bool:
    if getattr(self, "file_overwrite", False):
        return not max_length or len(name) <= max_length
    return bool(Storage.is_name_available(self, name, max_length))


register(
    Backend(
        path="storages.backends.apache_libcloud.LibCloudStorage",
        extra="libcloud",
        missing={
            "libcloud.storage.types.ObjectDoesNotExistError": always,
            "libcloud.storage.types.ObjectError": _is_folder,
        },
        permanent={
            "libcloud.common.types.InvalidCredsError": always,
            "libcloud.storage.types.ContainerDoesNotExistError": always,
            "libcloud.storage.types.InvalidContainerNameError": always,
        },
        opens_eagerly=True,
        stream=_stream,
        stream_goes_on=True,
        overwriting=("file_overwrite", True),  # an option of the amended class alone
        publishes_at_once=True,
        keeps_content_type=True,
        amendments={
            "_open": _open,
            "_save": _save,
            "delete": _delete,
            "exists": _exists,
            "get_modified_time": _get_modified_time,
            "is_name_available": _is_name_available,
            "listdir": _listdir,
        },
    )
)
