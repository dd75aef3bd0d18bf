from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from .base import FileFacts, Limit, Placement, PolicyError, TargetedPolicy

Bytes = Annotated[int, Field(ge=0)]
_SIZE = "a number of bytes: 50 * 10**9 is 50 GB"


class Watermark(TargetedPolicy):
    """Copy the file to the lower tiers, and keep it on the first for as long as there is room."""

    makes_room: ClassVar[bool] = True

    #: Bytes on the first tier above which a sweep has files leave it: those first that were saved, or fetched back,
    #: longest ago.
    high: Bytes = Field(examples=[_SIZE])
    #: Bytes at which it stops; None is nine tenths of ``high``.
    low: Bytes | None = Field(None, examples=[_SIZE])
    #: Whether a file that left comes back to the first tier once it is read.
    promote: bool = Field(False, examples=["True or False"])
    #: Bytes above which a file does not come back; None: any may.
    promote_up_to: Bytes | None = Field(None, examples=[_SIZE])

    @model_validator(mode="after")
    def has_low_below_high(self) -> Self:
        if self.low is not None and self.low > self.high:
            raise PydanticCustomError(
                "low_above_high",
                "'low' is above 'high'.",
                {"hint": "Write the bytes at which files stop leaving into 'low': less than 'high'."},
            )
        return self

    @property
    def first_tier_limit(self) -> Limit:
        return Limit(self.high, self.high * 9 // 10 if self.low is None else self.low)

    @property
    def promotes(self) -> bool:
        return self.promote

    def place(self, file: FileFacts, tiers: Sequence[str], now: datetime) -> Placement:
        targets = self.targets(tiers)
        return Placement(targets if file.crowded_out else (tiers[0], *targets))

    def calls_back(self, file: FileFacts) -> bool:
        if not (self.promote and file.crowded_out) or file.size is None:
            return False
        return self.promote_up_to is None or file.size <= self.promote_up_to

    def bind(self, tiers: Sequence[str], writable: Sequence[str]) -> Self:
        bound = super().bind(tiers, writable)
        if not bound.to:
            raise PolicyError(
                "there is no writable tier below the first to move files to.", "Add one to TIERS."
            )
        return bound
