"""Models with every kind of file field that the package serves."""

from __future__ import annotations

from django.core.files.storage import Storage
from django.db import models

from queued_storage.fields import QueuedFileField, QueuedImageField
from queued_storage.storage import tiered_storages


def media_storage() -> Storage:
    return tiered_storages["media"]


class Document(models.Model):
    """A file under the chain's own policy."""

    title = models.CharField(max_length=100, blank=True)
    file = QueuedFileField(storage="media", upload_to="documents", max_length=200, blank=True)

    def __str__(self) -> str:
        return self.title


class Picture(models.Model):
    """An image under a policy of its own, with dimensions that Django fills in."""

    image = QueuedImageField(
        storage="media",
        policy="delayed",
        upload_to="pictures",
        width_field="width",
        height_field="height",
    )
    width = models.PositiveIntegerField(null=True)
    height = models.PositiveIntegerField(null=True)

    def __str__(self) -> str:
        return self.image.name or ""


class Plain(models.Model):
    """Django's own fields on a chain: a storage, and a callable that returns one."""

    file = models.FileField(storage=tiered_storages["media"], upload_to="plain")
    lazy = models.FileField(storage=media_storage, upload_to="lazy", blank=True)

    def __str__(self) -> str:
        return self.file.name or ""
