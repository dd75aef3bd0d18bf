"""Whole or not at all on Django's InMemoryStorage, which itself writes into what readers see.

Its own save leaves the end of a longer content behind a shorter one, and half of a content that breaks off.
"""

from __future__ import annotations

import posixpath
from typing import Any, TypeGuard

from django.core.files.base import File
from django.core.files.storage import InMemoryStorage, Storage
from django.core.files.storage.memory import InMemoryDirNode, InMemoryFileNode  # type: ignore[attr-defined]

from .exceptions import NameTaken

_STOCK_SAVE: object = InMemoryStorage._save  # type: ignore[attr-defined]


def can_stage(storage: Storage) -> TypeGuard[InMemoryStorage]:
    """Tell whether the storage writes as InMemoryStorage does; a subclass's own way of saving is respected."""
    backend: Any = type(storage)
    return (
        isinstance(storage, InMemoryStorage) and backend._save is _STOCK_SAVE and backend.save is Storage.save
    )


class Staged:
    """Content that is whole, and that nobody sees yet."""

    def __init__(self, storage: InMemoryStorage, content: File[Any]) -> None:
        chunks = (chunk.encode() if isinstance(chunk, str) else chunk for chunk in content.chunks())
        self._data = b"".join(chunks)
        self._storage: Any = storage
        self.size = len(self._data)

    def publish(self, name: str, *, overwrite: bool) -> None:
        """Make the content appear under its name, at once; raise NameTaken."""
        folder, base = posixpath.split(name)
        siblings = self._storage._resolve(folder, create_if_missing=True, leaf_cls=InMemoryDirNode)._children
        node = InMemoryFileNode(self._data, name=base)
        if not overwrite:
            if siblings.setdefault(base, node) is not node:
                raise NameTaken(name)
        elif isinstance(siblings.get(base), InMemoryDirNode):
            raise IsADirectoryError(name)
        else:
            siblings[base] = node

    def withdraw(self, name: str) -> None:
        """Take the name back."""
        self._storage.delete(name)
