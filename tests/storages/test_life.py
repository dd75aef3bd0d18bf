"""A file's whole life on every storage: saved on a disk, moved by a Celery worker, read through the chain, deleted."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import unquote

import pytest
from celery import current_app
from celery.contrib.testing.worker import start_worker as start_worker_thread
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from tests.storages.conftest import Place
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.servers,
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("broker", ["filesystem"], indirect=True),
]

CONTENT = random.Random(4).randbytes(700_000)
NAME = "in/übung 1.bin"
CONTENT_TYPE = "application/x-own"


@pytest.fixture(autouse=True)
def _patient(settings: Any) -> None:
    """A name is free if the storage says so, however long a busy machine takes for that."""
    settings.QUEUED_STORAGE_DEADLINE = 60


@pytest.fixture
def start(place: Place, start_worker: Callable[..., Any]) -> Iterator[Callable[[], None]]:
    """Start a worker: a process of its own, or a thread where only this process sees the files."""
    with ExitStack() as stack:

        def start() -> None:
            if place.kind.is_shared:
                start_worker()
            else:
                stack.enter_context(start_worker_thread(current_app, perform_ping_check=False))

        yield start


def save(storage: Any) -> str:
    name: str = storage.save(NAME, SimpleUploadedFile("1.bin", CONTENT, CONTENT_TYPE))
    assert name == NAME
    wait_until(lambda: storage.state(name) == "settled", "the worker has moved the file")
    return name


def check_reads(storage: Any, name: str) -> None:
    """Read the whole and parts of it, twice at once."""
    with storage.open(name) as file, storage.open(name) as other:
        file.seek(300_000)
        assert file.read(1000) == CONTENT[300_000:301_000]
        assert other.read(10) == CONTENT[:10]
        file.seek(-500, 2)
        assert file.read() == CONTENT[-500:]
        other.seek(0)
        assert b"".join(other.chunks()) == CONTENT
    assert storage.size(name) == len(CONTENT)
    assert abs((timezone.now() - storage.get_modified_time(name)).total_seconds()) < 120


def check_url(place: Place, storage: Any, name: str) -> None:
    if not place.kind.has_url:
        with pytest.raises(NotImplementedError):
            storage.url(name)
        return
    assert "übung 1.bin" in unquote(storage.url(name))


def test_file_moves_to_the_storage_and_goes(place: Place, make_chain: Any, start: Callable[[], None]) -> None:
    storage = make_chain({"disk": "disk", "far": place.tier(TIMEOUT=20)}, policy="transfer-and-delete")
    start()
    name = save(storage)
    assert storage.tiers(name) == ["far"]
    assert place.names == [name]
    assert place.read(name) == CONTENT
    if place.keeps_content_type:
        assert place.content_type(name) == CONTENT_TYPE
    check_reads(storage, name)
    check_url(place, storage, name)
    assert storage.listdir("in") == ([], ["übung 1.bin"])
    storage.delete(name)
    assert not storage.exists(name)
    wait_until(lambda: place.names == [], "the file is gone from the storage")


def test_file_lies_on_three_tiers_and_is_read_from_each(
    place: Place, make_chain: Any, start: Callable[[], None]
) -> None:
    storage = make_chain({"disk": "disk", "far": place.tier(TIMEOUT=20), "vault": "disk"})
    start()
    name = save(storage)
    assert storage.tiers(name) == ["disk", "far", "vault"]
    for tier in ("disk", "far", "vault"):
        check_reads(storage, name)
        storage.chain[tier].storage.delete(name)  # past the chain: what it had is lost
