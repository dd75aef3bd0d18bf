"""Row 9: what the catalog's hot statements cost with a million settled rows, beside a thousand."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from ..harness import Contender, Measure, Result, Run, conditions, interleave, tell
from ..moves import CHAIN, disk
from ..world import World

ENGINES = {"postgresql": "PostgreSQL", "mysql": "MariaDB", "sqlite": "SQLite"}
FEW, MANY = "few", "many"
SETTLED = {FEW: 1000, MANY: 1_000_000}
#: Rows with work due, beside the settled ones.
DUE = 100
#: Times that each is done in a round, of which the median counts; fewer where these seconds are over before.
CALLS, ENOUGH = 5, 2.0
DATABASES = {"default": "postgresql"} | {f"{size}_{engine}": engine for engine in ENGINES for size in SETTLED}

#: What makes numbers, and keys of them, where: what stands before INSERT, what it selects from, and the key.
_NUMBERED = {
    "postgresql": ("", "generate_series(1, {count}) AS numbers(seq)", "encode(sha256(('file ' || seq)::bytea), 'hex')"),
    "mysql": ("", "seq_1_to_{count}", "SHA2(CONCAT('file ', seq), 256)"),
    "sqlite": (
        "WITH RECURSIVE numbers(seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM numbers WHERE seq < {count})",
        "numbers",
        "sha256('file ' || seq)",
    ),
}  # fmt: skip
_NAME = {"mysql": "CONCAT('file ', seq)"}
_ANALYZE = {"postgresql": "VACUUM ANALYZE {table}", "mysql": "ANALYZE TABLE {table}", "sqlite": "ANALYZE"}


def sizes(world: World) -> list[Result]:
    tiers = {name: disk(world.new_folder(name)) for name in ("disk", "vault")}
    told: list[Result] = []
    with world.chains(
        {CHAIN: {"TIERS": tiers, "POLICY": "transfer"}}, DISPATCHER="benchmarks.nowhere.Nowhere"
    ):
        for engine, name in ENGINES.items():
            told += _of_engine(world, engine, name)
    return told


def _of_engine(world: World, engine: str, name: str) -> list[Result]:
    counts = {FEW: SETTLED[FEW], MANY: world.options.scaled(SETTLED[MANY])}
    due = {}
    for size, count in counts.items():
        with world.catalog_in(f"{size}_{engine}"):
            _fill(engine, count)
            due[size] = _owe()
    told: list[Result] = []
    labels = {size: f"{count:,} settled rows" for size, count in counts.items()}
    for what, work in _WORK.items():
        contenders = {labels[size]: _contender(world, f"{size}_{engine}", work, due[size]) for size in counts}
        rounds = interleave(contenders, world.options.rounds)
        bar = 1.5 if engine == "postgresql" else None
        measure = Measure(f"{name}: {what}, ms", lambda run: 1000 * run.seconds, bar, more_is_better=False)
        told.append(
            tell(
                9, measure, rounds, labels[MANY], labels[FEW], conditions=conditions(due=f"{DUE} rows beside")
            )
        )
    return told


def _contender(world: World, alias: str, work: Callable[[list[int]], object], pks: list[int]) -> Contender:
    def run() -> Run:
        with world.catalog_in(alias):
            times: list[float] = []
            while len(times) < CALLS and sum(times) < ENOUGH:
                _release(pks)
                started = time.perf_counter()
                work(pks)
                times.append(time.perf_counter() - started)
        return Run(median(times))

    return run


# ---- what is measured ----


def _claim_one_by_one(pks: list[int]) -> None:
    from queued_storage import catalog

    for pk in pks:
        assert catalog.claim(pk) is not None


def _claim_at_once(pks: list[int]) -> None:
    from queued_storage import catalog

    assert len(catalog.claim_each(pks, lambda row: "s3")) == len(pks)


def _sweep(pks: list[int]) -> None:
    from queued_storage import dispatch

    assert dispatch.sweep() == len(pks)


def _status(pks: list[int]) -> None:
    from queued_storage import operations

    assert operations.status(CHAIN).pending == len(pks)


_WORK = {
    f"claim of {DUE} files, one by one": _claim_one_by_one,
    f"claim of {DUE} files at once": _claim_at_once,
    "sweep": _sweep,
    "status": _status,
}


# ---- rows ----


def _fill(engine: str, count: int) -> None:
    """Have so many settled rows, by one statement of the database's own."""
    from queued_storage import catalog

    files = catalog.files()
    _create("one", state="settled", tiers=["disk", "vault"], digest="0" * 64)
    table = files.model._meta.db_table
    before, numbers, key = _NUMBERED[engine]
    of_itself = {"name": _NAME.get(engine, "'file ' || seq"), "key": key}
    with _cursor() as cursor:
        names = [field.column for field in files.model._meta.concrete_fields if not field.primary_key]
        quote = cursor.db.ops.quote_name
        columns = ", ".join(map(quote, names))
        values = ", ".join(of_itself.get(name, quote(name)) for name in names)
        if engine == "sqlite":
            cursor.db.connection.create_function("sha256", 1, files.model.key_of)
        cursor.execute(
            f"{before} INSERT INTO {table} ({columns}) SELECT {values} FROM {table}, {numbers}".format(
                count=count - 1
            )
        )
        cursor.execute(_ANALYZE[engine].format(table=table))
    assert files.filter(state="settled").count() == count


def _owe() -> list[int]:
    """Add rows with work due; return their keys."""
    return [_create(f"due {number}", state="pending", tiers=["disk"]) for number in range(DUE)]


def _create(name: str, **facts: Any) -> int:
    from django.utils import timezone

    from queued_storage import catalog

    files, now = catalog.files(), timezone.now()
    due_at = now if facts["state"] == "pending" else None
    known = {"name": name, "key": files.model.key_of(name), "size": 10_000, "content_type": "image/png"}
    row = files.create(chain=CHAIN, saved_at=now, modified_at=now, due_at=due_at, **known, **facts)
    return int(row.pk)


def _release(pks: list[int]) -> None:
    from django.utils import timezone

    from queued_storage import catalog

    catalog.files().filter(pk__in=pks).update(lease="", lease_until=None, attempts=0, due_at=timezone.now())


@contextmanager
def _cursor() -> Iterator[Any]:
    from django.db import connections

    from queued_storage import catalog

    with connections[catalog.database()].cursor() as cursor:
        yield cursor
