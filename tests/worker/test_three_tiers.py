"""Disk, S3 and a second S3 bucket: hundreds of files move through a real worker while a reader checks them all.

``make test-big`` (QUEUED_STORAGE_TEST_BIG=1) moves 500 files of up to 20 MB, the plain suite fewer and smaller ones.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import threading
import time
from io import StringIO

import pytest
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.db import connections, transaction

from queued_storage.catalog import database, files

from tests.support import services
from tests.support.waiting import wait_until

BIG = bool(os.environ.get("QUEUED_STORAGE_TEST_BIG"))
#: Files, bytes of the largest, bytes of all together, seconds that it may take.
COUNT, LARGEST, TOTAL, PATIENCE = (
    (500, 20_000_000, 600_000_000, 1500) if BIG else (60, 4_000_000, 30_000_000, 240)
)
SMALLEST = 1_000
#: Files of one transaction.
BATCH = 5

pytestmark = [
    pytest.mark.servers,
    pytest.mark.slow,
    pytest.mark.timeout(PATIENCE + 120),
    pytest.mark.parametrize("broker", ["redis"], indirect=True),
    pytest.mark.parametrize(
        "catalog_db", ["postgresql" if services.usable("postgresql") else "default"], indirect=True
    ),
]


def sizes():
    """Sizes spread evenly over the orders of magnitude, the extremes among them, in random order."""
    spread = [round(SMALLEST * (LARGEST / SMALLEST) ** (i / (COUNT - 1))) for i in range(COUNT)]
    surplus = max(sum(spread) - TOTAL, 0)
    for i in range(
        COUNT - 2, 0, -2
    ):  # where that is too much in all, every second of the large ones is made small
        if surplus <= 0:
            break
        surplus -= spread[i] - SMALLEST * 10
        spread[i] = SMALLEST * 10
    random.shuffle(spread)
    return spread


class Reader(threading.Thread):
    """Reads all files over and over, and compares what it gets with what was saved."""

    def __init__(self, storage):
        super().__init__(name="reader", daemon=True)
        self.storage = storage
        self.saved = {}
        self.reads = 0
        self.bytes = 0
        self.tiers = set()
        self.errors = []
        self.ended = threading.Event()

    def run(self):
        try:
            while not self.ended.is_set():
                for name, digest in list(self.saved.items()):
                    self.check(name, digest)
                    if self.ended.is_set():
                        return
        finally:
            connections.close_all()

    def check(self, name, digest):
        try:
            seen = self.digest(name)
        except Exception as error:  # noqa: BLE001 - whatever a reader meets is a finding
            self.errors.append(f"{name}: {error!r}")
            return
        self.reads += 1
        if seen != digest:
            self.errors.append(f"{name}: other content")

    def digest(self, name):
        digest = hashlib.sha256()
        with self.storage.open(name) as file:
            self.tiers.add(self.storage.tier(name))
            while data := file.read(1 << 18):
                digest.update(data)
                self.bytes += len(data)
        return digest.hexdigest()

    def stop(self):
        self.ended.set()
        self.join(60)


def save_all(storage, reader):
    """Save files with random content, several in each transaction; the reader sees those that are committed."""
    numbered = enumerate(sizes())
    while batch := list(itertools.islice(numbered, BATCH)):
        saved = {}
        with transaction.atomic(using=database()):
            for number, size in batch:
                content = random.randbytes(size)
                name = storage.save(f"{number % 10}/{number}.bin", ContentFile(content))
                saved[name] = hashlib.sha256(content).hexdigest()
        reader.saved |= saved


def is_settled():
    return not files().exclude(state="settled").exists()


@pytest.fixture
def buckets(seaweedfs):
    return {"s3": seaweedfs.make_bucket(), "second": seaweedfs.make_bucket()}


@pytest.fixture
def storage(make_chain, seaweedfs, buckets):
    tiers = {name: seaweedfs.tier(bucket) | {"EXCLUSIVE": True} for name, bucket in buckets.items()}
    return make_chain({"disk": "disk", **tiers}, policy="transfer-and-delete")


@pytest.fixture
def reader(storage):
    reader = Reader(storage)
    reader.start()
    yield reader
    reader.stop()


def test_g1_files_are_whole_at_every_moment_of_a_move_over_three_tiers(
    catalog_db, storage, buckets, reader, start_worker_with, beat, seaweedfs, tmp_path, capsys
):
    start_worker_with(*beat, pool="prefork", concurrency=2, QUEUED_STORAGE_SWEEP_INTERVAL=5)
    started = time.monotonic()
    save_all(storage, reader)
    saving = time.monotonic() - started
    wait_until(is_settled, "every file is settled", timeout=PATIENCE, every=0.25)
    seconds = time.monotonic() - started
    reader.stop()
    with capsys.disabled():
        size = sum(files().values_list("size", flat=True)) / 1e6
        print(
            f"\n{COUNT} files, {size:.0f} MB, {catalog_db}: saved in {saving:.1f} s, on both buckets after "
            f"{seconds:.1f} s ({COUNT / seconds:.1f} files/s, {size / seconds:.1f} MB/s); meanwhile {reader.reads} "
            f"reads ({reader.bytes / 1e6:.0f} MB) from {sorted(reader.tiers)}, {len(reader.errors)} wrong"
        )

    assert reader.errors == []
    assert reader.reads > 0
    assert {reader.digest(name) == digest for name, digest in reader.saved.items()} == {True}
    assert [path for path in (tmp_path / "disk").rglob("*") if path.is_file()] == []
    for bucket in buckets.values():
        assert seaweedfs.keys(bucket) == sorted(reader.saved)
    assert_status_tells_so()


def assert_status_tells_so():
    answer = StringIO()
    call_command("tiers", "status", "--json", stdout=answer)
    (status,) = [each for each in json.loads(answer.getvalue())["chains"] if each["chain"] == "media"]
    assert (status["settled"], status["pending"], status["failed"]) == (COUNT, 0, 0)
    assert {tier["tier"]: tier["files"] for tier in status["tiers"]} == {
        "disk": 0,
        "s3": COUNT,
        "second": COUNT,
    }
