from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from . import catalog, dispatch
from .models import StoredFile

#: Files that the list leads to, page by page; a search or filter leads to others.
LISTED = 10_000


class _Listed(Paginator):  # type: ignore[type-arg]
    """Counts no further than it shows: a catalog may have millions of files."""

    @cached_property
    def count(self) -> int:
        files: Any = self.object_list
        return int(files[: LISTED + 1].count())


class _ChainFilter(admin.SimpleListFilter):
    """The chains that have files, found without looking through all of those."""

    title = _("chain")
    parameter_name = "chain"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(alias, alias) for alias in catalog.aliases()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[StoredFile]) -> QuerySet[StoredFile]:
        return queryset if self.value() is None else queryset.filter(chain=self.value())


@admin.register(StoredFile)
class StoredFileAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """The catalog, to read; and failed files, to try again."""

    list_display = ("name", "chain", "state", "where", "readable_size", "attempts", "saved_at")
    list_filter = ("state", _ChainFilter)
    paginator = _Listed
    search_fields = ("name",)
    ordering = ("-pk",)
    show_full_result_count = False
    actions = ("retry",)

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changes = super().get_changelist_instance(request)
        if changes.result_count > LISTED:
            changes.title = _("The latest %d stored files: search or filter to see others") % LISTED
        return changes

    @admin.display(description=_("tiers"))
    def where(self, file: StoredFile) -> str:
        return ", ".join(file.tiers)

    @admin.display(description=_("size"), ordering="size")
    def readable_size(self, file: StoredFile) -> str:
        return "" if file.size is None else filesizeformat(file.size)

    @admin.action(description=_("Try failed files again"), permissions=["change"])
    def retry(self, request: HttpRequest, queryset: QuerySet[StoredFile]) -> None:
        count = dispatch.retry(queryset.filter(state=StoredFile.State.FAILED))
        text = ngettext("%d file will be tried again.", "%d files will be tried again.", count) % count
        self.message_user(request, text, messages.SUCCESS if count else messages.WARNING)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [field.name for field in self.model._meta.fields]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        nothing_to_save = {"show_save": False, "show_save_and_continue": False}
        return super().change_view(request, object_id, form_url, nothing_to_save | (extra_context or {}))
