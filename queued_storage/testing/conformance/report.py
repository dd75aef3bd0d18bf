"""Outcomes as data: one line of JSON for each behaviour of each storage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from .suite import PROPERTY

#: What a line tells, in this order. ``outcome`` is "passes", "cannot", "fails" or "not asked"; ``why`` says why.
FIELDS = ("suite", "storage", "role", "behaviour", "outcome", "why")


class Report:
    """Gathers the outcomes of a run, those of xdist's workers too, and writes them at its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[dict[str, str]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self.lines += _facts(report)

    def pytest_sessionfinish(self) -> None:
        lines = sorted(self.lines, key=lambda line: [line[name] for name in FIELDS])
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(
            "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines), encoding="utf-8"
        )


def _facts(report: pytest.TestReport) -> Iterator[dict[str, str]]:
    for name, fact in report.user_properties:
        if name == PROPERTY:
            told = dict.fromkeys(FIELDS, "") | fact  # type: ignore[operator]
            # A test that ended in any other way, by an error of the test's own say, has told no outcome.
            yield told if told["outcome"] else told | {"outcome": "fails", "why": _error(report)}


def _error(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash else report.longreprtext)
