"""What waits for the commit of the transaction under way, and what that makes of a file for readers inside it.

A tier that keeps its files in another database than the catalog's joins transactions of that one, which can be rolled
back when the catalog's is committed. So what has to wait for a commit waits for both.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, ClassVar, Self
from weakref import ref

from django.db import connections

from . import catalog, traits
from .chain import chains

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from .models import StoredFile
    from .tier import Tier


class AfterCommit:
    """A callback for ``transaction.on_commit`` that can be found again while it waits."""

    def __init__(self, row: StoredFile) -> None:
        self.row = row
        self.ran = False
        self.__qualname__ = type(self).__qualname__  # Django 5.2 writes it into the log when a callback fails

    def __call__(self) -> None:
        self.ran = True
        self.run()

    def run(self) -> None:
        raise NotImplementedError

    @classmethod
    def waiting(cls, using: str | None = None) -> list[Self]:
        """Return those that the transaction under way, by default the catalog's, will run if it commits."""
        connection = connections[catalog.database() if using is None else using]
        if not connection.in_atomic_block:
            return []
        callbacks = (entry[1] for entry in connection.run_on_commit)
        return [callback for callback in callbacks if isinstance(callback, cls) and not callback.ran]


class ChangesReads(AfterCommit):
    """One for which readers inside the transaction are told something else than what the first tier has."""

    #: Those of all threads that may still run: one that ran, or was rolled back, is soon in nobody's hands.
    alive: ClassVar[set[ref[ChangesReads]]] = set()

    def __init__(self, row: StoredFile) -> None:
        super().__init__(row)
        self.alive.add(ref(self, self.alive.discard))


class Deletion(ChangesReads):
    """Removes the bytes of a deleted file once the delete is committed."""


class Publication(ChangesReads):
    """Publishes content that replaces other content once that is committed."""


def content_name(chain: str, name: str) -> str:
    """Return the name by which the first tier holds what this transaction sees of the file."""
    for waiting in reversed(Publication.waiting()):
        if (waiting.row.chain, waiting.row.name) == (chain, name):
            return str(PurePosixPath(name).parent / waiting.row.staged)
    return name


def is_being_deleted(chain: str, name: str) -> bool:
    """Tell whether this transaction deleted the file: its bytes go at commit, but readers inside see it gone."""
    if not any((deletion.row.chain, deletion.row.name) == (chain, name) for deletion in Deletion.waiting()):
        return False
    row = catalog.find(chain, name)
    return row is None or not row.is_live


# ---- transactions of other databases ----


def databases_joined(tier: Tier) -> set[str | None]:
    """Return the databases of whose transactions it is a part what is done on the tier; None stands for any."""
    if traits.joins_transactions(tier.backend):
        return {traits.joined_database(tier.storage)}
    if traits.is_chain_class(tier.backend):
        return _joined_by(tier.storage.alias)  # type: ignore[attr-defined]
    return set()


def joins_elsewhere(tier: Tier) -> bool:
    """Tell whether what others do on the tier may be committed later than what the catalog says of it."""
    return not databases_joined(tier) <= {catalog.database()}


def under_way_elsewhere(chain: str, tiers: Collection[str] | None = None) -> list[str]:
    """Return the databases, but for the catalog's, whose transaction in this thread what the tiers do is a part of.

    A rollback of it would undo, behind the catalog's back, what is done on a tier now.
    """
    others = [connection.alias for connection in _others_under_way()]
    if not others:
        return []
    joined = _joined_by(chain, tiers)
    return [alias for alias in others if alias in joined or None in joined]


def commit_elsewhere(chain: str) -> str | None:
    """Return one of those databases whose commit can be waited for: nobody hears of one without ``atomic``."""
    others = under_way_elsewhere(chain)
    return next((alias for alias in others if connections[alias].in_atomic_block), None)


def are_others_under_way() -> bool:
    """Tell whether there is any transaction in this thread but the catalog's."""
    return bool(_others_under_way())


def _others_under_way() -> list[BaseDatabaseWrapper]:
    initialized = connections.all(initialized_only=True)
    under_way = [connection for connection in initialized if _is_under_way(connection)]
    return [connection for connection in under_way if connection.alias != catalog.database()]


def _is_under_way(connection: BaseDatabaseWrapper) -> bool:
    if connection.in_atomic_block:
        # That of a test case never ends, as far as the test can tell: everything is done inside it.
        return any(not getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)
    return connection.connection is not None and not connection.autocommit


def _joined_by(chain: str, tiers: Collection[str] | None = None) -> set[str | None]:
    try:
        asked = (tier for tier in chains[chain] if tiers is None or tier.name in tiers)
        return set().union(*map(databases_joined, asked))
    except Exception:  # noqa: BLE001 - whoever uses the tier is told; a save that does not is not failed
        return {None}
