"""Staging: content is written beside its place, whole, and published by one step, where a storage can do that."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol

from django.core.files.base import File
from django.core.files.storage import Storage

from . import disk, renaming
from .names import staging_name


class Staged(Protocol):
    """Content that lies whole beside the place where it will be published."""

    #: In bytes.
    size: int
    #: Whether ``publish`` refuses a name that is taken in the same moment; else it may replace what took it.
    is_exclusive: bool
    #: Whether the content is to stay where it is if it is not published: for ``publish_kept``.
    kept: bool

    @property
    def base_name(self) -> str:
        """What ``publish_kept`` and ``discard`` know the content by."""

    def publish(self, name: str, *, overwrite: bool) -> None:
        """Make the content appear under its name, in the directory of staging; raise NameTaken."""

    def withdraw(self, name: str) -> None:
        """Take the name back, so that the content can be published under another."""


def can_stage(storage: Storage) -> bool:
    """Tell whether the storage writes in a way that can be staged; a subclass's own way of saving is respected."""
    return disk.can_stage(storage) or renaming.can_stage(storage)


def stage(
    storage: Storage,
    name: str,
    content: File[Any],
    *,
    durable: bool = False,
    staging: str = "",
    modified_at: datetime | None = None,
) -> AbstractContextManager[Staged]:
    """Write the content beside the place of ``name``; what was neither published nor kept is removed at the end.

    ``durable`` has it on the disk, not just in its cache, once it is published. ``staging`` is the base name to
    stage by, for who must know it; a new one is made otherwise. ``modified_at`` is the time that a disk shall show.
    """
    if disk.can_stage(storage):
        return disk.stage(storage, name, content, durable=durable, staging=staging, modified_at=modified_at)
    return renaming.stage(storage, name, content, staging or staging_name())


def publish_kept(
    storage: Storage, name: str, staging: str, size: int | None, *, durable: bool = False
) -> None:
    """Put kept content, of that size, in its place; that it is there already is as good. ``discard`` follows."""
    if disk.can_stage(storage):
        disk.publish_kept(storage, name, staging, size, durable=durable)
    else:
        renaming.publish_kept(storage, name, staging, size)


def discard(storage: Storage, name: str, staging: str) -> None:
    """Remove what was staged by this base name, so that whoever staged it cannot publish it any more."""
    if disk.can_stage(storage):
        disk.discard(storage, name, staging)
    else:
        renaming.discard(storage, name, staging)
