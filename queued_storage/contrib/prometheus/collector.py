"""The catalog's numbers, read when they are scraped."""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Iterable
from weakref import WeakSet

from django.utils import timezone
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from ... import hosts, logs, vitals

#: Seconds for which an answer is told again; and how often as long as it took to find, at least: however long the
#: queries take, and whoever scrapes, they keep the database busy for a tenth of the time.
KEPT = 5.0
KEPT_TIMES = 9.0
#: How often, and after how many seconds each time, a file that another process is just making is read again.
TRIES, PAUSE = 100, 0.01


class ManyProcesses(MultiProcessCollector):
    """What the processes counted. A process that begins to count makes its file empty, and fills it a moment later.

    prometheus-client raises for an empty one; nobody tells when it is filled, so it is looked at again.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)  # type: ignore[no-untyped-call]

    def collect(self) -> Iterable[Metric]:
        for _ in range(TRIES):
            try:
                return self._collected()
            except struct.error:
                time.sleep(PAUSE)
        return self._collected()

    def _collected(self) -> list[Metric]:
        return list(super().collect())  # type: ignore[no-untyped-call]


class CatalogCollector:
    """A custom collector for any registry; one in a process is enough, and one process of a site."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: list[Metric] = []
        self._stale_at = 0.0

    def describe(self) -> Iterable[Metric]:
        """Return the families without a sample: a registry asks for the names before the database may be asked."""
        return _Families().all

    def collect(self) -> Iterable[Metric]:
        """Return what the catalog says; if it cannot be read, ``queued_storage_catalog_up`` is 0 and alone."""
        with self._lock:
            begun = time.monotonic()
            if begun >= self._stale_at:
                self._told = _read()
                ended = time.monotonic()
                self._stale_at = ended + max(KEPT, KEPT_TIMES * (ended - begun))
            return self._told

    def forget(self) -> None:
        """Ask the catalog at the next scrape."""
        with self._lock:
            self._stale_at = 0.0


def register(registry: CollectorRegistry = REGISTRY) -> None:
    """Add the catalog's numbers to the registry; again is no error."""
    with _registering:
        if registry not in _registries:
            registry.register(_collector)
            _registries.add(registry)


def registry(*, with_catalog: bool = True) -> CollectorRegistry:
    """Return a registry with the counters of this process, or of many (multiprocess mode); and with the catalog."""
    many = "PROMETHEUS_MULTIPROC_DIR" in os.environ
    found = CollectorRegistry() if many else REGISTRY
    if many:
        ManyProcesses(found)
    if with_catalog:
        register(found)
    return found


_collector = CatalogCollector()
_registries = WeakSet[CollectorRegistry]()
_registering = threading.Lock()


class _Families:
    """One scrape's metrics."""

    def __init__(self) -> None:
        self.up = _gauge("catalog_up", "Whether the catalog could be read.")
        self.estimate = _gauge(
            "is_estimate", "Whether settled files are estimated, as they are many.", "chain"
        )
        self.files = _gauge("files", "Files in the catalog.", "chain", "state")
        self.bytes = _gauge("bytes", "Bytes of these files.", "chain", "state")
        self.running = _gauge("running_files", "Files that a worker has in hand.", "chain")
        self.overdue = _gauge(
            "oldest_due_seconds", "For how long the longest waiting work has been due.", "chain"
        )
        self.tier_files = _gauge("tier_files", "Verified copies on a tier.", "chain", "tier")
        self.tier_bytes = _gauge("tier_bytes", "Bytes of these copies.", "chain", "tier")
        self.alone_files = _gauge(
            "first_tier_only_files",
            "Files of which the first tier alone has a copy; those pending or failed should lie elsewhere too.",
            "chain",
            "state",
        )
        self.alone_bytes = _gauge("first_tier_only_bytes", "Bytes of these files.", "chain", "state")
        self.failed = _gauge(
            "failed_files", "Files that are not tried again before somebody acts.", "chain", "cause"
        )
        self.down = _gauge(
            "tier_down", "Whether a tier with a TIMEOUT missed it a moment ago.", "chain", "tier"
        )
        self.silent = _gauge(
            "host_silent", "Whether a host with a disk of its own is silent while work waits for it.", "host"
        )
        self.seconds = _gauge("catalog_read_seconds", "How long it took to read the catalog.")

    @property
    def all(self) -> list[Metric]:
        return list(vars(self).values())

    def add(self, told: vitals.Vitals) -> None:
        chain = told.chain
        self.estimate.add_metric([chain], told.is_estimate)
        self.running.add_metric([chain], told.running)
        self.overdue.add_metric([chain], told.overdue)
        for files, sizes, amounts in (
            (self.files, self.bytes, told.states),
            (self.tier_files, self.tier_bytes, told.tiers),
            (self.alone_files, self.alone_bytes, told.first_tier_only),
        ):
            for name, amount in amounts.items():
                files.add_metric([chain, name], amount.files)
                sizes.add_metric([chain, name], amount.bytes)
        for cause, count in told.failed.items():
            self.failed.add_metric([chain, cause], count)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"queued_storage_{name}", text, labels=labels)


def _read() -> list[Metric]:
    families = _Families()
    begun = time.monotonic()
    try:
        with vitals.borrowed_connection():
            for alias in vitals.aliases():
                families.add(vitals.take(alias, timezone.now()))
            for host in hosts.status(timezone.now()):
                families.silent.add_metric([host.host], host.is_silent)
        for chain, tier, is_down in vitals.down():
            families.down.add_metric([chain.alias, tier], is_down)
    except Exception as error:  # noqa: BLE001 - of a scrape, what other collectors tell must not be lost with it
        logs.warning("catalog_unreadable", error=type(error).__name__)
        failed = _Families()
        failed.up.add_metric([], 0)
        return [failed.up]
    families.up.add_metric([], 1)
    families.seconds.add_metric([], time.monotonic() - begun)
    return families.all
