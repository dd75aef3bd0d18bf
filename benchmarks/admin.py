"""What the admin's pages cost with a million files: ``python -m benchmarks.admin [--engine postgresql] [--rows N]``.

Each page is asked for by Django's test client, so a time is that of the whole response: queries, Python and templates.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import ending
from benchmarks.rows.catalog import _ANALYZE as ANALYZE
from benchmarks.rows.catalog import _NAME as NAME
from benchmarks.rows.catalog import _NUMBERED as NUMBERED
from tests.support import databases

PENDING, FAILED, TOMBSTONES = 200, 20, 1_000
#: Files are saved this far apart: a million of them in 405 days.
SECONDS = 35
CHAIN = "media"

#: What differs from file to file beside name and key, by column and kind of database.
_DIFFERS = {
    "postgresql": {
        "saved_at": "saved_at - ({count} - seq) * interval '35 seconds'",
        "tiers": """CASE WHEN seq % 1000 = 0 THEN '["vault"]'::jsonb ELSE tiers END""",
    },
    "mysql": {
        "saved_at": "saved_at - INTERVAL ({count} - seq) * 35 SECOND",
        "tiers": """CASE WHEN seq % 1000 = 0 THEN '["vault"]' ELSE tiers END""",
    },
    "sqlite": {
        "saved_at": "datetime(saved_at, '-' || (({count} - seq) * 35) || ' seconds')",
        "tiers": """CASE WHEN seq % 1000 = 0 THEN '["vault"]' ELSE tiers END""",
    },
}

#: The pages, by what they are; a path begins below the list's own.
PAGES = {
    "dashboard, a day": "dashboard/",
    "dashboard, a week": "dashboard/?period=week",
    "list": "",
    "list, its last page": "?p={last}",
    "list, sorted by name": "?o=1",
    "state: pending": "?state=pending",
    "state: failed": "?state=failed",
    "state: settled": "?state=settled",
    "state: deleted": "?state=deleted",
    "chain": "?chain=media",
    "waiting time: an hour or more": "?waiting=hour",
    "kind of error": "?cause=full",
    "age: less than an hour": "?age=hour",
    "age: less than 30 days": "?age=month",
    "age: a year or more": "?age=older",
    "tier that one file of 1,000 lies on alone": "?tier=vault",
    "search: a part of one name": "?q=file+777",
    "search: a part of no name": "?q=nowhere",
    "a file's page": "{pk}/change/",
}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.admin", description=__doc__)
    parser.add_argument("--engine", choices=sorted(_DIFFERS), default="postgresql")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(arguments)
    ending.orderly()
    with tempfile.TemporaryDirectory(prefix="queued-storage-bench-") as folder:
        with databases.temporary(given.engine, Path(folder)) as database:
            _set_up(Path(folder), database)
            told = {}
            for count in (1_000, given.rows):
                pk = _fill(given.engine, count)
                last = min(count // 100, 100)
                told[count] = {
                    page: _measure(path.format(pk=pk, last=last), given.rounds)
                    for page, path in PAGES.items()
                }
            _close()
        for line in _table(given.engine, told):
            print(line)
    return 0


def _set_up(folder: Path, database: dict[str, Any]) -> None:
    import django
    from django.conf import settings
    from django.core.management import call_command

    from tests import base_settings

    disk = {"BACKEND": "django.core.files.storage.FileSystemStorage"}
    tiers = {
        name: disk | {"OPTIONS": {"location": str(folder / name)}} for name in ("disk", "bucket", "vault")
    }
    known = {name: value for name, value in vars(base_settings).items() if name.isupper() and name != "DISK"}
    settings.configure(
        **known
        | {
            "DATABASES": {"default": database},
            "INSTALLED_APPS": [app for app in base_settings.INSTALLED_APPS if app != "tests.testapp"],
            "QUEUED_STORAGE_TIERS": {CHAIN: {"TIERS": tiers, "POLICY": "transfer"}},
        }
    )
    django.setup()
    call_command("migrate", verbosity=0)


def _close() -> None:
    from django.db import connections

    connections.close_all()


def _fill(engine: str, count: int) -> int:
    """Have so many settled files, and what is owed beside them; return the key of one."""
    from django.db import connection
    from django.utils import timezone

    from queued_storage import catalog

    files, now = catalog.files(), timezone.now()
    files.all().delete()
    pk = _create("file 0", state="settled", tiers=["disk", "bucket", "vault"], digest="5e" * 32, saved_at=now)
    table = files.model._meta.db_table
    before, numbers, key = NUMBERED[engine]
    own = {"name": NAME.get(engine, "'file ' || seq"), "key": key, **_DIFFERS[engine]}
    with connection.cursor() as cursor:
        columns = [field.column for field in files.model._meta.concrete_fields if not field.primary_key]
        quote = connection.ops.quote_name
        values = ", ".join(own.get(name, quote(name)) for name in columns)
        if engine == "sqlite":
            cursor.db.connection.create_function("sha256", 1, files.model.key_of)
        into = f"INSERT INTO {table} ({', '.join(map(quote, columns))})"
        cursor.execute(f"{before} {into} SELECT {values} FROM {table}, {numbers}".format(count=count - 1))
    hours = timedelta(hours=2)
    for number in range(PENDING):
        _create(
            f"pending {number}", state="pending", tiers=["disk"], due_at=now - hours, saved_at=now - hours
        )
    for number in range(FAILED):
        reason = "tier 'vault' is full: OSError: [Errno 28] No space left on device"
        _create(f"failed {number}", state="failed", tiers=["disk"], last_error=reason, saved_at=now)
    for number in range(TOMBSTONES):
        _create(f"deleted {number}", state="deleted", tiers=[], saved_at=now)
    _sample(now)
    with connection.cursor() as cursor:
        cursor.execute(ANALYZE[engine].format(table=table))
    return pk


def _create(name: str, **facts: Any) -> int:
    from queued_storage import catalog

    files = catalog.files()
    known = {"name": name, "key": files.model.key_of(name), "size": 10_000, "content_type": "image/png"}
    return int(files.create(chain=CHAIN, **known, **facts).pk)


def _sample(now: Any) -> None:
    from queued_storage import catalog
    from queued_storage.models import Sample

    facts = {
        "pending": 9,
        "pending_bytes": 90,
        "failed": 1,
        "seconds": 60,
        "copied": 5,
        "copied_bytes": 50,
        "newest": 0,
    }
    minute = now.replace(second=0, microsecond=0)
    week = range(7 * 24 * 60)
    catalog.add_samples(
        [Sample(chain=CHAIN, taken_at=minute - timedelta(minutes=number), **facts) for number in week]
    )


def _measure(path: str, rounds: int) -> tuple[int, float]:
    """Return how many queries the page takes, and the median of its milliseconds."""
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext
    from django.urls import reverse

    client = Client()
    client.force_login(User.objects.get_or_create(username="operator", is_staff=True, is_superuser=True)[0])
    url = reverse("admin:queued_storage_storedfile_changelist") + path
    with CaptureQueriesContext(connection) as asked:
        assert client.get(url).status_code == 200, url
    return len(asked), median(_times(lambda: client.get(url), rounds))


def _times(call: Callable[[], object], rounds: int) -> Iterator[float]:
    for _ in range(rounds):
        begun = time.perf_counter()
        call()
        yield 1000 * (time.perf_counter() - begun)


def _table(engine: str, told: dict[int, dict[str, tuple[int, float]]]) -> Iterator[str]:
    yield f"{engine}: queries, and the median of milliseconds, by settled files"
    heads = "".join(f"{f'{count:,}':>16}" for count in told)
    yield f"{'':<44}{heads}"
    for page in PAGES:
        cells = "".join(
            f"{f'{queries}  {spent:8.1f}':>16}" for queries, spent in (each[page] for each in told.values())
        )
        yield f"{page:<44}{cells}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
