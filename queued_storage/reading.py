"""Which tier answers: the one place that knows *absent* from *broken*.

The first tier is asked itself, without a query. Below it the catalog tells where to look; a name that the catalog
does not know is probed for. *Absent* moves on; *broken* is remembered and moves on; if nobody answers, the reader is
told FileNotFoundError only where every tier that could hold the file said so.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage, Storage

from . import catalog, held, hooks, outage, streams, traits
from .chain import Chain
from .continued import open_continued
from .exceptions import ChainUnavailable, IncompleteListing, NoPath, OnAnotherHost, TierUnavailable
from .names import is_own
from .tier import Tier

if TYPE_CHECKING:
    from .models import StoredFile

T = TypeVar("T")


@dataclass(frozen=True)
class Question(Generic[T]):
    """What a reader wants to know: how a tier is asked, and what the catalog's word alone can answer."""

    #: Asks for what lies under a name; raises what ``traits.is_missing`` knows where nothing does.
    ask: Callable[[Storage, str], T]
    #: The answer for a tier that the catalog says holds the file; None asks the tier after all.
    known: Callable[[Tier, StoredFile], T] | None = None
    #: Asks a tier below the first about a name that nobody knows, where ``ask`` does not tell a missing file.
    probe: Callable[[Storage, str], T] | None = None


def plain_disk(chain: Chain) -> FileSystemStorage | None:
    """Return the first tier's storage, if that is a plain disk whose word holds for all: no commit will change it.

    What it does not answer, however it fails, is a question for the ``Reader``.
    """
    tier = chain.disk
    return None if tier is None or hooks.ChangesReads.alive else tier.storage  # type: ignore[return-value]


class Reader:
    """Answers for the files of one chain; a catalogued chain has rows, a plain fallback has none."""

    def __init__(
        self,
        chain: Chain,
        *,
        catalogued: bool,
        known: dict[str, StoredFile | None] | None = None,
        came_from_below: Callable[[StoredFile], None] | None = None,
    ) -> None:
        self.chain = chain
        self.catalogued = catalogued
        #: Rows by name, None for a name without one, as the catalog had them a while ago.
        self.known = {} if known is None else known
        #: Told of a file that was crowded out of the first tier and is opened on a lower one.
        self.came_from_below = came_from_below

    # ---- the questions ----

    def open(self, name: str, mode: str = "rb") -> File[Any]:
        before = self._row_of_first(name)
        search = self._search(name, Question(partial(self._open, mode)), opens=True)
        tier, file = self._answer(search)
        if search.row is not None and search.row.crowded_out and self.came_from_below is not None:
            self.came_from_below(search.row)
        if traits.is_local(tier.storage):
            return file if "b" in mode or traits.is_disk(tier.storage) else streams.as_text(file)
        row = before if tier.is_first else search.row
        if row is not None:
            file = self._continued(row, tier, file)
        return file if "b" in mode else streams.as_text(file)

    def _row_of_first(self, name: str) -> StoredFile | None:
        """Return what is known of a file that a server as first tier may lose, for its policy, while it is read.

        Asked before the file is opened: one that was replaced in between is then known to be another.
        """
        if not self.catalogued or traits.is_local(self.chain.first.storage):
            return None
        row = self.known[name] if name in self.known else catalog.find(self.chain.alias, name)
        # Content that is committed and not published is not what a reader gets by the name.
        return row if row is not None and row.is_live and not row.staged else None

    def _open(self, mode: str, storage: Storage, at: str) -> File[Any]:
        if traits.is_disk(storage):
            return storage.open(at, mode)
        # A policy may take it from the first tier while it is read; what lies below is read on elsewhere.
        may_go = self.catalogued and storage is self.chain.first.storage
        return streams.open_for_read(storage, at, may_go=may_go)

    def _continued(self, row: StoredFile, tier: Tier, file: File[bytes]) -> File[bytes]:
        """Return the file as one that, where this tier lets it down, reads on from another in the same generation."""
        failed = [tier.name]

        def reopen(error: Exception) -> File[bytes]:
            now = catalog.find(self.chain.alias, row.name)
            if now is None or not now.is_live or now.generation != row.generation:
                raise error
            search = self._search(row.name, Question(partial(self._open, "rb")), opens=True)
            tiers = (tier for tier in self.chain.holders(now) if tier.name not in failed)
            if (answer := search.try_tiers(tiers, now)) is None:
                raise error
            failed.append(answer[0].name)
            return answer[1]

        return open_continued(file, reopen, len(self.chain.tiers) - 1, name=row.name, size=row.size)

    def exists(self, name: str) -> bool:
        try:
            self.locate(name)
        except FileNotFoundError:
            return self._is_just_a_folder(name)
        except OnAnotherHost:
            return True
        return True

    def _is_just_a_folder(self, name: str) -> bool:
        """Tell whether a disk would say, as Django's storages do, that the folder of this name exists."""
        is_folder = traits.is_directory(self.chain.first.storage, name)
        return is_folder and not (self.catalogued and catalog.find(self.chain.alias, name) is not None)

    def locate(self, name: str) -> Tier:
        """Return the tier that would answer a read; raise FileNotFoundError."""
        tier, _ = self._find(name, Question(_existing, lambda tier, row: tier.storage))
        return tier

    def size(self, name: str) -> int:
        def known(tier: Tier, row: StoredFile) -> int:
            return row.size if row.size is not None else outage.ask(tier, lambda: tier.storage.size(name))

        question = Question(
            lambda storage, at: storage.size(at),
            known,
            lambda storage, at: _existing(storage, at).size(at),
        )
        return self._find(name, question)[1]

    def url(self, name: str) -> str:
        """Return the URL that the answering tier gives; its own life is not this package's to promise."""
        return self._find(
            name,
            Question(
                lambda storage, at: _existing(storage, at).url(name),
                lambda tier, row: outage.ask(tier, lambda: tier.storage.url(name)),
            ),
        )[1]

    def path(self, name: str) -> str:
        try:
            return self.place(name)[1]
        except FileNotFoundError as missing:
            raise NoPath(str(missing)) from None

    def place(self, name: str) -> tuple[Tier, str]:
        """Return the tier with paths that has the file, and the path; raise NotImplementedError."""
        return self._find(
            name,
            Question(
                lambda storage, at: _path(_existing(storage, at), at),
                lambda tier, row: _path(tier.storage, name),
            ),
        )

    def time(self, name: str, kind: str) -> datetime:
        """Return the ``accessed``, ``created`` or ``modified`` time, which a move does not change."""

        def ask(storage: Storage, at: str) -> datetime:
            told: datetime = getattr(storage, f"get_{kind}_time")(at)
            return told

        def known(tier: Tier, row: StoredFile) -> datetime:
            told: datetime | None = getattr(row, f"{kind}_at")
            return told or outage.ask(tier, lambda: ask(tier.storage, name))

        try:
            return traits.as_settings_say(self._find(name, Question(ask, known))[1])
        except NotImplementedError:
            self.locate(name)  # a backend that keeps no such time says so of a missing file as well
            raise

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """Return the merged listing; raise IncompleteListing, with what there is, if a tier did not answer."""
        directories: set[str] = set()
        names: set[str] = set()
        failures: dict[str, str] = {}
        found = path in ("", ".", "/")
        for tier in self.chain:
            try:
                below, here = outage.ask(tier, lambda tier=tier: tier.storage.listdir(path))  # type: ignore[misc]
            except TierUnavailable as error:
                failures[tier.name] = error.reason
            except Exception as error:
                if not traits.is_missing(error):
                    raise
            else:
                found = True
                directories.update(below)
                here = self._counted_on(tier, path, here)
                names.update(name for name in here if not is_own(name))
        if self.catalogued and self.chain.own is not None:
            found = _add_names(catalog.names_elsewhere(self.chain, path), directories, names) or found
        listing = sorted(directories), sorted(names - self._deleted_in(path, names))
        if failures:
            raise IncompleteListing(self.chain.alias, path, failures, listing)
        if not found:
            raise FileNotFoundError(f"Chain {self.chain.alias!r} has no directory {path!r}.")
        return listing

    def _counted_on(self, tier: Tier, path: str, names: list[str]) -> list[str]:
        """Leave out what lies on this host's own disk and is not the file: that is on another's."""
        if tier.shared or not self.catalogued:
            return names
        prefix = _prefix(path)
        rows = catalog.find_many(self.chain.alias, [prefix + name for name in names])
        return [
            name
            for name in names
            if (row := rows[prefix + name]) is None or tier in self.chain.holders(row) or row.staged
        ]

    def _deleted_in(self, path: str, names: Iterable[str]) -> set[str]:
        """Return those of the names, which were listed there, that are of deleted files."""
        if not self.catalogued:
            return set()
        prefix = _prefix(path)
        deleted = catalog.deleted_among(self.chain.alias, [prefix + name for name in names])
        return {name.removeprefix(prefix) for name in deleted}

    # ---- the answer ----

    def _find(self, name: str, question: Question[T], *, opens: bool = False) -> tuple[Tier, T]:
        """Return the tier that answers and its answer; raise FileNotFoundError or ChainUnavailable."""
        return self._answer(self._search(name, question, opens=opens))

    def _search(self, name: str, question: Question[T], *, opens: bool) -> _Search[T]:
        return _Search(self.chain, name, question, opens=opens)

    def _answer(self, search: _Search[T]) -> tuple[Tier, T]:
        name = search.name
        if self.catalogued and hooks.is_being_deleted(self.chain.alias, name):
            raise search.missing()
        if self.catalogued:
            search.name_on_first = hooks.content_name(self.chain.alias, name)
        if self.chain.own is not None and self.catalogued:
            return self._find_below(
                search
            )  # of what lies here by this name the catalog says whether it is the file
        if (answer := search.try_tiers([self.chain.first])) is not None:
            return answer
        if not self.catalogued:
            return search.try_tiers(self.chain.lower) or search.give_up()
        return self._find_below(search)

    def _find_below(self, search: _Search[T]) -> tuple[Tier, T]:
        if search.name in self.known and (answer := self._find_as_known(search)) is not None:
            return answer
        row = catalog.find(self.chain.alias, search.name)
        while row is not None and row.is_live:
            # What is committed may be a moment from being published.
            staged = PurePosixPath(row.name).parent / row.staged
            search.name_on_first = str(staged) if row.staged else search.name
            tiers = self.chain.holders(row)
            if (answer := search.try_tiers(tiers, row)) is not None:
                return answer
            # The file may have moved on while it was looked for: then the catalog says where to.
            before, row = row, catalog.find(self.chain.alias, search.name)
            if row is not None and _whereabouts(row) == _whereabouts(before):
                return self._find_beyond_snapshot(search, row) or self._give_up(search, row)
        if row is not None:
            raise search.missing()
        return search.try_tiers(self._not_asked_yet) or search.give_up()

    @property
    def _not_asked_yet(self) -> list[Tier]:
        """The tiers that may have what the catalog does not know: the first was asked, unless it is each host's own."""
        return list(self.chain.lower if self.chain.own is None else self.chain.tiers)

    def _give_up(self, search: _Search[T], row: StoredFile) -> Any:
        own = self.chain.own
        if own is not None and own.name in row.tiers and self.chain.has_elsewhere(row):
            raise OnAnotherHost(self.chain.alias, search.name, own.name, str(row.host))
        return search.give_up()

    def _find_as_known(self, search: _Search[T]) -> tuple[Tier, T] | None:
        """Look where the file was a while ago; that it is not there (any more) says nothing."""
        row = self.known[search.name]
        if row is None:
            tiers = self._not_asked_yet
        else:
            tiers = self.chain.holders(row) if row.is_live and not row.staged else []
        answer = search.try_tiers(tiers, row)
        if answer is None or (row is not None and answer[0] is not tiers[0]):
            self.known.pop(search.name, None)
        return answer

    def _find_beyond_snapshot(self, search: _Search[T], row: StoredFile) -> tuple[Tier, T] | None:
        """Look where the file may have moved since this transaction began, whose snapshot does not tell of it."""
        if not catalog.in_transaction():
            return None
        told_of = {*row.tiers, *row.stale, self.chain.first.name}
        return search.try_tiers(tier for tier in self.chain if tier.name not in told_of)


def _prefix(path: str) -> str:
    """Return what the names in this folder begin with."""
    return path.strip("/") + "/" if path.strip("/.") else ""


def _add_names(found: Iterable[str], directories: set[str], names: set[str]) -> bool:
    """Add names, as they go on from a folder, to its listing; tell whether there was any."""
    has_any = False
    for has_any, name in ((True, name) for name in found):  # noqa: B007
        folder, _, rest = name.partition("/")
        (directories if rest else names).add(folder)
    return has_any


def _whereabouts(row: StoredFile) -> tuple[int, list[str], str]:
    return row.generation, row.tiers, row.staged


class _Search(Generic[T]):
    def __init__(self, chain: Chain, name: str, question: Question[T], *, opens: bool) -> None:
        self.chain = chain
        self.name = name
        self.question = question
        self.opens = opens
        self.name_on_first = name
        self.failures: dict[str, str] = {}
        self.refusal: Exception | None = None
        #: What the catalog said of the file that was found by it.
        self.row: StoredFile | None = None

    def try_tiers(self, tiers: Iterable[Tier], row: StoredFile | None = None) -> tuple[Tier, T] | None:
        for tier in tiers:
            try:
                answer = tier, self._ask(tier, row)
            except TierUnavailable as error:
                self.failures[tier.name] = error.reason
            except NotImplementedError as error:
                if not traits.is_missing(error):  # as a chain's NoPath is
                    self.refusal = error
            except Exception as error:
                if not traits.is_missing(error):
                    raise
            else:
                self.row = row
                return answer
        return None

    def _ask(self, tier: Tier, row: StoredFile | None) -> T:
        if row is not None and self.question.known is not None and not tier.is_first:
            outage.refuse_if_down(tier)
            return self.question.known(tier, row)
        ask = self.question.ask if tier.is_first or self.question.probe is None else self.question.probe
        if row is None:
            ask = _absent_if_too_long(ask)
        at = self.name_on_first if tier.is_first else self.name
        if not self.opens and traits.is_directory(tier.storage, at):
            raise IsADirectoryError(at)
        if self.opens and tier.timeout is not None and not _is_asked_here(tier):
            return held.open_held(tier, lambda: ask(tier.storage, at), self.name)  # type: ignore[arg-type, return-value]
        return outage.ask(tier, lambda: ask(tier.storage, at))

    def missing(self) -> FileNotFoundError:
        return FileNotFoundError(f"Chain {self.chain.alias!r} has no file {self.name!r}.")

    def give_up(self) -> Any:
        if self.failures:
            raise ChainUnavailable(self.chain.alias, self.name, self.failures)
        if self.refusal is not None:
            raise self.refusal
        raise self.missing()


def _absent_if_too_long(ask: Callable[[Storage, str], T]) -> Callable[[Storage, str], T]:
    """Have it say "no such file" of a name that is longer than the tier takes: no file there can have it."""

    def asked(storage: Storage, at: str) -> T:
        try:
            return ask(storage, at)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise FileNotFoundError(errno.ENOENT, "no file has a name of this length", at) from error
            raise

    return asked


def _is_asked_here(tier: Tier) -> bool:
    """Tell whether this thread itself asks the tier, whatever its TIMEOUT."""
    return traits.is_local(tier.storage) or traits.joins_transactions(tier.backend)


def _existing(storage: Storage, name: str) -> Storage:
    if not storage.exists(name):
        raise FileNotFoundError(name)
    return storage


def _path(storage: Storage, name: str) -> str:
    if traits.keeps_content_in_instance(
        type(storage)
    ):  # InMemoryStorage makes up paths at which nothing lies
        raise NotImplementedError("This backend doesn't support absolute paths.")
    return storage.path(name)
