"""The only writer of catalog rows.

Every change that an attempt makes is one UPDATE guarded by its lease and by the generation that it works on; it
changes nothing, and raises LeaseLost, once the file was replaced, deleted or claimed by another worker.
"""

from __future__ import annotations

import dataclasses
import random
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.conf import settings
from django.db import IntegrityError, OperationalError, connections, router, transaction
from django.db.models import F, Min, Q, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from . import conf
from .chain import Chain
from .exceptions import ConfigurationError, CustodyError, LeaseLost, NameTaken
from .turns import in_turn

if TYPE_CHECKING:
    from .models import LostAttempt, StoredFile

#: How the reason of a file begins whose recorded copies were all seen to be bad.
NO_GOOD_COPY = "no good copy is left"
#: Rows of deleted files that one statement removes, at most.
PRUNED_AT_ONCE = 1_000
#: Files that one sweep asks to leave a first tier, at most.
MAX_CROWDED_OUT = 10_000
#: How many names one query asks for; SQLite takes 999 parameters where it was not built for more.
MAX_KEYS = 500


@dataclass(frozen=True)
class Saved:
    """What is known of a file that the first tier has just taken (or is about to)."""

    name: str
    policy: str
    size: int | None = None
    digest: str = ""
    content_type: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    times: dict[str, datetime] = field(default_factory=dict)
    model: str = ""
    field: str = ""
    requested: bool = False
    tiers: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    staged: str = ""


def _stored_file() -> type[StoredFile]:
    try:
        return apps.get_model("queued_storage", "StoredFile")
    except LookupError:
        raise ConfigurationError(
            "A chain with a POLICY keeps a catalog. Add 'queued_storage' to INSTALLED_APPS and run migrate, "
            "or write POLICY: None for plain read fallback."
        ) from None


def database() -> str:
    """Return the alias of the database that holds the catalog."""
    return router.db_for_write(_stored_file())


def files() -> QuerySet[StoredFile]:
    # Reads ask the database that is written to: a replica that lags would tell of copies that are gone.
    return _stored_file()._default_manager.using(database())


# ---- looking things up ----


def find(chain: str, name: str) -> StoredFile | None:
    """Return the row of the name, also that of a deleted file."""
    return files().filter(_stored_file().named(chain, name)).first()


def find_many(chain: str, names: Collection[str]) -> dict[str, StoredFile | None]:
    """Return the rows of the names as ``find`` does, with one query for MAX_KEYS of them."""
    stored_file = _stored_file()
    found: dict[str, StoredFile | None] = dict.fromkeys(names)
    keys = iter([stored_file.key_of(name) for name in found])
    while batch := list(islice(keys, MAX_KEYS)):
        found |= {row.name: row for row in files().filter(chain=chain, key__in=batch)}
    return found


def holds(chain: str, name: str) -> bool:
    """Tell whether the name is taken: by a file, or by a deleted one whose bytes some tier may still have."""
    return files().filter(_stored_file().named(chain, name)).exclude(_gone()).exists()


def states(chain: str, names: Iterable[str]) -> dict[str, str]:
    """Return the states of those of the names that have rows, also of deleted files."""
    keys = [_stored_file().key_of(name) for name in names]
    return dict(files().filter(chain=chain, key__in=keys).values_list("name", "state")) if keys else {}


def in_transaction() -> bool:
    """Tell whether what is written to the catalog now can still be rolled back by the caller."""
    return connections[database()].in_atomic_block


def deleted_among(chain: str, names: Collection[str]) -> set[str]:
    """Return those of the names that are of deleted files, which a tier may still list; memory is bounded."""
    deleted = files().filter(chain=chain, state="deleted").values_list("name", flat=True)
    if (
        len(names) > MAX_KEYS
    ):  # most chains have few tombstones: one query instead of one for each MAX_KEYS names
        few = list(deleted[: MAX_KEYS + 1])
        if len(few) <= MAX_KEYS:
            return set(few).intersection(names)
    keys = map(_stored_file().key_of, names)
    found: set[str] = set()
    while batch := list(islice(keys, MAX_KEYS)):
        found.update(deleted.filter(key__in=batch))
    return found


def is_staged(base: str) -> bool:
    """Tell whether content of this base name, of any chain, is committed and not published yet."""
    return files().filter(staged=base, staged__gt="").exists()


def aliases() -> list[str]:
    """Return the aliases of all chains that have rows."""
    found: list[str] = []
    # From one to the next: to look for distinct ones, PostgreSQL and SQLite go through all rows.
    while (
        alias := files().filter(chain__gt=found[-1] if found else "").aggregate(Min("chain"))["chain__min"]
    ) is not None:
        found.append(alias)
    return found


def due(now: datetime, chain: str | None = None) -> QuerySet[StoredFile]:
    """Return the rows (of one chain) that are owed work which nobody is doing, longest owed first.

    Of all chains it takes the longer the more are due; ``due_ids`` does not.
    """
    owed = files().filter(_claimable(now))
    return (owed if chain is None else owed.filter(chain=chain)).order_by("due_at", "pk")


def due_ids(
    now: datetime, count: int, chain: str | None = None, *, passed: Collection[int] = frozenset()
) -> list[int]:
    """Return keys of due rows, ``count`` at most: chains take turns and share the count; ``passed`` are left out."""
    hungry = aliases() if chain is None else [chain]
    found: dict[str, list[tuple[datetime, int]]] = {}
    share, left = 0, count
    while hungry and left > 0:  # what some do not need is shared out among the others
        share -= -left // len(hungry)
        found |= {alias: _longest_due(now, share, alias, passed) for alias in hungry}
        hungry = [alias for alias in hungry if len(found[alias]) == share]
        left = count - sum(map(len, found.values()))
    # Whose file is owed longest begins.
    return [pk for _, pk in islice(in_turn(sorted(found.values())), count)]


def _longest_due(
    now: datetime, count: int, chain: str, passed: Collection[int]
) -> list[tuple[datetime, int]]:
    rows: QuerySet[Any, tuple[datetime, int]] = due(now, chain).values_list("due_at", "pk")  # type: ignore[assignment]
    found = list(rows[:count])
    if any(pk in passed for _, pk in found):  # those that were passed and are due again come last
        found = [row for row in rows[: count + len(passed)] if row[1] not in passed][:count]
    return found


def live_after(pk: int, chain: str, prefix: str = "") -> QuerySet[StoredFile]:
    """Return the chain's live rows beyond that key, in the order of their keys: to go through them a page at a time.

    SQLite returns names that differ from the prefix in case alone, too.
    """
    # The column itself would have SQLite look through all of the chain, by its index, for each page.
    of_chain = files().alias(_chain=Coalesce("chain", Value(""))).filter(_chain=chain, pk__gt=pk)
    rows = of_chain.exclude(state="deleted").order_by("pk")
    return rows.filter(name__startswith=prefix) if prefix else rows


def latest(count: int) -> QuerySet[StoredFile]:
    """Return, of all chains, the rows that were written last: about so many, found by their keys alone."""
    last = Subquery(files().order_by("-pk").values("pk")[:1])
    return files().filter(pk__gt=last - count)


def in_hand(now: datetime, chain: str) -> QuerySet[StoredFile]:
    """Return the chain's rows that are due, or that an attempt has, and some more.

    A save that replaces what an attempt works on puts the row off by a lease at most.
    """
    return files().filter(chain=chain, due_at__lte=now + _lease())


def _claimable(now: datetime) -> Q:
    return Q(due_at__lte=now) & (Q(lease="") | Q(lease_until__lt=now))


def _gone() -> Q:
    return Q(state="deleted", due_at=None, lease="")


# ---- what users do ----


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
    with connection.cursor() as cursor:
        cursor.execute(_insert_statement(connection.alias, tuple(columns)), list(columns.values()))
        inserted = cursor.fetchone()
    if inserted is None:
        return False
    row.pk = inserted[0]
    row._state.adding, row._state.db = False, connection.alias
    return True


@lru_cache
def _insert_statement(using: str, columns: tuple[str, ...]) -> str:
    quote = connections[using].ops.quote_name
    return (
        f"INSERT INTO {quote(_stored_file()._meta.db_table)} ({', '.join(map(quote, columns))}) "  # noqa: S608
        f"VALUES ({', '.join(['%s'] * len(columns))}) "
        f"ON CONFLICT ({quote('chain')}, {quote('key')}) DO NOTHING RETURNING {quote('id')}"
    )


def _revive(chain: Chain, saved: Saved, generation: int | None = None) -> StoredFile:
    with locked(chain.alias, saved.name) as row:
        if row is None or not row.is_gone or generation not in (None, row.generation):
            raise NameTaken(saved.name)
        return _begin_generation(row, _facts(chain, saved))


@contextmanager
def locked(chain: str, name: str) -> Iterator[StoredFile | None]:
    """Hold the name's row in a transaction, against workers that would release or clear the first tier."""
    with transaction.atomic(using=database()):
        yield _lock(chain, name)


@contextmanager
def reserved(chain: Chain, name: str) -> Iterator[StoredFile]:
    """Hold the name's row as ``locked`` does; a name without one gets the row of a file that is not there yet.

    Of two processes that save a new name at once, the second waits here, before it touches the first tier.
    """
    stored_file = _stored_file()
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
        known = _lock(chain.alias, name)
        assert known is not None
        yield known


def _lock(chain: str, name: str) -> StoredFile | None:
    named = files().filter(_stored_file().named(chain, name))
    if connections[database()].features.has_select_for_update:
        # A locking read: a plain one would show what an older snapshot of the caller's transaction holds.
        return named.select_for_update().first()
    named.update(fence=F("fence"))  # takes SQLite's lock
    return named.first()


def record_published(row: StoredFile) -> None:
    """Say that the staged content of this generation is in its place."""
    files().filter(pk=row.pk, generation=row.generation).update(staged="")
    row.staged = ""


def replace(row: StoredFile, chain: Chain, saved: Saved) -> StoredFile:
    """Write the next generation of a name whose content the first tier overwrites; call it inside ``reserved``."""
    stale = tuple(name for name in dict.fromkeys([*row.tiers, *row.stale]) if name not in saved.tiers)
    saved = dataclasses.replace(saved, requested=row.requested and row.is_live, stale=stale)
    return _begin_generation(row, _facts(chain, saved))


def _begin_generation(row: StoredFile, facts: dict[str, Any]) -> StoredFile:
    # The lease of an attempt under way stays: its worker may still write, so nobody else shall until it ends.
    facts |= {"lost": _with_loser(row), "attempts": 0, "last_error": "", "generation": row.generation + 1}
    for name, value in facts.items():
        setattr(row, name, value)
    row.save(update_fields=list(facts), using=database())
    return row


def _with_loser(row: StoredFile) -> list[dict[str, Any]]:
    """Return the row's lost attempts and, if one holds the lease, that one.

    By its own clock it stops when its lease is over; its last call to a tier is granted as long again.
    """
    if not row.lease or row.lease_until is None:
        return list(row.lost)
    return _with_own(row, row.generation, row.lease_until + _lease())


def _with_own(row: StoredFile, generation: int, until: datetime) -> list[dict[str, Any]]:
    """Return the row's lost attempts and the one of its fence, which may write that generation, or older ones."""
    own = [each for each in row.lost_attempts if each.fence == row.fence]
    oldest = min([generation, *(each.generation for each in own)])
    last = max([until.timestamp(), *(each.until for each in own)])
    return [*_without_own(row), _lost_attempt()(row.fence, oldest, last).as_json()]


def _without_own(row: StoredFile) -> list[dict[str, Any]]:
    return [each.as_json() for each in row.lost_attempts if each.fence != row.fence]


def _lost_attempt() -> type[LostAttempt]:
    from .models import LostAttempt

    return LostAttempt


def _facts(chain: Chain, saved: Saved) -> dict[str, Any]:
    row = _new_row(chain, saved)
    return {name: getattr(row, name) for name in (*_told(saved), "saved_at", "state", "due_at")}


def _new_row(chain: Chain, saved: Saved) -> StoredFile:
    """Return the row of the file, in the state before any attempt; it is not written yet."""
    stored_file, now = _stored_file(), timezone.now()
    row = stored_file(chain=chain.alias, key=stored_file.key_of(saved.name), saved_at=now, **_told(saved))
    for name, value in first_state(chain, row, now).items():
        setattr(row, name, value)
    return row


def _told(saved: Saved) -> dict[str, Any]:
    return {
        "name": saved.name, "size": saved.size, "content_type": saved.content_type, "metadata": saved.metadata,
        "model": saved.model, "field": saved.field, "policy": saved.policy, "requested": saved.requested,
        "tiers": list(saved.tiers), "stale": list(saved.stale), "staged": saved.staged, "digest": saved.digest,
        "crowded_out": False, "called_back_at": None, "copied_at": None, "modified_at": None, "created_at": None,
        "accessed_at": None, **saved.times,
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


def tombstone(chain: Chain, name: str) -> StoredFile:
    """Mark the file as deleted, and its bytes as owed to be removed from every writable tier."""
    writable = [tier.name for tier in chain.writable]
    facts = {"state": "deleted", "due_at": timezone.now(), "tiers": [], "stale": writable}
    facts["saved_at"] = facts["due_at"]  # for how long the tombstone is kept goes by it
    with reserved(chain, name) as row:
        return _begin_generation(row, facts)


def request(row: StoredFile, chain: Chain) -> bool:
    """Note that the file's transfer was asked for; return whether that makes work due."""
    changes = _on_request(row, chain)
    live = files().filter(pk=row.pk, generation=row.generation).exclude(state="deleted")
    return bool(live.update(**changes)) and changes.get("state", row.state) == "pending"


def _on_request(row: StoredFile, chain: Chain) -> dict[str, Any]:
    row.requested = True
    now = timezone.now()
    if row.state == "pending":
        return {"requested": True, "due_at": now}  # a back-off ends where somebody asks
    if is_doubted(row):  # what is recorded does not settle it
        return {"requested": True, "attempts": 0, "state": "pending", "due_at": now}
    changes = {"requested": True, "attempts": 0, "last_error": "", **first_state(chain, row, now)}
    # What it was to be looked at again for, an attempt that may still write, say, is so still.
    changes["due_at"] = min((each for each in (changes["due_at"], row.due_at) if each), default=None)
    return changes


def first_tier_bytes(chain: Chain) -> int:
    """Return how many bytes lie on the chain's first tier, but for those that are about to leave it."""
    held = _on_first_tier(chain).exclude(crowded_out=True, state="pending")
    return held.aggregate(bytes=Sum("size"))["bytes"] or 0


def longest_unused(chain: Chain) -> Iterator[StoredFile]:
    """Yield the settled files on the chain's first tier, those first that were saved, or called back, longest ago."""
    settled = _on_first_tier(chain).filter(state="settled", lease="", crowded_out=False)
    by_use = settled.order_by(Coalesce("called_back_at", "saved_at"), "pk")
    # All keys first: what is done to a file takes it out of the query.
    keys = list(by_use.values_list("pk", flat=True)[:MAX_CROWDED_OUT])
    for begin in range(0, len(keys), MAX_KEYS):
        rows = files().in_bulk(keys[begin : begin + MAX_KEYS])
        yield from (rows[pk] for pk in keys[begin : begin + MAX_KEYS] if pk in rows)


def _on_first_tier(chain: Chain) -> QuerySet[StoredFile]:
    # Tiers are kept in the chain's order.
    return files().filter(chain=chain.alias, tiers__0=chain.first.name).exclude(state="deleted")


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
    of_this_generation.update(due_at=timezone.now() + _lease())


def make_due(pks: Collection[int]) -> None:
    """Let workers have files that they were kept from."""
    files().filter(pk__in=pks, state="pending").update(due_at=timezone.now())


def retry(rows: QuerySet[StoredFile]) -> int:
    """Make failed files due again, with all their attempts; return how many."""
    return rows.filter(state="failed").update(state="pending", due_at=timezone.now(), attempts=0)


def hurry(rows: QuerySet[StoredFile]) -> int:
    """Have files that failed an attempt, and wait for their next one, tried at once; return how many."""
    return rows.filter(_waiting(timezone.now())).update(due_at=timezone.now(), attempts=0)


def failed(*, waiting: bool = False) -> QuerySet[StoredFile]:
    """Return the rows of files that failed for good, or that failed an attempt and are ``waiting`` for the next."""
    return files().filter(_waiting(timezone.now()) if waiting else Q(state="failed"))


def _waiting(now: datetime) -> Q:
    return Q(state="pending", due_at__gt=now, lease="") & ~Q(last_error="")


# ---- what an attempt does ----


def claim(pk: int) -> StoredFile | None:
    """Take a due row for one attempt, which counts from now; return None if it is not due or another's.

    An attempt that shows no sign of life loses the row; it may wake up, so it is noted.
    """
    now, token = timezone.now(), uuid.uuid4().hex
    row = files().filter(_claimable(now), pk=pk).first()
    if row is None:
        return None
    # By its key alone: a search by the due time as well would lock what savers lock in the other order (MariaDB).
    unchanged = files().filter(
        pk=pk, fence=row.fence, lease=row.lease, lease_until=row.lease_until, generation=row.generation
    )
    won = unchanged.update(
        lease=token, lease_until=now + _lease(), attempts=F("attempts") + 1, fence=row.fence + 1, lost=_with_loser(row)
    )  # fmt: skip
    return files().filter(pk=pk, lease=token).first() if won else None


def claim_each(pks: Iterable[int]) -> list[StoredFile]:
    """Take those of the rows that are due, and that no attempt has taken or left behind, for one attempt each.

    They share a lease. Rows that somebody is changing in this moment are left to others.
    """
    token, now = uuid.uuid4().hex, timezone.now()
    until = now + _lease()
    with transaction.atomic(using=database()):
        found = _held(files().filter(pk__in=list(pks)))
        rows = [row for row in found if row.due_at is not None and row.due_at <= now and not row.lease]
        claimed = files().filter(pk__in=[row.pk for row in rows])
        claimed.update(lease=token, lease_until=until, attempts=1 + F("attempts"), fence=1 + F("fence"))
    for row in rows:
        row.lease, row.lease_until = token, until
        row.attempts, row.fence = row.attempts + 1, row.fence + 1
    return rows


def give_back_each(rows: Sequence[StoredFile]) -> None:
    """End attempts of one lease that have done nothing, and do not count."""
    changes: dict[str, Any] = {"lease": "", "lease_until": None, "attempts": F("attempts") - 1}
    given_back = _change_each(rows, **changes)
    for row in rows:
        if row.pk in given_back:
            continue
        # Locked in that moment: it is waited for, with nothing else held. It may have been replaced.
        if not _own([row]).filter(generation=row.generation).update(**changes):
            end(row)


def _held(rows: QuerySet[StoredFile]) -> QuerySet[StoredFile]:
    """Return those of the rows that nobody else has locked, locked until the transaction ends.

    Whoever waits for one while it holds others would have a transaction that saves two of the files wait for it too.
    """
    features = connections[database()].features
    if features.has_select_for_update:
        return rows.select_for_update(skip_locked=features.has_select_for_update_skip_locked).order_by("pk")
    rows.update(fence=F("fence"))  # takes SQLite's lock
    return rows


def _held_own(rows: Sequence[StoredFile]) -> dict[int, bool]:
    """Hold those of the rows, all of one lease, that still are this attempt's; tell of each whether it is requested."""
    generations = {row.pk: row.generation for row in rows}
    found = _held(_own(rows)).values_list("pk", "generation", "requested")
    return {pk: requested for pk, generation, requested in found if generation == generations[pk]}


def _change_each(rows: Sequence[StoredFile], **changes: Any) -> set[int]:
    """Change those rows of one lease that are still their attempts', and locked by nobody; return their keys."""
    with transaction.atomic(using=database()):
        held = set(_held_own(rows))
        files().filter(pk__in=held).update(**changes)
    return held


def _own(rows: Sequence[StoredFile]) -> QuerySet[StoredFile]:
    """Return those of the rows, all of one lease, that it still has, whatever their generation."""
    return files().filter(pk__in=[row.pk for row in rows], lease=rows[0].lease)


def renew(row: StoredFile) -> None:
    """Show that the attempt lives."""
    _change(row, lease_until=timezone.now() + _lease())


def renew_each(rows: Sequence[StoredFile]) -> set[int]:
    """Show that the attempts of one lease live; return the keys of those that lost their file."""
    renewed = _change_each(rows, lease_until=timezone.now() + _lease())
    if len(renewed) == len(rows):
        return set()
    own = dict(_own(rows).values_list("pk", "generation"))  # some are locked, and their own all the same
    return {row.pk for row in rows if row.pk not in renewed and own.get(row.pk) != row.generation}


def note_writing(row: StoredFile, tier: str, *, in_place: bool = False) -> None:
    """Say, before the first byte, that the tier may hold other bytes by this name until a copy is recorded.

    ``in_place`` says that what lies there goes before the copy is whole.
    """
    changes = _destroying(row) if in_place else {}
    _change(
        row, stale=_with(row.stale, tier), lease_until=timezone.now() + _lease(), **changes, **_unsettled(row)
    )


def note_writing_each(rows: Sequence[StoredFile], tier: str) -> set[int]:
    """Say what ``note_writing`` says of rows of one lease with nothing stale; return the keys of the others."""
    noted = _change_each(rows, stale=[tier], state="pending", lease_until=timezone.now() + _lease())
    for row in rows:
        if row.pk in noted:
            row.stale, row.state = [tier], "pending"
    return {row.pk for row in rows} - noted


def record_copy(row: StoredFile, chain: Chain, tier: str, **facts: Any) -> None:
    """Say that the tier holds a verified copy of this generation."""
    held = {*row.tiers, tier}
    in_order = [name for name in chain.names if name in held]
    copied_at = timezone.now() if tier != chain.first.name else row.copied_at
    stale, lost = _without(row.stale, tier), _without_own(row)
    _change(row, tiers=in_order, stale=stale, copied_at=copied_at, lost=lost, **facts)


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
            changes = {"copied_at": now, "stale": _without(row.stale, tier), **facts}
            changes["tiers"] = [name for name in chain.names if name in held]
            _set(row, changes)
            changes |= _settled(chain, row, now, was_requested=requested[row.pk])
            _set(row, changes)
            alike.setdefault(tuple(sorted(changes)), []).append(row)
        for fields, rows in alike.items():
            _write(rows, fields)
    unsettled = [row for row, _ in kept if row.state != "settled"]
    for row, _ in kept:
        row.lease = row.lease or copies[0][0].lease
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
    ended: dict[str, Any] = {"state": "settled", "due_at": _next_look(review_at, now), "attempts": 0}
    return ended | {"last_error": "", "lease": "", "lease_until": None}


def _write(rows: Sequence[StoredFile], fields: Sequence[str]) -> None:
    """Write these fields of rows that are locked, by one statement.

    Most values are the same for all rows, and are sent once; bulk_update() sends each as often as there are rows.
    """
    connection, meta = connections[database()], _stored_file()._meta
    quote = connection.ops.quote_name
    key, keys = quote("id"), [row.pk for row in rows]
    assignments: list[str] = []
    values: list[Any] = []
    for column in (column for column in meta.concrete_fields if column.name in fields):
        told = [getattr(row, column.attname) for row in rows]
        if told.count(told[0]) == len(told):
            assignments.append(f"{quote(str(column.column))} = %s")
            values.append(column.get_db_prep_save(told[0], connection))
        else:
            choice = f"CASE {key} {'WHEN %s THEN %s ' * len(rows)}END"
            assignments.append(f"{quote(str(column.column))} = {choice}")
            for pk, value in zip(keys, told, strict=True):
                values += [pk, column.get_db_prep_save(value, connection)]
    where = f"{key} IN ({', '.join(['%s'] * len(rows))})"
    statement = f"UPDATE {quote(meta.db_table)} SET {', '.join(assignments)} WHERE {where}"  # noqa: S608 - names
    with connection.cursor() as cursor:
        cursor.execute(statement, [*values, *keys])


def _is_settled(chain: Chain, row: StoredFile, now: datetime) -> tuple[bool, datetime | None]:
    try:
        assessment = chain.assess(row, row.policy, now)
    except Exception:  # noqa: BLE001 - a policy's bug: the engine meets it, and tells it
        return False, None
    return assessment.is_settled, assessment.review_at


def _next_look(review_at: datetime | None, now: datetime) -> datetime | None:
    return (
        None if review_at is None else max(review_at, now + timedelta(seconds=1))
    )  # a past one would never end


def record_release(row: StoredFile, tier: str, *, cleared: bool) -> None:
    """Say that the tier's copy is not counted on any more, and whether its bytes are owed to be removed."""
    remaining = _without(row.tiers, tier)
    if not remaining:
        raise CustodyError(f"{tier!r} holds the last verified copy of {row.name!r}")
    if cleared:
        _change(row, tiers=remaining)
    else:
        _change(row, tiers=remaining, stale=_with(row.stale, tier), **_destroying(row), **_unsettled(row))


def note_clearing(row: StoredFile) -> None:
    """Say, before it is done, that what lies on a tier by this name is deleted."""
    _change(row, lease_until=timezone.now() + _lease(), **_destroying(row))


def record_cleared(row: StoredFile, tier: str) -> None:
    """Say that nothing is left by this name on the tier."""
    _change(row, stale=_without(row.stale, tier), lost=_without_own(row))


def _destroying(row: StoredFile) -> dict[str, Any]:
    # Written ahead: a delete that comes too late hits whatever lies by that name, of this generation too.
    return {"lost": _with_own(row, -1, timezone.now() + 2 * _lease())}


def _unsettled(row: StoredFile) -> dict[str, Any]:
    return {"state": "pending"} if row.is_live else {}


def settle(row: StoredFile, review_at: datetime | None) -> None:
    """End the attempt: the file lies where its policy wants it, until it asks to be looked at again.

    Where an attempt that lost the file may still write, it is looked at again when that one cannot.
    """
    now = timezone.now()
    others = [each for each in row.lost_attempts if each.fence != row.fence]
    lost = [each for each in others if each.until > now.timestamp()]
    ends = [_moment(each.until) for each in lost if each.generation < row.generation]
    reviews = [moment for moment in (review_at, *ends) if moment is not None]
    due_at = None
    if reviews:
        due_at = _next_look(min(reviews), now)
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
    row: StoredFile, reason: str, *, permanent: bool, lingers: bool = False, wrote: bool = False
) -> bool:
    """End the attempt without success; return whether it was the last one. A delete is never given up.

    ``lingers`` says that a delete of it goes on where it cannot be ended, ``wrote`` that a tier did not tell what
    became of a copy.
    """
    final = row.is_live and (permanent or row.attempts > conf.get("RETRIES"))
    if final:
        changes: dict[str, Any] = {"state": "failed", "due_at": None}
    else:
        changes = {"due_at": timezone.now() + _back_off(row.attempts), **_unsettled(row)}
    lost = _with_lingering(row) if lingers else _without_own(row)
    if wrote:
        until = (timezone.now() + _lease()).timestamp()
        lost = [*lost, _lost_attempt()(row.fence, row.generation, until).as_json()]
    _end(row, last_error=reason, lost=lost, **changes)
    return final


def postpone(row: StoredFile, reason: str) -> None:
    """End an attempt that does not count: this process cannot serve the file, whatever the file is."""
    _uncounted(
        row, last_error=reason, due_at=timezone.now() + _back_off(row.attempts), lost=_without_own(row)
    )


def leave(row: StoredFile, reason: str, *, lingers: bool = False) -> None:
    """End an attempt that does not count: its patience was over before a tier answered."""
    lost = _with_lingering(row) if lingers else _without_own(row)
    _uncounted(row, last_error=reason, due_at=timezone.now(), lost=lost)


def wait(row: StoredFile, until: datetime, stale: list[str]) -> None:
    """End an attempt that does not count: what is left to do waits for others who may still write."""
    _uncounted(row, last_error="", due_at=until, stale=stale, lost=_without_own(row))


def _uncounted(row: StoredFile, **changes: Any) -> None:
    _end(row, attempts=max(row.attempts - 1, 0), **changes, **_unsettled(row))


def _with_lingering(row: StoredFile) -> list[dict[str, Any]]:
    """Return the lost attempts without this one, and a delete that goes on: one for all such, of nobody's fence."""
    until = (timezone.now() + _lease()).timestamp()
    others = [each for each in _without_own(row) if each["fence"] != 0]
    return [*others, _lost_attempt()(0, -1, until).as_json()]


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


def may_write(row: StoredFile) -> datetime | None:
    """Return when the last attempt ends that may still write what this generation has replaced; None if none may."""
    older = [each.until for each in row.lost_attempts if each.generation < row.generation]
    last = max(older, default=0.0)
    return _moment(last) if last > timezone.now().timestamp() else None


def has_lost_older(row: StoredFile) -> bool:
    """Tell whether attempts at older generations may have written since this one's copies were verified."""
    return any(each.generation < row.generation for each in row.lost_attempts)


def _moment(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC if settings.USE_TZ else None)


def distrust(seen: StoredFile, tier: str) -> bool:
    """Say that the tier may hold bytes of an older generation, written too late; an attempt under way loses.

    Return False, and say nothing, if the row is not any more what it was when the tier was looked at.
    """
    with locked(seen.chain, seen.name) as current:
        if current is None or any(getattr(current, each) != getattr(seen, each) for each in _LOOKED_AT):
            return False
        current.tiers, current.stale = _without(current.tiers, tier), _with(current.stale, tier)
        current.lost = _with_loser(current)
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
        current.state, current.due_at, current.attempts, current.last_error = "pending", timezone.now(), 0, ""
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


def is_doubted(row: StoredFile) -> bool:
    """Tell whether no copy was good when the file was verified, and no attempt has seen since that one is."""
    return row.last_error.startswith(NO_GOOD_COPY)


def _give_up_attempt(row: StoredFile) -> None:
    """Take the row from an attempt that shows no sign of life any more."""
    row.lost = _with_loser(row)
    row.lease, row.lease_until = "", None


_ATTEMPT = ("lost", "lease", "lease_until", "attempts")


def distrust_own(row: StoredFile, tier: str) -> None:
    """Say that the tier, which this attempt looked at, does not hold what is recorded."""
    _change(row, tiers=_without(row.tiers, tier), stale=_with(row.stale, tier))


def prune(now: datetime, of_chains: Iterable[str], days: float | None = None) -> int:
    """Remove the rows of files deleted so many days ago (HISTORY), some at a time: none is locked for long."""
    return sum(map(_prune, tombstones(now, of_chains, days)))


def tombstones(
    now: datetime, of_chains: Iterable[str], days: float | None = None
) -> Iterator[QuerySet[StoredFile]]:
    """Yield, for each chain, the rows of files deleted so many days ago (HISTORY) of which nothing is left."""
    before = now - timedelta(days=conf.get("HISTORY") if days is None else days)
    for chain in of_chains:
        yield files().filter(_gone(), saved_at__lt=before, chain=chain)


def _prune(old: QuerySet[StoredFile]) -> int:
    count = 0
    while pks := list(old.values_list("pk", flat=True)[:PRUNED_AT_ONCE]):
        count += old.filter(pk__in=pks).delete()[0]  # but for those whose name was taken again meanwhile
    return count


def _end(row: StoredFile, also: Q | None = None, **changes: Any) -> None:
    _change(row, also, lease="", lease_until=None, **changes)


def _change(row: StoredFile, also: Q | None = None, **changes: Any) -> None:
    guard = Q(pk=row.pk, lease=row.lease, generation=row.generation)
    if not files().filter(guard if also is None else guard & also).update(**changes):
        raise LeaseLost(f"{row} is no longer this attempt's to change")
    for name, value in changes.items():
        if name != "lease":
            setattr(row, name, value)


def _back_off(attempts: int) -> timedelta:
    delay = min(conf.get("RETRY_DELAY") * 2 ** min(max(attempts - 1, 0), 30), conf.get("RETRY_MAX_DELAY"))
    return timedelta(seconds=delay * random.uniform(1, 1.25))  # noqa: S311 - spreads load, keeps no secret


def _lease() -> timedelta:
    return timedelta(seconds=conf.get("LEASE"))


def _with(names: list[str], name: str) -> list[str]:
    return [*names, name] if name not in names else list(names)


def _without(names: list[str], name: str) -> list[str]:
    return [other for other in names if other != name]
