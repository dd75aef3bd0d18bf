"""Real Celery workers: processes of their own, as in production."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.processes import Process


class Worker(Process):
    """A running ``celery worker``. ``stop()`` is a warm shutdown, ``kill()`` a crash with all children."""

    def __init__(
        self,
        *,
        cwd: Path,
        env: Mapping[str, str],
        pool: str = "solo",
        concurrency: int = 1,
        arguments: Sequence[str] = (),
    ) -> None:
        self.node = f"worker-{uuid.uuid4().hex[:8]}@localhost"
        super().__init__(
            [
                *(sys.executable, "-m", "celery", "-A", "tests.celery_app", "worker"),
                *("--hostname", self.node, "--loglevel", "INFO"),
                *("--pool", pool, "--concurrency", str(concurrency)),
                *("--without-gossip", "--without-mingle"),
                *arguments,
            ],
            cwd=cwd,
            env=env,
        )
        self.name = f"worker {self.node}"

    def wait_until_ready(self, timeout: float = 40) -> None:
        self.wait_for_line(rf"{self.node} ready\.", timeout=timeout)
