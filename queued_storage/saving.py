"""Saving: a name in the catalog and content on the first tier, in one transaction, or none of it."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from django.core.files.base import File
from django.core.files.utils import validate_file_name
from django.db import DatabaseError, transaction

from . import acknowledging, catalog, committed, dispatch, outage, signals, traits, trash, uploads, writing
from .attempt import tell
from .catalog import Saved
from .chain import Chain
from .exceptions import ConfigurationError, NameTaken, NotReplaceable, QueuedStorageError, TierUnavailable
from .tier import Tier

if TYPE_CHECKING:
    from .models import StoredFile


#: How many names are tried for a file; random ones are taken by nobody so often.
NAMES = 10


@dataclass(frozen=True)
class Owner:
    """The model field that is saving a file."""

    model: str = ""
    field: str = ""


_owner: ContextVar[Owner] = ContextVar("queued_storage_owner", default=Owner())  # noqa: B039 - it is frozen


@contextmanager
def saving_for(model: str, field: str) -> Iterator[None]:
    """Note, for files saved inside, which field of which model saves them."""
    token = _owner.set(Owner(model, field))
    try:
        yield
    finally:
        _owner.reset(token)


class Saver:
    """Saves files of one chain under one policy (None: without a catalog)."""

    def __init__(
        self,
        chain: Chain,
        policy: str | None,
        *,
        available_name: Callable[[str, int], str],
        name_to_try: Callable[[str, int], str],
        random_name: Callable[[str, int], str],
    ) -> None:
        self.chain = chain
        self.policy = policy
        #: Returns the name, or one like it, that is free on all tiers, in at most so many characters.
        self.available_name = available_name
        #: Returns one that may turn out to be taken when its row is written.
        self.name_to_try = name_to_try
        #: Returns one like it that is too random to be taken anywhere.
        self.random_name = random_name

    def save(self, name: str, content: File[Any], limit: int) -> str:
        """Save on the first tier; where the chain may SPILL and that is full or down, on the next that takes it."""
        if self.chain.acks > 1:
            acknowledging.require_own_transaction(self.chain)
        if not self.chain.spills:
            return self._save_on(self.chain.first, name, content, limit)
        failures: list[Exception] = []
        with uploads.replayable(content) as replayable:
            for tier in self.chain.writable:
                try:
                    return self._save_on(tier, name, replayable, limit)
                except Exception as error:  # noqa: BLE001 - raised below, unless another tier takes the content
                    failures.append(error)
                    if not self._may_spill(tier, error, name, replayable):
                        break
        raise failures[0]  # the first tier's reason is the one to mend

    def replace(self, name: str, content: File[Any]) -> None:
        """Save under this name, in place of what it names now."""
        if self.chain.acks > 1:
            raise NotReplaceable(self.chain.alias)
        with outage.discretion(self.chain.first):
            self._overwrite(name, content)

    def _save_on(self, tier: Tier, name: str, content: File[Any], limit: int) -> str:
        with outage.discretion(tier):
            if self.chain.spills:
                outage.refuse_if_down(tier)
            uploads.rewind(content)
            if tier.is_first and traits.overwrites(tier.storage):
                if self.chain.acks > 1:
                    raise NotReplaceable(self.chain.alias)
                return self._overwrite(self._checked(self.available_name(name, limit)), content)
            return self._create(tier, name, content, limit)

    # ---- a tier that cannot take it ----

    def _may_spill(self, tier: Tier, error: Exception, name: str, content: File[Any]) -> bool:
        """Tell whether the next tier may take what this one did not."""
        if not (self.chain.spills and is_full_or_down(tier, error) and uploads.is_readable(content)):
            return False
        return not (tier.is_first and traits.overwrites(tier.storage)) or self._is_new(name)

    def _is_new(self, name: str) -> bool:
        """Tell whether an overwriting first tier surely has nothing by this name that readers would go on to see."""
        if self.policy is not None and catalog.holds(self.chain.alias, name):
            return False
        try:
            return not self.chain.first.storage.exists(name)
        except Exception:  # noqa: BLE001 - whatever it says, it does not say that it lacks the name
            return False

    # ---- a name that is free ----

    def _create(self, tier: Tier, asked: str, content: File[Any], limit: int) -> str:
        """Save under a free name, and under another if somebody is quicker to take it."""
        name = self._checked(self.name_to_try(asked, limit))
        with writing.prepared(tier.storage, name, content, durable=tier.fsync) as prepared:
            for _ in range(NAMES):
                try:
                    return self._publish(tier, prepared, name, content)
                except NameTaken:
                    name = self._other_name(asked, limit, taken=name)
        raise ConfigurationError(
            f"{tier.path}: of {NAMES} names that were free, the storage's save() kept none. "
            "It has to save under the name that it is given, and to return that."
        )

    def _other_name(self, asked: str, limit: int, *, taken: str) -> str:
        """Return another name than the one that turned out to be taken, of the storage's own kind if that knows."""
        name = self._checked(self.available_name(asked, limit)) if taken == asked else taken
        # What took it may not show in this transaction's snapshot, so the same name is not tried again.
        return self.random_name(asked, limit) if name == taken else name

    def _publish(self, tier: Tier, prepared: writing.Content, name: str, content: File[Any]) -> str:
        """Take the name in the catalog, then on the tier, in one transaction; raise NameTaken.

        In this order, and no other, nobody reads these bytes by a name that another save gets.
        """
        if self.policy is None:
            return prepared.publish(name, overwrite=False)[0]
        with transaction.atomic(using=catalog.database()):
            if prepared.is_exclusive:
                row = catalog.record(self.chain, self._saved(tier, name, content, prepared.size))
                prepared.publish(name, overwrite=False)
            else:
                row = self._publish_reserved(tier, prepared, name, content)
            with writing.withdrawn_on_failure(prepared, name):
                if self.chain.acks > 1:
                    row = acknowledging.take(row)
                else:
                    self._follow_up(row)
        if self.chain.acks > 1:
            acknowledging.obtain(self.chain, row)
            self._follow_up(row)
        return name

    def _publish_reserved(
        self, tier: Tier, prepared: writing.Content, name: str, content: File[Any]
    ) -> StoredFile:
        """Publish where two savers of one free name would replace each other's bytes: only one holds the row."""
        with catalog.reserved(self.chain, name) as row:
            if not row.is_gone:
                raise NameTaken(name)
            given, size = writing.publish_new(prepared, name, overwrite=False)
            with writing.withdrawn_on_failure(prepared, given):
                if given != name:  # taken by what the catalog does not know
                    raise NameTaken(name)
                return catalog.replace(row, self.chain, self._saved(tier, name, content, size))

    # ---- a name that is kept ----

    def _overwrite(self, name: str, content: File[Any]) -> str:
        """Save on the first tier under this name, in place of what it names now."""
        first = self.chain.first
        with writing.prepared(first.storage, name, content, durable=first.fsync) as prepared:
            if self.policy is None:
                return prepared.publish(name, overwrite=True)[0]
            may_roll_back = catalog.in_transaction()
            with ExitStack() as rows:
                rows.enter_context(transaction.atomic(using=catalog.database()))
                row = rows.enter_context(catalog.reserved(self.chain, name))
                if row.owes_trash:  # what was deleted a moment ago, and the new content would replace
                    trash.keep_nearby(self.chain, row)
                replaces = not row.is_gone or first.storage.exists(name)
                # Replaced content must be there if this does not come to its commit, by a rollback or a crash.
                staged, size = prepared.keep() if replaces else ("", None)
                asked = name
                if not staged:
                    publish = prepared.publish if replaces else partial(writing.publish_new, prepared)
                    name, size = publish(name, overwrite=True)
                if not replaces:
                    rows.enter_context(writing.withdrawn_on_failure(prepared, name))
                if name != asked:  # a backend with a spelling of its own
                    row = rows.enter_context(catalog.reserved(self.chain, name))
                saved = catalog.replace(row, self.chain, self._saved(first, name, content, size, staged))
                if staged:
                    committed.publish(saved, robust=may_roll_back)
                self._follow_up(saved)
        return name

    # ---- for all ----

    @staticmethod
    def _checked(name: str) -> str:
        validate_file_name(name, allow_relative_path=True)
        return name

    def _saved(self, tier: Tier, name: str, content: File[Any], size: int | None, staged: str = "") -> Saved:
        owner = _owner.get()
        content_type, metadata = uploads.described(content)
        return Saved(
            name,
            self.policy or "",
            size=size,
            content_type=content_type,
            metadata=metadata,
            model=owner.model,
            field=owner.field,
            tiers=(tier.name,),
            staged=staged,
        )

    def _follow_up(self, row: StoredFile) -> None:
        tell(signals.file_saved, row)
        if row.state == "pending":
            dispatch.hint(row)


def is_full_or_down(tier: Tier, error: Exception) -> bool:
    """Tell whether the error says that the tier can take nothing now, whatever the file is."""
    if isinstance(error, DatabaseError) or traits.is_programming_error(error):
        return False
    if isinstance(error, QueuedStorageError):
        return isinstance(error, TierUnavailable)
    if traits.is_capacity(error):
        return True
    if traits.is_local_class(tier.backend):
        return isinstance(error, OSError) and error.errno in _DOWN
    return isinstance(outage.told(tier, error), TierUnavailable)


#: What a disk says that is not there: unmounted, broken, or read-only since it broke.
_DOWN = frozenset(
    {
        errno.EIO, errno.EROFS, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ESTALE, errno.ETIMEDOUT,
        errno.EHOSTDOWN,
    }
)  # fmt: skip
