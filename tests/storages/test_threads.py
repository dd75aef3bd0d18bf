"""Six threads read and write through a tier at once: right bytes, and no hang."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import connections

from queued_storage.testing import run_owed_work

from tests.storages.conftest import Place
from tests.support import recording

pytestmark = [
    pytest.mark.servers,
    pytest.mark.timeout(90),  # one that hangs is told by its stacks
    pytest.mark.django_db(transaction=True, available_apps=["queued_storage"]),
]

THREADS = 6
FILES = 4


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH
    settings.QUEUED_STORAGE_DEADLINE = 60


def content_of(thread: int, number: int) -> bytes:
    return random.Random(thread * FILES + number).randbytes(20_000 * (1 + number))


def at_once(call: Callable[[int], None]) -> None:
    """Call it in every thread, all starting at the same moment."""
    start = threading.Barrier(THREADS)

    def run(thread: int) -> None:
        try:
            start.wait(20)
            call(thread)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(run, range(THREADS)))


def read(storage: Any, name: str) -> bytes:
    with storage.open(name) as file:
        content: bytes = file.read()
    return content


def names_of(thread: int) -> dict[str, bytes]:
    return {f"{thread}/{number}.bin": content_of(thread, number) for number in range(FILES)}


def test_threads_save_and_read_on_the_storage_itself(place: Place, make_chain: Any) -> None:
    storage = make_chain({"far": place.tier(TIMEOUT=60)}, policy=None)

    def work(thread: int) -> None:
        for name, content in names_of(thread).items():
            assert storage.save(name, ContentFile(content)) == name
            assert read(storage, name) == content
            assert storage.size(name) == len(content)
        for name, content in names_of((thread + 1) % THREADS).items():
            # Not the one that its thread deletes: it may go between the question and the read.
            if not name.endswith("/0.bin") and storage.exists(name):
                assert read(storage, name) == content
        storage.delete(f"{thread}/0.bin")
        assert not storage.exists(f"{thread}/0.bin")

    at_once(work)
    assert place.names == sorted(
        f"{thread}/{number}.bin" for thread in range(THREADS) for number in range(1, FILES)
    )
    for thread in range(THREADS):
        for number in range(1, FILES):
            assert place.read(f"{thread}/{number}.bin") == content_of(thread, number)


def test_threads_transfer_and_read_what_others_transfer(place: Place, make_chain: Any) -> None:
    storage = make_chain({"disk": "disk", "far": place.tier(TIMEOUT=60)}, policy="transfer-and-delete")

    def work(thread: int) -> None:
        for name, content in names_of(thread).items():
            assert storage.save(name, ContentFile(content)) == name
            run_owed_work()
            assert read(storage, name) == content

    at_once(work)
    run_owed_work()
    assert place.names == sorted(name for thread in range(THREADS) for name in names_of(thread))
    for thread in range(THREADS):
        for name, content in names_of(thread).items():
            assert storage.tiers(name) == ["far"]
            assert place.read(name) == content
