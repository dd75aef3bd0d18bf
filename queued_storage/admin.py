from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.core.paginator import Paginator
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from . import catalog, causes, dispatch
from .backends import asked_to_transfer
from .chain import chains
from .exceptions import QueuedStorageError
from .models import StoredFile
from .verifying import Options, Verification

#: Files that the list leads to, page by page; a search or filter leads to others.
LISTED = 10_000
#: Files that one click retries or transfers, and that it verifies, at most: somebody waits for the answer.
ACTED_ON = 1_000
VERIFIED = 100
#: Different reasons of failed files among which those of one kind are looked for.
REASONS = 500


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


class _TierFilter(admin.SimpleListFilter):
    """The tiers that hold a verified copy, by their names."""

    title = _("tier")
    parameter_name = "tier"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        names = dict.fromkeys(tier.name for alias in chains for tier in chains[alias])
        return [(name, name) for name in names]

    def queryset(self, request: HttpRequest, queryset: QuerySet[StoredFile]) -> QuerySet[StoredFile]:
        if (name := self.value()) is None:
            return queryset
        # As text, in which the name stands in quotes: SQLite has no search inside of JSON.
        return queryset.alias(_tiers=Cast("tiers", TextField())).filter(_tiers__contains=json.dumps(name))


class _CauseFilter(admin.SimpleListFilter):
    """Failed files by the kind of what went wrong."""

    title = _("kind of error")
    parameter_name = "cause"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(cause, cause) for cause in causes.ALL]

    def queryset(self, request: HttpRequest, queryset: QuerySet[StoredFile]) -> QuerySet[StoredFile]:
        if (cause := self.value()) is None:
            return queryset
        failed = queryset.filter(state=StoredFile.State.FAILED)
        reasons = failed.order_by().values_list("last_error", flat=True).distinct()[:REASONS]
        return failed.filter(last_error__in=[each for each in reasons if causes.read(each).cause == cause])


@admin.register(StoredFile)
class StoredFileAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """The catalog, to read; files to try again, to transfer and to verify. Who did that is in the log."""

    list_display = ("name", "chain", "state", "where", "readable_size", "attempts", "saved_at")
    list_filter = ("state", _ChainFilter, _TierFilter, _CauseFilter)
    paginator = _Listed
    search_fields = ("name",)
    ordering = ("-pk",)
    show_full_result_count = False
    actions = ("retry", "transfer", "verify")

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

    @admin.action(description=_("Try failed files again"), permissions=["retry"])
    def retry(self, request: HttpRequest, queryset: QuerySet[StoredFile]) -> None:
        rows = list(queryset.filter(state=StoredFile.State.FAILED)[:ACTED_ON])
        count = dispatch.retry(catalog.files().filter(pk__in=[row.pk for row in rows]))
        self._log(request, rows, "Tried again.")
        text = ngettext("%d file will be tried again.", "%d files will be tried again.", count) % count
        self.message_user(request, text, messages.SUCCESS if count else messages.WARNING)

    @admin.action(description=_("Transfer now"), permissions=["transfer"])
    def transfer(self, request: HttpRequest, queryset: QuerySet[StoredFile]) -> None:
        asked = []
        for row in queryset.exclude(state=StoredFile.State.DELETED)[:ACTED_ON]:
            try:
                asked_to_transfer(row.chain, row.policy or None).transfer(row.name)
            except (QueuedStorageError, ImproperlyConfigured, FileNotFoundError) as error:
                self._complain(request, row, str(error))
            else:
                asked.append(row)
        self._log(request, asked, "Transfer asked for.")
        count = len(asked)
        text = ngettext(
            "The transfer of %d file was asked for.", "The transfer of %d files was asked for.", count
        )
        self.message_user(request, text % count, messages.SUCCESS if count else messages.WARNING)

    @admin.action(description=_("Verify that the copies are there"), permissions=["verify"])
    def verify(self, request: HttpRequest, queryset: QuerySet[StoredFile]) -> None:
        rows: dict[str, list[StoredFile]] = defaultdict(list)
        for row in queryset.exclude(state=StoredFile.State.DELETED)[:VERIFIED]:
            rows[row.chain].append(row)
        count = sum(self._verify(request, alias, of_chain) for alias, of_chain in rows.items())
        text = ngettext("%d file was looked at.", "%d files were looked at.", count) % count
        if queryset[: VERIFIED + 1].count() > VERIFIED:
            text += " " + _("For more at a time: manage.py tiers verify.")
        self.message_user(request, text, messages.SUCCESS if count else messages.WARNING)

    def _verify(self, request: HttpRequest, alias: str, rows: list[StoredFile]) -> int:
        """Look at the copies of one chain's files; return how many of them were looked at."""
        try:
            verification = Verification(chains[alias], Options())
        except QueuedStorageError as error:
            self.message_user(request, str(error), messages.ERROR)
            return 0
        for looked in verification.run_on(rows):
            if looked.flaws:
                self._log(request, [looked.row], f"Verified: {looked.told}")
                self._complain(request, looked.row, looked.told)
            else:
                untold = f" Could not be checked: {', '.join(looked.untold)}." if looked.untold else ""
                self._log(request, [looked.row], f"Verified: no flaw found.{untold}")
        for tier, reason in verification.reasons.items():
            text = _("Tier %(tier)s of chain %(chain)s could not be checked: %(reason)s")
            told = {"chain": alias, "tier": tier, "reason": reason}
            self.message_user(request, text % told, messages.WARNING)
        return verification.files

    def _complain(self, request: HttpRequest, row: StoredFile, what: str) -> None:
        # Not with the chain's alias first: the admin writes the first letter of a message large.
        text = _("File %(file)s: %(what)s") % {"file": row, "what": what}
        self.message_user(request, text, messages.ERROR)

    def _log(self, request: HttpRequest, rows: list[StoredFile], message: str) -> None:
        if rows:
            user: Any = request.user
            LogEntry.objects.log_actions(user.pk, rows, CHANGE, change_message=message)

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "retry")

    def has_transfer_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "transfer")

    def has_verify_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "verify")

    def _may(self, request: HttpRequest, action: str) -> bool:
        user: Any = request.user
        return bool(user.has_perm(f"queued_storage.{action}_storedfile"))

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

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [field.name for field in self.model._meta.fields]
