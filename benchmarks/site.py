"""A site with its media in a folder, that is to go to S3, and the commands that its operator types."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from .usage import Run
from .world import AWS_ENVIRONMENT, MEMORY, BenchProject
from tests.base_settings import DISK
from tests.support import brokers, databases, servers, services

CHAIN = "media"
#: Files in each folder.
FOLDER = 100
#: Seconds within which a command has to end.
PATIENCE = 3600


@dataclass(frozen=True)
class Told:
    """What one command printed, how it ended, and what it took."""

    code: int
    lines: list[str]
    run: Run


@dataclass
class Site:
    folder: Path
    project: BenchProject
    server: servers.S3Server
    bucket: str
    #: What its figures depend on.
    conditions: dict[str, Any]

    @property
    def media(self) -> Path:
        return self.folder / "media"

    def fill(self, count: int) -> list[str]:
        """Write so many files into the folder, as a site has them that never heard of a catalog; return their names."""
        names = [f"{number // FOLDER:04}/{number:06}.txt" for number in range(count)]
        for name in names[::FOLDER]:
            (self.media / name).parent.mkdir(parents=True)
        for name in names:
            (self.media / name).write_text(name)
        return names

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "benchmarks.managed", str(self._took), "tiers", *arguments]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.project.environment, **AWS_ENVIRONMENT}

    def tiers(self, *arguments: str) -> Told:
        """Run ``manage.py tiers ARGUMENTS…`` in a process of its own, as in a pipe."""
        started = time.perf_counter()
        with tempfile.TemporaryFile(dir=self.folder, mode="w+") as output:
            code = subprocess.run(
                self.command(*arguments), cwd=self.folder, env=self.environment, timeout=PATIENCE, check=False,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            ).returncode  # fmt: skip
            seconds = time.perf_counter() - started
            output.seek(0)
            lines = shortened(line.rstrip("\n") for line in output)
        return Told(code, lines, Run(seconds, **json.loads(self._took.read_text())))

    @property
    def _took(self) -> Path:
        return self.folder / "took.json"


#: Lines of a command's output that are kept from its beginning, and from its end.
HEAD, TAIL = 3, 6


def shortened(lines: Iterator[str]) -> list[str]:
    """Return the lines without most of those in the middle."""
    kept, dropped = list(islice(lines, HEAD + TAIL)), 0
    for line in lines:
        del kept[HEAD]
        kept.append(line)
        dropped += 1
    return [*kept[:HEAD], f"... {dropped:,} lines ...", *kept[HEAD:]] if dropped else kept


@contextmanager
def site(port: int | None = None, server: servers.S3Server | None = None, **settings: Any) -> Iterator[Site]:
    """Make a site, gone afterwards; ``port`` is where its storage finds the S3 server."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="queued-storage-site-")))
        made = server or stack.enter_context(s3())
        engine = "postgresql" if services.usable("postgresql") else "sqlite"
        database = stack.enter_context(databases.temporary(engine, folder))
        broker = stack.enter_context(
            brokers.temporary("redis" if services.usable("redis") else "filesystem", folder)
        )
        bucket = made.make_bucket()
        chain = {
            "TIERS": {
                "disk": {"BACKEND": DISK, "OPTIONS": {"location": str(folder / "media")}},
                "s3": {**made.tier(bucket, port), "EXCLUSIVE": True, "IDENTITY": True},
            },
            "POLICY": "transfer",
            "TRASH": "P7D",
        }
        told = {"DATABASES": {"default": database}, **broker.settings, "QUEUED_STORAGE_TIERS": {CHAIN: chain}}
        project = BenchProject(folder / "project", told | settings)
        project.manage("migrate", "--verbosity", "0", timeout=PATIENCE)
        conditions = {"catalog": engine, "broker": broker.name, "S3": made.version()}
        yield Site(folder, project, made, bucket, conditions)


@contextmanager
def s3() -> Iterator[servers.S3Server]:
    """SeaweedFS, its data in memory, where there is one; else moto."""
    if servers.weed_program() is None:
        with servers.moto() as server:
            yield server
    else:
        with servers.seaweedfs(within=MEMORY if MEMORY.is_dir() else None) as server:
            yield server
