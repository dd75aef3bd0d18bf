"""Repair of bad copies: the engine makes them anew, from a copy that was just read. Nothing is deleted here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from . import catalog, signals
from .attempt import tell
from .chain import Chain
from .exceptions import QueuedStorageError, TierUnavailable
from .looking import Flaw, Looker
from .reconcile import reconcile

if TYPE_CHECKING:
    from .models import StoredFile

#: Bad copies on a tier that are too few to say anything about its mount or bucket.
FEW = 10

Result = Literal["healed", "pending", "failed", "left", "would heal", "would fail"]


@dataclass
class Suspect:
    """A file some of whose copies are not what the catalog says."""

    row: StoredFile
    flaws: list[Flaw] = field(default_factory=list)
    #: Tiers whose copies were seen to be right.
    good: list[str] = field(default_factory=list)
    #: Why tiers that should hold copies did not tell.
    untold: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What became of a file: "left" is as it was, "pending" is owed the repair."""

    result: Result
    reason: str = ""


class TooManyFlaws(QueuedStorageError):
    """So many copies are missing or wrong on one tier that its mount or bucket is probably not the right one."""

    def __init__(self, tier: str, flawed: int, looked_at: int, max_share: float) -> None:
        self.tier = tier
        super().__init__(
            f"{flawed} of {looked_at} copies looked at on tier {tier!r} are missing or wrong, more than "
            f"{max_share:g} %. Its mount or bucket is probably not the right one: look at that first. These were not "
            "repaired; without --repair they are told one by one. If the tier has really lost them, say "
            "--max-share 100."
        )


class Brake:
    """Stops a repair that would believe too much: over the whole run, and over any page of it."""

    def __init__(self, max_share: float) -> None:
        self.max_share = max_share
        self._looked_at, self._flawed = Counter[str](), Counter[str]()

    def check(self, looked_at: Mapping[str, int], flawed: Mapping[str, int]) -> None:
        """Raise TooManyFlaws if of the copies looked at, by tier, too many are flawed."""
        self._looked_at.update(looked_at)
        self._flawed.update(flawed)
        for tier, count in flawed.items():
            self._check(tier, count, looked_at.get(tier, 0))
            self._check(tier, self._flawed[tier], self._looked_at[tier])

    def _check(self, tier: str, flawed: int, looked_at: int) -> None:
        if flawed >= FEW and flawed * 100 > looked_at * self.max_share:
            raise TooManyFlaws(tier, flawed, looked_at, self.max_share)


def heal(chain: Chain, looker: Looker, suspect: Suspect, *, dry_run: bool = False) -> Outcome:
    """Have the engine make anew what is bad, if another copy is good; else mark the file as failed."""
    row = suspect.row
    if _has_proven(chain, looker, suspect):
        if dry_run:
            return Outcome("would heal")
        return _reconciled(row) if catalog.unrecord(row, [flaw.tier for flaw in suspect.flaws]) else _MOVED_ON
    if suspect.untold:
        return Outcome("left", f"no good copy is left that could be looked at; {_told(suspect.untold)}")
    reason = f"{catalog.NO_GOOD_COPY}: {_told({flaw.tier: flaw.detail for flaw in suspect.flaws})}"
    if dry_run:
        return Outcome("would fail", reason)
    if (row.state, row.last_error) != ("failed", reason):
        if not catalog.condemn(row, reason):
            return _MOVED_ON
        tell(signals.transfer_failed, row, error=reason, final=True)
    return Outcome("failed", reason)


_MOVED_ON = Outcome("left", "somebody else changed it meanwhile")


def _has_proven(chain: Chain, looker: Looker, suspect: Suspect) -> bool:
    """Tell whether a copy that seemed good is so to its last byte; those that are not are flaws, too."""
    for name in list(suspect.good):
        try:
            flaw = looker.look(chain[name], suspect.row, content=True)
        except TierUnavailable as error:
            suspect.untold[name] = error.reason
        else:
            if flaw is None:
                return True
            suspect.flaws.append(flaw)
        suspect.good.remove(name)
    return False


def _reconciled(row: StoredFile) -> Outcome:
    reconcile(row.pk)
    current = catalog.find(row.chain, row.name)
    if current is None or current.state in ("settled", "deleted"):
        return Outcome("healed")
    return Outcome("failed" if current.state == "failed" else "pending", current.last_error)


def _told(reasons: Mapping[str, str]) -> str:
    return "; ".join(f"tier {tier!r}: {reason}" for tier, reason in reasons.items())
