"""A pytest plugin that writes what the conformance kit found on every storage into the docs: ``make matrix``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from queued_storage.testing.conformance import Behaviours

#: The property in which a conformance test reports which server and clients it ran with.
VERSIONS = "versions of a storage's server and clients"
FILE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "storages-matrix.rst"
ROLES = ("lower", "first")
SIGNS = {"passes": "✓", "cannot": "no", "not asked": "·"}

Cell = dict[str, tuple[str, str]]
Row = Sequence[str]


def pytest_sessionstart(session: pytest.Session) -> None:
    # The workers of xdist send what they find to the process that started them.
    if not hasattr(session.config, "workerinput"):
        session.config.pluginmanager.register(Matrix())


@dataclass
class Matrix:
    """Outcomes and reasons by storage, behaviour and role, and the versions that the storages ran with."""

    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)
    versions: dict[str, Mapping[str, str]] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call":
            return
        for name, value in report.user_properties:
            if name == "conformance":
                fact: Any = value
                cell = self.cells.setdefault((fact["storage"], fact["behaviour"]), {})
                cell[fact["role"]] = (fact.get("outcome", "fails"), fact.get("why", ""))
            elif name == VERSIONS:
                found: Any = json.loads(str(value))
                self.versions[found.pop("kind")] = found

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the matrix, if every storage ran and did what it should: no half of the truth over the whole."""
        from tests.storages.kinds import KINDS

        unknown = [kind.name for kind in KINDS if kind.name not in self.versions]
        if unknown or session.testsfailed:
            print(f"\nThe matrix is left as it is: {', '.join(unknown) or 'a test'} did not run, or failed.")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            return
        FILE.parent.mkdir(parents=True, exist_ok=True)
        FILE.write_text("\n".join(self.lines()) + "\n", encoding="utf-8")
        print(f"\nWritten: {FILE}")

    def lines(self) -> Iterator[str]:
        from tests.storages.kinds import KINDS

        titles = {kind.name: kind.title for kind in KINDS}
        yield ".. Written by `make matrix` from a run of the conformance kit; do not edit."
        yield from ("", "What each storage ran on, and with which client:", "")
        yield from table(
            ["Storage", "Server", "Client"],
            (
                [title, self.versions[kind]["server"], self.versions[kind]["clients"]]
                for kind, title in titles.items()
            ),
        )
        yield from ("", *LEGEND, "")
        for part, behaviours in parts().items():
            yield from (part, "-" * len(part), "")
            yield from (f"``{each.id}``\n    {each.says}" for each in behaviours)
            yield ""
            yield from table(
                ["Storage", *(f"``{each.id}``" for each in behaviours)],
                (
                    [title, *(self.sign(kind, each.id) for each in behaviours)]
                    for kind, title in titles.items()
                ),
            )
            yield ""
        yield from self.reasons(titles)

    def sign(self, kind: str, behaviour: str) -> str:
        """Return the outcome in a role below and as the first tier; one sign if that is the same."""
        cell = self.cells[kind, behaviour]
        signs = [SIGNS[cell[role][0]] for role in ROLES if role in cell]
        return signs[0] if len(set(signs)) == 1 else " / ".join(signs)

    def reasons(self, titles: Mapping[str, str]) -> Iterator[str]:
        yield from ("What a storage cannot, and why", "------------------------------", "")
        told = [(title, found) for kind, title in titles.items() if (found := list(self.reasons_of(kind)))]
        for title, found in told:
            yield from (title, *found, "")
        if not told:
            yield "There is nothing that one of them cannot."

    def reasons_of(self, kind: str) -> Iterator[str]:
        for (other, behaviour), cell in sorted(self.cells.items()):
            whys = {why for outcome, why in cell.values() if outcome == "cannot"}
            if other == kind:
                yield from (f"    * ``{behaviour}``: {why}" for why in sorted(whys))


LEGEND = [
    "✓: it does so; no: it cannot, and why is told below; ·: there is nothing to ask (a storage without login has no",
    "secrets to keep). Two signs, as in ✓ / no: below the first tier, and as the first tier.",
]


def parts() -> dict[str, Behaviours]:
    """The behaviours under the headings of the docs."""
    from queued_storage.testing.conformance import suite

    return {
        "Saving": suite.SAVING,
        "Whole or not at all": suite.WHOLE,
        "Reading": suite.READING,
        "Facts": suite.FACTS,
        "A missing file": suite.MISSING,
        "Deleting": suite.DELETING,
        "Threads": suite.THREADS,
        "Building and telling": suite.BUILDING,
        "A chain with it": suite.CHAIN,
    }


def table(header: Row, rows: Iterable[Row]) -> Iterator[str]:
    yield from (".. list-table::", "    :header-rows: 1", "")
    for row in (header, *rows):
        first, *others = row
        yield f"    * - {first}"
        yield from (f"      - {cell}" for cell in others)
