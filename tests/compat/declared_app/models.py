"""A model whose storage is built in code, with options: what 0.8's users have in their projects."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from queued_storage.backends import FILE_SYSTEM, QueuedStorage

STORAGE = QueuedStorage(
    local=FILE_SYSTEM,
    remote=FILE_SYSTEM,
    local_options={"location": f"{settings.MEDIA_ROOT}/local"},
    remote_options={"location": f"{settings.MEDIA_ROOT}/remote"},
    task="queued_storage.tasks.TransferAndDelete",
)


class Letter(models.Model):
    file = models.FileField(storage=STORAGE)

    class Meta:
        app_label = "declared_app"

    def __str__(self) -> str:
        return self.file.name or ""
