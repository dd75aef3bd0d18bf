"""System checks that ask the catalog: ``migrate`` runs them, and ``check --database default``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.checks import CheckMessage, Tags, Warning, register
from django.db import DatabaseError, transaction

from . import applied, catalog, identity
from .chain import Chain, chains, find_problems
from .exceptions import ConfigurationError
from .schema import TIERS


@register(Tags.database)
def check_catalog(
    app_configs: Any = None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """W011: settings that were not applied to the files that are there. W012: tiers that nobody has identified."""
    try:
        if catalog.database() not in (databases or ()) or find_problems():
            return []
        with transaction.atomic(using=catalog.database()):
            return [message for alias in chains for message in _check(chains[alias])]
    except (ConfigurationError, DatabaseError):  # no tables yet, say: other checks, or migrate, tell
        return []


def _check(chain: Chain) -> Iterator[CheckMessage]:
    if changes := applied.pending(chain):
        yield Warning(
            f"{TIERS}[{chain.alias!r}]: {'; '.join(changes)}: files that lie where they should have lain stay there.",
            f"See what it means for them with: manage.py tiers plan --chain {chain.alias}, then: "
            f"manage.py tiers apply --chain {chain.alias}",
            id="queued_storage.W011",
        )
    if names := identity.unidentified(chain):
        yield Warning(
            f"{TIERS}[{chain.alias!r}]: {', '.join(map(repr, names))}: IDENTITY proves nothing yet.",
            f"Look that each is the right place, then type: manage.py tiers identify --chain {chain.alias}",
            id="queued_storage.W012",
        )
