"""What processes cost: CPU and memory, as Linux tells them; and files to move."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BLOCK = 8 << 20


@dataclass(frozen=True)
class Run:
    """What one run took: by the clock, of the client's CPU, and of its memory at the peak (bytes, resident)."""

    seconds: float
    cpu: float = 0.0
    memory: int = 0


def run(command: Sequence[str], environment: Mapping[str, str]) -> Run:
    """Run a program to its end; raise CalledProcessError, with what it said, if it fails."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    with process:
        assert process.stderr is not None
        told = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, stderr=told.decode(errors="replace"))
    return Run(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


class Family:
    """A process and its children, one process group: their CPU, and the most memory that one of them has resident."""

    def __init__(self, leader: int) -> None:
        self._leader = leader

    def __enter__(self) -> Family:
        for pid in self._pids():
            forget_peak(pid)
        self._before = self._cpu()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu = self._cpu() - self._before
        self.memory = max(resident("VmHWM", pid) for pid in self._pids())

    def _pids(self) -> list[int]:
        return [int(stat.parent.name) for stat in Path("/proc").glob("[0-9]*/stat") if self._has(stat)]

    def _has(self, stat: Path) -> bool:
        fields = _fields(stat)
        return bool(fields) and int(fields[_GROUP]) == self._leader

    def _cpu(self) -> float:
        """Return the seconds used so far, also by children that have ended."""
        ticks = sum(
            int(field) for pid in self._pids() for field in _fields(Path(f"/proc/{pid}/stat"))[_TIMES]
        )
        return ticks / os.sysconf("SC_CLK_TCK")


#: Where /proc/PID/stat has the process group, and the times: user, system, and both of children that have ended.
_GROUP, _TIMES = 2, slice(11, 15)


def _fields(stat: Path) -> list[str]:
    """Return what stands behind the process' name; nothing of a process that has ended."""
    try:
        return stat.read_text().rpartition(")")[2].split()
    except OSError:
        return []


def resident(kind: str, pid: int | str = "self") -> int:
    """Return VmRSS or VmHWM of a process, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"/proc/{pid}/status tells no {kind}")


def forget_peak(pid: int | str = "self") -> None:
    """Have VmHWM begin again at what is resident now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def write_random(path: Path, size: int) -> None:
    """Write a file of which no two blocks are alike, nor any two files."""
    block = bytearray(os.urandom(min(BLOCK, size)))
    with path.open("wb") as file:
        for start in range(0, size, BLOCK):
            block[:8] = start.to_bytes(8, "big") if start else block[:8]
            file.write(memoryview(block)[: size - start])
