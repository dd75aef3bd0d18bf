"""What other hosts deleted or replaced, and this one still has on its own disk: cleared."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from django.core.files.storage import FileSystemStorage
from django.db import DatabaseError

from .. import catalog, conf, identity, logs, outage, traits
from ..chain import Chain, chains
from ..exceptions import TierUnavailable, UnknownChain
from ..tier import Tier

if TYPE_CHECKING:
    from ..models import HostClearing

#: Names that are looked up at a time.
AT_ONCE = 500


def clear_owed() -> int:
    """Clear from this host's own disks what it owes; return of how many names. What cannot be cleared stays owed."""
    last, count = 0, 0
    while page := list(catalog.clearings().filter(host=conf.host(), pk__gt=last).order_by("pk")[:AT_ONCE]):
        count += sum(map(_clear, page))
        last = page[-1].pk
    return count


def _clear(clearing: HostClearing) -> bool:
    chain = _known(clearing.chain)
    if chain is None or chain.own is None:  # on a disk that is shared by now lies the file
        return False
    try:
        return catalog.clear(clearing, chain, partial(_remove, chain.own, clearing.name))
    except DatabaseError:
        raise
    except Exception as error:  # noqa: BLE001 - it stays owed, and the other names have their turn
        reason = chain.own.describe(error)
        catalog.not_cleared(clearing, reason)
        logs.warning("not_cleared", chain=clearing.chain, clearing=clearing.pk, error=reason)
        return False


def _known(alias: str) -> Chain | None:
    try:
        return chains[alias]
    except UnknownChain:
        return None


def _remove(tier: Tier, name: str) -> None:
    storage = tier.storage
    if isinstance(storage, FileSystemStorage) and not os.path.isdir(storage.location):
        raise TierUnavailable(tier.name, "its folder is not there: is it mounted?")
    identity.require(tier, fresh=True)
    try:
        with outage.discretion(tier):
            storage.delete(name)
    except Exception as error:
        if not (traits.is_missing(error) or traits.is_directory(storage, name)):
            raise
