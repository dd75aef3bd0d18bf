"""The options by which a run is held back: ``--max-share``, ``--max-files``, ``--max-bytes``."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from queued_storage.brakes import Cap

from .simulate import size


def add_share(parser: ArgumentParser, default: float | None, what: str) -> None:
    """Add the share; without a default ``what`` tells it."""
    parser.add_argument(
        "--max-share",
        type=_percentage,
        default=default,
        metavar="PERCENT",
        help=what if default is None else f"{what} (default: %(default)g)",
    )


def add_caps(parser: ArgumentParser, what: str, *files: str) -> None:
    """Add the two caps; ``files`` are further names of ``--max-files``."""
    parser.add_argument(
        *files,
        "--max-files",
        dest="max_files",
        type=_count,
        metavar="FILES",
        help=f"{what} so many files at most, and stop",
    )
    parser.add_argument(
        "--max-bytes",
        type=size,
        metavar="BYTES",
        help=f"{what} so many bytes at most, and stop: 500MB, 20GB; one file in any case",
    )


def cap(options: dict[str, Any]) -> Cap:
    return Cap(options["max_files"], options["max_bytes"])


def _percentage(text: str) -> float:
    try:
        share = float(text.rstrip("%"))
    except ValueError:
        share = -1
    if not 0 <= share <= 100:
        raise ArgumentTypeError("write a percentage from 0 to 100")
    return share


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError("write a whole number, 1 or more")
    return int(text)
