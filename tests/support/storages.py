"""Storages that only tests need."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.files.storage import InMemoryStorage

from queued_storage.testing import FaultyStorage


class SharedMemoryStorage(InMemoryStorage):
    """Memory that every instance with the same ``bucket`` shares, until the test ends.

    Django's InMemoryStorage keeps its files in the instance: they are gone when a changed setting rebuilds the chain.
    """

    roots: ClassVar[dict[str, Any]] = {}

    def __init__(self, bucket: str = "memory", **options: Any) -> None:
        super().__init__(**options)
        self._root = self.roots.setdefault(bucket, self._root)

    @classmethod
    def forget_all(cls) -> None:
        cls.roots.clear()


class ObjectStore(FaultyStorage):
    """One that replaces an object in one step, and says so as S3Storage does."""

    file_overwrite = True
