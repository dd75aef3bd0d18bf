"""The statements of DatabaseStorage: what it does to the rows of one database."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import wraps
from typing import Any, TypeVar

from django.db import OperationalError, connections, models, transaction
from django.utils import timezone

from .models import FOLDER_BYTES, DatabaseChunk, DatabaseContent, DatabaseFile

#: For how long a content may be written before it counts as left behind.
UNFINISHED = timedelta(days=1)
#: How often work is begun whose transaction the database ends in favour of another's.
BEGINNINGS = 5
#: What databases say of such a one: MySQL's and MariaDB's number, PostgreSQL's SQLSTATEs.
_DEADLOCK = frozenset({1213, "40P01", "40001"})

Work = TypeVar("Work", bound=Callable[..., Any])


def _begun_again(work: Work) -> Work:
    """Have the method begin again after a deadlock; in the caller's transaction, which is lost with it, it cannot."""

    @wraps(work)
    def working(self: Rows, *args: Any, **kwargs: Any) -> Any:
        if connections[self.using].in_atomic_block:
            return work(self, *args, **kwargs)
        for _ in range(BEGINNINGS - 1):
            try:
                return work(self, *args, **kwargs)
            except OperationalError as error:
                if not _is_deadlock(error):
                    raise
        return work(self, *args, **kwargs)

    return working  # type: ignore[return-value] # of the same signature


def _is_deadlock(error: OperationalError) -> bool:
    told = {error.args[0] if error.args else None, getattr(error.__cause__, "sqlstate", None)}
    return not _DEADLOCK.isdisjoint(told)


class Rows:
    """The names, contents and chunks in one database; a path is the whole name, with the storage's location."""

    def __init__(self, using: str) -> None:
        self.using = using

    def atomic(self) -> Any:
        return transaction.atomic(using=self.using)

    # ---- reading ----

    def holds(self, path: str) -> bool:
        return self._named(path).exists()

    def content(self, path: str) -> DatabaseContent | None:
        """Return what readers find by this name."""
        return self._contents.filter(file__key=DatabaseFile.key_of(path)).first()

    def chunk(self, content: DatabaseContent, number: int) -> bytes:
        """Return the bytes of a chunk; raise OSError if the content was removed meanwhile."""
        chunk = self._chunks.filter(content=content, number=number).values_list("data", flat=True)
        try:
            return bytes(chunk.get())
        except DatabaseChunk.DoesNotExist:
            raise OSError(errno.ESTALE, "Replaced or deleted, and not kept for who was reading it") from None

    def names_in(self, folder: str) -> Iterator[str]:
        """Yield the names right in this folder, whose path is empty or ends with "/"."""
        for name in self._names_by_folder(_indexed(folder)):
            if name.startswith(folder) and "/" not in name.removeprefix(folder):
                yield name.removeprefix(folder)

    def folders_in(self, folder: str) -> set[str]:
        """Return the folders right in this one, with one look into the index for each of them."""
        prefix = folder.encode()
        if len(prefix) >= FOLDER_BYTES:
            return self._folders_by_name(folder, _indexed(folder))
        found: set[str] = set()
        below = self._files.order_by("folder").values_list("folder", flat=True)
        if prefix:
            below = below.filter(folder__lt=_after(prefix[:-1]))
        at = prefix + b"\0"
        while (told := below.filter(folder__gte=at).first()) is not None:
            path = bytes(told)
            part, slash, _ = path.removeprefix(prefix).partition(b"/")
            if slash:
                found.add(part.decode())
                at = _after(prefix + part)
            else:  # longer than what is indexed of it
                found |= self._folders_by_name(folder, path)
                at = path + b"\0"
        return found

    def _folders_by_name(self, folder: str, indexed: bytes) -> set[str]:
        names = (name for name in self._names_by_folder(indexed) if name.startswith(folder))
        parts = (name.removeprefix(folder).partition("/") for name in names)
        return {part for part, slash, _ in parts if slash}

    def _names_by_folder(self, indexed: bytes) -> Iterator[str]:
        return self._files.filter(folder=indexed).values_list("name", flat=True).iterator()

    # ---- writing ----

    @_begun_again
    def new_content(self, chunk_size: int, content_type: str) -> DatabaseContent:
        """Begin a content that nobody sees."""
        now = timezone.now()
        return self._contents.create(
            chunk_size=chunk_size, content_type=content_type, saved_at=now, expires_at=now + UNFINISHED
        )

    @_begun_again
    def add_chunk(self, content: DatabaseContent, number: int, data: bytes) -> None:
        # Not create(): nobody listens to signals about chunks, and their data would be kept in the instance.
        self._chunks.bulk_create([DatabaseChunk(content=content, number=number, data=data)])

    @_begun_again
    def publish(
        self, content: DatabaseContent, size: int, path: str, *, replacing: bool, linger: timedelta
    ) -> None:
        """Give the content to the name; raise IntegrityError if that is taken, or if others are at it as well."""
        with self.atomic():
            unpublished = self._contents.filter(pk=content.pk, expires_at__isnull=False)
            if not unpublished.update(size=size, saved_at=timezone.now(), expires_at=None):
                raise OSError(errno.ESTALE, "It took so long to write that it counted as left behind", path)
            replaced = self._lock(path) if replacing else None
            if replaced is None:
                folder = path[: path.rfind("/") + 1]
                self._files.create(
                    key=DatabaseFile.key_of(path), name=path, folder=_indexed(folder), content=content
                )
            else:
                self._named(path).update(content=content)
                self._retire(replaced, linger)

    @_begun_again
    def delete(self, path: str, *, linger: timedelta) -> bool:
        """Take the name away; return False if there was none."""
        with self.atomic():
            content = self._lock(path)
            if content is None:
                return False
            self._named(path).delete()
            self._retire(content, linger)
        return True

    def _lock(self, path: str) -> int | None:
        """Lock the name until the transaction's end; return the id of its content, None where there is no such name."""
        # By a write: SQLite knows no SELECT FOR UPDATE, and may refuse a transaction that reads before it writes.
        named = self._named(path)
        return named.values_list("content_id", flat=True).get() if named.update(name=path) else None

    # ---- what nobody needs any more ----

    def _retire(self, content: int, linger: timedelta) -> None:
        self._contents.filter(pk=content).update(expires_at=timezone.now() + linger)

    def collect(self, limit: int) -> int:
        """Remove contents whose time is over, the oldest first, at most so many; return how many that were."""
        expired = self._contents.filter(expires_at__lte=timezone.now()).order_by("expires_at")
        contents = list(expired.values_list("pk", flat=True)[:limit])
        return sum(self._remove(content, expired) for content in contents)

    def discard(self, content: DatabaseContent) -> None:
        """Remove a content that was not published."""
        self._remove(content.pk, self._contents.filter(expires_at__isnull=False))

    @_begun_again
    def _remove(self, content: int, removable: models.QuerySet[DatabaseContent]) -> bool:
        """Remove the content if it still is what may be removed: its save may have come to its end after all."""
        with self.atomic():
            if not removable.order_by().filter(pk=content).update(size=0):  # which locks it
                return False
            # Not delete(): for a project that listens to the signals of all models it would load every chunk.
            self._chunks.filter(content=content)._raw_delete(self.using)
            self._contents.filter(pk=content)._raw_delete(self.using)
        return True

    # ---- tables ----

    def _named(self, path: str) -> models.QuerySet[DatabaseFile]:
        return self._files.filter(key=DatabaseFile.key_of(path))

    @property
    def _files(self) -> models.QuerySet[DatabaseFile]:
        return DatabaseFile._base_manager.using(self.using)

    @property
    def _contents(self) -> models.QuerySet[DatabaseContent]:
        return DatabaseContent._base_manager.using(self.using)

    @property
    def _chunks(self) -> models.QuerySet[DatabaseChunk]:
        return DatabaseChunk._base_manager.using(self.using)


def _indexed(folder: str) -> bytes:
    return folder.encode()[:FOLDER_BYTES]


def _after(path: bytes) -> bytes:
    """Return what comes, in the order of bytes, right after everything below this path."""
    return path + bytes([ord("/") + 1])
