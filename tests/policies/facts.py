"""What a policy is told, as a plain value; the tables of this folder need nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

#: When every file of the tables was saved: noon, so that sums are easy to read.
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

TWO = ("disk", "s3")
THREE = ("disk", "s3", "vault")
FOUR = ("disk", "near", "s3", "vault")


@dataclass(frozen=True)
class File:
    tiers: tuple[str, ...] = ("disk",)
    copied_at: datetime | None = None
    requested: bool = False
    name: str = "report.pdf"
    size: int | None = 1
    content_type: str = "application/pdf"
    saved_at: datetime = NOON
    crowded_out: bool = False
