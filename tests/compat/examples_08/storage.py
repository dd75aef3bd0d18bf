"""A storage of the project's own, as the documentation's ``mysite.storage``."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.files.storage import FileSystemStorage


class MyCustomStorageBackend(FileSystemStorage):
    def __init__(self, spam: str = "", **options: Any) -> None:
        super().__init__(location=f"{settings.MEDIA_ROOT}/{spam}", **options)
