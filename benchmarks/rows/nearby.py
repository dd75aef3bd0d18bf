"""Row 5: files that move from disk to disk, and from bucket to bucket of one server."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..harness import Contender, Measure, Result, Run, interleave, tell
from ..moves import circumstances, disk, empty, expect, held, moves
from ..world import FIRST, World
from .moving import OURS, middling, small

DRAIN = "queued-storage, drained by one process"
PLAIN = "FileSystemStorage.save, one thread"
SYNCED = f"{PLAIN}, and fsync"
THREADS = 8
STREAMED = f"boto3, get_object into upload_fileobj, {THREADS} threads"


def copies(world: World) -> list[Result]:
    return [*_disk_to_disk(world, fsync=False), *_disk_to_disk(world, fsync=True), *_bucket_to_bucket(world)]


def _disk_to_disk(world: World, *, fsync: bool) -> list[Result]:
    load = small(world)
    source, ours_in, peer_in = (world.new_folder(name) for name in ("source", "ours", "peer"))

    def into(folder: Path, work: Callable[[], Run]) -> Contender:
        def run() -> Run:
            empty(folder)
            told = work()
            expect(held(folder), load)
            return told

        return run

    tiers = {"source": disk(source), "copy": disk(ours_in) | {"FSYNC": fsync}}
    with moves(world, tiers, load) as moving:
        contenders = {
            OURS: into(ours_in, moving.by_worker),
            DRAIN: into(ours_in, moving.here),
            PLAIN: into(peer_in, lambda: _save_each(source, peer_in, fsync=False)),
            SYNCED: into(peer_in, lambda: _save_each(source, peer_in, fsync=True)),
        }
        rounds = interleave(contenders, world.options.rounds)
        told = circumstances(world, destination=f"FSYNC {fsync}")
    name = f"disk to disk{' with FSYNC' if fsync else ''}, {load}"

    def rate(what: str = "", bar: float | None = None, goal: float | None = None) -> Measure:
        return Measure(f"{name}{what}: files/s", lambda run: load.files / run.seconds, bar, goal)

    return [
        tell(5, rate() if fsync else rate("", 2, 3), rounds, OURS, PLAIN, conditions=told),
        tell(5, rate(), rounds, OURS, SYNCED, conditions=told),
        tell(5, rate(", drained"), rounds, DRAIN, PLAIN, conditions=told | {"worker": "none"}),
    ]


def _save_each(source: Path, destination: Path, *, fsync: bool) -> Run:
    from django.core.files.base import File
    from django.core.files.storage import FileSystemStorage

    storage = FileSystemStorage(destination)
    names = [str(path.relative_to(source)) for path in sorted(source.rglob("*")) if path.is_file()]
    used, started = time.process_time(), time.perf_counter()
    for name in names:
        with (source / name).open("rb") as content:
            saved = storage.save(name, File(content))
        if fsync:
            _sync(Path(storage.path(saved)))
    return Run(time.perf_counter() - started, time.process_time() - used)


def _sync(path: Path) -> None:
    for each in (path, path.parent):
        descriptor = os.open(each, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def _bucket_to_bucket(world: World) -> list[Result]:
    load = middling(world)
    for bucket in ("source", "ours", "peer"):
        world.renew(bucket)
    tiers = {"source": world.s3.tier("source"), "copy": world.s3.tier("ours")}
    with moves(world, tiers, load) as moving:

        def ours() -> Run:
            world.renew("ours")
            run = moving.by_worker()
            expect(world.held("ours"), load)
            return run

        def streamed() -> Run:
            world.renew("peer")
            run = _stream_each(world.s3)
            expect(world.held("peer"), load)
            return run

        rounds = interleave({OURS: ours, STREAMED: streamed}, world.options.rounds)
        told = circumstances(world, **world.conditions())
    rate = Measure(f"S3 to S3, {load}: MB/s", lambda run: load.total / 1e6 / run.seconds, 3, 5)
    return [tell(5, rate, rounds, OURS, STREAMED, conditions=told)]


def _stream_each(server: Any) -> Run:
    names = [name for name in server.names("source") if name != FIRST]

    def stream(name: str) -> None:
        with server.client.get_object(Bucket="source", Key=name)["Body"] as body:
            server.client.upload_fileobj(body, "peer", name)

    used, started = time.process_time(), time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(stream, names))
    return Run(time.perf_counter() - started, time.process_time() - used)
