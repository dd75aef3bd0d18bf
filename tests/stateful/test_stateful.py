"""A short run of the state machine, always the same; ``make stateful`` makes long ones, each different."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the machine puts points into the engine, and stops the clock."""
    return subprocess.run(
        [sys.executable, "-m", "tests.stateful", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "SHRINK": "5"} | environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_four_hundred_steps_without_a_violation() -> None:
    result = run(SEED="1", STEPS="400")
    assert result.returncode == 0, result.stdout + result.stderr
    steps = re.search(r"^(\d+) steps", result.stdout, re.MULTILINE)
    assert steps is not None
    assert int(steps[1]) >= 400


@pytest.mark.slow
def test_machine_can_fail() -> None:
    result = run(SEED="1", STEPS="1000", SHRINK="0", SABOTAGE="delete before record")
    assert result.returncode == 1
    assert "Violation: G" in result.stderr


def test_what_it_found_before_is_mended() -> None:
    result = run("found")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "S1: fine" in result.stdout
