"""Each guarantee, shown as shortly as it can be; ``docs/explanation/guarantees.rst`` says what each rests on.

"near" is a disk, "far" an object store; a file goes from the one to the other.
"""

from __future__ import annotations

import io
import os
import time
import tracemalloc
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from django.core.files.base import ContentFile, File
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction

from queued_storage import catalog, dispatch, operations
from queued_storage.exceptions import CustodyError, LeaseLost
from queued_storage.models import StoredFile
from queued_storage.reconcile import reconcile
from queued_storage.signals import file_transferred

from tests.ancestors.storages import object_store, worker_in_mid_put
from tests.base_settings import DISK
from tests.guarantees.storages import SmallDisk, TypedStore, typed_store
from tests.support import faulty, recording, remote
from tests.support.recording import RecordingDispatcher
from tests.support.waiting import within

pytestmark = [
    pytest.mark.django_db(transaction=True, available_apps=["queued_storage"]),
    pytest.mark.usefixtures("by_hand"),
]

HOUR = 3600
LEASE = 300
CONTENT = bytes(range(256)) * 400
LARGE = CONTENT * 12  # what is smaller is read before anything of it is written
NEW = CONTENT[::-1]  # as long, so that a look at the size tells nothing
MEBIBYTE = 1 << 20


@pytest.fixture
def far():
    """What the object store holds."""
    return faulty.bucket("far")


@pytest.fixture
def chain(make_chain):
    return make_chain({"near": "disk", "far": object_store("far")}, policy="transfer-and-delete")


@pytest.fixture
def overwriting(make_chain, tmp_path):
    """The same, where a second save of a name replaces the first."""
    near = {"BACKEND": DISK, "OPTIONS": {"location": str(tmp_path / "near"), "allow_overwrite": True}}
    return make_chain({"near": near, "far": object_store("far")}, policy="transfer-and-delete")


def save(storage, content=CONTENT, name="a.txt"):
    return storage.save(name, ContentFile(content))


def read(storage, name="a.txt"):
    with storage.open(name) as file:
        return file.read()


def files_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def rest(clock):
    for _ in range(6):
        recording.work()
        clock.shift(HOUR)


def test_g1_content_is_readable_at_every_step_of_a_move(chain, far):
    """Before and after each call that the engine makes to the lower tier, a reader gets the whole content."""
    save(chain)
    reads = []

    def look(call):
        far.heal()  # the reader's own calls are not looked at
        reads.append(read(chain))
        answer = call.proceed()
        reads.append(read(chain))
        watch()
        return answer

    def watch():
        for method in ("exists", "save", "size", "delete"):
            far.on(method, look)

    watch()
    recording.work()
    assert chain.tiers("a.txt") == ["far"]
    assert len(reads) >= 4
    assert set(reads) == {CONTENT}


def test_g1_reader_follows_a_file_that_moves_on(make_chain):
    """It goes from the tier that the catalog named, between the catalog's answer and the look there."""
    chain = make_chain({"near": faulty.tier("near"), "far": faulty.tier("far")}, policy="transfer-and-delete")
    near = faulty.bucket("near")
    save(chain)

    def moves_meanwhile(call):
        if near.calls["open"] == 1:
            raise FileNotFoundError(call.name)  # the reader asks the catalog
        near.heal()
        recording.work()
        return call.proceed()

    near.on("open", moves_meanwhile)
    assert read(chain) == CONTENT
    assert chain.tiers("a.txt") == ["far"]


def test_g2_catalog_lets_no_last_copy_go(chain):
    save(chain)
    row = catalog.claim(StoredFile.objects.get().pk)
    with pytest.raises(CustodyError):
        catalog.record_release(row, "near", cleared=True)
    assert StoredFile.objects.get().tiers == ["near"]


@pytest.mark.parametrize("change", [dict.clear, lambda files: files.update({"a.txt": b"torn"})])
def test_g2_source_stays_until_the_copy_is_seen_again(make_chain, settings, far, clock, change):
    """The copy was verified when it was made; it is looked at once more before the source goes."""
    policy = {"BACKEND": "transfer-and-delete", "OPTIONS": {"keep": HOUR}}
    settings.QUEUED_STORAGE_POLICIES = {"grace": policy}
    chain = make_chain({"near": "disk", "far": object_store("far")}, policy="grace")
    save(chain)
    recording.work()
    change(far.files)
    clock.shift(HOUR + 1)
    recording.work()
    assert read(chain) == CONTENT


@pytest.mark.parametrize("ending", [faulty.cut, faulty.lie, faulty.cut_and_fail, faulty.rename])
def test_g2_destination_that_lies_costs_nothing(chain, far, clock, ending):
    save(chain)
    far.on("save", ending, calls=[1])
    recording.work()
    assert read(chain) == CONTENT
    rest(clock)
    assert (read(chain), far.files.get("a.txt")) == (CONTENT, CONTENT)


@pytest.mark.parametrize("ending", [faulty.cut, faulty.lie])
def test_g2_copy_counts_once_it_was_verified(make_chain, far, clock, ending):
    chain = make_chain({"near": "disk", "far": object_store("far")}, policy="transfer")
    save(chain)
    far.on("save", ending, calls=[1])
    recording.work()
    assert chain.tiers("a.txt") == ["near"]
    rest(clock)
    assert (chain.tiers("a.txt"), far.files) == (["near", "far"], {"a.txt": CONTENT})


def test_g3_file_that_cannot_move_is_counted_and_says_why(chain, far, clock):
    far.on("save", faulty.refuse)
    save(chain)
    for _ in range(12):
        recording.work()
        clock.shift(24 * HOUR)
    status = operations.status("media")
    assert status.pending + status.failed == 1
    assert "tier 'far': ConnectionError" in StoredFile.objects.get().last_error


def test_g3_file_that_kills_its_workers_ends_as_failed(chain, far, clock, settings):
    """Attempts are counted before their work, so one that cannot say how it ended counts too."""
    settings.QUEUED_STORAGE_RETRIES = 2
    far.on("save", faulty.crash)
    save(chain)
    for _ in range(6):
        with suppress(faulty.Crash):
            recording.work()
        clock.shift(24 * HOUR)
    assert chain.state("a.txt") == "failed"
    assert "3 attempts" in StoredFile.objects.get().last_error


def test_g3_lost_message_is_found_by_the_sweep(chain):
    save(chain)
    RecordingDispatcher.calls.clear()
    assert dispatch.sweep() == 1
    assert RecordingDispatcher.calls == [[StoredFile.objects.get().pk]]


def test_g4_nothing_is_seen_of_a_copy_under_way(make_chain, slow_disk, tmp_path):
    chain = make_chain({"near": slow_disk.tier(), "far": "disk"}, policy="transfer-and-delete")
    save(chain, LARGE)
    with slow_disk.worker_in_mid_copy():
        assert "a.txt" not in files_in(tmp_path / "far")
        assert chain.listdir("") == ([], ["a.txt"])
        assert read(chain) == LARGE
    assert files_in(tmp_path / "far") == ["a.txt"]


def test_g4_content_that_waits_for_its_commit_is_in_no_listing(overwriting):
    save(overwriting)
    with transaction.atomic():
        save(overwriting, NEW)
        assert overwriting.listdir("") == ([], ["a.txt"])
    assert overwriting.listdir("") == ([], ["a.txt"])


class Breaking(ContentFile):
    """An upload that breaks off."""

    def chunks(self, chunk_size=None):
        yield b"the first half"
        raise ConnectionError("the client went away")


def test_g4_save_that_breaks_off_leaves_nothing(chain, tmp_path):
    with pytest.raises(ConnectionError):
        chain.save("a.txt", Breaking(CONTENT))
    assert (chain.exists("a.txt"), files_in(tmp_path / "near"), StoredFile.objects.count()) == (False, [], 0)


def test_g4_full_disk_is_told_and_leaves_nothing(chain, tmp_path):
    class Full(ContentFile):
        def chunks(self, chunk_size=None):
            yield b"the first half"
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        chain.save("a.txt", Full(CONTENT))
    assert (chain.exists("a.txt"), files_in(tmp_path / "near")) == (False, [])


@pytest.fixture
def spilling(make_chain, settings, monkeypatch, tmp_path):
    """A chain that may SPILL, with a first tier that overwrites, and that is full once ``fill()`` was called."""
    options = {"location": str(tmp_path / "near"), "allow_overwrite": True}
    near = {"BACKEND": "tests.guarantees.storages.SmallDisk", "OPTIONS": options}
    chain = make_chain({"near": near, "far": object_store("far")}, policy="transfer-and-delete")
    settings.QUEUED_STORAGE_TIERS = {"media": settings.QUEUED_STORAGE_TIERS["media"] | {"SPILL": True}}
    chain.fill = lambda: monkeypatch.setattr(SmallDisk, "is_full", True)
    return chain


class ReadableOnce(io.RawIOBase):
    def __init__(self, content):
        self.rest = io.BytesIO(content)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self.rest.readinto(buffer)


@pytest.mark.parametrize("make", [ContentFile, lambda data: File(ReadableOnce(data), "a.txt")])
def test_g4_spilled_content_is_whole(spilling, far, make):
    """The full tier has read a part of it already."""
    spilling.fill()
    name = spilling.save("a.txt", make(CONTENT))
    assert (spilling.tiers(name), read(spilling, name), far.files) == (["far"], CONTENT, {name: CONTENT})


def test_g6_content_that_replaces_other_does_not_spill(spilling, clock):
    """Readers ask the first tier without the catalog, and would go on to get the old content."""
    save(spilling)
    spilling.fill()
    with pytest.raises(OSError, match="No space left"):
        save(spilling, NEW)
    assert read(spilling) == CONTENT
    rest(clock)
    assert read(spilling) == CONTENT


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to see what is synced")
def test_g4_bytes_are_on_the_disk_before_the_source_goes(make_chain, tmp_path, monkeypatch):
    """File and directory of a destination are synced while the source is still there."""
    chain = make_chain(["near", "far"], policy="transfer-and-delete")
    save(chain)
    synced, original = [], os.fsync

    def note(descriptor):
        target = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append("directory" if target == tmp_path / "far" else "file" if target.is_file() else "parent")
        assert files_in(tmp_path / "near") == ["a.txt"]
        original(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    recording.work()
    assert {"file", "directory"} <= set(synced)
    assert synced.index("file") < max(i for i, what in enumerate(synced) if what == "directory")
    assert files_in(tmp_path / "near") == []


def test_g5_late_copy_of_a_deleted_file_is_undone(chain, far, clock):
    save(chain)
    with worker_in_mid_put(far):
        chain.delete("a.txt")
    assert not chain.exists("a.txt")
    rest(clock)
    assert (far.files, chain.exists("a.txt")) == ({}, False)


def test_g5_tier_that_is_down_is_cleared_later(chain, far, clock, tmp_path):
    save(chain)
    recording.work()
    far.on("delete", faulty.refuse)
    chain.delete("a.txt")
    assert not chain.exists("a.txt")
    for _ in range(20):
        recording.work()
        clock.shift(24 * HOUR)
    far.heal()
    rest(clock)
    assert far.files == {}


def test_g6_newest_save_wins_over_a_late_copy(overwriting, far, clock):
    save(overwriting)
    with worker_in_mid_put(far):
        save(overwriting, NEW)
        clock.shift(LEASE + 1)
        recording.work()
    rest(clock)
    assert (read(overwriting), far.files) == (NEW, {"a.txt": NEW})


def test_g6_attempt_that_lost_its_lease_changes_no_row(overwriting):
    save(overwriting)
    row = catalog.claim(StoredFile.objects.get().pk)
    save(overwriting, NEW)
    before = StoredFile.objects.values().get()
    with pytest.raises(LeaseLost):
        catalog.record_copy(row, overwriting.chain, "far", size=len(CONTENT), digest="")
    assert StoredFile.objects.values().get() == before


def test_g6_long_copy_keeps_its_lease(make_chain, settings):
    """The lease is renewed while bytes flow, so a copy that takes longer than it is not taken over."""
    settings.QUEUED_STORAGE_LEASE = 1
    chain = make_chain(
        {"near": faulty.tier("near"), "far": object_store("far")}, policy="transfer-and-delete"
    )
    save(chain)
    pk, taken_over = StoredFile.objects.get().pk, []

    class Slow(ContentFile):
        def read(self, *size):
            time.sleep(0.08)
            taken_over.append(reconcile(pk))
            return self.file.read(len(CONTENT) // 20)

    faulty.bucket("near").on("open", lambda call: Slow(call.proceed().read(), call.name), calls=[1])
    assert reconcile(pk)
    assert len(taken_over) > 20
    assert not any(taken_over)
    assert (chain.tiers("a.txt"), StoredFile.objects.get().fence) == (["far"], 1)


class RollBack(Exception):
    """Ends a transaction without a commit."""


def test_g7_rollback_queues_nothing_and_loses_nothing(chain, far, clock):
    save(chain, name="old.txt")
    recording.work()
    RecordingDispatcher.calls.clear()
    with suppress(RollBack), transaction.atomic():
        save(chain, name="new.txt")
        chain.delete("old.txt")
        assert not chain.exists("old.txt")
        raise RollBack
    assert RecordingDispatcher.calls == []
    rest(clock)
    assert far.files == {"old.txt": CONTENT}
    assert read(chain, "old.txt") == CONTENT


def test_g7_work_is_handed_out_after_the_commit(chain):
    with transaction.atomic():
        save(chain)
        assert RecordingDispatcher.calls == []
    assert RecordingDispatcher.calls == [[StoredFile.objects.get().pk]]


class DeadBroker:
    def dispatch(self, ids):
        raise ConnectionError("no broker")


def test_g8_silent_tier_and_dead_broker_hold_up_nobody(make_chain, settings, default_deadline):
    settings.QUEUED_STORAGE_DISPATCHER = f"{__name__}.DeadBroker"
    far = {"BACKEND": remote.PATH, "OPTIONS": {"host": "silent"}}
    chain = make_chain({"near": "disk", "far": far})
    server = remote.RemoteStorage.servers.setdefault("silent", remote.Server())
    with server.silent():
        with within(1, "save()"):
            name = save(chain)
        with within(1, "the read"):
            assert read(chain, name) == CONTENT
        with within(1, "delete()"):
            chain.delete(name)


def test_g8_broken_is_not_absent(make_chain):
    chain = make_chain({"near": "disk", "far": faulty.tier("far")}, policy="transfer-and-delete")
    save(chain)
    recording.work()
    for method in ("open", "exists", "size"):
        faulty.bucket("far").on(method, faulty.refuse)
    with pytest.raises(OSError, match="'far'") as caught:
        read(chain)
    assert not isinstance(caught.value, FileNotFoundError)


def test_g9_content_type_arrives_on_every_tier(make_chain):
    chain = make_chain({"near": "disk", "far": typed_store("far")})
    chain.save("picture", SimpleUploadedFile("picture", CONTENT, content_type="image/png"))
    recording.work()
    assert TypedStore.types == {"picture": "image/png"}


def test_g10_marker_secret_is_found_nowhere(make_chain, far, caplog):
    """In the options of both tiers stands a secret, and the lower one prints its options when it fails."""
    secret = "hunter2-secret"
    chain = make_chain({"near": faulty.tier("near"), "far": faulty.tier("far")})

    def blab(call):
        raise RuntimeError(f"login with {secret} failed")

    far.on("save", blab)
    with caplog.at_level("DEBUG"):
        save(chain)
        recording.work()
    row = StoredFile.objects.values().get()
    everything = (
        f"{row} {caplog.text} {RecordingDispatcher.calls} {chain!r} {chain.chain!r} {list(chain.chain)!r}"
    )
    assert "login with *** failed" in row["last_error"]
    assert secret not in everything


def test_g11_memory_of_a_move_does_not_grow_with_the_file(make_chain, tmp_path):
    chain = make_chain(["near", "far"], policy="transfer-and-delete")
    size = 48 * MEBIBYTE
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(size)
    with large.open("rb") as file, limited(8 * MEBIBYTE):
        chain.save("large", File(file))
        recording.work()
    assert (chain.tiers("large"), chain.size("large")) == (["far"], size)


@contextmanager
def limited(most):
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most


def test_signals_tell_of_a_transfer_once(chain):
    told = []

    def note(**facts):
        told.append(facts["destination"])

    file_transferred.connect(note)
    try:
        save(chain)
        recording.work()
        recording.work()
    finally:
        file_transferred.disconnect(note)
    assert told == ["far"]
