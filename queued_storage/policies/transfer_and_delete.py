from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Self

from .base import Duration, FileFacts, MovingPolicy, Placement, PolicyError, where_it_is


class TransferAndDelete(MovingPolicy):
    """Copy the file to the lower tiers, then delete it from the first."""

    #: How long the first tier keeps its copy once every other copy is verified.
    keep: Duration = timedelta(0)

    def place(self, file: FileFacts, tiers: Sequence[str], now: datetime) -> Placement:
        due = file.saved_at + self.after
        if now < due:
            return where_it_is(file, tiers, review_at=due)
        targets = self.targets(tiers)
        if not self.keep:
            return Placement(targets)
        if not set(targets) <= set(file.tiers):
            return Placement((tiers[0], *targets))
        return self._in_grace(file, tiers, now)

    def _in_grace(self, file: FileFacts, tiers: Sequence[str], now: datetime) -> Placement:
        targets = self.targets(tiers)
        end = (file.copied_at or file.saved_at) + self.keep
        if now < end and tiers[0] in file.tiers:
            return Placement((tiers[0], *targets), review_at=end)
        return Placement(targets)

    def bind(self, tiers: Sequence[str], writable: Sequence[str]) -> Self:
        bound = super().bind(tiers, writable)
        if not bound.to:
            raise PolicyError(
                "there is no writable tier below the first to move files to.", "Add one to TIERS."
            )
        return bound
