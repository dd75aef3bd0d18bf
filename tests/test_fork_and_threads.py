"""Processes and threads at one chain: each has its own clients, and nobody's file is another's."""

from __future__ import annotations

import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.files.base import ContentFile
from django.db import connections

from queued_storage import bounded
from queued_storage.catalog import files

from tests.support import recording
from tests.support.waiting import wait_until

THREADS = 8
ROUNDS = 6


@pytest.fixture
def chain(make_chain):
    return make_chain({"near": "disk", "far": "disk", "mem": "memory"}).chain


@pytest.fixture
def storage(make_chain, seaweedfs, settings):
    """Disk before S3; nothing moves until the test says so."""
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH
    return make_chain({"near": "disk", "far": seaweedfs.tier()}, policy="transfer-and-delete")


def in_threads(function, count=THREADS):
    """Run ``function(number)`` in threads that begin at one moment; return what they returned, in order."""
    barrier = threading.Barrier(count)

    def run(number):
        barrier.wait()
        try:
            return function(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def in_child(function):
    """Run the function in a fork of this process; return the text that it returns."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, str(function()).encode())
        finally:
            os._exit(0)  # no clean-up of what is the parent's
    os.close(writer)
    with open(reader, encoding="utf-8") as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    return text


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
class TestFork:
    def test_child_builds_its_own_instance(self, chain):
        """Object ids would do if nobody could be given a freed one's: the parent's is alive."""
        mine = chain["near"].storage
        assert in_child(lambda: chain["near"].storage is mine) == "False"

    def test_child_keeps_the_instance_that_it_built(self, chain):
        assert chain["near"].storage
        assert in_child(lambda: chain["near"].storage is chain["near"].storage) == "True"

    def test_parent_keeps_its_instance(self, chain):
        mine = chain["near"].storage
        in_child(lambda: chain["near"].storage)
        assert chain["near"].storage is mine

    def test_child_uses_no_connection_of_its_parent(self, make_chain, seaweedfs):
        tier = make_chain({"near": "disk", "far": seaweedfs.tier()}).chain["far"]
        tier.storage.exists("a.txt")  # opens a connection
        mine = tier.storage.connection
        assert in_child(lambda: tier.storage.connection is mine) == "False"

    def test_child_does_not_wait_for_threads_of_its_parent(self):
        """A fork copies the list of idle threads, and none of the threads."""
        bounded.call(lambda: None, 5)
        assert in_child(lambda: bounded.call(lambda: "answered", 5)) == "answered"


@pytest.mark.django_db(transaction=True)
@pytest.mark.servers
@pytest.mark.parametrize("broker", ["filesystem"], indirect=True)
def test_prefork_children_move_files_with_clients_of_their_own(broker, make_chain, seaweedfs, start_worker):
    bucket = seaweedfs.make_bucket()
    storage = make_chain({"near": "disk", "far": seaweedfs.tier(bucket)}, policy="transfer-and-delete")
    start_worker(pool="prefork", concurrency=2)
    names = [storage.save(f"{number}.txt", ContentFile(b"%d" % number)) for number in range(12)]
    wait_until(lambda: all(storage.state(name) == "settled" for name in names), "all are settled")
    assert [seaweedfs.read(bucket, name) for name in names] == [b"%d" % number for number in range(12)]


class TestThreadsHaveTheirOwn:
    def test_instance_of_a_tier(self, chain):
        instances = in_threads(lambda number: chain["near"].storage)
        assert len(set(map(id, instances))) == THREADS

    def test_s3_client(self, make_chain, seaweedfs):
        tier = make_chain({"near": "disk", "far": seaweedfs.tier()}).chain["far"]
        connected = in_threads(lambda number: tier.storage.connection)
        assert len(set(map(id, connected))) == THREADS

    def test_but_memory_is_shared(self, chain):
        instances = in_threads(lambda number: chain["mem"].storage)
        assert len(set(map(id, instances))) == 1

    def test_chain_is_built_once(self, make_chain):
        storage = make_chain()
        assert len({id(chain) for chain in in_threads(lambda number: storage.chain)}) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.servers
class TestThreadsAtOnce:
    """Eight threads at one chain of disk and S3."""

    def test_g1_each_reads_what_it_saved(self, storage):
        def save_and_read(number):
            for size in range(ROUNDS):
                content = os.urandom(10 + size * 50_000)
                name = storage.save("same.bin", ContentFile(content))
                assert read(storage, name) == content
                yield name, hashlib.sha256(content).hexdigest()

        saved = dict(sum(in_threads(lambda number: list(save_and_read(number))), []))  # noqa: RUF017
        assert len(saved) == THREADS * ROUNDS  # no two got one name
        recording.work()
        assert {name: digest(storage, name) for name in saved} == saved

    def test_g1_all_read_while_files_move(self, storage):
        contents = {
            storage.save(f"{n}.bin", ContentFile(c)): c for n in range(20) if (c := os.urandom(100_000))
        }
        moved = threading.Event()

        def read_or_move(number):
            if number == 0:
                try:
                    return recording.work()
                finally:
                    moved.set()
            while not moved.is_set():
                assert all(read(storage, name) == content for name, content in contents.items())
            return 0

        assert in_threads(read_or_move)[0] == len(contents)
        assert {storage.tier(name) for name in contents} == {"far"}

    def test_threads_that_drain_at_once_move_each_file_once(self, storage):
        names = [storage.save(f"{number}.bin", ContentFile(os.urandom(50_000))) for number in range(16)]
        assert sum(in_threads(lambda number: recording.work(), 4)) == len(names)
        assert set(files().values_list("state", "fence")) == {("settled", 1)}

    def test_one_name_is_given_to_one(self, storage):
        names = in_threads(lambda number: storage.save("a.txt", ContentFile(b"%d" % number)))
        assert len(set(names)) == THREADS
        assert [read(storage, name) for name in names] == [b"%d" % number for number in range(THREADS)]

    def test_delete_in_all_threads_deletes_once_and_for_all(self, storage):
        name = storage.save("a.txt", ContentFile(b"1"))
        recording.work()
        in_threads(lambda number: storage.delete(name))
        recording.work()
        assert not storage.exists(name)
        assert storage.state(name) is None


def read(storage, name):
    with storage.open(name) as file:
        return file.read()


def digest(storage, name):
    return hashlib.sha256(read(storage, name)).hexdigest()
