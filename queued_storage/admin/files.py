"""The catalog in the admin, to read; what can be done about files is in ``actions``."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.urls import URLPattern, path
from django.utils.translation import gettext_lazy as _

from ..models import StoredFile
from . import dashboard, story
from .actions import Actions
from .filters import AgeFilter, CauseFilter, ChainFilter, StateFilter, TierFilter, WaitingFilter
from .listing import Changes, Listed


@admin.register(StoredFile)
class StoredFileAdmin(Actions, admin.ModelAdmin):  # type: ignore[type-arg]
    """The catalog, to read; files to try again, to transfer, to cancel and to verify. Who did that is in the log."""

    list_display = ("name", "chain", "state", "where", "readable_size", "attempts", "saved_at")
    list_filter = (StateFilter, ChainFilter, TierFilter, AgeFilter, WaitingFilter, CauseFilter)
    paginator = Listed
    search_fields = ("name",)
    ordering = ("-pk",)
    show_full_result_count = False
    # They would count all files, for each choice of each filter.
    show_facets = admin.ShowFacets.NEVER
    actions = ("retry", "transfer", "cancel", "verify")
    sections = (
        (_("The file"), {"fields": ("name", "chain", "size", "content_type", "digest", "generation", "metadata")}),
        (_("Times"), {"fields": ("saved_at", "copied_at", "modified_at", "created_at", "accessed_at")}),
        (_("Where it lies, and why"), {
            "fields": (
                "tiers", "stale", "policy", "requested", "crowded_out", "called_back_at", "model", "field", "host"
            )
        }),
        (_("Work"), {"fields": ("state", "due_at", "for_host", "attempts", "last_error", "lease_until")}),
    )  # fmt: skip

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return Changes

    @admin.display(description=_("tiers"))
    def where(self, file: StoredFile) -> str:
        return ", ".join(file.tiers)

    @admin.display(description=_("size"), ordering="size")
    def readable_size(self, file: StoredFile) -> str:
        return "" if file.size is None else filesizeformat(file.size)

    def get_urls(self) -> list[URLPattern]:
        own = path(
            "dashboard/",
            self.admin_site.admin_view(self.dashboard),
            name="queued_storage_storedfile_dashboard",
        )
        return [own, *super().get_urls()]

    def dashboard(self, request: HttpRequest) -> HttpResponse:
        """Show what ``tiers status`` tells, and how it came to that."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return dashboard.response(request, self)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> Any:
        file = self.get_object(request, object_id)
        if file is not None and self.has_view_permission(request, file):
            extra_context = {**(extra_context or {}), "story": story.of(file)}
        return super().change_view(request, object_id, form_url, extra_context)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # A form that is sent would write the whole row as it was read, over what a worker has written meanwhile.
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Refuse: rows are written under their lease and fence alone."""
        raise PermissionDenied

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Show every field: what has no section of its own is of use to those who know the inside."""
        shown = {name for _title, options in self.sections for name in options["fields"]}
        others = [name for name in self.get_readonly_fields(request, obj) if name not in {*shown, "id"}]
        return [*self.sections, (_("Inside"), {"classes": ("collapse",), "fields": others})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [field.name for field in self.model._meta.fields]
