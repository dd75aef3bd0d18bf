"""Signs of life: which hosts take what is in their queues, and which are silent while work waits for them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from .. import catalog, conf
from ..chain import chains

#: Seconds within which one process shows no other sign of life.
EVERY = 30.0


class _Shown:
    """When this process last showed one, by ``time.monotonic()``, and of which host."""

    at = float("-inf")
    host = ""


def show(*, now: bool = False) -> None:
    """Note that this host does what is in its queue: at once if ``now``, else every 30 s."""
    host = conf.host()
    if now or _Shown.host != host or time.monotonic() - _Shown.at > EVERY:
        catalog.touch(host)
        _Shown.at, _Shown.host = time.monotonic(), host


@dataclass(frozen=True)
class HostStatus:
    """A host with a disk of its own, and the work that waits for it alone."""

    host: str
    #: When its workers last took something from its queue; None: never.
    seen_at: datetime | None
    #: Files whose work is due, and names that it has to clear.
    owed: int
    owed_since: datetime | None
    #: When somebody said that it is gone for good; None if nobody did, or it has come back since.
    given_up_at: datetime | None
    #: Whether work waits, and there was no sign of life, for longer than HOST_SILENT.
    is_silent: bool


def status(now: datetime) -> list[HostStatus]:
    """Tell of all hosts that were ever heard of, or that work waits for; none where first tiers are shared."""
    if not chains.with_own_tiers():
        return []
    silent_since = now - timedelta(seconds=conf.get("HOST_SILENT"))
    told = catalog.hosts().values_list("name", "seen_at", "given_up_at")
    seen = {name: (seen_at, given_up_at) for name, seen_at, given_up_at in told}
    owing = catalog.owing(now)

    def of(host: str) -> HostStatus:
        owed, since = owing.get(host, (0, None))
        seen_at, given_up_at = seen.get(host, (None, None))
        waits = since is not None and since < silent_since
        is_silent = waits and (seen_at is None or seen_at < silent_since)
        return HostStatus(host, seen_at, owed, since, given_up_at, is_silent)

    return [of(host) for host in sorted({*seen, *owing})]
