"""What an attempt at one file does.

Every change is one UPDATE guarded by the attempt's lease and by the generation that it works on; it changes nothing,
and raises LeaseLost, once the file was replaced, deleted or claimed by another worker.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import F, Q
from django.utils import timezone

from .. import conf
from ..chain import Chain
from ..exceptions import CustodyError, LeaseLost
from .finding import is_claimable
from .hosting import without_host
from .losing import lost_attempt_model, moment_of, with_lingering, with_loser, with_own, without_own
from .rows import database, files, including, is_for_another, lease_time, locked, without

if TYPE_CHECKING:
    from ..models import StoredFile


def claim(pk: int) -> StoredFile | None:
    """Take a due row for one attempt, which counts from now; return None if it is not due or another's.

    An attempt that shows no sign of life loses the row; it may wake up, so it is noted.
    """
    now, token = timezone.now(), uuid.uuid4().hex
    row = files().filter(is_claimable(now), pk=pk).first()
    if row is None or is_for_another(row):
        return None
    # By its key alone: a search by the due time as well would lock what savers lock in the other order (MariaDB).
    unchanged = files().filter(
        pk=pk, fence=row.fence, lease=row.lease, lease_until=row.lease_until, generation=row.generation
    )
    won = unchanged.update(
        lease=token,
        lease_until=now + lease_time(),
        attempts=F("attempts") + 1,
        fence=row.fence + 1,
        lost=with_loser(row),
    )
    return files().filter(pk=pk, lease=token).first() if won else None


def renew(row: StoredFile) -> None:
    """Show that the attempt lives."""
    change_row(row, lease_until=timezone.now() + lease_time())


def note_writing(row: StoredFile, tier: str, *, in_place: bool = False, host: str | None = None) -> None:
    """Say, before the first byte, that the tier may hold other bytes by this name until a copy is recorded.

    ``in_place`` says that what lies there goes before the copy is whole, ``host`` whose own disk the tier is.
    """
    changes = _destroying(row) if in_place else {}
    if host is not None:
        changes["host"] = host
    change_row(
        row,
        stale=including(row.stale, tier),
        lease_until=timezone.now() + lease_time(),
        **changes,
        **_unsettled(row),
    )


def record_copy(row: StoredFile, chain: Chain, tier: str, **facts: Any) -> None:
    """Say that the tier holds a verified copy of this generation."""
    held = {*row.tiers, tier}
    in_order = [name for name in chain.names if name in held]
    copied_at = timezone.now() if tier != chain.first.name else row.copied_at
    stale, lost = without(row.stale, tier), without_own(row)
    if row.for_host is not None and chain[tier].shared:
        facts["for_host"] = None  # any host can go on from there
    change_row(row, tiers=in_order, stale=stale, copied_at=copied_at, lost=lost, **facts)


def next_look(review_at: datetime | None, now: datetime) -> datetime | None:
    return (
        None if review_at is None else max(review_at, now + timedelta(seconds=1))
    )  # a past one would never end


def record_release(row: StoredFile, tier: str, *, cleared: bool) -> None:
    """Say that the tier's copy is not counted on any more, and whether its bytes are owed to be removed."""
    remaining = without(row.tiers, tier)
    if not remaining:
        raise CustodyError(f"{tier!r} holds the last verified copy of {row.name!r}")
    if cleared:
        change_row(row, tiers=remaining)
    else:
        change_row(
            row, tiers=remaining, stale=including(row.stale, tier), **_destroying(row), **_unsettled(row)
        )


def note_clearing(row: StoredFile) -> None:
    """Say, before it is done, that what lies on a tier by this name is deleted."""
    change_row(row, lease_until=timezone.now() + lease_time(), **_destroying(row))


def record_cleared(row: StoredFile, tier: str) -> None:
    """Say that nothing is left by this name on the tier."""
    change_row(row, stale=without(row.stale, tier), lost=without_own(row))


def _destroying(row: StoredFile) -> dict[str, Any]:
    # Written ahead: a delete that comes too late hits whatever lies by that name, of this generation too.
    return {"lost": with_own(row, -1, timezone.now() + 2 * lease_time())}


def _unsettled(row: StoredFile) -> dict[str, Any]:
    return {"state": "pending"} if row.is_live else {}


def settle(row: StoredFile, review_at: datetime | None) -> None:
    """End the attempt: the file lies where its policy wants it, until it asks to be looked at again.

    Where an attempt that lost the file may still write, it is looked at again when that one cannot.
    """
    now = timezone.now()
    others = [each for each in row.lost_attempts if each.fence != row.fence]
    lost = [each for each in others if each.until > now.timestamp()]
    ends = [moment_of(each.until) for each in lost if each.generation < row.generation]
    reviews = [moment for moment in (review_at, *ends) if moment is not None]
    due_at = None
    if reviews:
        due_at = next_look(min(reviews), now)
    # A request that came after the claim was not looked at by this attempt: the guard has it looked at again.
    seen = Q(requested=row.requested)
    _end(
        row,
        seen,
        state="settled",
        due_at=due_at,
        attempts=0,
        last_error="",
        lost=[each.as_json() for each in lost],
    )


def bury(row: StoredFile) -> None:
    """End the attempt: no tier holds anything of the deleted file. The row stays as history."""
    _end(row, due_at=None, attempts=0, last_error="", lost=[])


def fail(
    row: StoredFile,
    reason: str,
    *,
    permanent: bool,
    lingers: bool = False,
    wrote: bool = False,
    stays_below: Callable[[], bool] = lambda: False,
) -> bool:
    """End the attempt without success; return whether it was the last one. A delete is never given up.

    ``lingers`` says that a delete of it goes on where it cannot be ended, ``wrote`` that a tier did not tell what
    became of a copy. A file that ``stays_below``, as it was before it was called back, does not fail for good: what may
    be left of it on the first tier is cleared at once.
    """
    final = row.is_live and (permanent or row.attempts > conf.get("RETRIES"))
    changes: dict[str, Any]
    if final and stays_below():
        final = False
        changes = {"crowded_out": True, "attempts": 0, "due_at": timezone.now(), **_unsettled(row)}
    elif final:
        changes = {"state": "failed", "due_at": None}
    else:
        changes = {"due_at": timezone.now() + _back_off(row.attempts), **_unsettled(row)}
    lost = with_lingering(row) if lingers else without_own(row)
    if wrote:
        until = (timezone.now() + lease_time()).timestamp()
        lost = [*lost, lost_attempt_model()(row.fence, row.generation, until).as_json()]
    _end(row, last_error=reason, lost=lost, **changes)
    return final


def postpone(row: StoredFile, reason: str, until: datetime | None = None) -> None:
    """End an attempt that does not count: this process cannot serve the file (before then), whatever the file is."""
    due_at = timezone.now() + _back_off(row.attempts) if until is None else until
    _uncounted(row, last_error=reason, due_at=due_at, lost=without_own(row))


def leave(row: StoredFile, reason: str, *, lingers: bool = False) -> None:
    """End an attempt that does not count: its patience was over before a tier answered."""
    lost = with_lingering(row) if lingers else without_own(row)
    _uncounted(row, last_error=reason, due_at=timezone.now(), lost=lost)


def wait(row: StoredFile, until: datetime, stale: list[str]) -> None:
    """End an attempt that does not count: what is left to do waits for others who may still write."""
    _uncounted(row, last_error="", due_at=until, stale=stale, lost=without_own(row))


def note_host(row: StoredFile) -> None:
    """Say that it is this host whose own disk has the file."""
    change_row(row, host=conf.host())


def leave_to_host(row: StoredFile) -> None:
    """End an attempt that does not count: what is left to do can be done on the file's host alone."""
    _uncounted(row, last_error="", due_at=timezone.now(), lost=without_own(row), for_host=row.host)


def _uncounted(row: StoredFile, **changes: Any) -> None:
    _end(row, attempts=max(row.attempts - 1, 0), **changes, **_unsettled(row))


def end(row: StoredFile) -> None:
    """Say that an attempt which lost its file is over: it writes no more. Another's lease stays."""
    with locked(row.chain, row.name) as current:
        if current is None:
            return
        others = [each.as_json() for each in current.lost_attempts if each.fence != row.fence]
        was_waited_for = len(others) < len(current.lost)
        current.lost = others
        if current.lease == row.lease:
            current.lease, current.lease_until, current.due_at = "", None, timezone.now()
        elif was_waited_for and current.due_at is not None:
            current.due_at = timezone.now()
        current.save(update_fields=["lost", "lease", "lease_until", "due_at"], using=database())


def _end(row: StoredFile, also: Q | None = None, **changes: Any) -> None:
    change_row(row, also, lease="", lease_until=None, **changes)


def change_row(row: StoredFile, also: Q | None = None, **changes: Any) -> None:
    guard = Q(pk=row.pk, lease=row.lease, generation=row.generation)
    changes |= without_host(row, changes)
    if not files().filter(guard if also is None else guard & also).update(**changes):
        raise LeaseLost(f"{row} is no longer this attempt's to change")
    for name, value in changes.items():
        if name != "lease":
            setattr(row, name, value)


def _back_off(attempts: int) -> timedelta:
    delay = min(conf.get("RETRY_DELAY") * 2 ** min(max(attempts - 1, 0), 30), conf.get("RETRY_MAX_DELAY"))
    return timedelta(seconds=delay * random.uniform(1, 1.25))  # noqa: S311 - spreads load, keeps no secret
