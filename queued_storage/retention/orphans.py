"""Whole files on a tier that the catalog does not know, and that no model names: collected by their age.

What is found is counted first, and nothing is removed where it is too large a share of what lies there: then it is
rather the catalog that does not know its files (they were never taken in, or it was restored from a backup).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice

from django.apps import apps
from django.db.models import FileField, Model

from .. import catalog, identity, leftovers, neighbours, outage, places, traits
from ..brakes import Brake, Cap, TooManyOrphans
from ..chain import Chain
from ..exceptions import TierUnavailable
from ..names import is_own
from ..operations import is_nameable, printable
from ..storage import TieredStorage
from ..tier import Tier

#: Names that are looked up together.
AT_ONCE = 500


@dataclass(frozen=True)
class Orphan:
    """A file that nobody knows."""

    tier: str
    name: str


class Orphans:
    """The orphans of one chain that were written before that time."""

    def __init__(
        self,
        chain: Chain,
        before: datetime,
        *,
        prefix: str = "",
        tier: str | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self.chain = chain
        self.before = before
        self.prefix = prefix
        self.tiers = [each for each in chain.writable if tier in (None, each.name)]
        #: How many files were seen, by tier; orphans; and those that a model names, so that they are none.
        self.files = Counter[str]()
        self.orphans = Counter[str]()
        self.named = Counter[str]()
        #: Why tiers could not be listed to their end.
        self.unlisted: dict[str, str] = {}
        self.stopping = stopping
        self._fields = list(_fields(chain))

    def again(self) -> Orphans:
        """Return the same, with nothing counted yet."""
        tier = self.tiers[0].name if len(self.tiers) == 1 else None
        return Orphans(self.chain, self.before, prefix=self.prefix, tier=tier, stopping=self.stopping)

    def find(self) -> Iterator[Orphan]:
        """Yield the orphans, tier by tier; memory grows with the names of one folder alone."""
        of_others = neighbours.folders(self.chain)
        for tier in self.tiers:
            identity.require(tier, fresh=True)
            try:
                for name in self._orphans(tier, of_others[tier.name]):
                    self.orphans[tier.name] += 1
                    yield Orphan(tier.name, printable(name))
            except TierUnavailable as error:
                self.unlisted[tier.name] = error.reason
            except NotImplementedError:
                self.unlisted[tier.name] = "its files cannot be listed"

    def check(self, max_share: float) -> None:
        """Raise TooManyOrphans if of those that were found too many are on one tier."""
        Brake(max_share, TooManyOrphans).check(self.files, self.orphans)

    def remove(self, orphan: Orphan, cap: Cap) -> bool:
        """Remove it, if it still is one and the cap takes it; no save can take its name meanwhile."""
        tier, name = self.chain[orphan.tier], orphan.name
        with catalog.unknown(self.chain, name) as is_unknown:
            if not is_unknown or self._named([name]) or not self._is_old(tier, name):
                return False
            if cap.is_set and not cap.takes(outage.ask(tier, partial(tier.storage.size, name))):
                return False
            identity.require(tier)
            outage.ask(tier, partial(tier.storage.delete, name))
            return True

    def _orphans(self, tier: Tier, of_others: tuple[str, ...]) -> Iterator[str]:
        walked = (
            name
            for name in leftovers.walk(tier, self.prefix.rpartition("/")[0])
            if name.startswith(self.prefix)
            and is_nameable(name)  # what has another name is nobody's that this package knows
            and not is_own(name.rpartition("/")[2])
            and not neighbours.lies_in(of_others, name)
        )
        while (names := list(islice(walked, AT_ONCE))) and not self.stopping():
            self.files[tier.name] += len(names)
            known = catalog.states(self.chain.alias, names)
            unknown = [name for name in names if name not in known]
            old = [name for name in unknown if self._is_old(tier, name)]
            named = self._named(old)
            self.named[tier.name] += len(named)
            yield from (name for name in old if name not in named)

    def _is_old(self, tier: Tier, name: str) -> bool:
        return leftovers.is_older(tier, name, self.before) and not traits.is_directory(tier.storage, name)

    def _named(self, names: Sequence[str]) -> set[str]:
        """Return those that a model's field on this chain names: files from before, which nobody has taken in."""
        found: set[str] = set()
        for model, field in self._fields if names else ():
            rows = model._base_manager.filter(**{f"{field}__in": names})
            found.update(rows.values_list(field, flat=True))
        return found


def _fields(chain: Chain) -> Iterator[tuple[type[Model], str]]:
    for model in apps.get_models(include_auto_created=True):
        for field in model._meta.local_fields:
            if isinstance(field, FileField):
                storage = places.unwrapped(field.storage)
                if isinstance(storage, TieredStorage) and storage.alias == chain.alias:
                    yield model, field.name
