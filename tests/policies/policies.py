"""Policies such as a user would write: named by dotted path in the tests of this folder."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from pydantic import Field

from queued_storage.policies import FileFacts, Placement, Policy, Transfer


class BigFilesLow(Policy):
    """Files above a limit lie on the last tier alone, the others on the first alone."""

    limit: Annotated[int, Field(ge=0)]

    def place(self, file: FileFacts, tiers: Sequence[str], now: datetime) -> Placement:
        return Placement((tiers[-1],) if (file.size or 0) > self.limit else (tiers[0],))


class PicturesOnly(Transfer):
    """Transfer for one kind of content; every other file stays."""

    kind: str = "image/"

    def place(self, file: FileFacts, tiers: Sequence[str], now: datetime) -> Placement:
        if not file.content_type.startswith(self.kind):
            return Placement((tiers[0],))
        return super().place(file, tiers, now)


class Unfinished(Policy):
    """Forgot to say where files should lie."""


class Nowhere(Policy):
    """Wants files on no tier at all."""

    def place(self, file: FileFacts, tiers: Sequence[str], now: datetime) -> Placement:
        return Placement(())


class Everywhere(Policy):
    """Wants every tier, also those that only are read."""

    def place(self, file: FileFacts, tiers: Sequence[str], now: datetime) -> Placement:
        return Placement(tuple(tiers))


class Restless(Policy):
    """Leaves files alone, and wants to look at them again at once."""

    def place(self, file: FileFacts, tiers: Sequence[str], now: datetime) -> Placement:
        return Placement(tuple(file.tiers), review_at=now)


def not_a_policy() -> None:
    """A function where a class belongs."""
