"""The ten tests of django-queued-storage's last revision, re-expressed: what its users could rely on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from celery import current_app
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, Storage

from queued_storage import catalog
from queued_storage.backends import FILE_SYSTEM, QueuedStorage
from queued_storage.batch import drain

from tests.testapp.models import Document, Plain

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper

Make = Callable[..., QueuedStorage]


@pytest.fixture
def eager() -> Iterator[None]:
    """Celery runs its tasks where they are sent."""
    before = current_app.conf.task_always_eager
    current_app.conf.task_always_eager = True
    yield
    current_app.conf.task_always_eager = before


@pytest.fixture
def save_by_model(monkeypatch: pytest.MonkeyPatch) -> Callable[[QueuedStorage], Plain]:
    """Save a file through a model whose field has the storage."""

    def save(storage: QueuedStorage) -> Plain:
        monkeypatch.setattr(Plain._meta.get_field("file"), "storage", storage)
        return Plain.objects.create(file=ContentFile(b"test", "queued_storage.txt"))

    return save


def test_storage_init() -> None:
    storage = QueuedStorage(FILE_SYSTEM, FILE_SYSTEM)
    assert isinstance(storage, QueuedStorage)
    assert (storage.local.__class__, storage.remote.__class__) == (FileSystemStorage, FileSystemStorage)


def test_storage_cache_key() -> None:
    storage = QueuedStorage(FILE_SYSTEM, FILE_SYSTEM, cache_prefix="test_cache_key")
    assert storage.cache_prefix == "test_cache_key"
    assert storage.get_cache_key("a b.txt") == "test_cache_key_a%20b.txt"


@pytest.mark.parametrize("name", [name for name in dir(Storage()) if callable(getattr(Storage(), name))])
def test_storage_methods(name: str) -> None:
    assert callable(getattr(QueuedStorage(FILE_SYSTEM, FILE_SYSTEM), name))


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("eager")
class TestSavedFile:
    def test_storage_simple_save(
        self, make_queued: Make, save_by_model: Callable[..., Plain], tmp_path: Path
    ) -> None:
        saved = save_by_model(make_queued(task="tests.compat.tasks.copy"))
        assert (tmp_path / "local" / saved.file.name).is_file()
        assert (tmp_path / "remote" / saved.file.name).is_file()

    def test_storage_celery_save(
        self, make_queued: Make, save_by_model: Callable[..., Plain], tmp_path: Path
    ) -> None:
        storage = make_queued()
        saved = save_by_model(storage)
        name = saved.file.name
        assert saved.file.storage.result.get()
        assert storage.state(name) == "settled"
        assert storage.tiers(name) == ["local", "remote"]
        assert (tmp_path / "remote" / name).read_bytes() == b"test"

    def test_transfer_and_delete(
        self, make_queued: Make, save_by_model: Callable[..., Plain], tmp_path: Path
    ) -> None:
        storage = make_queued(task="queued_storage.tasks.TransferAndDelete")
        saved = save_by_model(storage)
        saved.file.storage.result.get()
        assert not (tmp_path / "local" / saved.file.name).exists()
        assert (tmp_path / "remote" / saved.file.name).is_file()
        assert storage.using_remote(saved.file.name)
        with saved.file.open() as file:
            assert file.read() == b"test"

    def test_transfer_returns_boolean(self, make_queued: Make, save_by_model: Callable[..., Plain]) -> None:
        storage = make_queued(task="tests.compat.tasks.NoneReturning")
        name = save_by_model(storage).file.name
        with pytest.raises(ValueError, match="returned NoneType"):
            storage.result.get(propagate=True)
        assert storage.state(name) == "failed"
        row = catalog.find(storage.alias, name)
        assert row is not None
        assert "ValueError: tests.compat.tasks.NoneReturning returned NoneType" in row.last_error

    def test_transfer_retried(
        self, make_queued: Make, save_by_model: Callable[..., Plain], settings: SettingsWrapper
    ) -> None:
        settings.QUEUED_STORAGE_RETRY_DELAY = 0
        storage = make_queued(task="tests.compat.tasks.Retrying")
        name = save_by_model(storage).file.name
        assert not storage.result.successful()
        list(drain())
        assert storage.result.get()
        assert storage.state(name) == "settled"
        assert storage.tiers(name) == ["local", "remote"]

    def test_delayed_storage(
        self, make_queued: Make, save_by_model: Callable[..., Plain], tmp_path: Path
    ) -> None:
        storage = make_queued(delayed=True)
        name = save_by_model(storage).file.name
        assert storage.result is None
        assert not (tmp_path / "remote" / name).exists()
        storage.transfer(name).get()
        assert (tmp_path / "remote" / name).is_file()

    def test_remote_file_field(
        self, make_queued: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(Document._meta.get_field("file"), "storage", make_queued(delayed=True))
        saved = Document.objects.create(file=ContentFile(b"test", "queued_storage.txt"))
        assert saved.file.transfer().get()
        assert (tmp_path / "remote" / saved.file.name).is_file()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("eager")
class TestReading:
    """The rest of upstream's test_storage_celery_save."""

    @pytest.fixture
    def storage(self, make_queued: Make) -> QueuedStorage:
        storage = make_queued()
        storage.save("test/queued_storage.txt", ContentFile(b"test"))
        return storage

    def test_names(self, storage: QueuedStorage) -> None:
        assert storage.get_valid_name("queued_storage.txt") == "queued_storage.txt"
        assert storage.get_available_name("queued_storage.txt") == "queued_storage.txt"

    def test_facts(self, storage: QueuedStorage, tmp_path: Path) -> None:
        name = "test/queued_storage.txt"
        assert storage.exists(name)
        assert storage.size(name) == 4
        assert storage.path(name) == str(tmp_path / "local" / name)
        assert storage.url(name) == storage.local.url(name)
        assert storage.listdir("test") == ([], ["queued_storage.txt"])

    @pytest.mark.parametrize("method", ["accessed_time", "created_time", "modified_time"])
    def test_times(self, storage: QueuedStorage, method: str) -> None:
        told = getattr(storage, method)("test/queued_storage.txt")
        assert isinstance(told, datetime)
        assert told.tzinfo is None

    def test_open_for_write_then_delete(self, storage: QueuedStorage) -> None:
        with storage.open("queued_storage_2.txt", "w") as file:
            file.write("test")
        assert storage.exists("queued_storage_2.txt")
        storage.delete("queued_storage_2.txt")
        assert not storage.exists("queued_storage_2.txt")
