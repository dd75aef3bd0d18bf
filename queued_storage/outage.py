"""A short memory, shared by all processes through the cache, of tiers that missed their TIMEOUT.

The cache may be flushed, stale, dead or silent: then each process finds out by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, NoReturn, TypeVar

from django.core.cache import caches
from django.db import DatabaseError

from . import bounded, conf, logs, traits
from .exceptions import NoPatience, QueuedStorageError, TierUnavailable
from .tier import Tier

T = TypeVar("T")

#: Seconds that the construction of a client may take.
WARM_UP = 10.0
_LATE = "it did not answer in time"
#: Seconds for which a process trusts what it last heard from the cache.
MEMO = 1.0


class _Memory:
    """What this process knows, by ``time.monotonic()``."""

    down_until: ClassVar[dict[str, float]] = {}
    asked_at: ClassVar[dict[str, float]] = {}
    late_until: ClassVar[dict[str, float]] = {}
    cache_rests_until = 0.0


def ask(tier: Tier, question: Callable[[], T], deadline: float | None = None) -> T:
    """Return the tier's answer within its TIMEOUT (and the deadline, in seconds); raise TierUnavailable.

    What the backend says of the file itself (it is missing, say) is raised as the backend raised it.
    """
    limits = [limit for limit in (tier.timeout, deadline) if limit is not None]
    in_haste = deadline is not None and (tier.timeout is None or deadline < tier.timeout)
    refuse_if_down(tier)
    if in_haste and _Memory.late_until.get(_key(tier), 0) > time.monotonic():
        raise NoPatience(tier.name, _LATE)
    try:
        if not limits or traits.is_local_class(tier.backend) or traits.joins_transactions(tier.backend):
            return question()
        with bounded.Thread.borrow() as thread:
            # A client's first construction takes longer than many deadlines, and says nothing about its server.
            thread.call(lambda: traits.warm_up(tier.storage), min(limits) if in_haste else WARM_UP)
            return thread.call(question, min(limits))
    except Exception as error:
        if in_haste and isinstance(error, TimeoutError) and not error.args:
            # The caller's patience ended before the tier's: readers must not skip the tier for that. But others
            # in haste do not wait as long again, each with another thread that is stuck.
            _Memory.late_until[_key(tier)] = time.monotonic() + conf.get("DOWN_FOR")
            raise NoPatience(tier.name, _LATE) from error
        raise_told(tier, error)


def refuse_if_down(tier: Tier) -> None:
    """Raise TierUnavailable, at once, for a tier that lately missed its TIMEOUT."""
    if tier.timeout is not None and is_down(tier):
        raise TierUnavailable(tier.name, "it did not answer a moment ago and is skipped for a while")


def raise_told(tier: Tier, error: Exception) -> NoReturn:
    """Raise what ``told`` says, with the backend's own error as the cause unless that would print an option."""
    if (telling := told(tier, error)) is error:
        raise error
    raise telling from (None if tier.tells(error) else error)


def told(tier: Tier, error: Exception) -> Exception:
    """Return the error to raise for what the tier's backend raised, and remember an outage."""
    if isinstance(error, TierUnavailable) or traits.is_missing(error) or traits.is_programming_error(error):
        return _discreet(tier, error)
    if tier.timeout is not None and traits.is_outage(error):
        mark_down(tier)
    if isinstance(error, TimeoutError) and not error.args:
        return TierUnavailable(tier.name, _LATE)
    return TierUnavailable(tier.name, tier.describe(error), is_permanent=traits.is_permanent(error))


@contextmanager
def discretion(tier: Tier) -> Iterator[None]:
    """Let what is raised inside pass as it is, unless that would print a credential of the tier."""
    try:
        yield
    except DatabaseError:
        raise  # of the catalog: the caller's transaction depends on it
    except Exception as error:
        if (discreet := _discreet(tier, error)) is error:
            raise
        raise discreet from None


def _discreet(tier: Tier, error: Exception) -> Exception:
    """Return the error, without what it was raised from or as another one where it would print a credential."""
    if not tier.leaks(error):
        return error
    if isinstance(error, QueuedStorageError) or not tier.leaks_itself(error):
        error.__cause__ = None  # which hides the context too
        return error
    if traits.is_missing(error):
        return FileNotFoundError(f"Tier {tier.name!r} does not hold the file.")
    return TierUnavailable(tier.name, tier.describe(error))


def is_down(tier: Tier) -> bool:
    key, now = _key(tier), time.monotonic()
    if _Memory.down_until.get(key, 0) > now:
        return True
    if now - _Memory.asked_at.get(key, -MEMO) >= MEMO:
        _Memory.asked_at[key] = now
        if in_cache(lambda cache: cache.get(key)):
            _Memory.down_until[key] = now + MEMO
            return True
    return False


def mark_down(tier: Tier) -> None:
    key, seconds = _key(tier), conf.get("DOWN_FOR")
    if _Memory.down_until.get(key, 0) <= time.monotonic():
        logs.warning("tier_down", chain=tier.chain, tier=tier.name, seconds=seconds)
    _Memory.down_until[key] = time.monotonic() + seconds
    in_cache(lambda cache: cache.set(key, True, seconds))


def forget() -> None:
    """Ask every tier and the cache again."""
    _Memory.down_until.clear()
    _Memory.asked_at.clear()
    _Memory.late_until.clear()
    _Memory.cache_rests_until = 0.0


def in_cache(call: Callable[[Any], Any]) -> Any:
    """Return what the call gets from the shared cache; None where that is dead, or too slow."""
    if time.monotonic() < _Memory.cache_rests_until:
        return None
    try:
        return bounded.call(lambda: call(caches[conf.get("CACHE")]), conf.get("DEADLINE") / 10)
    except Exception:  # noqa: BLE001 - cache clients have no common error, and a dead cache must not stop a read
        _Memory.cache_rests_until = time.monotonic() + conf.get("DOWN_FOR")
        return None


def _key(tier: Tier) -> str:
    return f"{conf.get('CACHE_PREFIX')}:down:{tier.chain}:{tier.name}"
