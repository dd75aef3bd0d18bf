"""The sign of life of a long copy."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from django.db import DatabaseError, connections

from . import catalog, conf
from .exceptions import AttemptTooLong, LeaseLost

if TYPE_CHECKING:
    from .models import StoredFile


class _Beating:
    """A thread that beats for as long as this is entered."""

    def __init__(self) -> None:
        self._end = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._beat, name="queued-storage-lease", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()

    @abstractmethod
    def _beat(self) -> None:
        """Beat until the end is set."""


class Heartbeat(_Beating):
    """Renews the lease of a long copy for as long as bytes flow, and stops a copy whose lease is over.

    A worker that was paused beyond its lease finds that out by the clock, before its next byte and before it
    publishes: its beat was paused with it.
    """

    def __init__(self, row: StoredFile) -> None:
        super().__init__()
        self.row = row
        self._lease = float(conf.get("LEASE"))
        self._limit = float(conf.get("ATTEMPT_LIMIT"))
        self._begun = Moment()
        self._flowed = False
        self._rests = False
        self._lost = False
        self._renewed = Moment()

    def progress(self, count: int) -> None:
        self._flowed = True
        if self._rests:
            return
        if self._lost or self._renewed.age() > self._lease:
            raise LeaseLost(f"the lease of {self.row} ran out")
        if self._begun.age() > self._limit:
            raise AttemptTooLong(f"the copy was not done within ATTEMPT_LIMIT ({self._limit:g} s)")

    def check(self) -> None:
        """Raise LeaseLost unless the catalog says that the row is this attempt's."""
        self._renew()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Need no sign of life inside: the row is locked, so nobody can take the file over."""
        self._rests = True
        try:
            yield
            self._renew()
        finally:
            self._rests = False

    def _renew(self) -> None:
        renewed = Moment()
        catalog.renew(self.row)
        self._renewed = renewed

    def _beat(self) -> None:
        while not self._end.wait(self._lease / 3):
            if not self._flowed or self._rests:
                continue
            self._flowed = False
            try:
                self._renew()
            except LeaseLost:
                self._lost = True
                return
            except DatabaseError:
                self._flowed = True  # tried again at the next beat; progress() knows when it is too late
            finally:
                connections.close_all()


class SharedHeartbeat(_Beating):
    """The sign of life of many copies under one lease: one statement for all whose bytes flow, or have yet to.

    A copy that stands still is not spoken for: its file is another's when the lease is over. The lease counts from when
    it was ``claimed``, by default from now.
    """

    def __init__(self, rows: Iterable[StoredFile], claimed: Moment | None = None) -> None:
        super().__init__()
        self._rows = {row.pk: row for row in rows}
        self._lease = float(conf.get("LEASE"))
        #: Whether bytes have flowed since the last beat, of those that are being copied.
        self._flows: dict[int, bool] = {}
        self._lock = threading.Lock()
        self._renewed = dict.fromkeys(self._rows, claimed or Moment())
        self._lost: set[int] = set()

    def of(self, row: StoredFile) -> PartHeartbeat:
        """Return the heartbeat of one of the files, to be entered while it is copied."""
        return PartHeartbeat(self, row)

    def done(self, row: StoredFile) -> None:
        """Speak for the file no more: its attempt is over, or another's to go on with."""
        self._rows.pop(row.pk, None)

    def begin(self, pk: int) -> None:
        with self._lock:
            self._flows[pk] = True

    def end(self, pk: int) -> None:
        """Speak for the file whether bytes flow or not: it waits to be recorded."""
        with self._lock:
            self._flows.pop(pk, None)

    def flow(self, pk: int) -> None:
        self.begin(pk)
        if pk in self._lost or self._renewed[pk].age() > self._lease:
            raise LeaseLost("the lease ran out")

    def _beat(self) -> None:
        while not self._end.wait(self._lease / 3):
            with self._lock:
                rows = [row for row in list(self._rows.values()) if self._flows.get(row.pk, True)]
                self._flows = dict.fromkeys(self._flows, False)
            if rows:
                self._renew(rows)

    def _renew(self, rows: list[StoredFile]) -> None:
        renewed = Moment()
        try:
            lost = catalog.renew_each(rows)
        except DatabaseError:
            return  # tried again at the next beat; flow() knows when it is too late
        finally:
            connections.close_all()
        self._lost |= lost
        for row in rows:
            self._renewed[row.pk] = renewed
        for pk in lost:
            self._rows.pop(pk, None)


class PartHeartbeat:
    """One file's part in a shared heartbeat."""

    def __init__(self, shared: SharedHeartbeat, row: StoredFile) -> None:
        self._shared = shared
        self._pk: int = row.pk
        self._begun = Moment()
        self._limit = float(conf.get("ATTEMPT_LIMIT"))

    def progress(self, count: int) -> None:
        self._shared.flow(self._pk)
        if self._begun.age() > self._limit:
            raise AttemptTooLong(f"the copy was not done within ATTEMPT_LIMIT ({self._limit:g} s)")

    def check(self) -> None:
        """Raise LeaseLost if the lease is over by the clock, or was seen to be lost; the record at the end knows."""
        self._shared.flow(self._pk)

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Need no sign of life inside."""
        yield

    def __enter__(self) -> Self:
        self._begun = Moment()
        self._shared.begin(self._pk)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shared.end(self._pk)


class Moment:
    """A point in time whose age, in seconds, counts pauses of the process and of the machine."""

    def __init__(self) -> None:
        self._monotonic, self._wall = time.monotonic(), time.time()

    def age(self) -> float:
        return max(time.monotonic() - self._monotonic, time.time() - self._wall)
