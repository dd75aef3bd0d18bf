"""The catalog compared with the tiers: is each copy there that it counts on, and as it should be?

Files move while they are looked at. So a copy that seems bad is no finding before its row was read once more, after all
transactions under way, and says the same as before the look.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain as chained
from itertools import islice
from typing import TYPE_CHECKING

from . import catalog, conf, hooks, identity, traits
from .brakes import Brake, TooManyFlaws
from .chain import Chain
from .exceptions import TierUnavailable
from .healing import Outcome, Suspect, heal
from .looking import Flaw, Looker
from .tier import Tier

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from .models import StoredFile

#: Files that are looked at together, and after which a repair asks whether to go on.
PAGE = 200
#: How often a file is looked at anew that changes in between.
LOOKS = 3
#: Files in the hands of workers that are remembered, to be looked at again at the end.
REMEMBERED = 1_000


@dataclass(frozen=True)
class Options:
    """What to look at, and what to do about it."""

    #: Read the content, and compare it with the digest.
    content: bool = False
    repair: bool = False
    dry_run: bool = False
    #: Look at this tier's copies alone.
    tier: str | None = None
    prefix: str = ""
    #: Begin after the row of this key.
    after: int = 0
    limit: int | None = None
    #: Percentage of a tier's copies beyond which a repair stops.
    max_share: float = 10


@dataclass(frozen=True)
class Looked:
    """A file that was looked at; ``outcome`` is None where nothing was to be repaired."""

    row: StoredFile
    flaws: tuple[Flaw, ...] = ()
    outcome: Outcome | None = None
    #: Tiers that could not be asked about it.
    untold: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """What is wrong with the copies, in words."""
        return "; ".join(f"{flaw.tier}: {flaw.kind} ({flaw.detail})" for flaw in self.flaws)

    @property
    def is_finding(self) -> bool:
        """Whether there is something left for somebody to look at."""
        return bool(self.flaws) and (self.outcome is None or self.outcome.result != "healed")


class Verification:
    """One chain's files, a page at a time in the order of their rows; what was counted is told by attributes."""

    def __init__(self, chain: Chain, options: Options, stopping: Callable[[], bool] = lambda: False) -> None:
        self.chain = chain
        self.options = options
        self.looker = Looker(content=options.content)
        self.files = 0
        #: Copies that were looked at, and that could not be, by tier; and why not.
        self.copies, self.unchecked, self.reasons = Counter[str](), Counter[str](), dict[str, str]()
        self.flaws = Counter[str]()
        self.outcomes = Counter[str]()
        #: Files with copies to look at that nobody has compared with a digest, as none is known.
        self.without_digest = 0
        #: Key of the last row that is done with.
        self.last = options.after
        self.is_complete = False
        self._stopping = stopping
        self._brake = Brake(options.max_share, TooManyFlaws)
        self._put_aside: list[int] = []
        self._more_in_hand = 0

    @property
    def in_hand(self) -> int:
        """How many files workers had in their hands all the time."""
        return len(self._put_aside) + self._more_in_hand

    def run(self) -> Iterator[Looked]:
        """Look at each file, and repair it where that is wanted; raise TooManyFlaws where that should not go on."""
        with ThreadPoolExecutor(conf.get("THREADS"), "queued-storage-verify") as self._pool:
            while page := list(self._rows()[: self._page_size()]):
                # SQLite does not tell cases apart.
                yield from self._look_at([row for row in page if row.name.startswith(self.options.prefix)])
                if self._stopping():
                    return
                self.last = page[-1].pk
            if self._rows().exists():
                return  # the limit
            self.is_complete = True
            yield from self._look_again()

    def run_on(self, rows: list[StoredFile]) -> Iterator[Looked]:
        """Look at these files of the chain alone."""
        with ThreadPoolExecutor(conf.get("THREADS"), "queued-storage-verify") as self._pool:
            yield from self._look_at(rows)
            yield from self._look_again()

    def _rows(self) -> QuerySet[StoredFile]:
        return catalog.live_after(self.last, self.chain.alias, self.options.prefix)

    def _page_size(self) -> int:
        limit = self.options.limit
        return PAGE if limit is None else min(PAGE, limit - self.files)

    def _look_at(self, page: list[StoredFile]) -> Iterator[Looked]:
        identity.load(self.chain)
        copies, looked, untold = Counter[str](), list[Suspect | None](), list[tuple[str, ...]]()
        answers = [self._begin(row) for row in page]
        for row, begun in zip(page, answers, strict=True):
            if self._stopping():
                break
            found = self._collect(row, begun)
            copies.update([*found.good, *(flaw.tier for flaw in found.flaws)])
            self._count_unchecked(found)
            untold.append(tuple(found.untold))
            looked.append(self._confirmed(found))
        for future in chained.from_iterable(begun.values() for begun in answers):
            future.cancel()
        self.copies += copies
        self._stop_if_too_many(copies, [each for each in looked if each is not None])
        for row, suspect, unasked in zip(page, looked, untold, strict=False):
            if self._stopping() and self.options.repair:
                return
            self.files += 1
            yield Looked(row, untold=unasked) if suspect is None else self._told(suspect)
            self.last = row.pk

    def _look_again(self) -> Iterator[Looked]:
        """Look once more at the files that were in the hands of workers."""
        waiting = iter(self._put_aside)
        self._put_aside = []
        while pks := list(islice(waiting, PAGE)):
            for row in catalog.files().filter(pk__in=pks).exclude(state="deleted"):
                if (suspect := self._confirmed(self._collect(row, {}))) is not None:
                    self._stop_if_too_many({}, [suspect])
                    yield self._told(suspect)

    # ---- one file ----

    def _begin(self, row: StoredFile) -> dict[str, Future[Flaw | None]]:
        """Ask those tiers side by side that take it: an object store, for which one more request is nothing."""
        tiers = [self.chain[name] for name in self._names(row) if name in self.chain]
        far = [tier for tier in tiers if traits.is_s3(tier.storage)]
        return {tier.name: self._pool.submit(self.looker.look, tier, row) for tier in far}

    def _names(self, row: StoredFile) -> list[str]:
        """Return the tiers whose copies are looked at."""
        if row.staged:
            return []
        wanted = [name for name in row.tiers if self.options.tier in (None, name)]
        # The copy on another host's own disk is that host's to verify.
        return [name for name in wanted if not self._is_elsewhere(name, row)]

    def _is_elsewhere(self, name: str, row: StoredFile) -> bool:
        return name in self.chain and self.chain.is_elsewhere(self.chain[name], row)

    def _collect(self, row: StoredFile, begun: dict[str, Future[Flaw | None]]) -> Suspect:
        found = Suspect(row)
        for name in self._names(row):
            self._look(name, found, begun.get(name))
        return found

    def _look(self, name: str, found: Suspect, begun: Future[Flaw | None] | None = None) -> None:
        if name not in self.chain:
            found.untold[name] = "it is not in the settings"
            return
        if self._is_elsewhere(name, found.row):
            found.untold[name] = f"its copy is on host {found.row.host!r}"
            return
        try:
            flaw = self.looker.look(self.chain[name], found.row) if begun is None else begun.result()
        except TierUnavailable as error:
            found.untold[name] = error.reason
        else:
            if flaw is None:
                found.good.append(name)
            else:
                found.flaws.append(flaw)

    def _confirmed(self, found: Suspect) -> Suspect | None:
        """Return what is wrong with the file once it stood still; None if nothing is, or somebody has it in hand."""
        if found.row.staged:
            self._set_aside(found.row)
            return None
        for _ in range(LOOKS):
            if not found.flaws:
                return None
            current = catalog.as_it_is(found.row)
            if current is None or not current.is_live:
                return None
            if catalog.is_in_hand(current) or self._may_be_uncommitted(found):
                break
            if catalog.is_as_seen(current, found.row):
                return found
            found = self._collect(current, {})
        self._set_aside(found.row)
        return None

    def _may_be_uncommitted(self, found: Suspect) -> bool:
        """Tell whether a copy may come with the commit of another database's transaction."""
        flawed: list[Tier] = [self.chain[flaw.tier] for flaw in found.flaws]
        return found.row.state == "pending" and any(map(hooks.joins_elsewhere, flawed))

    def _set_aside(self, row: StoredFile) -> None:
        if len(self._put_aside) < REMEMBERED:
            self._put_aside.append(row.pk)
        else:
            self._more_in_hand += 1

    # ---- what is told ----

    def _count_unchecked(self, found: Suspect) -> None:
        self.unchecked.update(list(found.untold))
        self.reasons |= found.untold
        if self.options.content and not found.row.digest:
            self.without_digest += 1

    def _stop_if_too_many(self, copies: Mapping[str, int], suspects: list[Suspect]) -> None:
        flawed = Counter(flaw.tier for suspect in suspects for flaw in suspect.flaws)
        if self.options.repair:
            self._brake.check(copies, flawed)

    def _told(self, suspect: Suspect) -> Looked:
        outcome = self._heal(suspect) if self.options.repair else None
        if outcome is not None:
            self.outcomes[outcome.result] += 1
        self.flaws.update(flaw.kind for flaw in suspect.flaws)
        return Looked(suspect.row, tuple(suspect.flaws), outcome, tuple(suspect.untold))

    def _heal(self, suspect: Suspect) -> Outcome:
        seen = {*suspect.good, *suspect.untold, *(flaw.tier for flaw in suspect.flaws)}
        for name in suspect.row.tiers:
            if name not in seen:  # not asked for, and may be what to heal from
                self._look(name, suspect)
        return heal(self.chain, self.looker, suspect, dry_run=self.options.dry_run)
