"""Forks children that kill themselves at each step of an operation, and looks at what they leave.

Usage: python -m tests.kill.program GROUP [S3_TIER.json]. Prints one JSON document for each scenario: its steps, what
was wrong after which. A program of its own, since pytest's process is none to fork; and children of a process that is
warm already, since starting Python a thousand times takes minutes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import boto3
import django
import time_machine
from storages.backends.s3 import S3Storage

#: QUEUED_STORAGE_TEST_KILL_ALL: before and after each step, and each aftermath at each; else each step once.
ALL = bool(os.environ.get("QUEUED_STORAGE_TEST_KILL_ALL"))
MOST_STEPS = 400
#: What a process may be at when it is killed, after which a file lies on the first tier that no row tells of.
UNCOMMITTED = "published, not committed"


class Nowhere:
    """A dispatcher whose messages are all lost."""

    def dispatch(self, ids: Sequence[int]) -> None:
        pass


class OneClientStorage(S3Storage):  # type: ignore[misc]
    """S3Storage on one client for all instances of a thread, which a fork can take over: it drops its connections."""

    resources = threading.local()

    @property
    def connection(self) -> Any:
        if not hasattr(self.resources, "made"):
            self.resources.made = boto3.resource(
                "s3", endpoint_url=self.endpoint_url, region_name="us-east-1",
                aws_access_key_id=self.access_key, aws_secret_access_key=self.secret_key, config=self.client_config,
            )  # fmt: skip
        return self.resources.made

    @classmethod
    def forget_connections(cls) -> None:
        if hasattr(cls.resources, "made"):
            cls.resources.made.meta.client.close()


@dataclass
class Killed:
    """What one kill left, as it was seen at once."""

    name: str
    step: str
    seen: bytes
    aftermath: str
    expected: set[bytes]
    #: A name that a save after it got.
    saved: str = ""


@dataclass
class Trial:
    """All kills of one scenario."""

    scenario: Any
    folder: Path
    server: dict[str, Any]
    wrong: list[str] = field(default_factory=list)
    killed: list[Killed] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    steps: int = 0

    def run(self) -> None:
        for number in range(MOST_STEPS):
            for aftermath in self._aftermaths(number):
                if not self._one(number, aftermath):
                    self.steps = number
                    self._end_all()
                    return
        self.wrong.append(f"not done after {MOST_STEPS} steps")

    def _aftermaths(self, number: int) -> tuple[str, ...]:
        from tests.kill.scenarios import AFTERMATHS

        return AFTERMATHS if ALL else (AFTERMATHS[number % len(AFTERMATHS)],)

    def _one(self, number: int, aftermath: str) -> bool:
        """Kill the operation at this step; return False once it was over before."""
        name = f"{number}-{aftermath}/a.bin"
        self.scenario.prepare(name)
        step = self._kill_at(number, name)
        if step is None:
            return False
        self._look(name, step, aftermath)
        return True

    def _kill_at(self, number: int, name: str) -> str | None:
        from django.db import connections

        connections.close_all()
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            self._be_killed(number, name, write)
        os.close(write)
        with open(read) as pipe:
            step = pipe.read()
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            return step
        if status:
            self.wrong.append(f"step {number}: the child ended with status {status}: {step}")
        return None

    def _be_killed(self, number: int, name: str, note: int) -> None:
        from tests.kill.steps import Steps

        try:
            OneClientStorage.forget_connections()
            Steps(number, note, also_after=ALL).install()
            self.scenario.operate(name)
        except BaseException:  # noqa: BLE001 - told to the parent
            os.write(note, traceback.format_exc().encode())
            os._exit(3)
        os._exit(0)

    # ---- at once ----

    def _look(self, name: str, step: str, aftermath: str) -> None:
        from tests.kill import scenarios

        storage = scenarios.storage()
        seen = self._seen(name)
        where = f"killed {step}, then {aftermath}"
        if seen not in self.scenario.may_be_seen:
            self.wrong.append(f"{where}: readers see {seen[:20]!r}, {len(seen)} bytes")
        if storage.exists(name) != (seen != scenarios.NOTHING):
            self.wrong.append(f"{where}: exists() says {storage.exists(name)}")
        if self._is_orphan(name, seen):
            self.orphans.append(step)
        self._expect_no_staging(name, where)
        record = Killed(name, step, seen, aftermath, self._expected(seen))
        self.killed.append(record)
        getattr(self, f"_{aftermath}")(record, where)

    def _expected(self, seen: bytes) -> set[bytes]:
        """What may be there in the end: what was seen may be succeeded by what was committed, not the other way."""
        from tests.kill import scenarios

        if seen == scenarios.NEW:
            return {seen}
        if seen == scenarios.NOTHING:
            return {seen} | (self.scenario.may_be_seen & {scenarios.NEW})
        return self.scenario.may_be_seen

    def _is_orphan(self, name: str, seen: bytes) -> bool:
        from queued_storage import catalog

        from tests.kill import scenarios

        return seen != scenarios.NOTHING and catalog.find(scenarios.ALIAS, name) is None

    def _expect_no_staging(self, name: str, where: str) -> None:
        from tests.kill import scenarios

        folder, _, base = name.partition("/")
        try:
            _, files = scenarios.storage().listdir(folder)
        except FileNotFoundError:
            files = []
        if others := [each for each in files if each not in (base, f"{base}.second")]:
            self.wrong.append(f"{where}: listdir shows {others}")

    def _seen(self, name: str) -> bytes:
        from tests.kill import scenarios

        try:
            with scenarios.storage().open(name) as file:
                data: bytes = file.read()
        except FileNotFoundError:
            return scenarios.NOTHING
        return data

    # ---- aftermaths ----

    def _leave(self, record: Killed, where: str) -> None:
        """Nobody does anything until the lease is over."""

    def _save(self, record: Killed, where: str) -> None:
        from tests.kill import scenarios

        record.saved = scenarios.save(record.name, scenarios.LATEST)
        if self._seen(record.saved) != scenarios.LATEST:
            self.wrong.append(f"{where}: it is not what is read by {record.saved!r}")
        if record.saved == record.name:
            record.expected = {scenarios.LATEST}
        elif self._seen(record.name) != record.seen:
            self.wrong.append(f"{where}: a save under another name changed it")

    def _delete(self, record: Killed, where: str) -> None:
        from tests.kill import scenarios

        scenarios.storage().delete(record.name)
        if self._seen(record.name) != scenarios.NOTHING or scenarios.storage().exists(record.name):
            self.wrong.append(f"{where}: readers still see it")
        record.expected = {scenarios.NOTHING}

    # ---- in the end ----

    def _end_all(self) -> None:
        from django.core.management import call_command

        from queued_storage.batch import drain

        # Leases end, and so do the attempts that lost theirs; messages were lost, and the sweep finds what is due.
        for days in (1, 2, 3):
            with time_machine.travel(time.time() + timedelta(days=days).total_seconds()):
                for _ in drain(own_process=False):
                    pass
        with time_machine.travel(time.time() + timedelta(days=4).total_seconds()):
            call_command("tiers", "gc", "--older-than", "3600", "--max-share", "100", stdout=StringIO())
        for record in self.killed:
            where = f"killed {record.step}, then {record.aftermath}, in the end"
            self._expect_in_the_end(record.name, record.expected, where)
            if record.saved not in ("", record.name):
                from tests.kill.scenarios import LATEST

                self._expect_in_the_end(record.saved, {LATEST}, f"{where}, the later save")
        if left := [str(path) for path in (self.folder / "near").rglob(".*") if path.is_file()]:
            self.wrong.append(f"gc left {left}")

    def _expect_in_the_end(self, name: str, expected: set[bytes], where: str) -> None:
        from queued_storage import catalog

        from tests.kill import scenarios

        held = dict(self._held(name))
        row = catalog.find(scenarios.ALIAS, name)
        seen = self._seen(name)
        if seen not in expected:
            self.wrong.append(f"{where}: readers see {seen[:20]!r}, {len(seen)} bytes")
        if row is None or not row.is_live:
            self._expect_gone(row, held, where)
            return
        if row.state != "settled" or row.lease:
            self.wrong.append(f"{where}: it is {row.state}, lease {row.lease!r}: {row.last_error}")
        if held != dict.fromkeys(self.scenario.wanted, seen):
            self.wrong.append(
                f"{where}: { ({tier: data[:12] for tier, data in held.items()}) } of {seen[:12]!r}"
            )

    def _expect_gone(self, row: Any, held: dict[str, bytes], where: str) -> None:
        from tests.kill import scenarios

        if row is not None and held:
            self.wrong.append(f"{where}: deleted, and yet on {sorted(held)}")
        if row is None and held not in ({}, {"near": scenarios.NEW}):
            self.wrong.append(f"{where}: no row, and { ({tier: data[:12] for tier, data in held.items()}) }")
        if row is not None and not row.is_gone:
            self.wrong.append(f"{where}: its delete is owed for ever")

    def _held(self, name: str) -> Iterator[tuple[str, bytes]]:
        """Yield what each tier holds, past every storage."""
        for tier in ("near", "far"):
            path = self.folder / tier / name
            if path.exists():
                yield tier, path.read_bytes()
        if self.scenario.lower == "s3":
            client = OneClientStorage(**self.server["OPTIONS"]).connection.meta.client
            bucket, key = self.server["OPTIONS"]["bucket_name"], f"{self.folder.name}/{name}"
            if client.list_objects_v2(Bucket=bucket, Prefix=key).get("KeyCount"):
                yield "far", client.get_object(Bucket=bucket, Key=key)["Body"].read()


def tiers(scenario: Any, folder: Path, server: dict[str, Any]) -> dict[str, Any]:
    disk = "django.core.files.storage.FileSystemStorage"

    def on_disk(tier: str, **options: Any) -> dict[str, Any]:
        return {
            "BACKEND": disk,
            "OPTIONS": {"location": str(folder / tier), "base_url": f"/{tier}/"} | options,
        }

    near = on_disk("near", **({"allow_overwrite": True} if scenario.overwriting else {}))
    far = on_disk("far") if scenario.lower == "disk" else server | {"EXCLUSIVE": True}
    return {"near": near, "far": far}


def main(group: str, server: str = "") -> None:
    django.setup()
    from django.test import override_settings

    from tests.kill.scenarios import ALIAS, GROUPS

    far = json.loads(Path(server).read_text()) if server else {}
    for number, scenario in enumerate(GROUPS[group]):
        if scenario.lower == "s3" and not far:
            continue
        folder = Path(f"scenario{number}").absolute()
        bucket = far | {"OPTIONS": far["OPTIONS"] | {"location": f"scenario{number}"}} if far else {}
        chain = {"TIERS": tiers(scenario, folder, bucket), "POLICY": scenario.policy}
        with override_settings(
            QUEUED_STORAGE_TIERS={ALIAS: chain}, QUEUED_STORAGE_DISPATCHER="tests.kill.program.Nowhere"
        ):
            started = time.monotonic()
            trial = Trial(scenario, folder, bucket)
            trial.run()
        told = {
            "label": scenario.label, "steps": trial.steps, "kills": len(trial.killed), "wrong": trial.wrong,
            "orphans": trial.orphans, "seconds": round(time.monotonic() - started, 2),
        }  # fmt: skip
        print(json.dumps(told), flush=True)
        forget(scenario)


def forget(scenario: Any) -> None:
    """The next scenario begins with an empty catalog."""
    from queued_storage import catalog

    catalog.files().delete()


if __name__ == "__main__":
    main(*sys.argv[1:])
