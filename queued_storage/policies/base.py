"""The contract of a policy: a frozen value that says where a file should lie, and does nothing about it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Literal, NamedTuple, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field

from queued_storage.exceptions import ConfigurationError
from queued_storage.schema import Problem, did_you_mean

Verify = Literal["size", "content"]
TierNames = tuple[str, ...]
#: ISO 8601 ("P30D", "PT1H"), a timedelta, or a number of seconds.
Duration = Annotated[timedelta, Field(ge=timedelta(0))]


class PolicyError(ConfigurationError):
    """A policy is unknown, or its options do not fit it or its chain."""

    def __init__(self, message: str, hint: str = "", *, problems: Sequence[Problem] = ()) -> None:
        self.problems = tuple(problems) or (Problem("", message, hint),)
        super().__init__("\n".join(map(str, self.problems)))


class FileFacts(Protocol):
    """What a policy may know of a file."""

    name: str
    size: int | None
    content_type: str
    saved_at: datetime
    #: When the latest verified copy below the first tier was made; None before the first.
    copied_at: datetime | None
    #: Whether ``transfer()`` was asked for.
    requested: bool
    #: Whether it was asked to leave the first tier, to make room there.
    crowded_out: bool
    #: Names of the tiers that hold a verified copy.
    tiers: Sequence[str]


class Limit(NamedTuple):
    """Bytes on the first tier: above ``high`` files have to leave it, until ``low`` are left."""

    high: int
    low: int


@dataclass(frozen=True)
class Placement:
    """The tiers on which a file should lie now, and when to ask again (None: only after a change)."""

    tiers: TierNames
    review_at: datetime | None = None


class Policy(BaseModel, ABC):
    """Base of all policies; options are pydantic fields, and unknown ones are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    #: How a copy is checked before it counts: by its size, or by reading it back.
    verify: Verify = "size"

    @property
    def copier(self) -> str | None:
        """Dotted path of the project's code that makes the copies (see ``copiers``); None is the engine itself."""
        return None

    #: Whether the files that this policy decides for leave the first tier when they are crowded out.
    makes_room: ClassVar[bool] = False

    @property
    def first_tier_limit(self) -> Limit | None:
        """The limit that this policy, or one that it names, sets the chain's first tier."""
        return None

    @property
    def promotes(self) -> bool:
        """Whether ``calls_back`` is ever true, of this policy or of one that it names."""
        return False

    def calls_back(self, file: FileFacts) -> bool:
        """Tell whether a file that was crowded out comes back when it is read."""
        return False

    @abstractmethod
    def place(self, file: FileFacts, tiers: Sequence[str], now: datetime) -> Placement:
        """Return where the file should lie; ``tiers`` are the chain's tiers in order. Pure: no I/O, no clock."""

    def for_file(self, file: FileFacts) -> Policy:
        """Return the policy that decides for this file, whose ``verify`` and ``copier`` hold: one it names."""
        return self

    def bind(self, tiers: Sequence[str], writable: Sequence[str]) -> Self:
        """Return this policy as it acts on a chain whose writable tiers below the first are ``writable``.

        Raise PolicyError where it cannot act on that chain.
        """
        return self


class TargetedPolicy(Policy):
    """What the built-in policies share: the tiers that they copy to."""

    #: Names of the tiers to copy to; None is every writable tier below the first.
    to: TierNames | None = None

    def targets(self, tiers: Sequence[str]) -> TierNames:
        return tuple(tiers[1:]) if self.to is None else self.to

    def bind(self, tiers: Sequence[str], writable: Sequence[str]) -> Self:
        if self.to is None:
            return self.model_copy(update={"to": tuple(writable)})
        for name in self.to:
            if name not in tiers:
                raise PolicyError(f"'to' names no tier of the chain: {name!r}.", did_you_mean(name, writable))
            if name not in writable:
                reason = "is the first tier" if name == tiers[0] else "is READ_ONLY"
                raise PolicyError(f"'to' names {name!r}, which {reason}.", did_you_mean(name, writable))
        return self


class MovingPolicy(TargetedPolicy):
    """One that waits before it copies."""

    #: Wait after the save before anything moves.
    after: Duration = timedelta(0)


def where_it_is(file: FileFacts, tiers: Sequence[str], review_at: datetime | None = None) -> Placement:
    """Leave the file alone: on the tiers that hold it, or on the first if none is known to."""
    return Placement(tuple(file.tiers) or (tiers[0],), review_at)
