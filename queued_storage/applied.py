"""The settings of a chain as its files follow them: noted at first use, compared, and noted anew by ``tiers apply``.

Files that lie where their policy wanted them are not looked at again when settings change. What is noted here tells
that there are such changes; which files they concern is for ``planning`` to find.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakSet

from django.db import DatabaseError
from django.utils import timezone

from . import catalog, logs
from .chain import Chain, chains
from .exceptions import ConfigurationError
from .policies import PolicyError, get_policy
from .schema import PolicySettings, read_policies

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_noted: WeakSet[Chain] = WeakSet()


def moves_files(chain: Chain) -> bool:
    """Tell whether the chain has files that a policy decides for."""
    return chain.policy_name is not None or chain.alias in chains.catalogued


def settings_of(chain: Chain) -> dict[str, Any]:
    """Return what decides where the chain's files lie; of policies a digest, as nobody has to read their options."""
    return {
        "tiers": [[tier.name, tier.read_only] for tier in chain],
        "policy": None if chain.default_policy is None else _digest(chain.default_policy),
        "policies": {name: _digest(name) for name in read_policies()[0]},
    }


def _digest(reference: str | PolicySettings) -> str:
    try:
        policy = get_policy(reference)
    except PolicyError:
        return f"unknown: {hashlib.sha256(repr(reference).encode()).hexdigest()}"
    told = [type(policy).__module__, type(policy).__qualname__, policy.model_dump()]
    text = _ADDRESS.sub("", json.dumps(told, sort_keys=True, default=repr))
    return hashlib.sha256(text.encode()).hexdigest()


def note(chain: Chain) -> None:
    """Note the settings of a chain of which none were noted yet: its files follow them. Once in a process it is asked.

    Where others are noted, a line in the log tells that there is something to apply. It never fails who calls it.
    """
    if chain in _noted or not moves_files(chain):
        return
    try:
        known = catalog.known_chain(chain.alias)
        if known is None or known.applied_at is None:
            record(chain)
        elif _changes(known.applied, settings_of(chain)):
            logs.warning("settings_not_applied", chain=chain.alias)
            _note_name(chain)
    except (ConfigurationError, DatabaseError) as error:
        logs.warning("settings_not_noted", chain=chain.alias, error=type(error).__name__)
        return
    _noted.add(chain)


def record(chain: Chain, *, instead: bool = False) -> None:
    """Note the settings that the chain's files follow, if none were noted or ``instead`` of those."""
    with catalog.changing_chain(chain.alias) as known:
        if instead or known.applied_at is None:
            known.applied = settings_of(chain) | {"names": _names(chain)}
            known.applied_at, known.progress = timezone.now(), {}


def _note_name(chain: Chain) -> None:
    """Note by which name files that are saved now remember the chain's policy; ``tiers apply`` knows them by it."""
    with catalog.changing_chain(chain.alias) as known:
        names = [*known.applied.get("names", ()), *_names(chain)]
        known.applied |= {"names": list(dict.fromkeys(names))}


def _names(chain: Chain) -> list[str]:
    return [] if chain.policy_name is None else [chain.policy_name]


def former_names(chain: Chain) -> set[str]:
    """Return the names by which files may remember the chain's POLICY as it was, that are not its name now."""
    known = catalog.known_chain(chain.alias)
    return set() if known is None else {*known.applied.get("names", ())} - {chain.policy_name, ""}


def pending(chain: Chain) -> list[str]:
    """Return, in words, how the settings differ from those that the chain's files follow; none if none were noted."""
    if not moves_files(chain):
        return []
    known = catalog.known_chain(chain.alias)
    if known is None or known.applied_at is None:
        return []
    return list(_changes(known.applied, settings_of(chain)))


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [*_changes_of_tiers(before, now), *_changes_of_policies(before, now)]


def _changes_of_tiers(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    old, new = dict(before.get("tiers", ())), dict(now["tiers"])
    yield from (f"tier {name!r} was added" for name in new if name not in old)
    yield from (f"tier {name!r} was removed" for name in old if name not in new)
    if [name for name in old if name in new] != [name for name in new if name in old]:
        yield "the tiers are in another order"
    for name, is_read_only in new.items():
        if name in old and old[name] != is_read_only:
            yield f"tier {name!r} is {'READ_ONLY now' if is_read_only else 'not READ_ONLY any more'}"


def _changes_of_policies(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    if before.get("policy") != now["policy"]:
        yield "the chain's POLICY is another"
    old = before.get("policies", {})
    for name, digest in old.items():  # a new name is of no file that there is
        if name not in now["policies"]:
            yield f"policy {name!r} was removed"
        elif now["policies"][name] != digest:
            yield f"policy {name!r} was changed"
