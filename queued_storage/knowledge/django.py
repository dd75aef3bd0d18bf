"""Django's own storages."""

from __future__ import annotations

from .base import Backend, register

register(
    Backend(
        path="django.core.files.storage.filesystem.FileSystemStorage",
        spelled=frozenset(
            {
                "django.core.files.storage.FileSystemStorage",
                "queued_storage.contrib.storages.image.ImageStorage",
                "queued_storage.contrib.storages.overwrite.OverwriteStorage",
                "queued_storage.contrib.storages.symlink.SymlinkOrCopyStorage",
            }
        ),
        opens_eagerly=True,
        place=("disk", (("location", "MEDIA_ROOT"),)),
    )
)
register(
    Backend(
        path="django.core.files.storage.memory.InMemoryStorage",
        spelled=frozenset({"django.core.files.storage.InMemoryStorage"}),
        opens_eagerly=True,
        is_one_store=True,
    )
)
