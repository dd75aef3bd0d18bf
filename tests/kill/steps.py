"""The steps of an operation, at each of which a process can be made to end: SIGKILL, sent by itself.

A step is what changes something that outlives the process, or asks for it: a verb of the catalog, a commit, a call of a
storage, a request to an S3 server, a step of the file system, a chunk of content.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage
from django.db.backends.base.base import BaseDatabaseWrapper

#: What only looks.
LOOKS = frozenset({
    "aliases", "database", "deleted_among", "due", "files", "find", "first_state", "has_lost_older", "holds", "in_hand",
    "in_transaction", "is_staged", "may_write", "states",
})  # fmt: skip
OS_STEPS = ("link", "replace", "rename", "unlink", "remove", "fsync", "mkdir", "rmdir")


class Steps:
    """Counts the steps of this process, and ends it at the n-th."""

    def __init__(self, fatal: int, note: int, *, also_after: bool) -> None:
        self._fatal = fatal
        self._note = note
        self._also_after = also_after
        self._lock = threading.Lock()
        self.count = 0

    def step(self, label: str) -> None:
        with self._lock:
            if self.count == self._fatal:
                os.write(self._note, label.encode())
                os.kill(os.getpid(), signal.SIGKILL)
            self.count += 1

    def around(self, label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def stepping(*args: Any, **kwargs: Any) -> Any:
            self.step(f"before {label}")
            result = function(*args, **kwargs)
            if self._also_after:
                self.step(f"after {label}")
            return result

        return stepping

    def install(self) -> None:
        """Put steps into this process, for good: it is a fork that ends with its operation."""
        self._into_catalog()
        for name in OS_STEPS:
            setattr(os, name, self.around(f"os.{name}", getattr(os, name)))
        for method in ("_commit", "_savepoint_commit"):
            self._into(BaseDatabaseWrapper, method)
        for method in ("delete", "exists", "size", "_open"):
            self._into(FileSystemStorage, method)
        self._into_s3()
        self._into_chunks()

    def _into(self, owner: Any, name: str) -> None:
        setattr(owner, name, self.around(f"{owner.__name__}.{name}", getattr(owner, name)))

    def _into_catalog(self) -> None:
        from queued_storage import catalog

        for name, verb in list(vars(catalog).items()):
            own = isinstance(verb, FunctionType) and verb.__module__.startswith(f"{catalog.__name__}.")
            if own and not name.startswith("_") and name not in LOOKS:
                setattr(catalog, name, self.around(f"catalog.{name}", verb))

    def _into_s3(self) -> None:
        from botocore.client import BaseClient
        from storages.backends.s3 import S3Storage

        for method in ("_save", "delete", "exists", "size"):
            self._into(S3Storage, method)
        request = BaseClient._make_api_call

        def stepping(client: Any, operation: str, arguments: Any) -> Any:
            return self.around(f"S3 {operation}", request)(client, operation, arguments)

        BaseClient._make_api_call = stepping

    def _into_chunks(self) -> None:
        chunks = File.chunks

        def stepping(file: Any, chunk_size: int | None = None) -> Iterator[Any]:
            for chunk in chunks(file, chunk_size):
                self.step("before a chunk of content")
                yield chunk

        File.chunks = stepping  # type: ignore[method-assign]
