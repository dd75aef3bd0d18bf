"""A host is given up: no file waits for it any more, and what lay on its disk alone is told as lost.

Nothing is forgotten. A file that others hold lets go of the host's copy, which the host has to clear should it come
back. A file that the host alone had stays in the catalog, failed, and goes on naming the host.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from django.db.models import Count, Q, Sum
from django.utils import timezone

from ..chain import Chain
from ..exceptions import CustodyError
from .hosting import clearings, hosts, owe
from .losing import with_loser
from .rows import database, files, locked, without

if TYPE_CHECKING:
    from ..models import StoredFile

_SEEN = ("generation", "fence", "tiers", "stale", "staged", "host")
_CHANGED = (
    "tiers", "stale", "staged", "host", "for_host", "state", "due_at", "last_error", "attempts", "lost", "lease",
    "lease_until",
)  # fmt: skip


def on_host(host: str, pk: int, count: int) -> list[StoredFile]:
    """Return some of the rows, beyond that key, of which something is on the host's own disk."""
    return list(files().filter(host=host, pk__gt=pk).order_by("pk").defer("metadata")[:count])


def on_hosts(chain: str | None = None) -> Iterator[tuple[str, str, list[str], int, int]]:
    """Yield host, chain, tiers, how many live files and bytes, of files of which something is on a host's disk."""
    rows = files().filter(host__isnull=False).exclude(state="deleted")
    if chain is not None:
        rows = rows.filter(chain=chain)
    counted = rows.order_by().values_list("host", "chain", "tiers").annotate(Count("pk"), Sum("size"))
    for host, alias, tiers, count, size in counted:
        yield str(host), alias, tiers, count, size or 0


def has_saved(host: str, since: datetime) -> bool:
    """Tell whether a file that is on the host's disk was saved since then."""
    return files().filter(host=host, saved_at__gte=since).exclude(state="deleted").exists()


def is_heard_of(host: str) -> bool:
    """Tell whether anything tells of the host."""
    named = hosts().filter(name=host), clearings().filter(host=host), files().filter(host=host)
    return any(rows.exists() for rows in named)


def let_go(seen: StoredFile, chain: Chain) -> bool:
    """Say that the file is on its host's disk no more: others hold it, or it is deleted.

    What may lie there still is that host's to clear. Return False, and say nothing, if the row is not any more what it
    was when the tiers were looked at, or an attempt has it in hand.
    """
    own = chain.first.name
    with _unchanged(seen) as row:
        if row is None:
            return False
        if row.is_live and not without(row.tiers, own):
            raise CustodyError(f"no other tier holds a verified copy of {seen.name!r}")
        owe(str(row.host), chain, row.name)
        row.tiers, row.stale, row.staged = without(row.tiers, own), without(row.stale, own), ""
        row.host = row.for_host = None
        if row.state != "failed":  # else it is somebody's to try again
            row.due_at, row.attempts = timezone.now(), 0
            if row.is_live:
                row.state, row.last_error = "pending", ""
        _end_attempt(row)
        row.save(update_fields=_CHANGED, using=database())
        return True


def lose(seen: StoredFile, reason: str) -> bool:
    """Say that the file failed, as its host alone had it; return False as ``let_go`` does."""
    with _unchanged(seen) as row:
        if row is None or not row.is_live:
            return False
        row.state, row.due_at, row.last_error = "failed", None, reason
        _end_attempt(row)
        row.save(update_fields=_CHANGED, using=database())
        return True


def give_up(host: str, silent_since: datetime) -> bool:
    """Say that the host is gone for good, unless it has shown a sign of life since then; return whether."""
    hosts().get_or_create(name=host)
    gone = hosts().filter(Q(seen_at=None) | Q(seen_at__lt=silent_since), name=host)
    return bool(gone.update(given_up_at=timezone.now()))


@contextmanager
def _unchanged(seen: StoredFile) -> Iterator[StoredFile | None]:
    """Hold the row; yield None if it is not as it was seen, or in the hands of an attempt that lives."""
    with locked(seen.chain, seen.name) as row:
        is_same = row is not None and all(getattr(row, each) == getattr(seen, each) for each in _SEEN)
        yield row if is_same and not _is_in_hand(row) else None


def _is_in_hand(row: StoredFile | None) -> bool:
    return bool(row and row.lease and row.lease_until and row.lease_until >= timezone.now())


def _end_attempt(row: StoredFile) -> None:
    """Take the row from an attempt that shows no sign of life any more."""
    row.lost = with_loser(row)
    row.lease, row.lease_until = "", None
