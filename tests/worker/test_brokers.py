"""A real worker on each broker: what was saved gets where it belongs, whatever is lost or killed on the way."""

from __future__ import annotations

import os
import signal

import pytest
from celery import Celery
from django.core.files.base import ContentFile
from django.db import transaction

from queued_storage import dispatch, tasks
from queued_storage.catalog import files
from queued_storage.reconcile import reconcile

from tests import base_settings
from tests.celery_app import app
from tests.support.brokers import mostly
from tests.support.waiting import wait_until
from tests.worker.messages import take

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.servers]

CONTENT = os.urandom(300_000)
#: For what does not depend on the broker.
ONE_BROKER = pytest.mark.parametrize("broker", ["filesystem"], indirect=True)
#: Workers on the filesystem broker take seconds to end.
QUICK_TO_STOP = pytest.mark.parametrize("broker", ["redis"], indirect=True)


@pytest.fixture
def bucket(seaweedfs):
    return seaweedfs.make_bucket()


@pytest.fixture
def storage(make_chain, seaweedfs, bucket, settings):
    """Disk before S3, and the file leaves the disk."""
    return make_chain({"near": "disk", "far": seaweedfs.tier(bucket)}, policy="transfer-and-delete")


def settle(storage, name):
    wait_until(lambda: storage.state(name) == "settled", f"{name} is settled")


def read(storage, name):
    with storage.open(name) as file:
        return file.read()


class TestMove:
    @pytest.mark.parametrize("pool", ["solo", pytest.param("prefork", marks=pytest.mark.storages)])
    def test_worker_brings_the_file_to_s3(self, storage, seaweedfs, bucket, start_worker, pool):
        start_worker(pool=pool)
        name = storage.save("a.bin", ContentFile(CONTENT))
        settle(storage, name)
        assert seaweedfs.read(bucket, name) == CONTENT
        assert read(storage, name) == CONTENT
        assert storage.tiers(name) == ["far"]

    @mostly("filesystem")
    def test_file_saved_before_the_worker_starts(self, storage, start_worker):
        name = storage.save("a.bin", ContentFile(CONTENT))
        start_worker()
        settle(storage, name)

    @ONE_BROKER
    def test_g5_deleted_file_leaves_s3(self, storage, settings, seaweedfs, bucket, start_worker_with, beat):
        """At once where the server is quick, else by the next sweep after the lease of the hasty attempt."""
        settings.QUEUED_STORAGE_LEASE = 2
        start_worker_with(*beat, QUEUED_STORAGE_SWEEP_INTERVAL=1)
        name = storage.save("a.bin", ContentFile(CONTENT))
        settle(storage, name)
        storage.delete(name)
        assert not storage.exists(name)
        wait_until(lambda: seaweedfs.keys(bucket) == [], "the bucket is empty")

    @QUICK_TO_STOP
    def test_g10_worker_log_holds_no_credential(self, storage, seaweedfs, start_worker):
        worker = start_worker()
        settle(storage, storage.save("a.bin", ContentFile(CONTENT)))
        worker.stop()
        assert "transferred" in worker.log
        assert seaweedfs.secret_key not in worker.log

    @QUICK_TO_STOP
    def test_worker_stops_cleanly_after_work(self, storage, start_worker):
        worker = start_worker(pool="prefork", concurrency=2)
        settle(storage, storage.save("a.bin", ContentFile(CONTENT)))
        assert worker.stop() == 0


class TestLostMessage:
    @pytest.fixture
    def lost(self, storage, broker):
        """A file whose message was lost."""
        name = storage.save("a.bin", ContentFile(CONTENT))
        assert len(take(broker)) == 1
        return name

    @mostly("redis")
    def test_g3_sweep_sends_it_again(self, storage, lost, start_worker):
        start_worker()
        assert storage.state(lost) == "pending"
        assert dispatch.sweep() == 1
        settle(storage, lost)

    @ONE_BROKER
    def test_g3_sweep_task_sends_it_again(self, storage, lost, start_worker):
        start_worker()
        tasks.sweep.delay()
        settle(storage, lost)

    @mostly("rabbitmq")
    def test_g3_beat_sweeps_by_itself(self, storage, lost, start_worker_with, beat):
        start_worker_with(*beat, QUEUED_STORAGE_SWEEP_INTERVAL=1)
        settle(storage, lost)

    @ONE_BROKER
    def test_message_that_comes_twice_does_no_harm(self, storage, lost, start_worker):
        pk = files().get().pk
        tasks.publish([pk])
        tasks.publish([pk, pk])
        start_worker()
        settle(storage, lost)
        assert read(storage, lost) == CONTENT
        assert files().get().fence == 1


class TestKilledWorker:
    """A worker that dies in the middle of a transfer."""

    @pytest.fixture
    def gate(self, tmp_path):
        gate = tmp_path / "gate"
        gate.mkdir()
        return gate

    @pytest.fixture
    def storage(self, make_chain, seaweedfs, bucket, gate, tmp_path, settings):
        """A chain whose first tier stops in the middle of a file until the gate is open."""
        settings.QUEUED_STORAGE_LEASE = 2
        settings.QUEUED_STORAGE_SWEEP_INTERVAL = 1
        options = {"location": str(tmp_path / "near"), "gate": str(gate)}
        near = {"BACKEND": "tests.support.gated.GatedStorage", "OPTIONS": options}
        return make_chain({"near": near, "far": seaweedfs.tier(bucket)}, policy="transfer-and-delete")

    @pytest.fixture
    def begun(self, broker, storage):
        return storage.save("a.bin", ContentFile(CONTENT))

    @mostly("rabbitmq")
    def test_g3_another_worker_finishes_after_the_lease(
        self, storage, begun, gate, seaweedfs, bucket, start_worker, start_worker_with, beat
    ):
        worker = start_worker(pool="prefork")
        wait_until((gate / "reached").exists, "the transfer is under way")
        assert worker.kill() == -signal.SIGKILL
        assert (storage.state(begun), storage.tiers(begun)) == ("pending", ["near"])
        (gate / "open").touch()
        start_worker_with(*beat)
        settle(storage, begun)
        assert seaweedfs.read(bucket, begun) == read(storage, begun) == CONTENT
        assert storage.tiers(begun) == ["far"]

    @mostly("redis")
    def test_g3_worker_goes_on_after_the_loss_of_a_child(self, storage, begun, gate, start_worker_with, beat):
        """As the kernel does when memory runs out."""
        worker = start_worker_with(*beat, pool="prefork")
        wait_until((gate / "reached").exists, "the transfer is under way")
        child = int((gate / "reached").read_text())
        assert child not in (worker.pid, os.getpid())
        os.kill(child, signal.SIGKILL)
        (gate / "open").touch()
        settle(storage, begun)
        assert read(storage, begun) == CONTENT

    @ONE_BROKER
    def test_g4_nothing_is_seen_of_a_transfer_that_was_cut_short(
        self, storage, begun, gate, seaweedfs, bucket, start_worker
    ):
        worker = start_worker(pool="prefork")
        wait_until((gate / "reached").exists, "the transfer is under way")
        worker.kill()
        assert seaweedfs.keys(bucket) == []

    @ONE_BROKER
    def test_file_is_left_to_a_worker_that_lives(self, storage, settings, begun, gate, start_worker):
        settings.QUEUED_STORAGE_LEASE = 300
        start_worker(pool="prefork")
        wait_until((gate / "reached").exists, "the transfer is under way")
        assert not reconcile(files().get().pk)
        (gate / "open").touch()
        settle(storage, begun)
        assert files().get().fence == 1


@pytest.mark.django_db(transaction=False)
class TestBeatSchedule:
    def test_sweep_is_scheduled(self):
        app.finalize()
        assert app.conf.beat_schedule[tasks.SWEEP] == {"task": "queued_storage.sweep", "schedule": 60.0}

    def test_interval_is_a_setting(self, settings):
        settings.QUEUED_STORAGE_SWEEP_INTERVAL = 5
        assert finalized().conf.beat_schedule[tasks.SWEEP]["schedule"] == 5.0

    def test_none_turns_it_off(self, settings):
        settings.QUEUED_STORAGE_SWEEP_INTERVAL = None
        assert tasks.SWEEP not in finalized().conf.beat_schedule

    def test_entry_of_the_project_is_respected(self):
        own = {"task": tasks.SWEEP, "schedule": 600.0}
        assert finalized(beat_schedule={tasks.SWEEP: own}).conf.beat_schedule[tasks.SWEEP] == own

    def test_other_entries_stay(self):
        own = {"tidy": {"task": "tidy", "schedule": 10.0}}
        assert finalized(beat_schedule=dict(own)).conf.beat_schedule.items() >= own.items()

    @pytest.mark.parametrize(("interval", "scheduled"), [(60, True), (None, False)])
    def test_process_of_its_own_has_it(self, make_project, interval, scheduled):
        project = make_project(QUEUED_STORAGE_SWEEP_INTERVAL=interval)
        code = "from tests.celery_app import app; app.loader.import_default_modules(); app.finalize()\n"
        schedule = project.python(code + "print(list(app.conf.beat_schedule))")
        assert ("queued_storage.sweep" in schedule) is scheduled


def finalized(**conf):
    other = Celery("other", set_as_current=False)
    other.conf.update(conf)
    other.finalize()
    return other


class TestEager:
    """``task_always_eager``: tasks run in the process that saves."""

    @pytest.fixture(autouse=True)
    def _eager(self):
        app.conf.task_always_eager = True
        yield
        app.conf.task_always_eager = False

    def test_file_is_settled_when_save_returns(self, storage):
        name = storage.save("a.bin", ContentFile(CONTENT))
        assert storage.state(name) == "settled"
        assert read(storage, name) == CONTENT

    def test_g7_file_moves_after_commit(self, storage):
        with transaction.atomic():
            name = storage.save("a.bin", ContentFile(CONTENT))
            assert storage.tiers(name) == ["near"]
        assert storage.tiers(name) == ["far"]

    def test_g8_tier_that_fails_does_not_fail_the_save(self, make_chain, tmp_path):
        far = {"BACKEND": base_settings.DISK, "OPTIONS": {"location": str(tmp_path / "file")}}
        (tmp_path / "file").write_bytes(b"no folder")
        storage = make_chain({"near": "disk", "far": far | {"EXCLUSIVE": True}})
        name = storage.save("a.bin", ContentFile(CONTENT))
        assert storage.state(name) == "pending"
        assert read(storage, name) == CONTENT
