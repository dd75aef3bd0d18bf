"""The sweep's samples of a chain, put together to the steps of a plot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from .. import catalog

if TYPE_CHECKING:
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
    _fill(found, step, catalog.samples(alias).filter(taken_at__gte=found[0].begin))
    return found


def _fill(found: list[Step], step: timedelta, samples: Iterable[Sample]) -> None:
    for sample in samples:
        # What is owed is of the moment; what was copied, of the time before it.
        place = (sample.taken_at - found[0].begin) // step
        if place < len(found):
            _count(found[place], sample)
        _spread(found, step, sample)


def _count(step: Step, sample: Sample) -> None:
    step.pending = max(step.pending or 0, sample.pending)
    step.pending_bytes = max(step.pending_bytes or 0, sample.pending_bytes)
    step.failed = max(step.failed or 0, sample.failed)


def _spread(found: list[Step], step: timedelta, sample: Sample) -> None:
    """Share what a sample says was copied out among the steps that its time touches, by how long it does."""
    if not sample.seconds:
        return
    begin = sample.taken_at - timedelta(seconds=sample.seconds)
    first = max((begin - found[0].begin) // step, 0)
    for each in found[first:]:
        if each.begin >= sample.taken_at:
            break
        overlap = min(each.begin + step, sample.taken_at) - max(each.begin, begin)
        seconds = overlap.total_seconds()
        each.seconds += seconds
        each.copied += sample.copied * seconds / sample.seconds
        each.copied_bytes += sample.copied_bytes * seconds / sample.seconds
