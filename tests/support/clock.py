"""A clock that tests set: the time of day, and the seconds by which outages are remembered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest import mock

import time_machine
from django.core.cache import caches
from django.utils import timezone

from queued_storage import outage


@dataclass
class Clock:
    travel: Any
    seconds: float = 1_000.0

    def monotonic(self) -> float:
        return self.seconds

    def shift(self, seconds: float) -> None:
        self.seconds += seconds
        self.travel.shift(seconds)


@contextmanager
def stopped() -> Iterator[Clock]:
    """Stop the time; ``shift`` moves it. time-machine leaves ``time.monotonic`` alone, for asyncio's sake."""
    with time_machine.travel(timezone.now(), tick=False) as travel:
        clock = Clock(travel)
        with mock.patch.object(outage, "time", SimpleNamespace(monotonic=clock.monotonic)):
            forget_outages()
            yield clock
    forget_outages()


def forget_outages() -> None:
    """Make every tier one that nobody has found down: neither this process nor, by the cache, another."""
    outage.forget()
    caches["default"].clear()
