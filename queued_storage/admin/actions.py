"""What can be done to files from the list: each by a permission of its own, and each told in the log of the files."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import ImproperlyConfigured
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from .. import catalog, dispatch, operations
from ..backends import asked_to_transfer
from ..chain import chains
from ..exceptions import QueuedStorageError
from ..models import StoredFile
from ..verifying import Options, Verification

#: Files that one click retries, transfers or cancels, and that it verifies, at most: somebody waits for the answer.
ACTED_ON = 1_000
VERIFIED = 100

#: Why a transfer was not cancelled, by what ``operations.withdraw`` tells.
NOT_CANCELLED = {
    "unasked": _("nobody asked for it."),
    "done": _("it is done."),
    "in hand": _("a worker has the file in hand. Try again in a while."),
    "wanted": _("the policy moves the file whether or not somebody asks."),
}


class Actions:
    """Of the ModelAdmin of files."""

    message_user: Any

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

    @admin.action(description=_("Cancel a transfer that was asked for"), permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[StoredFile]) -> None:
        came_of_it: dict[str, list[StoredFile]] = defaultdict(list)
        for row in queryset.exclude(state=StoredFile.State.DELETED)[:ACTED_ON]:
            try:
                came_of_it[operations.withdraw(row)].append(row)
            except QueuedStorageError as error:
                self._complain(request, row, str(error))
        withdrawn = came_of_it.pop("withdrawn", [])
        self._log(request, withdrawn, "Transfer cancelled.")
        count = len(withdrawn)
        text = ngettext(
            "The transfer of %d file was cancelled: it stays where it is.",
            "The transfer of %d files was cancelled: they stay where they are.",
            count,
        )
        self.message_user(request, text % count, messages.SUCCESS if count else messages.WARNING)
        for result, rows in came_of_it.items():
            told = {"count": len(rows), "reason": NOT_CANCELLED[result]}
            self.message_user(request, _("Not cancelled, %(count)d: %(reason)s") % told, messages.WARNING)

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

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "cancel")

    def has_verify_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "verify")

    def _may(self, request: HttpRequest, action: str) -> bool:
        user: Any = request.user
        return bool(user.has_perm(f"queued_storage.{action}_storedfile"))
