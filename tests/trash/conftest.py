"""A chain with a trash, and what its tests do again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from queued_storage.chain import chains
from queued_storage.storage import TieredStorage

from tests.support import clock as clocks
from tests.support.clock import Clock


@pytest.fixture
def clock() -> Iterator[Clock]:
    with clocks.stopped() as clock:
        yield clock


@pytest.fixture
def make(make_chain: Callable[..., TieredStorage], settings: Any) -> Callable[..., TieredStorage]:
    """Make a chain whose deleted files can be brought back for a week."""

    def make(
        tiers: Any = ("disk", "vault"), policy: str = "transfer-and-delete", trash: Any = "P7D"
    ) -> TieredStorage:
        storage = make_chain(tiers, policy=policy)
        chain = settings.QUEUED_STORAGE_TIERS["media"] | {"TRASH": trash}
        settings.QUEUED_STORAGE_TIERS = settings.QUEUED_STORAGE_TIERS | {"media": chain}
        chains.reset()
        return storage

    return make
