"""Rows 1 to 4, 6 and 11: files move between a disk and S3, by real Celery workers, the catalog on PostgreSQL."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ..harness import Contender, Measure, Result, Run, interleave, tell, tell_value, uses_obstore
from ..moves import Load, circumstances, disk, empty, expect, held, moves
from ..peers import TRANSFERS, Rclone, S5cmd
from ..world import FIRST, RTT_MS, World, require_space

OURS = "queued-storage"
RCLONE = f"rclone copy --transfers {TRANSFERS}"
NO_HEAD = f"{RCLONE} --s3-no-head"
S5CMD = f"s5cmd --numworkers {TRANSFERS}"


def small(world: World) -> Load:
    return Load(world.options.scaled(5000), 10 << 10)


def middling(world: World) -> Load:
    return Load(world.options.scaled(500), 1 << 20)


def large(world: World) -> Load:
    return Load(1, world.options.scaled(2 << 30))


# ---- the rows ----


def small_files(world: World) -> list[Result]:
    """Rows 1 and 2."""
    load = small(world)
    with uploading(world, load) as (contenders, told):
        rounds = interleave(contenders, world.options.rounds)
    rate = files_a_second(load, bar=1.0, goal=1.5)
    cpu = Measure(f"{load}: CPU, ms a file", _cpu_ms(load), bar=0.8, goal=0.5, more_is_better=False)
    return [
        tell(1, rate, rounds, OURS, RCLONE, conditions=told),
        tell(1, rate, rounds, OURS, NO_HEAD, conditions=told, bar=False),
        tell(1, rate, rounds, OURS, S5CMD, conditions=told, bar=False),
        tell_value(2, cpu, rounds, OURS, conditions=told, peer=RCLONE),
    ]


def uploads(world: World) -> list[Result]:
    """Row 3."""
    told: list[Result] = []
    for load, bar, goal in ((middling(world), 1.1, 1.6), (large(world), 1.2, 2.0)):
        with uploading(world, load) as (contenders, told_with):
            rounds = interleave(contenders, world.options.rounds)
        rate = bytes_a_second(load, bar, goal)
        told += [
            tell(3, rate, rounds, OURS, RCLONE, conditions=told_with),
            tell(3, rate, rounds, OURS, S5CMD, conditions=told_with, bar=False),
        ]
    return [*told, tell_value(3, memory(load, 256, 150), rounds, OURS, conditions=told_with, peer=RCLONE)]


def downloads(world: World) -> list[Result]:
    """Row 4."""
    told: list[Result] = []
    for load, bar, goal in ((middling(world), 1.1, 1.5), (large(world), 0.6, 1.0)):
        with downloading(world, load) as (contenders, told_with):
            rounds = interleave(contenders, world.options.rounds)
        told += [
            tell(
                4,
                bytes_a_second(load, bar, goal),
                rounds,
                OURS,
                peer,
                conditions=told_with,
                bar=peer == RCLONE,
            )
            for peer in (RCLONE, S5CMD)
        ]
    return [
        *told,
        tell_value(4, memory(load, 128, None), rounds, OURS, conditions=told_with, peer=RCLONE),
    ]


def without_obstore(world: World) -> list[Result]:
    """Row 6."""
    if not uses_obstore():
        print(
            "    nothing to measure: the package has no use for obstore, rows 1, 3 and 4 are without it",
            file=sys.stderr,
        )
        return []
    directions = {1: "", 3: "up, ", 4: "down, "}
    with world.without_obstore():
        told = [*small_files(world), *uploads(world), *downloads(world)]
    return [
        replace(each, row=6, metric=f"{directions[each.row]}{each.metric}", bar="", is_met=None)
        for each in told
        if each.row in directions and each.peer != S5CMD
    ]


def far_away(world: World) -> list[Result]:
    """Row 11."""
    told: list[Result] = []
    for load in (small(world), middling(world), large(world)):
        with uploading(world, load, far=True) as (contenders, told_with):
            rounds = interleave(contenders, world.options.rounds)
        rate = files_a_second(load, 1.0) if load.files == small(world).files else bytes_a_second(load, 1.0)
        told.append(tell(11, rate, rounds, OURS, RCLONE, conditions=told_with))
    return told


# ---- measures ----


def files_a_second(load: Load, bar: float | None = None, goal: float | None = None) -> Measure:
    return Measure(f"{load}: files/s", lambda run: load.files / run.seconds, bar, goal)


def bytes_a_second(load: Load, bar: float | None = None, goal: float | None = None) -> Measure:
    return Measure(f"{load}: MB/s", lambda run: load.total / 1e6 / run.seconds, bar, goal)


def memory(load: Load, bar: float, goal: float | None) -> Measure:
    return Measure(f"{load}: peak memory, MB", lambda run: run.memory / 1e6, bar, goal, more_is_better=False)


def _cpu_ms(load: Load) -> Callable[[Run], float]:
    return lambda run: 1000 * run.cpu / load.files


# ---- what runs ----

Contenders = Mapping[str, Contender]


@contextmanager
def uploading(world: World, load: Load, *, far: bool = False) -> Iterator[tuple[Contenders, dict[str, Any]]]:
    """Everybody moves the same files of a disk to a bucket of their own."""
    require_space(world.folder, load.total)
    source = world.new_folder("source")
    port = world.slow_port if far else None
    rclone, s5cmd = Rclone(world.line(port)), S5cmd(world.line(port))
    world.renew("ours")
    tiers = {"disk": disk(source), "s3": world.s3.tier("ours", port)}

    def peer(run_copy: Callable[[str], Run]) -> Run:
        world.renew("peer")
        run = run_copy("peer")
        expect(world.held("peer"), load)
        return run

    with moves(world, tiers, load) as moving:

        def ours() -> Run:
            world.renew("ours")
            run = moving.by_worker()
            expect(world.held("ours"), load)
            return run

        contenders = {
            OURS: ours,
            RCLONE: lambda: peer(lambda bucket: rclone.copy(str(source), f"bench:{bucket}")),
            S5CMD: lambda: peer(lambda bucket: s5cmd.copy(f"{source}/", f"s3://{bucket}/")),
        }
        if load.files == small(world).files:
            contenders[NO_HEAD] = lambda: peer(
                lambda bucket: rclone.copy(str(source), f"bench:{bucket}", "--s3-no-head")
            )
        if far:
            del contenders[S5CMD]
            contenders.pop(NO_HEAD, None)
        yield contenders, _circumstances(world, rclone, s5cmd, far=far)


@contextmanager
def downloading(world: World, load: Load) -> Iterator[tuple[Contenders, dict[str, Any]]]:
    """Everybody moves the same objects of a bucket to a folder of their own."""
    require_space(world.folder, 3 * load.total)
    rclone, s5cmd = Rclone(world.line()), S5cmd(world.line())
    world.renew("ours")
    ours_in, peer_in = world.new_folder("ours"), world.new_folder("peer")
    tiers = {"s3": world.s3.tier("ours"), "disk": disk(ours_in) | {"FSYNC": False}}  # as the peers

    def peer(run_copy: Callable[[str, str], Run], place: str) -> Run:
        empty(peer_in)
        run = run_copy(place, f"{peer_in}/")
        (peer_in / FIRST).unlink(missing_ok=True)
        expect(held(peer_in), load)
        return run

    with moves(world, tiers, load) as moving:
        world.s3.client.delete_object(Bucket="ours", Key=FIRST)

        def ours() -> Run:
            empty(ours_in)
            run = moving.by_worker()
            expect(held(ours_in), load)
            return run

        yield (
            {
                OURS: ours,
                RCLONE: lambda: peer(rclone.copy, "bench:ours"),
                S5CMD: lambda: peer(s5cmd.copy, "s3://ours/*"),
            },
            _circumstances(world, rclone, s5cmd),
        )


def _circumstances(world: World, rclone: Rclone, s5cmd: S5cmd, *, far: bool = False) -> dict[str, Any]:
    latency = {"latency": f"{RTT_MS} ms a round trip, and one more for a new connection, for everybody"}
    programs = {"rclone": rclone.version(), "s5cmd": s5cmd.version()}
    return circumstances(world, **world.conditions(), **programs, **(latency if far else {}))
