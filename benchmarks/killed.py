"""A site goes to S3 by ``tiers transfer`` and ``tiers drain``, which are killed again and again (``make killed``).

The commands are run one after the other, as the documentation says; at moments that SEED draws the one that runs gets
SIGKILL, and both are run again. At the end every file is on both tiers, and ``tiers verify`` finds nothing. A line in
front of the S3 server counts what is sent to it: nothing that the catalog knew to be copied is sent again, and what was
under way when a command was killed is, once each time.

    python -m benchmarks.killed [--files 20000] [--kills 5] [--seed 1]

Exits with 1 if something was copied twice that was verified, is missing, or is not what it was.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from . import ending
from .counting import Counts, counted
from .harness import conditions
from .site import CHAIN, Site, s3, site

#: Seconds after which the work of a killed command is anybody's again; the package's own is 300.
LEASE = 30
#: Seconds between two looks at how far a command is.
EVERY = 0.05


@dataclass
class Kill:
    """What was known when a command was killed."""

    command: str
    seconds: float
    #: Rows of the catalog, and names that the catalog says are on S3.
    rows: int
    verified: set[str] = field(repr=False)
    #: How often each object had been sent.
    sent: Counter[str] = field(repr=False)

    @property
    def under_way(self) -> set[str]:
        """Names that were sent, whole or in part, and not recorded."""
        return set(self.sent) - self.verified


class Move:
    """The move of one site's files, and what becomes of it."""

    def __init__(self, on: Site, counts: Counts, kills: list[int]) -> None:
        self.on = on
        self.counts = counts
        #: How much is done (rows written, and objects sent) when a command is to be killed.
        self.due = kills
        self.kills: list[Kill] = []
        self.runs = 0

    def go(self) -> None:
        """Run the two commands again and again, until nothing is left to do."""
        while not self._once():
            pass

    def _once(self) -> bool:
        if not (self._run("transfer") and self._run("drain")):
            return False
        from queued_storage import catalog

        if self.due or not catalog.files().exclude(state="settled").exists():
            return not self.due
        time.sleep(LEASE / 6)  # what was in the hands of a killed command is not due yet
        return False

    def _run(self, command: str) -> bool:
        """Run a command; return whether it came to its end."""
        self.runs += 1
        started = time.perf_counter()
        with self._started(command) as process:
            while process.poll() is None:
                if self.due and self._done() >= self.due[0]:
                    process.kill()
                    process.wait()
                    self._note(command, time.perf_counter() - started)
                    return False
                time.sleep(EVERY)
            assert process.stdout is not None
            told = process.stdout.read().strip()
        print(f"$ manage.py tiers {command}\n{told}\n[exit {process.returncode}]\n", flush=True)
        if process.returncode == 1:
            raise AssertionError(told)
        return True

    @contextmanager
    def _started(self, command: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command, which ends with this program."""
        with subprocess.Popen(
            self.on.command(command), cwd=self.on.folder, env=self.on.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as process:  # fmt: skip
            try:
                yield process
            finally:
                process.kill()

    def _done(self) -> int:
        from queued_storage import catalog

        return catalog.files().count() + len(self.counts.puts)

    def _note(self, command: str, seconds: float) -> None:
        from queued_storage import catalog

        held = catalog.files().values_list("name", "tiers")
        verified = {name for name, tiers in held if "s3" in tiers}
        kill = Kill(command, seconds, len(held), verified, self.counts.snapshot())
        self.due.pop(0)
        self.kills.append(kill)
        print(
            f"$ manage.py tiers {command}\n[killed after {seconds:.1f} s: {kill.rows:,} files in the catalog, "
            f"{len(verified):,} known to be on S3, {len(kill.under_way)} under way]\n",
            flush=True,
        )

    # ---- what came of it ----

    def sent_again_though_verified(self) -> set[str]:
        now = self.counts.snapshot()
        return {name for kill in self.kills for name in kill.verified if now[name] > kill.sent[name]}

    def sent_again_without_reason(self) -> set[str]:
        """Return what was sent oftener than it was under way in a kill, and once more."""
        reasons = Counter(name for kill in self.kills for name in kill.under_way)
        return {name for name, count in self.counts.snapshot().items() if count > 1 + reasons[name]}

    def wrong_on_s3(self, names: list[str]) -> set[str]:
        """Return what is not on S3, is there and should not be, or has other content, by the server's own word."""
        pages = self.on.server.client.get_paginator("list_objects_v2").paginate(Bucket=self.on.bucket)
        found = {each["Key"]: each["ETag"].strip('"') for page in pages for each in page.get("Contents", ())}
        wanted = {name: hashlib.md5(name.encode(), usedforsecurity=False).hexdigest() for name in names}
        return {name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)}


@contextmanager
def django_of(on: Site) -> Iterator[None]:
    """Have this process look at the site's catalog."""
    os.environ.update(on.project.environment)
    import django
    from django.db import connections

    django.setup()
    try:
        yield
    finally:
        connections.close_all()


def moments(seed: int, kills: int, files: int) -> list[int]:
    """Draw when to kill: in the middle of what there is to do, which is a row and an object for each file."""
    draw = random.Random(seed)  # noqa: S311 - so that a run can be repeated
    return sorted(draw.sample(range(1, 2 * files), kills))


def run(seed: int, kills: int, files: int) -> bool:
    with ExitStack() as stack:
        server = stack.enter_context(s3())
        port, counts = stack.enter_context(counted(server.port))
        on = stack.enter_context(site(port, server, QUEUED_STORAGE_LEASE=LEASE))
        stack.enter_context(django_of(on))
        names = on.fill(files)
        move = Move(on, counts, moments(seed, kills, files))
        started = time.perf_counter()
        move.go()
        seconds = time.perf_counter() - started
        verify = on.tiers("verify", "--unknown")
        print("$ manage.py tiers verify --unknown", *verify.lines, f"[exit {verify.code}]\n", sep="\n")
        return tell(move, names, verify.code, {"seed": seed, "seconds": f"{seconds:.0f}", **on.conditions})


def tell(move: Move, names: list[str], verified: int, circumstances: dict[str, Any]) -> bool:
    sent = move.counts.snapshot()
    wrong = {
        "sent again though it was verified": len(move.sent_again_though_verified()),
        "sent again, and was not under way at a kill": len(move.sent_again_without_reason()),
        "missing on S3, or not what it was": len(move.wrong_on_s3(names)),
        "not a file of the site, and sent": len(set(sent) - set(names)),
        "exit code of verify": verified,
    }
    told = {
        "files": len(names),
        "commands run": f"{move.runs}, {len(move.kills)} of them killed "
        f"({', '.join(kill.command for kill in move.kills)})",
        "objects sent": f"{sent.total()}, {sent.total() - len(sent)} of them again",
        "under way at the kills": sum(len(kill.under_way) for kill in move.kills),
        **wrong,
        **{key: value for key, value in conditions(lease=LEASE, **circumstances).items() if key != "warm-up"},
    }
    for key, value in told.items():
        print(f"{key + ':':<46}{value}")
    print("FAILED" if any(wrong.values()) else "PASSED", f"(again: make killed SEED={circumstances['seed']})")
    return not any(wrong.values())


def main() -> int:
    parser = argparse.ArgumentParser(prog="make killed", description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument(
        "--seed", type=int, default=int(os.environ.get("SEED") or random.SystemRandom().randrange(10**6))
    )
    given = parser.parse_args()
    ending.orderly()
    print(f"{CHAIN!r}: {given.files} files, {given.kills} kills, seed {given.seed}\n", flush=True)
    return 0 if run(given.seed, given.kills, given.files) else 1


if __name__ == "__main__":
    sys.exit(main())
