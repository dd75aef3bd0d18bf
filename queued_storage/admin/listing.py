"""The list of files, which may be millions: it counts, sorts and leads no further than it shows."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

#: Files that the list leads to, page by page; a search or filter leads to others.
LISTED = 10_000


class Listed(Paginator):  # type: ignore[type-arg]
    """Counts no further than the list leads."""

    @cached_property
    def count(self) -> int:
        return counted(self.object_list)


class Changes(ChangeList):
    """Sorts by another column only what the list shows whole: to sort all files would take a look at each."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.result_count > LISTED:
            self.title = _("The latest %d stored files: search or filter to see others") % LISTED

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        files = super().get_queryset(request, *args, **kwargs)
        if ORDER_VAR in self.params and counted(files) > LISTED:
            del self.params[ORDER_VAR]
            files = files.order_by("-pk")
        return files


def counted(files: Any) -> int:
    """Return how many there are, or one more than the list leads to."""
    return int(files.order_by()[: LISTED + 1].count())
