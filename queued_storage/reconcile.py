"""The engine: makes what is into what should be. Copy first, verify, record, and only then release.

``reconcile`` can be run twice, interrupted anywhere, and started by anyone; it ends in the same state. What it does
follows from the catalog and from what the tiers hold, never from how an earlier attempt ended.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from django.utils import timezone

from . import catalog, conf, hooks, identity, logs, signals, staging, traits
from .attempt import Attempt
from .chain import Assessment, Chain, chains
from .contenders import Contenders, Waiting
from .copies import Copies
from .exceptions import (
    ConfigurationError,
    CopyMismatch,
    CustodyError,
    LeaseLost,
    NoPatience,
    OutsideWindow,
    PermanentFailure,
    QueuedStorageError,
    TierBusy,
    TierUnavailable,
    UnknownChain,
    WrongPlace,
)
from .names import is_staging
from .removals import Removals
from .tier import Tier
from .trash import Keeping

if TYPE_CHECKING:
    from .models import StoredFile

#: How often copies are made again, in one attempt, that are gone when another is to be released.
ROUNDS = 3


def reconcile(
    pk: int,
    *,
    deadline: float | None = None,
    own_process: bool = False,
    patience: float | None = None,
    when_busy: Callable[[int], None] = lambda pk: None,
) -> bool:
    """Do the work that the file of this row is owed, if any is due and nobody is at it; return whether it was.

    ``deadline`` bounds, in seconds, what is waited for lower tiers. ``own_process`` says that nobody else uses this
    thread's database connections, so that none is kept open while bytes flow. ``patience`` bounds, in seconds, what is
    waited for a tier that is at its CONCURRENCY; ``when_busy`` is told of a file that stays due for that.

    Inside a transaction of another database that a tier would join, nothing is done, and all stays owed: a rollback
    would take back copies and removals that the catalog has recorded.
    """
    if _would_join_another(pk):
        return False
    worked = False
    while (row := catalog.claim(pk)) is not None:
        worked = True
        attempt = Attempt(row, deadline, own_process=own_process, patience=patience)
        if Reconciliation(attempt).run():
            if attempt.was_busy:
                when_busy(pk)
            return True
        # Replaced or deleted meanwhile: the loop looks at what the row says now.
    return worked


def _would_join_another(pk: int) -> bool:
    if not hooks.are_others_under_way():
        return False
    row = catalog.files().filter(pk=pk).first()
    return row is not None and bool(hooks.under_way_elsewhere(row.chain))


class Reconciliation:
    """What an attempt does with the file, from claim to release of the row."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.row = attempt.row
        self._is_doubted = catalog.is_doubted(attempt.row)

    @property
    def chain(self) -> Chain:
        return self.attempt.chain

    @cached_property
    def contenders(self) -> Contenders:
        return Contenders(self.attempt)

    @cached_property
    def copies(self) -> Copies:
        return Copies(self.attempt, self.contenders)

    @cached_property
    def removals(self) -> Removals:
        return Removals(self.attempt, self.contenders)

    def run(self, work: Callable[[], None] | None = None) -> bool:
        """Do what the file is owed (or this work), and end the attempt; return False if it lost the file."""
        try:
            self._end_with(work or self._work)
        except LeaseLost:
            if self._leaves_nothing():
                catalog.end(self.row)
            return False
        return True

    def _work(self) -> None:
        self._refuse_what_killed_its_workers()
        self.attempt.chain = chain_of(self.row)
        identity.load(self.chain)
        for tier in self.chain.writable:
            if traits.is_local(tier.storage):
                self.contenders.fence_off(tier)
        if self.row.is_live:
            self._place()
        else:
            self._clear()

    def _end_with(self, work: Callable[[], None]) -> None:
        try:
            work()
        except LeaseLost:
            raise
        except Waiting as error:
            catalog.wait(self.row, error.until, stale=error.stale)
        except NoPatience as error:
            catalog.leave(self.row, self._told(str(error)), lingers=self.attempt.lingers)
        except _ForItsHost:
            catalog.leave_to_host(self.row)
        except TierBusy as error:
            self.attempt.was_busy = True
            catalog.leave(self.row, str(error))
        except OutsideWindow as error:
            catalog.postpone(self.row, self._told(str(error)), until=error.until)
        except (UnknownChain, WrongPlace) as error:
            catalog.postpone(self.row, self._told(str(error)))
            self.attempt.tell(signals.transfer_failed, error=str(error), final=False)
        except Exception as error:  # noqa: BLE001 - any backend may raise anything: the file fails, not the worker
            self._fail(error)

    def _leaves_nothing(self) -> bool:
        """Look, once the file is lost, at what was touched; tell whether this attempt is over, and all is told."""
        try:
            for tier in self.attempt.touched.values():
                self.copies.undo(tier)
        except Exception as error:  # noqa: BLE001 - then it stays noted as an attempt that may write
            logs.warning(
                "lost_copy_unseen", chain=self.row.chain, file=self.row.pk, error=type(error).__name__
            )
            return False
        return not self.attempt.lingers

    # ---- a live file ----

    def _place(self) -> None:
        if self.chain.has_elsewhere(self.row):
            self._place_what_is_shared()
            return
        self._be_its_host()
        if self.row.staged:
            self._publish_staged()
        Keeping(self.attempt).keep_each()  # of what was deleted before the name was taken again
        self._distrust_overwritten()
        if self._is_doubted:
            self._look_for_a_good_copy()
        for _ in range(ROUNDS):
            while missing := self._assess().missing:
                self._copy_to(missing)
            assessment = self._assess()
            for name in list(self.row.stale):  # of earlier generations and broken attempts
                self.removals.clear(name)
            surplus = dict.fromkeys((*assessment.surplus, *self.copies.given_up))
            if all(self._release(self.chain[name]) for name in surplus):
                catalog.settle(self.row, assessment.review_at)
                return
        raise CopyMismatch("copies that were verified are not there when they are needed")

    def _be_its_host(self) -> None:
        """Note, of a file that was saved before the first tier was each host's own, that it is this one's."""
        own = self.chain.own
        if own is None or self.row.host is not None or own.name not in self.row.tiers:
            return
        with self.attempt.speaking_of(own):
            is_here = own.storage.exists(self.row.name)
        if not is_here:
            raise _HostUnknown(
                f"tier {own.name!r}: it lies on a host that the catalog does not know, not on this"
            )
        catalog.note_host(self.row)

    def _place_what_is_shared(self) -> None:
        """Make the copies that take nothing of another host's disk; what is left is that host's to do."""
        own = self.chain.first.name
        missing = self._assess().missing
        is_sure = not (self.row.staged or self._is_doubted or catalog.has_lost_older(self.row))
        if is_sure and self.attempt.tiers_with_copies():
            try:
                self._copy_to(tuple(name for name in missing if name != own))
            except PermanentFailure:  # from the copies that are reached here
                raise _ForItsHost from None
        assessment = self._assess()
        if not (is_sure and assessment.is_settled) or self.row.stale:
            raise _ForItsHost
        catalog.settle(self.row, assessment.review_at)

    def _copy_to(self, names: tuple[str, ...]) -> None:
        try:
            self.copies.make_each(names)
        except PermanentFailure as error:
            if self._may_be_uncommitted():
                raise _NotCommitted(str(error)) from None
            raise

    def _may_be_uncommitted(self) -> bool:
        """Tell whether a copy is not there that comes with the commit of another database's transaction."""
        for tier in filter(hooks.joins_elsewhere, self.attempt.tiers_with_copies()):
            with self.attempt.speaking_of(tier):
                if not tier.storage.exists(self.row.name):
                    return True
        return False

    def _distrust_overwritten(self) -> None:
        """Look, once attempts at older generations have ended, whether they wrote over what was verified."""
        if not catalog.has_lost_older(self.row) or catalog.may_write(self.row) is not None:
            return
        for tier in self.attempt.tiers_with_copies():
            if self.contenders.open_to_them([tier]):
                with self.attempt.speaking_of(tier):
                    if not self.copies.is_still_there(tier):
                        catalog.distrust_own(self.row, tier.name)

    def _look_for_a_good_copy(self) -> None:
        """Look which copies are good by now, as none was when they were verified: somebody may have put one back."""
        bad, tiers = [], self.attempt.tiers_with_copies()
        for tier in tiers:
            with self.attempt.speaking_of(tier):
                if not self.copies.is_still_there(tier):
                    bad.append(tier.name)
        if len(bad) == len(tiers):
            raise PermanentFailure("those that are recorded are missing or wrong")
        self._is_doubted = False
        for name in bad:
            catalog.distrust_own(self.row, name)

    def _told(self, reason: str) -> str:
        """Return the reason to keep: what the next attempt has to look at first, it is told, too."""
        return f"{catalog.NO_GOOD_COPY}: {reason}" if self._is_doubted else reason

    def _publish_staged(self) -> None:
        """Finish what the process that saved did not live to do after its commit."""
        first = self.chain.first.storage
        if not staging.can_stage(first):
            raise PermanentFailure(
                "its content was staged on a first tier that is not in the settings any more"
            )
        name, staged = self.row.name, self.row.staged
        with catalog.locked(self.row.chain, name) as current:
            catalog.renew(self.row)  # its guard: nobody has replaced this generation
            if current is not None and current.staged:  # the saver may have come to it after all
                staging.publish_kept(first, name, staged, self.row.size, durable=self.chain.first.fsync)
            catalog.record_published(self.row)
        staging.discard(first, name, staged)

    def _assess(self) -> Assessment:
        return self.chain.assess(self.row, self.row.policy, timezone.now())

    def _release(self, tier: Tier) -> bool:
        """Delete the tier's copy, once every copy that stays was seen to be there; tell whether they were."""
        identity.require(tier)
        if not self._verify_those_that_stay(tier):
            return False
        if tier.is_first or traits.is_local(tier.storage):
            # The lock keeps out a save that overwrites: it would put new bytes where old ones are deleted.
            before = self.row.tiers, self.row.host, self.row.for_host
            try:
                with catalog.locked(self.row.chain, self.row.name):
                    catalog.record_release(self.row, tier.name, cleared=True)
                    with self.attempt.speaking_of(tier):
                        tier.storage.delete(self.row.name)
            except BaseException:
                self.row.tiers, self.row.host, self.row.for_host = before  # as the rollback left it
                raise
        else:
            self.removals.clear_far(tier, lambda: catalog.record_release(self.row, tier.name, cleared=False))
        self.attempt.tell(signals.file_released, tier=tier.name)
        return True

    def _verify_those_that_stay(self, released: Tier) -> bool:
        staying = [tier for tier in self.attempt.tiers_with_copies() if tier is not released]
        if not staying:
            raise CustodyError(f"tier {released.name!r} holds the last verified copy")
        self.contenders.wait_for_them(staying, stale=self.row.stale)
        are_there = True
        for tier in staying:
            with self.attempt.speaking_of(tier):
                identity.require(tier)
                try:
                    self.copies.verify(tier, released)
                except CopyMismatch:  # somebody else's doing; the copy that was to go is good for another
                    identity.require(tier, fresh=True)
                    catalog.distrust_own(self.row, tier.name)
                    are_there = False
        return are_there

    # ---- a deleted file ----

    def _clear(self) -> None:
        Keeping(self.attempt).keep_each()
        failure: Exception | None = None
        for name in list(self.row.stale):
            if name in self.chain and self.chain.is_elsewhere(self.chain[name], self.row):
                failure = failure or _ForItsHost()
                continue
            try:
                self.removals.clear(name)
            except (LeaseLost, NoPatience):
                raise
            except Exception as error:  # noqa: BLE001 - raised below, once the other tiers had their turn
                if failure is None or isinstance(failure, _ForItsHost):
                    failure = self.attempt.named(self.chain[name], error)
        if failure is not None:
            raise failure
        first = self.chain.first.storage
        # Content that was never published; what another host kept of it, that host's own gc finds.
        is_here = self.row.staged and not self.chain.has_elsewhere(self.row)
        if is_here and staging.can_stage(first):
            staging.discard(first, self.row.name, self.row.staged)
        self.contenders.wait_for_them(self.chain)
        catalog.bury(self.row)
        if not is_staging(
            PurePosixPath(self.row.name).name
        ):  # else of the trash, which users hear nothing of
            self.attempt.tell(signals.file_deleted)

    # ---- ends ----

    def _refuse_what_killed_its_workers(self) -> None:
        if self.row.is_live and self.row.attempts > conf.get("RETRIES") + 1:
            told = self.row.last_error or "its workers died, or were killed, before they could say why"
            told = told.removeprefix(f"{catalog.NO_GOOD_COPY}: ")  # said in front of all, again
            raise PermanentFailure(f"given up after {self.row.attempts - 1} attempts: {told}")

    def _fail(self, error: Exception) -> None:
        reason = str(error) if isinstance(error, QueuedStorageError) else self.attempt.described(error)
        reason, was_crowded_out = self._told(reason), self.row.crowded_out
        final = catalog.fail(
            self.row,
            reason,
            permanent=_is_permanent(error),
            lingers=self.attempt.lingers,
            wrote=bool(self.attempt.touched),
            stays_below=self._stays_below,
        )
        if not was_crowded_out and self.row.crowded_out:
            logs.warning("not_called_back", chain=self.row.chain, file=self.row.pk, error=reason)
        self.attempt.tell(signals.transfer_failed, error=reason, final=final)

    def _stays_below(self) -> bool:
        """Tell whether all that the file lacks is the copy on the first tier that it was called back to."""
        row = self.row
        if row.called_back_at is None or row.crowded_out or row.staged or self._is_doubted:
            return False
        try:
            self.attempt.chain = chain = chain_of(row)
            missing = chain.assess(row, row.policy, timezone.now()).missing
            if missing != (chain.first.name,) or not chain.policy_of(row, row.policy).makes_room:
                return False
        except Exception:  # noqa: BLE001 - a mistake of the settings, or a policy's bug: what failed tells it
            return False
        return any(map(self._may_hold, self.attempt.tiers_with_copies()))

    def _may_hold(self, tier: Tier) -> bool:
        try:
            return self.copies.is_still_there(tier)
        except Exception:  # noqa: BLE001 - it cannot be asked now: nobody has seen that it is gone
            return True


class _ForItsHost(QueuedStorageError):
    """What is left to do takes the disk of another host."""


class _HostUnknown(QueuedStorageError):
    """The first tier was shared when the file was saved; worth another try, where it lies."""


class _NotCommitted(QueuedStorageError):
    """What was saved cannot be seen yet, or was rolled back; worth another try."""


def chain_of(row: StoredFile) -> Chain:
    try:
        return chains[row.chain]
    except ConfigurationError as error:
        raise UnknownChain(f"this process does not know its chain: {error}") from error


def _is_permanent(error: Exception) -> bool:
    if isinstance(error, TierUnavailable):
        return error.is_permanent
    return isinstance(error, PermanentFailure | CustodyError)
