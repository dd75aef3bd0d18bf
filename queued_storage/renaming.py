"""Whole or not at all on storages that write in place but can rename: SFTPStorage, FTPStorage and WebDAVStorage.

Content is staged beside its place, its size there is compared with what was sent, and one rename publishes it.

* SFTP: the rename of version 3 of the protocol refuses a taken name, in one step on OpenSSH (it makes a hard link
  there), and OpenSSH's ``posix-rename`` replaces a file in one step. A server without that extension has no such step:
  the old file is moved aside first, and readers miss the name for the length of one request.
* FTP: the protocol does not say what renaming to a taken name does. Most servers replace the file, in one step; the
  others refuse, and there the old file is moved aside as well. None can be told to refuse: a free name is looked for
  just before the rename, and who takes it in that moment is overwritten. Two savers of one name must be kept apart by
  other means (a locked row, say).
* WebDAV: a move refuses a taken name, but not every server does so in one step: what holds for FTP holds here too.
  It can replace a file as well, but the protocol has servers delete that first: the old file is moved aside instead.
"""

from __future__ import annotations

import ftplib
import posixpath
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from django.core.files.base import File
from django.core.files.storage import Storage

from . import knowledge, stock, traits
from .exceptions import CopyMismatch, NameTaken
from .knowledge import ftp, sftp, webdav

#: The name of what had to be moved out of the way, for the length of one request.
ASIDE = ".old"


def can_stage(storage: Storage) -> bool:
    """Tell whether the storage writes as django-storages' class does; a subclass's own way is respected."""
    path = knowledge.known(storage).path
    return path in _REMOTES and stock.has_stock(storage, "_save", path) and type(storage).save is Storage.save


class Staged:
    """Content that lies whole beside the place where it will be published."""

    def __init__(self, remote: _Remote, path: str, size: int) -> None:
        self._remote = remote
        self._path = path
        self.size = size
        #: Whether ``publish`` refuses a name that is taken in the same moment; else it may replace what took it.
        self.is_exclusive = remote.is_exclusive
        #: Whether the content is to stay in staging if it is not published: for ``publish_kept``.
        self.kept = False
        self.is_published = False

    @property
    def base_name(self) -> str:
        """What ``publish_kept`` and ``discard`` know the content by."""
        return posixpath.basename(self._path)

    def publish(self, name: str, *, overwrite: bool) -> None:
        """Make the content appear under its name, in the directory of staging; raise NameTaken."""
        if overwrite:
            self._remote.replace(self._path, name)
        else:
            self._remote.rename(self._path, name)
        self.is_published = True

    def withdraw(self, name: str) -> None:
        """Take the name back, so that the content can be published under another."""
        self._remote.rename(name, self._path)
        self.is_published = False


@contextmanager
def stage(storage: Storage, name: str, content: File[Any], staging: str) -> Iterator[Staged]:
    """Write the content beside the place of ``name``, under the base name ``staging``.

    What was not published is removed at the end, unless the server is out of reach: then ``discard`` has to do it.
    """
    remote = _remote(storage)
    path = _beside(name, staging)
    staged: Staged | None = None
    try:
        sent = remote.write(path, content)
        size = remote.size(path)
        if size != sent:
            raise CopyMismatch(f"{size} of {sent} bytes arrived")
        staged = Staged(remote, path, size)
        yield staged
    except BaseException as error:
        if not (traits.is_outage(error) or (staged is not None and staged.kept)):
            with suppress(Exception):  # the first error tells more
                remote.remove(path)
        raise
    if not (staged.is_published or staged.kept):
        with suppress(Exception):  # no reason to fail what is done
            remote.remove(path)


def publish_kept(storage: Storage, name: str, staging: str, size: int | None) -> None:
    """Put kept content, of that size, in its place; that it is there already is as good."""
    remote = _remote(storage)
    try:
        remote.replace(_beside(name, staging), name)
    except FileNotFoundError:
        if not remote.holds(name) or remote.size(name) != size:
            raise


def discard(storage: Storage, name: str, staging: str) -> None:
    """Remove what an attempt left in staging; that nothing is there is as good.

    Where the attempt ended between moving the old file aside and the new one in, the old one is put back.
    """
    remote = _remote(storage)
    path = _beside(name, staging)
    remote.remove(path)
    if remote.holds(path + ASIDE):
        try:
            remote.rename(path + ASIDE, name)
        except NameTaken:
            remote.remove(path + ASIDE)


def _beside(name: str, staging: str) -> str:
    return posixpath.join(posixpath.dirname(name), staging)


class _Remote(Protocol):
    """What the two protocols can do; names are the storage's. A missing file is FileNotFoundError."""

    is_exclusive: bool

    def write(self, name: str, content: File[Any]) -> int:
        """Save as the storage does; return the count of bytes that were sent."""

    def size(self, name: str) -> int: ...

    def holds(self, name: str) -> bool: ...

    def rename(self, name: str, to: str) -> None:
        """Rename to a free name; raise NameTaken."""

    def replace(self, name: str, to: str) -> None:
        """Rename to a name that is free or not."""

    def remove(self, name: str) -> None:
        """Remove a file; that there is none is as good."""


def _move_aside(remote: _Remote, name: str, to: str) -> None:
    """Replace a file in two steps; if the second fails, the old file is put back."""
    aside = name + ASIDE
    remote.rename(to, aside)
    try:
        remote.rename(name, to)
    except BaseException:
        with suppress(Exception):
            remote.rename(aside, to)
        raise
    with suppress(Exception):  # hidden, and collected some time
        remote.remove(aside)


class _SFTP:
    is_exclusive = True

    def __init__(self, storage: Any) -> None:
        self._storage = storage

    def write(self, name: str, content: File[Any]) -> int:
        self._storage._save(name, content)
        return int(content.tell())

    def size(self, name: str) -> int:
        size: int = self._storage.sftp.stat(self._path(name)).st_size
        return size

    def holds(self, name: str) -> bool:
        try:
            self._storage.sftp.lstat(self._path(name))
        except FileNotFoundError:
            return False
        return True

    def rename(self, name: str, to: str) -> None:
        try:
            self._storage.sftp.rename(self._path(name), self._path(to))
        except OSError as error:
            # Version 3 has one code for every failure that is neither "no such file" nor "permission denied".
            if error.errno is None and self.holds(to) and self.holds(name):
                raise NameTaken(to) from error
            raise

    def replace(self, name: str, to: str) -> None:
        try:
            self._storage.sftp.posix_rename(self._path(name), self._path(to))
        except OSError as error:
            if error.errno is not None or not self.holds(name):
                raise
            if self.holds(to):
                _move_aside(self, name, to)
            else:
                self.rename(name, to)

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._storage.sftp.remove(self._path(name))

    def _path(self, name: str) -> str:
        path: str = self._storage._remote_path(name)
        return path


class _FTP:
    is_exclusive = False

    def __init__(self, storage: Any) -> None:
        self._storage = storage

    def write(self, name: str, content: File[Any]) -> int:
        with ftp.connected(self._storage):
            self._storage._put_file(name, content)
        return int(content.tell())

    def size(self, name: str) -> int:
        known = ftp.size(self._storage, name)
        size: int = self._storage.size(name) if known is None else known
        return size

    def holds(self, name: str) -> bool:
        return ftp.holds(self._storage, name)

    def rename(self, name: str, to: str) -> None:
        if self.holds(to):
            raise NameTaken(to)
        self._rename(name, to)

    def replace(self, name: str, to: str) -> None:
        try:
            self._rename(name, to)
        except ftplib.error_perm:
            if not self.holds(to):
                raise
            _move_aside(self, name, to)

    def _rename(self, name: str, to: str) -> None:
        try:
            with ftp.connected(self._storage) as connection:
                connection.rename(name, to)
        except ftplib.error_perm as error:
            if ftp.says(error, "550") and not self.holds(name):
                raise FileNotFoundError(name) from error
            raise

    def remove(self, name: str) -> None:
        try:
            with ftp.connected(self._storage) as connection:
                connection.delete(name)
        except ftplib.error_perm:
            if self.holds(name):
                raise


class _WebDAV:
    is_exclusive = False

    def __init__(self, storage: Any) -> None:
        self._storage = storage

    def write(self, name: str, content: File[Any]) -> int:
        sent: int = self._storage.upload(name, content)
        return sent

    def size(self, name: str) -> int:
        size: int = self._storage.size(name)
        return size

    def holds(self, name: str) -> bool:
        return bool(self._storage.exists(name))

    def rename(self, name: str, to: str) -> None:
        try:
            self._storage.rename(name, to)
        except FileExistsError as error:
            raise NameTaken(to) from error

    def replace(self, name: str, to: str) -> None:
        # Not with the server's own overwriting: some delete the old file even where there is nothing to move.
        if not self.holds(name):
            raise FileNotFoundError(name)
        try:
            self.rename(name, to)
        except NameTaken:
            _move_aside(self, name, to)

    def remove(self, name: str) -> None:
        self._storage.delete(name)


_REMOTES: dict[str, Callable[[Any], _Remote]] = {ftp.PATH: _FTP, sftp.PATH: _SFTP, webdav.PATH: _WebDAV}


def _remote(storage: Storage) -> _Remote:
    return _REMOTES[knowledge.known(storage).path](storage)
