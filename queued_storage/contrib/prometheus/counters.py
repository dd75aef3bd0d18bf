"""What happens in this process, counted by the package's signals.

Labels are names from the settings and the words of ``causes``: never a file's name, or the text of an error.
"""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver
from prometheus_client import Counter, Histogram

from ... import causes, signals

#: Seconds: of small files on a disk, and of large ones to another continent.
DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
_WAY = ("chain", "source", "destination")

saves = Counter("queued_storage_saves", "Files that a chain's first tier has taken.", ["chain"])
saved_bytes = Counter("queued_storage_saved_bytes", "Bytes of these files, where known.", ["chain"])
transfers = Counter("queued_storage_transfers", "Copies that were made, verified and recorded.", _WAY)
transferred_bytes = Counter("queued_storage_transferred_bytes", "Bytes of these copies.", _WAY)
transfer_seconds = Histogram(
    "queued_storage_transfer_duration_seconds",
    "How long a copy took, from the first byte read until it was verified.",
    _WAY,
    buckets=DURATIONS,
)
failures = Counter(
    "queued_storage_failures",
    "Attempts that failed, by the tier that was to blame; final ones are not tried again.",
    ["chain", "tier", "cause", "final"],
)
releases = Counter("queued_storage_releases", "Copies that a policy had deleted.", ["chain", "tier"])
deletes = Counter("queued_storage_deletes", "Deleted files of which no tier has anything left.", ["chain"])

ALL = (saves, saved_bytes, transfers, transferred_bytes, transfer_seconds, failures, releases, deletes)


@receiver(signals.file_saved, dispatch_uid="queued_storage.contrib.prometheus.saved")
def count_saved(chain: str, file: Any, **_: Any) -> None:
    saves.labels(chain).inc()
    saved_bytes.labels(chain).inc(file.size or 0)


@receiver(signals.file_transferred, dispatch_uid="queued_storage.contrib.prometheus.transferred")
def count_transferred(chain: str, source: str, destination: str, seconds: float, file: Any, **_: Any) -> None:
    transfers.labels(chain, source, destination).inc()
    transferred_bytes.labels(chain, source, destination).inc(file.size or 0)
    transfer_seconds.labels(chain, source, destination).observe(seconds)


@receiver(signals.transfer_failed, dispatch_uid="queued_storage.contrib.prometheus.failed")
def count_failed(chain: str, error: str, final: bool, **_: Any) -> None:
    reason = causes.read(error)
    failures.labels(chain, reason.tier, reason.cause, str(final).lower()).inc()


@receiver(signals.file_released, dispatch_uid="queued_storage.contrib.prometheus.released")
def count_released(chain: str, tier: str, **_: Any) -> None:
    releases.labels(chain, tier).inc()


@receiver(signals.file_deleted, dispatch_uid="queued_storage.contrib.prometheus.deleted")
def count_deleted(chain: str, **_: Any) -> None:
    deletes.labels(chain).inc()
