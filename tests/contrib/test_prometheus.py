"""What Prometheus scrapes, beside the truth: the catalog's rows gone through one by one, and the signals sent."""

from __future__ import annotations

import os
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.core.handlers.base import BaseHandler
from django.db import OperationalError, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import resolve
from django.utils import timezone
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.parser import text_string_to_metric_families

from queued_storage import batch, catalog, causes, census, outage, signals, vitals
from queued_storage.chain import chains
from queued_storage.contrib.prometheus import collector, counters
from queued_storage.models import StoredFile
from queued_storage.storage import TieredStorage
from queued_storage.testing import faulty, run_owed_work

from tests.support.waiting import wait_until

Labels = tuple[tuple[str, str], ...]
Samples = dict[tuple[str, Labels], float]

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("queued_storage.contrib.prometheus.urls"),
]


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    collector._collector.forget()
    yield
    faulty.forget_all()
    collector._collector.forget()


def scrape(path: str = "/") -> Samples:
    """Scrape as Prometheus does, and take apart what it is told."""
    collector._collector.forget()
    response = Client().get(path)
    assert response.status_code == 200
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.content.decode())
        for sample in family.samples
        if sample.name.startswith("queued_storage_")
    }


def sample(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"queued_storage_{name}", tuple(sorted(labels.items()))]


def truth(chain: str) -> dict[tuple[str, Labels], float]:
    """Count by hand, from every row of the chain, what the gauges are to tell of it."""
    now = timezone.now()
    rows = list(StoredFile.objects.filter(chain=chain))
    found: Counter[tuple[str, Labels]] = Counter()
    first = chains[chain].first.name

    def add(name: str, value: float, **labels: str) -> None:
        found[f"queued_storage_{name}", tuple(sorted({"chain": chain, **labels}.items()))] += value

    for state in ("pending", "failed", "settled", "deleting"):
        add("files", 0, state=state)
        add("bytes", 0, state=state)
        if state != "deleting":
            add("first_tier_only_files", 0, state=state)
            add("first_tier_only_bytes", 0, state=state)
    for tier in chains[chain].names:
        add("tier_files", 0, tier=tier)
        add("tier_bytes", 0, tier=tier)
    for cause in causes.ALL:
        add("failed_files", 0, cause=cause)
    add("running_files", 0)
    for row in rows:
        size = row.size or 0
        if row.lease and row.lease_until is not None and row.lease_until >= now:
            add("running_files", 1)
        if row.state == "deleted":
            if row.due_at is not None:
                add("files", 1, state="deleting")
                add("bytes", size, state="deleting")
            continue
        add("files", 1, state=row.state)
        add("bytes", size, state=row.state)
        for tier in row.tiers:
            add("tier_files", 1, tier=tier)
            add("tier_bytes", size, tier=tier)
        if row.tiers == [first]:
            add("first_tier_only_files", 1, state=row.state)
            add("first_tier_only_bytes", size, state=row.state)
        if row.state == "failed":
            add("failed_files", 1, cause=causes.read(row.last_error).cause)
    return dict(found)


def assert_true(samples: Samples, chain: str = "media") -> None:
    """Compare every gauge of the chain, and the age of what has waited longest, with the rows."""
    expected = truth(chain)
    names = {name for name, _ in expected}
    told = {key: value for key, value in samples.items() if key[0] in names and ("chain", chain) in key[1]}
    assert told == expected
    now = timezone.now()
    waiting = [
        (now - row.due_at).total_seconds()
        for row in StoredFile.objects.filter(chain=chain, due_at__lte=now)
        if not row.lease or (row.lease_until is not None and row.lease_until < now)
    ]
    overdue = sample(samples, "oldest_due_seconds", chain=chain)
    assert 0 <= max(waiting, default=0) - overdue < 60  # it was read a moment ago
    assert sample(samples, "catalog_up") == 1
    assert sample(samples, "is_estimate", chain=chain) == 0


class Heard:
    """What the signals told, counted by hand."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, Labels]] = Counter()

    def add(self, name: str, value: float, **labels: str) -> None:
        self.counts[f"queued_storage_{name}", tuple(sorted(labels.items()))] += value  # type: ignore[assignment]

    def saved(self, chain: str, file: Any, **_: Any) -> None:
        self.add("saves_total", 1, chain=chain)
        self.add("saved_bytes_total", file.size, chain=chain)

    def transferred(self, chain: str, file: Any, source: str, destination: str, **_: Any) -> None:
        way = {"chain": chain, "source": source, "destination": destination}
        self.add("transfers_total", 1, **way)
        self.add("transferred_bytes_total", file.size, **way)
        self.add("transfer_duration_seconds_count", 1, **way)

    def failed(self, chain: str, error: str, final: bool, **_: Any) -> None:
        tier, cause = causes.read(error)
        self.add("failures_total", 1, chain=chain, tier=tier, cause=cause, final=str(final).lower())

    def released(self, chain: str, tier: str, **_: Any) -> None:
        self.add("releases_total", 1, chain=chain, tier=tier)

    def deleted(self, chain: str, **_: Any) -> None:
        self.add("deletes_total", 1, chain=chain)


@pytest.fixture
def heard() -> Iterator[Heard]:
    heard = Heard()
    receivers = {
        signals.file_saved: heard.saved,
        signals.file_transferred: heard.transferred,
        signals.transfer_failed: heard.failed,
        signals.file_released: heard.released,
        signals.file_deleted: heard.deleted,
    }
    for signal, receiver in receivers.items():
        signal.connect(receiver, weak=False)
    yield heard
    for signal, receiver in receivers.items():
        signal.disconnect(receiver)


@pytest.fixture
def storage(make_chain: Any) -> TieredStorage:
    chain: TieredStorage = make_chain(
        {"disk": "disk", "middle": faulty.tier("middle"), "far": faulty.tier("far")},
        policy="transfer-and-delete",
    )
    return chain


def test_scrapes_during_a_run_tell_the_truth(storage: TieredStorage, heard: Heard, settings: Any) -> None:
    """Files are saved, copied, refused, given up, released and deleted; scrapes come between, and amidst copies."""
    settings.QUEUED_STORAGE_RETRIES = 0
    settings.QUEUED_STORAGE_RETRY_DELAY = 0
    before, scrapes = scrape(), 0
    dice = random.Random(7)
    ends = [None, None, faulty.refuse, faulty.deny, faulty.full, faulty.cut]

    def amidst(call: faulty.Call) -> Any:
        nonlocal scrapes
        scrapes += 1
        assert_true(scraped := scrape())
        assert sample(scraped, "running_files", chain="media") >= 1
        end = dice.choice(ends)
        return call.proceed() if end is None else end(call)

    faulty.bucket("far").on("save", amidst)
    names = []
    for number in range(12):
        names.append(storage.save(f"{number}.txt", ContentFile(b"x" * dice.randrange(1, 500))))
        assert_true(scrape())
    for pk in list(catalog.files().values_list("pk", flat=True)):
        list(batch.work([pk]))
        assert_true(scrape())
    faulty.bucket("middle").go_down()  # what is deleted now stays owed
    for name in names[::3]:
        storage.delete(name)
    assert_true(scrape())
    faulty.bucket("middle").heal()
    StoredFile.objects.filter(state="deleted").update(due_at=timezone.now() - timedelta(hours=2))
    assert_true(last := scrape())
    assert sample(last, "oldest_due_seconds", chain="media") >= 7200
    run_owed_work()

    assert scrapes >= 10
    assert_true(last := scrape())
    assert sample(last, "files", chain="media", state="failed") > 0
    assert {name for name, _ in heard.counts} >= {
        "queued_storage_failures_total",
        "queued_storage_releases_total",
        "queued_storage_deletes_total",
    }
    counted = {
        key: value - before.get(key, 0)
        for key, value in last.items()
        if key[0].endswith(("_total", "duration_seconds_count")) and value != before.get(key, 0)
    }
    assert counted == heard.counts


class TestCatalog:
    def test_catalog_alone_can_be_scraped(self, storage: TieredStorage) -> None:
        storage.save("a.txt", ContentFile(b"content"))
        assert_true(samples := scrape("/catalog"))
        assert not [name for name, _ in samples if name.endswith("_total")]

    def test_no_name_or_reason_of_a_file_is_told(self, storage: TieredStorage) -> None:
        storage.save("secret-name.txt", ContentFile(b"content"))
        StoredFile.objects.update(state="failed", due_at=None, last_error="tier 'far': swordfish")
        told = Client().get("/").content.decode()
        assert "secret-name" not in told
        assert "swordfish" not in told
        assert 'queued_storage_failed_files{cause="other",chain="media"} 1.0' in told

    def test_chain_that_only_the_catalog_knows_is_told(self, storage: TieredStorage) -> None:
        storage.save("a.txt", ContentFile(b"content"))
        StoredFile.objects.update(chain="of-another-project")
        samples = scrape()
        assert sample(samples, "files", chain="of-another-project", state="pending") == 1
        assert sample(samples, "tier_bytes", chain="of-another-project", tier="disk") == 7

    def test_chain_without_policy_is_not_told(self, make_chain: Any) -> None:
        make_chain(policy=None, alias="plain")
        assert not [labels for _, labels in scrape() if ("chain", "plain") in labels]

    def test_tier_that_is_down_is_told(self, make_chain: Any) -> None:
        make_chain(
            {"disk": "disk", "far": faulty.tier("far", TIMEOUT=5), "other": faulty.tier("other", TIMEOUT=5)}
        )
        outage.mark_down(chains["media"]["far"])
        samples = scrape()
        assert sample(samples, "tier_down", chain="media", tier="far") == 1
        assert sample(samples, "tier_down", chain="media", tier="other") == 0
        assert ("queued_storage_tier_down", (("chain", "media"), ("tier", "disk"))) not in samples

    def test_database_that_is_down_is_told_and_nothing_else_of_the_catalog(
        self, storage: TieredStorage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def refuse() -> list[str]:
            raise OperationalError("connection to host=db password=swordfish failed")

        monkeypatch.setattr(catalog, "aliases", refuse)
        samples = scrape("/catalog")
        assert samples == {("queued_storage_catalog_up", ()): 0}
        assert "catalog_unreadable error=OperationalError" in caplog.text
        assert "swordfish" not in caplog.text
        monkeypatch.undo()
        assert sample(scrape("/catalog"), "catalog_up") == 1

    def test_answer_is_told_again_for_a_while(
        self, storage: TieredStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = 1000.0
        monkeypatch.setattr(collector.time, "monotonic", lambda: now)
        registry = CollectorRegistry()
        collector.register(registry)
        pending = {"chain": "media", "state": "pending"}
        assert registry.get_sample_value("queued_storage_files", pending) == 0
        storage.save("a.txt", ContentFile(b"content"))
        assert registry.get_sample_value("queued_storage_files", pending) == 0
        now += collector.KEPT
        assert registry.get_sample_value("queued_storage_files", pending) == 1

    def test_slow_answer_is_told_for_longer(
        self, storage: TieredStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = 1000.0
        take = vitals.take

        def slow(*arguments: Any) -> vitals.Vitals:
            nonlocal now
            now += 3
            return take(*arguments)

        monkeypatch.setattr(collector.time, "monotonic", lambda: now)
        monkeypatch.setattr(vitals, "take", slow)
        monkeypatch.setattr(vitals, "aliases", lambda: ["media"])
        asked = collector.CatalogCollector()
        asked.collect()
        now += 26
        asked.collect()
        assert now == 1029
        now += 1
        asked.collect()
        assert now == 1033

    def test_registering_again_is_no_error_and_asks_no_database(self) -> None:
        registry = CollectorRegistry(auto_describe=True)
        with CaptureQueriesContext(connections["default"]) as queries:
            collector.register(registry)
            collector.register(registry)
        assert not queries.captured_queries

    def test_registering_at_once_is_no_error(self) -> None:
        class Registry(CollectorRegistry):
            other: threading.Thread | None = None

            def register(self, registered: Any) -> None:
                if self.other is None:
                    self.other = threading.Thread(target=collector.register, args=[self])
                    self.other.start()
                    self.other.join(0.2)  # it is done only if nothing makes it wait
                super().register(registered)

        registry = Registry()
        collector.register(registry)
        assert registry.other is not None
        registry.other.join()

    @pytest.mark.parametrize("path", ["/", "/catalog"])
    def test_scrape_is_no_transaction(self, settings: Any, path: str) -> None:
        view = resolve(path).func
        with pytest.MonkeyPatch.context() as patch:
            for alias in settings.DATABASES:
                patch.setitem(connections.settings[alias], "ATOMIC_REQUESTS", True)
            assert BaseHandler().make_view_atomic(view) is view

    def test_prometheus_gets_the_format_that_it_prefers(self, storage: TieredStorage) -> None:
        wanted = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
        response = Client().get("/", headers={"accept": wanted})
        assert response["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
        assert response.content.endswith(b"# EOF\n")
        assert Client().get("/")["Content-Type"].startswith("text/plain")

    def test_only_reading_is_allowed(self) -> None:
        assert Client().post("/").status_code == 405


def test_names_follow_the_conventions() -> None:
    for metric in [
        *collector.CatalogCollector().describe(),
        *(m for each in counters.ALL for m in each.collect()),
    ]:
        assert metric.name.startswith("queued_storage_")
        assert metric.documentation
        assert {label for each in metric.samples for label in each.labels} <= {
            "chain", "tier", "source", "destination", "state", "cause", "final", "le",
        }  # fmt: skip


def test_app_without_the_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    config = AppConfig.create("queued_storage.contrib.prometheus")
    with pytest.raises(ImproperlyConfigured, match=r"django-queued-storage\[prometheus\]"):
        config.ready()


class TestMany:
    """It costs the same with many settled files; see also tests/test_scale.py."""

    @pytest.fixture
    def many(self, storage: TieredStorage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(census, "COUNTED", 300)
        monkeypatch.setattr(vitals, "READ", 10)
        now = timezone.now()
        rows = []
        for number in range(600):
            state = "failed" if number < 40 else "settled"
            name = f"{state}-{number}.txt"
            reason = "tier 'far': PermissionError: [Errno 13] Permission denied" if state == "failed" else ""
            rows.append(
                StoredFile(
                    chain="media", name=name, key=StoredFile.key_of(name), state=state, saved_at=now, size=10,
                    tiers=["disk"] if state == "failed" else ["middle", "far"], last_error=reason,
                )
            )  # fmt: skip
        catalog.files().bulk_create(rows)

    def test_what_is_owed_is_exact_and_what_is_settled_an_estimate(self, many: None) -> None:
        samples = scrape()
        assert sample(samples, "is_estimate", chain="media") == 1
        assert sample(samples, "files", chain="media", state="failed") == 40
        assert sample(samples, "failed_files", chain="media", cause="denied") == 40
        assert sample(samples, "files", chain="media", state="settled") == pytest.approx(560, rel=0.2)

    def test_few_queries_are_needed(self, many: None) -> None:
        with CaptureQueriesContext(connections[catalog.database()]) as queries:
            vitals.take("media", timezone.now())
        assert len(queries) == 5


def test_scrape_while_a_process_makes_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there, and empty, when it is read first."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    made = tmp_path / "counter_4711.db"
    made.touch()

    def fill(seconds: float) -> None:
        counts = MmapedDict(str(made))  # type: ignore[no-untyped-call]
        counts.write_value(mmap_key("n_total", "n_total", [], [], "N."), 7.0, 0.0)  # type: ignore[no-untyped-call]
        counts.close()  # type: ignore[no-untyped-call]

    monkeypatch.setattr(collector.time, "sleep", fill)
    assert collector.registry(with_catalog=False).get_sample_value("n_total") == 7


@pytest.mark.servers
@pytest.mark.storages
@pytest.mark.parametrize("broker", ["filesystem"], indirect=True)
def test_counters_of_prefork_workers_are_scraped_elsewhere(
    broker: Any, make_project: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(folder))
    from django.conf import settings

    apps = [*settings.INSTALLED_APPS, "queued_storage.contrib.prometheus"]
    project = make_project(broker=broker, INSTALLED_APPS=apps, QUEUED_STORAGE_BATCH=1)
    project.start_worker(pool="prefork", concurrency=2)
    project.python(
        "import tests.celery_app\n"
        "from django.core.files.base import ContentFile\n"
        "from queued_storage.storage import tiered_storages\n"
        "for number in range(8): tiered_storages['media'].save(f'{number}.txt', ContentFile(b'1234567'))"
    )
    way = {"chain": "media", "source": "disk", "destination": "vault"}

    counts = {"transfers_total": 8, "transferred_bytes_total": 56, "transfer_duration_seconds_count": 8}

    def counted() -> bool:  # a worker counts one after the other, and may be looked at in between
        seen = collector.registry()
        return all(
            seen.get_sample_value(f"queued_storage_{name}", way) == count for name, count in counts.items()
        )

    wait_until(counted, "the transfers of all workers are counted", timeout=60)
    registry = collector.registry()
    assert registry is not REGISTRY
    assert registry.get_sample_value("queued_storage_saves_total", {"chain": "media"}) == 8
    assert registry.get_sample_value("queued_storage_catalog_up") == 1
    writers = {path.name for path in folder.glob("counter_*.db")}
    assert len(writers) >= 2, "the process that saved, and at least one that copied"
    assert f"counter_{os.getpid()}.db" not in writers
