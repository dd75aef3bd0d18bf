"""What a storage does in many threads, each with an instance of its own, as chains use it."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable

from django.core.files.base import ContentFile
from django.db import connections

from .behaviour import Behaviours, Misbehaviour
from .contents import LARGE
from .subject import Subject

THREADS = Behaviours()
NUMBER, ROUNDS, BYTES = 6, 3, 100_000


@THREADS.add()
def threads(subject: Subject) -> None:
    """Six threads that write and read at once, each with an instance of its own, get the right bytes."""
    shared = subject.put("shared.bin", LARGE[:BYTES])

    def work(number: int) -> None:
        for turn in range(ROUNDS):
            content = LARGE[number * 1000 + turn :][:BYTES]
            name = subject.put(f"thread-{number}/{turn}.bin", ContentFile(content))
            subject.holds(name, content, "a save in one of six threads")
            subject.holds(shared, LARGE[:BYTES], "six threads had read it")

    _at_once(subject, work)


def _at_once(subject: Subject, work: Callable[[int], None]) -> None:
    """Run the function in the threads; raise what the first of them raised, or that they do not end."""
    raised: list[BaseException] = []
    start = threading.Barrier(NUMBER)

    def run(number: int) -> None:
        try:
            start.wait()
            work(number)
        except BaseException as error:  # noqa: BLE001 - raised by the thread that waits for this one
            raised.append(error)
        finally:
            connections.close_all()

    # Daemons: who hangs must not hold up the exit of the process.
    running = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(NUMBER)]
    for thread in running:
        thread.start()
    end = time.monotonic() + subject.candidate.patience
    for thread in running:
        thread.join(max(end - time.monotonic(), 0))
    if raised:
        raise raised[0]
    if stuck := [thread for thread in running if thread.is_alive()]:
        raise Misbehaviour(_stuck(subject, stuck))


def _stuck(subject: Subject, threads: list[threading.Thread]) -> str:
    frame = sys._current_frames().get(threads[0].ident or 0)
    where = "".join(traceback.format_stack(frame)) if frame else ""
    return (
        f"{len(threads)} of {NUMBER} threads, each with an instance of its own, were not done after "
        f"{subject.candidate.patience:g} s; instances should share nothing that waits for another's answer. "
        f"One of them was here:\n{where}"
    )
