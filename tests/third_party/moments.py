"""The three moments of a file's move: before it, in its middle, and after it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage
from django.db import connection

from queued_storage.models import StoredFile
from queued_storage.reconcile import reconcile
from queued_storage.storage import TieredStorage
from queued_storage.testing import run_owed_work

from tests.support.servers import S3Server

MOMENTS = ("before", "during", "after")


class Gate:
    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()


class GatedDisk(FileSystemStorage):
    """A disk whose first reader outside of the main thread, once a gate is set, waits there in mid-file."""

    gate: ClassVar[Gate | None] = None

    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        file = super()._open(name, mode)
        if GatedDisk.gate is None or threading.current_thread() is threading.main_thread():
            return file
        gate, GatedDisk.gate = GatedDisk.gate, None
        return GatedFile(file.file, gate)


class GatedFile(File):  # type: ignore[type-arg]
    """Reads a thousand bytes at a time, and waits at its gate after the first thousand."""

    def __init__(self, file: Any, gate: Gate) -> None:
        super().__init__(file)
        self.gate = gate

    def read(self, *size: int) -> bytes:
        data: bytes = self.file.read(1000)
        if self.file.tell() > 1000 and not self.gate.reached.is_set():
            self.gate.reached.set()
            assert self.gate.open.wait(60)
        return data


class Moment:
    """Brings files to one of the moments, and sees at the end that all of them have arrived."""

    def __init__(self, name: str, folder: Path, s3: S3Server, bucket: str) -> None:
        self.name = name
        self.folder = folder
        self.s3 = s3
        self.bucket = bucket
        self.storage = TieredStorage("media")
        self.ends: list[Any] = []

    def come(self, *names: str) -> None:
        """Bring the files there; in the moment "during" the first of them is half copied, by a worker that waits."""
        if self.name == "after":
            run_owed_work()
        if self.name == "during":
            work = half_copied(names[0])
            work.__enter__()
            self.ends.append(work)
        for name in names:
            assert self.on_disk(name) == (self.name != "after"), name
            assert (name in self.s3.keys(self.bucket)) == (self.name == "after"), name

    def on_disk(self, name: str) -> bool:
        return (self.folder / name).exists()

    def pass_by(self) -> None:
        """Let the waiting worker go on, and do what else is owed."""
        while self.ends:
            self.ends.pop().__exit__(None, None, None)
        run_owed_work()

    def arrive(self) -> dict[str, bytes]:
        """Let all that is owed be done; return what is on S3 then, where every file of the catalog is, and no other."""
        self.pass_by()
        rows = list(StoredFile.objects.all())
        live = {row.name: row.tiers for row in rows if row.is_live}
        assert {str(row.state) for row in rows if not row.is_gone} <= {"settled"}, rows
        assert all(tiers == ["s3"] for tiers in live.values()), live
        assert [path for path in self.folder.rglob("*") if path.is_file()] == []
        there = {key: self.s3.read(self.bucket, key) for key in self.s3.keys(self.bucket)}
        assert sorted(there) == sorted(live)
        return there


@contextmanager
def half_copied(name: str) -> Iterator[None]:
    """Hold a worker, in a thread, in the middle of copying the file, until the end of the block."""
    gate = GatedDisk.gate = Gate()
    pk = StoredFile.objects.get(name=name).pk
    errors: list[BaseException] = []

    def work() -> None:
        try:
            reconcile(pk)
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            errors.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert gate.reached.wait(60), errors
        yield
    finally:
        gate.open.set()
        thread.join(60)
        GatedDisk.gate = None
    assert errors == []
    assert not thread.is_alive()
