"""What lies by the file's name and should not: removed, near and far."""

from __future__ import annotations

from collections.abc import Callable

from . import catalog, conf, disk, identity, traits
from .attempt import Attempt
from .contenders import Contenders
from .exceptions import LeaseLost, NoPatience
from .heartbeat import Moment
from .tier import Tier


class Removals:
    def __init__(self, attempt: Attempt, contenders: Contenders) -> None:
        self.attempt = attempt
        self.row = attempt.row
        self.chain = attempt.chain
        self.contenders = contenders

    def clear(self, name: str) -> None:
        if name not in self.chain or self.chain[name].read_only:
            catalog.record_cleared(self.row, name)
            return
        tier = self.chain[name]
        held = self.attempt.tiers_with_copies()
        if any(disk.is_one_file(tier.storage, each.storage, self.row.name) for each in held):
            catalog.record_cleared(self.row, name)  # one folder, mounted twice: what lies there is the file
            return
        self.contenders.fence_off(tier)
        if tier.is_first or traits.is_local(tier.storage):
            self._clear_near(tier)
        else:
            self.clear_far(tier, lambda: catalog.note_clearing(self.row))

    def _clear_near(self, tier: Tier) -> None:
        """Delete while the row is locked, so that nobody can have taken the file over before it is done."""
        with catalog.locked(self.row.chain, self.row.name):
            catalog.renew(self.row)  # its guard
            self._remove(tier)
            catalog.record_cleared(self.row, tier.name)

    def clear_far(self, tier: Tier, note: Callable[[], None]) -> None:
        """Delete what ``note`` tells the catalog to be deleted: no lock is held for as long as a server takes.

        The catalog then keeps others from counting on the tier for two leases: whoever was paused for one has no
        time left to ask the server.
        """
        identity.require(tier)
        noted = Moment()
        note()
        if noted.age() > conf.get("LEASE"):
            raise LeaseLost(f"the lease of {self.row} ran out")
        self._remove(tier)
        self.attempt.touched[tier.name] = tier
        catalog.record_cleared(self.row, tier.name)
        self.attempt.touched.pop(tier.name)

    def _remove(self, tier: Tier) -> None:
        """Delete by name; that nothing is there is as good. Not where the place is not the right one."""
        identity.require(tier)
        try:
            self.attempt.ask(tier, lambda: tier.storage.delete(self.row.name))
        except Exception as error:
            if isinstance(error.__cause__, TimeoutError):
                self.attempt.lingers = True
            if isinstance(error, NoPatience):
                raise
            if not (traits.is_missing(error) or traits.is_directory(tier.storage, self.row.name)):
                raise self.attempt.named(tier, error) from None
