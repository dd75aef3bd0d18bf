"""What is done where a recorded copy turns out to be none: it is not counted any more, or the file is given up."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from django.utils import timezone

from ..exceptions import CustodyError
from .attempts import change_row
from .losing import with_loser
from .rows import database, including, is_doubted, locked, without

if TYPE_CHECKING:
    from ..models import StoredFile


def distrust(seen: StoredFile, tier: str) -> bool:
    """Say that the tier may hold bytes of an older generation, written too late; an attempt under way loses.

    Return False, and say nothing, if the row is not any more what it was when the tier was looked at.
    """
    with locked(seen.chain, seen.name) as current:
        if current is None or any(getattr(current, each) != getattr(seen, each) for each in _LOOKED_AT):
            return False
        current.tiers, current.stale = without(current.tiers, tier), including(current.stale, tier)
        current.lost = with_loser(current)
        current.due_at, current.lease, current.lease_until = timezone.now(), "", None
        if current.is_live:
            current.state = "pending"
        changed = ["tiers", "stale", "lost", "due_at", "lease", "lease_until", "state"]
        current.save(update_fields=changed, using=database())
        return True


#: What changes whenever somebody writes to a tier.
_LOOKED_AT = ("generation", "fence", "tiers", "stale")


def as_it_is(seen: StoredFile) -> StoredFile | None:
    """Return the row as it is once transactions under way have ended that change it; None if it is gone.

    A release deletes the bytes before it commits: who finds them missing and asks plainly is told that they are there.
    """
    with locked(seen.chain, seen.name) as current:
        return current


def is_as_seen(row: StoredFile, seen: StoredFile) -> bool:
    """Tell whether nobody has written to a tier, or is about to, since the row was as it was seen."""
    return not is_in_hand(row) and all(getattr(row, each) == getattr(seen, each) for each in _LOOKED_AT)


def is_in_hand(row: StoredFile) -> bool:
    """Tell whether an attempt has the file in this moment, or its content waits to be put in its place."""
    return bool(row.staged or (row.lease and row.lease_until and row.lease_until >= timezone.now()))


def unrecord(seen: StoredFile, tiers: Collection[str]) -> bool:
    """Say that these tiers do not hold what is recorded, and that the file is owed what it lacks.

    Another copy has to stay: CustodyError. Return False, and say nothing, if the row is not any more what it was when
    the tiers were looked at.
    """
    with locked(seen.chain, seen.name) as current:
        if current is None or not current.is_live or not is_as_seen(current, seen):
            return False
        remaining = [name for name in current.tiers if name not in tiers]
        if not remaining:
            raise CustodyError(f"no other tier holds a verified copy of {seen.name!r}")
        current.stale = list(dict.fromkeys([*current.stale, *tiers]))
        current.tiers = remaining
        _give_up_attempt(current)
        current.state, current.due_at, current.attempts = "pending", timezone.now(), 0
        if not is_doubted(
            current
        ):  # one good copy says nothing of the others, which the next attempt looks at
            current.last_error = ""
        current.save(
            update_fields=[*_LOOKED_AT, *_ATTEMPT, "state", "due_at", "last_error"], using=database()
        )
        return True


def condemn(seen: StoredFile, reason: str) -> bool:
    """Say that the file is failed, as none of its copies is good; they stay recorded, and where they are.

    The reason begins with NO_GOOD_COPY, by which later attempts know that they have to look first. Return False, and
    say nothing, if the row is not any more what it was when the tiers were looked at.
    """
    with locked(seen.chain, seen.name) as current:
        if current is None or not current.is_live or not is_as_seen(current, seen):
            return False
        _give_up_attempt(current)
        current.state, current.due_at, current.last_error = "failed", None, reason
        current.save(update_fields=[*_ATTEMPT, "state", "due_at", "last_error"], using=database())
        return True


def _give_up_attempt(row: StoredFile) -> None:
    """Take the row from an attempt that shows no sign of life any more."""
    row.lost = with_loser(row)
    row.lease, row.lease_until = "", None


_ATTEMPT = ("lost", "lease", "lease_until", "attempts")


def distrust_own(row: StoredFile, tier: str) -> None:
    """Say that the tier, which this attempt looked at, does not hold what is recorded."""
    change_row(row, tiers=without(row.tiers, tier), stale=including(row.stale, tier))
