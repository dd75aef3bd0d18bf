"""Windows: a tier with a WINDOW takes part in copies that begin at these times of the day alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.utils import timezone

from .exceptions import OutsideWindow
from .tier import Tier


def opens_at(tier: Tier, now: datetime | None = None) -> datetime | None:
    """Return when the tier's window opens next; None where it is open, or the tier has none.

    Its times are those of TIME_ZONE, as a clock on the wall there shows them.
    """
    if tier.window is None:
        return None
    now = timezone.now() if now is None else now
    local = now if timezone.is_naive(now) else now.astimezone(timezone.get_default_timezone())
    start, end = tier.window
    clock = local.time()
    if start <= clock < end if start < end else clock >= start or clock < end:
        return None
    day = local.date() if clock < start else local.date() + timedelta(days=1)
    opening = datetime.combine(day, start, local.tzinfo)
    if opening <= now:  # the hour that comes twice when summer time ends
        opening = opening.replace(fold=1)
    return opening if local.tzinfo is None else opening.astimezone(now.tzinfo)


def closed(tiers: Iterable[Tier]) -> list[OutsideWindow]:
    """Return the error of each tier whose window is closed, of which copies may not begin now."""
    opening = ((tier, opens_at(tier)) for tier in tiers)
    return [OutsideWindow(tier.name, tier.window_text, until) for tier, until in opening if until is not None]


def require(destination: Tier, sources: Sequence[Tier]) -> None:
    """Raise OutsideWindow unless a copy may begin now: to that tier, and from one of those."""
    raise_first(closed([destination]))
    if len(shut := closed(sources)) == len(sources):
        raise_first(shut)


def raise_first(errors: Iterable[OutsideWindow]) -> None:
    """Raise the error of the tier that opens first, if there is one."""
    if (first := min(errors, key=lambda error: error.until, default=None)) is not None:
        raise first
