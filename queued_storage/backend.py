"""The names of django-queued-storage 0.3, each with a DeprecationWarning that says what to write instead."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from django.utils.module_loading import import_string

from . import former
from .backends import FILE_SYSTEM, QueuedStorage
from .exceptions import ConfigurationError

#: What 0.3 called the arguments, and what they are called now.
_ARGUMENTS = {
    "local_class": "local",
    "remote_class": "remote",
    "local_kwargs": "local_options",
    "remote_kwargs": "remote_options",
}


class QueuedRemoteStorage(QueuedStorage):
    """0.3's spelling of ``queued_storage.backends.QueuedStorage``; ``task`` may be an instance."""

    instead = "QueuedStorage"

    def __init__(  # noqa: PLR0917 - 0.3's signature
        self,
        local: Any = None,
        remote: Any = None,
        cache_prefix: str | None = None,
        task: Any = None,
        local_args: Sequence[Any] | None = None,
        local_kwargs: dict[str, Any] | None = None,
        remote_args: Sequence[Any] | None = None,
        remote_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        former.warn(f"Write queued_storage.backends.{self.instead} instead of {self._deprecated_name()}.")
        given = {
            "local": local,
            "remote": remote,
            "cache_prefix": cache_prefix,
            "task": task,
            "local_kwargs": local_kwargs,
            "remote_kwargs": remote_kwargs,
            **kwargs,
        }
        named = {_ARGUMENTS.get(name, name): value for name, value in given.items() if value is not None}
        for tier, positional in (("local", local_args), ("remote", remote_args)):
            if positional:
                storage = named.get(tier) or getattr(type(self), tier)
                options = named.get(f"{tier}_options", {})
                named[f"{tier}_options"] = {**_by_name(storage, positional), **options}
        super().__init__(**named)
        self._is_written_by_class = False  # a migration need not depend on what is deprecated
        self._constructor_args = ((self.alias,), {"policy": self._policy})

    def _deprecated_name(self) -> str:
        return next(kind.__name__ for kind in type(self).__mro__ if kind.__module__ == __name__)

    def get_cache_key(self, name: str) -> str:
        """Return 0.3's key of the file; nothing is kept under it any more."""
        return f"{self.cache_prefix}{quote(name)}"


class DoubleFilesystemStorage(QueuedRemoteStorage):
    instead = "QueuedFileSystemStorage(remote='django.core.files.storage.FileSystemStorage')"
    local = FILE_SYSTEM
    remote = FILE_SYSTEM


class S3Storage(QueuedRemoteStorage):
    instead = "QueuedS3BotoStorage"
    local = FILE_SYSTEM
    remote = "storages.backends.s3.S3Storage"


class DelayedStorage(QueuedRemoteStorage):
    instead = "QueuedStorage(delayed=True)"
    delayed = True

    def upload(self, name: str) -> str:
        self.transfer(name)
        return name


def _by_name(storage: Any, positional: Sequence[Any]) -> dict[str, Any]:
    """Return the options that these arguments of the storage class are, so that they can be told apart."""
    backend = _imported(former.of_today(storage)) if isinstance(storage, str) else storage
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    _, *parameters = inspect.signature(backend.__init__).parameters.values()
    names = [each.name for each in parameters if each.kind in kinds]
    if len(positional) > len(names):
        raise ConfigurationError(
            f"{backend.__name__} takes {len(names)} positional arguments; write its options by name, as "
            "local_options or remote_options."
        )
    return dict(zip(names, positional, strict=False))


def _imported(path: str) -> Any:
    try:
        return import_string(path)
    except ImportError as error:
        reason = f"{path!r} cannot be imported: {error}. {former.advice_on(error, path)}"
        raise ConfigurationError(reason.rstrip()) from error


__getattr__ = former.names(
    __name__,
    {
        "RemoteFileField": "queued_storage.fields.QueuedFileField",
        "Transfer": "queued_storage.tasks.Transfer",
        "TransferAndDelete": "queued_storage.tasks.TransferAndDelete",
    },
)
