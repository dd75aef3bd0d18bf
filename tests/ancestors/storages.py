"""Tiers as the ancestors were measured on: object stores, disks that wait, names that are numbered."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage
from django.db import connections

from queued_storage.models import StoredFile
from queued_storage.reconcile import reconcile

from tests.support import faulty
from tests.support.faulty import Call, Crash, FaultyStorage
from tests.support.gated import GatedStorage
from tests.support.waiting import wait_until

MODULE = __name__
SLOW = "slow worker"


class ObjectStore(FaultyStorage):
    """Shows an object when it is whole, and replaces the one that has its key, as S3 does."""

    file_overwrite = True

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return name


def object_store(bucket: str) -> dict[str, Any]:
    return {"BACKEND": f"{MODULE}.ObjectStore", "OPTIONS": {"bucket": bucket}}


class SlowToOne(GatedStorage):
    """A gated disk whose gate holds the slow worker alone: other readers pass."""

    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        if threading.current_thread().name == SLOW:
            return super()._open(name, mode)
        return FileSystemStorage._open(self, name, mode)  # type: ignore[attr-defined, no-any-return]


@dataclass(frozen=True)
class SlowDisk:
    """A folder from which one worker reads slowly."""

    folder: Path
    gate: Path

    def tier(self, **options: Any) -> dict[str, Any]:
        self.gate.mkdir(exist_ok=True)
        given = {"location": str(self.folder), "gate": str(self.gate), **options}
        return {"BACKEND": f"{MODULE}.SlowToOne", "OPTIONS": given}

    @contextmanager
    def worker_in_mid_copy(self) -> Iterator[None]:
        """A worker in another thread that has read the first part of the only file, and reads on after the block."""
        pk = StoredFile.objects.get().pk
        with in_thread(pk, (self.gate / "open").touch):
            wait_until((self.gate / "reached").exists, "the slow worker is in the middle of its copy")
            yield


@contextmanager
def worker_in_mid_put(bucket: faulty.Bucket) -> Iterator[None]:
    """A worker in another thread whose bytes have left it; the object store shows them after the block."""
    under_way, go_on = threading.Event(), threading.Event()
    pk = StoredFile.objects.get().pk

    def hold(call: Call) -> Any:
        under_way.set()
        assert go_on.wait(20)
        return call.proceed()

    bucket.on("save", hold, calls=[1])
    with in_thread(pk, go_on.set):
        assert under_way.wait(20)
        yield


@contextmanager
def in_thread(pk: int, let_go: Callable[[], object]) -> Iterator[None]:
    """A worker in another thread that something holds up; ``let_go`` ends that after the block."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            reconcile(pk)
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            errors.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run, name=SLOW)
    thread.start()
    try:
        yield
    finally:
        let_go()
        thread.join(20)
    assert not thread.is_alive()
    assert errors == []


def dies_half_way(call: Call) -> File[Any]:
    """Open a file whose reader's process ends in the middle of it."""
    content = call.proceed().read()
    return _Deadly(content[: len(content) // 2], call.name)


class _Deadly(ContentFile):  # type: ignore[type-arg]
    def read(self, *size: int) -> Any:
        data = self.file.read(*size)
        if not data:
            raise Crash
        return data


class NumberingDisk(FileSystemStorage):
    """Numbers its alternative names: a_1, a_2, …"""

    separator = "_"

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        root, extension = os.path.splitext(name)
        numbered = (f"{root}{self.separator}{number}{extension}" for number in itertools.count(1))
        return next(each for each in itertools.chain([name], numbered) if not self.exists(each))


class DashingDisk(NumberingDisk):
    separator = "-"
