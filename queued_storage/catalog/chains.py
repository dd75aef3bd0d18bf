"""What the catalog keeps of a whole chain: the settings that its files follow, and what its tiers are known by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.apps import apps
from django.db import transaction
from django.db.models import QuerySet

from .rows import database, stored_file_model

if TYPE_CHECKING:
    from ..models import StoredChain


def known_chains() -> QuerySet[StoredChain]:
    stored_file_model()  # tells what to add where the app is not installed
    model: type[StoredChain] = apps.get_model("queued_storage", "StoredChain")
    return model._default_manager.using(database())


def known_chain(alias: str) -> StoredChain | None:
    """Return what is known of the chain; None if nothing is."""
    return known_chains().filter(chain=alias).first()


@contextmanager
def changing_chain(alias: str) -> Iterator[StoredChain]:
    """Hold what is known of the chain in a transaction, to be changed and, at the end, written."""
    with transaction.atomic(using=database()):
        # One statement that inserts or does nothing, and then a lock: of two at once the second waits for the first.
        known_chains().bulk_create([known_chains().model(chain=alias)], ignore_conflicts=True)
        known = known_chains().select_for_update().get(chain=alias)
        yield known
        known.save(using=database())


def identities(alias: str) -> dict[str, str]:
    """Return what the identity file of each tier says that has one."""
    known = known_chain(alias)
    return {} if known is None else dict(known.identities)
