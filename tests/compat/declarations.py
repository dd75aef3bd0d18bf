"""Storages with credentials, declared in the ways that 0.8 knew."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from django.utils.functional import SimpleLazyObject, lazystr

from queued_storage.backends import FILE_SYSTEM, QueuedStorage

GUARDED = "tests.compat.storages.Guarded"
SECRET = "swordfish"


class Region(Enum):
    NORTH = 1
    SOUTH = 2


@dataclass(frozen=True)
class Place:
    """An option as client libraries have them."""

    name: str
    region: Region = Region.NORTH
    token: str = ""


class DiskToVault(QueuedStorage):
    """Declared as 0.8 recommends: by class attributes."""

    local = FILE_SYSTEM
    local_options = {"location": "/nowhere/disk"}
    remote = GUARDED
    remote_options = {"location": "/nowhere/vault", "password": SECRET}
    task = "queued_storage.tasks.TransferAndDelete"


class Bare(QueuedStorage):
    """An own signature, which may hold anything."""

    def __init__(self, folder: str, password: str) -> None:
        super().__init__(FILE_SYSTEM, GUARDED, {"location": folder}, {"password": password})


def with_password(password: str, location: str = "/nowhere/vault", **given: Any) -> QueuedStorage:
    return QueuedStorage(FILE_SYSTEM, GUARDED, None, {"location": location, "password": password}, **given)


def make_rich() -> QueuedStorage:
    """Options of every kind that settings hold."""
    options = {
        "location": Path("/nowhere/vault"), "url": "http://host/", "flags": {"b", "a", "c"}, "nested": {"z": (1, None)},
        "callable": make_rich, "bytes": b"\x00", "password": SECRET, "place": Place("vault", Region.NORTH, "word"),
        "lazy": lazystr("text"), "lazy_object": SimpleLazyObject(lambda: Place("a", Region.NORTH, "b")),
    }  # fmt: skip
    return QueuedStorage(FILE_SYSTEM, GUARDED, None, options)
