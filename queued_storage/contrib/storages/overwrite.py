"""A save under a taken name keeps the name and replaces the file."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage
from django.utils.deconstruct import deconstructible

from ...exceptions import OldContentNotRestored
from ...spooling import SPOOL, spooled


@deconstructible(path="queued_storage.contrib.storages.overwrite.OverwriteStorage")
class OverwriteStorage(FileSystemStorage):
    """FileSystemStorage with ``allow_overwrite=True``.

    By itself it writes into the file that readers see, as Django does; in a chain a file is replaced at once.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options | {"allow_overwrite": True})


class OverwriteMixin:
    """Overwrites in front of a storage that has no option for that: SFTPStorage, LibCloudStorage.

    The new content is copied to a temporary file first, and the old one too. Then the old file is deleted, the new one
    saved, and the old one put back if that fails; OldContentNotRestored tells where it is if it cannot be. Readers miss
    the file meanwhile.
    """

    _allow_overwrite = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if issubclass(cls, FileSystemStorage):
            raise TypeError(f"{cls.__name__}: disks have an option for it. Derive it from OverwriteStorage.")

    def is_name_available(self, name: str, max_length: int | None = None) -> bool:
        return not (max_length and len(name) > max_length)

    def get_alternative_name(self, file_root: str, file_ext: str) -> str:
        return f"{file_root}{file_ext}"

    def _save(self, name: str, content: File[Any]) -> str:
        storage: Any = super()
        if not storage.exists(name):
            return str(storage._save(name, content))
        # Content that breaks off must do so before anything is touched: others may save under the name meanwhile.
        with _copied(content.name, _bytes(content)) as new, self._kept(name) as old:
            if content_type := getattr(content, "content_type", None):
                new.content_type = content_type
            try:
                storage.delete(name)
                return str(storage._save(name, new))
            except BaseException as error:
                self._put_back(name, old, new, error)
                raise

    def _put_back(self, name: str, old: _Copy, new: _Copy, error: BaseException) -> None:
        """Give the name its old content again, but not in place of what another save has stored meanwhile."""
        storage: Any = super()
        try:
            if storage.exists(name):
                if not self._holds_part_of(new, name):
                    return
                storage.delete(name)
            if storage._save(name, old) != name:
                raise OSError("the name is taken")
        except Exception:  # noqa: BLE001 - whatever it was, the content is not where it was
            raise OldContentNotRestored(name, old.written_out()) from error

    def _holds_part_of(self, new: _Copy, name: str) -> bool:
        storage: Any = self
        new.seek(0)
        with storage.open(name, "rb") as file:
            return all(new.read(len(data)) == data for data in iter(lambda: file.read(SPOOL), b""))

    @contextmanager
    def _kept(self, name: str) -> Iterator[_Copy]:
        storage: Any = self
        with storage.open(name, "rb") as file, _copied(name, iter(lambda: file.read(SPOOL), b"")) as kept:
            yield kept


class _Copy(File):  # type: ignore[type-arg]
    """A temporary file, which stays open when the storage that has read it closes it."""

    content_type: str

    def close(self) -> None:
        """It may be needed again."""

    def written_out(self) -> Path:
        """Return a file with the content, which stays."""
        self.seek(0)
        with tempfile.NamedTemporaryFile(prefix="queued-storage-", delete=False) as file:
            shutil.copyfileobj(self, file)
        return Path(file.name)


@contextmanager
def _copied(name: str | None, chunks: Iterable[bytes]) -> Iterator[_Copy]:
    with spooled(lambda spool: spool.writelines(chunks)) as spool:
        yield _Copy(spool, name)


def _bytes(content: File[Any]) -> Iterator[bytes]:
    for chunk in content.chunks():
        yield chunk.encode() if isinstance(chunk, str) else chunk
