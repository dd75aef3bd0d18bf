"""What a save or a delete does once its transaction has committed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from django.db import transaction

from . import bounded, catalog, conf, dispatch, hooks, identity, outage, staging, trash
from .chain import chains
from .reconcile import reconcile

if TYPE_CHECKING:
    from .models import StoredFile


def publish(row: StoredFile, *, robust: bool) -> None:
    """Put the row's staged content in its place, after commit.

    A ``robust`` failure is logged, and left to the engine; else it reaches whoever waits for the save.
    """
    transaction.on_commit(_Publication(row), using=catalog.database(), robust=robust)


def clear(row: StoredFile) -> None:
    """Clear the tiers of the deleted file, after commit."""
    _clear(row, catalog.database())


def _clear(row: StoredFile, using: str) -> None:
    transaction.on_commit(_Clearing(row, using), using=using, robust=True)


def clear_now(row: StoredFile) -> None:
    """Clear the tiers of the deleted file, also inside a transaction; what cannot be reached now stays owed."""
    try:
        reconcile(row.pk)
    finally:
        _Clearing(row, catalog.database()).clear_first_tier()
    if catalog.files().filter(pk=row.pk, generation=row.generation, due_at__isnull=False).exists():
        dispatch.hint(row)


class _Publication(hooks.Publication):
    def run(self) -> None:
        row, tier, staged = self.row, chains[self.row.chain].first, self.row.staged
        first = tier.storage
        with catalog.locked(row.chain, row.name) as current:
            # A worker may have been quicker, and moved the file on.
            if current is not None and current.generation == row.generation and current.staged:
                staging.publish_kept(first, row.name, staged, row.size, durable=tier.fsync)
                catalog.record_published(row)
        staging.discard(first, row.name, staged)


class _Patience:
    """How long the deletes of one transaction may hold up, together, the process that commits it."""

    def __init__(self) -> None:
        self._ends: float | None = None

    def left(self) -> float:
        if self._ends is None:
            self._ends = time.monotonic() + conf.get("DEADLINE") / 3
        return self._ends - time.monotonic()


class _Clearing(hooks.Deletion):
    """Clears as many tiers as it has patience for; the rest stays owed."""

    def __init__(self, row: StoredFile, using: str) -> None:
        super().__init__(row)
        before = self.waiting(using)
        self.patience: _Patience = before[-1].patience if before else _Patience()

    def run(self) -> None:
        of_this_generation = catalog.files().filter(pk=self.row.pk, generation=self.row.generation)
        if not of_this_generation.exists():
            return  # saved again in the same transaction
        if (using := hooks.commit_elsewhere(self.row.chain)) is not None:
            _clear(self.row, using)
            if self.row.owes_trash:
                return  # a rollback of that one would take what is kept away again
            self.clear_first_tier()  # in that transaction, if it is that database: then it comes back with a rollback
            return
        try:
            with bounded.spending(self.patience.left(), leaving=conf.get("DEADLINE") / 4) as seconds:
                if seconds > 0:
                    reconcile(self.row.pk, deadline=seconds)
        finally:
            self.clear_first_tier()
        if of_this_generation.filter(due_at__isnull=False).exists():
            dispatch.hint(self.row)

    def clear_first_tier(self) -> None:
        """See to it, whatever became of the rest: readers ask the first tier without the catalog."""
        row = self.row
        chain = chains[row.chain]
        first = chain.first
        with catalog.locked(row.chain, row.name) as current:
            # Else it was cleared by a worker already, and the name may be another save's by now.
            is_owed = (
                current is not None
                and current.generation == row.generation
                and first.name in current.stale
                and not chain.is_elsewhere(first, current)
            )
            if is_owed and identity.holds(first):
                with outage.discretion(first):  # what a hook raises goes into the log
                    if current is not None and current.owes_trash:
                        trash.keep_nearby(chains[row.chain], current)
                    first.storage.delete(row.name)
