"""Room on a first tier with a limit: which files a sweep has leave it, and which come back when they are read.

What a file is told is one fact, that it was crowded out; where it should lie then is its policy's to say.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from django.db import transaction

from . import catalog, copying, logs
from .chain import Chain
from .exceptions import ConfigurationError
from .policies import Limit

if TYPE_CHECKING:
    from .models import StoredFile


#: Seconds for which a process trusts what it last counted on a first tier.
MEMO = 10.0


class _Memory:
    """Bytes on the first tiers, with what this process has called back since; and when they were counted."""

    counted: ClassVar[dict[str, tuple[float, int]]] = {}


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
    surplus = catalog.first_tier_bytes(chain) - limit.low
    if surplus <= limit.high - limit.low:
        return 0
    count, told = 0, set[str]()
    for row in catalog.longest_unused(chain):
        if surplus <= 0:
            break
        if _makes_room(chain, row, told) and catalog.crowd_out(row):
            surplus -= row.size or 0
            count += 1
    return count


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
        if limit is None or _bytes(chain) + (row.size or 0) > limit.high:
            return False
        if not copying.appears_at_once(chain.first):
            return False  # readers would get a part of it, or savers wait for all of it
        with transaction.atomic(using=catalog.database()):
            called = catalog.call_back(row)
        if called:
            _count(chain, row)
        return called  # noqa: TRY300 - what comes after is one with it
    except Exception as error:  # noqa: BLE001 - the file was read, and stays where it is
        logs.warning("not_called_back", chain=row.chain, file=row.pk, error=type(error).__name__)
        return False


def _count(chain: Chain, row: StoredFile) -> None:
    counted_at, count = _Memory.counted[chain.alias]
    _Memory.counted[chain.alias] = counted_at, count + (row.size or 0)


def _bytes(chain: Chain) -> int:
    counted_at, count = _Memory.counted.get(chain.alias, (-MEMO, 0))
    if time.monotonic() - counted_at >= MEMO:
        count = catalog.first_tier_bytes(chain)
        _Memory.counted[chain.alias] = time.monotonic(), count
    return count


def forget() -> None:
    """Count anew."""
    _Memory.counted.clear()
