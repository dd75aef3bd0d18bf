"""The content of a file by a second name: without moving a byte where the tier can do that."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from django.core.files.storage import FileSystemStorage

from .. import catalog, copying, disk
from ..chain import chains
from ..policies.base import Verify
from ..tier import Tier

if TYPE_CHECKING:
    from ..models import TrashedFile


def can_link(source: Tier, destination: Tier, name: str) -> bool:
    """Tell whether a second name costs nothing: on one disk, of what is a file there and no link."""
    return source is destination and disk.can_stage(source.storage) and not disk.is_link(source.storage, name)


def duplicate(
    entry: TrashedFile,
    source: Tier,
    name: str,
    destination: Tier,
    to: str,
    *,
    verify: Verify = "size",
    progress: Callable[[int], None] = lambda count: None,
    publishing: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> int:
    """Have the destination hold by the second name what the source holds by the first; return its size in bytes.

    On one disk the name must be free: NameTaken. Raise CopyMismatch if it is not what was deleted. ``publishing`` is
    entered at the last moment at which nothing has been done.
    """
    storage = source.storage
    if can_link(source, destination, name) and disk.can_stage(storage):
        expected = copying.Copy(storage.size(name) if entry.size is None else entry.size, entry.digest)
        copying.check(source, name, expected, verify, progress)
        disk.make_folder(storage, to)
        with publishing():
            if disk.link(storage, name, to):
                return expected.size
    content = copying.Content(
        to, entry.content_type, entry.size, entry.digest, entry.modified_at, source_name=name
    )
    try:
        return copying.copy(
            source, destination, content, verify=verify, progress=progress, publishing=publishing
        ).size
    except copying.LeftBehind as left:
        catalog.owe_removal(chains[destination.chain], left.name, destination.name)
        raise left.error from None


def has_place(tier: Tier) -> bool:
    """Tell whether the folder is there that the tier keeps its files in: else not the file alone is missing."""
    storage = tier.storage
    return not isinstance(storage, FileSystemStorage) or os.path.isdir(storage.location)
