"""Bounds on time: each failure begins with "not within", and says what did not happen.

A busy machine can miss any of them: CI runs a test that failed with these words once more, and no other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], what: str, *, timeout: float = 30, every: float = 0.05) -> T:
    """Ask until the answer is true and return it; AssertionError after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what} (last answer: {answer!r})")
        time.sleep(every)
    return answer


@contextmanager
def within(seconds: float, what: str = "what was to be done") -> Iterator[None]:
    """Raise AssertionError if the block takes longer."""
    started = time.monotonic()
    yield
    took = time.monotonic() - started
    if took > seconds:
        raise AssertionError(f"not within {seconds:g} s: {what} (took {took:.2f} s)")
