"""Slots: a tier with a CONCURRENCY has so many in each process, and every copy to or from it takes one.

Who has to wait waits in a line, not in a thread that others could use; a copy's slots are given all together, so that
nobody holds one while waiting for another.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable

from .tier import Tier

_Key = tuple[str, str]


class _Desk:
    """The slots of this process that are taken, and who waits for some."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.taken: Counter[_Key] = Counter()
        self.line: list[Turn] = []


class Turn:
    """One copy's slots: to be asked for once, and ended in any case, more than once if need be."""

    def __init__(self, tiers: Iterable[Tier]) -> None:
        self._limits = _limits(tiers)
        self._begin: Callable[[], object] = threading.Event().set
        self._has = False

    def begin(self, begin: Callable[[], object]) -> None:
        """Call this once there is a slot at each tier: now, or later, in the thread that frees the last one."""
        self._begin = begin
        if self._take_or_stand_in_line(in_front=False):
            begin()

    def take(self, seconds: float) -> bool:
        """Wait for a slot at each tier, so long at most; return whether they were taken."""
        taken = threading.Event()
        self._begin = taken.set
        # In front: this holds a thread while it waits, and what was given something to begin does not.
        if self._take_or_stand_in_line(in_front=True) or taken.wait(seconds):
            return True
        desk = _desk()
        with desk.lock:
            if not self._has:
                desk.line.remove(self)
            return self._has

    def change(self, tiers: Iterable[Tier], seconds: float) -> bool:
        """Give the slots back and wait for those of other tiers, unless they are the same."""
        if (limits := _limits(tiers)) == self._limits:
            return True
        self.end()
        self._limits = limits
        return self.take(seconds)

    def end(self) -> None:
        """Free the slots, or leave the line."""
        if not self._limits:
            return
        desk = _desk()
        with desk.lock:
            had, self._has = self._has, False
            if self in desk.line:
                desk.line.remove(self)
            ready = self._handed_on(desk) if had else []
        for turn in ready:
            turn._begin()

    def _take_or_stand_in_line(self, *, in_front: bool) -> bool:
        if not self._limits:
            return True
        desk = _desk()
        with desk.lock:
            if self._fits(desk):
                self._enter(desk)
            else:
                desk.line.insert(0 if in_front else len(desk.line), self)
            return self._has

    def _fits(self, desk: _Desk) -> bool:
        return all(desk.taken[key] < limit for key, limit in self._limits.items())

    def _enter(self, desk: _Desk) -> None:
        desk.taken.update(self._limits.keys())
        self._has = True

    def _handed_on(self, desk: _Desk) -> list[Turn]:
        """Give this one's slots to who waits for them; return whom."""
        desk.taken.subtract(self._limits.keys())
        ready: list[Turn] = []
        for turn in list(desk.line):
            if not any(desk.taken[key] < limit for key, limit in self._limits.items()):
                break  # who stands further back waits for others than these
            if turn._fits(desk):
                desk.line.remove(turn)
                turn._enter(desk)
                ready.append(turn)
        return ready


def _limits(tiers: Iterable[Tier]) -> dict[_Key, int]:
    return {(tier.chain, tier.name): tier.concurrency for tier in tiers if tier.concurrency is not None}


_desks: dict[int, _Desk] = {}


def _desk() -> _Desk:
    """Return this process' desk: a fork has slots of its own."""
    pid = os.getpid()
    return _desks.get(pid) or _desks.setdefault(pid, _Desk())
