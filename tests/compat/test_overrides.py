"""Methods of a project's own that 0.8 called: they are called, or the check says that they are not."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.db import transaction

from queued_storage import catalog
from queued_storage.backends import FILE_SYSTEM, QueuedStorage
from queued_storage.tasks import Transfer
from queued_storage.testing import run_owed_work

from tests.compat.folders import put, read
from tests.testapp.models import Plain


class Public(QueuedStorage):
    """Transfers only what may leave the house."""

    def transfer(self, name: str, cache_key: str | None = None) -> Any:
        if name.startswith("private/"):
            return None
        return super().transfer(name, cache_key)


class Failing(QueuedStorage):
    def transfer(self, name: str, cache_key: str | None = None) -> Any:
        raise ValueError("infected")


class Scan(Transfer):
    def run(self, name: str, *args: Any, **kwargs: Any) -> Any:
        raise ValueError("infected")


class RemoteFirst(QueuedStorage):
    def get_storage(self, name: str) -> Any:
        return self.remote


Build = Callable[..., QueuedStorage]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    def build(kind: type[QueuedStorage], **given: Any) -> QueuedStorage:
        local, remote = (
            {"location": str(tmp_path / name), **given.pop(name, {})} for name in ("local", "remote")
        )
        return kind(FILE_SYSTEM, FILE_SYSTEM, local, remote, **given)

    return build


@pytest.mark.django_db(transaction=True)
class TestTransfer:
    @pytest.fixture(params=["Transfer", "TransferAndDelete"])
    def storage(self, build: Build, request: pytest.FixtureRequest) -> QueuedStorage:
        return build(Public, task=f"queued_storage.tasks.{request.param}")

    def test_file_that_it_keeps_stays(self, storage: QueuedStorage, tmp_path: Path) -> None:
        name = storage.save("private/salary.txt", ContentFile(b"secret"))
        run_owed_work()
        assert storage.result is None
        assert not (tmp_path / "remote" / name).exists()
        assert read(storage, name) == b"secret"

    def test_file_that_it_passes_on_is_moved(self, storage: QueuedStorage, tmp_path: Path) -> None:
        name = storage.save("logo.png", ContentFile(b"logo"))
        run_owed_work()
        assert storage.result is not None
        assert storage.result.successful()
        assert (tmp_path / "remote" / name).read_bytes() == b"logo"

    def test_file_that_is_written_by_open_is_asked_for(self, storage: QueuedStorage, tmp_path: Path) -> None:
        for name in ("private/a.txt", "b.txt"):
            with storage.open(name, "wb") as file:
                file.write(b"written")
        run_owed_work()
        assert [path.name for path in (tmp_path / "remote").iterdir()] == ["b.txt"]

    def test_delayed_storage_does_not_call_it(self, build: Build) -> None:
        storage = build(Failing, delayed=True)
        assert storage.state(storage.save("a.txt", ContentFile(b"1"))) == "settled"

    def test_g3_save_and_request_are_committed_together(self, build: Build) -> None:
        storage = build(Failing)
        with pytest.raises(ValueError, match="infected"):
            storage.save("a.txt", ContentFile(b"1"))
        assert catalog.find(storage.alias, "a.txt") is None

    def test_g7_nothing_is_asked_for_after_a_rollback(self, storage: QueuedStorage) -> None:
        with transaction.atomic():
            storage.save("a.txt", ContentFile(b"1"))
            transaction.set_rollback(True)
        assert run_owed_work() == 0

    def test_is_asked_of_files_that_were_there_before(self, storage: QueuedStorage, tmp_path: Path) -> None:
        for name in ("private/old.txt", "old.txt"):
            put(tmp_path / "local" / name)
        call_command("tiers", "transfer", "--chain", storage.alias, stdout=io.StringIO())
        run_owed_work()
        assert [path.name for path in (tmp_path / "remote").iterdir()] == ["old.txt"]


class TestWhatNobodyCalls:
    @staticmethod
    def told(storage: QueuedStorage, monkeypatch: pytest.MonkeyPatch) -> list[CheckMessage]:
        monkeypatch.setattr(Plain._meta.get_field("file"), "storage", storage)
        return [each for each in run_checks(tags=["queued_storage"]) if each.id == "queued_storage.E009"]

    def test_run_of_a_task_is_told(self, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
        (message,) = self.told(build(QueuedStorage, task=Scan), monkeypatch)
        assert "Scan' has a run() of its own" in message.msg

    @pytest.mark.django_db(transaction=True)
    def test_run_of_a_task_is_not_passed_over(self, build: Build, tmp_path: Path) -> None:
        storage = build(QueuedStorage, task=Scan)
        name = storage.save("virus.exe", ContentFile(b"1"))
        run_owed_work()
        row = catalog.find(storage.alias, name)
        assert row is not None
        assert (row.state, "run() of its own" in row.last_error) == ("pending", True)
        assert not (tmp_path / "remote" / name).exists()

    def test_get_storage_is_told(self, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
        (message,) = self.told(build(RemoteFirst), monkeypatch)
        assert message.msg.startswith("RemoteFirst has a get_storage() of its own")

    def test_others_are_not_told(self, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.told(build(Public, task=Transfer), monkeypatch) == []
