"""What storages of whole objects have in common: names without folders, and what Django asks of every storage."""

from __future__ import annotations

import errno
import io
import mimetypes
import posixpath
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urljoin

from django.conf import settings
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import File
from django.core.files.storage import Storage
from django.utils import timezone
from django.utils.encoding import filepath_to_uri

from ...ranged import RangedStream

#: How often a save goes for a name, where others take it in the same moments.
ATTEMPTS = 10
#: Names that are asked for at once, to list a folder; each page begins after the last name of the one before.
PAGE = 1000
#: Why a read fails after its file's content went.
GONE = "the file was replaced, deleted or damaged while it was read"
_MAX_CONTENT_TYPE = 255


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What a server tells of a file."""

    size: int
    #: None where whoever wrote the file did not say it.
    modified_at: datetime | None
    content_type: str
    #: By what the server knows this content of the file.
    key: Any


class ObjectStorage(Storage):
    """Base of storages whose server knows names in order, and no folders."""

    def __init__(self, base_url: str | None, *, allow_overwrite: bool) -> None:
        self._base_url = base_url
        self.allow_overwrite = allow_overwrite

    @abstractmethod
    def _find(self, name: str) -> Stored | None:
        """Return what is known of the file, by the one spelling of its name; None if there is none."""

    @abstractmethod
    def _stream(self, name: str, stored: Stored) -> RangedStream:
        """Return the content, for as long as it is there."""

    @abstractmethod
    def _page(self, start: str, end: str) -> list[tuple[str, bool]]:
        """Return the first names from ``start`` to before ``end`` ("" for no end), at most PAGE, by their bytes' order.

        Each goes with whether it is a file's by now. A name may come several times, with the same answer.
        """

    # ---- Django's ----

    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        if mode not in ("r", "rt", "rb"):
            raise io.UnsupportedOperation(
                f"{type(self).__name__} opens files to read them, not with {mode!r}; use save()."
            )
        name = file_name(name)
        stored = self._found(name)
        binary = io.BufferedReader(self._stream(name, stored))
        file: File[Any] = File(binary if mode == "rb" else io.TextIOWrapper(binary, "utf-8"), name=name)
        file.size = stored.size
        return file

    def exists(self, name: str) -> bool:
        path = relative(name)
        return path != "" and self._find(path) is not None

    def size(self, name: str) -> int:
        return self._found(file_name(name)).size

    def content_type(self, name: str) -> str:
        """Return the type that came with the upload, else the one that the name stands for; "" if neither tells."""
        return self._found(file_name(name)).content_type

    def get_modified_time(self, name: str) -> datetime:
        moment = self._found(file_name(name)).modified_at
        if moment is None:
            raise NotImplementedError("Whoever wrote the file did not say when.")
        return moment if settings.USE_TZ else timezone.make_naive(moment)

    def get_created_time(self, name: str) -> datetime:
        """Return when the content was stored: a file that is replaced is a new one."""
        return self.get_modified_time(name)

    def url(self, name: str | None) -> str:
        if self._base_url is None:
            raise ValueError("This file is not accessible via a URL.")
        return urljoin(f"{self._base_url.rstrip('/')}/", filepath_to_uri(relative(name or "")))

    def is_name_available(self, name: str, max_length: int | None = None) -> bool:
        if self.allow_overwrite:
            return not (max_length and len(name) > max_length)
        return super().is_name_available(name, max_length=max_length)

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """List what is right in the folder; there is nothing in one that no name is in."""
        folder = relative(path)
        folders, files = self._children(f"{folder}/" if folder else "")
        return sorted(folders), sorted(files)

    def _found(self, name: str) -> Stored:
        stored = self._find(name)
        if stored is None:
            raise FileNotFoundError(errno.ENOENT, "There is no such file", name)
        return stored

    def _children(self, prefix: str) -> tuple[set[str], set[str]]:
        """Return the folders and the files right below the prefix, without a look at all that is in the folders."""
        folders: set[str] = set()
        files: set[str] = set()
        start, end = prefix, f"{prefix[:-1]}0" if prefix else ""  # "0" comes right after "/"
        while True:
            page = self._page(start, end)
            for child, is_folder in _children(prefix, page):
                (folders if is_folder else files).add(child)
            if len(page) < PAGE:
                return folders, files
            last = page[-1][0]
            folder, below, _ = last[len(prefix) :].partition("/")
            start = f"{prefix}{folder}0" if below else f"{last}\0"  # the next name that there can be

    def _another(self, name: str) -> str:
        """Return a name for what is saved while another save takes the name."""
        folder, base = posixpath.split(name)
        return posixpath.join(folder, self.get_alternative_name(*posixpath.splitext(base)))


def _children(prefix: str, page: Iterable[tuple[str, bool]]) -> Iterable[tuple[str, bool]]:
    for name, is_file in page:
        if is_file:
            child, below, _ = name[len(prefix) :].partition("/")
            yield child, bool(below)


def relative(name: str) -> str:
    """Return the name's one spelling, "" for the whole storage; refuse what leads out of that."""
    text = str(name).replace("\\", "/")
    path = posixpath.normpath(text) if text else ""
    if path.startswith("/") or path.split("/", 1)[0] == "..":
        raise SuspiciousFileOperation(f"{name!r} is outside of the storage.")
    if "\0" in path:
        raise ValueError("A name must not have a NUL in it.")
    return "" if path == "." else path


def file_name(name: str) -> str:
    """Return the one spelling of a file's name; an empty one is refused."""
    path = relative(name)
    if not path:
        raise ValueError("The name of a file must not be empty.")
    return path


def type_of(name: str, content: Any) -> str:
    """Return the type that the content came with, as HTTP can tell it, or the one that its name stands for."""
    told = getattr(content, "content_type", None)
    if isinstance(told, str) and told.isascii() and told.isprintable() and len(told) <= _MAX_CONTENT_TYPE:
        return told
    return mimetypes.guess_type(name)[0] or ""
