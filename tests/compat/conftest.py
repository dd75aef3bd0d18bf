from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from queued_storage import backends, declaring, fallback
from queued_storage.backends import FILE_SYSTEM, FallbackStorage, QueuedStorage
from queued_storage.chain import chains

from tests.compat import tasks
from tests.compat.folders import folder

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper


@pytest.fixture(autouse=True)
def _nothing_declared_stays() -> Iterator[None]:
    """Forget the chains that a test declares, and what its tasks remember."""
    declared, seen, deciding = dict(chains._declared), dict(declaring._seen), dict(backends._deciding)
    of_migrations = set(declaring._of_migrations)
    yield
    declaring._of_migrations = of_migrations
    chains._declared, declaring._seen, backends._deciding = declared, seen, deciding
    chains.reset()
    fallback._fallback_chain.cache_clear()
    tasks.Retrying.calls.clear()
    tasks.Noting.notes.clear()


@pytest.fixture
def inline(settings: SettingsWrapper) -> None:
    """Work is done where the save is, and a retry is due at once."""
    settings.QUEUED_STORAGE_DISPATCHER = "queued_storage.dispatch.ImmediateDispatcher"
    settings.QUEUED_STORAGE_RETRY_DELAY = 0


@pytest.fixture
def make_queued(tmp_path: Path) -> Callable[..., QueuedStorage]:
    """Build 0.8's storage on two folders, "local" and "remote" of tmp_path."""

    def make(**given: Any) -> QueuedStorage:
        options = {
            "local": FILE_SYSTEM,
            "remote": FILE_SYSTEM,
            "local_options": {"location": str(tmp_path / "local")},
            "remote_options": {"location": str(tmp_path / "remote")},
        }
        return QueuedStorage(**options | given)

    return make


@pytest.fixture
def make_fallback(settings: SettingsWrapper, tmp_path: Path) -> Callable[..., FallbackStorage]:
    """Make a fallback over folders of tmp_path, by their names; "down" is a server that refuses connections."""

    def make(*names: str) -> FallbackStorage:
        defined = {name: folder(tmp_path / name) for name in names}
        defined["down"] = {"BACKEND": "tests.compat.storages.Down"}
        settings.STORAGES = settings.STORAGES | defined
        settings.FALLBACK_STORAGES = list(names)
        return FallbackStorage()

    return make
