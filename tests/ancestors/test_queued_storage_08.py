"""What was measured to go wrong with django-queued-storage, case by case; the docstrings say what it did.

"File remote" is a folder, "object store" a tier that shows a file when it is whole and replaces the one of its name.
"""

from __future__ import annotations

import inspect
import itertools
import logging
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from celery import current_app
from django.core.cache import caches
from django.core.files.base import ContentFile
from django.core.files.storage import Storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import transaction
from django.db.migrations.writer import MigrationWriter
from django.utils import timezone

from queued_storage import signals, tasks
from queued_storage.fields import QueuedFileField
from queued_storage.models import StoredFile
from queued_storage.names import is_staging
from queued_storage.reconcile import reconcile
from queued_storage.storage import tiered_storages

from tests.ancestors import storages
from tests.ancestors.storages import dies_half_way, object_store, worker_in_mid_put
from tests.base_settings import DISK
from tests.support import faulty, recording
from tests.support.projects import CHECKOUT
from tests.support.recording import RecordingDispatcher
from tests.support.waiting import wait_until, within
from tests.testapp.models import Document
from tests.worker.messages import take

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = 3600
LEASE = 300
OLD = b"old content " * 10_000  # long enough for the gated disk to stop in its middle
NEW = OLD[::-1]  # as long, so that no look at a size tells the two apart
#: What the ancestor was measured on, by row of the report.
CASES = [
    "a1", "a2", "a3", "b1", "b2", "b3", "b4", "c1", "c2", "d1", "d2", "d3", "e1", "e2", "f1", "f2", "f3", "g",
    "h1", "h2", "i", "j", "k1", "k2", "l", "m", "n", "o", "p",
]  # fmt: skip

by_hand = pytest.mark.usefixtures("by_hand")
both_remotes = pytest.mark.parametrize("remote", ["file", "object store"])
redis = pytest.mark.parametrize("broker", ["redis"], indirect=True)


class Rest:
    """What lies where, past the package; the rest of a killed worker is `gc`'s, and never seen by its name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on(self, tier):
        folder = self.folder / tier
        paths = [path for path in folder.rglob("*") if path.is_file() and not is_staging(path.name)]
        return {str(path.relative_to(folder)): path.read_bytes() for path in paths} | dict(
            faulty.bucket(tier).files
        )


@pytest.fixture
def at(tmp_path):
    return Rest(tmp_path).on


@pytest.fixture
def far(remote):
    """The tier below the first."""
    return object_store("far") if remote == "object store" else "disk"


def save(storage, content=OLD, name="a.txt"):
    return storage.save(name, ContentFile(content))


def read(storage, name="a.txt"):
    with storage.open(name) as file:
        return file.read()


def rest(clock):
    """Do what is due, and what falls due later, until nothing is owed any more."""
    for _ in range(10):
        recording.work()
        clock.shift(HOUR)


def flush_cache():
    caches["default"].clear()


# a: the cache as the only truth


@by_hand
def test_a1_cache_flushed_between_save_and_transfer(make_chain):
    """It asked the remote then, and was right before and after."""
    storage = make_chain(["near", "far"], policy="transfer-and-delete")
    save(storage)
    flush_cache()
    assert read(storage) == OLD
    recording.work()
    flush_cache()
    assert (read(storage), storage.tier("a.txt")) == (OLD, "far")


@by_hand
def test_a2_cache_of_each_process_its_own(make_chain, settings, tmp_path):
    """The web process went on believing "local" after the worker had deleted the local copy: FileNotFoundError."""

    def use_cache_of(process):
        backend = "django.core.cache.backends.locmem.LocMemCache"
        settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": process}}

    storage = make_chain(["near", "far"], policy="transfer-and-delete")
    use_cache_of("web")
    save(storage)
    assert (storage.exists("a.txt"), storage.url("a.txt"), read(storage)) == (True, "/near/a.txt", OLD)
    use_cache_of("worker")
    recording.work()
    use_cache_of("web")
    assert (storage.exists("a.txt"), storage.size("a.txt"), read(storage)) == (True, len(OLD), OLD)
    assert storage.url("a.txt") == "/far/a.txt"


@by_hand
def test_a3_second_file_of_a_name_leaves_the_first_readable(make_chain):
    """It flagged the name asked for, so that the moved file of that name was looked for in local."""
    storage = make_chain(["near", "far"], policy="transfer-and-delete")
    save(storage)
    recording.work()
    second = save(storage, NEW)
    assert second != "a.txt"
    assert (read(storage), read(storage, second)) == (OLD, NEW)
    recording.work()
    assert (read(storage), read(storage, second)) == (OLD, NEW)


# b: the broker


@pytest.mark.servers
@pytest.mark.parametrize("broker", ["redis", "rabbitmq"], indirect=True)
def test_b1_broker_that_refuses_does_not_hold_up_a_save(relayed, make_chain, default_deadline):
    """save() was still blocked after 60 s (Redis) and 40 s (AMQP)."""
    relayed.refuse()
    storage = make_chain()
    with within(1, "save()"):
        name = save(storage)
    assert (read(storage, name), storage.state(name)) == (OLD, "pending")


@pytest.mark.servers
@redis
def test_b2_broker_that_refuses_fails_no_request(relayed, make_chain, default_deadline):
    """With bounded retries OperationalError reached the request: a file in local, no row of the model, an orphan."""
    relayed.refuse()
    current_app.conf.broker_transport_options = {"max_retries": 1, "interval_start": 0}
    storage = make_chain()
    with within(1, "the request"):
        document = Document.objects.create(file=ContentFile(OLD, "a.txt"))
    assert Document.objects.get().file.name == document.file.name
    assert storage.state(document.file.name) == "pending"


@pytest.mark.servers
@redis
def test_b3_what_a_dead_broker_missed_is_done_later(
    relayed, make_chain, start_worker_with, beat, trust_broker, at
):
    """A worker on a healthy broker received nothing afterwards; nothing recorded that a transfer was owed."""
    storage = make_chain(["near", "far"])
    relayed.refuse()
    name = save(storage)
    relayed.hand_on()
    trust_broker()
    start_worker_with(*beat, QUEUED_STORAGE_SWEEP_INTERVAL=1)
    wait_until(lambda: storage.state(name) == "settled", "the file is settled")
    assert at("far") == {name: OLD}


@pytest.mark.servers
@redis
def test_b4_broker_that_is_silent_does_not_hold_up_a_save(relayed, make_chain, default_deadline):
    """save() was still blocked after 45 s."""
    relayed.be_silent()
    storage = make_chain()
    with within(1, "save()"):
        name = save(storage)
    assert (read(storage, name), storage.state(name)) == (OLD, "pending")


# c: deletes


@by_hand
def test_c1_deleted_file_whose_transfer_is_queued_is_no_failure(make_chain, caplog, at):
    """6 attempts and 5 retries, a minute apart, and then a logged failure for a file that was rightly gone."""
    storage = make_chain(["near", "far"])
    save(storage)
    (message,) = RecordingDispatcher.calls
    storage.delete("a.txt")
    with caplog.at_level(logging.WARNING):
        worked = [reconcile(pk) for pk in message]
    assert worked == [False]
    assert (caplog.records, at("near"), at("far")) == ([], {}, {})
    assert recording.work() == 0


@by_hand
@both_remotes
@pytest.mark.parametrize("policy", ["transfer", "transfer-and-delete"])
def test_c2_file_deleted_in_mid_transfer_stays_deleted(make_chain, slow_disk, far, policy, at, clock):
    """exists() was False right after the delete, and True 5 s later with the whole content; for good."""
    storage = make_chain({"near": slow_disk.tier(), "far": far}, policy=policy)
    save(storage)
    with slow_disk.worker_in_mid_copy():
        storage.delete("a.txt")
        assert not storage.exists("a.txt")
    assert not storage.exists("a.txt")
    rest(clock)
    assert (storage.exists("a.txt"), at("near"), at("far")) == (False, {}, {})


@by_hand
def test_c2_object_that_arrives_after_the_delete_is_taken_away(make_chain, at, clock):
    """The same, where the bytes had left the worker when the file was deleted."""
    storage = make_chain({"near": "disk", "far": object_store("far")})
    save(storage)
    with worker_in_mid_put(faulty.bucket("far")):
        storage.delete("a.txt")
    assert not storage.exists("a.txt")
    rest(clock)
    assert (storage.exists("a.txt"), at("near"), at("far")) == (False, {}, {})


# d: a new content while the old one moves


@by_hand
@both_remotes
@pytest.mark.parametrize("overwrites", [False, True], ids=["renaming", "overwriting"])
def test_d1_delete_and_save_while_the_old_content_moves(make_chain, slow_disk, far, overwrites, at, clock):
    """At rest local was empty, remote and readers gave v1, and v2 existed nowhere (object store)."""
    storage = make_chain(
        {"near": slow_disk.tier(allow_overwrite=overwrites), "far": far}, policy="transfer-and-delete"
    )
    save(storage)
    with slow_disk.worker_in_mid_copy():
        storage.delete("a.txt")
        name = save(storage, NEW)
        assert read(storage, name) == NEW
    assert read(storage, name) == NEW
    rest(clock)
    assert (read(storage, name), at("near"), at("far")) == (NEW, {}, {name: NEW})


@by_hand
@both_remotes
def test_d2_content_overwritten_while_the_old_one_moves(make_chain, slow_disk, far, at, clock):
    """The same end: only v1 anywhere."""
    tiers = {"near": slow_disk.tier(allow_overwrite=True), "far": far}
    storage = make_chain(tiers, policy="transfer-and-delete")
    save(storage)
    with slow_disk.worker_in_mid_copy():
        assert save(storage, NEW) == "a.txt"
        assert read(storage) == NEW
    assert read(storage) == NEW
    rest(clock)
    assert (read(storage), at("near"), at("far")) == (NEW, {}, {"a.txt": NEW})


@by_hand
@both_remotes
def test_d3_slow_worker_of_the_old_content_after_a_fast_one_of_the_new(make_chain, slow_disk, far, at, clock):
    """The remote held v2, and then the slow v1 replaced it; reads gave v1."""
    storage = make_chain({"near": slow_disk.tier(allow_overwrite=True), "far": far}, policy="transfer")
    save(storage)
    with slow_disk.worker_in_mid_copy():
        save(storage, NEW)
        clock.shift(HOUR)  # the lease of the slow one is over
        recording.work()
        assert read(storage) == NEW
    assert read(storage) == NEW
    rest(clock)
    assert (read(storage), at("near"), at("far")) == (NEW, {"a.txt": NEW}, {"a.txt": NEW})


@by_hand
@pytest.mark.parametrize("policy", ["transfer", "transfer-and-delete"])
def test_d3_slow_put_of_the_old_content_after_a_fast_one_of_the_new(make_chain, tmp_path, policy, at, clock):
    """The same, where the old bytes had left the worker and lay in the network."""
    near = {"BACKEND": DISK, "OPTIONS": {"location": str(tmp_path / "near"), "allow_overwrite": True}}
    storage = make_chain({"near": near, "far": object_store("far")}, policy=policy)
    save(storage)
    with worker_in_mid_put(faulty.bucket("far")):
        save(storage, NEW)
        clock.shift(LEASE + 1)  # from now on others may copy; that one's last call may last as long again
        recording.work()
        assert read(storage) == NEW
    rest(clock)
    assert (read(storage), at("far")) == (NEW, {"a.txt": NEW})


# e: killed workers


@pytest.fixture
def begun(make_chain, settings, tmp_path, broker):
    """A transfer that a real worker will stop in the middle of; and the folder of its gate."""
    settings.QUEUED_STORAGE_LEASE = 2
    settings.QUEUED_STORAGE_SWEEP_INTERVAL = 1
    gate = tmp_path / "gate"
    gate.mkdir()
    options = {"location": str(tmp_path / "near"), "gate": str(gate)}
    near = {"BACKEND": "tests.support.gated.GatedStorage", "OPTIONS": options}
    storage = make_chain({"near": near, "far": "disk"}, policy="transfer-and-delete")
    save(storage)
    return storage, gate


@pytest.mark.servers
@redis
def test_e1_transfer_of_a_killed_worker_is_done_again(begun, start_worker, start_worker_with, beat, at):
    """The message was acknowledged at the start: a new worker had nothing left to receive."""
    storage, gate = begun
    worker = start_worker(pool="prefork")
    wait_until((gate / "reached").exists, "the transfer is under way")
    assert worker.kill() == -signal.SIGKILL
    (gate / "open").touch()
    assert read(storage) == OLD
    start_worker_with(*beat)
    wait_until(lambda: storage.state("a.txt") == "settled", "the file is settled")
    assert (read(storage), at("near"), at("far")) == (OLD, {}, {"a.txt": OLD})


@pytest.mark.servers
@redis
def test_e2_transfer_of_a_killed_child_is_done_again(begun, start_worker_with, beat):
    """WorkerLostError was logged, and that was all."""
    storage, gate = begun
    worker = start_worker_with(*beat, pool="prefork")
    wait_until((gate / "reached").exists, "the transfer is under way")
    child = int((gate / "reached").read_text())
    assert child not in (worker.pid, os.getpid())
    os.kill(child, signal.SIGKILL)
    (gate / "open").touch()
    wait_until(lambda: storage.state("a.txt") == "settled", "the file is settled")
    assert read(storage) == OLD


# f: torn copies


@by_hand
def test_f1_nobody_reads_the_torn_copy_of_a_worker_that_died(make_chain, at, clock):
    """Once the flag was gone readers got 4000 of 10000 bytes, while the whole file sat in local."""
    storage = make_chain({"near": faulty.tier("near"), "far": "disk"}, policy="transfer-and-delete")
    save(storage)
    faulty.bucket("near").on("open", dies_half_way, calls=[1])
    with suppress(faulty.Crash):
        recording.work()
    flush_cache()
    assert (read(storage), storage.size("a.txt")) == (OLD, len(OLD))
    assert "a.txt" not in at("far")
    rest(clock)
    assert (read(storage), at("far")["a.txt"]) == (OLD, OLD)


@by_hand
def test_f2_nobody_reads_the_first_part_of_a_long_copy(make_chain, slow_disk, at):
    """A copy longer than the flag's life: 4000 of 10000 bytes, with a healthy worker."""
    storage = make_chain({"near": slow_disk.tier(), "far": "disk"}, policy="transfer-and-delete")
    save(storage)
    with slow_disk.worker_in_mid_copy():
        flush_cache()
        assert (read(storage), storage.size("a.txt")) == (OLD, len(OLD))
        assert "a.txt" not in at("far")
    assert (read(storage), storage.tier("a.txt")) == (OLD, "far")


@by_hand
def test_f3_one_error_in_mid_copy_leaves_one_whole_file(make_chain, at, clock):
    """The retry stored the good copy under another name and deleted local: 5000 of 10000 bytes, for ever."""
    storage = make_chain({"near": faulty.tier("near"), "far": "disk"}, policy="transfer-and-delete")
    save(storage)
    faulty.bucket("near").on("open", faulty.break_off, calls=[1])
    recording.work()
    assert read(storage) == OLD
    rest(clock)
    assert (read(storage), at("near"), at("far")) == (OLD, {}, {"a.txt": OLD})


# g: names


@by_hand
def test_g_two_web_heads_with_disks_of_their_own(make_chain, tmp_path, at):
    """The name that the remote returned was ignored: head B read head A's bytes, another user's file."""

    def head(name):
        near = {"BACKEND": DISK, "OPTIONS": {"location": str(tmp_path / name)}}
        return make_chain({"near": near, "far": "disk"}, policy="transfer-and-delete")

    of_a = save(head("A"), b"of A")
    of_b = save(head("B"), b"of B")
    StoredFile.objects.exclude(name=of_b).update(due_at=None)
    assert recording.work() == 1  # by B's worker
    StoredFile.objects.filter(name=of_a).update(due_at=timezone.now())
    storage = head("A")
    assert recording.work() == 1
    assert {of_a: read(storage, of_a), of_b: read(storage, of_b)} == {of_a: b"of A", of_b: b"of B"}
    assert at("far") == {of_a: b"of A", of_b: b"of B"}


@by_hand
def test_g_remote_that_returns_another_name_is_no_success(make_chain, at, clock):
    """The same trust: what was saved under another name counted as moved."""
    storage = make_chain({"near": "disk", "far": faulty.tier("far")}, policy="transfer-and-delete")
    save(storage)
    faulty.bucket("far").on("save", faulty.rename, calls=[1])
    rest(clock)
    assert (read(storage), at("near"), at("far")) == (OLD, {}, {"a.txt": OLD})


# h: transactions


class RollBack(Exception):
    """Ends a transaction without a commit."""


@by_hand
def test_h1_nothing_is_transferred_after_a_rollback(make_chain, at, clock):
    """No row was left, and the file was transferred to the remote all the same."""
    make_chain(["near", "far"])
    with suppress(RollBack), transaction.atomic():
        Document.objects.create(file=ContentFile(OLD, "a.txt"))
        raise RollBack
    rest(clock)
    assert (RecordingDispatcher.calls, Document.objects.count(), StoredFile.objects.count()) == ([], 0, 0)
    assert at("far") == {}


@by_hand
def test_h2_work_begins_after_the_commit(make_chain, at):
    """The file was in the remote before the commit, and the receiver of file_transferred saw no row."""
    storage = make_chain(["near", "far"])
    seen = []

    def look(instance, **facts):
        seen.append(instance())

    signals.file_transferred.connect(look)
    try:
        with transaction.atomic():
            document = Document.objects.create(file=ContentFile(OLD, "a.txt"))
            assert (RecordingDispatcher.calls, at("far")) == ([], {})
        recording.work()
    finally:
        signals.file_transferred.disconnect(look)
    assert seen == [document]
    assert storage.tiers(document.file.name) == ["near", "far"]


# i and j: half a delete, half a file


@by_hand
def test_i_delete_takes_the_local_copy_too(make_chain, at):
    """Only the remote copy went: with the cache entry gone exists() was True, and the content read back."""
    storage = make_chain(["near", "far"], policy="transfer")
    save(storage)
    recording.work()
    assert at("near") == at("far") == {"a.txt": OLD}
    storage.delete("a.txt")
    flush_cache()
    assert (storage.exists("a.txt"), at("near"), at("far")) == (False, {}, {})


@pytest.mark.servers
@by_hand
def test_j_content_type_arrives(make_chain, s3):
    """An upload typed image/png, with a name that has no extension, became application/octet-stream."""
    bucket = s3.make_bucket()
    storage = make_chain({"near": "disk", "far": s3.tier(bucket)})
    name = storage.save("picture", SimpleUploadedFile("picture", OLD, content_type="image/png"))
    recording.work()
    assert s3.client.head_object(Bucket=bucket, Key=name)["ContentType"] == "image/png"


# k: names compared as texts


def numbered(make_chain, tmp_path, backend, local, remote):
    path = f"{storages.MODULE}.{backend}"
    tiers = {
        name: {"BACKEND": path, "OPTIONS": {"location": str(tmp_path / name)}} for name in ("near", "far")
    }
    storage = make_chain(tiers)
    for tier, names in (("near", local), ("far", remote)):
        (tmp_path / tier).mkdir()
        for name in names:
            (tmp_path / tier / name).write_bytes(OLD)
    return storage


@by_hand
def test_k1_number_that_is_free_on_both_tiers_is_taken(make_chain, tmp_path, at):
    """Local offered a_2, remote a_10: it took a_2, which the remote had. Reads of a_2 gave the old file."""
    remote = ["a", *(f"a_{number}" for number in range(1, 10))]
    storage = numbered(make_chain, tmp_path, "NumberingDisk", ["a", "a_1"], remote)
    name = save(storage, NEW, "a")
    recording.work()
    assert read(storage, name) == NEW
    assert at("far") == dict.fromkeys(remote, OLD) | {name: NEW}


@by_hand
def test_k2_suffix_that_sorts_before_the_dot(make_chain, tmp_path, at):
    """The remote had a.txt and offered a-1.txt, which sorts first: it took a.txt, the taken name."""
    storage = numbered(make_chain, tmp_path, "DashingDisk", [], ["a.txt"])
    name = save(storage, NEW)
    recording.work()
    assert (read(storage, name), read(storage)) == (NEW, OLD)
    assert at("far") == {"a.txt": OLD, name: NEW}


# l to p


@by_hand
def test_l_outage_longer_than_all_retries(make_chain, settings, clock, at, capsys):
    """After 6 attempts the message was dropped: the file stayed in local, with no record."""
    settings.QUEUED_STORAGE_RETRIES = 2
    storage = make_chain({"near": "disk", "far": object_store("far")})
    faulty.bucket("far").on("save", faulty.refuse)
    save(storage)
    rest(clock)
    row = StoredFile.objects.get()
    assert row.state in ("pending", "failed")
    assert "tier 'far': ConnectionError" in row.last_error
    assert read(storage) == OLD
    faulty.bucket("far").heal()
    call_command("tiers", "retry")
    rest(clock)
    assert (storage.state("a.txt"), at("far")) == ("settled", {"a.txt": OLD})


@by_hand
@pytest.mark.parametrize("mode", ["w", "wb"])
def test_m_file_that_is_written_through_open_is_moved(make_chain, at, mode):
    """It stayed in local alone."""
    storage = make_chain(["near", "far"], policy="transfer-and-delete")
    with storage.open("a.txt", mode) as file:
        file.write(NEW if "b" in mode else NEW.decode())
    recording.work()
    assert (read(storage), at("near"), at("far")) == (NEW, {}, {"a.txt": NEW})


@by_hand
def test_n_listing_shows_what_waits_and_what_was_moved(make_chain):
    """It showed one side: a file that waited in local was missing."""
    storage = make_chain(["near", "far"], policy="transfer-and-delete")
    save(storage, name="moved.txt")
    recording.work()
    save(storage, name="waits.txt")
    assert storage.listdir("") == ([], ["moved.txt", "waits.txt"])


def test_o_field_can_be_written_into_a_migration(make_queued):
    """ValueError: Cannot serialize."""
    written = MigrationWriter.serialize(QueuedFileField(storage=tiered_storages["media"]))[0]
    assert "storage=queued_storage.storage.TieredStorage('media')" in written
    assert MigrationWriter.serialize(make_queued())[0]


def test_p_storage_is_a_storage(make_chain, make_queued):
    """It was no subclass of Storage, and get_available_name(max_length=…) raised TypeError."""
    for storage in (make_chain(), make_queued()):
        assert isinstance(storage, Storage)
        assert len(storage.get_available_name("a" * 50 + ".txt", max_length=20)) <= 20
        ours, djangos = (inspect.signature(each.get_available_name) for each in (storage, Storage()))
        assert list(ours.parameters) == list(djangos.parameters)


# Sections 1, 2 and 7 of the report


def test_today_every_module_is_imported_without_what_is_gone():
    """Import and first save broke five times over: pkg_resources, urlquote, providing_args, celery.task …."""
    code = """
import importlib, pkgutil, sys
for gone in ("pkg_resources", "celery.task", "django.utils.six"):
    sys.modules[gone] = None
import django; django.setup()
import queued_storage
names = [each.name for each in pkgutil.walk_packages(queued_storage.__path__, "queued_storage.")]
if django.VERSION < (6, 0):
    names.remove("queued_storage.django_tasks")  # for a framework that came with Django 6
for name in names:
    importlib.import_module(name)
print(len(names))
"""
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-W", "error::DeprecationWarning:queued_storage", "-c", code]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 30


#: As the ancestor's messages were: name, cache key, two classes, their options.
FORGED = [
    "a.txt", "queued_storage_a.txt", "subprocess.Popen", "django.core.files.storage.FileSystemStorage",
    {"args": "touch {}", "shell": True}, {},
]  # fmt: skip


@pytest.mark.servers
@pytest.mark.parametrize("broker", ["filesystem"], indirect=True)
def test_forged_message_builds_nothing(broker, make_chain, start_worker, tmp_path):
    """A message that named subprocess.Popen as the source class ran a shell command in the worker."""
    storage = make_chain()
    made = tmp_path / "made"
    forged = [
        {**each, "args": f"touch {made}"} if each and isinstance(each, dict) else each for each in FORGED
    ]
    for name in (tasks.RECONCILE, tasks.SWEEP, "queued_storage.tasks.Transfer"):
        current_app.send_task(name, forged)
    name = save(storage)
    worker = start_worker()
    wait_until(lambda: storage.state(name) == "settled", "the file is settled")
    assert not made.exists()
    assert worker.running


@pytest.mark.parametrize("broker", ["filesystem"], indirect=True)
def test_message_holds_no_option_and_is_less_than_half_as_long(broker, make_chain, at):
    """1694 bytes, with the options of both storages in clear, twice."""
    options = {"access_key": "ACCESS-marker", "secret_key": "SECRET-marker", "bucket_name": "BUCKET-marker"}
    far = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options, "EXCLUSIVE": True}
    save(make_chain({"near": "disk", "far": far}))
    (message,) = take(broker)
    text = f"{message.body}{message.headers}{message.properties}"
    assert "marker" not in text
    assert len(text) < 1694 / 2


def test_settings_of_the_package_name_every_storage_that_a_message_can_reach(make_chain):
    """Any class path was taken from the message; a row's chain that no setting knows is refused."""
    storage = make_chain(["near", "far"], alias="photos")
    storage.save("a.txt", ContentFile(b"1"))
    StoredFile.objects.update(chain="subprocess.Popen", lease="")
    reconcile(StoredFile.objects.get().pk)
    row = StoredFile.objects.get()
    assert "subprocess.Popen" in row.last_error
    assert row.state == "pending"


#: The ten checks of the report's last section, and the tests that hold them.
TO_BEAT = {
    1: ["test_forged_message_builds_nothing", "test_message_holds_no_option_and_is_less_than_half_as_long",
        "test_g10_no_name_option_class_or_secret", "test_g10_worker_log_holds_no_credential"],
    2: ["test_d1_", "test_d2_", "test_d3_", "test_f1_", "test_f2_", "test_f3_", "test_g_", "test_k1_"],
    3: ["test_b3_", "test_e1_", "test_e2_", "test_l_"],
    4: ["test_b1_", "test_b4_"],
    5: ["test_c2_", "test_i_"],
    6: ["test_h1_", "test_h2_"],
    7: ["test_only_tier_that_holds_the_file_is_down", "test_missing_file_on_healthy_tiers",
        "test_listdir_name_in_both_tiers", "test_listdir_a_tier_down"],
    8: ["test_j_"],
    9: ["test_o_", "test_p_"],
    10: ["test_first_tiers_answer_needs_no_query", "test_lower_tiers_answer_needs_one_query"],
}  # fmt: skip
#: Section 2, the message: its rows, and the tests of ``tests/worker`` that hold the details.
MESSAGE = {
    "payload": "test_g10_ids_are_all_that_is_ours",
    "credentials": "test_g10_no_name_option_class_or_secret",
    "size": "test_message_of_a_saved_file_is_small",
    "forged message": "test_g10_forged_ids_do_no_harm",
}


def functions_of_the_suite():
    folder = Path(__file__).parents[1]
    lines = itertools.chain.from_iterable(
        path.read_text().splitlines() for path in sorted(folder.rglob("test_*.py"))
    )
    stripped = (line.strip() for line in lines)
    return [line.split("(")[0].removeprefix("def ") for line in stripped if line.startswith("def test_")]


def test_no_case_of_the_report_is_missing():
    here = [name for name in globals() if name.startswith("test_")]
    assert [case for case in CASES if not any(name.startswith(f"test_{case}_") for name in here)] == []
    undocumented = [name for name in here if globals()[name].__doc__ is None]
    assert undocumented == ["test_no_case_of_the_report_is_missing"]


def test_no_check_of_the_report_is_missing():
    """Each of the ten checks, and each row on the message, is held by tests that exist."""
    suite = functions_of_the_suite()
    wanted = [*itertools.chain.from_iterable(TO_BEAT.values()), *MESSAGE.values()]
    assert [name for name in wanted if not any(each.startswith(name) for each in suite)] == []
