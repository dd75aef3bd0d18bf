"""What the sweep and operators do: rows are made due, tried again, crowded out of a first tier, and removed."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db.models import QuerySet
from django.utils import timezone

from .finding import is_waiting, tombstones
from .rows import files, lease_time

if TYPE_CHECKING:
    from ..models import StoredFile


#: Rows of deleted files that one statement removes, at most.
PRUNED_AT_ONCE = 1_000


def crowd_out(row: StoredFile) -> bool:
    """Ask the settled file to leave the first tier; return False if it is not settled any more."""
    return _ask_again(row, crowded_out=True)


def call_back(row: StoredFile) -> bool:
    """Ask the settled file to come back to the first tier; return False if somebody was quicker."""
    return _ask_again(row, crowded_out=False, called_back_at=timezone.now())


def _ask_again(row: StoredFile, *, crowded_out: bool, **changes: Any) -> bool:
    # Of a settled one alone: an attempt under way would settle it without having looked at this.
    settled = files().filter(pk=row.pk, generation=row.generation, state="settled", lease="")
    changes |= {"crowded_out": crowded_out, "state": "pending", "due_at": timezone.now(), "attempts": 0}
    if not settled.filter(crowded_out=not crowded_out).update(**changes):
        return False
    for name, value in changes.items():
        setattr(row, name, value)
    return True


def put_off(row: StoredFile) -> None:
    """Keep workers from a file whose content they may not see yet, for as long as an attempt may take."""
    of_this_generation = files().filter(pk=row.pk, generation=row.generation, state="pending")
    of_this_generation.update(due_at=timezone.now() + lease_time())


def make_due(pks: Collection[int]) -> None:
    """Let workers have files that they were kept from."""
    files().filter(pk__in=pks, state="pending").update(due_at=timezone.now())


def retry(rows: QuerySet[StoredFile]) -> int:
    """Make failed files due again, with all their attempts; return how many."""
    return rows.filter(state="failed").update(state="pending", due_at=timezone.now(), attempts=0)


def hurry(rows: QuerySet[StoredFile]) -> int:
    """Have files that failed an attempt, and wait for their next one, tried at once; return how many."""
    return rows.filter(is_waiting(timezone.now())).update(due_at=timezone.now(), attempts=0)


def withdraw(row: StoredFile) -> bool:
    """Take back that the file's transfer was asked for; return False if somebody changed or took it meanwhile.

    An attempt is due that looks at the file as it is then: it finishes or clears what was begun, and settles it.
    """
    asked = files().filter(pk=row.pk, generation=row.generation, fence=row.fence, state=row.state, lease="")
    changes: dict[str, Any] = {
        "requested": False,
        "state": "pending",
        "due_at": timezone.now(),
        "attempts": 0,
    }
    if not asked.filter(requested=True).update(**changes):
        return False
    for name, value in changes.items():
        setattr(row, name, value)
    return True


def prune(now: datetime, of_chains: Iterable[str], days: float | None = None) -> int:
    """Remove the rows of files deleted so many days ago (HISTORY), some at a time: none is locked for long."""
    return sum(map(_prune, tombstones(now, of_chains, days)))


def _prune(old: QuerySet[StoredFile]) -> int:
    count = 0
    while pks := list(old.values_list("pk", flat=True)[:PRUNED_AT_ONCE]):
        count += old.filter(pk__in=pks).delete()[0]  # but for those whose name was taken again meanwhile
    return count
