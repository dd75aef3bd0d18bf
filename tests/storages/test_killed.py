"""A server is killed in the middle of fifty transfers, and started again: all settles, nothing is short or doubled."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import connections

from queued_storage import operations
from queued_storage.models import StoredFile
from queued_storage.names import is_staging
from queued_storage.testing import run_owed_work

from tests.storages import kinds
from tests.storages.conftest import Place
from tests.support import clock, recording
from tests.support.waiting import wait_until

KINDS = kinds.SERVERS
FILES = 50
WORKERS = 2
#: Files that are there when the server is killed.
BEFORE = 12
PATIENCE = 60

pytestmark = [
    pytest.mark.servers,
    pytest.mark.slow,
    pytest.mark.timeout(3 * PATIENCE),
    pytest.mark.django_db(transaction=True, available_apps=["queued_storage"]),
]


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH
    settings.QUEUED_STORAGE_DEADLINE = PATIENCE
    settings.QUEUED_STORAGE_RETRIES = 1000
    settings.QUEUED_STORAGE_RETRY_DELAY = 0.2
    settings.QUEUED_STORAGE_RETRY_MAX_DELAY = 0.5
    settings.QUEUED_STORAGE_DOWN_FOR = 0.2


@contextmanager
def workers() -> Iterator[None]:
    """Threads that do what is owed, until the end of the block."""
    ended = threading.Event()

    def work() -> None:
        try:
            while not ended.wait(0.05):
                run_owed_work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(WORKERS) as pool:
        running: list[Future[None]] = [pool.submit(work) for _ in range(WORKERS)]
        try:
            yield
        finally:
            ended.set()
        for each in running:
            each.result()


def settled() -> int:
    return StoredFile.objects.filter(state="settled").count()


def read(storage: Any, name: str) -> bytes:
    with storage.open(name) as file:
        content: bytes = file.read()
    return content


def save_all(storage: Any) -> dict[str, bytes]:
    draw = random.Random(7)
    contents = [draw.randbytes(draw.randrange(1, 400_000)) for _ in range(FILES)]
    return {
        storage.save(f"{i % 5}/{i}.bin", ContentFile(content)): content for i, content in enumerate(contents)
    }


def test_transfers_settle_when_the_server_is_killed_and_started_again(place: Place, make_chain: Any) -> None:
    storage = make_chain({"disk": "disk", "far": place.tier(TIMEOUT=20)}, policy="transfer-and-delete")
    saved = save_all(storage)
    with workers():
        wait_until(lambda: settled() >= BEFORE, "the first files are there", timeout=PATIENCE, every=0.01)
        place.server.kill()
        assert settled() < FILES, "killed too late"
        attempts = StoredFile.objects.filter(attempts__gt=0)
        wait_until(attempts.exists, "a transfer has failed", timeout=PATIENCE)
        waiting = StoredFile.objects.exclude(state="settled").values_list("name", flat=True)[0]
        assert read(storage, waiting) == saved[waiting]
        place.server.start()
        wait_until(
            lambda: settled() == FILES or StoredFile.objects.filter(state="failed").exists(),
            "every file is settled",
            timeout=PATIENCE,
        )
    assert [row.last_error for row in StoredFile.objects.exclude(state="settled")] == []
    check_content(place, storage, saved)
    check_leftovers(place, saved)


def check_content(place: Place, storage: Any, saved: dict[str, bytes]) -> None:
    """Nothing is short, and nothing is there twice or under another name."""
    clock.forget_outages()
    for name, content in saved.items():
        assert storage.tiers(name) == ["far"]
        assert place.read(name) == content
        assert read(storage, name) == content
    listed = [f"{folder}/{name}" for folder in storage.listdir("")[0] for name in storage.listdir(folder)[1]]
    assert sorted(listed) == sorted(saved)


def check_leftovers(place: Place, saved: dict[str, bytes]) -> None:
    """What the broken transfers left is under names that nobody sees, and goes when it is collected."""
    left = set(place.names) - set(saved)
    assert {name for name in left if not is_staging(PurePosixPath(name).name)} == set()
    assert len(left) <= WORKERS
    list(operations.collect("media", datetime.now(UTC)))
    assert place.names == sorted(saved)
