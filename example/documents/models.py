"""A file that belongs to somebody, on a chain whose URLs open nothing unless they are signed."""

from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.urls import reverse

from queued_storage.fields import QueuedFileField

CHAIN = "documents"


def owners_folder(document: "Document", filename: str) -> str:
    return f"{document.owner_id}/{filename}"


class Document(models.Model):
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="documents")
    title = models.CharField(max_length=200)
    file = QueuedFileField(storage=CHAIN, upload_to=owners_folder, max_length=255)
    uploaded_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-uploaded_at", "-pk"]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("documents:document", args=[self.pk])

    @property
    def filename(self) -> str:
        return PurePosixPath(self.file.name).name

    def link(self, lifetime: timedelta | None = None) -> str:
        """Return a URL that opens this file to whoever has it, until its time is over or the file is deleted."""
        return self.file.storage.stable_url(self.file.name, lifetime)


@receiver(post_delete, sender=Document)
def delete_file(instance: Document, **kwargs: Any) -> None:
    """Delete the file with the row, on whichever tiers it lies; every link to it ends with that."""
    instance.file.delete(save=False)
