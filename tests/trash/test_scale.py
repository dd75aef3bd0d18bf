"""Listing, restoring and collecting go through pages: what they hold does not grow with the number of files."""

from __future__ import annotations

import tracemalloc
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from queued_storage.models import TrashedFile
from queued_storage.retention import find

pytestmark = pytest.mark.django_db


def fill(count: int) -> None:
    now = timezone.now()
    entries = (
        TrashedFile(
            chain="media", name=f"reports/{number:06}.pdf", key=f"{number:064}", generation=1, size=1, tier="disk",
            token=f"{number:032}", saved_at=now, deleted_at=now, until=now + timedelta(days=7),
        )
        for number in range(count)
    )  # fmt: skip
    TrashedFile.objects.bulk_create(entries, batch_size=500)


def test_listing_of_the_trash_holds_a_page_at_a_time(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from queued_storage.retention import restoring

    make()
    fill(1_500)
    monkeypatch.setattr(restoring, "AT_ONCE", 50)
    tracemalloc.start()
    try:
        assert sum(1 for _ in find("media", ["reports/*.pdf"])) == 1_500
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_500_000
