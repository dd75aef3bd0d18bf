"""Where a tier's files lie: tiers that share a place take each other's files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.utils.functional import LazyObject, empty

from . import knowledge
from .schema import TierSettings

#: Kinds of places in which a prefix of names, the second fact, makes one place of many.
_WITH_PREFIX = ("s3", "gcs", "database")


def are_one(tier: TierSettings, twin: TierSettings) -> bool:
    """Tell whether both tiers keep their files in one place, however each of them spells it."""
    if tier.STORAGE is not None and tier.STORAGE == twin.STORAGE:
        return True
    place = of(tier)
    return place is not None and place == of(twin)


def are_nested(tier: TierSettings, twin: TierSettings) -> bool:
    """Tell whether one of the tiers lies inside the other, which would list and take its files as its own."""
    place, other = of(tier), of(twin)
    return place != other and not (below(place, other) is None and below(other, place) is None)


def below(outer: object, inner: object) -> str | None:
    """Return the folder of the outer place that the inner one is, "" where they are one; None where it is outside."""
    if outer is None or inner is None:
        return None
    if outer == inner:
        return ""
    if not (isinstance(outer, tuple) and isinstance(inner, tuple)) or outer[0] != inner[0]:
        return None
    if outer[0] == "disk":
        is_inside = os.path.commonpath([outer[1], inner[1]]) == outer[1]
        return os.path.relpath(inner[1], outer[1]) if is_inside else None
    if outer[0] not in _WITH_PREFIX or outer[1] != inner[1] or outer[3:] != inner[3:]:
        return None
    if outer[2] == "":
        return str(inner[2])
    return str(inner[2]).removeprefix(f"{outer[2]}/") if inner[2].startswith(f"{outer[2]}/") else None


def definition(tier: TierSettings) -> tuple[str, Mapping[str, Any]]:
    """Return class path and options; of an alias those in STORAGES, and nothing where it is unknown there."""
    if tier.STORAGE is None:
        return str(tier.BACKEND), tier.OPTIONS
    defined = settings.STORAGES.get(tier.STORAGE, {})
    return str(defined.get("BACKEND", "")), defined.get("OPTIONS", {})


def of(tier: TierSettings) -> object:
    """Return what is equal for one place, by the settings alone; None where they do not tell."""
    backend, options = definition(tier)
    if (place := knowledge.known_by_path(backend).place) is not None:
        kind, facts = place
        return _place(
            kind, [options.get(option, getattr(settings, setting, None)) for option, setting in facts]
        )
    if not backend.startswith("storages."):
        return None  # two instances of a class that is not known here may be two stores
    return backend, options


def of_storage(storage: object) -> object:
    """Return the same of a storage that is built, which knows also what its class says; None where it does not tell."""
    storage = unwrapped(storage)
    if (place := knowledge.known(storage).place) is None:
        return None
    kind, facts = place
    if not all(hasattr(storage, option) for option, _ in facts):
        return None
    values = [getattr(storage, option) for option, _ in facts]
    return None if kind == "disk" and values[0] is None else _place(kind, values)


def unwrapped(storage: object) -> object:
    """Return the storage behind Django's ``default_storage``; any other as it is."""
    while isinstance(storage, LazyObject):
        if storage._wrapped is empty:
            storage._setup()
        storage = storage._wrapped
    return storage


def _place(kind: str, values: Sequence[Any]) -> tuple[str, ...]:
    if kind == "disk":
        return kind, os.path.realpath(str(settings.MEDIA_ROOT if values[0] is None else values[0]))
    return kind, *(str(value or "").strip("/") for value in values)
