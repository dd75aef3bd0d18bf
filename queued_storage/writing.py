"""Putting content on the first tier, whole; and files that are written through ``open()``."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Protocol

from django.core.files.base import File
from django.core.files.storage import Storage

from . import disk, memory, renaming, replacing, staging, traits, uploads
from .uploads import SPOOL


class Content(Protocol):
    """Content that a tier can take under one name, or under another if that one is taken."""

    #: Whether ``publish`` refuses a name that is taken in the same moment; else it may replace what took it.
    is_exclusive: bool
    #: In bytes; None where it is not known before the content is published.
    size: int | None

    def publish(self, name: str, *, overwrite: bool) -> tuple[str, int | None]:
        """Save under the name; return the name that the tier gave, and the size in bytes if it is known."""

    def withdraw(self, name: str) -> None:
        """Take back what was published under the name."""

    def keep(self) -> tuple[str, int | None]:
        """Leave the content beside its place, unpublished; return its base name, or "" where that cannot be."""


@contextmanager
def prepared(storage: Storage, name: str, content: File[Any], *, durable: bool = False) -> Iterator[Content]:
    """Yield the content as something to publish in the directory of ``name``."""
    if disk.can_stage(storage):
        with disk.stage(storage, name, content, durable=durable) as staged:
            yield _Beside(staged)
    elif renaming.can_stage(storage):
        with (
            uploads.repeatable(content) as upload,
            staging.stage(storage, name, upload.file()) as staged_there,
        ):
            yield _Beside(staged_there)
    elif memory.can_stage(storage):
        yield _InMemory(memory.Staged(storage, content))
    else:
        with uploads.repeatable(content) as upload:
            yield _Elsewhere(storage, upload)


@contextmanager
def withdrawn_on_failure(content: Content, name: str) -> Iterator[None]:
    """Take back what was published under a name that was free, if what comes with it fails."""
    try:
        yield
    except BaseException:
        content.withdraw(name)
        raise


def publish_new(content: Content, name: str, *, overwrite: bool) -> tuple[str, int | None]:
    """Publish under a name that was free, and that nobody else takes now; a failure leaves nothing there."""
    try:
        return content.publish(name, overwrite=overwrite)
    except Exception:
        if not content.is_exclusive:  # the storage may have got a part of it, or all, before it failed
            with suppress(Exception):  # the first error tells more
                content.withdraw(name)
        raise


class _Beside:
    def __init__(self, staged: staging.Staged) -> None:
        self._staged = staged
        self.is_exclusive = staged.is_exclusive
        self.size: int | None = staged.size
        self.withdraw = staged.withdraw

    def keep(self) -> tuple[str, int | None]:
        self._staged.kept = True
        return self._staged.base_name, self._staged.size

    def publish(self, name: str, *, overwrite: bool) -> tuple[str, int | None]:
        self._staged.publish(name, overwrite=overwrite)
        return name, self._staged.size


class _InMemory:
    is_exclusive = True

    def __init__(self, staged: memory.Staged) -> None:
        self._staged = staged
        self.size: int | None = staged.size
        self.withdraw = staged.withdraw

    def keep(self) -> tuple[str, int | None]:
        return "", None

    def publish(self, name: str, *, overwrite: bool) -> tuple[str, int | None]:
        self._staged.publish(name, overwrite=overwrite)
        return name, self._staged.size


class _Elsewhere:
    is_exclusive = False

    def __init__(self, storage: Storage, upload: uploads.Upload) -> None:
        self._storage = storage
        self._upload = upload
        self.size: int | None = upload.size

    def publish(self, name: str, *, overwrite: bool) -> tuple[str, int | None]:
        if overwrite:
            saved = replacing.replace(self._storage, name, self._upload)
        else:
            saved = self._storage.save(name, self._upload.file())
        return saved, self._size(saved)

    def withdraw(self, name: str) -> None:
        self._storage.delete(name)

    def keep(self) -> tuple[str, int | None]:
        return "", None

    def _size(self, name: str) -> int | None:
        """Return the size that readers will be told: a local class with its own way of saving may change it."""
        if not traits.is_local(self._storage):
            return self._upload.size
        try:
            return self._storage.size(name)
        except Exception:  # noqa: BLE001 - the content is saved, and that its size cannot be told does not undo it
            return None


class WrittenFile(File):  # type: ignore[type-arg]
    """A file that is written aside and saved, whole, when it is closed; dropped if its ``with`` block fails."""

    def __init__(
        self, name: str, mode: str, before: File[bytes] | None, save: Callable[[File[bytes]], None]
    ) -> None:
        self._save = save
        self._spool = tempfile.SpooledTemporaryFile(max_size=SPOOL)  # noqa: SIM115 - closed by close()
        if before is not None:
            with before:
                for chunk in before.chunks():
                    self._spool.write(chunk)
        if "a" not in mode:
            self._spool.seek(0)
        self._open = True
        text = "b" not in mode
        file = io.TextIOWrapper(self._spool, encoding="utf-8", write_through=True) if text else self._spool
        super().__init__(file, name=name)
        self.mode = mode

    @property
    def closed(self) -> bool:
        return not self._open

    def close(self) -> None:
        """Save what was written; closing again does nothing."""
        if not self._open:
            return
        self._open = False
        try:
            self._spool.seek(0)
            self._save(File(self._spool, name=self.name))
        finally:
            self._spool.close()

    def discard(self) -> None:
        """Drop what was written."""
        self._open = False
        self._spool.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


def writes(mode: str) -> bool:
    """Tell whether the mode of ``open()`` asks to write."""
    return any(letter in mode for letter in "wax+")


def check_mode(mode: str) -> None:
    """Raise ValueError for what the built-in ``open()`` would refuse."""
    letters = set(mode)
    known = letters <= set("rwaxbt+") and len(letters) == len(mode)
    if not known or len(letters & set("rwax")) != 1 or {"b", "t"} <= letters:
        raise ValueError(f"invalid mode: {mode!r}")
