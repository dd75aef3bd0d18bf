"""A simulation's report to look at: in a terminal, and as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise

from django.template.defaultfilters import filesizeformat
from rich.console import Console
from rich.table import Table

from .simulation import Day, Report

BARS = "▁▂▃▄▅▆▇█"
#: Characters of a curve, and days of a table, at most.
WIDTH = 40
ROWS = 12

#: Of a picture, in its own units; and colours that are told apart by those who see no red, or no green.
LEFT, TOP, ACROSS, DOWN = 90, 40, 640, 280
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")


def as_text(report: Report, width: int = 120) -> str:
    """Return the report as lines for a terminal."""
    # A reason is the text of others: no markup is meant, whatever brackets it has.
    console = Console(width=width, highlight=False, color_system=None, markup=False, emoji=False)
    with console.capture() as capture:
        for line in _headline(report):
            console.print(line)
        console.print(_tiers(report))
        console.print(_days(report))
    lines = capture.get().splitlines()
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _headline(report: Report) -> Iterator[str]:
    about = "about " if report.is_estimate else ""
    policy = "(written out in the settings)" if report.policy == "" else f"{report.policy!r}"
    yield (
        f"{report.chain}: {len(report.days)} days of policy {policy}, from {about}{report.files} files; "
        f"{about}{report.new_files} come"
    )
    for reason, count in report.failures.items():
        yield f"  stays where it is, {count} times: {reason}"


def _tiers(report: Report) -> Table:
    table = Table("tier", box=None, pad_edge=False, padding=(0, 2, 0, 2))
    table.add_column("bytes, day by day", no_wrap=True)
    for column in ("before", "after", "peak", "copied there", "released", "cost"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, before in report.before.items():
        days = [day.tiers[name] for day in report.days]
        sizes = [day.bytes for day in days]
        costs = [day.cost for day in days if day.cost is not None]
        table.add_row(
            name,
            curve(sizes),
            _size(before),
            _size(sizes[-1]),
            _size(max(before, *sizes)),
            f"{sum(day.copies for day in days)} ({_size(sum(day.copied_bytes for day in days))})",
            str(sum(day.releases for day in days)),
            f"{sum(costs):.2f}" if costs else "-",
        )
    costs_of_days = [day.cost for day in report.days if day.cost is not None]
    moves = [day.moves for day in report.days]
    table.add_row("moves", curve(moves), "", "", "", str(sum(moves)), "", "")
    if costs_of_days:
        table.add_row("cost/day", curve(costs_of_days), *[""] * 5, f"{sum(costs_of_days):.2f}")
    return table


def _days(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2))
    for column in ("day", *report.before, "moves", "cost of the day"):
        table.add_column(column, justify="right", no_wrap=True)
    for number, day in _some(report.days):
        cost = "-" if day.cost is None else f"{day.cost:.4f}"
        table.add_row(
            str(number + 1), *(_size(tier.bytes) for tier in day.tiers.values()), str(day.moves), cost
        )
    return table


def _some(days: Sequence[Day]) -> list[tuple[int, Day]]:
    """Return days far enough from each other for a short table, and the last."""
    step = -(-len(days) // ROWS)
    numbers = range(len(days) - 1, -1, -step)
    return [(number, days[number]) for number in reversed(numbers)]


def _size(count: int) -> str:
    return filesizeformat(count).replace("\xa0", " ")


def curve(values: Sequence[float], width: int = WIDTH) -> str:
    """Return a line of bars, one for each value, or for the greatest of each few where they are many."""
    if len(values) > width:
        ends = [len(values) * i // width for i in range(width + 1)]
        values = [max(values[begin:end]) for begin, end in pairwise(ends)]
    top = max(values, default=0)
    if not top:
        return BARS[0] * len(values)
    return "".join(BARS[min(int(value / top * len(BARS)), len(BARS) - 1)] for value in values)


def as_svg(report: Report) -> str:
    """Return a picture of the bytes on each tier, one area upon the other, day by day."""
    series = [
        [report.before[name], *(day.tiers[name].bytes for day in report.days)] for name in report.before
    ]
    top = max(map(sum, zip(*series, strict=True))) or 1
    title = escape(
        f"{report.chain}: bytes on each tier, {len(report.days)} days of policy {report.policy or '(own)'}"
    )
    box = f"0 0 {LEFT + ACROSS + 150} {TOP + DOWN + 50}"
    font = 'font-family="sans-serif" font-size="12"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" {font} role="img" aria-labelledby="title">',
        f'<title id="title">{title}</title>',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="14">{title}</text>',
        *_areas(series, top),
        *_axes(top, len(report.days)),
        *_legend(list(report.before)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _areas(series: Sequence[Sequence[int]], top: int) -> Iterator[str]:
    below = [0] * len(series[0])
    for number, values in enumerate(series):
        above = [low + value for low, value in zip(below, values, strict=True)]
        there = [_point(day, value, len(values) - 1, top) for day, value in enumerate(above)]
        back = [_point(day, value, len(values) - 1, top) for day, value in enumerate(below)]
        yield f'<polygon fill="{_colour(number)}" points="{" ".join([*there, *reversed(back)])}"/>'
        below = above


def _point(day: int, value: float, days: int, top: int) -> str:
    return f"{LEFT + ACROSS * day / days:.1f},{TOP + DOWN - DOWN * value / top:.1f}"


def _axes(top: int, days: int) -> Iterator[str]:
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = TOP + DOWN - DOWN * share
        yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{LEFT + ACROSS}" y2="{y:.1f}" stroke="#0003"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_size(round(top * share))}</text>'
    for day in sorted({0, days // 4, days // 2, 3 * days // 4, days}):
        x = LEFT + ACROSS * day / days
        yield f'<text x="{x:.1f}" y="{TOP + DOWN + 20}" text-anchor="middle">{day}</text>'
    yield f'<text x="{LEFT + ACROSS / 2}" y="{TOP + DOWN + 40}" text-anchor="middle">days</text>'


def _legend(names: Sequence[str]) -> Iterator[str]:
    for number, name in enumerate(names):
        x, y = LEFT + ACROSS + 20, TOP + 10 + 22 * (len(names) - 1 - number)  # as the areas lie
        yield f'<rect x="{x}" y="{y}" width="14" height="14" fill="{_colour(number)}"/>'
        yield f'<text x="{x + 22}" y="{y + 12}">{escape(name)}</text>'


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]
