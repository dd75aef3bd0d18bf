"""What ``tiers apply`` does to settled files: they become due, or are looked at again at another time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from django.db.models import Case, QuerySet, Value, When
from django.utils import timezone

from .rows import files


def wake(pks: Collection[int]) -> int:
    """Make settled files due; return how many. What an attempt has, or somebody changed meanwhile, stays as it is."""
    return _settled(pks).update(state="pending", due_at=timezone.now(), attempts=0) if pks else 0


def look_again(times: Mapping[int, datetime | None]) -> int:
    """Have settled files looked at again at these times, or (None) not before somebody asks; return how many."""
    if not times:
        return 0
    due_at = Case(*(When(pk=pk, then=Value(moment)) for pk, moment in times.items()), default=Value(None))
    field = files().model._meta.get_field("due_at")
    due_at.output_field = field
    return _settled(times).update(due_at=due_at)


def _settled(pks: Collection[int] | Mapping[int, Any]) -> QuerySet[Any]:
    return files().filter(pk__in=list(pks), state="settled", lease="")


def have_follow(pks: Collection[int], policy: str) -> int:
    """Have files that no attempt has follow another policy, by its name; return how many."""
    return files().filter(pk__in=list(pks), lease="").update(policy=policy) if pks else 0
