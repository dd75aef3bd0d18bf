"""Replacing content on a storage that would rather give the new content another name.

Where the backend replaces an object in one step if its option says so, that is done. Where it has no such step, the
new content is saved beside its place first, so that a tier that is full or refuses it does so while the old content is
there, and the old content is kept aside to be put back.
"""

from __future__ import annotations

import os
import posixpath
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from django.core.files.base import File
from django.core.files.storage import Storage

from . import streams, traits
from .exceptions import OldContentNotRestored
from .names import staging_name
from .uploads import Upload


def replace(storage: Storage, name: str, upload: Upload) -> str:
    """Save the content under the name, in place of what it names now; return the name that the storage gave.

    If that fails, the name has its old content again; raise OldContentNotRestored where it has not.
    """
    if (option := traits.overwriting_option(storage)) is not None:
        return traits.with_option(storage, *option).save(name, upload.file())
    if traits.overwrites(storage) and not traits.is_disk(storage):
        return storage.save(name, upload.file())
    if not storage.exists(name):
        return _first(storage, name, upload)
    with _saved_beside(storage, name, upload), _kept_aside(storage, name) as kept:
        return _in_place(storage, name, upload, kept)


def _first(storage: Storage, name: str, upload: Upload) -> str:
    try:
        return storage.save(name, upload.file())
    except BaseException:
        with suppress(Exception):  # the tier's first error tells more
            _remove(storage, name)
        raise


def _in_place(storage: Storage, name: str, upload: Upload, kept: Path) -> str:
    removed = False
    try:
        _remove(storage, name)
        removed = True
        return storage.save(name, upload.file())
    except BaseException as error:
        try:
            if removed or not storage.exists(name):
                _put_back(storage, name, kept)
        except Exception:  # noqa: BLE001 - whatever it was, the content is not where it was
            raise OldContentNotRestored(name, kept) from error
        raise


def _put_back(storage: Storage, name: str, kept: Path) -> None:
    _remove(storage, name)  # a part of the new content may be there
    with kept.open("rb") as old:
        if storage.save(name, File(old, name=name)) != name:
            raise OSError("the name is taken")


@contextmanager
def _saved_beside(storage: Storage, name: str, upload: Upload) -> Iterator[None]:
    """Show that the tier takes the content, under a name that readers do not see."""
    folder, base = posixpath.split(name)
    beside = posixpath.join(folder, staging_name(extension=posixpath.splitext(base)[1]))
    try:
        beside = storage.save(beside, upload.file())
        yield
    finally:
        with suppress(Exception):  # no reason to fail a save that is done
            _remove(storage, beside)


@contextmanager
def _kept_aside(storage: Storage, name: str) -> Iterator[Path]:
    """Copy the content to a file that outlives this process; it stays if the content cannot be put back."""
    descriptor, path = tempfile.mkstemp(prefix="queued-storage-")
    try:
        with open(descriptor, "wb") as copy, streams.open_for_read(storage, name) as old:
            shutil.copyfileobj(old, copy)
        yield Path(path)
    except OldContentNotRestored:
        raise
    except Exception:
        os.unlink(path)
        raise
    else:  # not finally: what stops the process may have stopped the putting back
        os.unlink(path)


def _remove(storage: Storage, name: str) -> None:
    try:
        storage.delete(name)
    except Exception as error:
        if not traits.is_missing(error):
            raise
