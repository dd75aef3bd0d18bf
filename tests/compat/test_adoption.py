"""Files as the ancestors left them: found, read, and taken in by ``tiers transfer``; nothing lost or overwritten."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.management import call_command

from queued_storage import copying, operations
from queued_storage.backends import QueuedStorage
from queued_storage.exceptions import CopiesDiffer
from queued_storage.models import StoredFile
from queued_storage.testing import run_owed_work

from tests.compat.folders import put, read

Make = Callable[..., QueuedStorage]
pytestmark = pytest.mark.django_db(transaction=True)

#: What 0.8 left: not yet transferred, transferred, and transferred with TransferAndDelete.
LEFT = {"waiting.txt": ("local",), "dir/copied.txt": ("local", "remote"), "moved.txt": ("remote",)}
LONG_AGO = 1_400_000_000


def content(name: str) -> bytes:
    return name.encode() * 1000


@pytest.fixture
def left_by_08(tmp_path: Path) -> Path:
    for name, folders in LEFT.items():
        for folder in folders:
            put(tmp_path / folder / name, content(name))
            os.utime(tmp_path / folder / name, (LONG_AGO, LONG_AGO))
    return tmp_path


def transfer(storage: QueuedStorage, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run ``tiers transfer`` on the storage's chain; return its exit code and report."""
    out = StringIO()
    code = 0
    try:
        call_command("tiers", "transfer", "--chain", storage.alias, "--json", *arguments, stdout=out)
    except SystemExit as end:
        code = int(str(end.code))
    return code, json.loads(out.getvalue())


def asked(**states: int) -> dict[str, Any]:
    return {"asked": 3, **states, "dry_run": False, "missing": []}


def all_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("task", ["Transfer", "TransferAndDelete"])
def test_they_are_read_at_once(make_queued: Make, left_by_08: Path, task: str) -> None:
    storage = make_queued(task=f"queued_storage.tasks.{task}")
    assert {name: read(storage, name) for name in LEFT} == {name: content(name) for name in LEFT}
    assert not StoredFile.objects.exists()


def test_transfer_copies_what_was_not_copied_and_nothing_else(make_queued: Make, left_by_08: Path) -> None:
    storage = make_queued()
    untouched = {path: path.stat().st_ino for path in left_by_08.rglob("*.txt")}
    code, report = transfer(storage, "--dry-run")
    assert (code, sorted(report.pop("names"))) == (0, sorted(LEFT))
    assert report == asked(unknown=3) | {"dry_run": True}
    assert transfer(storage) == (0, asked(pending=2, settled=1))
    run_owed_work()
    everything = {name: content(name) for name in LEFT}
    assert all_in(left_by_08 / "remote") == everything
    assert {storage.state(name) for name in LEFT} == {"settled"}
    assert {path: path.stat().st_ino for path in untouched} == untouched
    assert {name: read(storage, name) for name in LEFT} == everything


def test_transfer_and_delete_frees_the_disk(make_queued: Make, left_by_08: Path) -> None:
    storage = make_queued(task="queued_storage.tasks.TransferAndDelete")
    copied = left_by_08 / "remote/dir/copied.txt"
    before = copied.stat()
    transfer(storage)
    run_owed_work()
    assert all_in(left_by_08 / "remote") == {name: content(name) for name in LEFT}
    assert all_in(left_by_08 / "local") == {}
    assert (copied.stat().st_ino, copied.stat().st_mtime) == (before.st_ino, before.st_mtime)
    assert {storage.get_modified_time(name).timestamp() for name in LEFT} == {LONG_AGO}


def test_delayed_storage_moves_what_is_asked_for(make_queued: Make, left_by_08: Path) -> None:
    storage = make_queued(delayed=True)
    assert transfer(storage, "waiting.txt")[1]["pending"] == 1
    run_owed_work()
    assert (left_by_08 / "remote/waiting.txt").read_bytes() == content("waiting.txt")


def test_task_of_the_project_is_called_for_what_was_not_copied(make_queued: Make, left_by_08: Path) -> None:
    from tests.compat.tasks import Noting

    storage = make_queued(task=Noting)
    transfer(storage)
    run_owed_work()
    assert Noting.notes == [("waiting.txt", True)]
    assert all_in(left_by_08 / "remote") == {name: content(name) for name in LEFT}
    assert not (left_by_08 / "local/waiting.txt").exists()


def test_twice_is_as_once(make_queued: Make, left_by_08: Path) -> None:
    storage = make_queued()
    transfer(storage)
    run_owed_work()
    assert transfer(storage) == (0, asked(settled=3))
    assert run_owed_work() == 0


@pytest.mark.parametrize("task", ["Transfer", "TransferAndDelete"])
@pytest.mark.parametrize("other", [b"shorter", content("dir/copied.txt")[::-1]], ids=["size", "content"])
class TestTwoFilesOfOneName:
    """0.8 could leave on the remote another file than on the disk: both are somebody's, and both stay."""

    @pytest.fixture
    def storage(self, make_queued: Make, left_by_08: Path, task: str, other: bytes) -> QueuedStorage:
        put(left_by_08 / "remote/dir/copied.txt", other)
        return make_queued(task=f"queued_storage.tasks.{task}")

    def test_g2_neither_is_touched(self, storage: QueuedStorage, left_by_08: Path, other: bytes) -> None:
        code, report = transfer(storage)
        assert (code, report["differing"], report["missing"]) == (2, ["dir/copied.txt"], [])
        run_owed_work()
        assert (left_by_08 / "local/dir/copied.txt").read_bytes() == content("dir/copied.txt")
        assert (left_by_08 / "remote/dir/copied.txt").read_bytes() == other
        assert storage.state("dir/copied.txt") is None
        assert {storage.state(name) for name in ("waiting.txt", "moved.txt")} == {"settled"}

    def test_error_says_what_to_do(self, storage: QueuedStorage) -> None:
        with pytest.raises(CopiesDiffer, match=r"'local' and 'remote' .* Delete or rename one") as caught:
            storage.transfer("dir/copied.txt")
        assert caught.value.tiers == ("local", "remote")

    def test_is_moved_once_one_of_them_is_gone(self, storage: QueuedStorage, left_by_08: Path) -> None:
        (left_by_08 / "remote/dir/copied.txt").unlink()
        transfer(storage)
        run_owed_work()
        assert storage.state("dir/copied.txt") == "settled"
        assert (left_by_08 / "remote/dir/copied.txt").read_bytes() == content("dir/copied.txt")


def test_names_of_all_are_found_on_both_sides(make_queued: Make, left_by_08: Path) -> None:
    """Each once, though nothing is in the catalog yet."""
    assert sorted(operations.names(make_queued().chain)) == sorted(LEFT)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("before", ["common_digest", "times"])
def test_g5_file_that_is_deleted_while_it_is_taken_in_stays_deleted(
    make_queued: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, known: bool
) -> None:
    storage = make_queued()
    name = storage.save("a.txt", ContentFile(b"content")) if known else "a.txt"
    if known:
        storage.delete(name)
        run_owed_work()
    for folder in ("local", "remote"):
        put(tmp_path / folder / name, b"content")
    told = getattr(copying, before)

    def while_others_delete(*arguments: Any) -> Any:
        answer = told(*arguments)
        storage.delete(name)
        run_owed_work()
        return answer

    monkeypatch.setattr(copying, before, while_others_delete)
    with pytest.raises(FileNotFoundError):
        storage.transfer(name)
    run_owed_work()
    assert (storage.exists(name), storage.state(name), storage.tiers(name)) == (False, None, [])
    assert storage.save(name, ContentFile(b"new")) == name
