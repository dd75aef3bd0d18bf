"""``ACK``: a save that returns once so many tiers hold the file, or fails and keeps nothing of it.

The copies are the engine's own, made by an attempt that has the file's lease from the moment its row is written: no
worker is at it meanwhile, and if this process dies, one goes on when the lease is over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Self

from django.db import DatabaseError
from django.utils import timezone

from . import bounded, catalog, committed, hooks
from .attempt import Attempt
from .chain import Chain
from .exceptions import LeaseLost, NotAcknowledged, PermanentFailure
from .heartbeat import Heartbeat
from .reconcile import Reconciliation

if TYPE_CHECKING:
    from .models import StoredFile


def require_own_transaction(chain: Chain) -> None:
    """Raise NotAcknowledged where a rollback of another database than the catalog's would take the copies back."""
    if others := hooks.under_way_elsewhere(chain.alias):
        reason = f"a transaction of database {others[0]!r} is under way, which a tier would join"
        raise NotAcknowledged(chain.alias, "", chain.acks, 0, reason)


def take(row: StoredFile) -> StoredFile:
    """Take the file for the attempt to come, in the transaction that writes its row."""
    return catalog.claim(row.pk) or row


def obtain(chain: Chain, row: StoredFile) -> None:
    """Have as many tiers hold the file as the chain's ACK says; else take it back and raise NotAcknowledged."""
    with bounded.budget(math.inf):  # what others may not hold a save up for is what this one waits for
        if row.lease:
            attempt = Attempt(
                row, own_process=False, heartbeat=_Unneeded if catalog.in_transaction() else Heartbeat
            )
            reconciliation = Reconciliation(attempt)
            reconciliation.run(partial(_make_copies, reconciliation, chain))
        current = catalog.find(chain.alias, row.name)
        if current is not None and current.generation == row.generation and len(current.tiers) >= chain.acks:
            return
        reason = current.last_error if current is not None else ""
        _take_back(chain, row)
    raise NotAcknowledged(
        chain.alias, row.name, chain.acks, len(row.tiers), reason or _too_few_are_wanted(chain)
    )


def _make_copies(reconciliation: Reconciliation, chain: Chain) -> None:
    """Copy to tiers that the policy wants, in their order, until enough hold the file; the rest is a worker's."""
    attempt, row = reconciliation.attempt, reconciliation.row
    attempt.chain = chain
    failure: Exception = PermanentFailure(_too_few_are_wanted(chain))
    for name in chain.assess(row, row.policy, timezone.now()).missing:
        if len(row.tiers) >= chain.acks:
            break
        try:
            reconciliation.copies.make_each((name,))
        except (LeaseLost, DatabaseError):
            raise
        except Exception as error:  # noqa: BLE001 - raised below, unless others hold the file
            failure = error
    if len(row.tiers) < chain.acks:
        raise failure
    assessment = chain.assess(row, row.policy, timezone.now())
    if assessment.is_settled and not row.stale:
        catalog.settle(row, assessment.review_at)
    else:
        catalog.wait(row, timezone.now(), row.stale)


def _too_few_are_wanted(chain: Chain) -> str:
    return f"its policy wants it on fewer than {chain.acks} tiers when it is saved"


def _take_back(chain: Chain, row: StoredFile) -> None:
    """Delete the file, now: what this transaction writes may be rolled back, and the bytes would stay."""
    with catalog.locked(chain.alias, row.name) as current:
        if current is None or current.generation != row.generation:
            return  # others knew the name already, and have deleted the file or saved another
        deleted = catalog.tombstone(chain, row.name)
    committed.clear_now(deleted)


class _Unneeded:
    """The heartbeat of an attempt at a row that nobody else can see, or change, before the transaction is over."""

    def __init__(self, row: StoredFile) -> None:
        self.row = row

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def progress(self, count: int) -> None:
        pass

    def check(self) -> None:
        catalog.renew(self.row)

    @contextmanager
    def resting(self) -> Iterator[None]:
        yield
