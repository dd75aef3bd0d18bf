"""The end of a program that is asked to end: its databases, servers and folders go with it."""

from __future__ import annotations

import signal
import sys


def orderly() -> None:
    """Have SIGTERM end this process by an exception, as Ctrl-C does; another one does not hinder the clearing up."""
    signal.signal(signal.SIGTERM, _end)


def _end(*_: object) -> None:
    signal.signal(signal.SIGTERM, lambda *_: None)
    sys.exit("ended by SIGTERM")
