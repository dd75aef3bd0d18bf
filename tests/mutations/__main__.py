"""``make mutations``: sabotage a copy of the package, one small thing at a time, and see that the tests notice.

Exits with 1 if a sabotage survives, cannot be applied, or breaks more than it should.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from tests.mutations.sabotages import SABOTAGES, Sabotage
from tests.support import services

CHECKOUT = Path(__file__).resolve().parents[2]
COPIED = ("queued_storage", "tests", "docs", "setup.cfg", "pyproject.toml")
#: pytest's exit status where tests failed; others mean that it could not run them.
FAILED = 1
#: A test that hangs was broken as well.
SECONDS = 40


@dataclass(frozen=True)
class Outcome:
    sabotage: Sabotage
    verdict: str
    seconds: float
    log: str = ""

    @property
    def is_fine(self) -> bool:
        return self.verdict == "caught" or self.verdict.startswith("needs")


def copy_to(folder: Path) -> Path:
    for name in COPIED:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def apply(sabotage: Sabotage, folder: Path) -> None:
    """Change the text in the copy; raise ValueError where it is not there exactly once."""
    path = folder / "queued_storage" / sabotage.file
    text = path.read_text(encoding="utf-8")
    if (count := text.count(sabotage.old)) != 1:
        raise ValueError(f"the text to replace is {count} times in {sabotage.file}")
    path.write_text(text.replace(sabotage.old, sabotage.new), encoding="utf-8")


def run_tests(folder: Path, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", f"--timeout={SECONDS}"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def judge(sabotage: Sabotage) -> Outcome:
    if sabotage.needs and not services.usable(sabotage.needs):
        return Outcome(sabotage, f"needs {sabotage.needs}", 0)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="queued-storage-mutation-") as name:
        folder = copy_to(Path(name))
        try:
            apply(sabotage, folder)
        except ValueError as error:
            return Outcome(sabotage, "NOT APPLIED", 0, str(error))
        result = run_tests(folder, sabotage.tests)
    verdicts = {0: "NOT CAUGHT", FAILED: "caught"}
    verdict = verdicts.get(result.returncode, f"NOT RUN ({result.returncode})")
    return Outcome(sabotage, verdict, time.monotonic() - begun, result.stdout)


def tests_pass_without(sabotages: Sequence[Sabotage]) -> bool:
    """Run all their tests on the package as it is: what fails there would catch nothing."""
    tests = sorted(set(chain.from_iterable(each.tests for each in sabotages)))
    with tempfile.TemporaryDirectory(prefix="queued-storage-mutation-") as name:
        result = run_tests(copy_to(Path(name)), tests)
    if result.returncode:
        print(result.stdout)
    return result.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutations", description=__doc__)
    parser.add_argument("ids", nargs="*", help="only these sabotages")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once (default: 2)")
    options = parser.parse_args()
    chosen = [each for each in SABOTAGES if not options.ids or each.id in options.ids]
    if unknown := set(options.ids) - {each.id for each in chosen}:
        parser.error(f"no such sabotage: {', '.join(sorted(unknown))}")
    begun = time.monotonic()
    if not tests_pass_without(chosen):
        print("The tests fail without any sabotage.")
        return 1
    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = []
        for outcome in pool.map(judge, chosen):
            outcomes.append(outcome)
            sabotage = outcome.sabotage
            print(
                f"{sabotage.guarantee:<4}{sabotage.id:<36}{outcome.verdict:<18}{outcome.seconds:5.1f} s",
                flush=True,
            )
    bad = [outcome for outcome in outcomes if not outcome.is_fine]
    for outcome in bad:
        print(f"\n{outcome.sabotage.id}: {outcome.verdict}\n{outcome.log[-2000:]}")
    seconds = time.monotonic() - begun
    caught = sum(outcome.verdict == "caught" for outcome in outcomes)
    print(f"\n{caught} of {len(outcomes)} sabotages caught in {seconds:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
