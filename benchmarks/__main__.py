"""``make bench``: measure every row, or some; print the table, and keep it in results.json and in the docs."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import ending, results
from benchmarks.harness import CannotRun, Result
from benchmarks.rows import THEMES, Theme
from benchmarks.world import Options, World


def main(arguments: Sequence[str]) -> int:
    given = parse(arguments)
    if given.write_page:
        results.PAGE.write_text(results.page(results.load()), encoding="utf-8")
        return 0
    ending.orderly()
    options = Options(given.rounds, given.scale, given.concurrency, dict(given.set))
    themes = [theme for theme in THEMES if given.rows is None or given.rows.intersection(theme.rows)]
    told, failures = measure_all(themes, options, lambda told: keep(told, given))
    if told:
        print(results.table([result.as_dict() for result in told]))
    for failure in failures:
        print(f"not measured: {failure}", file=sys.stderr)
    return 1 if failures else 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    known = sorted({row for theme in THEMES for row in theme.rows})
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rows", type=_rows, help=f"rows to measure, 1,3 say (default: {known})")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (default: %(default)s)")
    parser.add_argument("--concurrency", type=int, help="processes of the worker (default: as many as CPUs)")
    parser.add_argument(
        "--set",
        type=_setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a QUEUED_STORAGE_ setting to measure with, THREADS=16 say",
    )
    parser.add_argument(
        "--scale",
        type=float,
        default=1,
        help="move but this share of the files, to try a row: nothing is kept",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the table, and keep nothing")
    parser.add_argument(
        "--write-page", action="store_true", help="only make the page of the docs from results.json"
    )
    given = parser.parse_args(arguments)
    if given.rows is not None and (unknown := given.rows.difference(known)):
        parser.error(f"--rows: there is no row {', '.join(map(str, sorted(unknown)))}; known are {known}")
    return given


def _rows(text: str) -> set[int]:
    return {int(row) for row in text.split(",")}


def _setting(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def measure_all(
    themes: Sequence[Theme], options: Options, keep: Callable[[Sequence[Result]], None]
) -> tuple[list[Result], list[str]]:
    """Measure the themes one after the other; return the results, and why there are none of some."""
    told: list[Result] = []
    missing = {theme: reason for theme in themes if (reason := theme.why_impossible())}
    failures = [f"row {theme}: {reason}" for theme, reason in missing.items()]
    possible = [theme for theme in themes if theme not in missing]
    if not possible:
        return told, failures
    with ExitStack() as stack:
        world = World(options, {k: v for theme in possible for k, v in theme.databases.items()}, stack)
        for theme in possible:
            print(f"row {theme}", file=sys.stderr, flush=True)
            try:
                results_of_theme = theme.run(world)
            except CannotRun as error:
                failures.append(f"row {theme}: {error}")
            except Exception as error:  # noqa: BLE001 - told at the end: the other rows have their turn
                traceback.print_exc()
                failures.append(f"row {theme}: {type(error).__name__}")
            else:
                keep(results_of_theme)
                told += results_of_theme
    return told, failures


def keep(told: Sequence[Result], given: argparse.Namespace) -> None:
    if given.dry_run or given.scale != 1:
        return
    records = results.merge(results.load(), told)
    results.store(records)
    results.PAGE.write_text(results.page(records), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
