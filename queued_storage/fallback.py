"""django-fallback-storage's storage, as a chain without catalog that code declares."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, count
from typing import Any

from django.conf import settings
from django.core.files.base import File
from django.utils.deconstruct import deconstructible
from django.utils.module_loading import import_string

from . import former
from .declaring import declare, dotted
from .exceptions import ConfigurationError
from .old_times import OldTimes
from .schema import ChainSettings, TierSettings

PATH = "queued_storage.backends.FallbackStorage"
_DEFAULT = "django.core.files.storage.DefaultStorage"
#: Seconds after which a server counts as down: clients wait for minutes for one that is silent.
TIMEOUT = 10.0


@deconstructible(path=PATH)
class FallbackStorage(OldTimes):
    """Save to the first storage of ``FALLBACK_STORAGES``; read from the first that has the file.

    The storages below the first are read and never changed. No database is needed.
    """

    def __init__(self, backends: Sequence[Any] | None = None) -> None:
        self._backends = backends
        self._policy = None

    @property
    def alias(self) -> str:  # type: ignore[override] # it follows the setting
        backends = getattr(settings, "FALLBACK_STORAGES", None) if self._backends is None else self._backends
        if not backends or not isinstance(backends, list | tuple):
            raise ConfigurationError(
                "FALLBACK_STORAGES is missing, empty or not a list. Write the dotted paths of storage classes, or "
                "aliases of STORAGES, in the order in which they are asked."
            )
        for each in backends:
            if not isinstance(each, str | type):
                raise ConfigurationError(
                    f"FALLBACK_STORAGES holds an instance of {type(each).__name__}. Write the path of its class, "
                    "or, to give it options, an alias of STORAGES."
                )
        return _fallback_chain(tuple(_Entry(dotted(each)) for each in backends))

    def _save(self, name: str, content: File[Any]) -> str:
        return self.save(name, content)

    def delete(self, name: str) -> None:
        """Delete the file; raise OSError where a storage below the first goes on to show it."""
        super().delete(name)
        if (tier := self.tier(name)) is not None:
            raise OSError(
                errno.EROFS, f"{tier} holds the file, is below the first storage and is not changed", name
            )


@dataclass(frozen=True)
class _Entry:
    """An alias of STORAGES, or the path of a class; and the path of the class behind it."""

    text: str
    is_alias: bool = field(init=False)
    backend: str = field(init=False)

    def __post_init__(self) -> None:
        is_alias = self.text in settings.STORAGES
        alias = "default" if self.text == _DEFAULT else self.text
        object.__setattr__(self, "is_alias", is_alias)
        object.__setattr__(self, "backend", settings.STORAGES.get(alias, {}).get("BACKEND", self.text))

    @property
    def is_fallback(self) -> bool:
        if self.backend == PATH or former.SUCCESSORS.get(self.backend) == PATH:
            return True
        try:
            backend = import_string(self.backend)
        except ImportError:  # told when the storage is built
            return False
        return isinstance(backend, type) and issubclass(backend, FallbackStorage)

    @property
    def tier(self) -> str:
        """The last part of the text, as the name of a tier may be."""
        return re.sub(r"[^A-Za-z0-9_.-]", "-", self.text.rpartition(".")[2]).lstrip("_.-")[:60] or "storage"


@lru_cache(maxsize=64)
def _fallback_chain(entries: tuple[_Entry, ...]) -> str:
    tiers: dict[str, TierSettings] = {}
    for entry in entries:
        if entry.is_fallback:
            raise ConfigurationError(
                f"FALLBACK_STORAGES names {entry.text!r}, which is the fallback storage itself."
            )
        numbered = (f"{entry.tier}-{number}" for number in count(len(tiers) + 1))
        name = next(name for name in chain([entry.tier], numbered) if name not in tiers)
        tiers[name] = TierSettings(
            BACKEND=None if entry.is_alias else entry.text,
            STORAGE=entry.text if entry.is_alias else None,
            OPTIONS={},
            READ_ONLY=bool(tiers),
            TIMEOUT=TIMEOUT,
        )
    return declare("fallback-", ChainSettings(TIERS=tiers, POLICY=None))
