from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queued_storage.storage import TieredStorage

from tests.contract.arrangements import CASES, FIRST_TIERS, FRESH, Case, Life, tier_settings
from tests.support import recording


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the arrangements that show little more to ``make test-storages``."""
    for item in items:
        params = item.callspec.params if hasattr(item, "callspec") else {}
        cases = (params[name] for name in ("life", "chain") if isinstance(params.get(name), Case))
        if any(case.arrangement.is_extra for case in cases):
            item.add_marker(pytest.mark.storages)


@pytest.fixture
def build(
    request: pytest.FixtureRequest,
    settings: Any,
    make_chain: Callable[..., TieredStorage],
    tmp_path: Path,
) -> Callable[[Case], Life]:
    """Build the chain of a case; nothing is moved but by the test."""
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH
    settings.QUEUED_STORAGE_DEADLINE = 60  # a save that gives up on a busy machine takes a random name
    recording.RecordingDispatcher.calls.clear()

    def build(case: Case) -> Life:
        s3 = request.getfixturevalue("moto_server") if case.arrangement.uses_s3 else None
        tiers = {
            f"{kind}-{index}": tier_settings(kind, s3, tmp_path / f"{kind}-{index}")
            for index, kind in enumerate(case.arrangement.kinds)
        }
        return Life(case, make_chain(tiers, policy=case.arrangement.policy(case.moment)), s3)

    return build


@pytest.fixture(params=CASES, ids=str)
def life(request: pytest.FixtureRequest, build: Callable[[Case], Life]) -> Life:
    """Run the test on every arrangement, at each of its moments."""
    return build(request.param)


@pytest.fixture(params=FRESH, ids=lambda case: str(case.arrangement))
def chain(request: pytest.FixtureRequest, build: Callable[[Case], Life]) -> Life:
    """Run the test once on every arrangement; what it saves stays where it is saved."""
    return build(request.param)


@pytest.fixture(params=FIRST_TIERS, ids=lambda case: case.arrangement.kinds[0])
def first_tier(request: pytest.FixtureRequest, build: Callable[[Case], Life]) -> Life:
    """Run the test once on each kind of first tier."""
    return build(request.param)
