"""What 0.8's callers do with the result of a transfer."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.base import ContentFile

from queued_storage import results
from queued_storage.backends import QueuedStorage
from queued_storage.exceptions import TransferFailed
from queued_storage.testing import run_owed_work

from tests.compat import tasks

Make = Callable[..., QueuedStorage]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def by_hand(settings: Any) -> None:
    settings.QUEUED_STORAGE_DISPATCHER = "tests.compat.tasks.Nobody"


@pytest.fixture
def storage(make_queued: Make, by_hand: None) -> QueuedStorage:
    storage = make_queued()
    storage.save("a.txt", ContentFile(b"1"))
    return storage


def states(result: Any) -> tuple[str, bool, bool, bool]:
    return result.state, result.ready(), result.successful(), result.failed()


def test_result_follows_the_file(storage: QueuedStorage) -> None:
    result: Any = storage.result
    assert states(result) == ("PENDING", False, False, False)
    run_owed_work()
    assert states(result) == ("SUCCESS", True, True, False)
    assert (result.get(), result.wait(), result.status) == (True, True, "SUCCESS")
    assert repr(result) == "<TransferResult of 'a.txt': SUCCESS>"


def test_file_that_is_not_moved_in_time(storage: QueuedStorage) -> None:
    with pytest.raises(TimeoutError, match="still to be moved after 0"):
        storage.transfer("a.txt").get(timeout=0)


def test_waits_for_the_worker(storage: QueuedStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is done while ``get()`` waits."""
    monkeypatch.setattr(results.time, "sleep", lambda seconds: run_owed_work())
    assert storage.transfer("a.txt", cache_key="queued_storage_a.txt").get()


def test_failure_is_raised_with_its_reason(make_queued: Make, inline: None) -> None:
    storage = make_queued(task=tasks.NoneReturning)
    storage.save("a.txt", ContentFile(b"1"))
    result: Any = storage.result
    assert states(result) == ("FAILURE", True, False, True)
    assert result.get(propagate=False) is False
    with pytest.raises(TransferFailed, match=r"ValueError: .* returned NoneType"):
        result.get()


def test_file_that_is_deleted(storage: QueuedStorage) -> None:
    result: Any = storage.result
    storage.delete("a.txt")
    with pytest.raises(FileNotFoundError):
        result.get()


def test_each_thread_has_that_of_its_own_save(storage: QueuedStorage) -> None:
    seen = []
    thread = threading.Thread(target=lambda: seen.append(storage.result))
    thread.start()
    thread.join()
    assert seen == [None]
    assert storage.result is not None
    assert storage.result.name == "a.txt"


def test_storage_that_saved_can_be_pickled(storage: QueuedStorage) -> None:
    assert pickle.loads(pickle.dumps(storage)) == storage  # noqa: S301
