"""The models and a task of the project's own."""

from __future__ import annotations

from typing import Any

from celery.registry import tasks
from django.conf import settings
from django.db.models import FileField, ImageField, Model

from queued_storage.backend import (
    DelayedStorage,
    DoubleFilesystemStorage,
    RemoteFileField,
    S3Storage,
    Transfer,
)
from queued_storage.storage import QueuedRemoteStorage


class TransferAndDelete(Transfer):
    def transfer(self, name: str, local: Any, remote: Any, **kwargs: Any) -> bool:
        result = super().transfer(name, local, remote, **kwargs)

        if result:
            local.delete(name)

        return result


tasks.register(TransferAndDelete)


class MyModel(Model):
    image = ImageField(
        storage=QueuedRemoteStorage(
            local="django.core.files.storage.FileSystemStorage",
            remote="storages.backends.s3boto.S3BotoStorage",
        ),
        upload_to="image",
        blank=True,
    )
    double = FileField(
        storage=DoubleFilesystemStorage(
            local_kwargs={"location": f"{settings.MEDIA_ROOT}/backup"},
            remote_kwargs={"location": f"{settings.MEDIA_ROOT}/main"},
        ),
        blank=True,
    )
    moved = ImageField(storage=S3Storage(task=TransferAndDelete), upload_to="moved", blank=True)
    by_instance = FileField(storage=S3Storage(task=TransferAndDelete()), upload_to="by-instance", blank=True)
    delayed = ImageField(
        storage=DelayedStorage(
            "django.core.files.storage.FileSystemStorage", "storages.backends.s3boto.S3BotoStorage"
        ),
        upload_to="delayed",
        blank=True,
    )
    remote = RemoteFileField(
        storage=DelayedStorage(
            "django.core.files.storage.FileSystemStorage", "storages.backends.s3boto.S3BotoStorage"
        ),
        upload_to="remote",
        blank=True,
    )

    class Meta:
        app_label = "examples_03"

    def __str__(self) -> str:
        return str(self.pk)
