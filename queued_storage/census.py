"""How many files a chain has, in which state and on which tiers: counted, or estimated where counting takes long.

What is owed is counted in any case, by an index that holds nothing else. All files are counted where they are few.
Where they are many, those whose keys come first are looked at: a key is a hash of the name, so they are a random
sample, and how far their keys reach tells of how many it is one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from django.db.models import Count, Q, QuerySet, Sum, Value

from . import catalog

if TYPE_CHECKING:
    from .models import StoredFile

#: Files of a chain up to which all are counted. Reading so many keys takes about as long as the rest of a status.
COUNTED = 2_500
#: Files that an estimate of many looks at, about.
SAMPLE = 500
#: Rows written last of which those copied lately are counted in any case.
LATEST = 5_000
#: One more than the greatest key.
KEYS = 16**64


class Group(NamedTuple):
    """The files of one state that lie on the same tiers."""

    state: str
    tiers: list[str]
    #: Whether they stand for others: they are of the sample, where one was taken.
    sampled: bool
    files: int
    #: None where the size of no file is known.
    bytes: int | None
    #: Those that were copied lately, and their bytes.
    copied: int = 0
    copied_bytes: int | None = 0


@dataclass(frozen=True)
class Census:
    """``is_estimate`` says that files which are settled, and their bytes, were not counted."""

    groups: tuple[Group, ...]
    is_estimate: bool = False


def take(chain: str, *, exact: bool = False, since: datetime | None = None) -> Census:
    """Return what rows the chain has, but for those of deleted files of which nothing is left.

    ``since`` says from when on a file was copied "lately"; None asks for none of those.
    """
    rows = catalog.files().filter(chain=chain)
    last = (
        None if exact else rows.order_by("key").values_list("key", flat=True)[COUNTED : COUNTED + 1].first()
    )
    if last is None:
        return Census(_grouped(since, rows.exclude(state="deleted", due_at=None)))
    groups = tuple(_estimated(rows, int(last, 16), since))
    return Census(groups if since is None else _with_latest(chain, groups, since), is_estimate=True)


def _with_latest(chain: str, groups: tuple[Group, ...], since: datetime) -> tuple[Group, ...]:
    """Have the groups tell at least of those files copied lately whose rows were written last.

    A sample of all files hardly shows them, where there are many and only new ones are copied.
    """
    latest = catalog.latest(LATEST).filter(copied_at__gte=since, state="settled").order_by()
    found = latest.values_list("chain", "tiers").annotate(Count("pk"), Sum("size"))
    counted = {tuple(tiers): (files, size or 0) for alias, tiers, files, size in found if alias == chain}
    return tuple(_at_least(group, *counted.get(tuple(group.tiers), (0, 0))) for group in groups)


def _at_least(group: Group, files: int, size: int) -> Group:
    if group.state != "settled":
        return group
    return group._replace(copied=max(group.copied, files), copied_bytes=max(group.copied_bytes or 0, size))


def _estimated(rows: QuerySet[StoredFile], reach: int, since: datetime | None) -> Iterable[Group]:
    """Count what is owed; estimate the rest, of which ``COUNTED`` rows have keys below ``reach``."""
    sample = rows.filter(key__lt=f"{reach * SAMPLE // COUNTED:064x}")
    # One state at a time: of alternatives SQLite does not see that an index has them all.
    pending, failed = rows.filter(state="pending"), rows.filter(state="failed")
    deleting = rows.filter(state="deleted", due_at__isnull=False)
    groups = _grouped(since, sample, pending, failed, deleting)
    scale = COUNTED * KEYS / reach / max(sum(group.files for group in groups if group.sampled), 1)
    for group in groups:
        if not group.sampled:
            yield group
        elif group.state == "settled":
            yield group._replace(
                files=round(group.files * scale),
                bytes=round((group.bytes or 0) * scale),
                copied=round(group.copied * scale),
                copied_bytes=round((group.copied_bytes or 0) * scale),
            )


def _grouped(
    since: datetime | None, sample: QuerySet[StoredFile], *others: QuerySet[StoredFile]
) -> tuple[Group, ...]:
    """Count the rows of all, by one query."""
    lately = Q(copied_at__gte=since)
    sums = {"copied": Count("pk", filter=lately), "copied_bytes": Sum("size", filter=lately)}
    copied = {} if since is None else sums
    first, *rest = (
        rows.order_by()
        .annotate(sampled=Value(rows is sample))
        .values_list("state", "tiers", "sampled")
        .annotate(Count("pk"), Sum("size"), **copied)
        for rows in (sample, *others)
    )
    return tuple(Group(*values) for values in first.union(*rest, all=True))
