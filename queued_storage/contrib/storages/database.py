"""Files in the project's database: whole or not at all, and in the caller's own transaction.

A save writes its content, in chunks, where nobody sees it, and gives it to the name at the end. Readers hold on to the
content that the name had when they opened it; so what was replaced or deleted stays for ``linger`` seconds, and what
saves and deletes come later removes it. What a crash left half-written goes the same way, after a day.

Inside the caller's ``atomic()`` all of it is part of that transaction: after a rollback there was no save, and what a
save replaced, or a delete deleted, is there as before.
"""

from __future__ import annotations

import errno
import io
import mimetypes
import posixpath
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from django.apps import apps
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import File
from django.core.files.storage import Storage
from django.db import DatabaseError, IntegrityError, connections, router, transaction
from django.utils.deconstruct import deconstructible
from django.utils.encoding import filepath_to_uri

from queued_storage.exceptions import ConfigurationError

from .chunks import ChunkedStream, cut

if TYPE_CHECKING:
    from .models import DatabaseContent
    from .rows import Rows

APP = "queued_storage.contrib.storages"
#: A larger chunk could exceed MariaDB's default of 16 MB for a statement, in which bytes are quoted.
MAX_CHUNK = 4 << 20
#: How many contents that nobody needs any more one save or delete removes.
COLLECTED_AT_ONCE = 10
#: How often a save goes for a name, where others take and leave it in the same moments.
ATTEMPTS = 10
_MAX_CONTENT_TYPE = 255


@deconstructible(path="queued_storage.contrib.storages.database.DatabaseStorage")
class DatabaseStorage(Storage):
    """Keeps files in the tables of ``queued_storage.contrib.storages``.

    ``using`` is an alias of DATABASES; without it the project's routers say where. ``location`` is a folder that all
    names are in. ``linger`` is how many seconds replaced and deleted content stays for those who are reading it.
    """

    def __init__(
        self,
        using: str | None = None,
        location: str = "",
        base_url: str | None = None,
        *,
        allow_overwrite: bool = False,
        chunk_size: int = 1 << 18,
        linger: float = 3600,
    ) -> None:
        if using is not None and using not in connections.settings:
            known = ", ".join(connections)
            raise ConfigurationError(f"DatabaseStorage: DATABASES has no {using!r}; it has {known}.")
        if not 1 <= chunk_size <= MAX_CHUNK:
            raise ConfigurationError(f"DatabaseStorage: write a chunk_size from 1 to {MAX_CHUNK}.")
        if apps.apps_ready:
            _require_app()
        self._using = using
        self._location = _cleaned(location)
        self._base_url = base_url
        self._allow_overwrite = allow_overwrite
        self._chunk_size = chunk_size
        self._linger = timedelta(seconds=linger)

    @property
    def rows(self) -> Rows:
        """The tables, of the database that writers use: a replica may be a moment behind."""
        _require_app()
        # Not before: this module can be imported where the app is not installed.
        from .models import DatabaseFile
        from .rows import Rows

        return Rows(self._using or router.db_for_write(DatabaseFile))

    # ---- reading ----

    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        if mode not in ("r", "rt", "rb"):
            raise io.UnsupportedOperation(
                f"DatabaseStorage opens files to read them, not with {mode!r}; use save()."
            )
        content = self._content(name)
        fetch = partial(self.rows.chunk, content)
        binary = io.BufferedReader(ChunkedStream(fetch, content.size, content.chunk_size))
        file: File[Any] = File(binary if mode == "rb" else io.TextIOWrapper(binary, "utf-8"), name=name)
        file.size = content.size
        return file

    def exists(self, name: str) -> bool:
        return self.rows.holds(self._path(name))

    def size(self, name: str) -> int:
        return self._content(name).size

    def content_type(self, name: str) -> str:
        """Return the type that came with the upload, else the one that the name stands for; "" if neither tells."""
        return self._content(name).content_type

    def get_created_time(self, name: str) -> datetime:
        return self._content(name).saved_at

    def get_modified_time(self, name: str) -> datetime:
        return self._content(name).saved_at

    def url(self, name: str | None) -> str:
        if self._base_url is None:
            raise ValueError("This file is not accessible via a URL.")
        return urljoin(f"{self._base_url.rstrip('/')}/", (filepath_to_uri(name) or "").lstrip("/"))

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """List what is right in the folder; there is nothing in one that no name is in."""
        folder = self._path(path.lstrip("/"))
        folder = f"{folder}/" if folder else ""
        return sorted(self.rows.folders_in(folder)), sorted(self.rows.names_in(folder))

    def _content(self, name: str) -> DatabaseContent:
        content = self.rows.content(self._path(name))
        if content is None:
            raise FileNotFoundError(errno.ENOENT, "The database has no such file", name)
        return content

    def _path(self, name: str) -> str:
        return posixpath.join(self._location, _cleaned(name)).rstrip("/")

    # ---- writing ----

    def is_name_available(self, name: str, max_length: int | None = None) -> bool:
        if self._allow_overwrite:
            return not (max_length and len(name) > max_length)
        return super().is_name_available(name, max_length=max_length)

    def get_alternative_name(self, file_root: str, file_ext: str) -> str:
        if self._allow_overwrite:
            return f"{file_root}{file_ext}"
        return super().get_alternative_name(file_root, file_ext)

    def _save(self, name: str, content: File[Any]) -> str:
        rows = self.rows
        name = _cleaned(name)
        with self._at_once(rows, content), self._unpublished(rows, name, content) as unpublished:
            size = 0
            for number, data in enumerate(cut(content, self._chunk_size)):
                rows.add_chunk(unpublished, number, data)
                size += len(data)
            name = self._publish(rows, unpublished, size, name)
        self._collect_later(rows)
        return name

    def delete(self, name: str) -> None:
        if not name:
            raise ValueError("The name must be given to delete().")
        rows = self.rows
        if rows.delete(self._path(name), linger=self._linger):
            self._collect_later(rows)

    def collect(self, limit: int = COLLECTED_AT_ONCE) -> int:
        """Remove contents that nobody needs any more, at most so many; return how many were removed.

        Saves and deletes do that by themselves, after their transaction.
        """
        return self.rows.collect(limit)

    def _collect_later(self, rows: Rows) -> None:
        transaction.on_commit(partial(rows.collect, COLLECTED_AT_ONCE), using=rows.using, robust=True)

    def _at_once(self, rows: Rows, content: Any) -> AbstractContextManager[Any]:
        """Return one transaction for a short save; during a longer one, others could not write to SQLite."""
        size = getattr(content, "size", None)
        return rows.atomic() if isinstance(size, int) and size <= self._chunk_size else nullcontext()

    @contextmanager
    def _unpublished(self, rows: Rows, name: str, content: Any) -> Iterator[DatabaseContent]:
        unpublished = rows.new_content(self._chunk_size, _content_type(name, content))
        try:
            yield unpublished
        except BaseException:
            with suppress(DatabaseError):  # the first error tells more; what is left here expires
                rows.discard(unpublished)
            raise

    def _publish(self, rows: Rows, unpublished: DatabaseContent, size: int, name: str) -> str:
        """Give the content to the name, or to another if that is taken; return the one that it got."""
        for _ in range(ATTEMPTS - 1):
            try:
                self._give(rows, unpublished, size, name)
            except IntegrityError:
                name = self._another(name)
            else:
                return name
        self._give(rows, unpublished, size, name)
        return name

    def _give(self, rows: Rows, unpublished: DatabaseContent, size: int, name: str) -> None:
        path = self._path(name)
        rows.publish(unpublished, size, path, replacing=self._allow_overwrite, linger=self._linger)

    def _another(self, name: str) -> str:
        # Not get_available_name(): what took the name may not show in this transaction's snapshot.
        folder, base = posixpath.split(name)
        return posixpath.join(folder, self.get_alternative_name(*posixpath.splitext(base)))


def _require_app() -> None:
    if not apps.is_installed(APP):
        raise ConfigurationError(
            f"DatabaseStorage keeps files in tables. Add {APP!r} to INSTALLED_APPS and run migrate."
        )


def _cleaned(name: str) -> str:
    """Return one spelling for each name; raise SuspiciousFileOperation for one that leads out of the storage."""
    text = str(name).replace("\\", "/")
    path = posixpath.normpath(text) if text else ""
    if path.startswith("/") or path.split("/", 1)[0] == "..":
        raise SuspiciousFileOperation(f"{name!r} is outside of the storage.")
    if "\0" in path:
        raise SuspiciousFileOperation(f"{name!r} has a NUL in it.")
    return "" if path == "." else path


def _content_type(name: str, content: Any) -> str:
    told = getattr(content, "content_type", None)
    if told and str(told).isascii() and str(told).isprintable() and len(str(told)) <= _MAX_CONTENT_TYPE:
        return str(told)
    return mimetypes.guess_type(name)[0] or ""
