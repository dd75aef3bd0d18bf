"""Fixtures of the tests that repeat, one by one, what was measured on the two ancestors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ancestors.storages import SlowDisk
from tests.compat.conftest import _nothing_declared_stays, make_fallback, make_queued
from tests.support import clock as clocks
from tests.support import faulty, recording
from tests.worker.conftest import beat, relayed, start_worker_with, trust_broker

__all__ = [
    "_nothing_declared_stays", "beat", "make_fallback", "make_queued", "relayed", "start_worker_with", "trust_broker",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _no_fault_left() -> Iterator[None]:
    yield
    faulty.forget_all()


@pytest.fixture
def by_hand(settings: Any) -> None:
    """Work is done when the test does it: what is dispatched is only noted."""
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH
    recording.RecordingDispatcher.calls.clear()


@pytest.fixture
def clock() -> Iterator[clocks.Clock]:
    with clocks.stopped() as clock:
        yield clock


@pytest.fixture
def slow_disk(tmp_path: Path) -> SlowDisk:
    return SlowDisk(tmp_path / "near", tmp_path / "gate")
