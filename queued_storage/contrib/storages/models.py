"""The tables of DatabaseStorage: names, contents, and the chunks that contents are made of.

A name refers to one content. A content is written first, seen by nobody, and given to a name by one statement; when
another one takes its place, or the name is deleted, it stays for a while for those who are reading it.
"""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

#: Bytes of a folder's path that are indexed; MariaDB takes 3072 in an index, PostgreSQL about 2700.
FOLDER_BYTES = 1024


class FolderField(models.BinaryField):  # type: ignore[type-arg]
    """The path of a folder, in bytes: as texts, databases compare them each in its own way, and not all in order."""

    def db_type(self, connection: Any) -> str | None:
        # Its BLOB has no index without a length, which Django's indexes do not give.
        return f"varbinary({FOLDER_BYTES})" if connection.vendor == "mysql" else super().db_type(connection)


class DatabaseContent(models.Model):
    """The bytes of one save."""

    size = models.PositiveBigIntegerField(_("size"), default=0, help_text=_("In bytes."))
    chunk_size = models.PositiveIntegerField(
        _("chunk size"), help_text=_("In bytes; that of every chunk but the last.")
    )
    content_type = models.CharField(_("content type"), max_length=255, blank=True)
    saved_at = models.DateTimeField(_("saved at"))
    expires_at = models.DateTimeField(
        _("expires at"),
        null=True,
        db_index=True,
        help_text=_(
            "When it may be removed: it is not yet, or not any more, a file's. Empty: it is a file's."
        ),
    )

    class Meta:
        verbose_name = _("content of a file")
        verbose_name_plural = _("contents of files")

    def __str__(self) -> str:
        return f"content {self.pk}"


class DatabaseFile(models.Model):
    """A name, and the content that readers find by it."""

    key = models.CharField(
        _("key"), max_length=64, unique=True, editable=False, help_text=_("SHA-256 of the name.")
    )
    name = models.TextField(_("name"))
    folder = FolderField(
        _("folder"), db_index=True, help_text=_("What comes before the last part of the name, in UTF-8.")
    )
    content = models.OneToOneField(
        DatabaseContent, on_delete=models.PROTECT, related_name="file", verbose_name=_("content")
    )

    class Meta:
        verbose_name = _("file in the database")
        verbose_name_plural = _("files in the database")

    def __str__(self) -> str:
        return self.name

    @staticmethod
    def key_of(name: str) -> str:
        """Return the fixed-length key of a name: databases differ in how long texts may be, and how they compare."""
        return hashlib.sha256(name.encode()).hexdigest()


class DatabaseChunk(models.Model):
    """A part of a content."""

    content = models.ForeignKey(
        DatabaseContent,
        on_delete=models.CASCADE,
        related_name="chunks",
        db_index=False,  # the constraint has an index that begins with it
        verbose_name=_("content"),
    )
    number = models.PositiveIntegerField(_("number"), help_text=_("From 0."))
    data = models.BinaryField(_("data"))

    class Meta:
        verbose_name = _("chunk")
        verbose_name_plural = _("chunks")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["content", "number"], name="queued_storage_one_chunk_per_number"),
        ]

    def __str__(self) -> str:
        return f"chunk {self.number} of content {self.content_id}"
