"""``TRASH``: a deleted file is gone for readers at once, and its content is kept where nobody sees it."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.db import transaction

from queued_storage import catalog, committed, dispatch
from queued_storage.batch import drain
from queued_storage.models import StoredFile, TrashedFile
from queued_storage.names import is_staging
from queued_storage.retention import restore
from queued_storage.storage import TieredStorage
from queued_storage.testing import faulty
from queued_storage.testing.faulty import Call, Crash

from tests.base_settings import DISK
from tests.support.clock import Clock

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["queued_storage"])

DAY = 86_400.0
OLD, NEW = b"old " * 100, b"newer " * 100


class RolledBack(Exception):
    """Ends a transaction of a test."""


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    faulty.forget_all()


def save(storage: TieredStorage, content: bytes = OLD, name: str = "a.txt") -> str:
    return storage.save(name, ContentFile(content))


def read(storage: TieredStorage, name: str = "a.txt") -> bytes:
    with storage.open(name) as file:
        data: bytes = file.read()
        return data


def work() -> None:
    for _ in drain(own_process=False):
        pass


def entry() -> TrashedFile:
    return TrashedFile.objects.get()


def kept(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and is_staging(path.name)]


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and not is_staging(path.name))


def overwriting(tmp_path: Path) -> dict[str, Any]:
    options = {"location": str(tmp_path / "disk"), "allow_overwrite": True}
    return {"disk": {"BACKEND": DISK, "OPTIONS": options}, "vault": "disk"}


# ---- what readers see ----


@pytest.mark.parametrize("moved", [False, True])
def test_g5_deleted_file_is_gone_for_readers_and_can_be_brought_back(make, tmp_path, moved):
    storage = make()
    save(storage)
    if moved:
        work()
    storage.delete("a.txt")
    assert not storage.exists("a.txt")
    assert storage.listdir("") == ([], [])
    assert storage.state("a.txt") is None
    with pytest.raises(FileNotFoundError):
        storage.open("a.txt")
    assert visible(tmp_path) == []
    assert restore(storage, entry()) == "a.txt"
    work()
    assert read(storage) == OLD
    assert storage.state("a.txt") == "settled"
    assert storage.tiers("a.txt") == ["vault"]
    assert not TrashedFile.objects.exists()
    assert kept(tmp_path) == []


def test_restored_file_has_what_was_known_of_it(make):
    storage = make()
    with transaction.atomic():
        content = ContentFile(OLD)
        content.content_type = "text/x-old"  # type: ignore[attr-defined]
        storage.save("a/b.txt", content)
    work()
    before = StoredFile.objects.get()
    storage.delete("a/b.txt")
    restore(storage, entry())
    after = catalog.find("media", "a/b.txt")
    assert after is not None
    for fact in ("size", "digest", "content_type", "saved_at", "modified_at", "policy", "tiers", "state"):
        assert getattr(after, fact) == getattr(before, fact), fact
    assert after.generation > before.generation


def test_trash_on_a_disk_takes_no_copy(make, tmp_path):
    storage = make()
    save(storage)
    number = os.stat(tmp_path / "disk" / "a.txt").st_ino
    storage.delete("a.txt")
    (path,) = kept(tmp_path)
    assert (path.parent, os.stat(path).st_ino) == (tmp_path / "disk", number)
    restore(storage, entry())
    assert os.stat(tmp_path / "disk" / "a.txt").st_ino == number


def test_trash_goes_to_the_disk_that_has_the_file_else_to_the_lowest_tier(make, tmp_path):
    storage = make({"disk": "disk", "middle": "memory", "low": "memory"}, policy="transfer")
    save(storage)
    work()
    storage.delete("a.txt")
    assert entry().tier == "disk"
    storage = make({"near": "memory", "middle": "memory", "low": "memory"}, policy="transfer")
    TrashedFile.objects.all().delete()
    save(storage, name="b.txt")
    work()
    storage.delete("b.txt")
    assert entry().tier == "low"


def test_delete_that_is_rolled_back_keeps_the_file_and_no_trash(make, tmp_path):
    storage = make()
    save(storage)
    with suppress(RolledBack), transaction.atomic():
        storage.delete("a.txt")
        assert not storage.exists("a.txt")
        raise RolledBack
    assert read(storage) == OLD
    assert not TrashedFile.objects.exists()
    assert kept(tmp_path) == []
    work()
    assert storage.state("a.txt") == "settled"


def test_chain_without_trash_keeps_nothing(make_chain, tmp_path):
    storage = make_chain()
    save(storage)
    storage.delete("a.txt")
    assert not TrashedFile.objects.exists()
    assert list(tmp_path.rglob("*.*")) == []


def test_file_that_the_catalog_does_not_know_goes_to_the_trash(make, tmp_path):
    storage = make()
    (tmp_path / "vault").mkdir()
    (tmp_path / "vault" / "a.txt").write_bytes(OLD)
    storage.delete("a.txt")
    assert visible(tmp_path) == []
    restore(storage, entry())
    assert (read(storage), storage.size("a.txt")) == (OLD, len(OLD))


def test_deleting_what_is_not_there_leaves_no_trash(make):
    storage = make()
    storage.delete("a.txt")
    assert not TrashedFile.objects.exists()


def test_file_on_a_read_only_tier_alone_is_copied_off_it(make, tmp_path):
    archive = {"BACKEND": DISK, "OPTIONS": {"location": str(tmp_path / "archive")}, "READ_ONLY": True}
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "a.txt").write_bytes(OLD)
    storage = make({"disk": "disk", "archive": archive}, policy="delayed")
    storage.delete("a.txt")
    work()
    assert not storage.exists("a.txt")
    assert entry().tier == "disk"
    restore(storage, entry())
    assert read(storage) == OLD
    assert storage.tiers("a.txt") == ["disk"]


# ---- its end ----


def test_trash_is_purged_by_the_sweep_when_its_time_is_over(make, tmp_path, clock: Clock):
    storage = make()
    save(storage)
    storage.delete("a.txt")
    clock.shift(6 * DAY)
    dispatch.sweep()
    assert len(kept(tmp_path)) == 1
    clock.shift(2 * DAY)
    dispatch.sweep()
    work()
    assert kept(tmp_path) == []
    assert not TrashedFile.objects.exists()


def test_purge_is_owed_where_the_tier_is_down(make, clock: Clock):
    storage = make({"near": "memory", "far": faulty.tier("far")})
    save(storage)
    work()
    storage.delete("a.txt")
    assert entry().tier == "far"
    clock.shift(8 * DAY)
    faulty.bucket("far").go_down()
    dispatch.sweep()
    work()
    assert len(faulty.bucket("far").files) == 1
    faulty.bucket("far").heal()
    clock.shift(2 * 3600)
    work()
    assert faulty.bucket("far").files == {}


def test_purge_tells_nobody_of_a_deleted_file(make, clock: Clock, monkeypatch):
    from queued_storage import signals

    told: list[str] = []
    signals.file_deleted.connect(lambda name, **_: told.append(name), weak=False, dispatch_uid="trash-test")
    try:
        storage = make()
        save(storage)
        storage.delete("a.txt")
        clock.shift(8 * DAY)
        dispatch.sweep()
        work()
    finally:
        signals.file_deleted.disconnect(dispatch_uid="trash-test")
    assert told == ["a.txt"]


def test_gc_leaves_the_trash_alone_whatever_its_age(make, tmp_path):
    storage = make()
    save(storage)
    os.utime(tmp_path / "disk" / "a.txt", (1, 1))
    storage.delete("a.txt")
    for age in ("-5", "86400"):
        call_command("tiers", "gc", "--older-than", age, stdout=io.StringIO())
    assert len(kept(tmp_path)) == 1


def test_gc_leaves_a_link_alone_that_is_about_to_be_recorded(make, tmp_path):
    """A second name does not change the time of the content, which may be years ago."""
    make()
    name = ".0123456789abcdef0123456789abcdef.queued-storage.trash.txt"
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "old.bin").write_bytes(OLD)
    os.utime(tmp_path / "disk" / "old.bin", (1, 1))
    os.link(tmp_path / "disk" / "old.bin", tmp_path / "disk" / name)
    call_command("tiers", "gc", "--older-than", "3600", stdout=io.StringIO())
    assert (tmp_path / "disk" / name).exists()
    call_command("tiers", "gc", "--older-than", "-5", stdout=io.StringIO())
    assert not (tmp_path / "disk" / name).exists()


# ---- a name that is taken again ----


def test_g6_new_save_takes_the_name_and_the_old_one_is_restored_under_another(make, tmp_path):
    storage = make()
    save(storage)
    storage.delete("a.txt")
    assert save(storage, NEW) == "a.txt"
    old = entry()
    with pytest.raises(Exception, match=r"is taken.*--rename"):
        restore(storage, old)
    assert read(storage) == NEW
    name = restore(storage, old, rename=True)
    assert (read(storage), read(storage, name)) == (NEW, OLD)
    work()
    assert (read(storage), read(storage, name)) == (NEW, OLD)


def test_several_deleted_files_of_one_name_are_kept_apart(make):
    storage = make()
    for content in (b"1", b"22", b"333"):
        save(storage, content)
        storage.delete("a.txt")
    names = [restore(storage, each, rename=True) for each in list(TrashedFile.objects.order_by("pk"))]
    assert [read(storage, name) for name in names] == [b"1", b"22", b"333"]


@pytest.mark.parametrize("moved", [False, True])
def test_g6_overwriting_chain_keeps_what_was_deleted_a_moment_ago(make, tmp_path, moved):
    storage = make(overwriting(tmp_path))
    save(storage)
    if moved:
        work()
    with transaction.atomic():
        storage.delete("a.txt")
        save(storage, NEW)
        assert read(storage) == NEW
    assert read(storage) == NEW
    work()
    assert read(storage) == NEW
    name = restore(storage, entry(), rename=True)
    work()
    assert (read(storage), read(storage, name)) == (NEW, OLD)


@pytest.mark.parametrize("moved", [False, True])
def test_g6_name_is_taken_before_who_deleted_came_to_clear_it(make, tmp_path, moved, monkeypatch):
    """The process died after its commit; on an overwriting chain the next save does not wait for a worker."""
    storage = make(overwriting(tmp_path))
    save(storage)
    if moved:
        work()
    monkeypatch.setattr(committed._Clearing, "run", lambda self: None)
    storage.delete("a.txt")
    monkeypatch.undo()
    save(storage, NEW)
    work()
    assert read(storage) == NEW
    name = restore(storage, entry(), rename=True)
    work()
    assert (read(storage), read(storage, name)) == (NEW, OLD)


def test_rolled_back_replacement_of_a_deleted_name_loses_neither(make, tmp_path, monkeypatch):
    storage = make(overwriting(tmp_path))
    save(storage)
    monkeypatch.setattr(committed._Clearing, "run", lambda self: None)
    storage.delete("a.txt")
    monkeypatch.undo()
    with suppress(RolledBack), transaction.atomic():
        save(storage, NEW)
        raise RolledBack
    work()
    assert not storage.exists("a.txt")
    restore(storage, entry())
    assert read(storage) == OLD


def test_replaced_content_does_not_go_to_the_trash(make, tmp_path):
    storage = make(overwriting(tmp_path))
    save(storage)
    save(storage, NEW)
    work()
    assert not TrashedFile.objects.exists()


# ---- crashes and workers that come late ----


def test_g2_who_deleted_died_after_the_commit(make, tmp_path, monkeypatch):
    storage = make()
    save(storage)
    monkeypatch.setattr(committed._Clearing, "run", lambda self: None)
    storage.delete("a.txt")
    monkeypatch.undo()
    assert not entry().is_kept
    work()
    restore(storage, entry())
    assert read(storage) == OLD


def test_restore_does_first_what_is_owed_to_the_trash(make, monkeypatch):
    storage = make()
    save(storage)
    monkeypatch.setattr(committed._Clearing, "run", lambda self: None)
    storage.delete("a.txt")
    monkeypatch.undo()
    restore(storage, entry())
    assert read(storage) == OLD


@pytest.mark.parametrize("method", ["open", "save", "delete", "size"])
@pytest.mark.parametrize("when", [faulty.crash, faulty.crash_afterwards])
def test_g2_worker_killed_at_any_step_loses_nothing(make, clock: Clock, method, when):
    """The file lies on a server alone that can neither link nor copy: every step is a call of its own."""
    storage = make({"near": "memory", "far": faulty.tier("far")})
    save(storage)
    work()
    with faulty.bucket("far").failing(method, when), suppress(Crash):
        storage.delete("a.txt")
    for _ in range(3):
        clock.shift(3600)
        with suppress(Crash):
            work()
    assert not storage.exists("a.txt")
    assert len(faulty.bucket("far").files) >= 1
    restore(storage, entry())
    work()
    assert read(storage) == OLD


@pytest.mark.parametrize("method", ["open", "save", "delete", "size"])
@pytest.mark.parametrize("when", [faulty.crash, faulty.crash_afterwards, faulty.refuse])
def test_g2_restore_that_ends_at_any_step_can_be_done_again(make, clock: Clock, method, when):
    storage = make({"near": "memory", "far": faulty.tier("far")})
    save(storage)
    work()
    storage.delete("a.txt")
    before = entry()
    with faulty.bucket("far").failing(method, when), suppress(Crash, Exception):
        restore(storage, before)
    for _ in range(3):
        clock.shift(3600)
        work()
    if not storage.exists("a.txt"):
        assert restore(storage, entry()) == "a.txt"
    work()
    assert read(storage) == OLD
    assert not TrashedFile.objects.exists()


def test_g6_worker_that_wakes_up_late_puts_no_newer_content_into_the_trash(make, clock: Clock):
    """It had claimed the deleted file and stopped before its copy; others kept it, and a new file took the name."""
    storage = make({"near": "memory", "far": faulty.tier("far")})
    save(storage)
    work()
    paused, wakes = threading.Event(), threading.Event()

    def hold(call: Call) -> Any:
        paused.set()
        assert wakes.wait(20)
        return call.proceed()

    with transaction.atomic():
        storage.delete("a.txt")
        pk = StoredFile.objects.get().pk
        committed_ = transaction.get_connection().run_on_commit
        committed_.clear()  # the process died
    bucket = faulty.bucket("far")
    bucket.on("open", hold, calls=[1])
    from tests.ancestors.storages import in_thread

    with in_thread(pk, wakes.set):
        assert paused.wait(20)
        clock.shift(2 * DAY / 48)
        for _ in range(4):
            work()
            clock.shift(3600)
        assert save(storage, NEW[: len(OLD)]) == "a.txt"  # as long, so that a look at the size tells nothing
        work()
        clock.shift(3600)
        work()
    clock.shift(3600)
    work()
    assert read(storage) == NEW[: len(OLD)]
    name = restore(storage, entry(), rename=True)
    work()
    assert (read(storage), read(storage, name)) == (NEW[: len(OLD)], OLD)


def test_g6_each_attempt_keeps_by_a_name_of_its_own(make):
    """What one writes that sleeps between two looks at its lease is not what another has recorded."""
    storage = make()
    save(storage)
    storage.delete("a.txt")
    old = entry()
    tokens = [old.token_for(1), old.token_for(2), old.token_for(2, near=True)]
    assert len(set(tokens)) == 3
    assert tokens == [old.token_for(1), old.token_for(2), old.token_for(2, near=True)]


def test_two_who_restore_one_file_bring_it_back_once(make, monkeypatch):
    from queued_storage.retention import restoring

    storage = make()
    save(storage)
    storage.delete("a.txt")
    old = entry()
    begun = restoring.catalog.begin_restore

    def quicker(*arguments: Any) -> StoredFile:
        monkeypatch.undo()
        assert restore(storage, old, "b.txt") == "b.txt"
        return begun(*arguments)

    monkeypatch.setattr(restoring.catalog, "begin_restore", quicker)
    with pytest.raises(Exception, match="not in the trash any more"):
        restore(storage, old, "c.txt")
    work()
    assert storage.listdir("")[1] == ["b.txt"]
    assert read(storage, "b.txt") == OLD
    assert save(storage, NEW, "c.txt") == "c.txt"


def test_g6_save_that_is_quicker_than_a_restore_keeps_its_name(make, monkeypatch):
    from queued_storage.retention import restoring

    storage = make()
    save(storage)
    storage.delete("a.txt")
    old, begun = entry(), restoring.catalog.begin_restore

    def later(*arguments: Any) -> StoredFile:
        assert save(storage, NEW) == "a.txt"
        work()
        return begun(*arguments)

    monkeypatch.setattr(restoring.catalog, "begin_restore", later)
    with pytest.raises(Exception, match="is taken"):
        restore(storage, old)
    work()
    assert read(storage) == NEW
    assert entry().is_kept


def test_g2_name_that_is_deleted_while_it_is_brought_back_loses_nothing(make, monkeypatch):
    from queued_storage.retention import restoring

    storage = make()
    save(storage)
    storage.delete("a.txt")
    record = restoring.catalog.record_restored

    def later(*arguments: Any) -> None:
        storage.delete("a.txt")
        record(*arguments)

    monkeypatch.setattr(restoring.catalog, "record_restored", later)
    with pytest.raises(Exception, match="deleted again"):
        restore(storage, entry())
    monkeypatch.undo()
    work()
    restore(storage, entry())
    work()
    assert read(storage) == OLD


def test_purge_in_the_middle_of_a_restore_waits(make, clock: Clock, monkeypatch, tmp_path):
    from queued_storage.retention import restoring

    storage = make()
    save(storage)
    storage.delete("a.txt")
    clock.shift(7 * DAY - 1)
    duplicate = restoring.duplicate

    def slow(*arguments: Any, **options: Any) -> int:
        clock.shift(60)
        dispatch.sweep()
        work()
        return duplicate(*arguments, **options)

    monkeypatch.setattr(restoring, "duplicate", slow)
    restore(storage, entry())
    assert read(storage) == OLD


def test_file_that_nobody_knows_and_took_the_name_is_left_alone(make, tmp_path, monkeypatch):
    from queued_storage.retention import restoring

    storage = make()
    save(storage)
    storage.delete("a.txt")
    monkeypatch.setattr(restoring, "_is_free", lambda storage, name: True)
    (tmp_path / "disk" / "a.txt").write_bytes(NEW)
    with pytest.raises(Exception, match="has another file of this name"):
        restore(storage, entry())
    work()
    assert (tmp_path / "disk" / "a.txt").read_bytes() == NEW
    assert entry().is_kept


# ---- what a tier that is down means ----


def test_g8_delete_does_not_wait_for_a_tier_that_is_down(make, clock: Clock):
    storage = make({"near": "memory", "far": faulty.tier("far")})
    save(storage)
    work()
    faulty.bucket("far").go_down()
    storage.delete("a.txt")
    assert not storage.exists("a.txt")
    with pytest.raises(Exception, match="is not in the trash yet"):
        restore(storage, entry())
    faulty.bucket("far").heal()
    clock.shift(3600)
    work()
    restore(storage, entry())
    assert read(storage) == OLD


def test_unmounted_disk_is_not_taken_for_one_without_the_file(make, tmp_path, clock: Clock):
    storage = make(["disk", "vault"])
    save(storage)
    work()
    (tmp_path / "vault").rename(tmp_path / "away")
    storage.delete("a.txt")
    work()
    assert not entry().is_kept
    (tmp_path / "away").rename(tmp_path / "vault")
    clock.shift(2 * 3600)
    work()
    restore(storage, entry())
    assert read(storage) == OLD


def test_copy_that_is_gone_is_kept_from_another_tier(make, tmp_path):
    storage = make(["disk", "vault"], policy="transfer")
    save(storage)
    work()
    (tmp_path / "disk" / "a.txt").unlink()
    storage.delete("a.txt")
    assert entry().tier == "vault"


# ---- three databases ----


@pytest.mark.parametrize("first", ["disk", "overwriting"])
def test_whole_life_on_each_database(catalog_db, make, tmp_path, first):
    storage = make(overwriting(tmp_path) if first == "overwriting" else ("disk", "vault"))
    save(storage)
    work()
    with transaction.atomic(using=catalog_db):
        storage.delete("a.txt")
        save(storage, NEW, "b.txt")
    save(storage, NEW)
    work()
    old = TrashedFile.objects.get()
    name = restore(storage, old, rename=True)
    work()
    assert (read(storage), read(storage, name), read(storage, "b.txt")) == (NEW, OLD, NEW)
    storage.delete(name)
    TrashedFile.objects.update(until=TrashedFile.objects.get().deleted_at)
    assert dispatch.sweep() >= 1
    work()
    assert kept(tmp_path) == []
