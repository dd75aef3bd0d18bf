"""The end of what a host owes: a name that others deleted or replaced is cleared from its own disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..chain import Chain
from .hosting import clearings
from .keeping import reserved

if TYPE_CHECKING:
    from ..models import HostClearing, StoredFile


def clear(clearing: HostClearing, chain: Chain, remove: Callable[[], None]) -> bool:
    """Have a name removed from this host's disk, unless what lies there by now is the file; return whether it was.

    What is done while the row is locked is done once: a save that replaces the name waits, and another finds it taken.
    """
    with reserved(chain, clearing.name) as row:
        if not clearings().filter(pk=clearing.pk).delete()[0]:
            return False  # another worker of this host was quicker
        if _counts_on(row, chain.first.name, clearing.host):
            return False
        remove()
    return True


def _counts_on(row: StoredFile, own: str, host: str) -> bool:
    """Tell whether the row tells of this host's disk, so that the engine sees to what lies there."""
    return row.host == host and (own in row.tiers or own in row.stale or bool(row.staged))


def not_cleared(clearing: HostClearing, reason: str) -> None:
    """Note why the name is still there."""
    clearings().filter(pk=clearing.pk).update(last_error=reason)
