"""Looking rows up: what a name is, what is due, what waits and what failed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from django.db.models import Min, Q, QuerySet, Sum, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from .. import conf
from ..chain import Chain, chains
from ..turns import in_turn
from .hosting import without_clearings
from .rows import files, lease_time, stored_file_model

if TYPE_CHECKING:
    from ..models import StoredFile


#: Files that one sweep asks to leave a first tier, at most.
MAX_CROWDED_OUT = 10_000


#: How many names one query asks for; SQLite takes 999 parameters where it was not built for more.
MAX_KEYS = 500


def find(chain: str, name: str) -> StoredFile | None:
    """Return the row of the name, also that of a deleted file."""
    return files().filter(stored_file_model().named(chain, name)).first()


def find_many(chain: str, names: Collection[str]) -> dict[str, StoredFile | None]:
    """Return the rows of the names as ``find`` does, with one query for MAX_KEYS of them."""
    stored_file = stored_file_model()
    found: dict[str, StoredFile | None] = dict.fromkeys(names)
    keys = iter([stored_file.key_of(name) for name in found])
    while batch := list(islice(keys, MAX_KEYS)):
        found |= {row.name: row for row in files().filter(chain=chain, key__in=batch)}
    return found


def holds(chain: str, name: str) -> bool:
    """Tell whether the name is taken: by a file, or by a deleted one whose bytes some tier may still have."""
    return files().filter(stored_file_model().named(chain, name)).exclude(_gone()).exists()


def states(chain: str, names: Iterable[str]) -> dict[str, str]:
    """Return the states of those of the names that have rows, also of deleted files."""
    keys = [stored_file_model().key_of(name) for name in names]
    return dict(files().filter(chain=chain, key__in=keys).values_list("name", "state")) if keys else {}


def deleted_among(chain: str, names: Collection[str]) -> set[str]:
    """Return those of the names that are of deleted files, which a tier may still list; memory is bounded."""
    deleted = files().filter(chain=chain, state="deleted").values_list("name", flat=True)
    if (
        len(names) > MAX_KEYS
    ):  # most chains have few tombstones: one query instead of one for each MAX_KEYS names
        few = list(deleted[: MAX_KEYS + 1])
        if len(few) <= MAX_KEYS:
            return set(few).intersection(names)
    keys = map(stored_file_model().key_of, names)
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
    owed = files().filter(is_claimable(now))
    return (owed if chain is None else owed.filter(chain=chain)).order_by("due_at", "pk")


def due_ids(
    now: datetime,
    count: int,
    chain: str | None = None,
    *,
    passed: Collection[int] = frozenset(),
    of_hosts: Q | None = None,
) -> list[int]:
    """Return keys of due rows, ``count`` at most: chains take turns and share the count; ``passed`` are left out.

    ``of_hosts`` says which rows are meant of chains whose first tier is each host's own.
    """
    hungry = aliases() if chain is None else [chain]
    own = {} if of_hosts is None else {chain.alias: of_hosts for chain in chains.with_own_tiers()}
    found: dict[str, list[tuple[datetime, int]]] = {}
    share, left = 0, count
    while hungry and left > 0:  # what some do not need is shared out among the others
        share -= -left // len(hungry)
        found |= {alias: _longest_due(now, share, alias, passed, own.get(alias)) for alias in hungry}
        hungry = [alias for alias in hungry if len(found[alias]) == share]
        left = count - sum(map(len, found.values()))
    # Whose file is owed longest begins.
    return [pk for _, pk in islice(in_turn(sorted(found.values())), count)]


def _longest_due(
    now: datetime, count: int, chain: str, passed: Collection[int], of_hosts: Q | None
) -> list[tuple[datetime, int]]:
    owed = due(now, chain) if of_hosts is None else due(now, chain).filter(of_hosts)
    rows: QuerySet[Any, tuple[datetime, int]] = owed.values_list("due_at", "pk")  # type: ignore[assignment]
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
    # The key by a query of its own: MariaDB looks through all rows for a bound that it does not know beforehand.
    return files().filter(pk__gt=newest() - count)


def newest() -> int:
    """Return the key of the row that was written last, of any chain; 0 where there is none."""
    return files().order_by("-pk").values_list("pk", flat=True).first() or 0


def held_lately(chain: str, tier: str, count: int) -> list[str]:
    """Return names of files that the tier counts as having, so many at most, of those that were written last."""
    # A look at the last rows: a search for this tier's would go through all where it has few.
    last = files().filter(chain=chain).exclude(state="deleted").order_by("-pk").values_list("name", "tiers")
    return [name for name, tiers in last[: 50 * count] if tier in tiers][:count]


def in_hand(now: datetime, chain: str) -> QuerySet[StoredFile]:
    """Return the chain's rows that are due, or that an attempt has, and some more.

    A save that replaces what an attempt works on puts the row off by a lease at most.
    """
    return files().filter(chain=chain, due_at__lte=now + lease_time())


def is_claimable(now: datetime) -> Q:
    return Q(due_at__lte=now) & (Q(lease="") | Q(lease_until__lt=now))


def _gone() -> Q:
    return Q(state="deleted", due_at=None, lease="")


def first_tier_bytes(chain: Chain) -> int:
    """Return how many bytes lie on the chain's first tier, or were called back to it, but for those about to leave."""
    is_coming = Q(state="pending", crowded_out=False, called_back_at__isnull=False)
    held = _of_own_host(chain, files().filter(Q(tiers__0=chain.first.name) | is_coming, chain=chain.alias))
    staying = held.exclude(state="deleted").exclude(crowded_out=True, state="pending")
    return staying.aggregate(bytes=Sum("size"))["bytes"] or 0


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
    held = files().filter(chain=chain.alias, tiers__0=chain.first.name).exclude(state="deleted")
    return _of_own_host(chain, held)


def _of_own_host(chain: Chain, rows: QuerySet[StoredFile]) -> QuerySet[StoredFile]:
    """Leave out what lies on other hosts' disks, where the first tier is each host's own."""
    return rows if chain.own is None else rows.filter(host=conf.host())


def failed(*, waiting: bool = False) -> QuerySet[StoredFile]:
    """Return the rows of files that failed for good, or that failed an attempt and are ``waiting`` for the next."""
    return files().filter(is_waiting(timezone.now()) if waiting else Q(state="failed"))


def is_waiting(now: datetime) -> Q:
    return Q(state="pending", due_at__gt=now, lease="") & ~Q(last_error="")


def tombstones(
    now: datetime, of_chains: Iterable[str], days: float | None = None
) -> Iterator[QuerySet[StoredFile]]:
    """Yield, for each chain, the rows of files deleted so many days ago (HISTORY) of which nothing is left."""
    before = now - timedelta(days=conf.get("HISTORY") if days is None else days)
    own = {chain.alias for chain in chains.with_own_tiers()}
    for chain in of_chains:
        old = files().filter(_gone(), saved_at__lt=before, chain=chain)
        yield without_clearings(old) if chain in own else old
