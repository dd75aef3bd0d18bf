"""A storage that fails as a test tells it: on its n-th call, half-way, by lying, or after the deed.

    far = faulty.bucket("far")
    far.on("save", faulty.cut, calls=[1])       # the first save stores half and reports success

All instances with one ``bucket`` share what it holds; ``forget_all()`` empties the world.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from django.core.files.base import ContentFile, File
from django.core.files.storage import Storage

#: What goes into a tier's BACKEND.
PATH = "queued_storage.testing.FaultyStorage"


class Crash(BaseException):
    """The process ends here: nothing that catches errors runs."""


@dataclass
class Call:
    """A call of a storage's method, before it does anything."""

    #: "open", "save", "delete", "exists", "size" or "listdir".
    method: str
    name: str
    #: Does what was called for, and returns the answer.
    proceed: Callable[[], Any]
    bucket: Bucket
    #: What a save would store.
    content: bytes = b""


#: How a call ends: it returns the answer, or raises.
Effect = Callable[[Call], Any]


@dataclass
class Bucket:
    """What the storages of one bucket hold, and how their calls end."""

    files: dict[str, bytes] = field(default_factory=dict)
    #: How often each method was called.
    calls: Counter[str] = field(default_factory=Counter)
    _faults: dict[str, tuple[Effect, Collection[int] | None]] = field(default_factory=dict)

    def on(self, method: str, effect: Effect, calls: Collection[int] | None = None) -> None:
        """Have the method end so from now on; ``calls`` counts from 1, from now, and None is every call."""
        self.calls[method] = 0
        self._faults[method] = (effect, calls)

    @contextmanager
    def failing(self, method: str, effect: Effect, calls: Collection[int] | None = None) -> Iterator[None]:
        """Have the method end so inside the block."""
        before = self._faults.get(method)
        self.on(method, effect, calls)
        try:
            yield
        finally:
            del self._faults[method]
            if before is not None:
                self._faults[method] = before

    def go_down(self) -> None:
        """Refuse every call, as a server does that is not there."""
        for method in METHODS:
            self.on(method, refuse)

    def heal(self) -> None:
        """End every fault."""
        self._faults.clear()

    def call(self, method: str, name: str, proceed: Callable[[], Any], content: bytes = b"") -> Any:
        self.calls[method] += 1
        effect, calls = self._faults.get(method, (None, None))
        if effect is None or (calls is not None and self.calls[method] not in calls):
            return proceed()
        return effect(Call(method, name, proceed, self, content))


METHODS = ("open", "save", "delete", "exists", "size", "listdir")


class FaultyStorage(Storage):
    """Keeps files in memory, in a named bucket; options beside ``bucket`` are those of the storage it stands for."""

    buckets: ClassVar[dict[str, Bucket]] = {}

    def __init__(self, bucket: str = "default", **options: Any) -> None:
        self._name = bucket

    @property
    def bucket(self) -> Bucket:
        # Looked up at every call: a chain that outlives a test must not go on with that test's bucket.
        return bucket(self._name)

    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        def proceed() -> File[Any]:
            return ContentFile(self._content(name), name)

        file: File[Any] = self.bucket.call("open", name, proceed)
        return file

    def _save(self, name: str, content: File[Any]) -> str:
        # Servers of object stores show nothing until all is there, whatever happens to the client's source.
        data = b"".join(content.chunks())

        def proceed() -> str:
            self.bucket.files[name] = data
            return name

        saved: str = self.bucket.call("save", name, proceed, data)
        return saved

    def delete(self, name: str) -> None:
        self.bucket.call("delete", name, lambda: self.bucket.files.pop(name, None))

    def exists(self, name: str) -> bool:
        told: bool = self.bucket.call("exists", name, lambda: name in self.bucket.files)
        return told

    def size(self, name: str) -> int:
        told: int = self.bucket.call("size", name, lambda: len(self._content(name)))
        return told

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        listing: tuple[list[str], list[str]] = self.bucket.call("listdir", path, lambda: self._listing(path))
        return listing

    def url(self, name: str | None) -> str:
        return f"https://faulty.example/{name}"

    def _content(self, name: str) -> bytes:
        if name not in self.bucket.files:
            raise FileNotFoundError(name)
        return self.bucket.files[name]

    def _listing(self, path: str) -> tuple[list[str], list[str]]:
        prefix = f"{path.strip('/')}/" if path.strip("./") else ""
        below = [name.removeprefix(prefix) for name in self.bucket.files if name.startswith(prefix)]
        folders = {name.partition("/")[0] for name in below if "/" in name}
        return sorted(folders), sorted(name for name in below if "/" not in name)


def bucket(name: str = "default") -> Bucket:
    """Return the bucket of this name, to look into and to let fail."""
    return FaultyStorage.buckets.setdefault(name, Bucket())


def tier(bucket: str = "default", **settings: Any) -> dict[str, Any]:
    """Return the settings of a tier on the bucket of this name."""
    return {"BACKEND": PATH, "OPTIONS": {"bucket": bucket}, **settings}


def forget_all() -> None:
    """Empty every bucket, and end every fault."""
    FaultyStorage.buckets.clear()


# How a call can end


def refuse(call: Call) -> Any:
    """Fail before anything is done."""
    raise ConnectionError(f"{call.method} refused")


def deny(call: Call) -> Any:
    """Fail for want of permission."""
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), call.name)


def full(call: Call) -> Any:
    """Fail for want of room."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), call.name)


def fail_afterwards(call: Call) -> Any:
    """Do it, and lose the answer."""
    call.proceed()
    raise ConnectionError(f"answer to {call.method} lost")


def slow(wait: Callable[[], object]) -> Effect:
    """Wait, then do it: ``slow(event.wait)`` until the test sets the event, ``slow(lambda: clock.shift(60))``."""

    def effect(call: Call) -> Any:
        wait()
        return call.proceed()

    return effect


def cut(call: Call) -> str:
    """Store half, and report success."""
    call.bucket.files[call.name] = call.content[: len(call.content) // 2]
    return call.name


def cut_and_fail(call: Call) -> Any:
    """Store half, and fail."""
    cut(call)
    raise ConnectionError(f"{call.method} broke off")


def lie(call: Call) -> str:
    """Store (or delete) nothing, and report success."""
    return call.name


def corrupt(call: Call) -> str:
    """Store other bytes, as many, and report success."""
    call.bucket.files[call.name] = bytes(byte ^ 1 for byte in call.content)
    return call.name


def rename(call: Call) -> str:
    """Store under another name, as storages do that find the name taken."""
    call.bucket.files[f"{call.name}_1"] = call.content
    return f"{call.name}_1"


def miss(call: Call) -> Any:
    """Say that there is no such file."""
    raise FileNotFoundError(call.name)


def crash(call: Call) -> Any:
    """End the process before anything is done."""
    raise Crash


def crash_afterwards(call: Call) -> Any:
    """Do it, and end the process."""
    call.proceed()
    raise Crash


def break_off(call: Call) -> File[Any]:
    """Open a file whose second half cannot be read."""
    content = call.proceed().read()
    return BreakingFile(content[: len(content) // 2], call.name)


def truncate(call: Call) -> File[Any]:
    """Open a file of which the second half is gone."""
    content = call.proceed().read()
    return ContentFile(content[: len(content) // 2], call.name)


class BreakingFile(ContentFile):  # type: ignore[type-arg]
    """A file whose connection breaks where its content ends."""

    def read(self, *size: int) -> Any:
        data = self.file.read(*size)
        if not data:
            raise ConnectionError("the connection broke")
        return data
