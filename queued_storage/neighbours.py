"""Who else keeps files where a chain does: what is found there may be theirs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.apps import apps
from django.conf import DEFAULT_STORAGE_ALIAS, settings
from django.core.files.storage import InvalidStorageError, storages
from django.db.models import FileField

from . import places
from .chain import Chain, chains
from .exceptions import ConfigurationError
from .storage import TieredStorage
from .tier import Tier


@dataclass(frozen=True)
class Neighbour:
    """A field, an entry of STORAGES, a chain or another tier, and the places where it keeps files."""

    name: str
    places: tuple[object, ...]


def sharing(chain: Chain) -> dict[str, str]:
    """Return who else keeps files in the very place of a writable tier, by name; with the tier's name."""
    found: dict[str, str] = {}
    others = list(_others(chain))
    for tier in chain.writable:
        mine = list(_places_of(tier))
        for other in others:
            if any(places.below(place, own) == "" for place in other.places for own in mine):
                found.setdefault(other.name, tier.name)
    return found


def folders(chain: Chain) -> dict[str, tuple[str, ...]]:
    """Return, for each tier, the folders in which the files of others lie, its chain's other tiers among them."""
    others = list(_others(chain))
    return {tier.name: tuple(_folders(tier, [*others, *_siblings(chain, tier)])) for tier in chain}


def lies_in(folders: tuple[str, ...], name: str) -> bool:
    """Tell whether the file of this name lies in one of the folders."""
    return any(name.startswith(f"{folder}/") for folder in folders)


def _folders(tier: Tier, others: list[Neighbour]) -> Iterator[str]:
    for own in _places_of(tier):
        for other in others:
            yield from filter(None, (places.below(own, place) for place in other.places))


def _siblings(chain: Chain, tier: Tier) -> Iterator[Neighbour]:
    for other in chain:
        if other is not tier:
            yield Neighbour(f"tier {other.name!r}", tuple(_places_of(other)))


def _others(chain: Chain) -> Iterator[Neighbour]:
    yield from _fields(chain)
    own = {tier.alias for tier in chain}
    for alias in settings.STORAGES:
        # Django's default is there whether it is used or not; the fields that use it are told by themselves.
        if alias == DEFAULT_STORAGE_ALIAS or alias in own:
            continue
        yield Neighbour(f"STORAGES[{alias!r}]", _places_of_alias(alias, chain))
    for alias in chains:
        if alias != chain.alias:
            yield Neighbour(
                f"chain {alias!r}", tuple(place for tier in chains[alias] for place in _places_of(tier))
            )


def _fields(chain: Chain) -> Iterator[Neighbour]:
    for model in apps.get_models(include_auto_created=True):
        for field in model._meta.local_fields:
            if isinstance(field, FileField):
                try:
                    found = tuple(_places_of_storage(field.storage, chain))
                except (ConfigurationError, InvalidStorageError):  # the check tells it
                    continue
                yield Neighbour(f"{model._meta.label}.{field.name}", found)


def _places_of_alias(alias: str, chain: Chain) -> tuple[object, ...]:
    try:
        return tuple(_places_of_storage(storages[alias], chain))
    except Exception:  # noqa: BLE001 - what cannot be built keeps no file; who uses it is told
        return ()


def _places_of_storage(storage: object, chain: Chain) -> Iterator[object]:
    storage = places.unwrapped(storage)
    if not isinstance(storage, TieredStorage):
        yield from _told(places.of_storage(storage))
    elif storage.alias != chain.alias:
        for tier in storage.chain:
            yield from _places_of(tier)


def _places_of(tier: Tier) -> Iterator[object]:
    """Yield the tier's place, as its settings tell it and, where it can be built, as the storage itself does."""
    told = places.of(chains[tier.chain].config.TIERS[tier.name])
    yield from _told(told)
    try:
        seen = places.of_storage(tier.storage)
    except Exception:  # noqa: BLE001 - whatever a backend raises over its options: who uses it is told
        return
    if seen != told:
        yield from _told(seen)


def _told(place: object) -> Iterator[object]:
    if place is not None:
        yield place
