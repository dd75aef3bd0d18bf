"""Many files at once: claimed together, copied by several threads, recorded together.

A file whose work is one plain copy needs a share of a handful of statements here. Any other work is ``reconcile``'s,
file by file, and so is what comes after the copy. What is promised for one file holds for each of many: the steps are
the same, in the same order, and each row is guarded for itself.
"""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import takewhile
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NoReturn
from weakref import WeakSet

from django.db import DatabaseError, connections
from django.utils import timezone

from . import catalog, conditional, conf, disk, hooks, hosts, identity, tracing, traits, windows
from .attempt import Attempt
from .brakes import Cap
from .chain import Chain, chains
from .copies import Made
from .exceptions import LeaseLost, UnknownChain
from .heartbeat import Moment, SharedHeartbeat
from .reconcile import Reconciliation, chain_of, reconcile
from .slots import Turn
from .tier import Tier
from .turns import by_turns

if TYPE_CHECKING:
    from .models import StoredFile

#: Copies that are recorded at once, at most; and seconds for which one that is done waits for others.
RECORDED_AT_ONCE = 50
PATIENCE = 0.2
#: Seconds after which a worker begins nothing more of a message: what others sent meanwhile has its turn.
SHIFT = 30.0

Destination = tuple[str, str]


def work(
    pks: Sequence[int],
    *,
    own_process: bool = False,
    hand_on: Callable[[Sequence[int]], None] | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[int]:
    """Do the work that these rows are owed, as ``reconcile`` does; yield the key of each that was worked on.

    ``hand_on`` takes those that are not begun within a SHIFT; without it, all are done here. Once ``stopping`` says so
    no more are begun: those stay due, and what is begun is ended.
    """
    ends_at = None if hand_on is None else time.monotonic() + SHIFT
    left = dict.fromkeys(pks)
    if len(pks) > 1 and conf.get("FAST_PATHS") and not hooks.are_others_under_way():
        for pk in _Batch(own_process=own_process, ends_at=ends_at, stopping=stopping).copy_all(pks):
            del left[pk]
            yield pk
    # Those whose tier is at its limit are passed over, and waited for when nothing else is left to do.
    for waits in (False, True):
        busy: list[int] = []
        while left and not _is_over(ends_at) and not stopping():
            pk = next(iter(left))
            del left[pk]
            patience = _time_left(ends_at) if waits else 0
            worked = reconcile(pk, own_process=own_process, patience=patience, when_busy=busy.append)
            if worked and pk not in busy[-1:]:
                yield pk
        left |= dict.fromkeys(busy)
    if left and hand_on is not None:
        hand_on(list(left))


def _time_left(ends_at: float | None) -> float | None:
    return None if ends_at is None else max(ends_at - time.monotonic(), 0)


def _is_over(ends_at: float | None) -> bool:
    return _time_left(ends_at) == 0


def drain(
    limit: int | None = None,
    chain: str | None = None,
    *,
    own_process: bool = True,
    again: bool = True,
    stopping: Callable[[], bool] = lambda: False,
    cap: Cap | None = None,
) -> Iterator[int]:
    """Do due work here until none is left (or ``limit`` files were tried); yield the id of each file worked on.

    ``cap`` is how much may be begun: files that do not fit stay due.

    ``again`` says whether a file is worked on once more that falls due once more meanwhile. Once ``stopping`` says so,
    no more is begun.
    """
    done, passed = 0, set[int]()
    of_hosts = None
    if chains.with_own_tiers():
        of_hosts = catalog.is_for(conf.host())
        hosts.show(now=True)
        hosts.clear_owed()
    while not stopping() and (batch := catalog.due_ids(
        timezone.now(),
        conf.get("BATCH") if limit is None else min(conf.get("BATCH"), limit - done),
        chain,
        passed=passed,
        of_hosts=of_hosts,
    )):  # fmt: skip
        before = done
        if cap is not None and cap.is_set and not (batch := _within(cap, batch)):
            return
        for pk in work(batch, own_process=own_process, stopping=stopping):
            done += 1
            yield pk
        if not again:
            passed.update(batch)
        elif done == before:  # what is left is in the hands of others
            return


def _within(cap: Cap, pks: Sequence[int]) -> list[int]:
    """Return those of the files, from the first on, that the cap takes."""
    sizes = dict(catalog.files().filter(pk__in=pks).values_list("pk", "size"))
    return list(takewhile(lambda pk: cap.takes(sizes.get(pk)), pks))


class _Batch:
    """The plain copies among some rows' work."""

    def __init__(self, *, own_process: bool, ends_at: float | None, stopping: Callable[[], bool]) -> None:
        self._own_process = own_process
        #: When no more copies are begun, by ``time.monotonic()``.
        self._ends_at = ends_at
        self._stopping = stopping
        #: Copies, as they are done or given back.
        self._done: SimpleQueue[Future[Made]] = SimpleQueue()

    def copy_all(self, pks: Iterable[int]) -> Iterator[int]:
        """Make the copies; yield the keys of files that were worked on. The others stay due."""
        claimed = Moment()
        destinations = self._claim(pks)
        if not destinations:
            return
        rows = [row for row, _ in destinations]
        with SharedHeartbeat(rows, claimed) as self._heartbeat:
            running = self._begin([self._copy(row, tier) for row, tier in destinations])
            try:
                while running:
                    ready = self._wait(running, min(RECORDED_AT_ONCE, len(running)))
                    done = {future: running.pop(future) for future in ready}
                    self._record(done)
                    yield from (copy.row.pk for copy in done.values() if not copy.attempt.was_busy)
                    if _is_over(self._ends_at) or self._stopping():
                        self._give_back_unbegun(running)
            finally:
                self._give_back_unbegun(running)

    def _give_back_unbegun(self, running: dict[Future[Made], _Copy]) -> None:
        """Leave to others, at once, what was not begun; the rest goes on running."""
        for future in [future for future in running if future.cancel()]:
            copy = running.pop(future)
            self._heartbeat.done(copy.row)
            with suppress(LeaseLost):
                catalog.wait(copy.row, timezone.now(), copy.row.stale)

    def _copy(self, row: StoredFile, destination: Tier) -> _Copy:
        return _Copy(row, destination, self._heartbeat)

    def _claim(self, pks: Iterable[int]) -> list[tuple[StoredFile, Tier]]:
        """Claim the rows whose work is a plain copy; return each with the tier that it goes to."""
        destinations: dict[int, Tier] = {}
        unknown = set[Chain]()

        def goes_to(row: StoredFile) -> str | None:
            try:
                chain = chain_of(row)
            except UnknownChain:
                return None
            if chain not in _known.chains:
                unknown.add(chain)
            elif (tier := _destination(row)) is not None:
                destinations[row.pk] = tier
                return tier.name
            return None

        rows = catalog.claim_each(pks, goes_to)
        if unknown:  # to build storages may take a while, in which no row is to be locked
            for chain in unknown:
                _get_to_know(chain)
            rows += catalog.claim_each(set(pks).difference(destinations), goes_to)
        return [(row, destinations[row.pk]) for row in rows]

    def _begin(self, copies: list[_Copy]) -> dict[Future[Made], _Copy]:
        for chain in {copy.attempt.chain for copy in copies}:
            identity.load(chain)
        running = {copy.begin(): copy for copy in by_turns(copies, lambda copy: copy.row.chain)}
        for future in running:
            future.add_done_callback(self._done.put)
        return running

    def _wait(self, running: Container[Future[Made]], count: int) -> list[Future[Made]]:
        """Wait for copies that are done: for so many at a time, but not for long."""
        first = self._next(running, PATIENCE)
        if first is None:
            self._hang_up()
            first = self._next(running, _time_left(self._ends_at) or None)
        done = [] if first is None else [first]
        until = time.monotonic() + PATIENCE
        while done and len(done) < count:
            another = self._next(running, max(until - time.monotonic(), 0))
            if another is None:
                break
            done.append(another)
        return done

    def _next(self, running: Container[Future[Made]], seconds: float | None) -> Future[Made] | None:
        """Return one that is done, and was not given back; None if there is none for so long (None: for ever)."""
        while True:
            try:
                done = self._done.get(timeout=seconds)
            except Empty:
                return None
            if done in running:
                return done

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
        copy.attempt.patience = 0  # others wait to be recorded
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
        copies = self.reconciliation.copies
        self._turn = Turn([copies.first_source(destination), destination])

    def begin(self) -> Future[Made]:
        """Have the copy made in a thread of the pool, once there is a slot for it; until then it holds no thread."""
        made: Future[Made] = Future()
        made.add_done_callback(lambda _: self._turn.end())
        self._turn.begin(partial(_pool().submit, tracing.carried(partial(self._make, made))))
        return made

    def _make(self, made: Future[Made]) -> None:
        """Copy, in a thread of the pool, where the catalog is not asked."""
        if not made.set_running_or_notify_cancel():
            return
        try:
            copies = self.reconciliation.copies
            result = copies.copy_from_any(self.destination, self._turn, replace=False)
        except BaseException as error:  # noqa: BLE001 - raised by who asks for the result
            made.set_exception(error)
            del made  # it would lead to itself, by the error's traceback
        else:
            made.set_result(result)


class _Known(threading.local):
    """The chains whose storages this thread has built."""

    def __init__(self) -> None:
        self.chains: WeakSet[Chain] = WeakSet()


_known = _Known()


def _get_to_know(chain: Chain) -> None:
    _known.chains.add(chain)
    with suppress(Exception):  # the engine meets it for the one file, and tells it
        for tier in chain:
            _ = tier.storage


def _destination(row: StoredFile) -> Tier | None:
    """Return the one tier that lacks the file, where a plain copy there is what comes first."""
    is_plain = row.is_live and not (
        row.staged or row.stale or row.lost or row.owes_trash or catalog.is_doubted(row)
    )
    if not is_plain or row.attempts > conf.get("RETRIES"):  # the engine refuses what killed its workers
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
    windows.require(destination, [chain[name] for name in row.tiers if name in chain])
    if chain.has_elsewhere(row):
        return None
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
