"""The dashboard: what ``tiers status`` tells of each chain, and how it came to that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .. import hosts, operations, vitals
from ..chain import chains
from ..operations import ChainStatus, TierStatus
from . import drawing, history

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin

#: Seconds after which the page is loaded again; and how often as long as it took to make, at least.
REFRESH = 30
REFRESH_TIMES = 20


@dataclass(frozen=True)
class Period:
    """A time that the plots can show, in so many steps."""

    name: str
    told: Any
    length: timedelta
    step: timedelta


PERIODS = {
    each.name: each
    for each in (
        Period("hour", gettext_lazy("last hour"), timedelta(hours=1), timedelta(minutes=1)),
        Period("day", gettext_lazy("last 24 hours"), timedelta(days=1), timedelta(minutes=15)),
        Period("week", gettext_lazy("last 7 days"), timedelta(days=7), timedelta(hours=2)),
    )
}
DEFAULT = "day"


@dataclass(frozen=True)
class TierRow:
    """A line of the table of tiers."""

    status: TierStatus
    is_first: bool
    is_read_only: bool
    #: Whether it missed its TIMEOUT a moment ago; None where it has none, so that nobody remembers.
    is_down: bool | None

    @property
    def files(self) -> str:
        return drawing.whole(self.status.files)


@dataclass(frozen=True)
class Figure:
    """A number, what it is of, and what else there is to say; ``link`` leads to those files."""

    name: str
    value: str
    more: str = ""
    link: str = ""
    is_bad: bool = False


@dataclass(frozen=True)
class ChainPart:
    """The part of the page that is about one chain."""

    status: ChainStatus
    figures: list[Figure]
    tiers: tuple[TierRow, ...]
    flow: drawing.Flow
    backlog: drawing.Plot
    throughput: drawing.Plot
    steps: list[history.Step]

    @property
    def silent(self) -> list[str]:
        return [tier.status.tier for tier in self.tiers if tier.is_down]


def response(request: HttpRequest, admin: ModelAdmin[Any]) -> HttpResponse:
    """Show every chain, or the one that ``chain`` names, over the ``period``."""
    begun = monotonic()
    period = PERIODS.get(request.GET.get("period", ""), PERIODS[DEFAULT])
    aliases = vitals.aliases()
    chosen = request.GET.get("chain", "")
    shown = [chosen] if chosen in aliases else aliases
    list_url = reverse(f"{admin.admin_site.name}:queued_storage_storedfile_changelist")
    parts = [_part(alias, period, list_url) for alias in shown]
    took = monotonic() - begun
    refreshes = request.GET.get("refresh") != "off"
    query = {"period": period.name} | ({"chain": chosen} if chosen in aliases else {})
    context = {
        **admin.admin_site.each_context(request),
        "title": _("Dashboard"),
        "subtitle": None,
        "opts": admin.opts,
        "parts": parts,
        "hosts": hosts.status(timezone.now()),
        "aliases": aliases,
        "chosen": chosen if chosen in aliases else "",
        "periods": list(PERIODS.values()),
        "period": period,
        "now": timezone.localtime() if timezone.is_aware(timezone.now()) else timezone.now(),
        "refresh": max(REFRESH, round(REFRESH_TIMES * took)) if refreshes else None,
        "query": urlencode(query),
    }
    request.current_app = admin.admin_site.name
    return TemplateResponse(request, "admin/queued_storage/storedfile/dashboard.html", context)


def _part(alias: str, period: Period, list_url: str) -> ChainPart:
    status, now = operations.status(alias), timezone.now()
    steps = history.steps(alias, now, period.length, period.step)
    tiers = _tiers(status)
    return ChainPart(
        status=status,
        figures=list(_figures(status, list_url)),
        tiers=tiers,
        flow=_flow(status, tiers),
        backlog=drawing.plot(
            _("Files owed work"),
            [step.begin for step in steps],
            [
                drawing.Series("pending", _("pending"), [step.pending for step in steps], is_area=True),
                drawing.Series("failed", _("failed"), [step.failed for step in steps]),
            ],
        ),
        throughput=drawing.plot(
            _("Files copied a minute"),
            [step.begin for step in steps],
            [drawing.Series("copied", _("copied"), [step.a_minute for step in steps], is_area=True)],
        ),
        steps=steps,
    )


def _figures(status: ChainStatus, list_url: str) -> Iterator[Figure]:
    def listed(state: str) -> str:
        return f"{list_url}?{urlencode({'chain': status.chain, 'state': state})}"

    about = "≈ " if status.is_estimate else ""
    alone, lately, count = status.first_tier_only, status.throughput, drawing.whole
    yield Figure(_("Files"), about + count(status.files), filesizeformat(status.bytes))
    busy = _("%s in hand") % count(status.running)
    yield Figure(_("Pending"), count(status.pending), busy, listed("pending"))
    yield Figure(_("Failed"), count(status.failed), "", listed("failed"), is_bad=status.failed > 0)
    if status.deleting:
        yield Figure(_("Being deleted"), count(status.deleting), "", listed("deleted"))
    yield Figure(
        _("Longest owed"), _("nothing") if status.owed_since is None else timesince(status.owed_since)
    )
    if status.is_known:
        yield Figure(_("On %s alone") % alone.tier, about + count(alone.files), filesizeformat(alone.bytes))
    yield Figure(
        _("Copied in %d minutes") % lately.minutes, about + count(lately.files), filesizeformat(lately.bytes)
    )


def _tiers(status: ChainStatus) -> tuple[TierRow, ...]:
    chain = chains[status.chain] if status.is_known else None
    down = {} if chain is None else {name: is_down for _chain, name, is_down in vitals.down(status.chain)}
    return tuple(
        TierRow(
            tier,
            is_first=chain is not None and chain.first.name == tier.tier,
            is_read_only=chain is not None and chain[tier.tier].read_only,
            is_down=down.get(tier.tier),
        )
        for tier in status.tiers
    )


def _flow(status: ChainStatus, tiers: tuple[TierRow, ...]) -> drawing.Flow:
    most = max([tier.status.bytes for tier in tiers], default=0)
    boxes = [
        drawing.Tier(
            name=tier.status.tier,
            files=tier.status.files,
            bytes=tier.status.bytes,
            share=tier.status.bytes / most if most else 0.0,
            is_read_only=tier.is_read_only,
            is_down=bool(tier.is_down),
        )
        for tier in tiers
    ]
    return drawing.flow(status.chain, boxes, status.pending, status.running, about=status.is_estimate)
