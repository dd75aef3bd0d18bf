from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Self

from .base import FileFacts, Placement, PolicyError, TargetedPolicy


class Mirror(TargetedPolicy):
    """Keep the file on the first tier and on the lower ones, from its save on.

    With ``ACK`` in the chain a save returns only when so many of them hold it.
    """

    def place(self, file: FileFacts, tiers: Sequence[str], now: datetime) -> Placement:
        return Placement((tiers[0], *self.targets(tiers)))

    def bind(self, tiers: Sequence[str], writable: Sequence[str]) -> Self:
        bound = super().bind(tiers, writable)
        if not bound.to:
            raise PolicyError(
                "there is no writable tier below the first to mirror files to.", "Add one to TIERS."
            )
        return bound
