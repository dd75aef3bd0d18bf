"""The numbers by which a machine watches the catalog: cheap enough to be asked for every few seconds.

What is owed is counted, what is settled is estimated where it is much: see ``census``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from django.db import connections
from django.db.models import Q, QuerySet

from . import catalog, causes, census, outage
from .chain import Chain, chains
from .exceptions import UnknownChain

if TYPE_CHECKING:
    from .models import StoredFile

#: Failed files of a chain whose reasons are read; of more, those that were saved last stand for all.
READ = 1_000
#: What a row's state is called here: the tombstone of a deleted file is counted only while work is left.
STATES = {"pending": "pending", "failed": "failed", "settled": "settled", "deleted": "deleting"}


class Amount(NamedTuple):
    files: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Vitals:
    """What the catalog says of one chain."""

    chain: str
    #: Whether what is settled was estimated.
    is_estimate: bool
    #: By state: "pending", "failed", "settled", "deleting"; each is there.
    states: dict[str, Amount]
    #: Files that an attempt has in hand.
    running: int
    #: Verified copies, by tier.
    tiers: dict[str, Amount]
    #: Files of which the first tier alone has a copy, by state; "settled" ones lie where their policy wants them.
    first_tier_only: dict[str, Amount]
    #: Failed files by cause; each is there.
    failed: dict[str, int]
    #: Seconds for which the work that has waited longest has been due, and nobody has taken it.
    overdue: float


def aliases() -> list[str]:
    """Return the aliases of the chains that keep a catalog, and of those that only the catalog knows."""
    known = [alias for alias in chains if chains[alias].default_policy is not None]
    return list(dict.fromkeys((*known, *catalog.aliases())))


def take(alias: str, now: datetime) -> Vitals:
    """Return the vitals of a chain, in a few queries whatever the number of its settled files."""
    chain = _known(alias)
    found = census.take(alias)
    states, tiers, alone = Counter[str](), Counter[str](), Counter[str]()
    sizes, tier_sizes, alone_sizes = Counter[str](), Counter[str](), Counter[str]()
    for group in found.groups:
        state, size = STATES[group.state], group.bytes or 0
        states[state] += group.files
        sizes[state] += size
        if group.state == "deleted":
            continue
        for tier in group.tiers:
            tiers[tier] += group.files
            tier_sizes[tier] += size
        if chain is not None and group.tiers == [chain.first.name]:
            alone[state] += group.files
            alone_sizes[state] += size
    names = sorted(tiers) if chain is None else chain.names
    live = [state for state in STATES.values() if state != "deleting"]
    return Vitals(
        chain=alias,
        is_estimate=found.is_estimate,
        states=_amounts(STATES.values(), states, sizes),
        running=catalog.in_hand(now, alias).filter(~Q(lease=""), lease_until__gte=now).count(),
        tiers=_amounts(names, tiers, tier_sizes),
        first_tier_only=_amounts([] if chain is None else live, alone, alone_sizes),
        failed=_by_cause(alias, states["failed"]),
        overdue=overdue(now, alias),
    )


def overdue(now: datetime, alias: str) -> float:
    """Return the seconds for which the chain's work that has waited longest for a worker has been due."""
    # By the time alone: where many fell due at once, to have those in order would take a sort.
    since = catalog.due(now, alias).order_by("due_at").values_list("due_at", flat=True).first()
    return 0.0 if since is None else (now - since).total_seconds()


def failed(aliases: Iterable[str], limit: int) -> int:
    """Return how many files of the chains have failed; no more than ``limit`` are counted."""
    # By chains in any case: the index has them first.
    return catalog.files().filter(state="failed", chain__in=list(aliases)).values("pk")[:limit].count()


def latest_failed(alias: str) -> QuerySet[StoredFile]:
    """Return the failed files of a chain, those that were saved last first."""
    # Of all of them "due_at" is empty: with it, the order is the index's.
    return catalog.files().filter(chain=alias, state="failed").order_by("-due_at", "-saved_at")


def down(alias: str | None = None) -> Iterator[tuple[Chain, str, bool]]:
    """Yield the tiers (of one chain) that have a TIMEOUT, with whether each missed it a moment ago."""
    for chain in [chains[each] for each in chains] if alias is None else [chains[alias]]:
        for tier in chain:
            if tier.timeout is not None:
                yield chain, tier.name, outage.is_down(tier)


@contextmanager
def borrowed_connection() -> Iterator[None]:
    """Close a connection to the catalog that is opened inside: whoever asks may be a thread that nobody tidies up."""
    connection = connections[catalog.database()]
    was_open = connection.connection is not None
    try:
        yield
    finally:
        if not was_open and not connection.in_atomic_block:
            connection.close()


def _by_cause(alias: str, total: int) -> dict[str, int]:
    reasons = latest_failed(alias).values_list("last_error", flat=True)[:READ] if total else ()
    found = Counter(causes.read(reason).cause for reason in reasons)
    scale = total / max(found.total(), 1) if total > READ else 1
    return {cause: round(found[cause] * scale) for cause in causes.ALL}


def _amounts(names: Iterable[str], files: Counter[str], sizes: Counter[str]) -> dict[str, Amount]:
    return {name: Amount(files[name], sizes[name]) for name in names}


def _known(alias: str) -> Chain | None:
    try:
        return chains[alias]
    except UnknownChain:
        return None
