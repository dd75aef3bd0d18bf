"""The tiers compared with the catalog: what lies there that it does not count on?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

from . import catalog, conf, identity, leftovers, neighbours
from .chain import Chain
from .exceptions import TierUnavailable
from .looking import Looker
from .names import is_own
from .operations import is_nameable, printable
from .tier import Tier

if TYPE_CHECKING:
    from .models import StoredFile

#: Names that are looked up together.
NAMES_AT_ONCE = 500

#: "unknown": the catalog has no such name. "uncounted": it has, but does not count on a copy there. "deleted": the
#: file was deleted, and its bytes are there (again), which nobody is about to remove.
Kind = Literal["unknown", "uncounted", "deleted"]


@dataclass(frozen=True)
class Uncatalogued:
    """What lies on a tier."""

    tier: str
    name: str
    kind: Kind


class Walk:
    """One chain's tiers, folder by folder."""

    def __init__(self, chain: Chain, looker: Looker, stopping: Callable[[], bool] = lambda: False) -> None:
        self.chain = chain
        self.looker = looker
        self.kinds = Counter[str]()
        #: Why tiers could not be listed (to their end), and which never can.
        self.unlisted: dict[str, str] = {}
        self.unlistable: list[str] = []
        self._stopping = stopping

    def run(self, tiers: Iterable[Tier], prefix: str = "") -> Iterator[Uncatalogued]:
        """Yield what the catalog does not count on, but what others keep there and what is not a whole file."""
        of_others = neighbours.folders(self.chain)
        for tier in tiers:
            try:
                identity.require(tier, fresh=True)
                for found in self._walk(tier, prefix, of_others[tier.name]):
                    self.kinds[found.kind] += 1
                    yield found
            except TierUnavailable as error:
                self.unlisted[tier.name] = error.reason
            except NotImplementedError:
                self.unlistable.append(tier.name)
            if self._stopping():
                return

    def _walk(self, tier: Tier, prefix: str, of_others: tuple[str, ...]) -> Iterator[Uncatalogued]:
        walked = (
            name
            for name in leftovers.walk(tier, prefix.rpartition("/")[0])
            if name.startswith(prefix)
            and not is_own(PurePosixPath(name).name)
            and not neighbours.lies_in(of_others, name)
        )
        while (names := list(islice(walked, NAMES_AT_ONCE))) and not self._stopping():
            rows = catalog.find_many(self.chain.alias, list(filter(is_nameable, names)))
            for name in names:
                if (kind := self._kind(tier, name, rows.get(name))) is not None:
                    yield Uncatalogued(tier.name, printable(name), kind)

    def _kind(self, tier: Tier, name: str, row: StoredFile | None) -> Kind | None:
        if row is None:
            return "unknown"
        if self._is_accounted_for(tier, row):
            return None
        # It may have moved since the tier was listed.
        if not self.looker.ask(tier, partial(tier.storage.exists, name)):
            return None
        current = catalog.as_it_is(row)
        if current is None or not catalog.is_as_seen(current, row) or self._is_accounted_for(tier, current):
            return None
        return "uncounted" if current.is_live else "deleted"

    def _is_accounted_for(self, tier: Tier, row: StoredFile) -> bool:
        if not tier.shared and catalog.is_owed(conf.host(), row.chain, row.name):
            return True  # this host is to clear it
        return not self.chain.is_elsewhere(tier, row) and _is_accounted_for(tier, row)


def _is_accounted_for(tier: Tier, row: StoredFile) -> bool:
    """Tell whether the catalog knows that something lies there, or that nobody would see it."""
    if tier.name in row.tiers or tier.name in row.stale or catalog.is_in_hand(row):
        return True
    return not row.is_live and (tier.read_only or row.due_at is not None)
