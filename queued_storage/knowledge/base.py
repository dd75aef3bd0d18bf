"""The shape of what is known of a backend, and where it is kept."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

#: Looks at an error of a class of a client library, and tells whether it means what it is listed for.
Judge = Callable[[Any], bool]
Meaning = Literal["missing", "outage", "permanent", "capacity"]


def always(error: Any) -> bool:
    """Tell that every error of the class means it."""
    return True


def compresses(storage: Any) -> bool:
    """Tell whether the storage has the option of django-storages' S3Storage and GoogleCloudStorage."""
    return getattr(storage, "gzip", False) is True


@dataclass(frozen=True, kw_only=True)
class Backend:
    """What is known of a storage class; the defaults hold for a class of which nothing is known.

    Errors are listed by the dotted path of their class, which stands for its subclasses too. They are looked up
    whichever backend raised them: libraries are shared.
    """

    #: Dotted path of the storage class; its subclasses are known with it.
    path: str
    #: Other paths by which settings may name it, or a subclass that keeps its files in the same place.
    spelled: frozenset[str] = frozenset()
    #: The extra of this package that brings the libraries it needs; "" where it needs none.
    extra: str = ""

    #: Errors that say: there is no such file. FileNotFoundError need not be told.
    missing: Mapping[str, Judge] = field(default_factory=dict)
    #: Errors about reaching the server, which other files would meet too. TimeoutError and ConnectionError need not.
    outage: Mapping[str, Judge] = field(default_factory=dict)
    #: Errors which trying again cannot mend before somebody changes something: a login, a name, a bucket.
    permanent: Mapping[str, Judge] = field(default_factory=dict)
    #: Errors that say: there is no room for the file.
    capacity: Mapping[str, Judge] = field(default_factory=dict)
    #: Errors whose text is the configuration of their storage, password included.
    unprintable: frozenset[str] = frozenset()

    #: Whether ``open()`` itself finds out that a file is missing or a server is dead, instead of the first read.
    opens_eagerly: bool = False
    #: Opens a file as a seekable raw stream with a ``size``, where the backend's ``_open`` would fetch the whole of it
    #: first, or keep it in memory; None has ``open()`` do it after all. A subclass's own ``_open`` is respected.
    stream: Callable[[Any, str], io.RawIOBase | None] | None = None
    #: Whether such a stream is read on to its end after the file was deleted.
    stream_goes_on: bool = False

    #: The attribute, and its value, with which a save replaces what has the name, in one step.
    overwriting: tuple[str, Any] | None = None
    #: Whether new content appears whole in one step, so that readers never see a part of it.
    publishes_at_once: bool = False
    #: Tells whether the storage may compress what it stores, so that its sizes are not the files'.
    changes_content: Callable[[Any], bool] = compresses
    #: Whether content types are stored with the files.
    keeps_content_type: bool = False
    #: Whether two instances are two stores, so that threads must share one. All others get an instance for each thread.
    is_one_store: bool = False
    #: Whether what it does is part of a transaction of the thread that asks, so that no other thread can ask for it.
    joins_transactions: bool = False
    #: Returns the alias, in DATABASES, of the database whose transactions they are. Without it, or where it returns
    #: None, they are taken for those of any: work on files waits while one of another than the catalog's is under way.
    transactions_of: Callable[[Any], str | None] | None = None

    #: Methods to use in place of the class's own, which lie; a subclass's own methods are respected.
    amendments: Mapping[str, Callable[..., Any]] = field(default_factory=dict)

    #: What tells the place of the files: a word for the kind, and options, each with the setting that is its default.
    place: tuple[str, tuple[tuple[str, str], ...]] | None = None


_backends: dict[str, Backend] = {}


def register(backend: Backend) -> Backend:
    """Make the backend known; what was known under its path is replaced."""
    _backends[backend.path] = backend
    _known.cache_clear()
    return backend


def forget(backend: Backend) -> None:
    """Know the backend no more."""
    del _backends[backend.path]
    _known.cache_clear()


def registered() -> Iterator[Backend]:
    """Yield every backend that is known."""
    yield from _backends.values()


def known(storage: object) -> Backend:
    """Return what is known of the storage, or class of storages, by the nearest of its bases that is known."""
    return _known(storage if isinstance(storage, type) else type(storage))


@lru_cache(maxsize=1024)
def _known(cls: type) -> Backend:
    return next((_backends[path] for path in class_paths(cls) if path in _backends), _UNKNOWN)


_UNKNOWN = Backend(path="")


def known_by_path(path: str) -> Backend:
    """Return what is known of the class that the settings name so, without importing it."""
    named = (each for each in _backends.values() if path == each.path or path in each.spelled)
    return next(named, _UNKNOWN)


def missing_extra(path: str, error: BaseException) -> str:
    """Return the extra to install for a class that cannot be imported, if a missing library is why; else ""."""
    extra = known_by_path(path).extra
    cause: BaseException | None = error
    while extra and cause is not None:
        if isinstance(cause, ModuleNotFoundError):
            return extra
        cause = cause.__cause__ or cause.__context__
    return ""


def judged(meaning: Meaning, error: BaseException) -> bool:
    """Tell whether the error means this to one of the backends."""
    paths = class_paths(type(error))
    judges = (getattr(backend, meaning) for backend in _backends.values())
    return any(path in each and each[path](error) for each in judges for path in paths)


def is_unprintable(error: BaseException) -> bool:
    """Tell whether the error's text is the configuration of its storage."""
    paths = class_paths(type(error))
    return any(path in backend.unprintable for backend in _backends.values() for path in paths)


def class_paths(cls: type) -> list[str]:
    """Return the dotted paths of the class and its bases: enough to know a class without importing it."""
    return [f"{base.__module__}.{base.__qualname__}" for base in cls.__mro__]
