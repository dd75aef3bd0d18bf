"""How work starts. What is dispatched is a hint: the catalog knows what is owed, and the sweep finds lost hints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from django.core.signals import setting_changed
from django.db import connections, transaction
from django.dispatch import receiver
from django.utils import timezone
from django.utils.module_loading import import_string

from . import catalog, conf, hooks, sampling, watermarks
from .chain import chains
from .reconcile import reconcile
from .turns import by_turns

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from .models import StoredFile

#: Files that one sweep sends off at most: a long backlog is in the queue already, and must not multiply there.
MAX_SWEPT = 10_000


class Dispatcher(Protocol):
    def dispatch(self, ids: Sequence[int]) -> None:
        """Start the work that these rows are owed. It may fail or be lost; it must not block for long."""


class ImmediateDispatcher:
    """Does the work at once, in the process that saved: for tests, commands and small sites."""

    def dispatch(self, ids: Sequence[int]) -> None:
        for pk in ids:
            reconcile(pk)


class CeleryDispatcher:
    """Sends one Celery message that carries the ids."""

    def dispatch(self, ids: Sequence[int]) -> None:
        import_module("queued_storage.tasks").publish(ids)  # by name: Celery is imported there alone


class TasksDispatcher:
    """Enqueues one task of Django's own tasks framework (Django 6.0 and later) that carries the ids."""

    def dispatch(self, ids: Sequence[int]) -> None:
        import_module("queued_storage.django_tasks").enqueue(ids)


def hint(row: StoredFile) -> None:
    """Have the row's work started after commit, together with that of the transaction's other files."""
    # A sweep may come first: it would find the row committed, and of its content nothing, or what it replaces.
    is_put_off = bool(hooks.under_way_elsewhere(row.chain, row.tiers))
    if is_put_off:
        catalog.put_off(row)
    _hint(row, catalog.database(), is_put_off=is_put_off)


def _hint(row: StoredFile, using: str, *, is_put_off: bool) -> None:
    batch = next((waiting.batch for waiting in reversed(_Hint.waiting(using))), [])
    transaction.on_commit(_Hint(row, batch, using, is_put_off=is_put_off), using=using, robust=True)


def sweep(chain: str | None = None) -> int:
    """Dispatch what is due (of one chain) and nobody is working on; return how many files that were.

    Chains take turns, and share what one sweep sends. Once a minute it takes samples for the admin's plots.
    """
    for alias in chains:
        if chain in (None, alias):
            watermarks.relieve(chains[alias])
    count = sum(_dispatch(batch) for batch in _batches(catalog.due_ids(timezone.now(), MAX_SWEPT, chain)))
    prune()
    sampling.take(chain)
    return count


def hand_on(ids: Sequence[int]) -> None:
    """Send off, behind what others wait for, what a worker did not come to."""
    for batch in _batches(ids):
        _dispatch(batch)


def prune(chain: str | None = None, days: float | None = None, *, dry_run: bool = False) -> int:
    """Remove tombstones (of one chain) that are older than so many days, by default HISTORY; return how many.

    Not those of chains with a READ_ONLY tier, whose file they hide, or of chains that this process does not know.
    """
    known = [
        alias
        for alias in chains
        if chain in (None, alias) and not any(tier.read_only for tier in chains[alias])
    ]
    if dry_run:
        return sum(rows.count() for rows in catalog.tombstones(timezone.now(), known, days))
    return catalog.prune(timezone.now(), known, days)


def retry(
    rows: QuerySet[StoredFile],
    limit: int | None = None,
    wanted: Callable[[StoredFile], bool] = lambda row: True,
) -> int:
    """Make failed files due, and those that wait for their next attempt, and have that started; return how many."""
    # Some at a time, each with one message for all of them.
    found, count = filter(wanted, _paged(rows)), 0
    while batch := list(islice(found, conf.get("BATCH") if limit is None else min(conf.get("BATCH"), limit))):
        with transaction.atomic(using=catalog.database()):
            these = catalog.files().filter(pk__in=[row.pk for row in batch])
            count += catalog.retry(these) + catalog.hurry(these)
            for row in batch:
                hint(row)
        limit = None if limit is None else limit - len(batch)
    return count


def _paged(rows: QuerySet[StoredFile]) -> Iterator[StoredFile]:
    """Yield the rows, some at a time: no query lasts while they are changed."""
    last = 0
    while page := list(rows.filter(pk__gt=last).order_by("pk")[: conf.get("BATCH")]):
        yield from page
        last = page[-1].pk


class _Hint(hooks.AfterCommit):
    """The first hint of a transaction to run speaks for all of them."""

    def __init__(self, row: StoredFile, batch: list[_Hint], using: str, *, is_put_off: bool) -> None:
        super().__init__(row)
        self.is_put_off = is_put_off
        self.savepoints = tuple(connections[using].savepoint_ids)
        self.batch = batch
        self.batch.append(self)

    def run(self) -> None:
        hints, self.batch[:] = list(self.batch), []
        if len({hint.savepoints for hint in hints}) > 1:
            # Some may have been rolled back with their savepoint, and nothing is sent for those.
            pks = {hint.row.pk for hint in hints}
            pks.intersection_update(catalog.files().filter(pk__in=pks).values_list("pk", flat=True))
            hints = [hint for hint in hints if hint.row.pk in pks]
        awaited = {chain: hooks.commit_elsewhere(chain) for chain in {hint.row.chain for hint in hints}}
        for hint in hints:
            if (using := awaited[hint.row.chain]) is not None:
                _hint(hint.row, using, is_put_off=hint.is_put_off)
        _send([hint for hint in hints if awaited[hint.row.chain] is None])


def _send(hints: list[_Hint]) -> None:
    if put_off := {hint.row.pk for hint in hints if hint.is_put_off}:
        catalog.make_due(put_off)
    rows = {hint.row.pk: hint.row for hint in hints}.values()
    for batch in _batches(row.pk for row in by_turns(rows, lambda row: row.chain)):
        _dispatch(batch)


def _batches(ids: Iterable[int]) -> Iterator[list[int]]:
    ids = iter(ids)
    while batch := list(islice(ids, conf.get("BATCH"))):
        yield batch


def _dispatch(ids: list[int]) -> int:
    _dispatcher(conf.get("DISPATCHER")).dispatch(ids)
    return len(ids)


@lru_cache
def _dispatcher(path: str) -> Dispatcher:
    dispatcher: Dispatcher = import_string(path)()
    return dispatcher


@receiver(setting_changed, dispatch_uid="queued_storage.dispatch")
def forget_dispatcher(*, setting: str, **_: Any) -> None:
    if setting == "QUEUED_STORAGE_DISPATCHER":
        _dispatcher.cache_clear()
