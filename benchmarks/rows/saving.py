"""Row 7: what a save costs, beside the least that it could: the write, one row, one message."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from statistics import median
from typing import Any

from ..harness import Measure, Result, Run, alternately, conditions, per_round, significant, tell
from ..moves import DISK
from ..world import World
from tests.support.relay import relay_to

SAVE = "save()"
PLAIN = "FileSystemStorage.save"
CREATE = "ORM create"
MESSAGE = "apply_async"
PARTS = f"{PLAIN} + {CREATE} + {MESSAGE}"
SIZES = {"10 KB": 10 << 10, "1 MB": 1 << 20}
#: Saves of a round.
CALLS = 200


def saves(world: World) -> list[Result]:
    told: list[Result] = []
    with relay_to(world.s3.port) as relay:
        tiers = {
            "disk": {"BACKEND": DISK, "OPTIONS": {"location": str(world.new_folder("saved"))}},
            "s3": world.s3.tier(port=relay.port) | {"EXCLUSIVE": True},
        }
        with world.chains({"bench": {"TIERS": tiers, "POLICY": "transfer-and-delete"}}):
            for label, size in SIZES.items():
                told += _saves(world, label, bytes(range(256)) * (size // 256))
        circumstances = conditions(
            counted="connections to the S3 server's port, while all of these saves ran"
        )
        told.append(
            Result(
                7, "connections to S3", relay.accepted, "", None, world.options.rounds, circumstances,
                bar="= 0", is_met=relay.accepted == 0,
            )
        )  # fmt: skip
    return told


def _saves(world: World, label: str, data: bytes) -> list[Result]:
    calls = world.options.scaled(CALLS)
    contenders = _contenders(world, label, data)

    def round_of_all() -> dict[str, Run]:
        runs = alternately(contenders, calls)
        parts = sum(runs[part].seconds for part in (PLAIN, CREATE, MESSAGE))
        world.drop_messages()
        return runs | {PARTS: Run(parts)}

    rounds = per_round(round_of_all, world.options.rounds)
    told = conditions(
        chain="disk, and S3 with EXCLUSIVE; each save commits by itself",
        catalog="PostgreSQL, on this machine",
        broker="Redis, on this machine; no worker runs",
        figures=f"the median of {calls} calls in turn",
    )
    time = Measure(f"save() of {label}: ms", _milliseconds, 1.25, more_is_better=False)
    beside = Measure(time.name, _milliseconds, None, 2, more_is_better=False)
    return [
        tell(7, time, rounds, SAVE, PARTS, conditions=told),
        tell(7, beside, rounds, SAVE, PLAIN, conditions=told),
        *(
            Result(7, f"{part}, {label}: ms", significant(_median(rounds, part)), "", None, len(rounds), told)
            for part in (CREATE, MESSAGE)
        ),
    ]


def _contenders(world: World, label: str, data: bytes) -> dict[str, Callable[[], object]]:
    from celery import current_app
    from django.core.files.base import ContentFile
    from django.core.files.storage import FileSystemStorage

    from queued_storage import catalog
    from queued_storage.storage import tiered_storages

    tiered, plain = tiered_storages["bench"], FileSystemStorage(world.new_folder("plain"))
    numbers = count()
    app: Any = current_app._get_current_object()
    message = app.task(name="benchmarks.nothing")(_nothing)
    tiered.save(f"{label}/one.bin", ContentFile(data))
    row = catalog.find("bench", f"{label}/one.bin")
    assert row is not None
    facts = {
        field.name: getattr(row, field.name) for field in row._meta.concrete_fields if not field.primary_key
    }

    def create() -> None:
        """Write a row like a file's, under a key that nobody has."""
        catalog.files().create(**facts | {"key": f"{label} {next(numbers)}"})

    return {
        SAVE: lambda: tiered.save(f"{label}/{next(numbers)}.bin", ContentFile(data)),
        PLAIN: lambda: plain.save(f"{label}/{next(numbers)}.bin", ContentFile(data)),
        CREATE: create,
        MESSAGE: lambda: message.apply_async(args=(1,)),
    }


def _nothing(pk: int) -> None:
    """A task that is sent, and never run."""


def _milliseconds(run: Run) -> float:
    return 1000 * run.seconds


def _median(rounds: list[Any], part: str) -> float:
    return 1000 * median(each[part].seconds for each in rounds)
