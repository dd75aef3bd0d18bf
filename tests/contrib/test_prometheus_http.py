"""A site's own server scraped over HTTP while real workers copy, beside what SQL and a walk of the folders tell."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.processes import free_ports
from tests.support.waiting import wait_until

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]

SAVE = """
import tests.celery_app
from django.core.files.base import ContentFile
from queued_storage.storage import tiered_storages
for number in range(12):
    tiered_storages["media"].save(f"{number}.bin", ContentFile(b"x" * (100_000 + 1_000 * number)))
"""
WAY = {"chain": "media", "source": "disk", "destination": "vault"}


def key(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return f"queued_storage_{name}", tuple(sorted(labels.items()))


def scrape(address: str) -> Samples:
    with urlopen(address, timeout=20) as response:  # noqa: S310 - of this machine
        text = response.read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def rows(database: Path) -> list[sqlite3.Row]:
    with closing(sqlite3.connect(database, timeout=20)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute("SELECT * FROM queued_storage_storedfile").fetchall()


def truth(database: Path) -> Samples:
    """Count, row by row, what the gauges have to tell of the catalog."""
    found: Samples = {}

    def add(name: str, value: float, **labels: str) -> None:
        place = key(name, chain="media", **labels)
        found[place] = found.get(place, 0) + value

    for state in ("pending", "settled", "failed", "deleting"):
        add("files", 0, state=state)
        add("bytes", 0, state=state)
    for tier in ("disk", "vault"):
        add("tier_files", 0, tier=tier)
        add("tier_bytes", 0, tier=tier)
    for state in ("pending", "settled", "failed"):
        add("first_tier_only_files", 0, state=state)
        add("first_tier_only_bytes", 0, state=state)
    add("running_files", 0)
    now = datetime.now(UTC).replace(tzinfo=None)
    for row in rows(database):
        tiers = json.loads(row["tiers"])
        add("files", 1, state=row["state"])
        add("bytes", row["size"], state=row["state"])
        for tier in tiers:
            add("tier_files", 1, tier=tier)
            add("tier_bytes", row["size"], tier=tier)
        if tiers == ["disk"]:
            add("first_tier_only_files", 1, state=row["state"])
            add("first_tier_only_bytes", row["size"], state=row["state"])
        if row["lease"] and datetime.fromisoformat(row["lease_until"]) >= now:
            add("running_files", 1)
    return found


def on_disk(folder: Path) -> tuple[int, int]:
    sizes = [path.stat().st_size for path in folder.rglob("*.bin")]
    return len(sizes), sum(sizes)


@pytest.fixture
def site(
    broker: Any, make_project: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Any, Path, str]:
    """A project with a gate before its copies, its database, and where its server tells metrics."""
    (tmp_path / "metrics").mkdir()
    (tmp_path / "gate").mkdir()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "metrics"))
    from django.conf import settings

    disk = {
        "BACKEND": "tests.support.gated.GatedStorage",
        "OPTIONS": {"gate": str(tmp_path / "gate"), "location": str(tmp_path / "disk")},
    }
    vault = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(tmp_path / "vault")},
    }
    project = make_project(
        broker=broker,
        INSTALLED_APPS=[*settings.INSTALLED_APPS, "queued_storage.contrib.prometheus"],
        ROOT_URLCONF="queued_storage.contrib.prometheus.urls",
        QUEUED_STORAGE_TIERS={"media": {"TIERS": {"disk": disk, "vault": vault}, "POLICY": "transfer"}},
        QUEUED_STORAGE_BATCH=1,
        QUEUED_STORAGE_RETRIES=0,
    )
    (port,) = free_ports(1)
    project.start_manage("runserver", "--noreload", "--skip-checks", f"127.0.0.1:{port}")
    address = f"http://127.0.0.1:{port}/"

    def answers() -> bool:
        try:
            return bool(scrape(address))
        except (URLError, ConnectionError):
            return False

    wait_until(answers, "the site answers", timeout=60)
    return project, Path(project.settings["DATABASES"]["default"]["NAME"]), address


@pytest.mark.servers
@pytest.mark.storages
@pytest.mark.parametrize("broker", ["filesystem"], indirect=True)
def test_scrapes_over_http_tell_the_truth_during_a_run(site: tuple[Any, Path, str], tmp_path: Path) -> None:
    project, database, address = site
    project.python(SAVE)
    (tmp_path / "disk/5.bin").unlink()  # its attempt fails, for good
    project.start_worker(pool="prefork", concurrency=2)

    # Two copies are held at the gate: the catalog stands still, in the midst of the work.
    wait_until(
        lambda: sum(bool(row["lease"]) for row in rows(database)) == 2, "two copies are under way", timeout=60
    )

    def tells_the_truth() -> bool:
        told = scrape(address)
        expected = truth(database)
        return {place: told.get(place) for place in expected} == expected

    wait_until(tells_the_truth, "a scrape amidst the work tells what the rows do", timeout=60, every=0.5)
    amidst = scrape(address)
    assert amidst[key("running_files", chain="media")] == 2
    assert amidst[key("saves_total", chain="media")] == 12
    assert amidst[key("saved_bytes_total", chain="media")] == sum(100_000 + 1_000 * n for n in range(12))

    # The gate opens. Whenever it is scraped, no file is missing or told twice, and no counter goes back.
    (tmp_path / "gate/open").touch()
    seen, scrapes = amidst, 0
    while any(row["state"] == "pending" for row in rows(database)):
        told = scrape(address)
        assert sum(value for (name, _), value in told.items() if name == "queued_storage_files") == 12
        for place, value in told.items():
            if place[0].endswith("_total"):
                assert value >= seen.get(place, 0), place
        seen, scrapes = told, scrapes + 1
    assert scrapes > 0

    def is_told_at_the_end() -> bool:
        told = scrape(address)
        return tells_the_truth() and told.get(key("transfers_total", **WAY)) == 11

    wait_until(is_told_at_the_end, "all is told when the work is done", timeout=60, every=0.5)
    told = scrape(address)
    files, size = on_disk(tmp_path / "vault")
    assert told[key("tier_files", chain="media", tier="vault")] == files == 11
    assert told[key("tier_bytes", chain="media", tier="vault")] == size
    assert told[key("transferred_bytes_total", **WAY)] == size
    assert told[key("transfer_duration_seconds_count", **WAY)] == 11
    assert told[key("failed_files", chain="media", cause="missing")] == 1
    assert told[key("failures_total", chain="media", tier="disk", cause="missing", final="true")] == 1
    assert told[key("files", chain="media", state="failed")] == 1
