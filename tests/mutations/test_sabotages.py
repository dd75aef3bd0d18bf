"""The table of sabotages keeps up with the package; ``make mutations`` carries them out."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from tests.mutations.sabotages import SABOTAGES, Sabotage

CHECKOUT = Path(__file__).resolve().parents[2]
EACH = pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda each: each.id)


@EACH
def test_text_to_replace_is_there_exactly_once(sabotage: Sabotage) -> None:
    path = CHECKOUT / "queued_storage" / sabotage.file
    assert path.read_text(encoding="utf-8").count(sabotage.old) == 1


@EACH
def test_sabotaged_module_is_python(sabotage: Sabotage) -> None:
    """One that cannot be imported would be caught by any test."""
    path = CHECKOUT / "queued_storage" / sabotage.file
    ast.parse(path.read_text(encoding="utf-8").replace(sabotage.old, sabotage.new))


@EACH
def test_its_tests_exist(sabotage: Sabotage) -> None:
    for test in sabotage.tests:
        path, *names = test.split("::")
        text = (CHECKOUT / path).read_text(encoding="utf-8")
        assert all(f"def {name}(" in text or f"class {name}:" in text for name in names)


def test_every_guarantee_is_sabotaged() -> None:
    assert {each.guarantee for each in SABOTAGES} == {f"G{number}" for number in range(1, 12)}


def test_ids_differ() -> None:
    assert max(Counter(each.id for each in SABOTAGES).values()) == 1
