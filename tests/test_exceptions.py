"""Errors go from process to process: Celery's results and logging's QueueHandler pickle them."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from queued_storage import exceptions

REASONS = {"near": "refused", "far": "timed out"}
#: How each class is made; one that is not named takes its message.
MADE: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "TierUnavailable": (("near", "refused"), {"is_permanent": True}),
    "WrongPlace": (("media", "near", "it is not there."), {}),
    "NotIdentified": (("media", "near"), {}),
    "OutsideWindow": (("far", "22:00-06:00", datetime(2026, 11, 22, 22, tzinfo=UTC)), {}),
    "NoPatience": (("near", "refused"), {}),
    "ChainUnavailable": (("media", "a.bin", REASONS), {}),
    "OnAnotherHost": (("media", "a.bin", "near", "web-1"), {}),
    "IncompleteListing": (("media", "in", REASONS, (["folder"], ["a.bin"])), {}),
    "CopiesDiffer": (("media", "a.bin", ("near", "far")), {}),
    "TierBusy": (("near", "far"), {}),
    "ReadOnlyChain": (("media",), {}),
    "NotAcknowledged": (("media", "a.bin", 2, 1, "refused"), {}),
    "NotReplaceable": (("media",), {}),
    "OldContentNotRestored": (("a.bin", Path("/kept/a.bin")), {}),
}
CLASSES = [
    found
    for found in vars(exceptions).values()
    if isinstance(found, type) and issubclass(found, exceptions.QueuedStorageError)
]


def test_every_class_is_found() -> None:
    assert {found.__name__ for found in CLASSES} > set(MADE)


def sent(error: Exception) -> Any:
    return pickle.loads(pickle.dumps(error))  # noqa: S301 - what this test wrote itself


@pytest.mark.parametrize("again", [sent, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("kind", CLASSES)
def test_error_survives(kind: Any, again: Any) -> None:
    args, named = MADE.get(kind.__name__, (("what went wrong",), {}))
    error = kind(*args, **named)
    error.add_note("and where")
    found = again(error)
    assert type(found) is kind
    assert (str(found), found.args, vars(found)) == (str(error), error.args, vars(error))
