"""A storage that is no disk and no memory of Django's: it can be counted, made silent and made to fail."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from django.core.files.base import ContentFile
from django.core.files.storage import Storage

PATH = "tests.support.remote.RemoteStorage"


@dataclass
class Server:
    """What all storages of one ``host`` talk to."""

    files: dict[str, bytes] = field(default_factory=dict)
    #: The calls that reached it, by method and name.
    calls: list[tuple[str, str]] = field(default_factory=list)
    error: Exception | None = None
    answers: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.answers.set()

    def asked(self, method: str, name: str) -> None:
        self.calls.append((method, name))
        assert self.answers.wait(30), "a silent server was never made to answer again"
        if self.error is not None:
            raise self.error

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Take calls, and leave them without an answer until the end of the block."""
        self.answers.clear()
        try:
            yield
        finally:
            self.answers.set()

    @property
    def methods(self) -> list[str]:
        return [method for method, _ in self.calls]


class RemoteStorage(Storage):
    servers: ClassVar[dict[str, Server]] = {}

    def __init__(self, host: str, password: str = "") -> None:
        self.server = self.servers.setdefault(host, Server())
        self.made_in = threading.get_ident()

    def _open(self, name: str, mode: str = "rb") -> ContentFile[bytes]:
        self.server.asked("open", name)
        if name not in self.server.files:
            raise FileNotFoundError(name)
        return ContentFile(self.server.files[name], name)

    def _save(self, name: str, content: Any) -> str:
        self.server.asked("save", name)
        self.server.files[name] = b"".join(content.chunks())
        return name

    def exists(self, name: str) -> bool:
        self.server.asked("exists", name)
        return name in self.server.files

    def delete(self, name: str) -> None:
        self.server.asked("delete", name)
        self.server.files.pop(name, None)

    def size(self, name: str) -> int:
        self.server.asked("size", name)
        return len(self.server.files[name])

    def url(self, name: str | None) -> str:
        return f"https://remote.example/{name}"

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        self.server.asked("listdir", path)
        return [], sorted(self.server.files)
