"""What operators ask and order, as functions: the commands and the admin only print it."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import islice, takewhile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from django.core.exceptions import SuspiciousOperation
from django.db import transaction
from django.db.models import Count, Min, Q, QuerySet
from django.utils import timezone

from . import (
    applied,
    catalog,
    causes,
    census,
    copying,
    direct,
    dispatch,
    identity,
    leftovers,
    neighbours,
    outage,
)
from .brakes import Brake, Cap, TooManyLeftovers
from .chain import Assessment, Chain, chains
from .exceptions import CopiesDiffer, QueuedStorageError, UnknownChain
from .names import clean, is_own
from .schema import MAX_NAME
from .storage import TieredStorage
from .tier import Tier

if TYPE_CHECKING:
    from .models import StoredFile


#: Minutes of which a status tells what was copied.
LATELY = 5
#: Files that are looked up and taken in together; and names that are read from the catalog at a time.
FILES_AT_ONCE = 100
NAMES_AT_ONCE = 1_000


@dataclass(frozen=True)
class TierStatus:
    """Verified copies on one tier."""

    tier: str
    files: int
    bytes: int


@dataclass(frozen=True)
class Throughput:
    """What was copied in the last minutes; where files are estimated, so is this."""

    minutes: float
    files: int
    bytes: int

    @property
    def files_per_second(self) -> float:
        return self.files / self.minutes / 60

    @property
    def bytes_per_second(self) -> float:
        return self.bytes / self.minutes / 60


@dataclass(frozen=True)
class ChainStatus:
    """What the catalog says of one chain; ``owed_since`` is when the longest owed work fell due."""

    chain: str
    policy: str | None
    #: Whether this process knows the chain; another may.
    is_known: bool
    #: Whether files and bytes that are settled, and so those of all and of tiers, were not counted but estimated.
    is_estimate: bool
    files: int
    bytes: int
    settled: int
    pending: int
    running: int
    failed: int
    deleting: int
    owed_since: datetime | None
    #: Files, and their bytes, of which the first tier alone holds a copy.
    first_tier_only: TierStatus
    #: What was copied lately.
    throughput: Throughput
    #: The reasons of failed files, the most frequent first, each with how many have it.
    reasons: dict[str, int]
    tiers: tuple[TierStatus, ...]
    #: How the settings differ from those that the files follow, in words: ``tiers apply`` waits for somebody.
    changes: list[str]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def status(alias: str, *, exact: bool = False) -> ChainStatus:
    """Tell what the catalog says of a chain, in a few queries whatever the number of its files."""
    chain, now = _known(alias), timezone.now()
    found = census.take(alias, exact=exact, since=now - timedelta(minutes=LATELY))
    states, files, sizes = Counter[str](), Counter[Combination](), Counter[Combination]()
    for group in found.groups:
        states[group.state] += group.files
        if group.state != "deleted":
            files[tuple(group.tiers)] += group.files
            sizes[tuple(group.tiers)] += group.bytes or 0
    held = {name for combination in files for name in combination}
    first = "" if chain is None else chain.first.name
    owed = catalog.in_hand(now, alias).aggregate(
        running=Count("pk", filter=~Q(lease="") & Q(lease_until__gte=now)),
        since=Min("due_at", filter=Q(due_at__lte=now)),
    )
    throughput = Throughput(
        LATELY,
        sum(group.copied for group in found.groups),
        sum(group.copied_bytes or 0 for group in found.groups),
    )
    return ChainStatus(
        throughput=throughput,
        reasons=reasons(failed(alias), 5) if states["failed"] else {},
        chain=alias,
        policy=None if chain is None else _policy_of(chain),
        is_known=chain is not None,
        is_estimate=found.is_estimate,
        files=sum(files.values()),
        bytes=sum(sizes.values()),
        settled=states["settled"],
        pending=states["pending"],
        failed=states["failed"],
        running=owed["running"],
        deleting=states["deleted"],
        owed_since=owed["since"],
        first_tier_only=TierStatus(first, files[first,], sizes[first,]),
        tiers=tuple(
            _tier_status(name, files, sizes) for name in (sorted(held) if chain is None else chain.names)
        ),
        changes=[] if chain is None else applied.pending(chain),
    )


def _known(alias: str) -> Chain | None:
    try:
        return chains[alias]
    except UnknownChain:
        return None


def strays() -> list[str]:
    """Return the aliases that rows of the catalog have, and that no chain has which is known here."""
    return [alias for alias in catalog.aliases() if alias not in chains]


Combination = tuple[str, ...]


def _tier_status(name: str, files: Counter[Combination], sizes: Counter[Combination]) -> TierStatus:
    return TierStatus(
        name,
        sum(count for tiers, count in files.items() if name in tiers),
        sum(size for tiers, size in sizes.items() if name in tiers),
    )


def _policy_of(chain: Chain) -> str | None:
    return "(written out in the settings)" if chain.policy_name == "" else chain.policy_name


def names(chain: Chain, prefix: str = "") -> Iterator[str]:
    """Yield every name of the chain once: those of the catalog, then those that only a tier knows.

    Not what lies in folders that are places of others: other tiers, chains, STORAGES and fields.
    """
    yield from (name for name in _catalogued(chain, prefix) if name.startswith(prefix))
    of_others = neighbours.folders(chain)
    for tier in chain:
        walked = leftovers.walk(tier, posixpath.dirname(prefix))
        for batch in _batches(name for name in walked if name.startswith(prefix)):
            found = [name for name in batch if not neighbours.lies_in(of_others[tier.name], name)]
            known = catalog.states(chain.alias, filter(is_nameable, found))
            yield from (
                name
                for name in found
                if not is_nameable(name) or (name not in known and _is_new(chain, tier, name))
            )


def _catalogued(chain: Chain, prefix: str) -> Iterator[str]:
    """Yield the names of the live rows, some at a time: no query lasts while files are moved, or holds all of them."""
    last = 0
    while page := list(
        catalog.live_after(last, chain.alias, prefix).values_list("pk", "name")[:NAMES_AT_ONCE]
    ):
        yield from (name for _, name in page)
        last = page[-1][0]


def _batches(names: Iterable[str]) -> Iterator[list[str]]:
    names = iter(names)
    while batch := list(islice(names, FILES_AT_ONCE)):
        yield batch


def _is_new(chain: Chain, tier: Tier, name: str) -> bool:
    """Tell whether no tier above this one has a file of the name, which the catalog does not know."""
    if is_own(PurePosixPath(name).name):
        return False
    return not any(_has(above, name) for above in chain.tiers[: tier.index])


def is_nameable(name: str) -> bool:
    """Tell whether the chain would find a file by this name, and the catalog could hold it."""
    parts = PurePosixPath(name).parts
    if not parts or clean(name) != name or len(name) > MAX_NAME or "\0" in name or {"..", "/"} & set(parts):
        return False
    try:
        name.encode()
    except UnicodeEncodeError:  # a disk takes any bytes for a name; no database does
        return False
    return True


def _has(tier: Tier, name: str) -> bool:
    try:
        return outage.ask(tier, partial(direct.exists, tier.storage, name))
    except SuspiciousOperation:
        return False


def transfer(
    storage: TieredStorage, wanted: Iterable[str], *, dry_run: bool = False, cap: Cap | None = None
) -> Iterator[tuple[str, str]]:
    """Ask for the transfer of each name; yield it with what came of that.

    That is a state, "unknown", "missing", "differing" (its copies), "unnameable" (here, or by a tier), or "foreign":
    it is new, and lies in a folder that is the place of others. ``cap`` is how much may be made due, or is due already,
    before this ends.
    """
    of_others = tuple(
        {folder for folders in neighbours.folders(storage.chain).values() for folder in folders}
    )
    for batch in _batches(wanted):
        if cap is not None and cap.is_set:
            batch = _within(storage, batch, cap)
        states = {} if dry_run else _take_in(storage, batch, of_others)
        for name in batch:
            state = states.get(name) or _transfer(storage, name, of_others, dry_run=dry_run)
            yield printable(name), state
        if cap is not None and cap.is_reached:
            return


def _within(storage: TieredStorage, names: list[str], cap: Cap) -> list[str]:
    """Return those of the names, from the first on, whose transfer the cap takes; what lies right takes nothing."""
    rows = catalog.find_many(storage.alias, list(filter(is_nameable, names)))
    now = timezone.now()

    def fits(name: str) -> bool:
        if not is_nameable(name):
            return True
        row = rows.get(name)
        if row is not None and row.is_live:
            return not _will_be_due(storage.chain, row, now) or cap.takes(row.size)
        return cap.takes(_size(storage, name))

    return list(takewhile(fits, names))


def _will_be_due(chain: Chain, row: StoredFile, now: datetime) -> bool:
    asked_for = copy(row)
    asked_for.requested = True
    try:
        return row.state != "settled" or not chain.assess(asked_for, row.policy, now).is_settled
    except QueuedStorageError:
        return True


def _size(storage: TieredStorage, name: str) -> int:
    try:
        return storage.size(name)
    except (FileNotFoundError, NotImplementedError, SuspiciousOperation, UnicodeEncodeError):
        return 0


def _take_in(storage: TieredStorage, names: list[str], of_others: tuple[str, ...]) -> dict[str, str]:
    """Ask, together, for the transfer of files that are new to the catalog; return the states of those that it took."""
    if type(storage).transfer is not TieredStorage.transfer or storage.policy is None:
        return {}  # each is asked for by a method that is not this package's, or refused
    own = [name for name in names if is_nameable(name) and not neighbours.lies_in(of_others, name)]
    taken = catalog.states(storage.alias, storage.take_in(own))
    return {name: state for name, state in taken.items() if state != "deleted"}


def _transfer(storage: TieredStorage, name: str, of_others: tuple[str, ...], *, dry_run: bool) -> str:
    if not is_nameable(name):
        return "unnameable"
    if neighbours.lies_in(of_others, name) and storage.state(name) is None:
        return "foreign"
    try:
        if not dry_run:
            storage.transfer(name)
        return storage.state(name) or ("unknown" if storage.exists(name) else "missing")
    except FileNotFoundError:
        return "missing"
    except CopiesDiffer:
        return "differing"
    except SuspiciousOperation:
        return "unnameable"


def printable(name: str) -> str:
    """Return the name as it can be printed, whatever bytes a disk has it in."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def failed(
    alias: str | None, wanted: Iterable[str] = (), *, error: str = "", waiting: bool = False
) -> QuerySet[StoredFile]:
    """Return the failed files, of one chain and of the given names if there are any, whose reason has that text.

    ``waiting`` returns instead those that failed an attempt and wait for their next one.
    """
    # By chains in any case: the index has them first.
    rows = catalog.failed(waiting=waiting).filter(chain__in=catalog.aliases() if alias is None else [alias])
    key_of: Callable[[str], str] = rows.model.key_of
    keys = [key_of(name) for name in wanted]
    if error:
        rows = rows.filter(last_error__icontains=error)
    return rows.filter(key__in=keys) if keys else rows


def reasons(rows: QuerySet[StoredFile], most: int = 10) -> dict[str, int]:
    """Return the reasons that most of the files have, each with how many have it."""
    counted = rows.order_by().values_list("last_error").annotate(files=Count("pk"))
    return dict(counted.order_by("-files", "last_error")[:most])


def reads(cause: str | None, tier: str | None) -> Callable[[str], bool]:
    """Return what tells whether a reason is of this cause and speaks of this tier; None is any."""

    def is_wanted(reason: str) -> bool:
        told = causes.read(reason)
        return cause in (None, told.cause) and tier in (None, told.tier)

    return is_wanted


def withdraw(row: StoredFile) -> str:
    """Take back that the file's transfer was asked for, where it then stays where it is; tell what came of it.

    That is "withdrawn", "unasked" (nobody asked), "done", "in hand" (an attempt has it, or has changed it meanwhile),
    or "wanted" (its policy moves it whether or not somebody asks). No copy is lost: what is on several tiers stays
    there, and what was begun is cleared by the attempt that is due. Again is no error. Raise QueuedStorageError for a
    chain or policy that is not known.
    """
    if not (row.is_live and row.requested):
        return "unasked"
    if row.state == "settled" and row.due_at is None:
        return "done"
    if row.lease:
        return "in hand"
    unasked = copy(row)
    unasked.requested = False
    if not chains[row.chain].assess(unasked, row.policy, timezone.now()).is_settled:
        return "wanted"
    with transaction.atomic(using=catalog.database()):
        if not catalog.withdraw(row):
            return "in hand"
        dispatch.hint(row)
    return "withdrawn"


def collect(
    alias: str,
    before: datetime,
    *,
    dry_run: bool = False,
    max_share: float = 100,
    cap: Cap | None = None,
) -> Iterator[leftovers.Leftover]:
    """Remove what crashed processes left on the chain's tiers before that time; yield each piece.

    Raise TooManyLeftovers where a larger share of a tier looks like that, WrongPlace where one is not the right place;
    then nothing is removed of what was just found. ``cap`` is what may be removed yet.
    """
    chain = chains[alias]
    identity.require_each(chain, [tier.name for tier in chain.writable])
    brake = Brake(max_share, TooManyLeftovers)
    for tier, found in leftovers.find(chain, before):
        if not dry_run:
            brake.check({tier.name: found.looked_at}, {tier.name: len(found.pieces)})
        for leftover in found.pieces:
            if cap is not None and cap.is_set and not cap.takes(leftover.size()):
                return
            if not dry_run:
                identity.require(tier)
                leftover.remove()
            yield leftover


def explain(storage: TieredStorage, name: str, deadline: float | None = None) -> dict[str, Any]:
    """Tell a file's story: where it lies, where its policy wants it and why, what happens next.

    Each tier is asked for the file, for so many seconds at most (None: as long as it takes).
    """
    chain = storage.chain
    row = catalog.find(chain.alias, name)
    found_on = _found_on(chain, name, deadline)
    if row is not None and chain.own is not None and chain.has_elsewhere(row):
        found_on[chain.own.name] = f"on host {row.host!r}, which alone can tell"
    story: dict[str, Any] = {"chain": chain.alias, "name": name, "found on": found_on}
    if row is None:
        return story | {"state": None, "next": "The catalog does not know it. `tiers transfer` takes it in."}
    return story | _facts(row) | _plan(chain, row)


def _found_on(chain: Chain, name: str, deadline: float | None) -> dict[str, str]:
    found = {}
    for tier in chain:
        try:
            is_there = outage.ask(tier, partial(tier.storage.exists, name), deadline)
            found[tier.name] = "yes" if is_there else "no"
        except Exception as error:  # noqa: BLE001 - told as the answer: an operator asks because something is wrong
            found[tier.name] = tier.describe(error)
    return found


def _facts(row: StoredFile) -> dict[str, Any]:
    shown = (
        "state", "tiers", "stale", "generation", "size", "digest", "content_type", "policy", "requested", "crowded_out",
        "saved_at", "copied_at", "due_at", "attempts", "last_error", "lease_until",
    )  # fmt: skip
    hosted = {field: value for field in ("host", "for_host") if (value := getattr(row, field)) is not None}
    return {field: getattr(row, field) for field in shown} | hosted


def _plan(chain: Chain, row: StoredFile) -> dict[str, Any]:
    if not row.is_live:
        return {"next": f"Deleted; to be cleared from: {', '.join(row.stale) or 'nothing any more'}."}
    try:
        assessment = chain.assess(row, row.policy, timezone.now())
    except QueuedStorageError as error:
        return {"next": f"Nothing can be done: {error}"}
    wanted = {*row.tiers, *assessment.missing} - {*assessment.surplus}
    return {
        "wanted on": [name for name in chain.names if name in wanted],
        "why": _why(chain, row),
        "next": _what_next(row, assessment),
    } | _ways(chain, row, assessment)


def _why(chain: Chain, row: StoredFile) -> str:
    """Name the policy that decides, and what it was told beside the file's age, size and name."""
    is_own = row.policy in ("", chain.policy_name)
    why = f"policy {row.policy or _policy_of(chain)}" + (", the chain's own" if is_own else "")
    policy, deciding = chain.policy(row.policy), chain.policy_of(row, row.policy)
    if type(deciding) is not type(policy):
        why += f", which leaves it to {type(deciding).__name__}"
    why += "; its transfer was asked for" if row.requested else ""
    return why + ("; it was crowded out of the first tier" if row.crowded_out else "")


def _ways(chain: Chain, row: StoredFile, assessment: Assessment) -> dict[str, Any]:
    """Tell how the copies that are lacking will be made."""
    source = next((chain[name] for name in row.tiers if name in chain), None)
    if source is None or not assessment.missing:
        return {}
    return {"ways": {name: copying.way(source, chain[name]) for name in assessment.missing}}


def _what_next(row: StoredFile, assessment: Assessment) -> str:
    if row.state == "failed":
        return f"Nothing until `tiers retry`: {row.last_error}"
    steps = [f"copy to {name}" for name in assessment.missing]
    steps += [f"release from {name}" for name in assessment.surplus]
    steps += [f"clear {name}" for name in row.stale if name not in assessment.missing]
    if steps:
        told = ", then ".join(steps)
        return f"{told[0].upper()}{told[1:]}; due {row.due_at:%Y-%m-%d %H:%M:%S %Z}"
    if assessment.review_at is not None:
        return f"Lies where its policy wants it until {assessment.review_at:%Y-%m-%d %H:%M:%S %Z}."
    return "Lies where its policy wants it."
