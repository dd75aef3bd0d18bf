"""The sweep's samples of a chain, put together to the steps of a plot."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from .. import catalog

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from ..models import Sample


@dataclass
class Step:
    """A piece of time: None where no sweep took a sample of it."""

    begin: datetime
    #: The most that was owed.
    pending: int | None = None
    pending_bytes: int | None = None
    failed: int | None = None
    #: What was copied in the seconds of it of which there are samples.
    copied: float = 0.0
    copied_bytes: float = 0.0
    seconds: float = 0.0

    @property
    def a_minute(self) -> float | None:
        return self.copied / self.seconds * 60 if self.seconds else None

    @property
    def bytes_a_minute(self) -> float | None:
        return self.copied_bytes / self.seconds * 60 if self.seconds else None

    @property
    def is_known(self) -> bool:
        return self.pending is not None or self.seconds > 0


def steps(alias: str, now: datetime, length: timedelta, step: timedelta) -> list[Step]:
    """Return the steps of the time before now, the last of which has now in it."""
    count = round(length / step)
    # They begin at full steps of the hour, so that the picture stays the same from one load to the next.
    since = now.timestamp() // step.total_seconds() * step.total_seconds()
    last = datetime.fromtimestamp(since, tz=now.tzinfo)
    found = [Step(last - step * (count - 1 - number)) for number in range(count)]
    _fill(found, step.total_seconds(), catalog.samples(alias).filter(taken_at__gte=found[0].begin))
    return found


def _fill(found: list[Step], step: float, samples: QuerySet[Sample]) -> None:
    """Count the samples, of which a week has 10,000: as plain numbers, since each is looked at."""
    begin = found[0].begin.timestamp()
    for taken_at, *owed, seconds, copied, copied_bytes in samples.values_list(
        "taken_at", "pending", "pending_bytes", "failed", "seconds", "copied", "copied_bytes"
    ):
        at = taken_at.timestamp() - begin
        # What is owed is of the moment; what was copied, of the time before it.
        if at < step * len(found):
            _count(found[int(at // step)], *owed)
        if seconds:
            _spread(found, step, at, seconds, (copied, copied_bytes))


def _count(step: Step, pending: int, pending_bytes: int, failed: int) -> None:
    step.pending = max(step.pending or 0, pending)
    step.pending_bytes = max(step.pending_bytes or 0, pending_bytes)
    step.failed = max(step.failed or 0, failed)


def _spread(found: list[Step], step: float, end: float, seconds: int, copied: tuple[int, int]) -> None:
    """Share out what was copied in these seconds before ``end`` among the steps that they touch, by how long."""
    begin = end - seconds
    for number in range(max(int(begin // step), 0), len(found)):
        overlap = min(step * (number + 1), end) - max(step * number, begin)
        if overlap <= 0:
            break
        each = found[number]
        each.seconds += overlap
        each.copied += copied[0] * overlap / seconds
        each.copied_bytes += copied[1] * overlap / seconds
