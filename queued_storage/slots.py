"""Slots: a tier with a CONCURRENCY has so many in each process, and every copy to or from it takes one.

Who has to wait waits in a line, not in a thread that others could use; a copy's slots are given all together, so that
nobody holds one while waiting for another. Nobody takes a slot that somebody further in front is waiting for.
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
        #: Who is further in front and lacks a slot has a claim to all of its keys: nobody behind takes one of those.
        self.line: list[Turn] = []


class Turn:
    """One copy's slots: to be asked for once, and ended in any case, more than once if need be."""

    def __init__(self, tiers: Iterable[Tier]) -> None:
        self._limits = _limits(tiers)
        self._begin: Callable[[], object] = _nothing
        self._desk: _Desk | None = None
        self._has = False
        self._holds_thread = False
        self._was_overtaken = False

    def begin(self, begin: Callable[[], object]) -> None:
        """Call this once there is a slot at each tier: now, or later, in the thread that frees the last one."""
        self._begin = begin
        if self._take_or_stand_in_line(holds_thread=False):
            begin()

    def take(self, seconds: float) -> bool:
        """Wait for a slot at each tier, so long at most; return whether they were taken."""
        taken = threading.Event()
        self._begin = taken.set
        if self._take_or_stand_in_line(holds_thread=True) or taken.wait(seconds):
            return True
        desk = _desk()
        with desk.lock:
            has = self._has  # it may have got them when the time was over
            ready = [] if has else self._leave(desk)
        _begin_each(ready)
        return has

    def change(self, tiers: Iterable[Tier], seconds: float) -> bool:
        """Give the slots back and wait for those of other tiers, unless they are the same."""
        if (limits := _limits(tiers)) == self._limits:
            return True
        self.end()
        self._limits = limits
        return self.take(seconds)

    def end(self) -> None:
        """Free the slots, or leave the line."""
        desk = _desk()
        if (
            self._desk is not desk
        ):  # it has none, or they are those of the process that this one was forked from
            return
        with desk.lock:
            ready = self._leave(desk)
        _begin_each(ready)

    def _take_or_stand_in_line(self, *, holds_thread: bool) -> bool:
        if not self._limits:
            return True
        desk = self._desk = _desk()
        self._holds_thread, self._was_overtaken = holds_thread, False
        with desk.lock:
            place = self._place(desk)
            if self._fits(desk) and not any(map(self._competes, desk.line[:place])):
                self._enter(desk, desk.line[place:])
            else:
                desk.line.insert(place, self)
            return self._has

    def _place(self, desk: _Desk) -> int:
        """Return where in the line it stands.

        Who holds a thread while it waits goes ahead of who does not, but no more of such once somebody was overtaken:
        however many come, everybody's turn comes.
        """
        if not self._holds_thread:
            return len(desk.line)
        for place, turn in reversed(list(enumerate(desk.line, 1))):
            if (turn._holds_thread or turn._was_overtaken) and self._competes(turn):
                return place
        return 0

    def _competes(self, other: Turn) -> bool:
        return not self._limits.keys().isdisjoint(other._limits)

    def _fits(self, desk: _Desk) -> bool:
        return all(desk.taken[key] < limit for key, limit in self._limits.items())

    def _enter(self, desk: _Desk, behind: Iterable[Turn]) -> None:
        desk.taken.update(self._limits.keys())
        self._has = True
        if self._holds_thread:
            for turn in behind:
                if not turn._holds_thread and self._competes(turn):
                    turn._was_overtaken = True
                    break

    def _leave(self, desk: _Desk) -> list[Turn]:
        """Give up the slots, or the place in the line, to others; return who has slots by that."""
        if self._has:
            self._has = False
            desk.taken.subtract(self._limits.keys())
        elif self in desk.line:
            desk.line.remove(self)
        else:
            return []
        return self._handed_on(desk)

    def _handed_on(self, desk: _Desk) -> list[Turn]:
        ready: list[Turn] = []
        # What may be free now: who enters has its slots, and no claim to the others of those tiers any more.
        free, claimed = dict(self._limits), set[_Key]()
        for place, turn in enumerate(list(desk.line)):
            if all(key in claimed or desk.taken[key] >= limit for key, limit in free.items()):
                break  # who stands further back waits for others than these
            if turn._fits(desk) and claimed.isdisjoint(turn._limits):
                desk.line.remove(turn)
                turn._enter(desk, desk.line[place - len(ready) :])
                ready.append(turn)
                free |= turn._limits
            else:
                claimed |= turn._limits.keys()
        return ready


def _nothing() -> None:
    """What begins before anybody asked for slots."""


def _begin_each(turns: Iterable[Turn]) -> None:
    for turn in turns:
        turn._begin()


def _limits(tiers: Iterable[Tier]) -> dict[_Key, int]:
    return {(tier.chain, tier.name): tier.concurrency for tier in tiers if tier.concurrency is not None}


_desks: dict[int, _Desk] = {}


def _desk() -> _Desk:
    """Return this process' desk: a fork has slots of its own."""
    pid = os.getpid()
    return _desks.get(pid) or _desks.setdefault(pid, _Desk())
