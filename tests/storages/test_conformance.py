"""Every storage does what a tier should do, below and as the first tier; ``kinds.py`` says what one cannot, and why."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable

import pytest

from queued_storage.testing.conformance import Candidate, ChainConformance, TierConformance

from tests.storages.conftest import Place
from tests.storages.matrix import VERSIONS

pytestmark = [pytest.mark.servers, pytest.mark.timeout(90)]


#: The kinds of which it has been told.
TOLD: set[str] = set()


@pytest.fixture(autouse=True)
def _versions(place: Place, record_property: Callable[[str, object], None]) -> None:
    """Tell the matrix, once for each kind, what it ran on."""
    kind = place.kind
    if kind.name not in TOLD:
        clients = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in kind.clients)
        told = {"kind": kind.name, "server": place.server.version(), "clients": clients}
        record_property(VERSIONS, json.dumps(told))
        TOLD.add(kind.name)


@pytest.fixture
def storage(place: Place) -> Candidate:
    return Candidate(
        place.tier(),
        kind=place.kind.name,
        cannot=place.kind.cannot,
        roles=("lower", "first") if place.kind.is_first else ("lower",),
        content_type=place.content_type if place.keeps_content_type else None,
    )


class TestTier(TierConformance):
    """The storage alone."""


@pytest.mark.django_db(transaction=True, available_apps=["queued_storage"])
class TestChain(ChainConformance):
    """Chains with it."""
