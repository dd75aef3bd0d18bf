"""Tiers that show one thing each."""

from __future__ import annotations

import errno
from typing import Any, ClassVar

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage

from tests.ancestors.storages import ObjectStore

MODULE = __name__


class TypedStore(ObjectStore):
    """Keeps the content type that comes with an upload, as object stores do."""

    types: ClassVar[dict[str, str]] = {}

    def _save(self, name: str, content: File[Any]) -> str:
        saved: str = super()._save(name, content)
        self.types[name] = getattr(content, "content_type", "")
        return saved


def typed_store(bucket: str) -> dict[str, Any]:
    TypedStore.types.clear()
    return {"BACKEND": f"{MODULE}.TypedStore", "OPTIONS": {"bucket": bucket}}


class SmallDisk(FileSystemStorage):
    """A disk that is full when a test says so: it takes the first chunk, and then no more."""

    is_full: ClassVar[bool] = False

    def _save(self, name: str, content: File[Any]) -> str:
        if self.is_full:
            content.read(1000)
            raise OSError(errno.ENOSPC, "No space left on device")
        saved: str = super()._save(name, content)  # type: ignore[misc]
        return saved
