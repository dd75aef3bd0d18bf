"""Repair of bad copies: the engine makes them anew, from a copy that was just read. Nothing is deleted here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from . import catalog, signals
from .attempt import tell
from .chain import Chain
from .exceptions import TierUnavailable
from .looking import Flaw, Looker
from .reconcile import reconcile

if TYPE_CHECKING:
    from .models import StoredFile

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
