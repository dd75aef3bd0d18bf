"""Row 8: what a read costs beside a plain FileSystemStorage, and how much the number of tiers matters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..harness import Measure, Result, Run, alternately, conditions, per_round, tell
from ..moves import DISK
from ..world import World

NAME = "folder/file.bin"
CONTENT = bytes(10 << 10)
TIERED, PLAIN = "first tier", "FileSystemStorage"
LAST_OF_4, LAST_OF_2 = "last of 4 tiers", "last of 2 tiers"
#: Calls of a round, and how many of them make one time.
CALLS, BLOCK = 2000, 50


def reads(world: World) -> list[Result]:
    chains = {f"of-{count}": _chain(world, count) for count in (2, 4)}
    with world.chains(chains):
        return [*_first_tier(world), *_last_tier(world)]


def _chain(world: World, count: int) -> dict[str, Any]:
    tiers = {
        f"disk{number}": {
            "BACKEND": DISK,
            "OPTIONS": {"location": str(world.new_folder("tier")), "base_url": "/media/"},
        }
        for number in range(1, count + 1)
    }
    return {"TIERS": tiers, "POLICY": "transfer"}


def _first_tier(world: World) -> list[Result]:
    from django.core.files.storage import FileSystemStorage

    from queued_storage.storage import tiered_storages

    tiered = tiered_storages["of-2"]
    first: Any = tiered.chain.first.storage
    _write(Path(first.path(NAME)))
    _catalogue("of-2", NAME, ["disk1"])
    plain = FileSystemStorage(first.location, base_url="/media/")
    told: list[Result] = []
    for what, call, bar in (
        ("open and read 10 KB", _read, 1.2),
        ("exists()", _exists, 1.5),
        ("url()", _url, 1.5),
    ):
        rounds = _rounds(world, {TIERED: partial(call, tiered), PLAIN: partial(call, plain)})
        told.append(tell(8, _microseconds(what, bar), rounds, TIERED, PLAIN, conditions=_conditions(world)))
        told.append(_queries(what, partial(call, tiered)))
    return told


def _last_tier(world: World) -> list[Result]:
    from queued_storage.storage import tiered_storages

    calls = {}
    for label, alias in ((LAST_OF_4, "of-4"), (LAST_OF_2, "of-2")):
        storage, name = tiered_storages[alias], f"last/{NAME}"
        last: Any = storage.chain.tiers[-1]
        _write(Path(last.storage.path(name)))
        _catalogue(alias, name, [last.name])
        calls[label] = partial(_read, storage, name)
    rounds = _rounds(world, calls)
    measure = _microseconds("open and read 10 KB of the last tier", 1.1)
    return [
        tell(8, measure, rounds, LAST_OF_4, LAST_OF_2, conditions=_conditions(world)),
        _queries(f"open and read, {LAST_OF_4}", calls[LAST_OF_4], limit=1),
    ]


def _rounds(world: World, calls: Mapping[str, Callable[[], object]]) -> list[Mapping[str, Run]]:
    blocks = world.options.scaled(CALLS // BLOCK)
    return per_round(lambda: alternately(calls, blocks, BLOCK), world.options.rounds)


def _microseconds(what: str, bar: float) -> Measure:
    return Measure(f"{what}: µs", lambda run: 1e6 * run.seconds, bar, more_is_better=False)


def _conditions(world: World) -> dict[str, Any]:
    return conditions(
        tiers="disks",
        catalog="PostgreSQL, on this machine",
        figures=f"the median of blocks of {BLOCK} calls, in turn",
    )


def _queries(what: str, call: Callable[[], object], limit: int = 0) -> Result:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries:
        call()
    count = len(queries)
    return Result(
        8, f"{what}: queries", count, "", None, 1, conditions(), bar=f"≤ {limit}", is_met=count <= limit
    )


def _write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(CONTENT)


def _catalogue(chain: str, name: str, tiers: list[str]) -> None:
    from django.utils import timezone

    from queued_storage import catalog

    files = catalog.files()
    files.create(
        chain=chain, name=name, key=files.model.key_of(name), size=len(CONTENT), tiers=tiers, state="settled",
        saved_at=timezone.now(), modified_at=timezone.now(),
    )  # fmt: skip


def _read(storage: Any, name: str = NAME) -> None:
    with storage.open(name) as file:
        assert len(file.read()) == len(CONTENT)


def _exists(storage: Any) -> None:
    assert storage.exists(NAME)


def _url(storage: Any) -> None:
    assert storage.url(NAME)
