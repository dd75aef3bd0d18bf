"""Bringing a deleted file back: an attempt of the engine's own kind, which holds the name while bytes flow.

The content stays in the trash until the file lies under its name, whole and in the catalog: what is interrupted leaves
both as they were, and can be done again.
"""

from __future__ import annotations

import os.path
import posixpath
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING

from django.core.files.storage import Storage
from django.core.files.utils import validate_file_name

from .. import bandwidth, catalog, dispatch, logs, outage, traits
from ..attempt import Attempt
from ..exceptions import GoneFromTrash, NameTaken, NotRestored, PermanentFailure, QueuedStorageError
from ..names import clean, is_staging
from ..reconcile import Reconciliation, reconcile
from ..schema import MAX_NAME
from ..storage import TieredStorage
from ..tier import Tier
from ..trash.duplicating import duplicate

if TYPE_CHECKING:
    from ..models import StoredFile, TrashedFile

#: Entries that are read from the catalog at a time.
AT_ONCE = 500
#: How many names are tried for a file whose own is taken.
NAMES = 10
_PATTERN = frozenset("*?[")


def find(
    chain: str, wanted: Iterable[str] = (), prefix: str = "", *, newest: bool = False
) -> Iterator[TrashedFile]:
    """Yield what the chain's trash has of these names, or patterns (``*``, ``?``, ``[a-z]``), oldest first.

    Of no names all are meant. ``newest`` leaves out what was deleted again later under the same name.
    """
    wanted = [clean(name) for name in wanted]
    exact = {name for name in wanted if not _PATTERN.intersection(name)}
    patterns = [name for name in wanted if name not in exact]
    found: Iterator[TrashedFile]
    if exact and not patterns:
        found = (entry for name in exact for entry in _paged(chain, name))
    else:
        found = _paged(chain, None, prefix)
    for entry in found:
        is_wanted = (
            not wanted or entry.name in exact or any(fnmatchcase(entry.name, each) for each in patterns)
        )
        if is_wanted and entry.name.startswith(prefix) and not (newest and _was_deleted_again(entry)):
            yield entry


def _paged(chain: str, name: str | None, prefix: str = "") -> Iterator[TrashedFile]:
    """Yield entries a page at a time: no query lasts while files are restored, or holds all of them."""
    rows = catalog.trashed(chain, name)
    if prefix:
        rows = rows.filter(name__startswith=prefix)
    last = 0
    while page := list(rows.filter(pk__gt=last)[:AT_ONCE]):
        yield from page
        last = page[-1].pk


def _was_deleted_again(entry: TrashedFile) -> bool:
    return catalog.trashed(entry.chain, entry.name).filter(pk__gt=entry.pk).exists()


def restore(
    storage: TieredStorage, entry: TrashedFile, name: str | None = None, *, rename: bool = False
) -> str:
    """Bring the file back, by default under its own name, and return the name that it has now.

    ``rename`` has it take another where that is taken: the newer file keeps it. Raise NotRestored where it cannot be
    brought back; it is in the trash still, unless somebody else has taken it from there. Once it is back its policy
    decides where it goes.
    """
    _require_own_transactions(entry)
    entry = entry if entry.is_kept else _kept(entry)
    asked = _checked(clean(name or entry.name))
    destination = _destination(storage, entry)
    tried = asked
    for _ in range(NAMES):
        if _is_free(storage, tried):
            try:
                row = catalog.begin_restore(storage.chain, tried, entry, destination.name)
            except NameTaken:
                pass
            except GoneFromTrash as error:
                raise NotRestored(str(error)) from None
            else:
                return _Restoration(storage, entry, destination, row).run()
        if not rename:
            break
        tried = _alternative(storage, asked)
    raise NotRestored(
        f"{tried!r} is taken: by a newer file, which keeps it, or by one that is being deleted. Restore the old one "
        "under another name: --as NAME, or --rename for one like it."
    )


def _require_own_transactions(entry: TrashedFile) -> None:
    if catalog.in_transaction():
        raise NotRestored(
            f"{entry.name!r}: a transaction is under way. Restore outside of it: what is moved on tiers is not rolled "
            "back."
        )


def _kept(entry: TrashedFile) -> TrashedFile:
    """Have done what is owed to the trash, and return the entry as it is then."""
    row = catalog.find(entry.chain, entry.name)
    if row is not None:
        reconcile(row.pk)
    current = catalog.trashed(entry.chain, entry.name).filter(pk=entry.pk).first()
    if current is not None and current.is_kept:
        return current
    row = catalog.find(entry.chain, entry.name)
    told = f" ({row.last_error})" if row is not None and row.last_error else ""
    raise NotRestored(
        f"{entry.name!r} was deleted, and is not in the trash yet{told}. See `tiers explain` for what it waits for."
    )


def _checked(name: str) -> str:
    validate_file_name(name, allow_relative_path=True)
    if is_staging(posixpath.basename(name)) or len(name) > MAX_NAME:
        raise NotRestored(f"{name!r} is no name that a file can have here.")
    return name


def _destination(storage: TieredStorage, entry: TrashedFile) -> Tier:
    """Return the tier to bring it back on: where it is kept, so that it has no way to go."""
    chain = storage.chain
    if entry.tier not in chain:
        raise NotRestored(
            f"{entry.name!r} is kept on tier {entry.tier!r}, which the settings do not have any more. Put that back."
        )
    kept = chain[entry.tier]
    return chain.first if kept.read_only or traits.is_chain(kept.storage) else kept


def _is_free(storage: TieredStorage, name: str) -> bool:
    """Tell whether readers find nothing by the name; the row of a deleted file hides what a READ_ONLY tier has."""
    row = catalog.find(storage.alias, name)
    if row is not None and not row.is_gone:
        return False
    asked = [tier for tier in storage.chain if row is None or not tier.read_only]
    return not any(outage.ask(tier, partial(tier.storage.exists, name)) for tier in asked)


def _alternative(storage: TieredStorage, name: str) -> str:
    root, extension = os.path.splitext(name)
    other = storage.get_alternative_name(root, extension)
    # One that overwrites has no other name to offer.
    return other if other != name else Storage.get_alternative_name(storage, root, extension)


class _Restoration:
    """The attempt that brings one file back under a name that it holds."""

    def __init__(
        self, storage: TieredStorage, entry: TrashedFile, destination: Tier, row: StoredFile
    ) -> None:
        self.chain = storage.chain
        self.entry = entry
        self.destination = destination
        self.row = row
        self.attempt = Attempt(row, own_process=False)
        self.attempt.chain = self.chain
        self.reconciliation = Reconciliation(self.attempt)

    def run(self) -> str:
        self.reconciliation.run(self._work)
        current = catalog.find(self.row.chain, self.row.name)
        if current is not None and current.generation == self.row.generation and current.is_live:
            logs.info("restored", chain=current.chain, file=current.pk, tier=self.destination.name)
            return current.name
        reason = "somebody else has taken its name, or erased it, meanwhile"
        if current is not None and current.generation == self.row.generation:
            reason = current.last_error
            catalog.hurry_clearing(current)  # the name is to be free again
            reconcile(current.pk)
        raise NotRestored(f"{self.entry.name!r} was not restored: {reason}")

    def _work(self) -> None:
        entry, row, attempt = self.entry, self.row, self.attempt
        source = self.chain[entry.tier]
        publishing = partial(self.reconciliation.copies.publishing, self.destination)
        try:
            with (
                attempt.slots(source, self.destination),
                attempt.heartbeat(row) as heartbeat,
                attempt.without_connection(),
            ):
                entry.size = duplicate(
                    entry,
                    source,
                    entry.kept_as,
                    self.destination,
                    row.name,
                    progress=bandwidth.held_back([source, self.destination], heartbeat.progress),
                    publishing=partial(publishing, heartbeat),
                )
        except NameTaken:  # by what nobody knows of, and is not to be cleared
            attempt.touched.clear()
            catalog.record_cleared(row, self.destination.name)
            raise PermanentFailure(f"tier {self.destination.name!r} has another file of this name") from None
        except QueuedStorageError:
            raise
        except Exception as error:  # noqa: BLE001 - raised, as the tier's
            raise attempt.named(source, error) from None
        is_there = partial(self.destination.storage.exists, row.name)
        catalog.record_restored(row, self.chain, entry, self.destination.name, is_there)
        attempt.touched.clear()
        if row.state == "pending":
            dispatch.hint(row)
