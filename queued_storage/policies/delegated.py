from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from .base import FileFacts, MovingPolicy, Placement, where_it_is


class Delegated(MovingPolicy):
    """Have the project's own code copy the file to the lower tiers, and keep the copies that this code leaves."""

    #: Dotted path of a subclass of ``queued_storage.tasks.Transfer``, or of a callable (name, local, remote).
    task: str

    @property
    def copier(self) -> str:
        return self.task

    def place(self, file: FileFacts, tiers: Sequence[str], now: datetime) -> Placement:
        targets = self.targets(tiers)
        if set(targets) <= set(file.tiers):
            return where_it_is(file, tiers)
        due = file.saved_at + self.after
        if now < due:
            return where_it_is(file, tiers, review_at=due)
        return Placement(tuple(dict.fromkeys((*where_it_is(file, tiers).tiers, *targets))))
