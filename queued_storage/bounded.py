"""Calls with a deadline, for libraries that know none.

A call that misses its deadline goes on in its thread: Python cannot end one. Its result is closed, if it is a file.
Only the caller is free again. Threads are daemons, so that a stuck one does not hold up the exit of a process.
"""

from __future__ import annotations

import contextvars
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from queue import SimpleQueue
from typing import Any, Self, TypeVar

from django.core.files.base import File

T = TypeVar("T")


class _Budget:
    def __init__(self, seconds: float) -> None:
        self.left = seconds


_budget: ContextVar[_Budget | None] = ContextVar("queued_storage_budget", default=None)


@contextmanager
def budget(seconds: float) -> Iterator[None]:
    """Share these seconds out among all that is waited for inside; what is done at one's own speed does not count."""
    token = _budget.set(_Budget(seconds))
    try:
        yield
    finally:
        _budget.reset(token)


@contextmanager
def spending(most: float, *, leaving: float = 0) -> Iterator[float]:
    """Yield how many seconds may be waited inside: at most so many, and so few that so many are left of the budget."""
    budget = _budget.get()
    if budget is None:
        yield most
        return
    begun = time.monotonic()
    try:
        yield max(min(most, budget.left - leaving), 0)
    finally:
        budget.left -= time.monotonic() - begun


class Thread:
    """A thread that runs one call after the other, so that an object it made is used by it alone."""

    _idle: list[Thread] = []

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._stuck = False
        threading.Thread(target=self._work, name="queued-storage-call", daemon=True).start()

    @classmethod
    def borrow(cls) -> Thread:
        try:
            return cls._idle.pop()
        except IndexError:
            return cls()

    def call(self, function: Callable[[], T], timeout: float) -> T:
        """Return the function's result, or raise TimeoutError after ``timeout`` seconds."""
        future: Future[T] = Future()
        self._jobs.put((future, _in_context(function)))
        try:
            return future.result(timeout)
        finally:
            self._stuck = future.cancel()

    def end(self, function: Callable[[], object], timeout: float) -> None:
        """Call the function as the last; a thread that is stuck does so once it is free, and is not waited for."""
        if self._stuck:
            self._jobs.put((Future(), _in_context(function)))
        else:
            self.call(function, timeout)

    def give_back(self) -> None:
        """Make the thread available to others; one that is still stuck in a call ends after it instead."""
        if self._stuck:
            self._jobs.put(None)
        else:
            self._idle.append(self)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            _run(*job)
            del job

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()


def _run(future: Future[T], function: Callable[[], T]) -> None:
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001 - handed to the caller, who raises it
        with suppress(InvalidStateError):  # who waited no longer does
            future.set_exception(error)
        return
    try:
        future.set_result(result)
    except InvalidStateError:
        if isinstance(result, File):
            result.close()


def _in_context(function: Callable[[], T]) -> Callable[[], T]:
    context = contextvars.copy_context()
    return lambda: context.run(function)


def call(function: Callable[[], T], timeout: float) -> T:
    """Run the function in another thread; raise TimeoutError if it takes longer than ``timeout`` seconds."""
    with Thread.borrow() as thread:
        return thread.call(function, timeout)


# A forked child has the list of its parent's idle threads, but not the threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Thread._idle.clear)
