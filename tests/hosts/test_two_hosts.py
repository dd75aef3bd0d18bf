"""Two hosts as processes with roots of their own, one database, one broker, a Celery worker each on its own queue."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import tier_settings
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.support.brokers import Broker
    from tests.support.projects import Project
    from tests.support.servers import S3Server
    from tests.support.workers import Worker

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.storages, pytest.mark.timeout(300)]

#: What a host's web process does: it is told by a line each, and answers by one.
HOST = """
import io, json, sys
import django
django.setup()
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from queued_storage import dispatch
from queued_storage.exceptions import OnAnotherHost
from queued_storage.storage import tiered_storages
from tests import celery_app

def save(name, content):
    return tiered_storages["media"].save(name, ContentFile(content.encode()))

def read(name):
    try:
        with tiered_storages["media"].open(name) as file:
            return f"read {file.read().decode()}"
    except OnAnotherHost as error:
        return f"on {error.host}"
    except FileNotFoundError:
        return "missing"

def delete(name):
    tiered_storages["media"].delete(name)

def sweep():
    dispatch.sweep()

def tiers(*arguments):
    told = io.StringIO()
    try:
        call_command("tiers", *arguments, stdout=told)
    except SystemExit as end:
        return end.code, told.getvalue()
    except CommandError as error:
        return 1, str(error)
    return 0, told.getvalue()

def status():
    return json.loads(tiers("status", "--json")[1])["hosts"]

for line in sys.stdin:
    what, *arguments = json.loads(line)
    print(json.dumps(globals()[what](*arguments)), flush=True)
"""


class Host:
    """A process that runs until it is closed."""

    def __init__(self, project: Project) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", HOST],
            cwd=project.folder,
            env={**os.environ, **project.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, *what: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(what)}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()  # it ends with its input


class TwoHosts:
    def __init__(self, new_project: Callable[..., Project], broker: Broker, folder: Path, below: Any) -> None:
        self.queue = broker.queue
        self.folder = folder
        self.projects: dict[str, Project] = {}
        self.hosts: dict[str, Host] = {}
        database = None
        for host in ("web1", "web2"):
            options = {"location": str(folder / host), "base_url": "/media/"}
            tiers = {
                "disk": {
                    "BACKEND": "django.core.files.storage.FileSystemStorage",
                    "OPTIONS": options,
                    "SHARED": False,
                },
                "below": below,
            }
            settings = {
                "QUEUED_STORAGE_HOST": host,
                "QUEUED_STORAGE_HOST_SILENT": 2,
                "QUEUED_STORAGE_TIERS": {"media": {"TIERS": tiers, "POLICY": "transfer-and-delete"}},
            }
            if database is None:
                project = new_project("sqlite", **broker.settings, **settings)
                database = project.settings["DATABASES"]
                project.manage("migrate", "--verbosity=0")
            else:
                project = new_project(DATABASES=database, **broker.settings, **settings)
            self.projects[host] = project

    def worker(self, host: str, *, of_all: bool = False) -> Worker:
        queues = f"{self.queue}.{host}" + (f",{self.queue}" if of_all else "")
        return self.projects[host].start_worker(arguments=("--queues", queues))

    def ask(self, host: str, *what: str) -> Any:
        if host not in self.hosts:
            self.hosts[host] = Host(self.projects[host])
        return self.hosts[host].ask(*what)

    def save(self, host: str, name: str, content: str) -> str:
        return str(self.ask(host, "save", name, content))

    def read(self, host: str, name: str) -> str:
        return str(self.ask(host, "read", name))

    def status(self, host: str) -> dict[str, dict[str, Any]]:
        return {each["host"]: each for each in self.ask(host, "status")}

    def close(self) -> None:
        for host in self.hosts.values():
            host.close()

    def has(self, host: str, name: str) -> bool:
        return (self.folder / host / name).exists()


class Vault:
    """A folder that both reach, in the place of an object store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def tier(self) -> Any:
        return tier_settings("vault", "disk", self.folder)

    def has(self, name: str) -> bool:
        return (self.folder / "vault" / name).exists()


class S3:
    def __init__(self, server: S3Server) -> None:
        self.server = server
        self.bucket = server.make_bucket()

    def tier(self) -> Any:
        return self.server.tier(self.bucket)

    def has(self, name: str) -> bool:
        return name in self.server.keys(self.bucket)


@pytest.fixture
def below(broker: Broker, tmp_path: Path, request: pytest.FixtureRequest) -> Vault | S3:
    """What both hosts reach: with Redis a real object store."""
    return S3(request.getfixturevalue("seaweedfs")) if broker.name == "redis" else Vault(tmp_path)


@pytest.fixture
def two(broker: Broker, below: Vault | S3, _new_project: Any, tmp_path: Path) -> Iterator[TwoHosts]:
    hosts = TwoHosts(_new_project, broker, tmp_path / "disks", below.tier())
    yield hosts
    hosts.close()


@pytest.mark.parametrize("broker", ["redis", "rabbitmq", "filesystem"], indirect=True)
def test_life_of_files_on_two_hosts(two: TwoHosts, below: Vault | S3) -> None:
    # One host saves; nobody works. The other knows where it is, and its own worker cannot move it.
    assert two.save("web1", "a.txt", "of web1") == "a.txt"
    assert two.read("web2", "a.txt") == "on web1"
    other = two.worker("web2", of_all=True)
    two.ask("web2", "sweep")
    assert two.save("web2", "b.txt", "of web2") == "b.txt"
    wait_until(lambda: not two.has("web2", "b.txt"), "web2's worker moves web2's file")
    assert two.read("web1", "b.txt") == "read of web2"
    assert two.read("web2", "a.txt") == "on web1"

    # Nothing was heard of web1, and work waits for it.
    status = wait_until(
        lambda: (told := two.status("web2"))["web1"]["is_silent"] and told, "web1 is told to be silent"
    )
    assert (status["web1"]["owed"], status["web2"]["owed"]) == (1, 0)
    told = two.projects["web2"].manage("tiers", "status", check=False)
    assert told.returncode == 2
    assert "host web1: SILENT" in told.stdout

    # Deleted from web2, it is gone for both at once; its bytes wait for web1.
    assert two.save("web1", "c.txt", "also of web1") == "c.txt"
    two.ask("web2", "delete", "a.txt")
    assert {two.read(host, "a.txt") for host in ("web1", "web2")} == {"missing"}
    assert two.has("web1", "a.txt")

    # It comes back, and all is settled.
    worker = two.worker("web1")
    wait_until(
        lambda: not (two.has("web1", "a.txt") or two.has("web1", "c.txt")),
        "web1 clears what web2 deleted, and its worker moves its file",
    )
    assert two.read("web2", "c.txt") == "read also of web1"
    status = two.status("web2")
    assert (status["web1"]["is_silent"], status["web1"]["owed"]) == (False, 0)

    # Dead again, and alive again: what came in between is done.
    worker.kill()
    two.save("web1", "d.txt", "late")
    two.ask("web2", "sweep")
    assert two.read("web2", "d.txt") == "on web1"
    assert not below.has("d.txt")
    two.worker("web1")
    wait_until(lambda: not two.has("web1", "d.txt"), "web1 moves what was saved meanwhile")
    assert two.read("web2", "d.txt") == "read late"
    assert below.has("d.txt")
    other.stop()


@pytest.mark.parametrize("broker", ["redis", "filesystem"], indirect=True)
def test_host_is_given_up_and_comes_back(two: TwoHosts, below: Vault | S3) -> None:
    two.save("web1", "a.txt", "of web1")
    two.save("web1", "b.txt", "also of web1")
    two.ask("web2", "delete", "b.txt")
    two.worker("web2", of_all=True)

    def given_up() -> str | None:
        code, told = two.ask("web2", "tiers", "hosts", "--give-up", "web1", "--yes")
        assert code == 2 or "lives: " in told or "asked" in told, told
        return str(told) if code == 2 else None

    told = wait_until(given_up, "web1 was asked for a sign of life, and gave none")
    assert told.startswith("lost: media: a.txt")
    assert two.status("web2")["web1"]["given_up_at"] is not None
    assert two.read("web2", "a.txt") == "on web1"

    # It is there again: it clears what was deleted, keeps what it alone has, and that can be had back.
    two.worker("web1")
    wait_until(lambda: not two.has("web1", "b.txt"), "web1 clears what web2 deleted")
    assert two.status("web2")["web1"]["given_up_at"] is None
    assert two.has("web1", "a.txt")
    two.ask("web1", "tiers", "retry")
    wait_until(lambda: not two.has("web1", "a.txt"), "web1 moves what it alone had")
    assert two.read("web2", "a.txt") == "read of web1"
    assert below.has("a.txt")


@pytest.mark.parametrize("broker", ["filesystem"], indirect=True)
def test_worker_that_does_not_listen_to_its_hosts_queue_says_so(two: TwoHosts) -> None:
    worker = two.projects["web1"].start_worker()
    worker.wait_for_line(rf"no_host_queue check=queued_storage\.W009 host=web1 queue={two.queue}\.web1")
