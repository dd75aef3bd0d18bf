"""A look at one copy: is it there, of its size, of its content? *Wrong* is one thing, *could not be asked* another."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from django.core.files.storage import FileSystemStorage

from . import copying, direct, disk, identity, outage, traits
from .exceptions import TierUnavailable
from .tier import Tier

if TYPE_CHECKING:
    from .models import StoredFile

T = TypeVar("T")

Kind = Literal["missing", "size", "content", "link"]

#: Calls in a row that a tier may fail before it is not asked any more.
STRIKES = 3


@dataclass(frozen=True)
class Flaw:
    """What is wrong with a copy that the catalog counts on."""

    tier: str
    kind: Kind
    detail: str


class Looker:
    """Asks tiers, from several threads; one that fails several times in a row is left alone from then on."""

    def __init__(self, *, content: bool = False) -> None:
        self.content = content
        #: Why tiers are not asked any more.
        self.given_up: dict[str, TierUnavailable] = {}
        self._strikes = Counter[str]()
        self._has_bucket = set[str]()
        self._lock = threading.Lock()

    def look(self, tier: Tier, row: StoredFile, *, content: bool | None = None) -> Flaw | None:
        """Return what is wrong with the tier's copy; raise TierUnavailable where the tier does not tell."""
        try:
            flaw = self.ask(tier, partial(_glance, tier, row))
            if flaw is None and row.digest and (self.content if content is None else content):
                flaw = self.ask(tier, partial(_read, tier, row), patient=True)
        except Exception as error:
            if not traits.is_missing(error):
                raise
            flaw = _missing(tier)
        if flaw is not None and flaw.kind == "missing":
            self.ask(tier, partial(self._require_place, tier))
        if flaw is not None:
            self.ask(tier, partial(identity.require, tier, fresh=True), patient=True)
        return flaw

    def _require_place(self, tier: Tier) -> None:
        """Raise TierUnavailable where not the file alone is missing, but all that the tier keeps its files in."""
        storage = tier.storage
        if isinstance(storage, FileSystemStorage):
            if not os.path.isdir(storage.location):
                raise TierUnavailable(tier.name, "its folder is not there: is it mounted?")
        elif traits.is_s3(storage) and tier.name not in self._has_bucket:
            if not _has_bucket(storage):
                raise TierUnavailable(tier.name, "its bucket is not there")
            self._has_bucket.add(tier.name)

    def ask(self, tier: Tier, question: Callable[[], T], *, patient: bool = False) -> T:
        """Return the tier's answer within its TIMEOUT, or ``patient`` without it; raise TierUnavailable."""
        with self._lock:
            if tier.name in self.given_up:
                raise self.given_up[tier.name]
        try:
            answer = _patiently(tier, question) if patient else outage.ask(tier, question)
        except TierUnavailable as error:
            self._strike(tier, error)
            raise
        except Exception as error:
            if traits.is_missing(error):
                self._strikes.pop(tier.name, None)
                raise
            # A bug of the backend, over this file: another file may be fine.
            raise TierUnavailable(tier.name, tier.describe(error)) from None
        self._strikes.pop(tier.name, None)
        return answer

    def _strike(self, tier: Tier, error: TierUnavailable) -> None:
        with self._lock:
            self._strikes[tier.name] += 1
            if self._strikes[tier.name] >= STRIKES:
                self.given_up[tier.name] = error


def _patiently(tier: Tier, question: Callable[[], T]) -> T:
    """Ask what takes as long as the file is large."""
    outage.refuse_if_down(tier)
    try:
        return question()
    except Exception as error:  # noqa: BLE001 - raised, as the tier's
        outage.raise_told(tier, error)


def _glance(tier: Tier, row: StoredFile) -> Flaw | None:
    storage, name = tier.storage, row.name
    if traits.is_directory(storage, name):
        return Flaw(tier.name, "missing", "a folder lies there")
    if not tier.is_first and disk.is_link(storage, name):
        return Flaw(tier.name, "link", "a link lies there, not a copy")
    # Asked in any case: ``exists()`` of a disk that cannot be read says False.
    size = direct.size(storage, name)
    is_known = row.size is not None and not traits.changes_content(storage)
    if is_known and size == row.size != 0:
        return None
    if not direct.exists(storage, name):  # some tell a size, 0 say, of what is not there
        return _missing(tier)
    if is_known and size != row.size:
        return Flaw(tier.name, "size", f"{size} bytes instead of {row.size}")
    return None


def _has_bucket(storage: Any) -> bool:
    """Tell whether the bucket is there, as far as this login may know."""
    try:
        storage.connection.meta.client.head_bucket(Bucket=storage.bucket_name)
    except Exception as error:
        if traits.is_missing(error):
            return False
        if traits.is_permanent(error):  # not allowed to ask
            return True
        raise
    return True


def _read(tier: Tier, row: StoredFile) -> Flaw | None:
    if copying.digest(tier, row.name) == row.digest:
        return None
    return Flaw(tier.name, "content", "other content than was saved")


def _missing(tier: Tier) -> Flaw:
    return Flaw(tier.name, "missing", "no such file")
