"""A throw-away Django project in a folder of its own, and real Celery workers that run in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.processes import Process
from tests.support.workers import Worker

#: The checkout: the folder that holds queued_storage and tests.
CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass
class Project:
    """A folder with a settings.json that ``tests.support.project_settings`` reads."""

    folder: Path
    settings: Mapping[str, Any]
    processes: list[Process] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.configure(**self.settings)

    def configure(self, **settings: Any) -> None:
        """Add to the settings; processes that start from now on see it."""
        self.settings = {**self.settings, **settings}
        self.file.write_text(json.dumps(self.settings, default=str, indent=2))

    @property
    def file(self) -> Path:
        return self.folder / "settings.json"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "DJANGO_SETTINGS_MODULE": "tests.support.project_settings",
            "QUEUED_STORAGE_TEST_PROJECT": str(self.file),
            "PYTHONPATH": str(CHECKOUT),
        }

    def manage(
        self, *arguments: str, check: bool = True, timeout: float = 90
    ) -> subprocess.CompletedProcess[str]:
        """Run ``manage.py ARGUMENTS…`` in a process of its own; a failing command shows what it printed."""
        return self.run("-m", "django", *arguments, check=check, timeout=timeout)

    def python(self, code: str, *arguments: str, timeout: float = 90) -> str:
        """Run Python code in a process of its own, with Django set up; return what it printed."""
        program = f"import django; django.setup()\n{code}"
        return self.run("-c", program, *arguments, check=True, timeout=timeout).stdout

    def run(self, *arguments: str, check: bool, timeout: float) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and result.returncode:
            raise AssertionError(
                f"{' '.join(arguments)} exited {result.returncode}:\n{result.stdout}{result.stderr}"
            )
        return result

    def start(self, *arguments: str) -> Process:
        """Start a Python process of the project that runs until it is stopped, or the project is closed."""
        process = Process([sys.executable, *arguments], cwd=self.folder, env=self.environment)
        self.processes.append(process)
        return process

    def start_manage(self, *arguments: str) -> Process:
        return self.start("-m", "django", *arguments)

    def start_worker(self, **options: Any) -> Worker:
        """Start a Celery worker on the project's broker and return when it takes tasks; options as for Worker."""
        worker = Worker(cwd=self.folder, env=self.environment, **options)
        self.processes.append(worker)
        worker.wait_until_ready()
        return worker

    def close(self) -> None:
        """End what still runs; a test that wants an orderly end asks for it by ``stop()``."""
        for process in reversed(self.processes):
            process.kill()
