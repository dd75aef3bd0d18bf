"""Whole or not at all on Django's FileSystemStorage, which itself writes at the final name.

Content is staged beside its place and published by one step of the file system, which for a new name cannot
overwrite another's file. Permissions, group and moved temporary uploads are as Django does them.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeGuard
from urllib.parse import urljoin

from django.conf import settings
from django.core.files.base import File
from django.core.files.move import file_move_safe
from django.core.files.storage import FileSystemStorage, Storage
from django.utils.encoding import filepath_to_uri

from .exceptions import NameTaken
from .names import staging_name
from .stock import has_stock

_STOCK_URL: object = FileSystemStorage.url
#: Where Django has the class.
_PATH = "django.core.files.storage.filesystem.FileSystemStorage"
_STOCK_SAVE: object = FileSystemStorage._save  # type: ignore[attr-defined]
#: Names in which nothing has to be resolved.
_PLAIN = re.compile(r"(?!\.\.?(?:/|\Z))[^/\0]+(?:/(?!\.\.?(?:/|\Z))[^/\0]+)*").fullmatch
#: Whether paths are folders and a name with slashes between them.
_JOINS = os.sep == "/"
_STOCK_PATH: object = FileSystemStorage.path
#: What file systems say that know no hard links.
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS})


def can_stage(storage: Storage) -> TypeGuard[FileSystemStorage]:
    """Tell whether the storage writes as FileSystemStorage does; a subclass's own way of saving is respected."""
    if not isinstance(storage, FileSystemStorage):
        return False
    backend: Any = type(storage)
    return backend._save is _STOCK_SAVE and backend.save is Storage.save


def is_one_file(storage: Storage, other: Storage, name: str) -> bool:
    """Tell whether the name is in one folder on both: two hard links to one content are two files."""
    if not (isinstance(storage, FileSystemStorage) and isinstance(other, FileSystemStorage)):
        return False
    path, twin = Path(storage.path(name)), Path(other.path(name))
    try:
        return path.name == twin.name and path.parent.samefile(twin.parent)
    except FileNotFoundError:
        return False


def is_link(storage: Storage, name: str) -> bool:
    """Tell whether what has the name is a symbolic link: no copy, for it goes with the file that it leads to."""
    return isinstance(storage, FileSystemStorage) and os.path.islink(path_of(storage, name))


def reads_as_stock(backend: type[Storage]) -> bool:
    """Tell whether storages of the class open and look for files as FileSystemStorage does."""
    return issubclass(backend, FileSystemStorage) and all(
        getattr(backend, name) is getattr(FileSystemStorage, name)
        for name in ("open", "_open", "exists", "path", "location", "base_location")
    )


def open_file(storage: FileSystemStorage, name: str) -> File[bytes]:
    """Open the file of a disk, which reads as stock, as ``storage.open()`` does."""
    return File(open(path_of(storage, name), "rb"))


def has_file(storage: FileSystemStorage, name: str) -> bool:
    """Tell whether a disk, which reads as stock, has a file by this clean name; False may also mean: look closer."""
    if name.startswith(("/", "..")):
        return False
    try:
        return stat.S_ISREG(os.stat(f"{storage.location}/{name}").st_mode)
    except (OSError, ValueError):
        return False


def url(storage: FileSystemStorage, name: str) -> str:
    """Return ``storage.url()`` of a name for which ``has_file`` is true: urljoin finds nothing in it to resolve."""
    base = storage.base_url
    if type(storage).url is not _STOCK_URL or base is None or not _is_prefix(base):
        return storage.url(name)
    return base + filepath_to_uri(name)


@lru_cache
def _is_prefix(base: str) -> bool:
    """Tell whether what urljoin makes of the base and a name is one after the other."""
    return urljoin(base, "name") == f"{base}name"


def path_of(storage: FileSystemStorage, name: str) -> str:
    """Return ``storage.path(name)``: at once where the name has nothing to be resolved."""
    location = storage.location
    if _JOINS and type(storage).path is _STOCK_PATH and _PLAIN(name) and location != "/":
        return f"{location}/{name}"
    return storage.path(name)


def tells_times(storage: Storage) -> TypeGuard[FileSystemStorage]:
    """Tell whether the storage tells times as FileSystemStorage does."""
    return isinstance(storage, FileSystemStorage) and all(
        has_stock(storage, f"get_{kind}_time", _PATH) for kind in ("accessed", "created", "modified")
    )


def times(storage: FileSystemStorage, name: str) -> dict[str, datetime]:
    """Return what the storage tells of a file's times, by one question to the file system."""
    told = os.stat(path_of(storage, name))
    moments = {"accessed_at": told.st_atime, "created_at": told.st_ctime, "modified_at": told.st_mtime}
    zone = UTC if settings.USE_TZ else None
    return {kind: datetime.fromtimestamp(moment, zone) for kind, moment in moments.items()}


class Staged:
    """Content that lies whole beside the place where it will be published."""

    def __init__(
        self,
        storage: FileSystemStorage,
        path: str,
        size: int,
        *,
        durable: bool,
        modified_at: datetime | None = None,
    ) -> None:
        self.storage = storage
        self.path = path
        self.size = size
        self.durable = durable
        self.modified_at = modified_at
        self.kept = False
        self.is_exclusive = True

    @property
    def base_name(self) -> str:
        """What ``publish_kept`` and ``discard`` know the content by."""
        return os.path.basename(self.path)

    def publish(self, name: str, *, overwrite: bool) -> None:
        """Make the content appear under its name, in the directory of staging; raise NameTaken."""
        final = path_of(self.storage, name)
        if self.modified_at is not None:  # not before: what is staged and old is nobody's any more
            os.utime(self.path, (self.modified_at.timestamp(), self.modified_at.timestamp()))
        try:
            if overwrite:
                os.replace(self.path, final)
            else:
                _link(self.path, final)
        except FileExistsError as error:
            raise NameTaken(name) from error
        if self.durable:
            _sync_directory(os.path.dirname(final))

    def withdraw(self, name: str) -> None:
        """Take the name back, so that the content can be published under another."""
        final = path_of(self.storage, name)
        if os.path.exists(self.path):
            os.unlink(final)
        else:
            os.replace(final, self.path)


@contextmanager
def stage(
    storage: FileSystemStorage,
    name: str,
    content: File[Any],
    *,
    durable: bool = False,
    staging: str = "",
    modified_at: datetime | None = None,
) -> Iterator[Staged]:
    """Write the content beside the place of ``name``; what was not published is removed at the end.

    ``durable`` has file and directory entries on the disk, not just in its cache, once it is published. ``staging``
    is the base name to stage by, for who must know it; a new one is made otherwise. ``modified_at`` is the time to
    show for a file that is older than this copy of it.
    """
    directory = make_folder(storage, name, durable=durable)
    path = os.path.join(directory, staging or staging_name())
    staged: Staged | None = None
    try:
        _write(path, content, durable=durable)
        if storage.file_permissions_mode is not None:
            os.chmod(path, storage.file_permissions_mode)
        storage._ensure_location_group_id(path)  # type: ignore[attr-defined]
        staged = Staged(storage, path, os.stat(path).st_size, durable=durable, modified_at=modified_at)
        yield staged
    finally:
        if staged is None or not staged.kept:
            with suppress(FileNotFoundError):
                os.unlink(path)


def make_folder(storage: FileSystemStorage, name: str, *, durable: bool = False) -> str:
    """Make the folder that the name is in, if it is not there; return its path."""
    directory = os.path.dirname(path_of(storage, name))
    if not os.path.isdir(directory):
        _make_directory(Path(directory), storage.directory_permissions_mode, durable=durable)
    return directory


def publish_kept(
    storage: FileSystemStorage, name: str, staged: str, size: int | None, *, durable: bool = False
) -> None:
    """Put kept content in its place; it stays beside that too, until ``discard``, so that this can be done again."""
    final = Path(storage.path(name))
    twin = final.with_name(staging_name())
    try:
        os.link(final.with_name(staged), twin)
    except FileNotFoundError:
        if not _was_moved(final, size):
            raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.replace(final.with_name(staged), final)
    else:
        _replace(twin, final)
    if durable:
        _sync_directory(final.parent)


def _replace(path: Path, final: Path) -> None:
    try:
        os.replace(path, final)
    finally:
        path.unlink(missing_ok=True)  # which stays if both are one file already


def _was_moved(final: Path, size: int | None) -> bool:
    """Tell whether kept content is in its place, where a file system without links cannot keep it beside that."""
    twin = final.with_name(staging_name())
    try:
        os.link(final, twin)
    except OSError as error:
        return error.errno in _NO_LINKS and final.stat().st_size == size
    twin.unlink()
    return False


def link(storage: FileSystemStorage, name: str, to: str) -> bool:
    """Give the file a second name, in a folder that is there; return False where this file system cannot.

    Raise NameTaken where the second one is taken.
    """
    try:
        os.link(storage.path(name), storage.path(to), follow_symlinks=False)
    except FileExistsError as error:
        raise NameTaken(to) from error
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return False
    return True


def sync(storage: FileSystemStorage, name: str) -> None:
    """Return when the file and its directory entry are on the disk, not just in its cache."""
    path = Path(storage.path(name))
    with path.open("rb") as file:
        os.fsync(file.fileno())
    _sync_directory(path.parent)


def discard(storage: FileSystemStorage, name: str, staged: str) -> None:
    """Remove what was staged by this base name, so that whoever staged it cannot publish it any more."""
    with suppress(FileNotFoundError, NotADirectoryError):
        Path(storage.path(name)).with_name(staged).unlink()


def _write(path: str, content: File[Any], *, durable: bool) -> None:
    if hasattr(content, "temporary_file_path"):
        file_move_safe(content.temporary_file_path(), path)
        if durable:
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        return
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
        file.writelines(chunk.encode() if isinstance(chunk, str) else chunk for chunk in content.chunks())
        if durable:
            file.flush()
            os.fsync(file.fileno())


def _link(path: str, final: str) -> None:
    try:
        os.link(path, final)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Reserving the name exclusively is the next best: readers may see it empty until the rename.
        os.close(os.open(final, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        os.replace(path, final)


def _make_directory(directory: Path, mode: int | None, *, durable: bool) -> None:
    if directory.is_dir():
        return
    _make_directory(directory.parent, mode, durable=durable)
    try:
        directory.mkdir()
    except FileExistsError:
        if not directory.is_dir():
            raise FileExistsError(errno.EEXIST, "exists and is not a directory", str(directory)) from None
    else:
        if mode is not None:
            directory.chmod(mode)
        if durable:
            _sync_directory(directory.parent)


def _sync_directory(directory: str | Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
