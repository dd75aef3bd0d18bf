"""Copies that the project's own code makes, as 0.8's task classes did; the engine checks them like its own.

That code gets the two storages behind thin covers, so that what was written for 0.8 keeps today's guarantees: what
it reads is counted, what it saves appears whole and under the file's own name, and what it deletes from the source
goes only after the copy is verified.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.files.base import File
from django.core.files.storage import Storage
from django.utils.module_loading import import_string

from . import knowledge, stock
from .exceptions import ConfigurationError, NotCopied

#: The base of the tasks that projects have of 0.8's time.
TASK = "queued_storage.tasks.Transfer"


class Source:
    """The storage that holds the file."""

    def __init__(self, storage: Storage, name: str, opener: Callable[[], File[bytes]]) -> None:
        self._storage = storage
        self._name = name
        self._opener = opener
        #: Whether the code deleted the file here.
        self.given_up = False

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._storage, attribute)

    def open(self, name: str, mode: str = "rb") -> File[Any]:
        return self._opener() if (name, mode) == (self._name, "rb") else self._storage.open(name, mode)

    def delete(self, name: str) -> None:
        if name == self._name:
            self.given_up = True
        else:
            self._storage.delete(name)


class Destination:
    """The storage that is to hold the file."""

    def __init__(self, storage: Storage, name: str, publish: Callable[[File[Any]], object]) -> None:
        self._storage = storage
        self._name = name
        self._publish = publish

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._storage, attribute)

    def save(self, name: str | None, content: Any, max_length: int | None = None) -> str:
        if name != self._name:
            return self._storage.save(name, content, max_length)
        self._publish(content if hasattr(content, "chunks") else File(content, name))
        return self._name


def run(copier: str, name: str, source: Source, destination: Destination) -> bool:
    """Have the code copy the file; return whether it deleted the source's; raise NotCopied if it did not copy."""
    code = find(copier)
    task = getattr(code, "transfer", None)
    done = (task or code)(name, source, destination)
    if done is False:
        raise NotCopied(f"{copier} returned False for {name!r}")
    if done is not True and not (done is None and task is None):  # a plain function need not say anything
        raise ValueError(f"{copier} returned {type(done).__name__}; return True, or False to be called again")
    return source.given_up


class NeverCalled(ConfigurationError):
    """The project's task has a method that 0.8 called, and nothing calls now."""


def find(copier: str) -> Any:
    """Return what the dotted path names, made where it is a class; raise ConfigurationError."""
    try:
        code = import_string(copier)
    except ImportError as error:
        raise ConfigurationError(f"task {copier!r} cannot be imported: {error}") from error
    if isinstance(code, type):
        code = _made(code)
    if not callable(getattr(code, "transfer", code)):
        raise ConfigurationError(
            f"task {copier!r} is neither a function (name, local, remote) nor a class with such a transfer()."
        )
    if TASK in knowledge.class_paths(type(code)) and not stock.has_stock(code, "run", TASK):
        raise NeverCalled(
            f"task {copier!r} has a run() of its own, which is not called; do its work in transfer()."
        )
    return code


def require_remade(task: Any) -> None:
    """Raise ConfigurationError for an instance of a task that a worker, which knows its class, would make otherwise."""
    if isinstance(task, str | type) or not hasattr(task, "transfer"):
        return
    if _state(_made(type(task))) != _state(task):
        raise ConfigurationError(
            f"task: a worker makes {type(task).__name__}() by itself, without what this instance was given. "
            "Write a subclass that has it in its class attributes."
        )


def _state(task: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(task).items() if not name.startswith("__")}  # Celery's own


def _made(code: type) -> Any:
    try:
        return code()
    except TypeError as error:
        raise ConfigurationError(
            f"task: a worker cannot make {code.__name__}(), without arguments: {error}. "
            "Write a subclass that has them in its class attributes."
        ) from error
