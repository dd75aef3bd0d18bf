"""One attempt at one file: what it knows, how it asks a tier, and in which words it tells what went wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, connections, transaction
from django.dispatch import Signal

from . import catalog, conf, credentials, outage, traits
from .chain import Chain
from .exceptions import NoPatience, PermanentFailure, QueuedStorageError, TierBusy
from .heartbeat import Heartbeat
from .slots import Turn
from .tier import Tier

if TYPE_CHECKING:
    from .models import StoredFile


class Attempt:
    """An attempt holds the row's lease; what its parts have in common is kept here."""

    #: Makes the sign of life of a copy.
    HEARTBEAT: Callable[[StoredFile], Any] = Heartbeat

    def __init__(
        self,
        row: StoredFile,
        deadline: float | None = None,
        *,
        own_process: bool,
        heartbeat: Callable[[StoredFile], Any] = Heartbeat,
        patience: float | None = None,
    ) -> None:
        self.row = row
        #: Seconds to wait for a slot at a tier with a CONCURRENCY; the lease is not renewed meanwhile.
        self.patience = conf.get("LEASE") / 3 if patience is None else patience
        #: Whether it ended since a tier had no slot for it.
        self.was_busy = False
        self.heartbeat = heartbeat
        self.ends_at = None if deadline is None else time.monotonic() + deadline
        self.own_process = own_process
        #: Tiers on which this attempt wrote or deleted, and has not yet recorded it.
        self.touched: dict[str, Tier] = {}
        #: Whether a call of this attempt goes on in another thread.
        self.lingers = False
        self.chain: Chain

    def tiers_with_copies(self) -> list[Tier]:
        """Return the tiers with copies that this host reaches."""
        return self.chain.holders(self.row)

    def ask(self, tier: Tier, question: Callable[[], None]) -> None:
        """Ask within the tier's TIMEOUT, and within what is left of this attempt's deadline."""
        left = None if self.ends_at is None else self.ends_at - time.monotonic()
        if left is not None and left <= 0 and not traits.is_local(tier.storage):
            raise NoPatience(tier.name, "there was no time left to ask it")
        outage.ask(tier, question, left)

    @contextmanager
    def speaking_of(self, tier: Tier) -> Iterator[None]:
        """Have what the tier's backend raises inside tell the tier's name, and no secret."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised, as the tier's
            raise self.named(tier, error) from None

    def named(self, tier: Tier, error: Exception) -> Exception:
        """Return the error with the tier's name in front and no tier's options in it."""
        if isinstance(error, QueuedStorageError | DatabaseError):
            return error
        permanent = traits.is_programming_error(error) or traits.is_permanent(error)
        kind: Callable[[str], Exception] = PermanentFailure if permanent else _TierFailed
        full = " is full" if traits.is_capacity(error) else ""
        return kind(f"tier {tier.name!r}{full}: {self.described(error)}")

    def described(self, error: Exception) -> str:
        # The error of one tier may tell of another: what a copy reads and writes meets in one call.
        of_tiers = (tier.secrets for tier in getattr(self, "chain", ()))
        return traits.describe(error, credentials.in_settings().union(*of_tiers))

    @contextmanager
    def slots(self, source: Tier, destination: Tier) -> Iterator[Turn]:
        """Hold a slot at both tiers; raise TierBusy where there is none for longer than this waits."""
        turn = Turn([source, destination])
        try:
            if not turn.take(0):
                with self.without_connection():
                    if not turn.take(self.patience):
                        raise TierBusy(source.name, destination.name)
            yield turn
        finally:
            turn.end()

    def tell(self, signal: Signal, **facts: Any) -> None:
        tell(signal, self.row, **facts)

    @contextmanager
    def without_connection(self) -> Iterator[None]:
        """Keep no idle connection to the database while bytes flow, unless others of this thread use it."""
        if self.own_process and not connections[catalog.database()].in_atomic_block:
            connections[catalog.database()].close()
        yield


def tell(signal: Signal, row: StoredFile, **facts: Any) -> None:
    """Send the signal about the row's file, once what it tells is committed."""
    model = row.model_class if row.model else None
    facts |= {
        "sender": type(row),
        "file": row,
        "name": row.name,
        "chain": row.chain,
        "model": model,
        "field": row.field or None,
        "instance": row.instance if model is not None else None,
    }
    transaction.on_commit(partial(signal.send_robust, **facts), using=catalog.database())


class _TierFailed(QueuedStorageError):
    """A backend raised; worth another try."""
