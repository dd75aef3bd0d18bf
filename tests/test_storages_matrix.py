"""The committed matrix of the docs: no storage and no behaviour is missing from it."""

from __future__ import annotations

import re

import pytest

from queued_storage.testing.conformance import Behaviours

from tests.storages import matrix
from tests.storages.kinds import KINDS

TITLES = [kind.title for kind in KINDS]


@pytest.fixture(scope="module")
def tables() -> list[list[str]]:
    """The first column of each table, without its heading."""
    text = matrix.FILE.read_text(encoding="utf-8")
    return [
        re.findall(r"^    \* - (.*)$", part, re.MULTILINE)[1:] for part in text.split(".. list-table::")[1:]
    ]


def test_every_storage_is_a_row_of_every_table(tables: list[list[str]]) -> None:
    assert len(tables) == 1 + len(matrix.parts())
    assert [rows for rows in tables if rows != TITLES] == []


@pytest.mark.parametrize("part", matrix.parts())
def test_every_behaviour_is_a_column(part: str) -> None:
    behaviours: Behaviours = matrix.parts()[part]
    told = matrix.FILE.read_text(encoding="utf-8").split(f"\n{part}\n")[1].split(".. list-table::")[1]
    columns = re.findall(r"^      - ``(.*)``$", told, re.MULTILINE)
    assert columns[: len(list(behaviours))] == [each.id for each in behaviours]


def test_kinds_differ_in_name_and_title() -> None:
    assert len({kind.name for kind in KINDS}) == len(set(TITLES)) == len(KINDS)
