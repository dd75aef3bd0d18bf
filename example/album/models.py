"""A picture and its thumbnail, on one chain of storages under two policies."""

from typing import Any

from django.db import models
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.urls import reverse

from queued_storage.fields import QueuedImageField

CHAIN = "media"


class Photo(models.Model):
    title = models.CharField(max_length=200)
    # Under the chain's own policy, "transfer-and-delete": moved to S3, and gone from the disk then.
    image = QueuedImageField(
        storage=CHAIN, upload_to="originals", width_field="width", height_field="height", max_length=255
    )
    # Small and often asked for: a copy goes to S3, the disk goes on serving it.
    thumbnail = QueuedImageField(
        storage=CHAIN, policy="transfer", upload_to="thumbnails", max_length=255, editable=False
    )
    # Known from the upload on; without these columns every page would open each picture to measure it.
    width = models.PositiveIntegerField(editable=False)
    height = models.PositiveIntegerField(editable=False)
    uploaded_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-uploaded_at", "-pk"]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("album:photo", args=[self.pk])

    @property
    def ratio(self) -> float:
        """Width by height, kept within what a grid can show."""
        return round(min(max(self.width / self.height, 0.6), 2.4), 3)


@receiver(post_delete, sender=Photo)
def delete_files(instance: Photo, **kwargs: Any) -> None:
    """Delete the files with the row, on whichever tiers they lie: Django leaves files behind.

    Within the transaction of the row's own delete: if that is rolled back, the files stay.
    """
    instance.image.delete(save=False)
    instance.thumbnail.delete(save=False)
