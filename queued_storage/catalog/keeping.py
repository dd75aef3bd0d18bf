"""What users do: a file is saved, replaced, deleted, adopted or asked for, in their own transaction."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, OperationalError, connections, transaction
from django.utils import timezone

from .. import conf
from ..chain import Chain
from ..exceptions import NameTaken
from . import opening
from .finding import holds
from .hosting import hosted, moved
from .losing import with_loser
from .rows import Saved, database, files, is_doubted, lock_each, lock_row, locked, stored_file_model

if TYPE_CHECKING:
    from ..models import StoredFile


def record(chain: Chain, saved: Saved) -> StoredFile:
    """Write the row of a file that is saved under a free name; raise NameTaken if it is not free after all.

    Call it inside a transaction, or savepoint, of the save's own: that is rolled back where this fails.
    """
    row = _insert(chain, saved)
    if row is not None:
        return row
    if holds(chain.alias, saved.name):  # seen without waiting for whoever has that row locked
        raise NameTaken(saved.name)
    return _revive(chain, saved)


def adopt(chain: Chain, saved: Saved, seen: StoredFile | None) -> StoredFile:
    """Write the row of a file that tiers held while the name's row was what was seen: none, or a deleted file's.

    Raise NameTaken if it is not so any more: the file may have been deleted while it was looked at.
    """
    with transaction.atomic(using=database()):
        row = _insert(chain, saved) if seen is None else _revive(chain, saved, seen.generation)
    if row is None:
        raise NameTaken(saved.name)
    return row


def adopt_each(chain: Chain, found: Sequence[Saved]) -> list[StoredFile]:
    """Write, by one statement, the rows of files whose names had none, with their transfer asked for.

    What is written is what ``adopt`` and ``request`` write of each. Return no rows, and write none, if one of the names
    has a row by now: which of them have is for ``adopt`` to find.
    """
    # Always in one order: two who adopt the same files wait for each other in the same place.
    rows = sorted((_new_row(chain, saved) for saved in found), key=lambda row: row.key)
    for row in rows:
        for name, value in _on_request(row, chain).items():
            setattr(row, name, value)
    try:
        with transaction.atomic(using=database()):
            files().bulk_create(rows)
    except IntegrityError:
        return []
    except OperationalError:  # a deadlock: a saver waits for one of the names with another in hand
        return []
    # MySQL does not tell the ids.
    return list(files().filter(chain=chain.alias, key__in=[row.key for row in rows])) if rows else []


def insert_tells() -> bool:
    """Tell whether an INSERT finds out by itself, and at no cost for others, that a name is taken.

    MariaDB would lock the row that has the name until the caller's transaction ends.
    """
    features = connections[database()].features
    return features.supports_update_conflicts_with_target and features.can_return_columns_from_insert


def _insert(chain: Chain, saved: Saved) -> StoredFile | None:
    """Write the first row of the name; return None if it has one."""
    row = _new_row(chain, saved)
    if insert_tells():
        return row if _insert_if_free(row) else None
    try:
        with transaction.atomic(using=database()):  # a lost race must not break the caller's transaction
            row.save(force_insert=True, using=database())
    except IntegrityError:
        return None
    return row


def _insert_if_free(row: StoredFile) -> bool:
    """Insert the row unless its name has one: one statement, where ``save()`` needs a savepoint around it."""
    connection = connections[database()]
    # A column that is not named gets NULL, or its number in the case of the key.
    columns = {
        str(field.column): field.get_db_prep_save(value, connection)
        for field in row._meta.concrete_fields
        if (value := getattr(row, field.attname)) is not None
    }
    statement = _insert_statement(connection.alias, tuple(columns))
    with connection.cursor() as cursor:
        inserted = opening.execute(connection, cursor, statement, list(columns.values()))
    if inserted is None:
        return False
    row.pk = inserted[0]
    row._state.adding, row._state.db = False, connection.alias
    return True


@lru_cache
def _insert_statement(using: str, columns: tuple[str, ...]) -> str:
    quote = connections[using].ops.quote_name
    return (
        f"INSERT INTO {quote(stored_file_model()._meta.db_table)} ({', '.join(map(quote, columns))}) "  # noqa: S608
        f"VALUES ({', '.join(['%s'] * len(columns))}) "
        f"ON CONFLICT ({quote('chain')}, {quote('key')}) DO NOTHING RETURNING {quote('id')}"
    )


def _revive(chain: Chain, saved: Saved, generation: int | None = None) -> StoredFile:
    with locked(chain.alias, saved.name) as row:
        if row is None or not row.is_gone or generation not in (None, row.generation):
            raise NameTaken(saved.name)
        return begin_generation(row, _facts(chain, saved))


@contextmanager
def reserved(chain: Chain, name: str) -> Iterator[StoredFile]:
    """Hold the name's row as ``locked`` does; a name without one gets the row of a file that is not there yet.

    Of two processes that save a new name at once, the second waits here, before it touches the first tier.
    """
    stored_file = stored_file_model()
    row = stored_file(
        chain=chain.alias,
        key=stored_file.key_of(name),
        name=name,
        saved_at=timezone.now(),
        state="deleted",
        generation=0,
    )
    with_target = connections[database()].features.supports_update_conflicts_with_target
    with transaction.atomic(using=database()):
        # One statement that inserts or locks: looking first would have two transactions wait for each other.
        files().bulk_create(
            [row],
            update_conflicts=True,
            update_fields=["name"],
            unique_fields=["chain", "key"] if with_target else None,
        )
        known = lock_row(chain.alias, name)
        assert known is not None
        yield known


def record_published(row: StoredFile) -> None:
    """Say that the staged content of this generation is in its place."""
    files().filter(pk=row.pk, generation=row.generation).update(staged="")
    row.staged = ""


def replace(row: StoredFile, chain: Chain, saved: Saved) -> StoredFile:
    """Write the next generation of a name whose content the first tier overwrites; call it inside ``reserved``."""
    stale = tuple(name for name in dict.fromkeys([*row.tiers, *row.stale]) if name not in saved.tiers)
    saved = dataclasses.replace(saved, requested=row.requested and row.is_live, stale=stale)
    return begin_generation(row, moved(chain, row, _facts(chain, saved)))


def begin_generation(row: StoredFile, facts: dict[str, Any]) -> StoredFile:
    # The lease of an attempt under way stays: its worker may still write, so nobody else shall until it ends.
    facts |= {"lost": with_loser(row), "attempts": 0, "last_error": "", "generation": row.generation + 1}
    for name, value in facts.items():
        setattr(row, name, value)
    row.save(update_fields=list(facts), using=database())
    return row


def _facts(chain: Chain, saved: Saved) -> dict[str, Any]:
    row = _new_row(chain, saved)
    return {name: getattr(row, name) for name in (*_told(chain, saved), "saved_at", "state", "due_at")}


def _new_row(chain: Chain, saved: Saved) -> StoredFile:
    """Return the row of the file, in the state before any attempt; it is not written yet."""
    stored_file, now = stored_file_model(), timezone.now()
    row = stored_file(
        chain=chain.alias, key=stored_file.key_of(saved.name), saved_at=now, **_told(chain, saved)
    )
    row.crowded_out = _begins_below(chain, row)
    for name, value in first_state(chain, row, now).items():
        setattr(row, name, value)
    return row


def _begins_below(chain: Chain, row: StoredFile) -> bool:
    """Tell whether the file stays away from a first tier with a limit until it is read: it is only below so far."""
    if not row.tiers or chain.first.name in row.tiers:
        return False
    try:
        return chain.policy_of(row, row.policy).makes_room
    except Exception:  # noqa: BLE001 - as in first_state
        return False


def _told(chain: Chain, saved: Saved) -> dict[str, Any]:
    return {
        "name": saved.name, "size": saved.size, "content_type": saved.content_type, "metadata": saved.metadata,
        "model": saved.model, "field": saved.field, "policy": saved.policy, "requested": saved.requested,
        "tiers": list(saved.tiers), "stale": list(saved.stale), "staged": saved.staged, "digest": saved.digest,
        "crowded_out": False, "called_back_at": None, "copied_at": None, "modified_at": None, "created_at": None,
        "accessed_at": None, **saved.times, **hosted(chain, saved.tiers, saved.staged),
    }  # fmt: skip


def first_state(chain: Chain, row: StoredFile, now: datetime) -> dict[str, Any]:
    """Return the state and due time of a file before any attempt."""
    try:
        assessment = chain.assess(row, row.policy, now)
    except Exception:  # noqa: BLE001 - a policy's bug must not lose an upload: the engine meets it, and tells it
        return {"state": "pending", "due_at": now}
    if assessment.is_settled and not row.stale and not row.staged:
        return {"state": "settled", "due_at": assessment.review_at}
    return {"state": "pending", "due_at": now}


def owe_removal(chain: Chain, name: str, tier: str) -> bool:
    """Owe the removal of what lies on the tier by a name that the catalog does not know.

    Return False, and owe nothing, if it knows the name by now.
    """
    with reserved(chain, name) as row:
        if row.generation:
            return False
        row.stale, row.due_at = [tier], timezone.now()
        row.host = None if chain[tier].shared else conf.host()
        row.save(update_fields=["stale", "due_at", "host"], using=database())
        return True


def request(row: StoredFile, chain: Chain) -> bool:
    """Note that the file's transfer was asked for; return whether that makes work due."""
    changes = _on_request(row, chain)
    live = files().filter(pk=row.pk, generation=row.generation).exclude(state="deleted")
    return bool(live.update(**changes)) and changes.get("state", row.state) == "pending"


def request_each(chain: Chain, pks: Collection[int]) -> list[StoredFile]:
    """Do what ``request`` does of each of the rows, with a few statements for all; return those that it was done of.

    Not those of deleted files, and not those that somebody else has locked: they are for ``request``, one by one.
    """
    now = timezone.now()
    alike: defaultdict[tuple[tuple[str, Any], ...], list[StoredFile]] = defaultdict(list)
    with transaction.atomic(using=database()):
        rows = [row for row in lock_each(files().filter(pk__in=pks)) if row.is_live]
        for row in rows:
            was_requested = row.requested
            changes = _on_request(row, chain, now)
            if not was_requested or any(getattr(row, name) != value for name, value in changes.items()):
                alike[tuple(changes.items())].append(row)
        for same, some in alike.items():
            files().filter(pk__in=[row.pk for row in some]).update(**dict(same))
            for row in some:
                for name, value in same:
                    setattr(row, name, value)
    return rows


def _on_request(row: StoredFile, chain: Chain, now: datetime | None = None) -> dict[str, Any]:
    row.requested = True
    now = now or timezone.now()
    if row.state == "pending":
        return {"requested": True, "due_at": now}  # a back-off ends where somebody asks
    if is_doubted(row):  # what is recorded does not settle it
        return {"requested": True, "attempts": 0, "state": "pending", "due_at": now}
    changes = {"requested": True, "attempts": 0, "last_error": "", **first_state(chain, row, now)}
    # What it was to be looked at again for, an attempt that may still write, say, is so still.
    changes["due_at"] = min((each for each in (changes["due_at"], row.due_at) if each), default=None)
    return changes
