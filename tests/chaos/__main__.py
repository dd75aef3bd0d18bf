"""``python -m tests.chaos`` (``make chaos``): exit 0 if nothing was lost, 1 if something was, 2 if it cannot be run."""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import NoReturn

import django
from django.core.management import call_command

from tests.chaos.inspection import COUNTS, Inspection
from tests.chaos.trouble import Trouble
from tests.chaos.world import Missing, World, world
from tests.chaos.writer import Plan

WRITERS = 2
WORKERS = 2


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--reader", action="store_true", help="200 files, 50 kills, one reader; nothing else")
    parser.add_argument("--seed", type=int, default=wished("SEED"))
    parser.add_argument("--files", type=int, default=wished("FILES"))
    parser.add_argument("--kills", type=int, default=wished("KILLS"))
    parser.add_argument("--flushes", type=int, default=None, help="of the broker; as many of the cache")
    parser.add_argument("--faults", type=int, default=None, help="of the network to the second bucket")
    parser.add_argument("--stops", type=int, default=None, help="stops of workers beyond their lease")
    parser.add_argument("--backlog", type=int, default=None, help="files under way that the writers wait at")
    parser.add_argument("--settle", type=float, default=180, help="seconds that all may take to settle")
    parser.add_argument("--keep", type=Path, default=None, help="a folder for logs and journals")
    given = parser.parse_args()
    fill(given, seed=random.SystemRandom().randrange(10**6))
    if given.reader:
        fill(given, files=200, kills=50, flushes=0, faults=0, stops=0, backlog=8)
    fill(given, files=3000, kills=30, flushes=4, faults=10, stops=10)
    fill(given, backlog=max(20, min(250, given.files // 8)))
    return given


def wished(name: str) -> int | None:
    """What ``make chaos NAME=…`` says; an empty text is nothing."""
    text = os.environ.get(name, "")
    return int(text) if text else None


def fill(given: argparse.Namespace, **defaults: int) -> None:
    for name, value in defaults.items():
        if getattr(given, name) is None:
            setattr(given, name, value)


def plan_of(given: argparse.Namespace, folder: str) -> Plan:
    tiny = given.files < 200
    return Plan(
        folder=folder,
        seed=given.seed,
        writers=min(WRITERS, given.files),
        files=given.files,
        backlog=given.backlog,
        smallest_big=5_000_000,
        largest=9_000_000 if tiny else 20_000_000,
        sizes=(100_000, 4_000_000) if given.reader else (1_000, 200_000),
        every_big=0 if given.reader else 40 if tiny else 97,
        only_saves=given.reader,
        pause=0.001 if given.reader else 0.015,
        lease=2 if tiny else 4,
        sweep=2 if tiny else 5,
    )


class Run:
    def __init__(self, made: World, given: argparse.Namespace) -> None:
        self.world = made
        self.given = given
        self.started = time.monotonic()
        self.trouble = Trouble(made, given.kills, given.flushes, given.faults, given.stops)
        self._told = 0.0

    def go(self) -> bool:
        """Run it all; return whether nothing was lost."""
        made = self.world
        for _ in range(WORKERS):
            made.start_worker()
        self.beat = made.start_beat()
        for worker in made.workers:
            worker.wait_until_ready()
        self.reader = made.start_reader()
        for number in range(made.plan.writers):
            made.start_writer(number)
        self._work()
        self._settle()
        self._stop()
        return self._judge()

    def _work(self) -> None:
        """Let the writers work, and strike, until both are done."""
        while len(self.world.history.finished) < self.world.plan.writers or not self.trouble.is_over:
            self.world.history.catch_up()
            self.trouble.strike_if_due(len(self.world.history.of) / self.given.files)
            self._go_on()
            for number, writer in self.world.writers.items():
                if not writer.running and number not in self.world.history.finished:
                    self._require_alive_soon(number)

    def _require_alive_soon(self, number: int) -> None:
        """A killed writer comes back; one that ends by itself is an error of this program."""
        code = self.world.writers[number]._popen.returncode
        if code not in (-signal.SIGKILL, 0):
            raise self.world.writers[number].failure("a writer ended by itself")

    def _settle(self) -> None:
        self.settling = time.monotonic()
        until = self.settling + self.given.settle
        quiet = 0
        while time.monotonic() < until and quiet < 10:
            quiet = quiet + 1 if not self._owed() else 0
            self._go_on()
        self.settled = time.monotonic()

    def _go_on(self) -> None:
        self.world.do_what_is_due()
        self.trouble.replace_the_dead()
        if not self.reader.running:
            raise self.reader.failure("the reader ended by itself")
        if not self.beat.running:
            raise self.beat.failure("the beat ended by itself")
        every = 0.5 if sys.stdout.isatty() else 10
        if time.monotonic() - self._told > every:
            self._told = time.monotonic()
            self._tell_progress()
        time.sleep(0.1)

    @property
    def _saved(self) -> int:
        return sum(op.is_certain and op.kind == "save" for op in self.world.history.ops.values())

    def _owed(self) -> int:
        from queued_storage import catalog

        with suppress(Exception):  # told by the last count, if it lasts
            return catalog.files().exclude(due_at=None, lease="").exclude(state="settled", lease="").count()
        return -1

    def _tell_progress(self) -> None:
        counts = self.trouble.counts
        reads = self.world.reads()["reads"]
        line = (
            f"{time.monotonic() - self.started:4.0f} s  {len(self.world.history.ops)} operations, "
            f"{self._saved} saves, {self._owed()} owed, {counts['kills']} kills, {counts['stops']} stops, "
            f"{counts['network faults']} faults, {reads} reads, {len(self.world.findings())} wrong"
        )
        print(
            f"\r{line:<118}" if sys.stdout.isatty() else line,
            end="" if sys.stdout.isatty() else "\n",
            flush=True,
        )

    def _stop(self) -> None:
        """End all who could still write or read, before the tiers are looked at."""
        self.reader.stop(timeout=10)
        for process in (self.beat, *self.world.workers):
            process.kill()
        # What attempts and saves that were killed have left beside the places of files.
        for chain in ("plain", "overwriting"):
            everything = ("--older-than", "0", "--max-share", "100")
            call_command("tiers", "gc", "--chain", chain, *everything, stdout=StringIO())

    def _judge(self) -> bool:
        inspection = Inspection(self.world)
        inspection.run()
        if sys.stdout.isatty():
            print()
        for line in inspection.stories():
            print(line)
        self._print_table(inspection)
        return inspection.is_clean

    def _print_table(self, inspection: Inspection) -> None:
        ops, reads = self.world.history.ops.values(), self.world.reads()
        slowest = (
            max((op.end - op.begin for op in ops if op.is_certain and op.kind == "save"), default=0) / 1e9
        )
        names = len({(op.chain, op.name) for op in ops})
        rows: list[tuple[str, object]] = [
            ("seed", self.given.seed),
            ("files saved", sum(op.is_certain and op.kind == "save" for op in ops)),
            ("names", names),
            ("deletes", sum(op.is_certain and op.kind == "delete" for op in ops)),
            ("rolled back", sum(op.doomed for op in ops)),
            ("outcome unknown", sum(op.outcome == "unknown" for op in ops)),
            *self.trouble.table(),
            (
                "reads",
                f"{reads['reads']} ({reads['bytes'] / 1e6:.0f} MB, {reads['absent']} of deleted names)",
            ),
            ("slowest save", f"{slowest:.2f} s"),
            (
                "work, then settling",
                f"{self.settling - self.started:.0f} s, {self.settled - self.settling:.0f} s",
            ),
            ("whole run", f"{time.monotonic() - self.started:.0f} s"),
            ("orphans on the first tier", len(inspection.orphans)),
            ("unfinished multi-part uploads", len(inspection.uploads)),
            *((name, len(inspection.problems[name])) for name in COUNTS),
        ]
        for label, value in rows:
            print(f"{label:<32}{value}")
        print("PASSED" if inspection.is_clean else "FAILED", f"(again: make chaos SEED={self.given.seed})")


def interrupted(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> int:
    given = arguments()
    signal.signal(signal.SIGTERM, interrupted)
    print(f"seed {given.seed}: {given.files} files, {given.kills} kills", flush=True)
    try:
        with world(lambda folder: plan_of(given, folder), given.keep) as made:
            os.environ.update(made.project.environment)
            django.setup()
            call_command("migrate", verbosity=0)
            print(made.description, flush=True)
            return 0 if Run(made, given).go() else 1
    except Missing as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; all is cleaned up", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
