"""Storages with credentials, and one that is always down."""

from __future__ import annotations

from typing import Any, NoReturn

from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, Storage


class Guarded(FileSystemStorage):
    """A disk that asks for a password."""

    def __init__(self, location: Any = None, password: str = "", url: str = "") -> None:
        super().__init__(location)
        self.password = password


class Refusing(Guarded):
    """Refuses every save, and says with which password."""

    def _save(self, name: str, content: Any) -> NoReturn:
        raise RuntimeError(f"530 login with {self.password} refused")


class Down(Storage):
    """Its server refuses connections."""

    def _down(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise ConnectionError("connection refused")

    _open = _save = delete = exists = listdir = size = url = path = _down
    get_accessed_time = get_created_time = get_modified_time = _down


class Renaming(FileSystemStorage):
    """Has its own idea of every name, as some object stores do."""

    def save(self, name: str | None, content: Any, max_length: int | None = None) -> str:
        return super().save(f"own-{name}", ContentFile(content.read()), max_length)
