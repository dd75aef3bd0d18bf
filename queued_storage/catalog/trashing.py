"""The trash: what was deleted and can be brought back, until its time is over."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from ..chain import Chain
from ..exceptions import GoneFromTrash, NameTaken, NotRestored
from ..names import token_of
from .attempts import change_row, claim
from .finding import MAX_KEYS
from .hosting import moved
from .keeping import begin_generation, first_state, reserved
from .losing import without_own
from .rows import database, files, lease_time, locked, stored_file_model

if TYPE_CHECKING:
    from ..models import StoredFile, TrashedFile

#: For how long at least a file stays in the trash that somebody has begun to restore.
_WHILE_RESTORED = timedelta(days=1)


def trash() -> QuerySet[TrashedFile]:
    model: type[TrashedFile] = apps.get_model("queued_storage", "TrashedFile")
    return model._default_manager.using(database())


# ---- into the trash ----


def tombstone(chain: Chain, name: str, keep_for: timedelta | None = None) -> StoredFile:
    """Mark the file as deleted, and its bytes as owed to be removed from every writable tier.

    ``keep_for`` has its content put into the trash first, for so long.
    """
    now = timezone.now()
    facts: dict[str, Any] = {"state": "deleted", "due_at": now, "tiers": []}
    facts["stale"] = [tier.name for tier in chain.writable]
    facts["saved_at"] = now  # for how long the tombstone is kept goes by it
    with reserved(chain, name) as row:
        if keep_for is not None and (sources := _sources(chain, row)):
            _trash(row, sources, now, keep_for)
            facts["owes_trash"] = True
        return begin_generation(row, moved(chain, row, facts))


def _sources(chain: Chain, row: StoredFile) -> list[str]:
    """Return the tiers that hold, or may hold, what readers get by the name before it is deleted."""
    if row.is_live:
        return list(row.tiers)
    if row.generation == 0 and row.due_at is None:  # no row told of it: readers look on all tiers
        return list(chain.names)
    return [chain.first.name] if row.is_gone else []


def _trash(row: StoredFile, sources: list[str], now: datetime, keep_for: timedelta) -> None:
    entry = trash().model(
        chain=row.chain, name=row.name, key=row.key, generation=row.generation, sources=sources,
        deleted_at=now, until=now + keep_for, saved_at=row.saved_at,
    )  # fmt: skip
    if row.is_live:  # else nobody knows anything of what lies there
        entry.staged = row.staged
        for fact in entry.FACTS:
            setattr(entry, fact, getattr(row, fact))
    entry.save(force_insert=True, using=database())


def unkept(row: StoredFile) -> list[TrashedFile]:
    """Return what was deleted under the row's name and is yet to be put into the trash, the oldest first."""
    return list(_unkept(row))


def _unkept(row: StoredFile) -> QuerySet[TrashedFile]:
    return trash().filter(chain=row.chain, key=row.key, tier="").order_by("pk")


def record_kept(row: StoredFile, entry: TrashedFile, tier: str, token: str) -> bool:
    """Say that the tier keeps the content; return False if somebody was quicker. LeaseLost if the row is another's."""
    with transaction.atomic(using=database()):
        change_row(row, lease_until=timezone.now() + lease_time())  # its guard
        return record_kept_nearby(entry, tier, token)


def record_kept_nearby(entry: TrashedFile, tier: str, token: str) -> bool:
    """Say the same while the row is locked."""
    return bool(trash().filter(pk=entry.pk, tier="").update(tier=tier, token=token))


def record_all_kept(row: StoredFile) -> None:
    """Say that nothing of the row's name is owed to the trash any more."""
    with transaction.atomic(using=database()):
        if not _unkept(row).exists():
            change_row(row, owes_trash=False)


def record_all_kept_nearby(row: StoredFile) -> None:
    """Say the same while the row is locked."""
    if not _unkept(row).exists():
        files().filter(pk=row.pk).update(owes_trash=False)
        row.owes_trash = False


def drop(entry: TrashedFile) -> None:
    """Forget what was never put into the trash."""
    trash().filter(pk=entry.pk, tier="").delete()


# ---- looking ----


def trashed(chain: str, name: str | None = None) -> QuerySet[TrashedFile]:
    """Return what lies in the chain's trash (by one name), in the order in which it was deleted."""
    rows = trash().filter(chain=chain).order_by("pk")
    return rows if name is None else rows.filter(key=stored_file_model().key_of(name))


def is_kept_as(base: str) -> bool:
    """Tell whether a file of this base name, of any chain, is one in the trash."""
    token = token_of(base)
    return bool(token) and trash().filter(token=token).exists()


# ---- out of the trash ----


def begin_restore(chain: Chain, name: str, entry: TrashedFile, tier: str) -> StoredFile:
    """Take a free name for an attempt that brings content back there, and return its row; raise NameTaken.

    Until that attempt is done the row is that of a deleted file which this tier may hold something of: if the process
    dies, that is cleared, and the name is free again.
    """
    with transaction.atomic(using=database()):
        with reserved(chain, name) as row:
            if not row.is_gone:
                raise NameTaken(name)
            now = timezone.now()
            facts: dict[str, Any] = {"state": "deleted", "due_at": now, "saved_at": now, "tiers": []}
            facts |= {"stale": [tier], "staged": ""}
            row = begin_generation(row, facts)
        waiting = trash().filter(pk=entry.pk)
        waiting.filter(until__lt=now + _WHILE_RESTORED).update(until=now + _WHILE_RESTORED)
        if not waiting.exists():
            raise GoneFromTrash(entry.name)
        taken = claim(row.pk)
        assert taken is not None
        return taken


def record_restored(
    row: StoredFile, chain: Chain, entry: TrashedFile, tier: str, is_there: Callable[[], bool]
) -> None:
    """Say that the tier holds the restored file, and that what the trash has of it is owed to be removed.

    End the attempt. Raise GoneFromTrash, and say nothing, if somebody else has restored or purged it meanwhile; or
    NotRestored where ``is_there``, asked while the row is locked, says no: a delete of the name clears the first tier.
    """
    now = timezone.now()
    told = copy.copy(row)
    for fact in entry.FACTS:
        setattr(told, fact, getattr(entry, fact))
    told.name, told.tiers, told.stale, told.staged, told.attempts = row.name, [tier], [], "", 0
    told.state, told.lost, told.last_error = "pending", without_own(row), ""
    told.copied_at = None if tier == chain.first.name else now
    told.crowded_out, told.called_back_at = tier != chain.first.name and _makes_room(chain, told), None
    for fact, value in first_state(chain, told, now).items():
        setattr(told, fact, value)
    changes = {fact: getattr(told, fact) for fact in (*entry.FACTS, *_RESTORED)}
    with locked(row.chain, row.name):
        if not is_there():
            raise NotRestored("it was deleted again while it was brought back")
        _expire([entry])
        change_row(row, lease="", lease_until=None, **changes)


_RESTORED = (
    "tiers", "stale", "staged", "attempts", "state", "due_at", "lost", "last_error", "copied_at", "crowded_out",
    "called_back_at",
)  # fmt: skip


def _makes_room(chain: Chain, row: StoredFile) -> bool:
    try:
        return chain.policy_of(row, row.policy).makes_room
    except Exception:  # noqa: BLE001 - as in first_state
        return False


def hurry_clearing(row: StoredFile) -> None:
    """Have what a restore left behind that did not come to its end cleared at once, and its name free."""
    files().filter(pk=row.pk, generation=row.generation, state="deleted", lease="").update(
        due_at=timezone.now(), attempts=0
    )


# ---- the end of its time ----


def expired(now: datetime, chain: str | None = None) -> QuerySet[TrashedFile]:
    """Return what has been in the trash (of one chain) for its time; not what was never put there."""
    rows = trash().filter(until__lte=now).exclude(tier="").order_by("until", "pk")
    return rows if chain is None else rows.filter(chain=chain)


def expire(now: datetime, most: int, chain: str | None = None) -> int:
    """Have what is over its time removed, some at a time, at most so many: work that is owed; return how many."""
    count = 0
    while count < most and (page := list(expired(now, chain)[: min(MAX_KEYS, most - count)])):
        for entry in page:
            try:
                with transaction.atomic(using=database()):
                    _expire([entry], Q(until__lte=now))
            except GoneFromTrash:  # restored, erased or purged by another in this moment
                continue
            count += 1
    return count


def empty(entries: Sequence[TrashedFile]) -> list[StoredFile]:
    """Have these removed, whatever their time; return the rows by which that is owed."""
    with transaction.atomic(using=database()):
        return _expire(entries)


def _expire(entries: Sequence[TrashedFile], also: Q | None = None) -> list[StoredFile]:
    """Turn what the trash keeps into files that are deleted, which the engine clears as any."""
    return list(_expired(entries, also))


def _expired(entries: Sequence[TrashedFile], also: Q | None) -> Iterator[StoredFile]:
    stored_file, now = stored_file_model(), timezone.now()
    for entry in entries:
        guard = Q(pk=entry.pk, tier=entry.tier, token=entry.token)
        if not trash().filter(guard if also is None else guard & also).delete()[0]:
            raise GoneFromTrash(entry.name)
        if entry.is_kept:
            row = stored_file(
                chain=entry.chain, name=entry.kept_as, key=stored_file.key_of(entry.kept_as), size=entry.size,
                saved_at=now, due_at=now, state="deleted", stale=[entry.tier],
            )  # fmt: skip
            row.save(force_insert=True, using=database())
            yield row


# ---- erasure ----


def condemn_all(chain: Chain, name: str) -> tuple[StoredFile, list[StoredFile]]:
    """Have all that is left of a name removed, live or deleted; return its row, and those of what the trash had.

    Nothing is put into the trash any more, and what lies there goes.
    """
    with locked(chain.alias, name):
        row = tombstone(chain, name)
        files().filter(pk=row.pk).update(owes_trash=False)
        row.owes_trash = False
        entries = list(trashed(chain.alias, name))
        return row, _expire(entries)


@contextmanager
def unknown(chain: Chain, name: str) -> Iterator[bool]:
    """Hold a name that the catalog does not know, so that nobody saves under it; yield whether it knows none."""
    with reserved(chain, name) as row:
        is_unknown = row.generation == 0 and row.due_at is None
        try:
            yield is_unknown
        finally:
            if is_unknown:  # it was made to be held
                files().filter(pk=row.pk, generation=0, due_at=None).delete()


def forget(rows: Sequence[StoredFile]) -> bool:
    """Remove the rows of deleted files of which nothing is left; return whether all of them are gone."""
    for row in rows:
        gone = Q(pk=row.pk, generation=row.generation, state="deleted", due_at=None, lease="")
        files().filter(gone).delete()
    return not files().filter(pk__in=[row.pk for row in rows]).exists()
