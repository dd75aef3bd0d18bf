"""What the engine asks of a storage before it acts, and what may be told of errors; the facts are in ``knowledge``."""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from typing import Any, TypeVar

from django.conf import settings
from django.core.files.storage import FileSystemStorage, InMemoryStorage, Storage
from django.utils import timezone

from . import knowledge, stock
from .failures import (
    is_capacity,
    is_missing,
    is_outage,
    is_permanent,
    is_programming_error,
    prints_its_options,
)
from .knowledge import class_paths, s3

S = TypeVar("S", bound=Storage)

__all__ = [
    "changes_content",
    "class_paths",
    "describe",
    "is_capacity",
    "is_disk",
    "is_local",
    "is_local_class",
    "is_missing",
    "is_outage",
    "is_permanent",
    "is_programming_error",
    "is_s3",
    "keeps_content_in_instance",
    "opens_eagerly",
    "overwrites",
    "overwriting_option",
    "redact",
    "tells",
    "tells_itself",
    "warm_up",
]

# ---- errors ----


def describe(error: BaseException, secrets: Iterable[str] = ()) -> str:
    """Return the error's class and what it says, without anything that the options of a tier hold."""
    name = type(error).__name__
    if isinstance(error, OSError) and error.errno is not None:
        return f"{name}: [Errno {error.errno}] {os.strerror(error.errno)}"
    if prints_its_options(error):
        behind = error.__cause__ or error.__context__
        return name if behind is None else f"{name}: {describe(behind, secrets)}"
    text = " ".join(redact(str(error), secrets).split())
    return f"{name}: {text[:500]}" if text else name


def redact(text: str, secrets: Iterable[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def tells(error: BaseException | None, secrets: Collection[str]) -> bool:
    """Tell whether the error, or one that it was raised from, would print one of the secrets."""
    return any(_tells(each, secrets) for each in _all_behind(error))


def tells_itself(error: BaseException, secrets: Collection[str]) -> bool:
    """Tell whether the error would print one of the secrets even without those that it was raised from."""
    return _tells(error, secrets) or any(tells(each, secrets) for each in getattr(error, "exceptions", ()))


def _tells(error: BaseException, secrets: Collection[str]) -> bool:
    text = f"{error} {error!r} {error.args!r} {getattr(error, '__notes__', '')}"
    return prints_its_options(error) or any(secret in text for secret in secrets)


def _all_behind(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error, and each that it was raised from or groups."""
    waiting, seen = [error], set()
    while waiting:
        error = waiting.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        yield error
        waiting += [error.__cause__, error.__context__, *getattr(error, "exceptions", ())]


# ---- storages ----


def is_local_class(backend: type[Storage]) -> bool:
    """Tell whether storages of the class answer from this machine's disk or memory, so that asking is free."""
    return issubclass(backend, FileSystemStorage | InMemoryStorage)


def is_local(storage: Storage) -> bool:
    """Tell whether the storage answers from this machine's disk or memory, so that asking it is free."""
    return isinstance(storage, FileSystemStorage | InMemoryStorage)


def is_disk(storage: Storage) -> bool:
    """Tell whether what the storage opens is a file of this machine's disk, in any mode."""
    return isinstance(storage, FileSystemStorage)


def is_directory(storage: Storage, name: str) -> bool:
    """Tell whether a disk has a folder by this name, where an object store may have a file."""
    return isinstance(storage, FileSystemStorage) and os.path.isdir(storage.path(name))


def keeps_content_in_instance(backend: type) -> bool:
    """Tell whether two instances of the class are two stores, so that threads must share one."""
    return knowledge.known(backend).is_one_store


def joins_transactions(backend: type[Storage]) -> bool:
    """Tell whether only the thread that asks can use the storage, as it takes part in that thread's transaction."""
    return knowledge.known(backend).joins_transactions


def joined_database(storage: Storage) -> str | None:
    """Return the alias of the database whose transactions a storage takes part in; None where it may be any."""
    of = knowledge.known(storage).transactions_of
    return None if of is None else of(storage)


def overwrites(storage: Storage) -> bool:
    """Tell whether a save under a taken name keeps the name and replaces the content."""
    if getattr(storage, "write_mode", None) == "overwrite":
        return True
    return any(getattr(storage, option, False) is True for option in _OVERWRITE_OPTIONS)


_OVERWRITE_OPTIONS = (
    "_allow_overwrite",
    "file_overwrite",
    "overwrite_files",
    "allow_overwrite",
    "auto_overwrite",
)


def replaces_at_once(storage: Storage) -> bool:
    """Tell whether the storage replaces what readers see in one step: it is known, or says so as object stores do."""
    if knowledge.known(storage).publishes_at_once or getattr(storage, "write_mode", None) == "overwrite":
        return True
    return any(getattr(storage, option, False) is True for option in ("file_overwrite", "overwrite_files"))


def overwriting_option(storage: Storage) -> tuple[str, Any] | None:
    """Return the attribute, and its value, with which a save replaces an object in one step; None without one."""
    # FTPStorage's ``allow_overwrite`` is none: it writes into the file that readers see.
    return knowledge.known(storage).overwriting


def with_option(storage: S, option: str, value: Any) -> S:
    """Return a copy of the storage with another option, on the same connections."""
    # Not copy.copy(): S3Storage gives that no connection, and building one takes a tenth of a second.
    twin = object.__new__(type(storage))
    vars(twin).update(vars(storage) | {option: value})
    return twin


def opens_eagerly(storage: Storage) -> bool:
    """Tell whether ``open()`` itself finds out that a file is missing or a server is dead."""
    return knowledge.known(storage).opens_eagerly


def stream(storage: Storage, name: str, *, may_go: bool = False) -> io.RawIOBase | None:
    """Open the file as a stream in bounded memory, where the storage's own ``open()`` would fetch the whole of it."""
    known = knowledge.known(storage)
    if known.stream is None or (may_go and not known.stream_goes_on):
        return None
    if not _opens_as_known(storage, known.path):
        return None
    return known.stream(storage, name)


def _opens_as_known(storage: Storage, path: str) -> bool:
    """Tell whether the storage opens files as the known class does, amended or not."""
    opens = getattr(type(storage), "_open", None)
    return opens is knowledge.known(storage).amendments.get("_open") or stock.has_stock(
        storage, "_open", path
    )


def is_chain(storage: Storage) -> bool:
    """Tell whether the storage is a chain of this package itself."""
    return is_chain_class(type(storage))


def is_chain_class(backend: type[Storage]) -> bool:
    """Tell whether storages of the class are chains of this package itself."""
    return "queued_storage.storage.TieredStorage" in class_paths(backend)


def is_s3(storage: Storage) -> bool:
    return knowledge.known(storage).path == s3.PATH


def warm_up(storage: Storage) -> None:
    """Build the client that the storage would build at its first request; S3's loads for up to a second."""
    if is_s3(storage):
        _ = storage.bucket  # type: ignore[attr-defined]


def changes_content(storage: Storage) -> bool:
    """Tell whether the storage may compress what it stores, so that its sizes are not the file's."""
    return knowledge.known(storage).changes_content(storage)


def as_settings_say(moment: datetime) -> datetime:
    """Return the time as Django's storages tell it: aware where USE_TZ is on, else naive and local."""
    if settings.USE_TZ and timezone.is_naive(moment):
        return timezone.make_aware(moment)
    if not settings.USE_TZ and timezone.is_aware(moment):
        return timezone.make_naive(moment)
    return moment
