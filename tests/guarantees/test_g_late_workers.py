"""Workers that stop between two steps of a copy for longer than their lease and then go on, or die there.

"far" is an object store, which gives a second file of a name that name, or a tier that gives it another, or a disk.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress

import pytest
from django.core.files.base import ContentFile

from queued_storage import disk
from queued_storage.models import StoredFile

from tests.ancestors.storages import SLOW, in_thread, object_store
from tests.base_settings import DISK
from tests.support import faulty, recording

pytestmark = [
    pytest.mark.django_db(transaction=True, available_apps=["queued_storage"]),
    pytest.mark.usefixtures("by_hand"),
]

LEASE, HOUR = 300, 3600
CONTENT = bytes(range(256)) * 400
NEW = CONTENT[::-1]  # as long, so that a look at the size tells nothing


@pytest.fixture
def far():
    return faulty.bucket("far")


@pytest.fixture
def make(make_chain, tmp_path):
    """Make a chain whose first tier overwrites."""

    def make(far):
        near = {"BACKEND": DISK, "OPTIONS": {"location": str(tmp_path / "near"), "allow_overwrite": True}}
        return make_chain({"near": near, "far": far}, policy="transfer-and-delete")

    return make


def save(storage, content=CONTENT):
    return storage.save("a.txt", ContentFile(content))


def read(storage):
    with storage.open("a.txt") as file:
        return file.read()


def rest(clock):
    for _ in range(6):
        recording.work()
        clock.shift(HOUR)


@contextmanager
def worker_paused_in(bucket, method):
    """A worker that stopped in its first call of this method, and goes on after the block."""
    pk, paused, wakes = StoredFile.objects.get().pk, threading.Event(), threading.Event()

    def hold(call):
        paused.set()
        assert wakes.wait(20)
        return call.proceed()

    bucket.on(method, hold, calls=[1])
    with in_thread(pk, wakes.set):
        assert paused.wait(20)
        yield


@contextmanager
def worker_paused_before_its_rename(monkeypatch):
    """A worker that has staged its copy, has asked whether the file is still its own, and stopped there."""
    pk, paused, wakes = StoredFile.objects.get().pk, threading.Event(), threading.Event()
    publish = disk.Staged.publish

    def hold(self, name, *, overwrite):
        if threading.current_thread().name == SLOW:
            paused.set()
            assert wakes.wait(20)
        publish(self, name, overwrite=overwrite)

    monkeypatch.setattr(disk.Staged, "publish", hold)
    with in_thread(pk, wakes.set):
        assert paused.wait(20)
        yield


@pytest.mark.parametrize("pause", [LEASE + 1, 24 * HOUR])
@pytest.mark.parametrize("method", ["exists", "save", "size"])
@pytest.mark.parametrize("kind", ["renaming", "object store"])
def test_g2_worker_that_wakes_up_after_another_finished_takes_nothing_away(
    make, far, clock, kind, method, pause
):
    if (kind, method) == ("object store", "exists"):
        pytest.skip("nobody asks whether the name is taken where that does not matter")
    chain = make(object_store("far") if kind == "object store" else faulty.tier("far"))
    save(chain)
    with worker_paused_in(far, method):
        clock.shift(pause)
        recording.work()
        assert read(chain) == CONTENT
    for _ in range(4):
        assert read(chain) == CONTENT
        recording.work()
        clock.shift(HOUR)
    assert (chain.tiers("a.txt"), far.files) == (["far"], {"a.txt": CONTENT})


def test_g2_release_of_what_was_just_replaced_deletes_nothing(make, far, clock):
    """The new content comes between the last look at the copy that stays and the removal."""
    chain = make(object_store("far"))
    save(chain)

    def replaced_meanwhile(call):
        far.heal()
        size = call.proceed()
        save(chain, NEW)
        return size

    far.on("size", replaced_meanwhile, calls=[2])  # the first is that of the copy
    recording.work()
    assert read(chain) == NEW
    rest(clock)
    assert (read(chain), far.files) == (NEW, {"a.txt": NEW})


def test_g5_put_of_a_dead_worker_that_lands_after_the_delete(make, far, clock):
    """Nobody lives who would undo it: the tombstone waits until such a call must have ended, and clears again."""
    chain = make(object_store("far"))
    save(chain)
    far.on("save", faulty.crash, calls=[1])
    with suppress(faulty.Crash):
        recording.work()
    chain.delete("a.txt")
    clock.shift(LEASE + 1)
    recording.work()  # all tiers are clear now, and the name must not be free yet
    far.files["a.txt"] = CONTENT
    assert not chain.exists("a.txt")
    rest(clock)
    assert (far.files, chain.exists("a.txt")) == ({}, False)


def test_g6_put_of_a_dead_worker_that_lands_after_the_new_copy(make, far, clock):
    """The source of the new content waits until such a call must have ended, and the copy is looked at again."""
    chain = make(object_store("far"))
    save(chain)
    far.on("save", faulty.crash, calls=[1])
    with suppress(faulty.Crash):
        recording.work()
    save(chain, NEW)
    clock.shift(LEASE + 1)
    recording.work()
    assert far.files == {"a.txt": NEW}
    far.files["a.txt"] = CONTENT
    assert read(chain) == NEW
    rest(clock)
    assert (read(chain), far.files) == (NEW, {"a.txt": NEW})


@pytest.mark.parametrize("pause", [LEASE + 1, 24 * HOUR])
def test_g6_worker_paused_before_its_rename_publishes_nothing(make, clock, monkeypatch, tmp_path, pause):
    chain = make("disk")
    save(chain)
    with worker_paused_before_its_rename(monkeypatch):
        save(chain, NEW)
        clock.shift(pause)
        recording.work()
        assert read(chain) == NEW
    assert (tmp_path / "far/a.txt").read_bytes() == NEW
    rest(clock)
    assert (read(chain), chain.tiers("a.txt")) == (NEW, ["far"])


def test_g5_worker_paused_before_its_rename_brings_nothing_back(make, clock, monkeypatch, tmp_path):
    chain = make("disk")
    save(chain)
    with worker_paused_before_its_rename(monkeypatch):
        chain.delete("a.txt")
    assert not (tmp_path / "far/a.txt").exists()
    rest(clock)
    assert not chain.exists("a.txt")
