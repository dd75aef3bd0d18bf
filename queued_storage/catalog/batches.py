"""What attempts at many files do together, by one statement for all: each row is guarded for itself."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from ..chain import Chain
from .attempts import next_look
from .many import keyed, write
from .rows import database, is_for_another, lease_time, lock_each, without

if TYPE_CHECKING:
    from ..models import StoredFile


def claim_each(pks: Iterable[int], goes_to: Callable[[StoredFile], str | None]) -> list[StoredFile]:
    """Take, for one attempt each, those of the rows that are due, and that no attempt has taken or left behind.

    ``goes_to`` names the tier to which the attempt copies first, of which the row says from now on what
    ``note_writing`` says; where it names none, the row is left as it is. It is called while the rows are locked.
    They share a lease. Rows that somebody is changing in this moment are left to others.
    """
    token, now = uuid.uuid4().hex, timezone.now()
    until = now + lease_time()
    alike: dict[str, list[StoredFile]] = {}
    with transaction.atomic(using=database()):
        for row in lock_each(keyed(pks)):
            is_due = row.due_at is not None and row.due_at <= now and not row.lease
            if is_due and not is_for_another(row) and (tier := goes_to(row)) is not None:
                alike.setdefault(tier, []).append(row)
        for tier, rows in alike.items():
            changes = {"lease": token, "lease_until": until, "stale": [tier], "state": "pending"}
            keyed(row.pk for row in rows).update(**changes, attempts=1 + F("attempts"), fence=1 + F("fence"))
            for row in rows:
                _set(row, changes)
                row.attempts, row.fence = row.attempts + 1, row.fence + 1
    return [row for rows in alike.values() for row in rows]


def _held_own(rows: Sequence[StoredFile]) -> dict[int, bool]:
    """Hold those of the rows, all of one lease, that still are this attempt's; tell of each whether it is requested."""
    generations = {row.pk: row.generation for row in rows}
    found = lock_each(_own(rows)).values_list("pk", "generation", "requested")
    return {pk: requested for pk, generation, requested in found if generation == generations[pk]}


def _change_each(rows: Sequence[StoredFile], **changes: Any) -> set[int]:
    """Change those rows of one lease that are still their attempts', and locked by nobody; return their keys."""
    with transaction.atomic(using=database()):
        held = set(_held_own(rows))
        keyed(held).update(**changes)
    return held


def _own(rows: Sequence[StoredFile]) -> QuerySet[StoredFile]:
    """Return those of the rows, all of one lease, that it still has, whatever their generation."""
    return keyed(row.pk for row in rows).filter(lease=rows[0].lease)


def renew_each(rows: Sequence[StoredFile]) -> set[int]:
    """Show that the attempts of one lease live; return the keys of those that lost their file."""
    renewed = _change_each(rows, lease_until=timezone.now() + lease_time())
    if len(renewed) == len(rows):
        return set()
    own = dict(_own(rows).values_list("pk", "generation"))  # some are locked, and their own all the same
    return {row.pk for row in rows if row.pk not in renewed and own.get(row.pk) != row.generation}


def record_copies(
    chain: Chain, tier: str, copies: Sequence[tuple[StoredFile, dict[str, Any]]]
) -> tuple[list[StoredFile], set[int]]:
    """Say what ``record_copy`` says of rows of one lease, each with its facts; settle those that have no more to do.

    Return the rows that have more to do, and the keys of those that are lost, or somebody else's in this moment.
    """
    now = timezone.now()
    alike: dict[tuple[str, ...], list[StoredFile]] = {}
    with transaction.atomic(using=database()):
        requested = _held_own([row for row, _ in copies])
        kept = [(row, facts) for row, facts in copies if row.pk in requested]
        for row, facts in kept:
            held = {*row.tiers, tier}
            changes = {"copied_at": now, "stale": without(row.stale, tier), **facts}
            changes["tiers"] = [name for name in chain.names if name in held]
            if row.for_host is not None and chain[tier].shared:
                changes["for_host"] = None  # as in record_copy
            _set(row, changes)
            changes |= _settled(chain, row, now, was_requested=requested[row.pk])
            _set(row, changes)
            alike.setdefault(tuple(sorted(changes)), []).append(row)
        for fields, rows in alike.items():
            # In memory it stays the attempts' own: the sign of life for the others goes by it.
            write(rows, fields, {"lease": ""} if "lease_until" in fields else {})
    unsettled = [row for row, _ in kept if row.state != "settled"]
    return unsettled, {row.pk for row, _ in copies} - set(requested)


def _set(row: StoredFile, changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        setattr(row, name, value)


def _settled(chain: Chain, row: StoredFile, now: datetime, *, was_requested: bool) -> dict[str, Any]:
    """Return what settles the row; nothing if it has more to do."""
    is_settled, review_at = _is_settled(chain, row, now)
    # A request that came after the claim was not looked at by this attempt.
    if not is_settled or was_requested != row.requested:
        return {}
    ended: dict[str, Any] = {"state": "settled", "due_at": next_look(review_at, now), "attempts": 0}
    return ended | {"last_error": "", "lease_until": None}


def _is_settled(chain: Chain, row: StoredFile, now: datetime) -> tuple[bool, datetime | None]:
    try:
        assessment = chain.assess(row, row.policy, now)
    except Exception:  # noqa: BLE001 - a policy's bug: the engine meets it, and tells it
        return False, None
    return assessment.is_settled, assessment.review_at
