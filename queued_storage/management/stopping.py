"""Ctrl-C and SIGTERM as a wish: what is begun is ended first. The second one ends it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Stop:
    """Whether somebody wants this to end."""

    def __init__(self) -> None:
        self.is_wanted = False

    def __call__(self) -> bool:
        return self.is_wanted

    def note(self, number: int, frame: Any) -> None:
        if self.is_wanted:
            raise KeyboardInterrupt
        self.is_wanted = True


@contextmanager
def on_signal() -> Iterator[Stop]:
    """Yield what tells whether a signal came; outside of the main thread, which alone gets signals, none comes."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    except KeyboardInterrupt:
        stop.is_wanted = True
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
