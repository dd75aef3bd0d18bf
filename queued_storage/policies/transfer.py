from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from .base import FileFacts, MovingPolicy, Placement, where_it_is


class Transfer(MovingPolicy):
    """Keep the file on the first tier and copy it to the lower ones."""

    def place(self, file: FileFacts, tiers: Sequence[str], now: datetime) -> Placement:
        due = file.saved_at + self.after
        if now < due:
            return where_it_is(file, tiers, review_at=due)
        return Placement((tiers[0], *self.targets(tiers)))
