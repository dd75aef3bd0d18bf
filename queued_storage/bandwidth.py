"""Bandwidth: a tier with a BANDWIDTH has so many bytes a second in each process, whatever the number of its copies."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable

from .tier import Tier

#: Seconds of standing still whose bytes may flow at once.
BURST = 1.0
#: Seconds after which whoever is held back shows a sign of life.
SLICE = 1.0


class Meter:
    """Gives out time: each read is told until when it and those before it take at this rate."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._lock = threading.Lock()
        self._taken_until = float("-inf")

    def take(self, count: int, now: float) -> float:
        """Count the bytes; return how many seconds whoever has read them has to wait. Times are monotonic ones."""
        with self._lock:
            self._taken_until = max(self._taken_until, now - BURST) + count / self.rate
            return max(self._taken_until - now, 0.0)


def held_back(tiers: Iterable[Tier], progress: Callable[[int], None]) -> Callable[[int], None]:
    """Return what to call with the bytes of each read: it returns when the tiers' bandwidths let the next one go on.

    ``progress`` is called while it waits, too, with 0: it may raise, and a lease must not run out meanwhile.
    """
    meters = [_meter(tier) for tier in tiers if tier.bandwidth is not None]
    if not meters:
        return progress

    def paced(count: int) -> None:
        progress(count)
        now = time.monotonic()
        until = now + max(meter.take(count, now) for meter in meters)
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, SLICE))  # nothing but time ends it
            progress(0)

    return paced


_meters: dict[tuple[int, str, str, int], Meter] = {}


def _meter(tier: Tier) -> Meter:
    """Return this process' meter: a fork has one of its own, and so has another rate."""
    rate = tier.bandwidth or 0
    key = (os.getpid(), tier.chain, tier.name, rate)
    return _meters.get(key) or _meters.setdefault(key, Meter(rate))
