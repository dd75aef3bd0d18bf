"""The storage that users see: saves on the first tier, reads through the chain, and notes what is owed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import File
from django.core.files.storage import FileSystemStorage, Storage
from django.core.files.utils import validate_file_name
from django.db import transaction
from django.utils.deconstruct import deconstructible

from . import (
    bounded,
    catalog,
    committed,
    conf,
    copying,
    direct,
    disk,
    dispatch,
    former,
    links,
    outage,
    traits,
    uploads,
    watermarks,
    writing,
)
from .catalog import Saved
from .chain import Chain, chains
from .exceptions import (
    ChainUnavailable,
    ConfigurationError,
    CopiesDiffer,
    NameTaken,
    ReadOnlyChain,
    TierUnavailable,
)
from .names import clean, is_own, visible
from .reading import Reader, plain_disk
from .reopening import ChainFile, reopenable
from .saving import Saver, is_full_or_down
from .schema import MAX_NAME, TIERS, did_you_mean
from .tier import Tier

if TYPE_CHECKING:
    from .models import StoredFile


@deconstructible(path="queued_storage.storage.TieredStorage")
class TieredStorage(Storage):
    """One storage in front of the chain of this alias; ``policy`` names another policy than the chain's own."""

    #: What ``prefetch_tiers`` looked up for the field files that have this storage; None in all others.
    _known: dict[str, StoredFile | None] | None = None

    def __init__(self, alias: str, policy: str | None = None) -> None:
        self.alias = alias
        self._policy = policy
        if policy is not None:
            chains.catalogued.add(alias)

    def __repr__(self) -> str:
        return f"<TieredStorage {self.alias!r} policy={self._policy!r}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TieredStorage) and (self.alias, self._policy) == (other.alias, other._policy)

    def __hash__(self) -> int:
        return hash((self.alias, self._policy))

    @property
    def chain(self) -> Chain:
        return chains[self.alias]

    @property
    def own_policy(self) -> str | None:
        """The name of the policy that was given beside the chain's; None where files follow the chain's own."""
        return self._policy

    @property
    def policy(self) -> str | None:
        """The name of the policy: None without one, "" for one that the chain's settings write out."""
        return self.chain.policy_name if self._policy is None else self._policy

    @property
    def is_catalogued(self) -> bool:
        """Whether files of this chain have rows: some may where a policy was named beside the chain's None."""
        return self._is_catalogued(self.chain)

    def _is_catalogued(self, chain: Chain) -> bool:
        named = chain.default_policy is not None or self._policy is not None
        return named or self.alias in chains.catalogued

    @property
    def reader(self) -> Reader:
        chain = self.chain
        return Reader(
            chain, catalogued=self._is_catalogued(chain), known=self._known, came_from_below=self._call_back
        )

    def _call_back(self, row: StoredFile) -> None:
        if not catalog.in_transaction():
            self._call_back_now(row)
            return
        # A request's transaction would hold the row's lock to its end: of two that read the same files in another
        # order, the database would end one.
        transaction.on_commit(
            lambda: self._call_back_now(row),  # a partial has no name for Django's log
            using=catalog.database(),
            robust=True,
        )

    def _call_back_now(self, row: StoredFile) -> None:
        if watermarks.call_back(self.chain, row):
            dispatch.hint(row)

    def with_policy(self, name: str) -> TieredStorage:
        """Return the same chain with another policy for the files that are saved through it."""
        return TieredStorage(self.alias, name)

    # ---- where a file is ----

    def tier(self, name: str) -> str | None:
        """Return the name of the tier that would answer a read, or None for a missing file."""
        try:
            return self.reader.locate(clean(name)).name
        except FileNotFoundError:
            return None

    def tiers(self, name: str) -> list[str]:
        """Return the names of all tiers that hold a verified copy, in the chain's order."""
        row = self._row(name)
        return list(row.tiers) if row is not None else []

    def state(self, name: str) -> str | None:
        """Return "settled", "pending" or "failed", or None for a name that the catalog does not know."""
        row = self._row(name)
        return str(row.state) if row is not None else None

    def get_storage(self, name: str) -> Storage:
        """Return the storage of the tier that would answer a read; raise FileNotFoundError."""
        return self.reader.locate(clean(name)).storage

    def using_local(self, name: str) -> bool:
        """Tell whether the first tier would answer a read."""
        return self.tier(name) == self.chain.first.name

    def using_remote(self, name: str) -> bool:
        """Tell whether a tier below the first would answer a read."""
        return self.tier(name) not in (None, self.chain.first.name)

    def _row(self, name: str) -> StoredFile | None:
        if not self.is_catalogued:
            return None
        name = clean(name)
        known = self._known or {}
        row = known[name] if name in known else catalog.find(self.alias, name)
        return row if row is not None and row.is_live else None

    def knowing(self, rows: dict[str, StoredFile | None]) -> TieredStorage:
        """Return this storage as one that was told these rows by name, None for a name without one.

        It goes on to say so of files that others replace or delete, so it is for as long as a page takes to render.
        What has moved on is looked up anew, and so is what is saved, deleted or transferred through it.
        """
        return traits.with_option(self, "_known", rows)

    def _forget(self, name: str) -> None:
        if self._known:
            self._known.pop(name, None)

    # ---- moving ----

    def transfer(self, name: str) -> None:
        """Ask for the file to be brought where its policy wants it; on a settled file this does nothing.

        A file that was there before this package is taken into the catalog. Raise FileNotFoundError for a missing
        file, CopiesDiffer for one that two tiers have with different content, ImproperlyConfigured for a chain
        without policy.
        """
        if self.policy is None:
            raise ImproperlyConfigured(
                f"Chain {self.alias!r} has no policy that says where to transfer files. "
                f"Write one into {TIERS}[{self.alias!r}]['POLICY']."
            )
        name = clean(name)
        self._forget(name)
        row = catalog.find(self.alias, name)
        if row is None or row.is_gone:
            with suppress(NameTaken):  # by who adopted it in this moment, saved another, or deleted it
                catalog.adopt(self.chain, self._found(name), row)
        with catalog.locked(self.alias, name) as row:
            if row is None or not row.is_live:
                raise FileNotFoundError(f"Chain {self.alias!r} has no file {name!r}.")
            if catalog.request(row, self.chain):
                dispatch.hint(row)

    def take_in(self, names: Collection[str]) -> list[str]:
        """Do what ``transfer`` does, with a few statements for all of the files.

        Return the names of those that it was done of. The others, and what is wrong with them, are for ``transfer``.
        """
        known = {name: row for name, row in catalog.find_many(self.alias, names).items() if row is not None}
        found = []
        for name in dict.fromkeys(names):
            self._forget(name)
            if name not in known:
                with suppress(Exception):
                    found.append(self._found(name))
        rows = catalog.adopt_each(self.chain, found)
        with transaction.atomic(using=catalog.database()):  # one message for all
            rows += catalog.request_each(self.chain, [row.pk for row in known.values()])
            for row in rows:
                if row.state == "pending":
                    dispatch.hint(row)
        return [row.name for row in rows]

    def _found(self, name: str) -> Saved:
        """Look at a file that some tiers hold; raise CopiesDiffer unless they hold the same."""
        first = self.reader.locate(name)
        others = (tier for tier in self.chain.writable if tier is not first)
        holders = [
            first,
            *(tier for tier in others if _has(tier, name) and not disk.is_link(tier.storage, name)),
        ]
        names = tuple(tier.name for tier in self.chain if tier in holders)
        digest = copying.common_digest(holders, name) if len(holders) > 1 else ""
        if digest is None:
            raise CopiesDiffer(self.alias, name, names)
        return Saved(
            name,
            self.policy or "",
            size=outage.ask(first, lambda: first.storage.size(name)),
            digest=digest,
            times=outage.ask(first, lambda: copying.times(first, name)),
            tiers=names,
        )

    # ---- saving ----

    def save(self, name: str | None, content: Any, max_length: int | None = None) -> str:
        """Save the content, from its start, on the first tier; return the name, free on all tiers, that it got.

        The content is left open, and rewound. What follows is recorded in the caller's transaction and begins
        after its commit.
        """
        self._require_writable()
        name = str(content.name if name is None else name)
        if not hasattr(content, "chunks"):
            content = File(content, name)
        validate_file_name(name, allow_relative_path=True)
        name = visible(clean(self.name_for(name, content)))
        limit = min(max_length or MAX_NAME, MAX_NAME)
        uploads.rewind(content)
        with bounded.budget(conf.patience()):
            name = self._saver.save(name, content, limit)
        self._forget(name)
        uploads.rewind(content)
        return name

    @property
    def _saver(self) -> Saver:
        return Saver(
            self.chain,
            self.policy,
            available_name=self.get_available_name,
            name_to_try=self._name_to_try,
            random_name=self._random_name,
        )

    def _require_writable(self) -> None:
        """Raise, before anything is touched, what stands in the way of every save."""
        _ = self.policy
        if self.chain.first.read_only:
            raise ReadOnlyChain(self.alias)

    # ---- names ----

    def name_for(self, name: str, content: File[Any]) -> str:
        """Return the name that the first tier wants for the content, if it looks at that: ImageStorage does."""
        first: Any = self.chain.first.storage
        return str(first.name_for(name, content)) if hasattr(first, "name_for") else name

    def get_valid_name(self, name: str) -> str:
        return self.chain.first.storage.get_valid_name(name)

    def get_alternative_name(self, file_root: str, file_ext: str) -> str:
        return self.chain.first.storage.get_alternative_name(file_root, file_ext)

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        try:
            return super().get_available_name(name, max_length)
        except TierUnavailable:
            # Nobody can say whether the name is free there, and a save does not wait: a random one is.
            return self._random_name(name, max_length)

    def _name_to_try(self, name: str, max_length: int) -> str:
        """Return the name itself if no tier has it, where it can be left to the writing of its row what else has."""
        if self._row_tells_of_names and len(name) <= max_length:
            with suppress(TierUnavailable):
                if not (self._is_on_first(name) or any(_has(tier, name) for tier in self._shared_tiers)):
                    return name
        return self.get_available_name(name, max_length)

    @property
    def _row_tells_of_names(self) -> bool:
        """Whether a name is free that no tier has and whose row can be written, and all tiers can be asked for free."""
        own, first = type(self), self.chain.first.storage
        has_ways = (
            own.get_available_name is not TieredStorage.get_available_name
            or own.is_name_available is not TieredStorage.is_name_available
        )
        if has_ways or self.policy is None or self.chain.spills or traits.overwrites(first):
            return False
        asked = (self.chain.first, *self._shared_tiers)
        return all(traits.is_local_class(tier.backend) for tier in asked) and catalog.insert_tells()

    def _random_name(self, name: str, max_length: int | None) -> str:
        return _RandomNames(self, name).get_available_name(name, max_length)

    def is_name_available(self, name: str, max_length: int | None = None) -> bool:
        """Tell whether no tier has the name; raise TierUnavailable where one cannot be asked in time."""
        if max_length and len(name) > max_length:
            return False
        if traits.overwrites(self.chain.first.storage):
            return True
        return self._is_free_nearby(name) and not any(
            _has(tier, name, quickly=True) for tier in self._shared_tiers
        )

    def _is_free_nearby(self, name: str) -> bool:
        if self._is_on_first(name):
            return False
        return not (self.is_catalogued and catalog.holds(self.alias, name))

    def _is_on_first(self, name: str) -> bool:
        first = self.chain.first
        try:
            with outage.discretion(first):
                return first.storage.exists(name)
        except Exception as error:
            if self.chain.spills and is_full_or_down(first, error):
                raise TierUnavailable(first.name, first.describe(error)) from None
            raise

    @property
    def _shared_tiers(self) -> Iterator[Tier]:
        return (tier for tier in self.chain.lower if not tier.exclusive)

    # ---- deleting ----

    def delete(self, name: str) -> None:
        """Delete the file from every writable tier: gone for readers at once, its bytes at commit.

        A tier that cannot be reached now is cleared later. Deleting a missing file does nothing. Where the chain has
        a TRASH, the content is kept where nobody sees it, and ``tiers restore`` brings it back until then.
        """
        if not name:
            raise ValueError("The name must be given to delete().")
        name = clean(name)
        self._forget(name)
        if not self.is_catalogued:
            _delete_now(self.chain, name)
            return
        with bounded.budget(conf.patience()):
            row = catalog.find(self.alias, name)
            if (row is None or row.is_gone) and not self._is_anywhere(name):
                return
            with transaction.atomic(using=catalog.database()):
                if row is not None and not row.is_live and not row.is_gone:
                    committed.clear(row)  # who deleted it did not come to that, or is at it
                else:
                    committed.clear(catalog.tombstone(self.chain, name, self.chain.config.TRASH))

    def _is_anywhere(self, name: str) -> bool:
        try:
            return any(_has(tier, name, quickly=True) for tier in self.chain)
        except TierUnavailable:
            return True

    # ---- reading ----

    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        if mode != "rb":
            writing.check_mode(mode)
            if writing.writes(mode):
                return self._open_to_write(clean(name), mode)
        name = clean(name)
        if (near := plain_disk(self.chain)) is not None:
            with suppress(Exception):
                if mode == "rb":
                    stream = open(disk.path_of(near, name), "rb")  # noqa: SIM115 - the file closes it
                    return ChainFile(stream, None, mode, partial(self.open, name))
                return self._reopenable(near.open(name, mode), name, mode)
        return self._reopenable(self.reader.open(name, mode), name, mode)

    def _reopenable(self, file: File[Any], name: str, mode: str) -> File[Any]:
        return reopenable(file, mode, partial(self.open, name))

    def _open_to_write(self, name: str, mode: str) -> File[Any]:
        """Return a file that replaces the named one, or makes it, when it is closed."""
        self._require_writable()
        self._forget(name)
        validate_file_name(name, allow_relative_path=True)
        if len(name) > MAX_NAME:
            raise ValueError(f"A name has at most {MAX_NAME} characters; this one has {len(name)}.")
        if is_own(PurePosixPath(name).name):
            raise ValueError("This name is kept for unfinished files, which nobody sees; take another.")
        if "x" in mode and self.exists(name):
            raise FileExistsError(name)
        before = self.reader.open(name) if "r" in mode or ("a" in mode and self.exists(name)) else None
        return writing.WrittenFile(name, mode, before, lambda content: self._saver.replace(name, content))

    def _near(self, name: str) -> FileSystemStorage | None:
        """Return the first tier's storage where a glance tells that it has the file."""
        near = plain_disk(self.chain)
        return near if near is not None and disk.has_file(near, name) else None

    def exists(self, name: str) -> bool:
        name = clean(name)
        return self._near(name) is not None or self.reader.exists(name)

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        return self.reader.listdir(path)

    def size(self, name: str) -> int:
        name = clean(name)
        if (near := self._near(name)) is not None:
            with suppress(Exception):
                return near.size(name)
        return self.reader.size(name)

    def url(self, name: str | None) -> str:
        name = clean(name or "")
        if self.chain.config.URLS == "stable":
            return self.stable_url(name)
        if (near := self._near(name)) is not None:
            with suppress(Exception):
                return disk.url(near, name)
        return self.reader.url(name)

    def stable_url(self, name: str, lifetime: timedelta | None = None) -> str:
        """Return the URL of ``queued_storage.urls``, which stays what it is wherever the file moves.

        That of a PRIVATE chain is signed, and opens the file for the lifetime, by default the chain's LINK_LIFETIME.
        Raise FileNotFoundError for a missing file, ValueError for a lifetime below a second or above 36,500 days; tiers
        that are down are no reason to have no URL.
        """
        name, config = clean(name), self.chain.config
        if config.URLS != "stable":
            raise ConfigurationError(
                f'{TIERS}[{self.alias!r}] serves no stable URLs. Write "URLS": "stable" into it.'
            )
        if self._near(name) is None and self._row(name) is None:
            with suppress(ChainUnavailable):
                self.reader.locate(name)
        if not config.PRIVATE:
            return links.url(self.alias, name)
        return links.signed_url(self.alias, name, config.LINK_LIFETIME if lifetime is None else lifetime)

    def path(self, name: str) -> str:
        return self.reader.path(clean(name))

    def get_accessed_time(self, name: str) -> datetime:
        return self.reader.time(clean(name), "accessed")

    def get_created_time(self, name: str) -> datetime:
        return self.reader.time(clean(name), "created")

    def get_modified_time(self, name: str) -> datetime:
        return self.reader.time(clean(name), "modified")


class _RandomNames(Storage):
    """Finds a name that is free nearby, and too random to be taken anywhere."""

    def __init__(self, storage: TieredStorage, asked: str) -> None:
        self._storage = storage
        self._asked = asked.replace("\\", "/")

    def is_name_available(self, name: str, max_length: int | None = None) -> bool:
        if name == self._asked or (max_length and len(name) > max_length):
            return False
        try:
            return self._storage._is_free_nearby(name)
        except TierUnavailable:
            if not self._storage.chain.spills:
                raise
            return True


def _has(tier: Tier, name: str, *, quickly: bool = False) -> bool:
    if not quickly:
        return outage.ask(tier, lambda: direct.exists(tier.storage, name))
    deadline = conf.get("DEADLINE")
    with bounded.spending(deadline / 3, leaving=deadline / 4) as seconds:
        return outage.ask(tier, lambda: tier.storage.exists(name), seconds)


def _delete_now(chain: Chain, name: str) -> None:
    """Delete from every writable tier of a chain without catalog; raise what the first that failed said."""
    failure: Exception | None = None
    for tier in chain.writable:
        try:
            outage.ask(tier, lambda tier=tier: tier.storage.delete(name))  # type: ignore[misc]
        except Exception as error:  # noqa: BLE001 - raised below, once the other tiers had their turn
            if not traits.is_missing(error):
                failure = failure or error
    if failure is not None:
        raise failure


class TieredStorages:
    """``tiered_storages["media"]``: the storage of a chain, by alias, as Django's ``storages``."""

    def __getitem__(self, alias: str) -> TieredStorage:
        known = getattr(settings, TIERS, {})
        if not isinstance(known, Mapping):
            return TieredStorage(alias)  # its first use tells this mistake together with the others
        if alias not in known:
            raise ConfigurationError(f"{TIERS} has no chain {alias!r}. {did_you_mean(alias, known)}")
        return TieredStorage(alias)


tiered_storages = TieredStorages()

# 0.3's documentation imports its storages from here, its code had them in ``queued_storage.backend``.
__getattr__ = former.names(
    __name__,
    {
        name: f"queued_storage.backend.{name}"
        for name in ("QueuedRemoteStorage", "DoubleFilesystemStorage", "S3Storage", "DelayedStorage")
    },
)
