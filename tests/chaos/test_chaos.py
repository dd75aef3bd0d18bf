"""``make chaos`` in small: some files, some kills, a flush, two faults of the network."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from tests.chaos.world import CLAIM
from tests.support import databases, services
from tests.support.processes import Process
from tests.support.projects import CHECKOUT
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.storages, pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def needed_services():
    services.need("postgresql")
    services.need("redis")


def chaos(*arguments):
    return [sys.executable, "-m", "tests.chaos", *arguments]


def test_g1_to_g6_hold_while_workers_are_killed_and_servers_fail(needed_services):
    given = ("--files", "30", "--kills", "2", "--flushes", "1", "--faults", "1", "--stops", "1")
    result = subprocess.run(
        chaos(*given), cwd=CHECKOUT, capture_output=True, text=True, timeout=220, check=False
    )
    told = result.stdout + result.stderr
    assert result.returncode == 0, told
    assert re.search(r"^kills +2 ", told, re.MULTILINE), told
    assert re.search(r"^lost +0$", told, re.MULTILINE), told


def test_interrupted_chaos_leaves_nothing(needed_services):
    process = Process(chaos("--files", "60", "--kills", "3"), cwd=CHECKOUT)
    line = process.wait_for_line(r"^database ", timeout=60)
    process.signal(signal.SIGTERM)
    wait_until(lambda: not process.running, "it has ended", timeout=40)
    process.stop()
    assert "cleaned up" in process.log
    database, *redis_urls, folder = re.search(
        r"database (\w+), broker (\S+), cache (\S+), folder (\S+)", line
    ).groups()
    assert database not in database_names()
    assert not Path(folder).exists()
    for url in redis_urls:
        with redis.Redis.from_url(url) as client:
            assert not client.exists(CLAIM)


def database_names():
    with databases.connect("postgresql") as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
