"""Attempts that lost their file, and may still write: what a row remembers of them, and until when."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils import timezone

from .rows import lease_time

if TYPE_CHECKING:
    from ..models import LostAttempt, StoredFile


def with_loser(row: StoredFile) -> list[dict[str, Any]]:
    """Return the row's lost attempts and, if one holds the lease, that one.

    By its own clock it stops when its lease is over; its last call to a tier is granted as long again.
    """
    if not row.lease or row.lease_until is None:
        return list(row.lost)
    return with_own(row, row.generation, row.lease_until + lease_time())


def with_own(row: StoredFile, generation: int, until: datetime) -> list[dict[str, Any]]:
    """Return the row's lost attempts and the one of its fence, which may write that generation, or older ones."""
    own = [each for each in row.lost_attempts if each.fence == row.fence]
    oldest = min([generation, *(each.generation for each in own)])
    last = max([until.timestamp(), *(each.until for each in own)])
    return [*without_own(row), lost_attempt_model()(row.fence, oldest, last).as_json()]


def without_own(row: StoredFile) -> list[dict[str, Any]]:
    return [each.as_json() for each in row.lost_attempts if each.fence != row.fence]


def lost_attempt_model() -> type[LostAttempt]:
    from ..models import LostAttempt

    return LostAttempt


def with_lingering(row: StoredFile) -> list[dict[str, Any]]:
    """Return the lost attempts without this one, and a delete that goes on: one for all such, of nobody's fence."""
    until = (timezone.now() + lease_time()).timestamp()
    others = [each for each in without_own(row) if each["fence"] != 0]
    return [*others, lost_attempt_model()(0, -1, until).as_json()]


def may_write(row: StoredFile) -> datetime | None:
    """Return when the last attempt ends that may still write what this generation has replaced; None if none may."""
    older = [each.until for each in row.lost_attempts if each.generation < row.generation]
    last = max(older, default=0.0)
    return moment_of(last) if last > timezone.now().timestamp() else None


def has_lost_older(row: StoredFile) -> bool:
    """Tell whether attempts at older generations may have written since this one's copies were verified."""
    return any(each.generation < row.generation for each in row.lost_attempts)


def moment_of(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC if settings.USE_TZ else None)
