"""Copies: made, seen to be there, and taken back where they came too late."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError

from . import (
    bandwidth,
    catalog,
    conditional,
    conf,
    copying,
    disk,
    identity,
    outage,
    signals,
    tracing,
    traits,
    windows,
)
from .attempt import Attempt
from .contenders import Contenders
from .exceptions import CopyMismatch, CustodyError, LeaseLost, OutsideWindow, PermanentFailure, TierBusy
from .heartbeat import Heartbeat
from .slots import Turn
from .tier import Tier

if TYPE_CHECKING:
    from .models import StoredFile


_NOTHING: AbstractContextManager[Any] = nullcontext()


@dataclass(frozen=True)
class Made:
    """A copy that is at its destination, and not yet in the catalog."""

    source: Tier
    #: How long it took.
    seconds: float
    #: What the row is to say of the file from now on.
    facts: dict[str, Any]
    #: Whether the project's own code, where that made the copy, wants the source's one gone.
    gives_up_source: bool


class Copies:
    """The copies of one file, as one attempt makes and trusts them."""

    def __init__(self, attempt: Attempt, contenders: Contenders) -> None:
        self.attempt = attempt
        self.row = attempt.row
        self.chain = attempt.chain
        self.contenders = contenders
        #: Tiers that the project's own code, where that made the copy, wants the file gone from.
        self.given_up: list[str] = []

    def make_each(self, names: tuple[str, ...]) -> None:
        """Copy to every tier that lacks the file; one that is down does not keep the others from theirs."""
        failure: Exception | None = None
        busy: TierBusy | None = None
        closed: list[OutsideWindow] = []
        for name in names:
            try:
                self._make(self.chain[name])
            except (LeaseLost, DatabaseError):
                raise
            except TierBusy as error:
                busy = error
            except OutsideWindow as error:
                closed.append(error)
            except Exception as error:  # noqa: BLE001 - raised below, once the other tiers had their turn
                failure = failure or self.attempt.named(self.chain[name], error)
        if failure is not None:
            raise failure
        if busy is not None:
            raise busy
        windows.raise_first(closed)

    def _make(self, destination: Tier) -> None:
        windows.require(destination, self.attempt.tiers_with_copies())
        self.contenders.fence_off(destination)
        may_hold_other_bytes = destination.name in self.row.stale
        with self.attempt.slots(self.first_source(destination), destination) as turn:
            catalog.note_writing(
                self.row,
                destination.name,
                in_place=copying.writes_in_place(destination),
                host=None if destination.shared else conf.host(),
            )
            made = self.copy_from_any(destination, turn, replace=may_hold_other_bytes)
        catalog.record_copy(self.row, self.chain, destination.name, **made.facts)
        self.recorded(destination, made)

    def recorded(self, destination: Tier, made: Made) -> None:
        """Tell of a copy that is in the catalog."""
        self.attempt.touched.pop(destination.name, None)
        if made.gives_up_source and not made.source.read_only:
            self.given_up.append(made.source.name)
        self.attempt.tell(
            signals.file_transferred,
            source=made.source.name,
            destination=destination.name,
            local=made.source.storage,
            remote=destination.storage,
            seconds=made.seconds,
        )

    def first_source(self, destination: Tier) -> Tier:
        """Return the tier that is asked for the file first; of a file that lies nowhere, the destination."""
        sources = self.attempt.tiers_with_copies()
        return next((tier for tier in sources if windows.opens_at(tier) is None), destination)

    def copy_from_any(self, destination: Tier, turn: Turn, *, replace: bool) -> Made:
        """Copy from the first tier that gives the file; raise what the last one said.

        ``turn`` has slots at the destination and at the first source.
        """
        windows.require(destination, self.attempt.tiers_with_copies())
        identity.require(destination)
        failure: Exception = PermanentFailure("no tier holds a verified copy of it")
        closed: list[OutsideWindow] = []
        for source in self.attempt.tiers_with_copies():
            if shut := windows.closed([source]):
                closed += shut
                continue
            if not turn.change([source, destination], self.attempt.patience):
                raise TierBusy(source.name, destination.name)
            try:
                times = self._times(source)  # before the copy: reading the file changes one of them
                modified_at = times.get("modified_at", self.row.modified_at)
                content = copying.Content(
                    self.row.name, self.row.content_type, self.row.size, self.row.digest, modified_at
                )
                begun = time.perf_counter()
                copied = self._copy(source, destination, content, replace=replace)
                seconds = time.perf_counter() - begun
                facts = {"size": copied.size, "digest": copied.digest, **times}
                return Made(source, seconds, facts, gives_up_source=copied.gives_up_source)
            except Exception as error:
                # A destination may say as well that something of its own is missing.
                if not traits.is_missing(error) or _has(source, self.row.name):
                    raise
                identity.require(source, fresh=True)
                failure = PermanentFailure(f"tier {source.name!r} does not hold the file any more")
        windows.raise_first(closed)
        raise failure

    def _copy(
        self, source: Tier, destination: Tier, content: copying.Content, *, replace: bool
    ) -> copying.Copy:
        row, policy = self.row, self.chain.policy_of(self.row, self.row.policy)
        traced = tracing.copy(chain=row.chain, file=row.pk, source=source.name, destination=destination.name)
        with (
            traced as tell,
            self._nothing_left_behind(destination),
            self.attempt.heartbeat(row) as heartbeat,
            self.attempt.without_connection(),
        ):
            copied = copying.copy(
                source,
                destination,
                content,
                verify=policy.verify,
                copier=policy.copier,
                replace=replace,
                staged=row.staging_name(row.fence) if copying.can_fence(destination) else "",
                progress=bandwidth.held_back([source, destination], heartbeat.progress),
                publishing=partial(self.publishing, destination, heartbeat),
            )
            tell(copied.size)
            return copied

    @contextmanager
    def _nothing_left_behind(self, tier: Tier) -> Iterator[None]:
        try:
            yield
        except copying.LeftBehind as left:
            self.undo(tier, left.name)
            raise left.error from None

    @contextmanager
    def publishing(self, destination: Tier, heartbeat: Any) -> Iterator[None]:
        """Be sure, at the last moment, that the file is still this attempt's to write."""
        # A save that overwrites may put newer bytes on the first tier in this moment.
        is_locked = destination.is_first and not conditional.can_save(destination.storage)
        with catalog.locked(self.row.chain, self.row.name) if is_locked else _NOTHING:
            heartbeat.check()
            self.attempt.touched[destination.name] = destination
            with heartbeat.resting() if is_locked else _NOTHING:
                yield

    def _times(self, source: Tier) -> dict[str, Any]:
        """Return the file's times as the tier that got it first tells them, for when it lies there no more."""
        if self.row.modified_at is not None:
            return {}
        told = copying.times(source, self.row.name)
        told.setdefault("modified_at", self.row.saved_at)
        return told

    def undo(self, tier: Tier, name: str = "") -> None:
        """Owe the removal of what was written for a generation that is no more, over a better copy, or elsewhere."""
        name = name or self.row.name
        while True:
            current = catalog.find(self.row.chain, name)
            if current is None:
                if catalog.owe_removal(self.attempt.chain, name, tier.name):
                    return
                continue
            if self._leave_to_clearing(tier, name):
                return
            if tier.name in current.tiers and self._holds(tier, current):
                return
            is_own = (current.pk, current.generation) == (self.row.pk, self.row.generation)
            if is_own and tier.name not in current.tiers:
                return  # it is noted as suspect since before the first byte
            if catalog.distrust(current, tier.name):
                return
            # Somebody was at it while it was looked at: what was seen there says nothing any more.

    def _leave_to_clearing(self, tier: Tier, name: str) -> bool:
        """Have what was written on this host's own disk removed, if the file is not here; tell whether it is not.

        What the catalog says of the tier is of another host's disk then, and nothing to compare this one with.
        """
        if tier.shared:
            return False
        with catalog.locked(self.row.chain, name) as current:
            if current is None or current.host == conf.host():
                return False
            catalog.owe(conf.host(), self.chain, name)
        return True

    def is_still_there(self, tier: Tier) -> bool:
        with Heartbeat(self.row) as heartbeat, self.attempt.without_connection():
            return self._holds(tier, self.row, heartbeat.progress)

    def _holds(
        self, tier: Tier, current: StoredFile, progress: Callable[[int], None] = lambda count: None
    ) -> bool:
        """Tell whether the tier holds what the row says, whoever wrote last."""
        try:
            size = tier.storage.size(current.name) if current.size is None else current.size
            expected = copying.Copy(size, current.digest)
            copying.check(tier, current.name, expected, "content" if current.digest else "size", progress)
        except Exception as error:
            if not (isinstance(error, CopyMismatch) or traits.is_missing(error)):
                raise
            identity.require(tier, fresh=True)
            return False
        return True

    def verify(self, tier: Tier, released: Tier) -> None:
        if disk.is_one_file(tier.storage, released.storage, self.row.name):
            raise CustodyError(
                f"tiers {released.name!r} and {tier.name!r} are one folder: deleting from one deletes from both"
            )
        size = tier.storage.size(self.row.name) if self.row.size is None else self.row.size
        expected = copying.Copy(size, self.row.digest)
        with Heartbeat(self.row) as heartbeat:  # some tiers have to be read for it
            copying.check(tier, self.row.name, expected, progress=heartbeat.progress)
        if not tier.syncs_copies and disk.can_stage(tier.storage):
            disk.sync(tier.storage, self.row.name)


def _has(tier: Tier, name: str) -> bool:
    return outage.ask(tier, lambda: tier.storage.exists(name))
