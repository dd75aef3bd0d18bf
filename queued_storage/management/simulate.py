"""The ``simulate`` action of ``manage.py tiers``."""

from __future__ import annotations

import re
import shutil
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from queued_storage import plotting, simulation
from queued_storage.chain import Chain
from queued_storage.simulation import Load, Report

#: A century: nobody knows prices that far ahead, and dates end in the year 9999.
_MOST_DAYS = 36_500
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


def add_arguments(parser: ArgumentParser, count: Callable[[str], int]) -> None:
    parser.add_argument(
        "--policy",
        help="policy of all files (default: the catalog's files keep theirs, new ones get the chain's)",
    )
    parser.add_argument("--days", type=_days, default=90, help="how far to look ahead (default: %(default)s)")
    parser.add_argument(
        "--files-per-day", type=count, metavar="N", help="have so many new files come every day"
    )
    parser.add_argument(
        "--mean-size",
        type=size,
        metavar="BYTES",
        help="of the new files, 2MB say; their sizes are spread around it (default: sizes of the catalog's files)",
    )
    parser.add_argument("--seed", type=int, default=0, help="draw other new files (default: %(default)s)")
    parser.add_argument(
        "--no-catalog", action="store_true", help="leave the files out that there are already"
    )
    parser.add_argument(
        "--exact", action="store_true", help="follow all files, however many and long that is"
    )
    parser.add_argument(
        "--plot", metavar="FILE", type=Path, help="write a picture of the bytes on each tier, as SVG"
    )


def run(chain: Chain, options: dict[str, Any]) -> Report:
    """Simulate, and write the plot that is asked for."""
    report = simulation.run(
        chain,
        days=options["days"],
        policy=options["policy"],
        load=_load(options),
        exact=options["exact"],
        with_catalog=not options["no_catalog"],
    )
    if not (report.files or report.new_files):
        raise CommandError("There is no file to follow. Have some come: --files-per-day 100 --mean-size 2MB")
    if options["plot"] is not None:
        try:
            options["plot"].write_text(plotting.as_svg(report), encoding="utf-8")
        except OSError as error:
            raise CommandError(f"--plot: {error}") from error
    return report


def as_text(report: Report) -> str:
    return plotting.as_text(report, max(shutil.get_terminal_size((120, 24)).columns, 100))


def _load(options: dict[str, Any]) -> Load | None:
    if options["files_per_day"] is None:
        if options["mean_size"] is not None:
            raise CommandError("--mean-size is of files that come: say how many do, with --files-per-day.")
        return None
    return Load(options["files_per_day"], options["mean_size"], options["seed"])


def _days(text: str) -> int:
    # By its length first: Python refuses to read a number of thousands of digits.
    if not (text.isdecimal() and len(text) <= 9 and 1 <= int(text) <= _MOST_DAYS):
        raise ArgumentTypeError(f"write a whole number, 1 to {_MOST_DAYS:,}")
    return int(text)


def size(text: str) -> int:
    """Return the bytes that a text such as 500, 500kB, 2MB or 1.5GiB says."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?i?)b?", text.strip().casefold())
    if match is None or match[2] not in _UNITS or not (bytes_ := round(float(match[1]) * _UNITS[match[2]])):
        raise ArgumentTypeError("write a number of bytes above 0, such as 500000, 500kB or 2MiB")
    return bytes_
