"""Tiers that stop at every call, and fail as they are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage

from queued_storage.testing import FaultyStorage, faulty

from .actors import Actor, point


class Hang(BaseException):
    """The call does not end while its caller waits."""

    def __init__(self, call: faulty.Call) -> None:
        self.call = call


def hang(call: faulty.Call) -> Any:
    """Do it after whoever waits for it gave up; who has no limit waits."""
    if getattr(Actor.current, "is_bounded", False):
        raise Hang(call)
    return call.proceed()


def touch(name: str, content: bytes | None) -> None:
    """Note that the actor changed what a tier shows."""
    if Actor.current is not None and (world := getattr(Actor.current.process, "world", None)) is not None:
        world.touched(Actor.current, name, content)


class Bucket(faulty.Bucket):
    """A bucket whose calls are points; ``suspended`` lets every call through."""

    suspended = False

    def __init__(self, tier: str) -> None:
        super().__init__()
        self.tier = tier

    def call(self, method: str, name: str, proceed: Any, content: bytes = b"") -> Any:
        if self.suspended:
            return proceed()
        point(f"{self.tier}.{method}", tier=self.tier, writes=method in ("save", "delete"), name=name)
        if method == "save" and Actor.current is not None:
            Actor.current.saved_as.add((self.tier, name))
            touch(name, content)
        answer = super().call(method, name, proceed, content)
        if method == "save" and Actor.current is not None:
            Actor.current.saved_as.add((self.tier, answer))
        if method in ("save", "delete"):
            point(f"{self.tier}.{method} done")
        return answer


class Remote(FaultyStorage):
    """An object store that finds another name for a file whose name is taken."""


class OverwritingRemote(FaultyStorage):
    """An object store that replaces."""

    file_overwrite = True

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return name


class InPlace(FaultyStorage):
    """A server that shows what it has of a file while that is written."""

    def _save(self, name: str, content: File[Any]) -> str:
        data = b"".join(content.chunks())

        def proceed() -> str:
            self.bucket.files[name] = data[: len(data) // 2]
            point("half written", writes=True)
            self.bucket.files[name] = data
            return name

        saved: str = self.bucket.call("save", name, proceed, data)
        return saved


class Disk(FileSystemStorage):
    """A disk; the point before its publishing step is in ``instrument``."""

    def __init__(self, tier: str, **options: Any) -> None:
        super().__init__(**options)
        self.tier = tier

    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        point(f"{self.tier}.open")
        return super()._open(name, mode)

    def delete(self, name: str) -> None:
        point(f"{self.tier}.delete", tier=self.tier, writes=True, name=name)
        super().delete(name)
        point(f"{self.tier}.delete done")

    def exists(self, name: str) -> bool:
        point(f"{self.tier}.exists")
        return super().exists(name)

    def size(self, name: str) -> int:
        point(f"{self.tier}.size")
        return super().size(name)


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
