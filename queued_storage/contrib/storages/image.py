"""Images under the extension that their content has: "holiday.PNG", which is a JPEG, is saved as "holiday.jpg"."""

from __future__ import annotations

import mimetypes
import posixpath
from contextlib import suppress
from typing import Any

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage
from django.utils.deconstruct import deconstructible
from PIL import Image

#: By Pillow's format: the extensions that are right for it; the first one takes the place of a wrong one.
EXTENSIONS = {
    "AVIF": (".avif",),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "ICO": (".ico",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "JPEG2000": (".jp2", ".j2k", ".jpf", ".jpx"),
    "MPO": (".jpg", ".jpeg", ".mpo"),
    "PNG": (".png", ".apng"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}

_ALL = frozenset(extension for each in EXTENSIONS.values() for extension in each)
#: Those of Python alone: what a machine adds (".5" is a manual's on some) must not make it name files in its own way.
_TYPES = mimetypes.MimeTypes()


class ImageMixin:
    """Corrects the extension of images, in front of any storage; what is no image keeps its name.

    In a chain it is the first tier that does so. A lower tier keeps the name that the first one gave.
    """

    def save(self, name: str | None, content: Any, max_length: int | None = None) -> str:
        name = str(content.name if name is None else name)
        saved: str = super().save(self.name_for(name, content), content, max_length=max_length)  # type: ignore[misc]
        return saved

    save.outside_chains = True  # type: ignore[attr-defined] # a chain asks for the name itself

    def name_for(self, name: str, content: File[Any]) -> str:
        """Return the name, with the extension of the image's format if it has a wrong one or none."""
        right = EXTENSIONS.get(_format_of(content), ())
        root, extension = posixpath.splitext(name)
        if not right or extension.lower() in right:
            return name
        return f"{root if _is_known(extension) else name}{right[0]}"


@deconstructible(path="queued_storage.contrib.storages.image.ImageStorage")
class ImageStorage(ImageMixin, FileSystemStorage):
    """FileSystemStorage that corrects the extension of images; what is no image keeps its name."""


def _format_of(content: Any) -> str:
    """Return Pillow's name of the image's format, told by its header; "" for what is none or cannot be told twice."""
    try:
        content.seek(0)
        file: Any = _Unclosed(content)
        with Image.open(file, formats=_known_formats()) as image:
            return image.format or ""
    except Exception:  # noqa: BLE001 - a broken header makes Pillow's readers raise anything
        return ""
    finally:
        with suppress(AttributeError, OSError, ValueError):
            content.seek(0)


def _is_known(extension: str) -> bool:
    """Tell whether it stands for a type of files, and is not just what is behind a dot: "scan 12.05.2024"."""
    return extension.lower() in _ALL or any(_TYPES.guess_type(f"a{extension}", strict=False))


def _known_formats() -> list[str]:
    Image.init()
    return [name for name in EXTENSIONS if name in Image.OPEN]


class _Unclosed:
    """What Pillow reads of a file that is the caller's to close."""

    def __init__(self, file: Any) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell
