"""Points in the engine: every verb of the catalog that writes, and the steps of staging; and a clock to set."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import time_machine
from django.core.files.storage import base as storage_base
from django.utils import timezone

from queued_storage import bounded, catalog, committed, disk, heartbeat, names, outage
from queued_storage.catalog import attempts
from queued_storage.exceptions import LeaseLost

from .actors import Actor, point
from .excuses import EXCUSED
from .tiers import Hang, touch

#: Verbs at which an actor stops; those that a version does not have are passed over.
VERBS = (
    "claim", "renew", "note_writing", "record_copy", "record_release", "record_cleared", "settle", "bury", "fail",
    "postpone", "leave", "wait", "end", "distrust", "distrust_own", "record", "replace", "tombstone",
    "record_published", "note_clearing", "request", "may_write",
)  # fmt: skip
#: Verbs after which the attempt holds a lease that begins now.
LEASES = ("claim", "renew", "note_writing", "note_clearing")
#: Verbs that write what users asked for.
WRITES = ("record", "replace", "tombstone")


class Clock:
    """The time of day and the seconds since some moment, both of which stand still until they are moved."""

    START = 1_800_000_000.0

    def __init__(self) -> None:
        self._traveller = time_machine.travel(self.START, tick=False)
        self._travel: Any = self._traveller.start()
        self.seconds = 1_000.0

    def monotonic(self) -> float:
        return self.seconds

    def shift(self, seconds: float) -> None:
        self.seconds += seconds
        self._travel.shift(seconds)

    def reset(self) -> None:
        self.seconds = 1_000.0
        self._travel.move_to(self.START)

    @staticmethod
    def time() -> float:
        return timezone.now().timestamp()


class Instruments:
    """Everything that is wrapped for the length of a run."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.clock = Clock()
        self.counter = itertools.count()
        self.patches: list[Any] = []

    def start(self) -> None:
        for verb in VERBS:
            if hasattr(catalog, verb):
                self._replace(catalog, verb, self._verb(verb, getattr(catalog, verb)))
        self._replace(disk.Staged, "publish", self._publishing(disk.Staged.publish))
        for step in ("publish_kept", "discard", "_write"):
            if hasattr(disk, step):
                self._replace(disk, step, self._step(step, getattr(disk, step)))
        times = SimpleNamespace(monotonic=self.clock.monotonic, time=self.clock.time)
        for module in (outage, heartbeat, committed):
            self._replace(module, "time", times)
        self._replace(heartbeat.Heartbeat, "__enter__", _beat_is_a_rule)
        self._replace(heartbeat.Heartbeat, "__exit__", _beat_ends)
        self._replace(bounded, "call", lambda function, timeout: _in_time(self.world, function))
        self._replace(bounded.Thread, "borrow", classmethod(lambda cls: _Thread(self.world)))
        # Chance is Hypothesis's alone, so that a failure can be repeated and made smaller.
        self._replace(attempts.uuid, "uuid4", lambda: SimpleNamespace(hex=f"{next(self.counter):032x}"))
        assert names.uuid is attempts.uuid
        self._replace(storage_base, "get_random_string", lambda length: f"{next(self.counter):07d}")
        self._replace(attempts.random, "uniform", lambda low, high: low)

    def _replace(self, owner: Any, name: str, value: Any) -> None:
        patch = mock.patch.object(owner, name, value)
        patch.start()
        self.patches.append(patch)

    def _verb(self, verb: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if verb != "distrust" or "S9" not in EXCUSED:
                point(f"catalog.{verb}")
            try:
                answer = original(*args, **kwargs)
            except LeaseLost:
                self.world.events[f"lease lost at {verb}"] += 1
                raise
            if Actor.current is not None:
                if verb in ("distrust", "distrust_own", "wait", "leave", "end", "postpone"):
                    self.world.events[verb] += 1
                if verb in LEASES and answer is not False:
                    Actor.current.lands_by = self.clock.time() + 2 * self.world.LEASE
                if verb in WRITES:
                    self.world.recorded(Actor.current, answer)
            point(f"catalog.{verb} done")
            return answer

        return wrapped

    def _publishing(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def publish(staged: Any, name: str, *, overwrite: bool) -> Any:
            point("disk.publish", tier=staged.storage.tier, publishes=True)
            content = Path(staged.path).read_bytes() if os.path.exists(staged.path) else b""
            answer = original(staged, name, overwrite=overwrite)
            if staged.storage.tier == self.world.first:
                touch(name, content)
            point("disk.published")
            return answer

        return publish

    def _step(self, step: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            point(f"disk.{step}")
            if step == "_write":
                self.world.disk_fault()
            return original(*args, **kwargs)

        return wrapped


def _beat_is_a_rule(beat: Any) -> Any:
    if Actor.current is not None:
        Actor.current.beat = beat
    return beat


def _beat_ends(beat: Any, *_: Any) -> None:
    if Actor.current is not None:
        Actor.current.beat = None


def _in_time(world: Any, function: Callable[[], Any]) -> Any:
    """Call it here; a call that hangs goes on as an actor of its own."""
    actor = Actor.current
    if actor is None:
        return function()
    before = getattr(actor, "is_bounded", False)
    actor.is_bounded = True
    try:
        return function()
    except Hang as hang:
        world.linger(actor, hang.call)
        raise TimeoutError from None
    finally:
        actor.is_bounded = before


class _Thread:
    def __init__(self, world: Any) -> None:
        self.world = world

    def call(self, function: Callable[[], Any], timeout: float) -> Any:
        return _in_time(self.world, function)

    def end(self, function: Callable[[], Any], timeout: float) -> None:
        function()

    def give_back(self) -> None:
        pass

    def __enter__(self) -> _Thread:
        return self

    def __exit__(self, *_: object) -> None:
        pass
