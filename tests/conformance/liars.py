"""A storage of which the package knows nothing and which tells the truth, and one for each lie."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.core.files.base import ContentFile, File
from django.core.files.storage import Storage
from django.utils import timezone
from django.utils.deconstruct import deconstructible


@dataclass
class Kept:
    content: bytes
    content_type: str | None
    saved_at: datetime = field(default_factory=timezone.now)


@deconstructible
class Honest(Storage):
    """Keeps files in memory, by the name of a bucket, and shows them when they are whole."""

    buckets: ClassVar[dict[str, dict[str, Kept]]] = {}

    def __init__(self, bucket: str = "honest", secret_key: str = "") -> None:
        self.bucket = bucket
        self.secret_key = secret_key

    @property
    def files(self) -> dict[str, Kept]:
        return self.buckets.setdefault(self.bucket, {})

    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        return ContentFile(self._kept(name).content, name)

    def _save(self, name: str, content: File[Any]) -> str:
        self.files[self.key(name)] = Kept(content.read(), getattr(content, "content_type", None))
        return name

    def delete(self, name: str) -> None:
        self.files.pop(self.key(name), None)

    def exists(self, name: str) -> bool:
        return self.key(name) in self.files

    def size(self, name: str) -> int:
        return len(self._kept(name).content)

    def url(self, name: str | None) -> str:
        return f"https://files.example/{name}"

    def get_modified_time(self, name: str) -> datetime:
        return self._kept(name).saved_at

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        prefix = f"{path.rstrip('/')}/" if path else ""
        below = [name.removeprefix(prefix) for name in self.files if name.startswith(prefix)]
        folders = {name.partition("/")[0] for name in below if "/" in name}
        return sorted(folders), [name for name in below if "/" not in name]

    def _kept(self, name: str) -> Kept:
        if self.key(name) not in self.files:
            raise FileNotFoundError(name)
        return self.files[self.key(name)]

    def key(self, name: str) -> str:
        """What the file is kept by."""
        return name


class Unknown(Exception):
    """An error of a library that nobody has registered."""


# ---- saving ----


class Renames(Honest):
    """Gives every file a name of its own."""

    def _save(self, name: str, content: File[Any]) -> str:
        return super()._save(f"{name}.dat", content)


class RenamesAndForgets(Honest):
    """Saves under another name than it returns."""

    def _save(self, name: str, content: File[Any]) -> str:
        super()._save(f"{name}.dat", content)
        return name


class SwapsBytes(Honest):
    """Stores as many bytes as it is given, and others."""

    def _save(self, name: str, content: File[Any]) -> str:
        return super()._save(name, ContentFile(bytes(byte ^ 1 for byte in content.read())))


class RefusesEmptyFiles(Honest):
    def _save(self, name: str, content: File[Any]) -> str:
        if not content.read(1):
            raise ValueError("no content")
        content.seek(0)
        return super()._save(name, content)


class SavesText(Honest):
    """Takes what it is given for text."""

    def _save(self, name: str, content: File[Any]) -> str:
        return super()._save(name, ContentFile(content.read().decode(errors="replace").encode()))


class SavesOneChunk(Honest):
    def _save(self, name: str, content: File[Any]) -> str:
        return super()._save(name, ContentFile(content.read(1 << 16)))


class SavesTheRest(Honest):
    """Loses what it reads to look at the content."""

    def _save(self, name: str, content: File[Any]) -> str:
        content.read(1000)
        return super()._save(name, content)


class KnowsASCII(Honest):
    def _save(self, name: str, content: File[Any]) -> str:
        name.encode("ascii")
        return super()._save(name, content)


class CutsAtBlanks(Honest):
    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        folders, files = super().listdir(path)
        return folders, [name.split()[-1] for name in files]


class Unquotes(Honest):
    """Takes a name for a part of a URL."""

    def exists(self, name: str) -> bool:
        return super().exists(name.partition("#")[0])


class Shallow(Honest):
    """Has no folders in folders."""

    def _save(self, name: str, content: File[Any]) -> str:
        if name.count("/") > 3:
            raise FileNotFoundError(name)
        return super()._save(name, content)


class OverwritesInSilence(Honest):
    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return name


class CutsNames(Honest):
    """Has room for five letters, though it does not say so."""

    names: ClassVar[set[str]] = set()

    def _save(self, name: str, content: File[Any]) -> str:
        self.names.add(name)
        return super()._save(name, content)

    def exists(self, name: str) -> bool:
        return name in self.names and super().exists(name)

    def key(self, name: str) -> str:
        folder, _, base = name.rpartition("/")
        return f"{folder}/{base[:5]}"


class Keeps(Honest):
    """Never gives a file up, and takes another name instead."""

    def delete(self, name: str) -> None:
        """Do nothing."""


class Appends(Honest):
    """Writes new content over the beginning of the old."""

    file_overwrite = True

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return name

    def _save(self, name: str, content: File[Any]) -> str:
        new = content.read()
        old = self.files[name].content if name in self.files else b""
        return super()._save(name, ContentFile(new + old[len(new) :]))


# ---- whole or not at all ----


class WritesInPlace(Honest):
    def _save(self, name: str, content: File[Any]) -> str:
        self.files[name] = Kept(b"", None)
        for chunk in content.chunks():
            self.files[name].content += chunk
        return name


class ReportsSuccess(Honest):
    """Takes the error of a source for its end, and keeps what came so far."""

    def _save(self, name: str, content: File[Any]) -> str:
        kept = self.files[name] = Kept(b"", None)
        try:
            for chunk in content.chunks():
                kept.content += chunk
        except OSError:
            pass
        return name


class KeepsParts(WritesInPlace):
    """Leaves a part, which it does not delete."""

    def delete(self, name: str) -> None:
        """Do nothing."""


# ---- reading ----


class OpensText(Honest):
    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        return File(io.StringIO(self._kept(name).content.decode("latin-1")), name)  # type: ignore[arg-type]


class Stuck(io.BytesIO):
    """Says that it can seek, and stays where it is."""

    def seek(self, offset: int, whence: int = 0) -> int:
        return super().seek(offset, whence) if offset == 0 and whence == 0 else self.tell()


class DoesNotSeek(Honest):
    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        return File(Stuck(self._kept(name).content), name)


class SharesFiles(Honest):
    """Gives everybody the same file object."""

    opened: ClassVar[dict[str, File[Any]]] = {}

    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        content = self._kept(name).content
        return self.opened.setdefault(name, File(io.BytesIO(content), name))


class ReturnsClosed(SharesFiles):
    """Opens a file once, and never again."""

    opened: ClassVar[dict[str, File[Any]]] = {}


# ---- facts ----


class ForgetsSize(Honest):
    def size(self, name: str) -> int:
        self._kept(name)
        return 0


class SizeInKilobytes(Honest):
    def size(self, name: str) -> int:
        return super().size(name) // 1000


class SeesNothing(Honest):
    def exists(self, name: str) -> bool:
        return False


class RefusesFolders(Honest):
    def exists(self, name: str) -> bool:
        if name.endswith("/folder"):
            raise Unknown("a folder is no object")
        return super().exists(name)


class NaiveTimes(Honest):
    def get_modified_time(self, name: str) -> datetime:
        return timezone.make_naive(super().get_modified_time(name))


class WrongTimes(Honest):
    def get_modified_time(self, name: str) -> datetime:
        return super().get_modified_time(name) - timedelta(hours=2)


class NoURL(Honest):
    def url(self, name: str | None) -> str:
        return None  # type: ignore[return-value]


class DropsType(Honest):
    def _save(self, name: str, content: File[Any]) -> str:
        return super()._save(name, ContentFile(content.read()))


class ListsPaths(Honest):
    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        return [], [name for name in self.files if name.startswith(path)]


class NoRoot(Honest):
    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        return super().listdir(path) if path else ([], [])


# ---- missing, and deleting ----


class OpensAnything(Honest):
    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        return super()._open(name) if name in self.files else ContentFile(b"", name)


class SizeZero(Honest):
    def size(self, name: str) -> int:
        return super().size(name) if name in self.files else 0


class UnknownTimes(Honest):
    def get_modified_time(self, name: str) -> datetime:
        if name not in self.files:
            raise Unknown("404")
        return super().get_modified_time(name)


class SeesEverything(Honest):
    def exists(self, name: str) -> bool:
        return True

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return name


class SeesPrefixes(Honest):
    def exists(self, name: str) -> bool:
        return any(each.startswith(name) for each in self.files)


class AsksForURL(Honest):
    def url(self, name: str | None) -> str:
        if name not in self.files:
            raise Unknown("404")
        return super().url(name)


class DeletesOnce(Honest):
    def delete(self, name: str) -> None:
        if name not in self.files:
            raise Unknown("404")
        super().delete(name)


class ListsOnlyFolders(Honest):
    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        folders, files = super().listdir(path)
        if not folders and not files:
            raise Unknown("404")
        return folders, files


class DeletesByPrefix(Honest):
    def delete(self, name: str) -> None:
        for each in list(self.files):
            if each.startswith(name):
                del self.files[each]


class KeepsNames(Honest):
    """Never gives a name again."""

    used: ClassVar[set[str]] = set()

    def _save(self, name: str, content: File[Any]) -> str:
        self.used.add(name)
        return super()._save(name, content)

    def is_name_available(self, name: str, max_length: int | None = None) -> bool:
        return name not in self.used


# ---- threads, building ----


class SharesBuffer(Honest):
    """Keeps what it sends in a place that all instances share."""

    buffer: ClassVar[list[bytes]] = [b""]
    meeting: ClassVar[threading.Barrier] = threading.Barrier(2)

    def _save(self, name: str, content: File[Any]) -> str:
        self.buffer[0] = content.read()
        if threading.current_thread() is not threading.main_thread():
            self._let_others_in()
        return super()._save(name, ContentFile(self.buffer[0]))

    def _let_others_in(self) -> None:
        try:
            self.meeting.wait(0.2)
        except threading.BrokenBarrierError:
            self.meeting.reset()


class Hangs(Honest):
    """Waits for an answer that another thread took."""

    answer: ClassVar[threading.Event] = threading.Event()

    def _save(self, name: str, content: File[Any]) -> str:
        if threading.current_thread() is not threading.main_thread():
            self.answer.wait(30)
        return super()._save(name, content)


class NoDeconstruct(Storage):
    """Is not decorated."""

    _open, _save, delete, exists, key = Honest._open, Honest._save, Honest.delete, Honest.exists, Honest.key
    size, url, listdir, files, _kept = Honest.size, Honest.url, Honest.listdir, Honest.files, Honest._kept
    buckets: ClassVar[dict[str, dict[str, Kept]]] = {}
    bucket = "undecorated"


class ForgetsItsBucket(Honest):
    def deconstruct(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        return "tests.conformance.liars.Honest", (), {}


class PrintsItsKey(Honest):
    """Prints its key where the login is refused."""

    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        self._log_in()
        return super()._open(name)

    def exists(self, name: str) -> bool:
        self._log_in()
        return super().exists(name)

    def _save(self, name: str, content: File[Any]) -> str:
        self._log_in()
        return super()._save(name, content)

    def _log_in(self) -> None:
        if self.secret_key != "the right one":
            raise PermissionError(f"login with {self.secret_key!r} refused")


@contextmanager
def forgotten() -> Iterator[None]:
    """Empty what the storages keep, afterwards."""
    Hangs.answer.clear()
    try:
        yield
    finally:
        Hangs.answer.set()
        for kept in (Honest.buckets, NoDeconstruct.buckets, SharesFiles.opened, ReturnsClosed.opened):
            kept.clear()
        for names in (KeepsNames.used, CutsNames.names):
            names.clear()
