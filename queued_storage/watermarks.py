"""Room on a first tier with a limit: which files a sweep has leave it, and which come back when they are read.

What a file is told is one fact, that it was crowded out; where it should lie then is its policy's to say.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from django.db import transaction

from . import catalog, conf, copying, logs, outage
from .chain import Chain
from .exceptions import ConfigurationError
from .policies import Limit

if TYPE_CHECKING:
    from django.core.cache import BaseCache

    from .models import StoredFile


#: Seconds for which readers go by what a sweep counted on a first tier.
COUNTED_FOR = 3600


def limit_of(chain: Chain) -> Limit | None:
    """Return the limit that the chain's own policy sets its first tier."""
    return None if chain.policy_name is None else chain.policy(chain.policy_name).first_tier_limit


def relieve(chain: Chain) -> int:
    """Have files leave the first tier if it is above its limit; return how many. The work is due at once."""
    try:
        return _relieve(chain, limit_of(chain))
    except ConfigurationError:
        return 0  # another process may know the policy
    except Exception as error:  # noqa: BLE001 - the sweep has other chains, and work that is due
        logs.warning("not_relieved", chain=chain.alias, error=type(error).__name__)
        return 0


def _relieve(chain: Chain, limit: Limit | None) -> int:
    if limit is None:
        return 0
    held, count, told = _counted(chain), 0, set[str]()
    if held <= limit.high:
        return 0
    for row in catalog.longest_unused(chain):
        if held <= limit.low:
            break
        if _makes_room(chain, row, told) and catalog.crowd_out(row):
            held -= row.size or 0
            count += 1
    _counted(chain)  # anew: readers may have called files back meanwhile, and another sweep made room too
    return count


def _counted(chain: Chain) -> int:
    """Return what lies on the first tier, and have readers go by it from now on."""
    held = catalog.first_tier_bytes(chain)
    outage.in_cache(lambda cache: cache.set(_key(chain), held, COUNTED_FOR))
    return held


def _makes_room(chain: Chain, row: StoredFile, told: set[str]) -> bool:
    try:
        return chain.policy_of(row, row.policy).makes_room
    except ConfigurationError:
        return False
    except Exception as error:  # noqa: BLE001 - a policy's bug keeps its own file where it is, and no other
        kind = type(error).__name__
        if kind not in told:  # of thousands alike, one tells it
            logs.warning("not_relieved", chain=chain.alias, error=kind)
        told.add(kind)
        return False


def call_back(chain: Chain, row: StoredFile) -> bool:
    """Have a file that was just read come back to the first tier, if its policy wants that and there is room.

    Call it outside the catalog's transactions. Return whether this made work due: of many readers one is told so. It
    never fails the read.
    """
    try:
        limit = limit_of(chain) if chain.policy_of(row, row.policy).calls_back(row) else None
        if limit is None or not copying.appears_at_once(chain.first):
            return False  # there, readers would get a part of it, or savers wait for all of it
        if not _take_room(chain, row.size or 0, limit):
            return False
        with transaction.atomic(using=catalog.database()):
            called = catalog.call_back(row)
        if not called:
            _count(chain, -(row.size or 0))
        return called  # noqa: TRY300 - what comes after is one with it
    except Exception as error:  # noqa: BLE001 - the file was read, and stays where it is
        logs.warning("not_called_back", chain=row.chain, file=row.pk, error=type(error).__name__)
        return False


def _take_room(chain: Chain, size: int, limit: Limit) -> bool:
    """Go by what the last sweep counted, with what was called back since: nobody counts while a user waits."""
    held = outage.in_cache(lambda cache: cache.get(_key(chain)))
    if held is None or held + size > limit.high:
        return False
    held = _count(chain, size)
    if held is not None and held > limit.high:  # others took it in between
        _count(chain, -size)
        return False
    return held is not None


def _count(chain: Chain, size: int) -> int | None:
    def add(cache: BaseCache) -> int | None:
        with suppress(ValueError):  # the number is gone: nothing comes back until the next sweep
            # Memcached takes no negative numbers.
            return cache.incr(_key(chain), size) if size >= 0 else cache.decr(_key(chain), -size)
        return None

    held: int | None = outage.in_cache(add)
    return held


def _key(chain: Chain) -> str:
    of_host = "" if chain.own is None else f":{conf.host()}"
    return f"{conf.get('CACHE_PREFIX')}:first_tier_bytes:{chain.alias}{of_host}"
