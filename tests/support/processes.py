"""Start, watch and end one foreign process, by its own process id."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

LAUNCH = Path(__file__).with_name("launch.py")


class ProcessFailed(AssertionError):
    """The process ended or stayed silent; the message holds the end of its log."""


class Process:
    """A running program in a process group of its own; its output is read line by line into ``lines``."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = Path(command[0]).name
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self._popen = subprocess.Popen(
            [sys.executable, str(LAUNCH), str(os.getpid()), *command],
            cwd=cwd,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        assert self._popen.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._popen.stdout,), daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    def wait_for_line(self, pattern: str, *, timeout: float = 30) -> str:
        """Return the first line of the log that matches, which may have been written already."""
        expression = re.compile(pattern)
        deadline = time.monotonic() + timeout
        seen = 0
        with self._news:
            while True:
                for line in self.lines[seen:]:
                    if expression.search(line):
                        return line
                seen = len(self.lines)
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    raise self.failure(f"not within {timeout:g} s: a line like {pattern!r}")
                self._news.wait(left)

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def stop(self, *, timeout: float = 20) -> int:
        """Ask the process to end (SIGTERM); after ``timeout`` seconds end it and its children by force."""
        if self.running:
            self._popen.terminate()
        try:
            self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self._kill_group()
        return self._collect()

    def kill(self) -> int:
        """End the process and its children at once (SIGKILL), as a crash of the machine would."""
        self._kill_group()
        return self._collect()

    def failure(self, what: str) -> ProcessFailed:
        state = "still running" if self.running else f"ended with {self._popen.returncode}"
        return ProcessFailed(
            f"{self.name} ({state}): {what}. The end of its log:\n" + "\n".join(self.lines[-60:])
        )

    def _kill_group(self) -> None:
        """Only while the leader is not yet collected is the group's id certainly still its own."""
        if self.running:
            os.killpg(self._popen.pid, signal.SIGKILL)

    def _collect(self) -> int:
        code = self._popen.wait()
        # A grandchild may hold the pipe open a little longer than the process lives.
        self._reader.join(timeout=5)
        if self._popen.stdout is not None and not self._reader.is_alive():
            self._popen.stdout.close()
        return code

    def _read(self, output: IO[str]) -> None:
        for line in output:
            with self._news:
                self.lines.append(line.rstrip())
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on now, all different.

    They lie below those that systems hand out to outgoing connections, which could take one before its server does.
    """
    ports: list[int] = []
    # pytest-randomly gives every process the same seed, and with it the same "random" ports.
    for port in random.SystemRandom().sample(range(20_000, 32_000), 1_000):
        with socket.socket() as candidate, suppress(OSError):
            candidate.bind(("127.0.0.1", port))
            ports.append(port)
        if len(ports) == count:
            return ports
    raise AssertionError(f"no {count} free ports between 20000 and 32000 on 127.0.0.1")
