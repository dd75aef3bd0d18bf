"""The samples that the sweep takes: a chain's backlog and throughput, minute by minute."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from django.apps import apps
from django.db.models import Count, Q, QuerySet, Sum

from .finding import latest
from .rows import database, files

if TYPE_CHECKING:
    from ..models import Sample


class Counted(NamedTuple):
    """Files, and their bytes."""

    files: int
    bytes: int


def samples(chain: str) -> QuerySet[Sample]:
    """Return the chain's samples, in the order of their times."""
    return _samples().filter(chain=chain).order_by("taken_at")


def add_samples(taken: Iterable[Sample]) -> None:
    """Write samples; those of a minute that has one already are left out."""
    _samples().bulk_create(taken, ignore_conflicts=True)


def drop_samples(before: datetime) -> int:
    """Remove the samples of all chains that are older; return how many."""
    return _samples().filter(taken_at__lt=before).delete()[0]


def copied_between(chain: str, since: datetime, until: datetime, among: int | None = None) -> Counted:
    """Count the chain's files copied in that time; ``among`` looks at so many rows only, those written last."""
    rows = files() if among is None else latest(among)
    return _count(rows.filter(chain=chain, copied_at__gte=since, copied_at__lt=until))


def work_since(chain: str, newest: int) -> Counted:
    """Count the chain's files with rows after that one which were owed a copy, or still are."""
    owed = Q(copied_at__isnull=False) | Q(state="pending") | Q(state="failed")
    return _count(files().filter(owed, chain=chain, pk__gt=newest))


def _count(rows: QuerySet[object]) -> Counted:  # type: ignore[type-var]
    told = rows.order_by().aggregate(files=Count("pk"), bytes=Sum("size"))
    return Counted(told["files"], told["bytes"] or 0)


def _samples() -> QuerySet[Sample]:
    model: type[Sample] = apps.get_model("queued_storage", "Sample")
    return model._default_manager.using(database())
