"""By what the list of files can be narrowed down."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .. import catalog, causes
from ..chain import chains
from ..models import StoredFile

Files = QuerySet[StoredFile]

#: Different reasons of failed files among which those of one kind are looked for.
REASONS = 500
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class ChainFilter(admin.SimpleListFilter):
    """The chains that have files, found without looking through all of those."""

    title = _("chain")
    parameter_name = "chain"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(alias, alias) for alias in catalog.aliases()]

    def queryset(self, request: HttpRequest, queryset: Files) -> Files:
        return queryset if self.value() is None else queryset.filter(chain=self.value())


class StateFilter(admin.SimpleListFilter):
    """The states; of all but settled files an index knows them."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state, str(told)) for state, told in StoredFile.State.choices]

    def queryset(self, request: HttpRequest, queryset: Files) -> Files:
        state = self.value()
        if state is None:
            return queryset
        of_state = queryset.filter(state=state)
        return of_state if state == StoredFile.State.SETTLED else _by_chains(of_state)


class TierFilter(admin.SimpleListFilter):
    """The tiers that hold a verified copy, by their names."""

    title = _("tier")
    parameter_name = "tier"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        names = dict.fromkeys(tier.name for alias in chains for tier in chains[alias])
        return [(name, name) for name in names]

    def queryset(self, request: HttpRequest, queryset: Files) -> Files:
        if (name := self.value()) is None:
            return queryset
        # As text, in which the name stands in quotes: SQLite has no search inside of JSON.
        return queryset.alias(_tiers=Cast("tiers", TextField())).filter(_tiers__contains=json.dumps(name))


class AgeFilter(admin.SimpleListFilter):
    """How long ago the content was saved, or taken in."""

    title = _("age")
    parameter_name = "age"

    #: By value: what stands there, and from which age on, below which age a file is shown.
    ages = {
        "hour": (_("less than an hour"), None, HOUR),
        "day": (_("less than a day"), None, DAY),
        "week": (_("less than a week"), None, 7 * DAY),
        "month": (_("less than 30 days"), None, 30 * DAY),
        "old": (_("30 days or more"), 30 * DAY, None),
        "older": (_("a year or more"), 365 * DAY, None),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(value, told) for value, (told, _from, _below) in self.ages.items()]

    def queryset(self, request: HttpRequest, queryset: Files) -> Files:
        if (value := self.value()) not in self.ages:
            return queryset
        now = timezone.now()
        _told, at_least, below = self.ages[value]
        if below is not None:
            queryset = queryset.filter(saved_at__gt=now - below)
        return queryset if at_least is None else queryset.filter(saved_at__lte=now - at_least)


class WaitingFilter(admin.SimpleListFilter):
    """For how long the work that is owed has been due."""

    title = _("waiting time")
    parameter_name = "waiting"

    times = {
        "now": (_("any time"), timedelta()),
        "minutes": (_("5 minutes or more"), timedelta(minutes=5)),
        "hour": (_("an hour or more"), HOUR),
        "day": (_("a day or more"), DAY),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(value, told) for value, (told, _time) in self.times.items()]

    def queryset(self, request: HttpRequest, queryset: Files) -> Files:
        if (value := self.value()) not in self.times:
            return queryset
        return _by_chains(queryset.filter(due_at__lte=timezone.now() - self.times[value][1]))


class CauseFilter(admin.SimpleListFilter):
    """Failed files by the kind of what went wrong."""

    title = _("kind of error")
    parameter_name = "cause"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(cause, cause) for cause in causes.ALL]

    def queryset(self, request: HttpRequest, queryset: Files) -> Files:
        if (cause := self.value()) is None:
            return queryset
        failed = _by_chains(queryset.filter(state=StoredFile.State.FAILED))
        reasons = failed.order_by().values_list("last_error", flat=True).distinct()[:REASONS]
        return failed.filter(last_error__in=[each for each in reasons if causes.read(each).cause == cause])


def _by_chains(files: Files) -> Files:
    """Name all chains: the indexes of what is owed have them first."""
    return files.filter(chain__in=catalog.aliases())
