"""Putting what was deleted into the trash: first of all that is done to a deleted name, and before it is taken again.

Content is kept on one tier, by a name that nobody sees and that only its attempt knows. A worker that wakes up late can
make such a file, and never say so: what the catalog does not name is a rest, which ``tiers gc`` collects.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError
from django.utils import timezone

from .. import bandwidth, catalog, disk, identity, logs, traits
from ..attempt import Attempt
from ..chain import Chain
from ..exceptions import CopyMismatch, LeaseLost, NameTaken, NoPatience, QueuedStorageError, TierUnavailable
from ..names import trash_name
from ..policies.base import Verify
from ..tier import Tier
from .duplicating import can_link, duplicate, has_place

if TYPE_CHECKING:
    from ..models import StoredFile, TrashedFile

#: Bytes up to which whoever deletes waits for a copy; more are a worker's.
SMALL = 1 << 20


class Keeping:
    """What one attempt puts into the trash."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.row = attempt.row

    def keep_each(self) -> None:
        """Keep what was deleted under the row's name, before anything of it is cleared or written over."""
        if not self.row.owes_trash:
            return
        for entry in catalog.unkept(self.row):
            self._keep(entry)
        catalog.record_all_kept(self.row)

    def _keep(self, entry: TrashedFile) -> None:
        if entry.until <= timezone.now():
            catalog.drop(entry)
            return
        failure: Exception | None = None
        for source, destination in _ways(self.attempt.chain, entry):
            try:
                self._keep_on(entry, source, destination)
            except (LeaseLost, DatabaseError, NoPatience):
                raise
            except Exception as error:  # noqa: BLE001 - raised below, unless another tier has it
                failure = failure or _told(source, error, self.attempt.named)
            else:
                return
        if failure is not None:
            raise failure
        _give_up(entry)

    def _keep_on(self, entry: TrashedFile, source: Tier, destination: Tier) -> None:
        identity.require(destination)
        token = entry.token_for(self.row.fence)
        name, to = _name_on(source, entry), trash_name(entry.name, token)
        attempt = self.attempt
        if can_link(source, destination, name):
            _link_anew(entry, source, name, to)
        else:
            self._require_time(entry, source, destination)
            verify: Verify = "content" if entry.digest and catalog.has_lost_older(self.row) else "size"
            with (
                attempt.slots(source, destination),
                attempt.heartbeat(self.row) as heartbeat,
                attempt.without_connection(),
            ):
                copy = partial(
                    duplicate,
                    entry,
                    source,
                    name,
                    destination,
                    to,
                    verify=verify,
                    progress=bandwidth.held_back([source, destination], heartbeat.progress),
                )
                self._copy(destination, copy)
        try:
            is_recorded = catalog.record_kept(self.row, entry, destination.name, token)
        except LeaseLost:
            catalog.owe_removal(attempt.chain, to, destination.name)
            raise
        if not is_recorded:  # somebody was quicker
            catalog.owe_removal(attempt.chain, to, destination.name)

    def _copy(self, destination: Tier, copy: Callable[[], Any]) -> None:
        if (
            self.attempt.ends_at is None
        ):  # a TIMEOUT is for questions; this takes as long as the file is large
            copy()
        else:
            self.attempt.ask(destination, copy)

    def _require_time(self, entry: TrashedFile, *tiers: Tier) -> None:
        """Leave to a worker, which has time, what whoever deletes would have to wait for."""
        if self.attempt.ends_at is None or all(traits.is_local(tier.storage) for tier in tiers):
            return
        if entry.size is None or entry.size > SMALL:
            raise NoPatience(tiers[-1].name, "what was deleted is put into the trash by a worker")


def keep_nearby(chain: Chain, row: StoredFile) -> None:
    """Keep, on the first tier, what that holds of what was deleted; call it while the row is locked.

    It holds up whoever calls for as long as the first tier needs: nothing on a disk, a request on a server that can
    copy by itself. In a transaction that is rolled back, what was kept is a rest of nobody's.
    """
    first = chain.first
    for entry in catalog.unkept(row):
        if first.name not in entry.sources:
            continue
        token = entry.token_for(row.fence, near=True)
        name, to = _name_on(first, entry), trash_name(entry.name, token)
        try:
            if can_link(first, first, name):
                _link_anew(entry, first, name, to)
            else:
                duplicate(entry, first, name, first, to)
        except Exception as error:
            if (failure := _told(first, error, lambda tier, error: error)) is not None:
                raise failure from error
            if entry.sources == [first.name]:
                _give_up(entry)
        else:
            catalog.record_kept_nearby(entry, first.name, token)
    catalog.record_all_kept_nearby(row)


def _link_anew(entry: TrashedFile, tier: Tier, name: str, to: str) -> None:
    """Link, also where an attempt whose transaction was rolled back has left such a link."""
    try:
        duplicate(entry, tier, name, tier, to)
    except NameTaken:
        tier.storage.delete(to)
        duplicate(entry, tier, name, tier, to)


def _ways(chain: Chain, entry: TrashedFile) -> Iterator[tuple[Tier, Tier]]:
    """Yield the tiers that may have the content, each with the one to keep it on: where that costs least first.

    A second name on a disk costs nothing; else the lowest tier, where a file is meant to end. What lies on a
    ``READ_ONLY`` tier alone, or on a chain, which takes no such names, is copied off it.
    """
    holders = [chain[name] for name in entry.sources if name in chain]
    if entry.staged:  # it never got further
        holders = [tier for tier in holders if tier.is_first]
    disks = [tier for tier in holders if disk.can_stage(tier.storage) and not tier.read_only]
    takers = [tier for tier in reversed(chain.writable) if not traits.is_chain(tier.storage)]
    others = [tier for tier in reversed(holders) if tier not in disks and tier in takers]
    yield from ((tier, tier) for tier in (*disks, *others))
    yield from ((tier, takers[0]) for tier in holders if tier not in takers and takers)


def _name_on(tier: Tier, entry: TrashedFile) -> str:
    if entry.staged and tier.is_first:
        return posixpath.join(posixpath.dirname(entry.name), entry.staged)
    return entry.name


def _told(tier: Tier, error: Exception, named: Callable[[Tier, Exception], Exception]) -> Exception | None:
    """Return what to raise; None where the tier says that it has nothing, or other bytes, of what was deleted."""
    if not (isinstance(error, CopyMismatch) or traits.is_missing(error)):
        return named(tier, error)
    try:
        identity.require(tier, fresh=True)
    except QueuedStorageError as wrong:
        return wrong
    return None if has_place(tier) else TierUnavailable(tier.name, "its folder is not there: is it mounted?")


def _give_up(entry: TrashedFile) -> None:
    """Keep nothing of what lies nowhere; of what the catalog knew somebody may want to hear."""
    catalog.drop(entry)
    if entry.size is not None and not entry.staged:
        logs.warning("nothing_to_keep", chain=entry.chain, entry=entry.pk)
