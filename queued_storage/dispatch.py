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

from . import applied, catalog, conf, hooks, hosts, logs, sampling, watermarks
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


class HostDispatcher(Dispatcher, Protocol):
    """One that can start work on a certain host, where the first tier is each host's own."""

    def dispatch_to(self, host: str, ids: Sequence[int]) -> None:
        """Start the work of these rows on that host."""

    def tend(self, host: str) -> None:
        """Have ``dispatch.tend(host)`` called on that host."""


class ImmediateDispatcher:
    """Does the work at once, in the process that saved: for tests, commands and small sites."""

    def dispatch(self, ids: Sequence[int]) -> None:
        for pk in ids:
            reconcile(pk)

    def dispatch_to(self, host: str, ids: Sequence[int]) -> None:
        if host == conf.host():
            self.dispatch(ids)

    def tend(self, host: str) -> None:
        if host == conf.host():
            tend(host)


class CeleryDispatcher:
    """Sends one Celery message that carries the ids."""

    def dispatch(self, ids: Sequence[int]) -> None:
        import_module("queued_storage.tasks").publish(ids)  # by name: Celery is imported there alone

    def dispatch_to(self, host: str, ids: Sequence[int]) -> None:
        import_module("queued_storage.tasks").publish(ids, host)

    def tend(self, host: str) -> None:
        import_module("queued_storage.tasks").publish_tend(host)


class TasksDispatcher:
    """Enqueues one task of Django's own tasks framework (Django 6.0 and later) that carries the ids."""

    def dispatch(self, ids: Sequence[int]) -> None:
        import_module("queued_storage.django_tasks").enqueue(ids)

    def dispatch_to(self, host: str, ids: Sequence[int]) -> None:
        import_module("queued_storage.django_tasks").enqueue(ids, host)

    def tend(self, host: str) -> None:
        import_module("queued_storage.django_tasks").enqueue_tend(host)


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
            applied.note(chains[alias])
            watermarks.relieve(chains[alias])
    catalog.expire(timezone.now(), MAX_SWEPT, chain)  # what is purged from the trash is due like any delete
    now, own = timezone.now(), chains.with_own_tiers()
    # What a host alone can do, it sends itself on its way, when it shows the sign of life that it is asked for.
    of_hosts = catalog.is_for_any(catalog.alive(now)) if own else None
    due = catalog.due_ids(now, MAX_SWEPT, chain, of_hosts=of_hosts)
    count = sum(_dispatch(batch) for batch in _batches(due))
    if own:
        for host in catalog.to_ask(now):
            _have_tended(host)
    prune()
    sampling.take(chain)
    return count


def tend(host: str) -> None:
    """Show a sign of life of this host, clear what others deleted of its files, and send off what it alone can do.

    Called for another host it does nothing, but say so in the log: its queue is not this host's to listen to.
    """
    if host != conf.host():
        logs.warning("not_this_host", host=host, here=conf.host(), next="see QUEUED_STORAGE_HOST")
        return
    hosts.show(now=True)
    hosts.clear_owed()
    for chain in chains.with_own_tiers():
        watermarks.relieve(chain)
        due = catalog.due_ids(timezone.now(), MAX_SWEPT, chain.alias, of_hosts=catalog.is_due_there(host))
        for batch in _batches(due):
            _dispatch_to(host, batch)


def ask(host: str) -> None:
    """Ask the host for a sign of life."""
    catalog.ask(host)
    _have_tended(host)


def hand_on(ids: Sequence[int]) -> None:
    """Send off, behind what others wait for, what a worker did not come to."""
    host_of = catalog.hosts_of(ids) if chains.with_own_tiers() else {}
    _dispatch_each([(host_of.get(pk), pk) for pk in ids])


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


def purge(chain: str | None = None, *, dry_run: bool = False) -> int:
    """Have removed what has been in the trash (of one chain) for its time; return how many files. They are due then."""
    now = timezone.now()
    if dry_run:
        return catalog.expired(now, chain).count()
    count = 0
    while some := catalog.expire(now, MAX_SWEPT, chain):
        count += some
    return count


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
    _dispatch_each([(row.for_host or row.host, row.pk) for row in by_turns(rows, lambda row: row.chain)])


def _dispatch_each(found: Iterable[tuple[str | None, int]]) -> None:
    """Send the rows to the queue of their host, or of all."""
    by_host: dict[str | None, list[int]] = {}
    for host, pk in found:
        by_host.setdefault(host, []).append(pk)
    for host, ids in by_host.items():
        for batch in _batches(ids):
            _dispatch_to(host, batch)


def _batches(ids: Iterable[int]) -> Iterator[list[int]]:
    ids = iter(ids)
    while batch := list(islice(ids, conf.get("BATCH"))):
        yield batch


def _dispatch(ids: list[int]) -> int:
    _dispatcher(conf.get("DISPATCHER")).dispatch(ids)
    return len(ids)


def _dispatch_to(host: str | None, ids: list[int]) -> None:
    dispatcher = _dispatcher(conf.get("DISPATCHER"))
    if host is not None and can_reach_hosts(dispatcher):
        dispatcher.dispatch_to(host, ids)  # type: ignore[attr-defined]
    else:
        _dispatch(ids)


def _have_tended(host: str) -> None:
    dispatcher = _dispatcher(conf.get("DISPATCHER"))
    if can_reach_hosts(dispatcher):
        dispatcher.tend(host)  # type: ignore[attr-defined]
    elif host == conf.host():
        tend(host)


def can_reach_hosts(dispatcher: object) -> bool:
    """Tell whether the dispatcher, or its class, can start work on a certain host."""
    return hasattr(dispatcher, "dispatch_to") and hasattr(dispatcher, "tend")


@lru_cache
def _dispatcher(path: str) -> Dispatcher:
    dispatcher: Dispatcher = import_string(path)()
    return dispatcher


@receiver(setting_changed, dispatch_uid="queued_storage.dispatch")
def forget_dispatcher(*, setting: str, **_: Any) -> None:
    if setting == "QUEUED_STORAGE_DISPATCHER":
        _dispatcher.cache_clear()
