"""The rows themselves: where they are, how one is locked, and what is known of a file before it has one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import connections, router, transaction
from django.db.models import F, QuerySet

from .. import conf
from ..exceptions import ConfigurationError

if TYPE_CHECKING:
    from ..models import StoredFile


#: How the reason of a file begins whose recorded copies were all seen to be bad.
NO_GOOD_COPY = "no good copy is left"


@dataclass(frozen=True)
class Saved:
    """What is known of a file that the first tier has just taken (or is about to)."""

    name: str
    policy: str
    size: int | None = None
    digest: str = ""
    content_type: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    times: dict[str, datetime] = field(default_factory=dict)
    model: str = ""
    field: str = ""
    requested: bool = False
    tiers: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    staged: str = ""


def stored_file_model() -> type[StoredFile]:
    try:
        return apps.get_model("queued_storage", "StoredFile")
    except LookupError:
        raise ConfigurationError(
            "A chain with a POLICY keeps a catalog. Add 'queued_storage' to INSTALLED_APPS and run migrate, "
            "or write POLICY: None for plain read fallback."
        ) from None


def database() -> str:
    """Return the alias of the database that holds the catalog."""
    return router.db_for_write(stored_file_model())


def files() -> QuerySet[StoredFile]:
    # Reads ask the database that is written to: a replica that lags would tell of copies that are gone.
    return stored_file_model()._default_manager.using(database())


def in_transaction() -> bool:
    """Tell whether what is written to the catalog now can still be rolled back by the caller."""
    return connections[database()].in_atomic_block


@contextmanager
def locked(chain: str, name: str) -> Iterator[StoredFile | None]:
    """Hold the name's row in a transaction, against workers that would release or clear the first tier."""
    with transaction.atomic(using=database()):
        yield lock_row(chain, name)


def lock_row(chain: str, name: str) -> StoredFile | None:
    named = files().filter(stored_file_model().named(chain, name))
    if connections[database()].features.has_select_for_update:
        # A locking read: a plain one would show what an older snapshot of the caller's transaction holds.
        return named.select_for_update().first()
    named.update(fence=F("fence"))  # takes SQLite's lock
    return named.first()


def lock_each(rows: QuerySet[StoredFile]) -> QuerySet[StoredFile]:
    """Return those of the rows that nobody else has locked, locked until the transaction ends.

    Whoever waits for one while it holds others would have a transaction that saves two of the files wait for it too.
    """
    features = connections[database()].features
    if features.has_select_for_update:
        return rows.select_for_update(skip_locked=features.has_select_for_update_skip_locked).order_by("pk")
    rows.update(fence=F("fence"))  # takes SQLite's lock
    return rows


def is_for_another(row: StoredFile) -> bool:
    """Tell whether what is due of the file can be done on another host alone."""
    return row.for_host is not None and row.for_host != conf.host()


def is_doubted(row: StoredFile) -> bool:
    """Tell whether no copy was good when the file was verified, and no attempt has seen since that one is."""
    return row.last_error.startswith(NO_GOOD_COPY)


def lease_time() -> timedelta:
    return timedelta(seconds=conf.get("LEASE"))


def including(names: list[str], name: str) -> list[str]:
    return [*names, name] if name not in names else list(names)


def without(names: list[str], name: str) -> list[str]:
    return [other for other in names if other != name]
