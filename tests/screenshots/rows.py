"""What the pictured catalog holds: saved, copied and failed at times that look like a week's work."""

from __future__ import annotations

import math
import random
from datetime import datetime, timedelta
from typing import Any

from django.core.files.base import ContentFile
from django.utils import timezone

from queued_storage import catalog, outage
from queued_storage.chain import chains
from queued_storage.models import Host, Sample, StoredFile
from queued_storage.storage import tiered_storages

DICE = random.Random(11)
FULL = "tier 'vault' is full: OSError: [Errno 28] No space left on device"
DENIED = "tier 'bucket': PermissionError: [Errno 13] Permission denied"
COMMON: dict[str, Any] = {"content_type": "image/jpeg", "digest": "5e" * 32}


def fill() -> StoredFile:
    """Make the rows and samples; return the file whose page is pictured."""
    now = timezone.now()
    rows = [*_settled(now, 1_900), *_pending(now, 148), *_failed(now, 6)]
    DICE.shuffle(rows)
    rows.sort(key=lambda row: row.saved_at)
    catalog.files().bulk_create(rows, batch_size=200)
    for alias, height in (("media", 150), ("invoices", 12)):
        catalog.add_samples(_samples(alias, now, height))
    for number in range(3):
        tiered_storages["invoices"].save(f"2026/11/invoice-{number}.pdf", ContentFile(b"%PDF" * 900))
    _hosts(now)
    outage.mark_down(chains["media"]["vault"])
    return pictured(now)


def pictured(now: datetime) -> StoredFile:
    storage = tiered_storages["media"]
    name = storage.save("albums/2026/harbour/dawn-0417.jpg", ContentFile(b"\xff\xd8" * 400_000))
    catalog.files().filter(name=name).update(
        attempts=2,
        last_error=FULL,
        due_at=now + timedelta(minutes=3),
        saved_at=now - timedelta(minutes=9),
        **COMMON,
    )
    return catalog.files().get(name=name)


def _row(number: int, saved_at: datetime, chain: str = "media", **facts: Any) -> StoredFile:
    folder = DICE.choice(("harbour", "garden", "people", "night", "archive/scans"))
    name = f"albums/{saved_at:%Y}/{folder}/{number:05d}.jpg"
    size = round(DICE.lognormvariate(14.6, 0.7))
    return StoredFile(
        chain=chain, name=name, key=StoredFile.key_of(name), size=size, saved_at=saved_at, **COMMON, **facts
    )


def _settled(now: datetime, count: int) -> list[StoredFile]:
    rows = []
    for number in range(count):
        saved_at = now - timedelta(minutes=14) - timedelta(days=DICE.random() ** 2 * 400)
        tiers = ["old-archive"] if number % 9 == 0 else ["disk", "bucket", "vault"]
        copied_at = max(saved_at + timedelta(seconds=40), now - timedelta(days=390))
        rows.append(_row(number, saved_at, state="settled", tiers=tiers, copied_at=copied_at))
    for row in rows[:60]:
        row.copied_at = now - timedelta(seconds=DICE.randrange(290))
    return rows


def _pending(now: datetime, count: int) -> list[StoredFile]:
    rows = []
    for number in range(count):
        saved_at = now - timedelta(seconds=DICE.randrange(5, 1_300))
        tiers = ["disk", "bucket"] if number % 3 == 0 else ["disk"]
        busy = {"lease": "a worker", "lease_until": now + timedelta(minutes=4)} if number < 7 else {}
        rows.append(_row(90_000 + number, saved_at, state="pending", due_at=saved_at, tiers=tiers, **busy))
    return rows


def _failed(now: datetime, count: int) -> list[StoredFile]:
    return [
        _row(
            95_000 + number,
            now - timedelta(hours=3, minutes=11 * number),
            state="failed",
            tiers=["disk", "bucket"] if number % 3 else ["disk"],
            attempts=6,
            last_error=FULL if number % 3 else DENIED,
        )
        for number in range(count)
    ]


def _hosts(now: datetime) -> None:
    Host.objects.create(name="web-1", seen_at=now - timedelta(seconds=40))
    Host.objects.create(name="web-2", seen_at=now - timedelta(hours=3))
    owed = {"state": "pending", "tiers": ["desk"], "due_at": now - timedelta(hours=2)}
    there = {"host": "web-2", "for_host": "web-2"}
    rows = [_row(99_000 + number, now - timedelta(hours=2), "scans", **owed, **there) for number in range(4)]
    catalog.files().bulk_create(rows)


def _samples(alias: str, now: datetime, height: int) -> list[Sample]:
    """A day of samples: quiet at night, a heap in the morning, and an hour without any sweep."""
    minute = now.replace(second=0, microsecond=0)
    samples = []
    for ago in range(1440, -1, -1):
        if 500 < ago < 560:
            continue
        share = (1440 - ago) / 1440
        wave = max(math.sin(share * math.tau * 1.5) + 0.35 + DICE.gauss(0, 0.05), 0.02)
        peak = 2.2 * math.exp(-(((share - 0.72) / 0.03) ** 2))
        pending = round(height * (0.55 * wave + peak))
        if ago == 0:
            pending = height
        copied = round(height * 0.4 * max(wave + 0.7 * peak + DICE.gauss(0, 0.08), 0.01))
        samples.append(
            Sample(
                chain=alias,
                taken_at=minute - timedelta(minutes=ago),
                seconds=60 if ago != 500 else 3600,
                pending=pending,
                pending_bytes=pending * 2_100_000,
                failed=6 if ago < 190 and alias == "media" else 0,
                copied=copied if ago != 500 else 60 * copied,
                copied_bytes=copied * 2_100_000,
                newest=0,
            )
        )
    return samples
