"""``manage.py tiers`` on a chain with many files: does the memory of each command stay flat? (``make operations``)

The files lie in a folder that is to go to S3. Each command is a process of its own, as its operator would start it;
what it printed is told, shortened in the middle, with its exit code, how long it took, and the most that it ever had
resident. All of it is done on a small chain first: a command that takes 30 MB more on the large one is not flat.

    python -m benchmarks.operations [--files 100000] [--small 1000]

Exits with 1 where a command is not flat, or ended in another way than it should.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import ending
from .harness import conditions
from .site import CHAIN, PATIENCE, Site, Told, site

#: A command may have so much more resident, at its peak, on the large chain.
FLAT = 30e6
#: Characters of a line of output that are shown.
WIDTH = 118
#: Of so many files one fails, and leaves something behind.
ONE_IN = 50


@dataclass(frozen=True)
class Step:
    """A command, and how it should end; ``before`` is what happens on the site first.

    ``{name}`` stands for a file's name, ``{copies}`` for how many files are copied.
    """

    command: str
    #: None: whatever it finds.
    code: int | None = 0
    before: Callable[[Site], None] = lambda _: None

    def run(self, on: Site, **words: object) -> Told:
        self.before(on)
        return on.tiers(*self.command.format(**words).split())

    def is_right(self, told: Told) -> bool:
        return self.code in (None, told.code)


def fail_some(on: Site) -> None:
    """Have some files fail, as a server that took no more would have left them."""
    on.project.python(
        f"""
from django.db.models import F
from queued_storage import catalog
rows = catalog.files().alias(rest=F("id") % {ONE_IN}).filter(rest=0)
rows.update(state="failed", due_at=None, attempts=6, last_error="tier 's3' is full: ClientError: QuotaExceeded")
"""
    )


def leave_some(on: Site) -> None:
    """Leave behind what writers leave that are killed: unfinished files, two days old."""
    on.project.python(
        f"""
import os, time
from pathlib import Path
from queued_storage.models import StoredFile
old = time.time() - 172_800
for row in StoredFile.objects.iterator():
    if row.pk % {ONE_IN} == 0:
        left = Path({str(on.media)!r}, row.name).with_name(row.staging_name(row.fence))
        left.write_text("half a fi")
        os.utime(left, (old, old))
"""
    )


def free_the_disk(on: Site) -> None:
    """Change the policy, so that the disk's copies are to go."""
    chain = on.project.settings["QUEUED_STORAGE_TIERS"][CHAIN] | {"POLICY": "transfer-and-delete"}
    on.project.configure(QUEUED_STORAGE_TIERS={CHAIN: chain})


def delete_some(on: Site) -> None:
    """Delete files as a site does: they go to the trash."""
    on.project.python(
        f"""
from queued_storage.models import StoredFile
from queued_storage.storage import TieredStorage
storage = TieredStorage({CHAIN!r})
names = list(StoredFile.objects.values_list("name", "pk"))
for name, pk in names:
    if pk % {ONE_IN} == 1:
        storage.delete(name)
""",
        timeout=PATIENCE,
    )


#: In the order of a site's life.
STEPS = (
    Step("identify"),
    Step("status"),
    Step("transfer --dry-run"),
    Step("transfer"),
    Step("status"),
    Step("status --json"),
    Step("sweep --dry-run"),
    Step("sweep"),
    Step("drain --dry-run"),
    Step("drain --max-files {copies}"),
    Step("transfer"),
    Step("status --exact"),
    Step("retry --dry-run", before=fail_some),
    Step("status", code=2),
    Step("retry"),
    Step("verify"),
    Step("verify --json"),
    Step("gc --dry-run", before=leave_some),
    Step("gc"),
    Step("gc --orphans --older-than P30D"),
    Step("restore --list", before=delete_some),
    Step("restore --all"),
    Step("plan", code=2, before=free_the_disk),
    Step("apply", code=1),
    Step("apply --max-share 100"),
    Step("plan --json", code=None),
    Step("explain {name}"),
    Step("explain {name} --json"),
    Step("erase {name} --yes"),
    Step("simulate --days 30"),
)


def go(files: int, copies: int, *, aloud: bool) -> tuple[list[Told], dict[str, Any]]:
    """Run all steps on a new chain with so many files, of which so many are copied."""
    told = []
    with site() as made:
        started = time.perf_counter()
        names = made.fill(files)
        if aloud:
            print(f"{files:,} files were written in {time.perf_counter() - started:.0f} s\n", flush=True)
        for step in STEPS:
            words = {"name": names[files // 2], "copies": copies}
            told.append(step.run(made, **words))
            if aloud:
                tell(step.command.format(**words), told[-1])
            elif not step.is_right(told[-1]):
                tell(step.command, told[-1])
        return told, made.conditions


def tell(command: str, told: Told) -> None:
    print(f"$ manage.py tiers {command}")
    for line in told.lines:
        print(line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}...")
    run = told.run
    took = f"{run.seconds:.1f} s, {run.cpu:.1f} s of CPU, {run.memory / 1e6:.0f} MB"
    print(f"[exit {told.code}, {took}]\n", flush=True)


def compare(small: list[Told], large: list[Told], counts: tuple[int, int]) -> bool:
    """Print what each command took on both chains; return whether all is as it should be."""
    fine = True
    print(f"{'':<34}{'MB, at the peak':>26}{'seconds of CPU':>30}")
    print(f"{'command':<34}{counts[0]:>8,}{counts[1]:>10,}{'more':>8}{counts[0]:>18,}{counts[1]:>12,}")
    for step, few, many in zip(STEPS, small, large, strict=True):
        more = many.run.memory - few.run.memory
        wrong = [f"exit {told.code}, not {step.code}" for told in (few, many) if not step.is_right(told)]
        wrong += ["not flat"] if more >= FLAT else []
        fine = fine and not wrong
        command = step.command.format(name="NAME", copies="…")
        print(
            f"{command:<34}{few.run.memory / 1e6:>8.0f}{many.run.memory / 1e6:>10.0f}{more / 1e6:>+8.0f}"
            f"{few.run.cpu:>18.1f}{many.run.cpu:>12.1f}  {', '.join(wrong).upper()}".rstrip()
        )
    return fine


def main() -> int:
    parser = argparse.ArgumentParser(prog="make operations", description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--small", type=int, default=1_000)
    parser.add_argument("--copies", type=int, help="how many files drain copies (default: all)")
    given = parser.parse_args()
    ending.orderly()
    copies = given.copies or given.files
    small, _ = go(given.small, copies, aloud=False)
    large, circumstances = go(given.files, copies, aloud=True)
    fine = compare(small, large, (given.small, given.files))
    told = conditions(files=given.files, copied=copies, load=f"{os.getloadavg()[2]:.1f}", **circumstances)
    print("\n" + "\n".join(f"{key}: {value}" for key, value in told.items() if key != "warm-up"))
    print("PASSED" if fine else "FAILED")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
