"""0.8's classes, each with the remote that it has today by default, on that remote's server."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.base import ContentFile

from queued_storage import backends
from queued_storage.backends import QueuedStorage
from queued_storage.testing import run_owed_work

from tests.compat.conftest import _nothing_declared_stays
from tests.storages import kinds
from tests.storages.conftest import Place

__all__ = ["_nothing_declared_stays"]

pytestmark = [pytest.mark.servers, pytest.mark.django_db(transaction=True)]

#: The class that has each kind of storage for its remote.
CLASSES = {
    "s3-moto": backends.QueuedS3BotoStorage,
    "couchdb": backends.QueuedCouchDBStorage,
    "database-sqlite": backends.QueuedDatabaseStorage,
    "database-postgresql": backends.QueuedDatabaseStorage,
    "database-mariadb": backends.QueuedDatabaseStorage,
    "ftp": backends.QueuedFTPStorage,
    "mogilefs": backends.QueuedMogileFSStorage,
    "gridfs": backends.QueuedGridFSStorage,
    "swift": backends.QueuedCloudFilesStorage,
    "sftp-openssh": backends.QueuedSFTPStorage,
}
KINDS = tuple(kind for kind in kinds.KINDS if kind.name in CLASSES)
CONTENT = bytes(range(256)) * 2000


@pytest.fixture(autouse=True)
def _patient(settings: Any) -> None:
    """A name is free if the storage says so, however long a busy machine takes for that."""
    settings.QUEUED_STORAGE_DEADLINE = 60


@pytest.fixture
def make(place: Place, settings: Any, tmp_path: Any) -> Any:
    """Build the class of the place's kind, with nothing but the options by which its server is found."""
    settings.MEDIA_ROOT = str(tmp_path)
    settings.QUEUED_STORAGE_DISPATCHER = "tests.compat.tasks.Nobody"
    tier = place.tier()

    def make(**given: Any) -> QueuedStorage:
        kind = CLASSES[place.kind.name]
        assert kind.remote == tier["BACKEND"]
        return kind(remote_options=tier["OPTIONS"], **given)

    return make


def read(storage: Any, name: str) -> bytes:
    with storage.open(name) as file:
        content: bytes = file.read()
        return content


def test_no_class_is_missing() -> None:
    """QueuedStorage and QueuedFileSystemStorage have no remote of their own."""
    declared = {getattr(backends, name) for name in backends.__all__ if name.startswith("Queued")}
    assert declared - {backends.QueuedStorage, backends.QueuedFileSystemStorage} == set(CLASSES.values())
    assert {kind.name for kind in KINDS} == set(CLASSES)


def test_file_is_moved_and_read_there(make: Any, place: Place) -> None:
    storage = make(task="queued_storage.tasks.TransferAndDelete")
    name = storage.save("dir/a.bin", ContentFile(CONTENT))
    assert (name, storage.using_local(name), place.names) == ("dir/a.bin", True, [])
    run_owed_work()
    assert (storage.state(name), storage.using_remote(name)) == ("settled", True)
    assert place.read(name) == read(storage, name) == CONTENT
    assert (storage.exists(name), storage.size(name)) == (True, len(CONTENT))
    storage.delete(name)
    run_owed_work()
    assert (storage.exists(name), place.names) == (False, [])


def test_file_of_08_on_the_remote_is_read_and_taken_in(make: Any, place: Place) -> None:
    place.put("old.bin", CONTENT)
    storage = make()
    assert read(storage, "old.bin") == CONTENT
    storage.transfer("old.bin")
    run_owed_work()
    assert storage.tiers("old.bin") == ["local", "remote"]
    assert read(storage.local, "old.bin") == CONTENT


def test_delayed_file_and_task_of_the_project(make: Any, place: Place) -> None:
    storage = make(delayed=True, task="tests.compat.tasks.ByPath")
    name = storage.save("a.bin", ContentFile(CONTENT))
    run_owed_work()
    assert place.names == []
    result = storage.transfer(name)
    run_owed_work()
    assert result.get(timeout=0) is True
    assert place.read(name) == CONTENT
