"""Erasure: every copy, generation, part and trash of a name, on every tier, with a receipt that says what became of it.

Copies and trash go the engine's own way, so that a worker which wakes up late brings nothing back. What a tier that is
down may have stays owed, and is done by the workers; to run the erasure again says how far that is.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from django.utils import timezone

from .. import catalog, identity, outage, staging, traits
from ..chain import Chain
from ..exceptions import ConfigurationError, QueuedStorageError, TierUnavailable
from ..names import trash_name
from ..reconcile import reconcile
from ..renaming import ASIDE
from ..storage import TieredStorage
from ..tier import Tier
from . import objects

if TYPE_CHECKING:
    from ..models import StoredFile, TrashedFile

T = TypeVar("T")

State = Literal["removed", "not there", "owed", "not touched"]
#: Attempts of one name whose parts are looked for, at most: the latest.
ATTEMPTS = 1_000


@dataclass(frozen=True)
class TierReceipt:
    """What became of the name on one tier."""

    tier: str
    state: State
    #: How many of what were removed now: "copy", "trash", "part", "version", "upload".
    removed: dict[str, int]
    #: Why something is owed or was not touched; of what is done, what nobody can look at here.
    reason: str = ""


@dataclass(frozen=True)
class Receipt:
    """What became of a name on every tier, and in the catalog."""

    chain: str
    name: str
    at: datetime
    tiers: tuple[TierReceipt, ...]
    #: Rows of the catalog that still have the name, and why.
    rows: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether nothing of the name is left anywhere that this package reaches."""
        return not self.rows and all(tier.state in ("removed", "not there") for tier in self.tiers)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "complete": self.is_complete}


def erase(storage: TieredStorage, name: str) -> Receipt:
    """Remove everything of the name, and tell what was; it can be run again, and goes on where it ended."""
    if catalog_of(storage) and catalog.in_transaction():
        raise ConfigurationError(
            "erase() inside a transaction: what is removed from tiers is not rolled back. Call it outside."
        )
    return _Erasure(storage, name).run()


def catalog_of(storage: TieredStorage) -> bool:
    """Tell whether the chain has a catalog that may know the name."""
    return storage.is_catalogued


class _Erasure:
    def __init__(self, storage: TieredStorage, name: str) -> None:
        self.storage = storage
        self.chain: Chain = storage.chain
        self.name = name
        self.removed: dict[str, Counter[str]] = {tier.name: Counter() for tier in self.chain}
        self.entries: list[TrashedFile] = []
        self.rows: list[StoredFile] = []

    def run(self) -> Receipt:
        held = {tier.name: self._asked(tier, partial(tier.storage.exists, self.name)) for tier in self.chain}
        if catalog_of(self.storage):
            self._clear_by_the_engine()
        receipts = tuple(self._of_tier(tier, held[tier.name]) for tier in self.chain)
        return Receipt(self.chain.alias, self.name, timezone.now(), receipts, self._forget(receipts))

    def _clear_by_the_engine(self) -> None:
        self.entries = list(catalog.trashed(self.chain.alias, self.name))
        row, hidden = catalog.condemn_all(self.chain, self.name)
        self.rows = [row, *hidden]
        for each in self.rows:
            reconcile(each.pk)
        # What an attempt that is given up left is done with, or owed, by these rows.
        self.rows = list(catalog.files().filter(pk__in=[each.pk for each in self.rows]))

    # ---- one tier ----

    def _of_tier(self, tier: Tier, held: bool | str) -> TierReceipt:
        if tier.read_only:
            return self._of_read_only(tier, held)
        removed = self.removed[tier.name]
        try:
            still = self._clean(tier, held, removed)
        except Exception as error:  # noqa: BLE001 - told in the receipt: the other tiers have their turn
            still = str(error) if isinstance(error, QueuedStorageError) else tier.describe(error)
        owed = self._owed(tier) or still
        if owed:
            return TierReceipt(tier.name, "owed", dict(removed), owed)
        return TierReceipt(
            tier.name, "removed" if removed.total() else "not there", dict(removed), _untold(tier)
        )

    def _of_read_only(self, tier: Tier, held: bool | str) -> TierReceipt:
        if held is False:
            return TierReceipt(tier.name, "not there", {})
        told = "it lies there, and readers do not see it" if held is True else f"not asked: {held}"
        return TierReceipt(tier.name, "not touched", {}, f"READ_ONLY; {told}")

    def _clean(self, tier: Tier, held: bool | str, removed: Counter[str]) -> str:
        """Remove what is left there, and count it; return what is left all the same."""
        identity.require(tier, fresh=True)
        if isinstance(held, str):
            held = self._ask(tier, partial(tier.storage.exists, self.name))
        if not catalog_of(self.storage) and held:
            self._ask(tier, partial(tier.storage.delete, self.name))
        kept = [entry for entry in self.entries if entry.tier == tier.name]
        for part in self._parts(tier):
            self._ask(tier, partial(tier.storage.delete, part))
            removed["part"] += 1
        if self._ask(tier, partial(tier.storage.exists, self.name)):
            return "it is there still, or again"
        if not self._owed(tier):
            removed["copy"] += bool(held)
            removed["trash"] += len(kept)
        if traits.is_s3(tier.storage):
            for name in (self.name, *(entry.kept_as for entry in kept)):
                key = objects.key_of(tier.storage, name)
                removed["version"] += self._ask(tier, partial(objects.remove_versions, tier.storage, key))
                removed["upload"] += self._ask(tier, partial(objects.abort_uploads, tier.storage, key))
        for what in [what for what, count in removed.items() if not count]:
            del removed[what]
        return ""

    def _owed(self, tier: Tier) -> str:
        """Return why the engine has still to clear the tier; "" if it has not."""
        for row in self.rows:
            if tier.name in row.stale:
                busy = "a worker is at it" if row.lease else "it is tried again"
                elsewhere = f"host {row.host!r} has it on its own disk" if row.for_host else ""
                return row.last_error or elsewhere or busy
        return ", ".join(self._hosts(tier))

    def _hosts(self, tier: Tier) -> list[str]:
        """Return what hosts with disks of their own have still to clear there."""
        if tier is not self.chain.own:
            return []
        owed = catalog.clearings().filter(chain=self.chain.alias, key__in=[row.key for row in self.rows])
        return [f"host {clearing.host!r} has to clear its own disk" for clearing in owed]

    def _parts(self, tier: Tier) -> set[str]:
        """Return the names of what attempts at the file, finished or not, have left there by names of their own."""
        if not self.rows:
            return set()
        expected = self._own_names()
        found: set[str] = set()
        for folder in {posixpath.dirname(name) for name in expected}:
            found |= expected & self._listed(tier, folder)
        return found

    def _listed(self, tier: Tier, folder: str) -> set[str]:
        if traits.is_s3(tier.storage):
            return self._ask(tier, partial(objects.names_in, tier.storage, folder))
        if not staging.can_stage(tier.storage):
            return set()
        try:
            _, bases = self._ask(tier, partial(tier.storage.listdir, folder))
        except TierUnavailable:
            raise
        except Exception as error:
            if not traits.is_missing(error):
                raise
            return set()
        return {posixpath.join(folder, base) for base in bases}

    def _own_names(self) -> set[str]:
        row = next(row for row in self.rows if row.name == self.name)
        folder = posixpath.dirname(self.name)
        fences = range(max(row.fence - ATTEMPTS, 0), row.fence + 1)
        staged = [row.staging_name(fence) for fence in fences]
        names = {posixpath.join(folder, base + end) for base in staged for end in ("", ASIDE)}
        for entry in self.entries:
            tokens = (entry.token_for(fence, near=near) for fence in fences for near in (False, True))
            names.update(trash_name(self.name, token) for token in tokens)
        return names

    # ---- the catalog ----

    def _forget(self, receipts: Sequence[TierReceipt]) -> str:
        if not self.rows:
            return ""
        hides = [each.tier for each in receipts if each.state == "not touched"]
        goes = [row for row in self.rows if not (hides and row.name == self.name)]
        if not catalog.forget(goes):
            return "kept until all tiers are clear, and no worker can bring anything back"
        return f"kept: one hides what lies on {', '.join(hides)}" if hides else ""

    # ---- asking ----

    def _ask(self, tier: Tier, question: Callable[[], T]) -> T:
        return outage.ask(tier, question)

    def _asked(self, tier: Tier, question: Callable[[], bool]) -> bool | str:
        """Return the answer, or why there is none."""
        try:
            return bool(self._ask(tier, question))
        except TierUnavailable as error:
            return error.reason
        except Exception as error:  # noqa: BLE001 - told in the receipt
            return False if traits.is_missing(error) else tier.describe(error)


def _untold(tier: Tier) -> str:
    """Say what a server may keep that nobody can look at here."""
    if traits.is_s3(tier.storage) or traits.is_local(tier.storage):
        return ""
    return "versions or snapshots that this server may keep by itself are not looked at"
