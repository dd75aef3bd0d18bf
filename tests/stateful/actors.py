"""Threads that run one at a time, and hand control back at named points.

A crash is an actor that is never continued: nothing of its clean-up runs, its transaction is rolled back.
"""

from __future__ import annotations

import faulthandler
import os
import threading
from collections.abc import Callable
from typing import Any, ClassVar

from django.db import connections

#: Seconds that an actor may take from one point to the next; it is stuck then.
PATIENCE = 20


class Abandoned(BaseException):
    """Unwinds the thread of an actor that crashed, once the world it lived in is gone."""


class Actor:
    """One call of one process, stepped from point to point."""

    current: ClassVar[Actor | None] = None

    def __init__(self, label: str, process: Any, function: Callable[[], Any]) -> None:
        self.label = label
        self.process = process
        self.function = function
        self.at = "its start"
        self.facts: dict[str, Any] = {}
        self.steps = 0
        self.done = False
        self.dead = False
        self.result: Any = None
        self.error: BaseException | None = None
        #: How many points it passes before it crashes; None: it does not.
        self.crashes_after: int | None = None
        #: Called when it crashes, with whether that is inside a transaction.
        self.on_crash: Callable[[bool], None] = lambda atomic: None
        self._fiber: _Fiber | None = None

    def __repr__(self) -> str:
        state = "done, last" if self.done else "crashed" if self.dead else "waits"
        return f"<{self.label} {state} at {self.at}>"

    @property
    def is_alive(self) -> bool:
        return not (self.done or self.dead)

    def step(self) -> None:
        """Run to the next point."""
        assert self.is_alive
        if self._fiber is None:
            self._fiber = _Fiber.borrow()
            self._fiber.start(self._run)
        self.steps += 1
        self._resume()

    def crash(self) -> None:
        """Never continue it."""
        if self.is_alive:
            self.dead = True
            self.on_crash(False)

    def unwind(self) -> None:
        """Give its thread back."""
        self.dead = True
        if self._fiber is not None and not self.done:
            self._resume()
        if self._fiber is not None:
            self._fiber.give_back()
            self._fiber = None

    def _resume(self) -> None:
        assert self._fiber is not None
        before, Actor.current = Actor.current, self
        self.process.enter()
        try:
            self._fiber.resume(self)
        finally:
            self.process.leave()
            Actor.current = before

    def _run(self) -> None:
        try:
            self.result = self.function()
        except Abandoned:
            connections["default"].close() if not connections["default"].in_atomic_block else None
            del connections["default"]
        except BaseException as error:  # noqa: BLE001 - looked at by who stepped it
            self.error = error
            if self.dead:
                del connections["default"]
        self.done = True

    def point(self, at: str, **facts: Any) -> None:
        """Hand control back, unless a transaction holds the database's locks; perhaps crash here."""
        if self.dead:
            raise Abandoned
        atomic = connections["default"].in_atomic_block
        if self.crashes_after is not None:
            self.crashes_after -= 1
            if self.crashes_after < 0:
                self._crash_here(at, atomic)
        if not atomic:
            self.at, self.facts = at, facts
            self._wait()

    def _crash_here(self, at: str, atomic: bool) -> None:
        if atomic:
            connections["default"].connection.rollback()
        self.at, self.dead = at, True
        self.on_crash(atomic)
        self._wait()

    def _wait(self) -> None:
        assert self._fiber is not None
        self._fiber.hand_back()
        if self.dead:
            raise Abandoned


def point(at: str, **facts: Any) -> None:
    """Stop the actor that runs, if one does."""
    if Actor.current is not None:
        Actor.current.point(at, **facts)


class _Fiber:
    """A thread, with its connection to the database, for one actor after the other."""

    idle: ClassVar[list[_Fiber]] = []

    def __init__(self) -> None:
        self._go = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self._job: Callable[[], None] | None = None
        threading.Thread(target=self._work, daemon=True).start()

    @classmethod
    def borrow(cls) -> _Fiber:
        return cls.idle.pop() if cls.idle else cls()

    def give_back(self) -> None:
        self.idle.append(self)

    def start(self, job: Callable[[], None]) -> None:
        self._job = job

    def resume(self, actor: Actor) -> None:
        self._go.release()
        if not self._back.acquire(timeout=PATIENCE):
            faulthandler.dump_traceback()
            os._exit(3)  # nothing can be told from a world in which somebody still runs

    def hand_back(self) -> None:
        self._back.release()
        self._go.acquire()

    def _work(self) -> None:
        while True:
            self._go.acquire()
            job, self._job = self._job, None
            assert job is not None
            job()
            self._back.release()
