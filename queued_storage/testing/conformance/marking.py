"""``@pytest.mark.tier_conformance``: a test function that returns a storage stands for all the tests of it."""

from __future__ import annotations

from typing import Any

import pytest

from .suite import CHAIN_SUITE, TIER_SUITE, Suite, as_candidate

#: By the name of the marker.
SUITES = {"tier_conformance": TIER_SUITE, "chain_conformance": CHAIN_SUITE}
#: The parameter that carries behaviour and role; the function itself does not take it.
PARAMETER = "conformance_case"


def suite_of(function: Any) -> tuple[Suite, pytest.Mark] | None:
    """Return the suite that a marker of the test function names, and the marker."""
    for name, suite in SUITES.items():
        if (mark := function.get_closest_marker(name)) is not None:
            return suite, mark
    return None


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Have the function run once for each behaviour and role."""
    if (found := suite_of(metafunc.definition)) is None:
        return
    cases = [(each, role) for each in found[0].behaviours for role in each.roles]
    metafunc.fixturenames.append(PARAMETER)
    metafunc.parametrize(PARAMETER, cases, ids=[f"{each.id}-{role}" for each, role in cases])


def call(function: pytest.Function) -> bool | None:
    """Call the function for its storage, and look at that; None for a function without marker."""
    if (found := suite_of(function)) is None:
        return None
    suite, mark = found
    case: Any = function.callspec.params[PARAMETER]
    wanted = function._fixtureinfo.argnames
    storage = function.obj(**{name: function.funcargs[name] for name in wanted})
    if storage is None:
        pytest.fail(
            f"{function.originalname} is marked as {mark.name}, so it has to return a storage.", pytrace=False
        )
    suite.look(case[0], case[1], as_candidate(storage, **mark.kwargs), function)
    return True
