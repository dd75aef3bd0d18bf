"""Attempts that lost this file, and may wake up: what they can still do, and how they are kept from it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from . import catalog, copying, disk
from .attempt import Attempt
from .exceptions import QueuedStorageError
from .tier import Tier


class Waiting(QueuedStorageError):
    """What is left to do has to wait for attempts that lost the file, and may still write."""

    def __init__(self, until: datetime, stale: list[str]) -> None:
        super().__init__(f"waits until {until}")
        self.until = until
        self.stale = stale


class Contenders:
    """The attempts that this one took the file from."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.row = attempt.row
        #: Tiers to which they cannot publish any more.
        self.fenced: set[str] = set()

    def fence_off(self, tier: Tier) -> None:
        """Keep them from publishing there what they staged."""
        if not self.row.lost or tier.name in self.fenced or not copying.can_fence(tier):
            return
        with self.attempt.speaking_of(tier):
            for lost in self.row.lost_attempts:
                staged = self.row.staging_name(lost.fence)
                self.attempt.ask(tier, lambda staged=staged: copying.fence(tier, self.row.name, staged))  # type: ignore[misc]
        self.fenced.add(tier.name)

    def open_to_them(self, tiers: Iterable[Tier]) -> list[str]:
        """Return the names of those tiers that an attempt at an older generation may still write to."""
        writable = [tier for tier in tiers if not tier.read_only]
        for tier in writable:
            self.fence_off(tier)
        # A server may not be able to replace a file in one step: then a late rename can still do harm there.
        return [tier.name for tier in writable if not disk.can_stage(tier.storage)]

    def wait_for_them(self, tiers: Iterable[Tier], stale: list[str] | None = None) -> None:
        """Raise Waiting while they may still write to one of the tiers; ``stale`` says what is unsure until then."""
        until = catalog.may_write(self.row)
        if until is not None and (open_tiers := self.open_to_them(tiers)):
            raise Waiting(until, open_tiers if stale is None else stale)
