"""Files that real Celery workers move, again and again, with the catalog on PostgreSQL."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .harness import conditions
from .usage import Family, Run, write_random
from .world import World
from tests.support.workers import Worker

DISK = "django.core.files.storage.FileSystemStorage"
CHAIN = "bench"
#: Seconds within which a round has to end.
PATIENCE = 900
#: Seconds between two looks at the catalog.
EVERY = 0.02


@dataclass(frozen=True)
class Load:
    """The files that one run moves."""

    files: int
    size: int

    @property
    def total(self) -> int:
        return self.files * self.size

    def __str__(self) -> str:
        size = next(f"{self.size >> bits} {unit}" for bits, unit in UNITS if self.size >> bits)
        return f"{self.files:,} × {size}" if self.files > 1 else size

    def write(self, folder: Path) -> list[str]:
        """Write the files into a folder, a hundred to each of its folders; return their names."""
        names = [f"{number // 100:02}/{number:05}.bin" for number in range(self.files)]
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            write_random(folder / name, self.size)
        return names


UNITS = ((30, "GB"), (20, "MB"), (10, "KB"), (0, "bytes"))


def disk(folder: Path) -> dict[str, Any]:
    return {"BACKEND": DISK, "OPTIONS": {"location": str(folder)}}


@dataclass(frozen=True)
class Moves:
    """Files on the first tier of a chain that are owed to its second."""

    worker: Worker
    rows: list[Any] = field(repr=False)

    def by_worker(self) -> Run:
        """Owe the files, send off what is due, and wait until the worker has moved them all."""
        from queued_storage import dispatch

        owe(self.rows)
        with Family(self.worker.pid) as family:
            sweeping, started = time.thread_time(), time.perf_counter()
            dispatch.sweep()
            sweeping = time.thread_time() - sweeping
            wait_until_settled(self.worker, len(self.rows), started + PATIENCE)
            seconds = time.perf_counter() - started
            time.sleep(0.3)  # what a worker does after it settled the last file costs as well
        return Run(seconds, family.cpu + sweeping, family.memory)

    def here(self) -> Run:
        """Owe the files, and move them in this process, as ``manage.py tiers drain`` does."""
        from queued_storage import batch

        owe(self.rows)
        used, started = time.process_time(), time.perf_counter()
        for _ in batch.drain():
            pass
        run = Run(time.perf_counter() - started, time.process_time() - used)
        require_settled(len(self.rows))
        return run


@contextmanager
def moves(world: World, tiers: Mapping[str, Any], load: Load) -> Iterator[Moves]:
    """Save the files on the first of the two tiers, and have a worker ready to move them."""
    first, last = tiers
    # So that nobody looks there for the name of the one file that is saved here.
    tiers = {first: tiers[first], last: tiers[last] | {"EXCLUSIVE": True}}
    with world.chains({CHAIN: {"TIERS": tiers, "POLICY": "transfer"}}):
        rows = saved(world, load)
        with world.worker() as worker:
            yield Moves(worker, rows)


def circumstances(world: World, **more: Any) -> dict[str, Any]:
    """Return what the figures of moved files depend on."""
    from queued_storage import conf

    return conditions(
        worker=f"celery prefork, {world.options.processes} processes, warm; "
        f"THREADS {conf.get('THREADS')}, BATCH {conf.get('BATCH')}",
        clock="from the sweep until the catalog says that every file is settled; a peer's from start to end",
        catalog="PostgreSQL, on this machine",
        broker="Redis, on this machine",
        source="in the page cache",
        **({} if world.options.obstore else {"obstore": "missing"}),
        **world.options.settings,
        **more,
    )


def saved(world: World, load: Load) -> list[Any]:
    """Put the files on the first tier; return their rows, as a save leaves them.

    One file is saved through the chain, to see what a save leaves; that takes its time, so the others get copies of
    its row, under their own names.
    """
    from django.core.files.base import File
    from django.test.utils import override_settings

    from queued_storage import catalog
    from queued_storage.storage import tiered_storages

    folder = world.new_folder("uploads")
    names = load.write(folder)
    storage = tiered_storages[CHAIN]
    catalog.files().all().delete()
    with override_settings(QUEUED_STORAGE_DISPATCHER="benchmarks.nowhere.Nowhere"):
        for number, name in enumerate(names):
            save = storage.chain.first.storage.save if number else storage.save
            with (folder / name).open("rb") as upload:
                assert save(name, File(upload)) == name
    row = catalog.find(CHAIN, names[0])
    rows = [_like(row, name, folder / name) for name in names]
    shutil.rmtree(folder)
    return rows


def _like(row: Any, name: str, file: Path) -> Any:
    row = copy(row)
    row.name, row.key = name, row.key_of(name)
    if row.digest:
        with file.open("rb") as content:
            row.digest = hashlib.file_digest(content, "sha256").hexdigest()
    return row


def owe(rows: list[Any]) -> None:
    from django.db import connection

    from queued_storage import catalog

    table = catalog.files().model._meta.db_table
    for row in rows:
        row.pk = None
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {table}")
        catalog.files().bulk_create(rows, batch_size=1000)
        cursor.execute(
            f"ANALYZE {table}"
        )  # as the database does by itself with a table that is not a second old


def wait_until_settled(worker: Worker, count: int, deadline: float) -> None:
    from queued_storage import catalog

    owed = catalog.files().filter(chain=CHAIN, state="pending")
    while owed.exists():
        if time.perf_counter() > deadline or not worker.running:
            row = owed.first()
            raise worker.failure(f"{owed.count()} files were not moved: {row and row.last_error}")
        time.sleep(EVERY)
    require_settled(count)


def require_settled(count: int) -> None:
    from queued_storage import catalog

    settled = catalog.files().filter(chain=CHAIN, state="settled").count()
    assert settled == count, f"{settled} of {count} files are settled"


def expect(found: tuple[int, int], load: Load) -> None:
    wanted = (load.files, load.total)
    assert found == wanted, f"{found} files and bytes arrived, not {wanted}"


def held(folder: Path) -> tuple[int, int]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return len(files), sum(path.stat().st_size for path in files)


def empty(folder: Path) -> None:
    for each in folder.iterdir():
        if each.is_dir():
            shutil.rmtree(each)
        else:
            each.unlink()
