"""What the sweep notes once a minute for the plots of the admin: how much is owed, and how much was copied.

What is owed is counted. What was copied is, too, where files are few. Where they are many no index has it, so it is at
least what is seen: files among those written last that were copied, or work that was owed and is not any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.apps import apps
from django.utils import timezone

from . import catalog, census, conf
from .catalog import Counted

if TYPE_CHECKING:
    from .models import Sample


def take(chain: str | None = None) -> int:
    """Take a sample of each chain (or one) that has none of this minute, and remove old ones; return how many."""
    days, now = conf.get("SAMPLES"), timezone.now()
    if not days:
        return 0
    taken = list(_samples(catalog.aliases() if chain is None else [chain], now))
    if taken:
        catalog.add_samples(taken)
        catalog.drop_samples(now - timedelta(days=days))
    return len(taken)


def _samples(aliases: list[str], now: datetime) -> Iterator[Sample]:
    minute = now.replace(second=0, microsecond=0)
    for alias in aliases:
        last = catalog.samples(alias).last()
        if last is None or last.taken_at < minute:
            yield _sample(alias, minute, last)


def _sample(alias: str, minute: datetime, last: Sample | None) -> Sample:
    model: type[Sample] = apps.get_model("queued_storage", "Sample")
    newest = catalog.newest()  # before anything is counted: rows written meanwhile are of the next sample
    found = census.take(alias)
    files, sizes = Counter[str](), Counter[str]()
    for group in found.groups:
        files[group.state] += group.files
        sizes[group.state] += group.bytes or 0
    sample = model(
        chain=alias, taken_at=minute, newest=newest, seconds=0, copied=0, copied_bytes=0,
        pending=files["pending"], pending_bytes=sizes["pending"], failed=files["failed"],
    )  # fmt: skip
    if last is not None:
        sample.seconds = round((minute - last.taken_at).total_seconds())
        copied = catalog.copied_between(
            alias, last.taken_at, minute, census.LATEST if found.is_estimate else None
        )
        if found.is_estimate:
            copied = Counted(*map(max, copied, _done(last, sample)))
        sample.copied, sample.copied_bytes = copied
    return sample


def _done(last: Sample, sample: Sample) -> Counted:
    """Return how much of what was owed at the last sample, or has come since, is not owed any more."""
    come = catalog.work_since(sample.chain, last.newest)
    owed, is_owed = last.pending + last.failed, sample.pending + sample.failed
    # Of failed ones the bytes are not noted: they are as many as others.
    return Counted(
        max(owed + come.files - is_owed, 0), max(last.pending_bytes + come.bytes - sample.pending_bytes, 0)
    )
