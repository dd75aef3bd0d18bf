"""The names under which Django's storages told times before 2.0."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone

from .storage import TieredStorage


class OldTimes(TieredStorage):
    """A chain that tells times by their old names too; those are naive and local, as they were."""

    def accessed_time(self, name: str) -> datetime:
        return _naive(self.get_accessed_time(name))

    def created_time(self, name: str) -> datetime:
        return _naive(self.get_created_time(name))

    def modified_time(self, name: str) -> datetime:
        return _naive(self.get_modified_time(name))


def _naive(moment: datetime) -> datetime:
    return timezone.make_naive(moment) if timezone.is_aware(moment) else moment
