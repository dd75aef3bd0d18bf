"""Folders as storages, and files in them past every storage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.files.storage import Storage

from queued_storage.backends import FILE_SYSTEM


def folder(location: Path) -> dict[str, Any]:
    return {"BACKEND": FILE_SYSTEM, "OPTIONS": {"location": str(location), "base_url": f"/{location.name}/"}}


def put(path: Path, content: bytes = b"content") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def read(storage: Storage, name: str) -> bytes:
    with storage.open(name) as file:
        return file.read()
