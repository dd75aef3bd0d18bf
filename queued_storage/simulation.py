"""What a policy would do in days to come: its own code in virtual time, over the catalog's files and files to come.

A policy looks at one file at a time, and so does this: each file is followed to its end, and what is kept of it are
sums by day and tier. Nothing is asked of any tier, and nothing is written.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.utils import timezone

from . import catalog, credentials, traits
from .chain import Chain
from .exceptions import ConfigurationError, QueuedStorageError
from .schema import PriceSettings

DAY = timedelta(days=1)
#: Days of a month, and bytes of a gigabyte, as prices have them.
MONTH = 365.25 / 12
GIGABYTE = 10**9
#: Files that are followed; of more, each of so many stands for several.
FOLLOWED = 20_000
#: How often a policy may ask to look at one file again.
LOOKS = 10_000
#: Rows that are read at a time, and files whose kind those to come have.
ROWS_AT_ONCE = 1_000
KINDS = 1_000
#: Spread of the sizes of files to come, as the standard deviation of their logarithm: many small ones, a few large.
SPREAD = 1.0


@dataclass(slots=True)
class SimulatedFile:
    """The facts of a file, which change as it is moved."""

    name: str
    size: int | None
    content_type: str
    saved_at: datetime
    tiers: Sequence[str]
    copied_at: datetime | None = None
    requested: bool = False
    policy: str = ""
    crowded_out: bool = False


@dataclass(frozen=True)
class Load:
    """Files to come: so many a day, of this mean size in bytes (None: of the catalog's sizes)."""

    files_per_day: int
    mean_size: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class TierDay:
    """One tier at the end of a day, and what happened there on that day."""

    files: int
    bytes: int
    #: Files that were copied to it, and released from it.
    copies: int
    copied_bytes: int
    releases: int
    #: None where the tier has no PRICE.
    cost: float | None


@dataclass(frozen=True)
class Day:
    """``ends_at`` is the end of it; the first day begins with the simulation."""

    ends_at: datetime
    tiers: dict[str, TierDay]

    @property
    def cost(self) -> float | None:
        """What the tiers that have a PRICE cost; None where none has."""
        costs = [tier.cost for tier in self.tiers.values() if tier.cost is not None]
        return sum(costs) if costs else None

    @property
    def moves(self) -> int:
        """How often a file was copied or released."""
        return sum(tier.copies + tier.releases for tier in self.tiers.values())


@dataclass(frozen=True)
class Report:
    """What came of it, day by day."""

    chain: str
    policy: str | None
    starts_at: datetime
    #: Whether some files stood for others.
    is_estimate: bool
    #: Files of the catalog, and files that came.
    files: int
    new_files: int
    #: What policies said that kept files where they were, with how many files each did.
    failures: dict[str, int]
    #: The bytes of each tier when it began.
    before: dict[str, int]
    days: tuple[Day, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {
            "days": [asdict(day) | {"moves": day.moves, "cost": day.cost} for day in self.days]
        }


def run(chain: Chain, *, days: int, policy: str | None = None, load: Load | None = None, exact: bool = False,
        with_catalog: bool = True, start: datetime | None = None) -> Report:  # fmt: skip
    """Follow the catalog's files and those of the load for so many days.

    ``policy`` is that of all files; None leaves the catalog's files theirs, and gives those to come the chain's.
    ``exact`` follows all files, however many and long that is.
    """
    start = timezone.now() if start is None else start
    if policy is None and chain.policy_name is None:
        raise ConfigurationError(f"Chain {chain.alias!r} has no policy. Say which to look at: --policy NAME.")
    if chain.policy(policy if policy is not None else chain.policy_name or "").first_tier_limit is not None:
        raise ConfigurationError(
            "A policy with a watermark looks at all files of the first tier; here each is followed by itself. "
            "What lies there stays about 'high', and every file lies on the other tiers."
        )
    simulation = Simulation(chain, start, days, policy)
    known = _count(chain.alias) if with_catalog else 0
    if known:
        share = 1.0 if exact else min(FOLLOWED / known, 1.0)
        simulation.follow(of_catalog(chain.alias, share), share=share)
    if load is not None:
        per_day = load.files_per_day if exact else min(load.files_per_day, math.ceil(FOLLOWED / days))
        files = to_come(chain, load, start, days, per_day)
        simulation.follow(files, share=per_day / load.files_per_day)
    return simulation.report(known, 0 if load is None else load.files_per_day * days)


class Simulation:
    """Follows files of one chain for some days, under this policy, or under that of each (None)."""

    def __init__(self, chain: Chain, start: datetime, days: int, policy: str | None = None) -> None:
        self.chain = chain
        self.policy = policy
        self.start = start
        self.end = start + days * DAY
        self.is_estimate = False
        self._failures: Counter[str] = Counter()
        self._books = {tier: _Book.of(days) for tier in chain.names}
        self._weight: float = 1

    def follow(self, files: Iterable[SimulatedFile], *, share: float = 1) -> None:
        """Follow the files, which are this share of all that are meant, to the end."""
        self._weight = 1 if share == 1 else 1 / share
        self.is_estimate |= share < 1
        for file in files:
            if file.saved_at < self.end:
                self._follow(file)

    def report(self, files: int, new_files: int) -> Report:
        prices = {name: tier.PRICE for name, tier in self.chain.config.TIERS.items()}
        days = [book.days(prices[name]) for name, book in self._books.items()]
        return Report(
            chain=self.chain.alias,
            policy=self.chain.policy_name if self.policy is None else self.policy,
            starts_at=self.start,
            is_estimate=self.is_estimate,
            files=files,
            new_files=new_files,
            failures=dict(self._failures),
            before={name: round(book.bytes_before) for name, book in self._books.items()},
            days=tuple(
                Day(self.start + (number + 1) * DAY, dict(zip(self._books, tiers, strict=True)))
                for number, tiers in enumerate(zip(*days, strict=True))
            ),
        )

    def _follow(self, file: SimulatedFile) -> None:
        now: datetime | None = max(file.saved_at, self.start)
        self._enter(file)
        for _ in range(LOOKS):
            if now is None or now >= self.end:
                return
            try:
                now = self._look(file, now)
            except Exception as error:  # noqa: BLE001 - as with the engine: the policy's bug is the file's failure
                self._fail(self._described(error))
                return
        self._fail(f"the policy asked to look at a file again more than {LOOKS:,} times")

    def _described(self, error: Exception) -> str:
        """Return what the error says, as the engine would tell it: with no secret in it."""
        if isinstance(error, QueuedStorageError):
            return str(error)
        return traits.describe(error, self._secrets)

    @cached_property
    def _secrets(self) -> set[str]:
        return credentials.in_settings().union(*(tier.secrets for tier in self.chain))

    def _fail(self, reason: str) -> None:
        # Reasons may name each file; what is kept of them has to end somewhere.
        known = reason in self._failures or len(self._failures) < 10
        self._failures[reason if known else "other reasons"] += 1

    def _enter(self, file: SimulatedFile) -> None:
        """Enter where the file lies when it is first seen: at the start, or when it is saved."""
        is_new = file.saved_at >= self.start
        for name in file.tiers:
            if name in self._books:
                at = self._at(file.saved_at) if is_new else -1
                self._books[name].change(at, 1, file.size or 0, self._weight)
                if is_new:
                    self._books[name].writes[int(at)] += self._weight

    def _look(self, file: SimulatedFile, now: datetime) -> datetime | None:
        """Do what the engine does in one attempt; return when to look again."""
        policy = file.policy if self.policy is None else self.policy
        while missing := self.chain.assess(file, policy, now).missing:
            for name in missing:
                self._copy(file, name, now)
        assessment = self.chain.assess(file, policy, now)
        for name in assessment.surplus:
            file.tiers = [held for held in file.tiers if held != name]
            self._books[name].release(self._at(now), file.size or 0, self._weight)
        if assessment.review_at is None:
            return None
        return max(assessment.review_at, now + timedelta(seconds=1))  # as the catalog's

    def _copy(self, file: SimulatedFile, destination: str, now: datetime) -> None:
        source = next((name for name in file.tiers if name in self._books), None)
        at, size = self._at(now), file.size or 0
        if source is not None:
            self._books[source].read(at, size, self._weight)
        self._books[destination].copy(at, size, self._weight)
        held = {*file.tiers, destination}
        file.tiers = [name for name in self.chain.names if name in held]
        if destination != self.chain.first.name:
            file.copied_at = now

    def _at(self, moment: datetime) -> float:
        return (moment - self.start) / DAY


@dataclass
class _Book:
    """What happened on one tier, by day: however many files, it takes as much room as there are days."""

    files_before: float = 0
    bytes_before: float = 0
    #: Changes on each day of what lies there; and of those, what the rest of the day has had of them.
    files: list[float] = field(default_factory=list)
    bytes: list[float] = field(default_factory=list)
    byte_days: list[float] = field(default_factory=list)
    copies: list[float] = field(default_factory=list)
    copied: list[float] = field(default_factory=list)
    releases: list[float] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)
    reads: list[float] = field(default_factory=list)
    bytes_read: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, days: int) -> _Book:
        return cls(0, 0, *([0.0] * days for _ in range(9)))

    def change(self, at: float, files: int, size: int, weight: float) -> None:
        """Note that so many files more, of that size, lie there from that moment; one before the start is below 0."""
        if at < 0:
            self.files_before += files * weight
            self.bytes_before += files * size * weight
            return
        day = int(at)
        self.files[day] += files * weight
        self.bytes[day] += files * size * weight
        self.byte_days[day] += files * size * weight * (day + 1 - at)

    def copy(self, at: float, size: int, weight: float) -> None:
        self.change(at, 1, size, weight)
        self.copies[int(at)] += weight
        self.copied[int(at)] += size * weight
        self.writes[int(at)] += weight

    def release(self, at: float, size: int, weight: float) -> None:
        self.change(at, -1, size, weight)
        self.releases[int(at)] += weight

    def read(self, at: float, size: int, weight: float) -> None:
        self.reads[int(at)] += weight
        self.bytes_read[int(at)] += size * weight

    def days(self, price: PriceSettings | None) -> Iterator[TierDay]:
        files, size = self.files_before, self.bytes_before
        for day in range(len(self.files)):
            byte_days = size + self.byte_days[day]
            files += self.files[day]
            size += self.bytes[day]
            yield TierDay(
                files=round(files),
                bytes=round(size),
                copies=round(self.copies[day]),
                copied_bytes=round(self.copied[day]),
                releases=round(self.releases[day]),
                cost=None if price is None else self._cost(day, byte_days, price),
            )

    def _cost(self, day: int, byte_days: float, price: PriceSettings) -> float:
        return (
            byte_days / GIGABYTE / MONTH * price.gb_month
            + self.writes[day] / 1000 * price.put_1000
            + self.reads[day] / 1000 * price.get_1000
            + self.bytes_read[day] / GIGABYTE * price.egress_gb
        )


# ---- files ----


def _count(alias: str) -> int:
    return catalog.files().filter(chain=alias).exclude(state="deleted").count()


def of_catalog(alias: str, share: float = 1) -> Iterator[SimulatedFile]:
    """Yield this share of the chain's files, some at a time. Keys are hashes: the first are a random sample."""
    rows = catalog.files().filter(chain=alias).exclude(state="deleted").order_by("key")
    if share < 1:
        rows = rows.filter(key__lt=f"{int(share * 16**64):064x}")
    facts = (
        "key",
        "name",
        "size",
        "content_type",
        "saved_at",
        "tiers",
        "copied_at",
        "requested",
        "policy",
        "crowded_out",
    )
    last = ""
    while page := list(rows.filter(key__gt=last).values_list(*facts)[:ROWS_AT_ONCE]):
        yield from (SimulatedFile(*row[1:]) for row in page)
        last = page[-1][0]


def to_come(chain: Chain, load: Load, start: datetime, days: int, per_day: int) -> Iterator[SimulatedFile]:
    """Yield so many new files a day, at random moments, of the kinds that the catalog has, or of none."""
    chance = random.Random(load.seed)  # noqa: S311 - draws a load, keeps no secret
    kinds = _kinds(chain.alias)
    for day in range(days):
        for number in range(per_day):
            kind = chance.choice(kinds)
            size = kind.size if load.mean_size is None else _size(chance, load.mean_size)
            saved_at = start + (day + chance.random()) * DAY
            name = kind.name or f"simulated/{day}-{number}"
            yield SimulatedFile(name, size, kind.content_type, saved_at, [chain.first.name])


def _kinds(alias: str) -> Sequence[SimulatedFile]:
    """Return some of the catalog's files, or one of no kind where it has none."""
    known = _count(alias)
    some = [] if not known else list(of_catalog(alias, min(1.0, KINDS / known)))
    return some or [SimulatedFile("", 10**6, "", timezone.now(), [])]


def _size(chance: random.Random, mean: int) -> int:
    return round(chance.lognormvariate(math.log(max(mean, 1)) - SPREAD**2 / 2, SPREAD))
