"""The models, their storages, and a receiver of ``file_transferred``."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.dispatch import receiver
from django.utils.timezone import now

from queued_storage.backends import QueuedFileSystemStorage, QueuedS3BotoStorage, QueuedStorage
from queued_storage.fields import QueuedFileField
from queued_storage.signals import file_transferred

queued_s3storage = QueuedStorage(
    "django.core.files.storage.FileSystemStorage", "storages.backends.s3boto.S3BotoStorage"
)

my_storage = QueuedStorage(
    local="django.core.files.storage.FileSystemStorage",
    local_options={"location": f"{settings.MEDIA_ROOT}/files"},
    remote="tests.compat.examples_08.storage.MyCustomStorageBackend",
    remote_options={"spam": "eggs"},
)


class LoggedStorage(QueuedFileSystemStorage):
    remote = "tests.compat.examples_08.storage.MyCustomStorageBackend"
    local_options = {"location": f"{settings.MEDIA_ROOT}/logged"}
    remote_options = {"spam": "ham"}
    task = "tests.compat.examples_08.tasks.TransferAndLog"
    cache_prefix = "logged"


def to_own_folder(name: str, **given: Any) -> QueuedFileSystemStorage:
    return QueuedFileSystemStorage(
        remote="tests.compat.examples_08.storage.MyCustomStorageBackend",
        local_options={"location": f"{settings.MEDIA_ROOT}/{name}"},
        remote_options={"spam": f"{name}-moved"},
        **given,
    )


class MyModel(models.Model):
    image = models.ImageField(storage=queued_s3storage)

    class Meta:
        app_label = "examples_08"

    def __str__(self) -> str:
        return self.image.name or ""


class Paper(models.Model):
    plain = models.FileField(storage=my_storage, blank=True)
    logged = models.FileField(storage=LoggedStorage(), upload_to="logged/%Y", blank=True)
    delayed = QueuedFileField(storage=QueuedS3BotoStorage(delayed=True), upload_to="delayed", blank=True)
    moved = models.FileField(
        storage=to_own_folder("once", task="queued_storage.tasks.TransferAndDelete"), blank=True
    )
    retried = models.FileField(
        storage=to_own_folder("twice", task="tests.compat.examples_08.tasks.SecondTime"), blank=True
    )
    undecided = models.FileField(
        storage=to_own_folder("never", task="tests.compat.examples_08.tasks.Undecided"), blank=True
    )

    class Meta:
        app_label = "examples_08"

    def __str__(self) -> str:
        return str(self.pk)


class TransferLogEntry(models.Model):
    name = models.CharField(max_length=200)
    remote_url = models.CharField(max_length=2000)
    transfer_date = models.DateTimeField()

    class Meta:
        app_label = "examples_08"

    def __str__(self) -> str:
        return self.name


@receiver(file_transferred)
def log_file_transferred(sender: Any, name: str, local: Any, remote: Any, **kwargs: Any) -> None:
    remote_url = remote.url(name)
    TransferLogEntry.objects.create(name=name, remote_url=remote_url, transfer_date=now())
