"""Many files at once: claimed together, copied by several threads, recorded together.

A file whose work is one plain copy needs a share of a handful of statements here. Any other work is ``reconcile``'s,
file by file, and so is what comes after the copy. What is promised for one file holds for each of many: the steps are
the same, in the same order, and each row is guarded for itself.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from django.db import DatabaseError, connections
from django.utils import timezone

from . import catalog, conditional, conf, disk, hooks, traits
from .attempt import Attempt
from .copies import Made
from .exceptions import LeaseLost
from .heartbeat import SharedHeartbeat
from .reconcile import Reconciliation, chain_of, reconcile
from .tier import Tier

if TYPE_CHECKING:
    from .models import StoredFile

#: Copies that are recorded at once, at most; and seconds for which one that is done waits for others.
RECORDED_AT_ONCE = 50
PATIENCE = 0.2

Destination = tuple[str, str]


def work(pks: Sequence[int], *, own_process: bool = False) -> Iterator[int]:
    """Do the work that these rows are owed, as ``reconcile`` does; yield the key of each that was worked on."""
    done: set[int] = set()
    if len(pks) > 1 and conf.get("FAST_PATHS") and not hooks.are_others_under_way():
        for pk in _Batch(own_process=own_process).copy_all(pks):
            done.add(pk)
            yield pk
    for pk in pks:
        if pk not in done and reconcile(pk, own_process=own_process):
            yield pk


def drain(
    limit: int | None = None, chain: str | None = None, *, own_process: bool = True, again: bool = True
) -> Iterator[int]:
    """Do due work here until none is left (or ``limit`` files were tried); yield the id of each file worked on.

    ``again`` says whether a file is worked on once more that falls due once more meanwhile.
    """
    done, passed = 0, set[int]()
    while batch := _due_ids(
        conf.get("BATCH") if limit is None else min(conf.get("BATCH"), limit - done), chain, passed
    ):
        before = done
        for pk in work(batch, own_process=own_process):
            done += 1
            yield pk
        if not again:
            passed.update(batch)
        elif done == before:  # what is left is in the hands of others
            return


def _due_ids(count: int, chain: str | None, passed: set[int]) -> list[int]:
    """Return ids of due rows, longest due first: those that were passed and are due again come last."""
    due = catalog.due(timezone.now(), chain).values_list("pk", flat=True)
    ids = list(due[:count])
    if passed.intersection(ids):
        ids = [pk for pk in due[: count + len(passed)] if pk not in passed][:count]
    return ids


class _Batch:
    """The plain copies among some rows' work."""

    def __init__(self, *, own_process: bool) -> None:
        self._own_process = own_process

    def copy_all(self, pks: Iterable[int]) -> Iterator[int]:
        rows = catalog.claim_each(pks)
        destinations = {row.pk: tier for row in rows if (tier := _destination(row)) is not None}
        if others := [row for row in rows if row.pk not in destinations]:
            catalog.give_back_each(others)
        if not destinations:
            return
        rows = [row for row in rows if row.pk in destinations]
        with SharedHeartbeat(rows) as self._heartbeat:
            running = self._begin([self._copy(row, destinations[row.pk]) for row in rows])
            yield from destinations.keys() - {copy.row.pk for copy in running.values()}
            try:
                while running:
                    done = {future: running.pop(future) for future in self._wait(running)}
                    self._record(done)
                    yield from (copy.row.pk for copy in done.values())
            finally:
                self._give_back([copy for future, copy in running.items() if future.cancel()])

    def _give_back(self, copies: list[_Copy]) -> None:
        """Leave to others, at once, what was not begun when this was interrupted."""
        for copy in copies:
            with suppress(LeaseLost):
                catalog.wait(copy.row, timezone.now(), copy.row.stale)

    def _copy(self, row: StoredFile, destination: Tier) -> _Copy:
        return _Copy(row, destination, self._heartbeat)

    def _begin(self, copies: list[_Copy]) -> dict[Future[Made], _Copy]:
        by_destination: dict[Destination, list[_Copy]] = defaultdict(list)
        for copy in copies:
            by_destination[copy.row.chain, copy.destination.name].append(copy)
        running = {}
        for (_, tier), alike in by_destination.items():
            lost = catalog.note_writing_each([copy.row for copy in alike], tier)
            for copy in alike:
                if copy.row.pk in lost:
                    self._go_on(copy, partial(_raise, LeaseLost(f"{copy.row} was lost")))
                else:
                    running[_pool().submit(copy.make)] = copy
        return running

    def _wait(self, running: dict[Future[Made], _Copy]) -> Iterable[Future[Made]]:
        """Wait for copies that are done: for some at a time, but not for long."""
        done = wait(running, PATIENCE, FIRST_COMPLETED).done
        if not done:
            self._hang_up()
            done = wait(running, return_when=FIRST_COMPLETED).done
        if len(done) < min(RECORDED_AT_ONCE, len(running)):
            done = wait(running, PATIENCE).done
        return list(done)[:RECORDED_AT_ONCE]

    def _hang_up(self) -> None:
        """Keep no idle connection to the database while bytes flow, unless others of this thread use it."""
        if self._own_process and not connections[catalog.database()].in_atomic_block:
            connections[catalog.database()].close()

    def _record(self, done: dict[Future[Made], _Copy]) -> None:
        by_destination: dict[Destination, list[tuple[_Copy, Made]]] = defaultdict(list)
        for future, copy in done.items():
            if (error := future.exception()) is None:
                by_destination[copy.row.chain, copy.destination.name].append((copy, future.result()))
            elif isinstance(error, LeaseLost | DatabaseError) or not isinstance(error, Exception):
                self._go_on(copy, partial(_raise, error))
            else:
                self._go_on(copy, partial(_raise, copy.attempt.named(copy.destination, error)))
        for copies in by_destination.values():
            self._record_copies(copies)

    def _record_copies(self, copies: list[tuple[_Copy, Made]]) -> None:
        first = copies[0][0]
        facts = [(copy.row, made.facts) for copy, made in copies]
        unsettled, lost = catalog.record_copies(first.attempt.chain, first.destination.name, facts)
        more = {row.pk for row in unsettled}
        for copy, made in copies:
            if copy.row.pk in lost:
                self._go_on(copy, partial(_raise, LeaseLost(f"{copy.row} was lost")))
                continue
            copy.reconciliation.copies.recorded(first.destination, made)
            if copy.row.pk in more:
                self._go_on(copy)
            else:
                self._heartbeat.done(copy.row)

    def _go_on(self, copy: _Copy, work: Callable[[], None] | None = None) -> None:
        """Have the engine go on with the one file, or tell it what came of it."""
        self._heartbeat.done(copy.row)
        copy.attempt.heartbeat, copy.attempt.own_process = Attempt.HEARTBEAT, self._own_process
        if not copy.reconciliation.run(work):
            reconcile(copy.row.pk, own_process=self._own_process)


class _Copy:
    """The one copy that a row lacks."""

    def __init__(self, row: StoredFile, destination: Tier, heartbeat: SharedHeartbeat) -> None:
        self.row = row
        self.destination = destination
        # Threads of the pool do not use the catalog, so that no connection has to be closed there.
        self.attempt = Attempt(row, own_process=False, heartbeat=heartbeat.of)
        self.attempt.chain = chain_of(row)
        self.reconciliation = Reconciliation(self.attempt)

    def make(self) -> Made:
        """Copy, in a thread of the pool, where the catalog is not asked."""
        return self.reconciliation.copies.copy_from_any(self.destination, replace=False)


def _destination(row: StoredFile) -> Tier | None:
    """Return the one tier that lacks the file, where a plain copy there is what comes first."""
    is_plain = row.is_live and not (row.staged or row.stale or row.lost)
    if not is_plain or row.attempts > conf.get("RETRIES") + 1:  # the engine refuses what killed its workers
        return None
    try:
        destination = _lacking(row)
    except Exception:  # noqa: BLE001 - the engine meets it for the one file, and tells it
        return None
    return destination


def _lacking(row: StoredFile) -> Tier | None:
    chain = chain_of(row)
    assessment = chain.assess(row, row.policy, timezone.now())
    if len(assessment.missing) != 1 or chain.policy_of(row, row.policy).copier is not None:
        return None
    destination = chain[assessment.missing[0]]
    sources = (chain[name].storage for name in row.tiers if name in chain)
    is_quick = _takes_many(destination) and all(
        traits.is_local(each) or traits.is_s3(each) for each in sources
    )
    return destination if is_quick and not destination.is_first else None


def _takes_many(tier: Tier) -> bool:
    """Tell whether many connections at a time are no burden: SFTP and FTP servers, say, refuse more than a few."""
    return disk.can_stage(tier.storage) or conditional.can_save(tier.storage)


_pools: dict[int, ThreadPoolExecutor] = {}


def _pool() -> ThreadPoolExecutor:
    """Return this process' threads: they keep their connections to the tiers."""
    pid = os.getpid()
    if pid not in _pools:
        _pools.clear()
        _pools[pid] = ThreadPoolExecutor(conf.get("THREADS"), "queued-storage-copy")
    return _pools[pid]


def _raise(error: BaseException) -> NoReturn:
    raise error
