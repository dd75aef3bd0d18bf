"""results.json, and the tables made from it: what is printed, and the page of the docs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .harness import Result

CHECKOUT = Path(__file__).resolve().parents[1]
FILE = CHECKOUT / "benchmarks" / "results.json"
PAGE = CHECKOUT / "docs" / "explanation" / "performance-results.rst"

TITLES = {
    1: "Small files to S3, through workers and catalog",
    2: "Client CPU of a small file",
    3: "Middling and large files to S3",
    4: "Downloads from S3 to disk",
    5: "Disk to disk, and S3 to S3",
    6: "Rows 1, 3 and 4 without obstore",
    7: "What a save costs",
    8: "What a read costs",
    9: "The catalog at a million rows",
    11: "Rows 1 and 3 with 30 ms of latency in front of S3",
}
HEADINGS = ("metric", "value", "peer", "its value", "ratio", "lowest to highest", "bar (goal)", "met")

Record = dict[str, Any]


def load(file: Path = FILE) -> list[Record]:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else []


def merge(old: Iterable[Record], new: Iterable[Result]) -> list[Record]:
    """Return the new results, and the old ones of rows that were not run."""
    fresh = [result.as_dict() for result in new]
    run = {record["row"] for record in fresh}
    return sorted([*(each for each in old if each["row"] not in run), *fresh], key=lambda each: each["row"])


def store(records: list[Record], file: Path = FILE) -> None:
    file.write_text(json.dumps(records, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


# ---- as text ----


def table(records: Iterable[Record]) -> str:
    """Return plain text, a block for each row of the benchmarks."""
    lines: list[str] = []
    for row, of_row in by_row(records):
        cells = [HEADINGS, *(_cells(record) for record in of_row)]
        widths = [max(len(line[column]) for line in cells) for column in range(len(HEADINGS))]
        lines += ["", f"{row}. {TITLES[row]}"]
        lines += [
            "   " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in cells
        ]
    return "\n".join(lines[1:])


def by_row(records: Iterable[Record]) -> Iterator[tuple[int, list[Record]]]:
    known = list(records)
    for row in sorted({record["row"] for record in known}):
        yield row, [record for record in known if record["row"] == row]


def _cells(record: Record) -> tuple[str, ...]:
    ratios = record["ratios"]
    return (
        record["metric"],
        _number(record["value"]),
        record["peer"],
        _number(record["peer_value"]),
        _number(record["ratio"], ".2f"),
        f"{min(ratios):.2f} to {max(ratios):.2f}" if ratios else "",
        record["bar"],
        {True: "yes", False: "no", None: ""}[record["is_met"]],
    )


def _number(value: float | None, form: str = ",.4g") -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if form == ",.4g" and value >= 1000 else format(value, form)


# ---- as a page ----

_PREFACE = """\
Performance: the figures
========================

.. This page is written by ``make bench`` from ``benchmarks/results.json``; do not edit it.

:doc:`performance` says how these figures are made and read. A ratio is this package's value by the peer's, the median
of the rounds' ratios; for rates more is better, for times, CPU and memory less.
"""


def page(records: list[Record]) -> str:
    parts = [_PREFACE]
    if not records:
        parts.append("Nothing has been measured yet.\n")
    for row, of_row in by_row(records):
        title = f"{row}. {TITLES[row]}"
        parts += [f"{title}\n{'-' * len(title)}\n", _list_table(of_row), *_circumstances(of_row)]
    return "\n".join(parts)


def _list_table(records: list[Record]) -> str:
    lines = [".. list-table::", "    :header-rows: 1", ""]
    for cells in [HEADINGS, *(_cells(record) for record in records)]:
        lines += [
            f"    {'* -' if number == 0 else '  -'} {cell}".rstrip() for number, cell in enumerate(cells)
        ]
    return "\n".join(lines) + "\n"


def _circumstances(records: list[Record]) -> Iterator[str]:
    """Yield what holds for all figures of the row, as one paragraph, and then what holds for some."""
    shared = {
        key: value
        for key, value in records[0]["conditions"].items()
        if all(record["conditions"].get(key) == value for record in records)
    }
    rounds = sorted({record["rounds"] for record in records})
    yield f"Rounds: {', '.join(map(str, rounds))}. {_sentence(shared)}\n"
    seen: dict[str, list[str]] = {}
    for record in records:
        own = {key: value for key, value in record["conditions"].items() if key not in shared}
        if own:
            seen.setdefault(_sentence(own), []).append(record["metric"])
    for sentence, metrics in seen.items():
        yield f"* {'; '.join(dict.fromkeys(metrics))}: {sentence}"
    if seen:
        yield ""


def _sentence(conditions: Record) -> str:
    return "; ".join(f"{key}: {value}" for key, value in conditions.items()) + "."
