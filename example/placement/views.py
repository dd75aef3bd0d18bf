"""One page that tells of every file where it lies, and what is still owed to it."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Count, Q, QuerySet, Sum
from django.views.generic import TemplateView
from documents.models import Document

from queued_storage.models import StoredFile

from .places import Place, place_of, tiers_of

SHOWN = 25
TITLES = {"media": "Pictures", "films": "Films", "documents": "Documents"}


@dataclass(frozen=True)
class Shelf:
    """The files of one chain that this visitor may know of."""

    alias: str
    tiers: list[str]
    places: list[Place]
    files: int
    settled: int
    owed: int
    failed: int
    #: Files of which the first tier has the only copy, and their bytes: what would be lost with it now.
    alone: int
    alone_bytes: int

    @property
    def title(self) -> str:
        return TITLES.get(self.alias, self.alias)

    @property
    def policy(self) -> str:
        return str(settings.QUEUED_STORAGE_TIERS[self.alias]["POLICY"])


class PlacementView(TemplateView):
    template_name = "placement/placement.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        shelves = [shelf(alias, visible(alias, self.request.user)) for alias in settings.QUEUED_STORAGE_TIERS]
        return super().get_context_data(
            shelves=shelves,
            owed=sum(each.owed for each in shelves),
            failed=sum(each.failed for each in shelves),
            **kwargs,
        )


def visible(alias: str, user: User | AnonymousUser) -> QuerySet[StoredFile]:
    """Keep to oneself what documents others have: their very names may tell too much."""
    # A deleted file is on the page until no tier has anything of it.
    rows = StoredFile.objects.filter(chain=alias).exclude(state="deleted", due_at=None)
    if alias != "documents":
        return rows
    if not user.is_authenticated:
        return rows.none()
    names = Document.objects.filter(owner=user).values_list("file", flat=True)
    return rows.filter(key__in=[StoredFile.key_of(name) for name in names])


def shelf(alias: str, rows: QuerySet[StoredFile]) -> Shelf:
    """Count all, and show the latest; those that are owed something first, failed ones before all."""
    tiers = tiers_of(alias)
    owed = Q(state__in=("pending", "deleted"))
    counts = rows.aggregate(
        files=Count("pk"),
        settled=Count("pk", filter=Q(state="settled")),
        owed=Count("pk", filter=owed),
        failed=Count("pk", filter=Q(state="failed")),
        alone=Count("pk", filter=Q(tiers=tiers[:1]) & ~Q(state="deleted")),
        alone_bytes=Sum("size", filter=Q(tiers=tiers[:1]) & ~Q(state="deleted"), default=0),
    )
    shown: list[StoredFile] = []
    for some in (Q(state="failed"), owed, Q(state="settled")):
        shown += rows.filter(some).order_by("-pk")[: SHOWN - len(shown)]
    return Shelf(alias=alias, tiers=tiers, places=[place_of(row) for row in shown], **counts)
