"""What 0.8's callers had from Celery's AsyncResult, told from the catalog."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from . import catalog
from .exceptions import TransferFailed

if TYPE_CHECKING:
    from .storage import TieredStorage


class TransferResult:
    """What became of a transfer that was asked for."""

    def __init__(self, storage: TieredStorage, name: str) -> None:
        self._storage = storage
        self.name = name

    def __repr__(self) -> str:
        return f"<TransferResult of {self.name!r}: {self.state}>"

    @property
    def state(self) -> str:
        """ "PENDING", "SUCCESS" or "FAILURE"."""
        states = {"settled": "SUCCESS", "failed": "FAILURE"}
        return states.get(self._storage.state(self.name) or "", "PENDING")

    status = state

    def ready(self) -> bool:
        return self.state != "PENDING"

    def successful(self) -> bool:
        return self.state == "SUCCESS"

    def failed(self) -> bool:
        return self.state == "FAILURE"

    def get(self, timeout: float | None = None, propagate: bool = True, interval: float = 0.5) -> bool:
        """Wait until the file was moved, and return whether it was.

        Raise TransferFailed if it failed (unless ``propagate`` is false), TimeoutError after ``timeout`` seconds,
        FileNotFoundError if the file is deleted.
        """
        ends_at = None if timeout is None else time.monotonic() + timeout
        while not self.ready():
            if self._storage.state(self.name) is None:
                raise FileNotFoundError(self.name)
            if ends_at is not None and time.monotonic() >= ends_at:
                raise TimeoutError(f"{self.name!r} is still to be moved after {timeout} s.")
            time.sleep(interval)  # nothing tells another process of the worker's success but the row
        if self.failed() and propagate:
            raise TransferFailed(self._reason())
        return self.successful()

    wait = get

    def _reason(self) -> str:
        row = catalog.find(self._storage.alias, self.name)
        return row.last_error if row is not None else ""


class _Last(threading.local):
    """The name of the last file that this thread saved, by chain."""

    def __init__(self) -> None:
        self.names: dict[str, str | None] = {}


_last = _Last()


def note_result(storage: TieredStorage, name: str | None) -> None:
    """Remember what was saved last; None where no transfer was asked for."""
    _last.names[storage.alias] = name


def last_result(storage: TieredStorage) -> TransferResult | None:
    name = _last.names.get(storage.alias)
    return None if name is None else TransferResult(storage, name)
