"""A bar in a terminal, a line now and then in a pipe."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

LINE_EVERY = 2.0


class Moving(Protocol):
    def update(self, done: int, total: int) -> None: ...


@contextmanager
def moving(console: Console) -> Iterator[Moving]:
    """Show how many pictures are settled."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (TextColumn("  settled"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Bar(progress)


class _Bar:
    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.task = progress.add_task("", total=None)

    def update(self, done: int, total: int) -> None:
        self.progress.update(self.task, completed=done, total=total)


class _Lines:
    def __init__(self, console: Console) -> None:
        self.console = console
        self.last = 0.0

    def update(self, done: int, total: int) -> None:
        if time.monotonic() - self.last >= LINE_EVERY:
            self.last = time.monotonic()
            self.console.print(f"  {done} of {total} settled")
