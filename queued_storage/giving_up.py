"""A host that is gone for good: what it leaves behind, file by file.

It may come back all the same. So nothing is forgotten: of files that others hold it has to clear its copies, and files
that it alone had stay in the catalog, failed, and are on its disk if that is there again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from django.utils import timezone
from django.utils.timesince import timesince

from . import catalog, conf, signals
from .attempt import tell
from .chain import Chain, chains
from .exceptions import QueuedStorageError, TierUnavailable, UnknownChain
from .looking import Looker

if TYPE_CHECKING:
    from .models import Host, StoredFile

#: Rows that are read together.
PAGE = 500


class HostLives(QueuedStorageError):
    """The host shows signs of life, so it cannot be given up."""


class NotAsked(QueuedStorageError):
    """Nobody has asked the host for a sign of life, so its silence says nothing yet."""


@dataclass(frozen=True)
class Fate:
    """What becomes of a file that was on the host's disk.

    "lost": the host alone had it. "elsewhere": another tier was seen to hold it. "deleted": it was deleted before.
    "left": it could not be decided, and is as it was; the reason says why.
    """

    chain: str
    name: str
    size: int | None
    result: Literal["lost", "elsewhere", "deleted", "left"]
    reason: str = ""


def require_gone(host: str) -> None:
    """Raise HostLives where the host shows signs of life, NotAsked where nobody has waited for one."""
    now = timezone.now()
    if host == conf.host():
        raise HostLives(f"Host {host!r} is this one.")
    known = _require_silence(host)
    seen_at = None if known is None else known.seen_at
    if catalog.has_saved(host, _silent_since(now)):
        raise HostLives(
            f"Host {host!r} lives: it has saved files within the last {conf.get('HOST_SILENT')} s."
        )
    if known is None or known.asked_at is None or (seen_at is not None and seen_at >= known.asked_at):
        raise NotAsked(f"Nobody has asked host {host!r} for a sign of life since it gave the last one.")
    if known.asked_at >= _silent_since(now):
        raise HostLives(
            f"Host {host!r} was asked for a sign of life {timesince(known.asked_at, now)} ago, and has "
            f"{conf.get('HOST_SILENT')} s to give it."
        )


def _require_silence(host: str) -> Host | None:
    now, known = timezone.now(), catalog.hosts().filter(name=host).first()
    if known is not None and known.seen_at is not None and known.seen_at >= _silent_since(now):
        raise HostLives(f"Host {host!r} lives: it was seen {timesince(known.seen_at, now)} ago.")
    return known


def give_up(
    host: str, *, dry_run: bool = False, stopping: Callable[[], bool] = lambda: False
) -> Iterator[Fate]:
    """Decide of every file of which something is on the host's disk; yield what came of each. ``require_gone`` first.

    Killed anywhere, it goes on where it was when it is run again. Raise HostLives as soon as the host shows life. At
    the end, if no file was left, the host is given up: not asked or waited for, until it shows a sign of life.
    """
    looker, last, is_whole = Looker(), 0, True
    while page := catalog.on_host(host, last, PAGE):
        if not dry_run:
            _require_silence(host)
        for row in page:
            if stopping():
                return
            fate = _decide(row, looker, dry_run=dry_run)
            is_whole &= fate.result != "left"
            yield fate
        last = page[-1].pk
    if not dry_run and is_whole and not catalog.give_up(host, _silent_since(timezone.now())):
        raise HostLives(f"Host {host!r} has come back meanwhile.")


def _decide(row: StoredFile, looker: Looker, *, dry_run: bool) -> Fate:
    chain = _chain_of(row)
    if chain is None:
        return _fate(row, "left", "its chain is not known here, or has no disk of each host's own any more")
    if not row.is_live:
        return _let_go(row, chain, "deleted", dry_run=dry_run)
    flaws, untold = _look_elsewhere(row, chain, looker)
    if flaws is None:
        return _let_go(row, chain, "elsewhere", dry_run=dry_run)
    if untold:
        return _fate(row, "left", untold)
    told = f"tier {chain.first.name!r}: it was on host {row.host!r}, which was given up{flaws}"
    reason = f"{catalog.NO_GOOD_COPY}: {told}"
    if not dry_run and (row.state, row.last_error) != ("failed", reason):
        if not catalog.lose(row, reason):
            return _fate(row, "left", "somebody has it in hand")
        tell(signals.transfer_failed, row, error=reason, final=True)
    return _fate(row, "lost", reason)


def _look_elsewhere(row: StoredFile, chain: Chain, looker: Looker) -> tuple[str | None, str]:
    """Look at the other copies; return what is wrong with them (None: one is good), and why some did not tell."""
    flaws, untold = "", ""
    for name in row.tiers:
        if name == chain.first.name:
            continue
        if name not in chain:
            untold = f"tier {name!r}, which has a copy, is not in the settings"
            continue
        try:
            flaw = looker.look(chain[name], row)
        except TierUnavailable as error:
            untold = str(error)
        else:
            if flaw is None:
                return None, ""
            flaws += f"; tier {name!r}: {flaw.detail}"
    return flaws, untold


def _let_go(row: StoredFile, chain: Chain, result: Literal["elsewhere", "deleted"], *, dry_run: bool) -> Fate:
    if dry_run or catalog.let_go(row, chain):
        return _fate(row, result)
    return _fate(row, "left", "somebody has it in hand")


def _fate(row: StoredFile, result: Literal["lost", "elsewhere", "deleted", "left"], reason: str = "") -> Fate:
    return Fate(row.chain, row.name, row.size, result, reason)


def _chain_of(row: StoredFile) -> Chain | None:
    try:
        chain = chains[row.chain]
    except UnknownChain:
        return None
    return None if chain.own is None else chain


def _silent_since(now: datetime) -> datetime:
    return now - timedelta(seconds=conf.get("HOST_SILENT"))
