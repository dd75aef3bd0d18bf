"""A film, at one URL for its whole life: a player that has begun it on the disk goes on with it on S3."""

from typing import Any

from django.db import models
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.urls import reverse

from queued_storage.fields import QueuedFileField

CHAIN = "films"


class Film(models.Model):
    title = models.CharField(max_length=200)
    description = models.TextField(blank=True, help_text="What is to be seen, for those who cannot see it.")
    file = QueuedFileField(storage=CHAIN, upload_to="%Y", max_length=255)
    uploaded_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-uploaded_at", "-pk"]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("films:film", args=[self.pk])


@receiver(post_delete, sender=Film)
def delete_file(instance: Film, **kwargs: Any) -> None:
    """Delete the file with the row, on whichever tiers it lies: Django leaves files behind."""
    instance.file.delete(save=False)
