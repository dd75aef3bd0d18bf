"""Start processes, watch over them, and leave none behind."""

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

GRACE = 10.0


class DemoFailure(Exception):
    """The demo cannot go on; the message says why."""


def free_ports(count: int) -> list[int]:
    """Find ports that nobody listens on.

    Below the range from which the system gives ports to outgoing connections: one of those could take a port
    before its server has started.
    """
    ports: list[int] = []
    for port in random.sample(range(20_000, 32_000), 1_000):
        with socket.socket() as candidate, suppress(OSError):
            candidate.bind(("127.0.0.1", port))
            ports.append(port)
        if len(ports) == count:
            return ports
    raise DemoFailure(f"No {count} free ports between 20000 and 32000 on 127.0.0.1.")


@dataclass(frozen=True)
class Child:
    """A process that we started, and where it writes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    grace: float  # seconds between the polite request to end and the kill
    ends: bool  # by itself, once its work is done
    leftovers: Sequence[Path]  # what it makes outside the demo's folder and would leave there

    def tail(self, lines: int = 25) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Children:
    """The processes of the demo. Leaving the context ends them all, whatever happened inside."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[Child] = []

    def __enter__(self) -> "Children":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # an impatient second Ctrl-C must not leave servers behind
        self.stop()

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        grace: float = GRACE,
        ends: bool = False,
        leftovers: Sequence[Path] = (),
    ) -> Child:
        """Start a process in a session of its own: Ctrl-C then comes to us alone, and we end the others."""
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
            )
        child = Child(name, process, log, grace, ends, leftovers)
        self.running.append(child)
        return child

    def check(self) -> None:
        """Raise if one of them has ended that should not, or in failure."""
        for child in list(self.running):
            status = child.process.poll()
            if child.ends and status == 0:
                self.running.remove(child)  # its number may soon be that of another's process
            elif status is not None:
                raise DemoFailure(f"{child.name} has ended with status {status}.")

    def wait_for(self, what: str, ready: Callable[[], bool], timeout: float, interval: float = 0.1) -> float:
        """Ask again and again until it is so; answer the seconds it took."""
        started = time.monotonic()
        while not ready():
            self.check()
            if time.monotonic() - started > timeout:
                raise DemoFailure(f"{what} was not ready after {timeout:.0f} seconds.")
            time.sleep(interval)
        return time.monotonic() - started

    def stop(self) -> None:
        """End them in the order opposite to their start: politely, and then for certain."""
        for child in reversed(self.running):
            if child.process.poll() is None:
                child.process.terminate()
        asked = time.monotonic()
        for child in self.running:
            with suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.0, asked + child.grace - time.monotonic()))
            _kill_group(child.process)
            for path in child.leftovers:
                path.unlink(missing_ok=True)
        self.running = []


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a session that we started: the process itself, or children that outlived it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()
