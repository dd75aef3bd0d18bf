"""A dispatcher that only writes down what it is asked to start; tests do the work when they want it done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from queued_storage import batch

PATH = "tests.support.recording.RecordingDispatcher"


class RecordingDispatcher:
    #: The ids of each call, in order.
    calls: ClassVar[list[list[int]]] = []

    def dispatch(self, ids: Sequence[int]) -> None:
        self.calls.append(list(ids))


def work() -> int:
    """Do all work that is due, in this process; return how many files were worked on."""
    return len(list(batch.drain(own_process=False)))
