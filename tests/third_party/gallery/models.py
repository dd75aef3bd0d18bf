"""A model for each package, with the fields that its documentation shows; all on the default storage."""

from __future__ import annotations

from django.db import models
from django_cleanup import cleanup
from easy_thumbnails.fields import ThumbnailerImageField
from imagekit.models import ImageSpecField, ProcessedImageField
from imagekit.processors import ResizeToFill
from sorl.thumbnail import ImageField


class Named(models.Model):
    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{type(self).__name__} {self.pk}"


class Photo(Named):
    """Nothing but Django's own fields, for the admin and Django REST framework."""

    title = models.CharField(max_length=100, blank=True)
    image = models.ImageField(upload_to="photos", width_field="width", height_field="height")
    width = models.PositiveIntegerField(null=True, editable=False)
    height = models.PositiveIntegerField(null=True, editable=False)
    note = models.FileField(upload_to="notes", blank=True)


class EasyPhoto(Named):
    image = ThumbnailerImageField(upload_to="easy", resize_source={"size": (300, 300)})


class SorlPhoto(Named):
    image = ImageField(upload_to="sorl")


class SpecPhoto(Named):
    image = ProcessedImageField(upload_to="spec", processors=[ResizeToFill(200, 200)], format="PNG")
    small = ImageSpecField(source="image", processors=[ResizeToFill(40, 40)], format="PNG")


@cleanup.select
class CleanPhoto(Named):
    image = models.ImageField(upload_to="clean")
