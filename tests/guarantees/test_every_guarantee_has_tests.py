"""The page on the guarantees and the tests that hold them go together."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = CHECKOUT / "docs" / "explanation" / "guarantees.rst"
GUARANTEES = [f"G{number}" for number in range(1, 12)]


@cache
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


@cache
def functions() -> frozenset[str]:
    """The names of all test functions of the suite."""
    names: set[str] = set()
    for path in (CHECKOUT / "tests").rglob("test_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
        names |= {function.name for function in functions if function.name.startswith("test_")}
    return frozenset(names)


def section(guarantee: str) -> str:
    """The part of the page on one guarantee."""
    headed = re.split(r"^(G\d+): .*\n-+\n", page(), flags=re.MULTILINE)
    return dict(zip(headed[1::2], headed[2::2], strict=True)).get(guarantee, "")


def named(text: str) -> set[str]:
    return set(re.findall(r"``(test_\w+)``", text))


@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_guarantee_has_tests(guarantee: str) -> None:
    assert any(name.startswith(f"test_{guarantee.lower()}_") for name in functions())


@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_page_names_tests_of_the_guarantee(guarantee: str) -> None:
    own = {name for name in named(section(guarantee)) if name.startswith(f"test_{guarantee.lower()}_")}
    assert own


@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_page_says_what_it_rests_on_needs_and_where_it_ends(guarantee: str) -> None:
    assert [
        part for part in ("*How.*", "*What it needs.*", "*Limits.*") if part not in section(guarantee)
    ] == []


def test_page_has_no_other_guarantee() -> None:
    assert sorted(set(re.findall(r"\bG\d+\b", page()))) == sorted(GUARANTEES)


def test_page_names_no_test_that_does_not_exist() -> None:
    assert named(page()) - functions() == set()


def test_what_is_not_promised_comes_first() -> None:
    titles = re.findall(r"^(.+)\n[-=]+\n", page(), flags=re.MULTILINE)
    assert titles[:2] == ["Guarantees", "What is not promised"]
