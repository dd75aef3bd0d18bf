"""The servers and services that the other tests stand on."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import connections
from storages.backends.s3 import S3Storage

from tests.routers import CatalogRouter
from tests.support import brokers, databases, services
from tests.support.processes import Process, ProcessFailed, free_ports
from tests.support.storages import SharedMemoryStorage
from tests.support.waiting import wait_until


class TestS3Servers:
    def test_storage_reads_back_what_it_saved(self, s3):
        storage = S3Storage(**s3.storage_options(s3.make_bucket()))
        content = os.urandom(300_000)
        name = storage.save("holiday/straße.bin", ContentFile(content))
        with storage.open(name) as file:
            assert file.read() == content

    def test_content_type_arrives(self, s3):
        bucket = s3.make_bucket()
        S3Storage(**s3.storage_options(bucket)).save("a.png", ContentFile(b"x"))
        assert s3.client.head_object(Bucket=bucket, Key="a.png")["ContentType"] == "image/png"

    def test_large_file_is_sent_in_parts(self, s3):
        bucket = s3.make_bucket()
        content = os.urandom(1024) * 20 * 1024
        S3Storage(**s3.storage_options(bucket)).save("big", ContentFile(content))
        assert s3.read(bucket, "big") == content

    def test_buckets_are_apart(self, s3):
        one, other = s3.make_bucket(), s3.make_bucket()
        S3Storage(**s3.storage_options(one)).save("a", ContentFile(b"1"))
        assert (s3.keys(one), s3.keys(other)) == (["a"], [])

    def test_dropped_bucket_is_gone(self, s3):
        bucket = s3.make_bucket()
        S3Storage(**s3.storage_options(bucket)).save("a", ContentFile(b"1"))
        s3.drop_buckets()
        assert bucket not in {left["Name"] for left in s3.client.list_buckets()["Buckets"]}

    def test_credentials_stay_out_of_repr(self, s3):
        assert s3.secret_key not in repr(s3)


class TestServices:
    @pytest.mark.parametrize("service", services.PORTS)
    def test_service_takes_a_login(self, service):
        services.need(service)
        assert services.usable(service)

    def test_missing_service_skips_the_test(self, monkeypatch):
        monkeypatch.setattr(services, "why_unusable", lambda service: "nobody there")
        monkeypatch.setenv("QUEUED_STORAGE_TEST_REQUIRE", "")
        with pytest.raises(pytest.skip.Exception, match="nobody there"):
            services.need("redis")

    def test_missing_service_fails_the_test_where_it_is_required(self, monkeypatch):
        monkeypatch.setattr(services, "why_unusable", lambda service: "nobody there")
        monkeypatch.setenv("QUEUED_STORAGE_TEST_REQUIRE", "mysql, redis")
        with pytest.raises(pytest.fail.Exception, match="nobody there"):
            services.need("redis")

    def test_unknown_required_service_is_told(self, monkeypatch):
        monkeypatch.setenv("QUEUED_STORAGE_TEST_REQUIRE", "reddis")
        with pytest.raises(pytest.UsageError, match="reddis"):
            services.required()


class TestDatabases:
    def test_catalog_db_runs_on_that_engine(self, catalog_db):
        vendor = connections[catalog_db].vendor
        assert vendor == {"default": os.environ.get("TEST_DB", "sqlite")}.get(catalog_db, catalog_db)

    def test_models_go_to_the_catalog_db(self, catalog_db, django_user_model):
        user = django_user_model.objects.create(username="ada")
        assert user._state.db == catalog_db == CatalogRouter.alias

    def test_rows_of_another_test_are_gone(self, catalog_db, django_user_model):
        assert not django_user_model.objects.exists()

    @pytest.mark.django_db(transaction=False)
    def test_own_marker_keeps_the_test_in_a_transaction(self, catalog_db):
        assert connections[catalog_db].in_atomic_block

    def test_temporary_database_is_dropped(self, databases_available, tmp_path):
        for engine in set(databases_available) - {"sqlite"}:
            with databases.temporary(engine, tmp_path) as made:
                assert made["NAME"] in names_on(engine)
            assert made["NAME"] not in names_on(engine)


def names_on(engine: str) -> set[str]:
    question = {"postgresql": "SELECT datname FROM pg_database", "mysql": "SHOW DATABASES"}[engine]
    with databases.connect(engine) as connection, connection.cursor() as cursor:
        cursor.execute(question)
        return {name for (name,) in cursor.fetchall()}


class TestProcesses:
    def test_line_is_awaited(self):
        process = Process([sys.executable, "-c", "print('one'); print('two'); input()"])
        assert process.wait_for_line("^t.o$") == "two"
        assert process.stop() in {0, 1, -signal.SIGTERM}

    def test_silent_end_is_told_with_the_log(self):
        process = Process([sys.executable, "-c", "print('the reason')"])
        with pytest.raises(ProcessFailed, match="the reason"):
            process.wait_for_line("never written")
        process.stop()

    def test_kill_takes_the_children_too(self):
        process = Process(["sh", "-c", "sleep 60 & echo child $!; wait"])
        child = int(process.wait_for_line("child").split()[1])
        assert process.kill() == -signal.SIGKILL
        wait_until(lambda: not alive(child), "the child is gone")

    def test_stubborn_process_is_ended_by_force(self):
        process = Process(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"])
        process.wait_for_line("ready")
        assert process.stop(timeout=0.5) == -signal.SIGKILL

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
    def test_child_goes_with_a_killed_parent(self):
        parent = Process([sys.executable, "-c", PARENT])
        child = int(parent.wait_for_line("child").split()[1])
        os.kill(parent.pid, signal.SIGKILL)
        wait_until(lambda: not alive(child), "the child is gone")
        parent.stop()

    def test_free_ports_differ(self):
        assert len(set(free_ports(20))) == 20


PARENT = """
import signal
from tests.support.processes import Process
print("child", Process(["sleep", "60"]).pid, flush=True)
signal.pause()
"""


def alive(pid: int) -> bool:
    """Whether the process runs; one that ended but was not yet collected by its parent does not."""
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class TestBrokers:
    @brokers.mostly("filesystem")
    def test_real_worker_runs_a_task(self, broker, make_project):
        project = make_project(broker=broker)
        worker = project.start_worker()
        project.python("from tests.celery_app import app; app.send_task('celery.accumulate', [3])")
        worker.wait_for_line("celery.accumulate.* succeeded")

    def test_message_can_be_looked_at(self, broker):
        from celery import current_app

        current_app.send_task("some.task", [1])
        (message,) = broker.take_messages()
        assert message.headers["task"] == "some.task"
        assert broker.take_messages() == []

    def test_queues_are_apart(self, broker):
        assert broker.take_messages() == []


class TestProjects:
    @pytest.mark.storages
    @pytest.mark.parametrize("database", databases.ENGINES)
    def test_manage_runs_on_the_database(self, make_project, database):
        project = make_project(database)
        vendor = project.python("from django.db import connection; print(connection.vendor)")
        assert vendor.strip() == database

    def test_failing_command_shows_what_it_printed(self, make_project):
        with pytest.raises(AssertionError, match="Unknown command"):
            make_project().manage("no-such-command")


class TestSharedMemory:
    def test_instances_share_a_bucket(self):
        SharedMemoryStorage("a").save("x", ContentFile(b"1"))
        assert SharedMemoryStorage("a").exists("x")
        assert not SharedMemoryStorage("b").exists("x")

    def test_nothing_is_left_from_another_test(self):
        assert not SharedMemoryStorage("a").exists("x")


def test_waiting_tells_what_did_not_happen() -> Any:
    with pytest.raises(AssertionError, match="pigs fly"):
        wait_until(lambda: False, "pigs fly", timeout=0.1)


class TestChains:
    """What the fixtures promise to the tests of the package itself."""

    @pytest.mark.django_db(transaction=True)
    def test_made_chain_saves_on_its_first_tier(self, make_chain, tmp_path):
        name = make_chain(["near", "far"]).save("a/b.txt", ContentFile(b"1"))
        assert (tmp_path / "near" / name).read_bytes() == b"1"
        assert not (tmp_path / "far").exists()

    @pytest.mark.storages
    @pytest.mark.parametrize("broker", ["redis"], indirect=True)
    def test_worker_moves_a_file_on_every_catalog(self, catalog_db, broker, make_chain, start_worker):
        storage = make_chain({"near": "disk", "far": "disk"}, policy="transfer-and-delete")
        start_worker()
        name = storage.save("a.txt", ContentFile(b"1"))
        wait_until(lambda: storage.state(name) == "settled", "the file is settled")
        assert storage.tiers(name) == ["far"]

    @pytest.mark.django_db
    @pytest.mark.parametrize("broker", ["filesystem"], indirect=True)
    def test_worker_is_refused_to_a_test_in_a_transaction(self, start_worker):
        with pytest.raises(pytest.fail.Exception, match="transaction=True"):
            start_worker()
