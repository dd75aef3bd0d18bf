"""Brakes: what a command may believe, or take away, before somebody has a look at it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from .exceptions import QueuedStorageError

#: So many of a tier are too few to say anything about its mount, its bucket or the settings.
FEW = 10


class TooMany(QueuedStorageError):
    """More than the share that was set (``--max-share``) of what lies on one tier is concerned."""

    def __init__(self, tier: str, concerned: int, of: int, max_share: float) -> None:
        self.tier = tier
        super().__init__(self.told(tier, concerned, of, f"more than {max_share:g} %"))

    @staticmethod
    def told(tier: str, concerned: int, of: int, share: str) -> str:
        return f"{concerned} of {of} on tier {tier!r} are concerned, {share}."


class TooManyFlaws(TooMany):
    """So many copies are missing or wrong on one tier that its mount or bucket is probably not the right one."""

    @staticmethod
    def told(tier: str, concerned: int, of: int, share: str) -> str:
        return (
            f"{concerned} of {of} copies looked at on tier {tier!r} are missing or wrong, {share}. Its mount or bucket "
            "is probably not the right one: look at that first. These were not repaired; without --repair they are "
            "told one by one. If the tier has really lost them, say --max-share 100."
        )


class TooManyReleases(TooMany):
    """The settings have so many copies deleted from one tier that this is perhaps not what was meant."""

    @staticmethod
    def told(tier: str, concerned: int, of: int, share: str) -> str:
        return (
            f"{concerned} of the {of} copies on tier {tier!r} would be deleted there, {share}. Nothing was applied: "
            "look at `tiers plan` and at the settings first. If that is what they are to say, say --max-share 100."
        )


class TooManyLeftovers(TooMany):
    """So much on one tier looks unfinished that somebody else's uploads may be among it."""

    @staticmethod
    def told(tier: str, concerned: int, of: int, share: str) -> str:
        return (
            f"{concerned} of {of} files looked at on tier {tier!r} look like what a crash left, {share}. These were "
            "not removed: see with --dry-run which they are. If nobody is writing them, say --max-share 100."
        )


class TooManyOrphans(TooMany):
    """So many files of one tier are unknown that they are probably somebody's."""

    @staticmethod
    def told(tier: str, concerned: int, of: int, share: str) -> str:
        return (
            f"{concerned} of {of} files on tier {tier!r} are unknown to the catalog, {share}. They are probably "
            "somebody's: `tiers transfer` takes in what was there before. Nothing was removed; --dry-run names them. "
            "If they are all to go, say --max-share 100."
        )


class Brake:
    """Stops when too large a share of a tier is concerned: over the whole run, and over any part of it."""

    def __init__(self, max_share: float, error: type[TooMany]) -> None:
        self.max_share = max_share
        self._error = error
        self._looked_at, self._concerned = Counter[str](), Counter[str]()

    def check(self, looked_at: Mapping[str, int], concerned: Mapping[str, int]) -> None:
        """Raise the error if, of those looked at by tier, too many are concerned."""
        self._looked_at.update(looked_at)
        self._concerned.update(concerned)
        for tier, count in concerned.items():
            self._check(tier, count, looked_at.get(tier, 0))
            self._check(tier, self._concerned[tier], self._looked_at[tier])

    def _check(self, tier: str, concerned: int, of: int) -> None:
        if concerned >= FEW and concerned * 100 > of * self.max_share:
            raise self._error(tier, concerned, of, self.max_share)


class Cap:
    """How much one run may do: so many files and bytes at most; None is any number."""

    def __init__(self, files: int | None = None, size: int | None = None) -> None:
        self._files = files
        self._size = size
        self._taken = self._taken_size = 0
        #: Whether something did not fit any more.
        self.is_reached = False

    @property
    def is_set(self) -> bool:
        """Whether there is anything that it does not take."""
        return (self._files, self._size) != (None, None)

    def takes(self, size: int | None = None) -> bool:
        """Count a file of that size if it fits; once one does not, nothing does.

        The first one fits whatever its size: one that is larger than the cap would never be done.
        """
        is_too_many = self._files is not None and self._taken >= self._files
        is_too_large = (
            self._size is not None and self._taken > 0 and self._taken_size + (size or 0) > self._size
        )
        if self.is_reached or is_too_many or is_too_large:
            self.is_reached = True
            return False
        self._taken += 1
        self._taken_size += size or 0
        return True
