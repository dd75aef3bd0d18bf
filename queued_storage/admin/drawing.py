"""Pictures of the dashboard, as what templates need to write SVG: numbers in them are text already.

Templates write numbers in the reader's language, and no SVG takes a decimal comma.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil, floor, log10

from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.formats import date_format, number_format, time_format
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

# ---- the flow ----

#: Of the flow, in its own units: a box, the room between two, and where those below the first tier stand.
BOX, HIGH, GAP, LEFT, RIGHT = 240, 96, 20, 90, 560
WIDE = RIGHT + BOX + 10


@dataclass(frozen=True)
class Tier:
    """One tier of the flow; ``share`` is how much it holds of what the fullest does."""

    name: str
    files: int
    bytes: int
    share: float
    is_read_only: bool = False
    is_down: bool = False


@dataclass(frozen=True)
class Box:
    tier: Tier
    x: str
    y: str
    name: str
    text: str
    #: What is out of the ordinary; "" where nothing is.
    note: str
    bar: str


@dataclass(frozen=True)
class Way:
    """From the first tier to another; nothing is written to one that is read only."""

    path: str
    is_used: bool


@dataclass(frozen=True)
class Flow:
    width: int
    height: int
    #: What the picture says, for those who do not see it.
    told: str
    boxes: tuple[Box, ...]
    ways: tuple[Way, ...]
    entry: str
    entry_y: str
    label_x: str
    pending: str
    running: str
    is_owed: bool


def flow(alias: str, tiers: Sequence[Tier], pending: int, running: int, *, about: bool = False) -> Flow:
    """Draw the tiers: saves come to the first, and go on from there to the others."""
    below = max(len(tiers) - 1, 1)
    height = below * (HIGH + GAP) - GAP + 20
    middle = height / 2
    boxes, ways = [], []
    for number, tier in enumerate(tiers):
        x = LEFT if number == 0 else RIGHT
        y = middle - HIGH / 2 if number == 0 else 10 + (number - 1) * (HIGH + GAP)
        boxes.append(_box(tier, x, y, about=about))
        if number:
            ways.append(Way(_curve(LEFT + BOX, middle, RIGHT - 6, y + HIGH / 2), not tier.is_read_only))
    owed = ngettext("%(count)s pending", "%(count)s pending", pending) % {"count": whole(pending)}
    busy = ngettext("%(count)s in hand", "%(count)s in hand", running) % {"count": whole(running)}
    told = "; ".join(", ".join(filter(None, (box.name, box.text, box.note))) for box in boxes)
    return Flow(
        width=WIDE,
        height=round(height),
        told=f"{alias}: {told}. {owed}, {busy}.",
        boxes=tuple(boxes),
        ways=tuple(ways),
        entry=f"M10 {_of(middle)}H{LEFT - 6}",
        entry_y=_of(middle - 10),
        label_x=_of((LEFT + BOX + RIGHT) / 2),
        pending=owed,
        running=busy,
        is_owed=pending > 0,
    )


def _box(tier: Tier, x: float, y: float, *, about: bool) -> Box:
    files = ngettext("%(count)s file", "%(count)s files", tier.files) % {"count": whole(tier.files)}
    amount = f"{files}, {filesizeformat(tier.bytes)}"
    notes = [_("does not answer")] if tier.is_down else []
    notes += [_("read only")] if tier.is_read_only else []
    return Box(
        tier=tier,
        x=_of(x),
        y=_of(y),
        name=Truncator(tier.name).chars(26),
        text=_("about %s") % amount if about else amount,
        note=", ".join(notes),
        bar=_of(max((BOX - 28) * tier.share, 2 if tier.bytes else 0)),
    )


def _curve(x: float, y: float, to_x: float, to_y: float) -> str:
    bend = (to_x - x) / 2
    return (
        f"M{_of(x)} {_of(y)}C{_of(x + bend)} {_of(y)} {_of(to_x - bend)} {_of(to_y)} {_of(to_x)} {_of(to_y)}"
    )


# ---- plots ----

#: Of a plot, in its own units: the whole, and the room for what stands at the edges.
WIDTH, HEIGHT = 460, 210
EDGE_LEFT, EDGE_RIGHT, EDGE_TOP, EDGE_BOTTOM = 56, 12, 14, 28
ACROSS, DOWN = WIDTH - EDGE_LEFT - EDGE_RIGHT, HEIGHT - EDGE_TOP - EDGE_BOTTOM


@dataclass(frozen=True)
class Series:
    """Values by step; None where nobody knows. ``kind`` is its class in the style sheet."""

    kind: str
    name: str
    values: Sequence[float | None]
    is_area: bool = False


@dataclass(frozen=True)
class Line:
    kind: str
    name: str
    path: str
    #: The surface below the line; "" where it has none.
    area: str
    last: str


@dataclass(frozen=True)
class Tick:
    at: str
    text: str


@dataclass(frozen=True)
class Plot:
    title: str
    #: What the plot says, for those who do not see it.
    told: str
    lines: tuple[Line, ...]
    #: From bottom to top, and from left to right.
    ups: tuple[Tick, ...]
    acrosses: tuple[Tick, ...]
    is_empty: bool
    width: int = WIDTH
    height: int = HEIGHT
    left: int = EDGE_LEFT
    right: int = WIDTH - EDGE_RIGHT
    middle: int = EDGE_LEFT + ACROSS // 2
    bottom: int = HEIGHT - 7


def plot(title: str, times: Sequence[datetime], series: Sequence[Series]) -> Plot:
    """Draw the values over the times; a gap in the values is one in the line."""
    known = [value for each in series for value in each.values if value is not None]
    top = nice_top(max(known, default=0))
    return Plot(
        title=title,
        told=f"{title}. {_told(series)}",
        lines=tuple(_line(each, top) for each in series),
        ups=tuple(
            Tick(_of(_down(top * share, top)), short(top * share)) for share in (0, 0.25, 0.5, 0.75, 1)
        ),
        acrosses=_time_ticks(times),
        is_empty=not known,
    )


def nice_top(most: float) -> float:
    """Return a round number that is not below, and that can be parted into four."""
    if most <= 4:
        return 4.0
    power = 10.0 ** floor(log10(most))
    return next(step * power for step in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10) if step * power >= most)


def short(value: float) -> str:
    """Write a number into little room: 1,200 as 1.2k."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{_number(value / limit)}{letter}"
    return _number(value)


def whole(value: float) -> str:
    return number_format(ceil(value), force_grouping=True)


def _number(value: float) -> str:
    return number_format(round(value, 1), 0 if round(value, 1) == int(value) else 1)


def _told(series: Sequence[Series]) -> str:
    parts = []
    for each in series:
        known = [value for value in each.values if value is not None]
        if known:
            numbers = {"name": each.name, "last": _number(known[-1]), "most": _number(max(known))}
            parts.append(_("%(name)s: %(last)s at the end, %(most)s at most") % numbers)
    return "; ".join(parts) or _("No samples yet.")


def _line(series: Series, top: float) -> Line:
    pieces = list(_pieces(series.values))
    count = max(len(series.values) - 1, 1)
    paths, areas = [], []
    for begin, values in pieces:
        points = [
            f"{_of(EDGE_LEFT + ACROSS * (begin + i) / count)} {_of(_down(value, top))}"
            for i, value in enumerate(values)
        ]
        # A single value is a line too, if a short one.
        points += (
            [f"{float(points[0].split()[0]) + 2:.1f} {points[0].split()[1]}"] if len(points) == 1 else []
        )
        paths.append("M" + "L".join(points))
        bottom = _of(EDGE_TOP + DOWN)
        areas.append(f"M{points[0].split()[0]} {bottom}L{'L'.join(points)}L{points[-1].split()[0]} {bottom}Z")
    known = [value for value in series.values if value is not None]
    return Line(
        series.kind,
        series.name,
        "".join(paths),
        "".join(areas) if series.is_area else "",
        short(known[-1]) if known else "",
    )


def _pieces(values: Sequence[float | None]) -> list[tuple[int, list[float]]]:
    """Return the runs of known values, each with where it begins."""
    found: list[tuple[int, list[float]]] = []
    is_open = False
    for number, value in enumerate(values):
        if value is None:
            is_open = False
        elif is_open:
            found[-1][1].append(value)
        else:
            found.append((number, [value]))
            is_open = True
    return found


def _down(value: float, top: float) -> float:
    return EDGE_TOP + DOWN - DOWN * value / top


def _time_ticks(times: Sequence[datetime]) -> tuple[Tick, ...]:
    if not times:
        return ()
    last = len(times) - 1
    places = sorted({round(last * share) for share in (0, 0.25, 0.5, 0.75, 1)})
    spans_days = (times[-1] - times[0]).total_seconds() > 36 * 3600
    return tuple(
        Tick(_of(EDGE_LEFT + ACROSS * place / max(last, 1)), _time(times[place], spans_days=spans_days))
        for place in places
    )


def _time(moment: datetime, *, spans_days: bool) -> str:
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    return date_format(local, "j M") if spans_days else time_format(local, "H:i")


def _of(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
