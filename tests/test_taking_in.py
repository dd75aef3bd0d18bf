"""``tiers transfer`` takes files that were there before into the catalog many at a time, as it would one by one."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import connections
from django.test.utils import CaptureQueriesContext

from queued_storage import catalog, operations
from queued_storage.models import StoredFile
from queued_storage.storage import TieredStorage
from queued_storage.testing import run_owed_work

#: What differs from run to run.
PASSING = {"id", "saved_at", "due_at"}


@pytest.fixture
def storage(make_chain: Any, catalog_db: str) -> TieredStorage:
    return make_chain(("disk", "vault"), "transfer")


def put(tmp_path: Path, tier: str, name: str, content: bytes = b"content") -> None:
    path = tmp_path / tier / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def taken_in(storage: TieredStorage, *names: str) -> dict[str, str]:
    return dict(operations.transfer(storage, names or operations.names(storage.chain)))


def rows() -> dict[str, dict[str, Any]]:
    found = {row["name"]: row for row in catalog.files().values()}
    return {
        name: {key: value for key, value in row.items() if key not in PASSING}
        | {"is_due": row["due_at"] is not None}
        for name, row in found.items()
    }


@pytest.mark.parametrize("policy", ["transfer", "transfer-and-delete", "delayed"])
def test_result_is_that_of_one_by_one(make_chain: Any, catalog_db: str, tmp_path: Path, policy: str) -> None:
    storage = make_chain(("disk", "vault"), policy)
    for name, tiers in {"a.txt": ("disk",), "d/b.txt": ("disk", "vault"), "d/c.txt": ("vault",)}.items():
        for tier in tiers:
            put(tmp_path, tier, name)
    put(tmp_path, "disk", "differs.txt", b"this")
    put(tmp_path, "vault", "differs.txt", b"that")
    names = [*operations.names(storage.chain), "missing.txt", "a.txt"]
    together, together_rows = list(operations.transfer(storage, names)), rows()
    catalog.files().delete()
    one_by_one = [state for name in names for state in operations.transfer(_OneByOne(storage), [name])]
    assert together == one_by_one
    assert together_rows == rows()
    assert {name for name, state in together if state in ("pending", "settled")} == {
        "a.txt",
        "d/b.txt",
        "d/c.txt",
    }


def _OneByOne(storage: TieredStorage) -> TieredStorage:  # noqa: N802 - stands for the class
    class OneByOne(TieredStorage):
        def transfer(self, name: str) -> None:
            super().transfer(name)

    return OneByOne(storage.alias)


def test_many_cost_few_statements(storage: TieredStorage, tmp_path: Path, catalog_db: str) -> None:
    for number in range(50):
        put(tmp_path, "disk", f"{number}.txt")
    with CaptureQueriesContext(connections[catalog_db]) as told:
        assert set(taken_in(storage).values()) == {"pending"}
    assert len(told) < 20
    assert catalog.files().count() == 50
    run_owed_work()
    assert set(taken_in(storage).values()) == {"settled"}


def test_to_ask_again_for_many_costs_few_statements(
    storage: TieredStorage, tmp_path: Path, catalog_db: str
) -> None:
    for number in range(50):
        put(tmp_path, "disk", f"{number}.txt")
    taken_in(storage)
    for state in ("pending", "settled"):
        with CaptureQueriesContext(connections[catalog_db]) as told:
            assert set(taken_in(storage).values()) == {state}
        assert len(told) < 20
        run_owed_work()


def test_files_that_somebody_has_locked_are_asked_for_one_by_one(
    storage: TieredStorage, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in files:
        storage.save(f"saved/{name}", ContentFile(b"content"))
    run_owed_work()
    monkeypatch.setattr(catalog, "request_each", lambda chain, pks: [])
    assert set(taken_in(storage).values()) == {"pending", "settled"}
    assert all(row.requested for row in catalog.files())


class Meanwhile:
    """Does something once, when the files of a batch were looked at and are not written yet."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> None:
        adopt_each = catalog.adopt_each

        def late(chain: Any, found: Collection[Any]) -> Any:
            monkeypatch.setattr(catalog, "adopt_each", adopt_each)
            act()
            return adopt_each(chain, found)

        monkeypatch.setattr(catalog, "adopt_each", late)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    names = ["a.txt", "b.txt", "c.txt"]
    for name in names:
        put(tmp_path, "disk", name)
    return names


def test_g5_file_that_is_deleted_meanwhile_stays_deleted(
    storage: TieredStorage, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Meanwhile(monkeypatch, lambda: storage.delete("b.txt"))
    assert taken_in(storage) == {"a.txt": "pending", "b.txt": "missing", "c.txt": "pending"}
    run_owed_work()
    assert (storage.exists("b.txt"), storage.tiers("b.txt")) == (False, [])
    assert storage.tiers("a.txt") == storage.tiers("c.txt") == ["disk", "vault"]


def test_file_that_others_took_in_meanwhile_is_asked_for_once(
    storage: TieredStorage, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Meanwhile(monkeypatch, lambda: storage.transfer("b.txt"))
    assert taken_in(storage) == dict.fromkeys(files, "pending")
    assert sorted(row.name for row in catalog.files()) == files


def test_g6_name_that_is_saved_anew_meanwhile_is_the_newest(
    storage: TieredStorage, files: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def replace() -> None:
        storage.delete("b.txt")
        run_owed_work()
        assert storage.save("b.txt", ContentFile(b"new content")) == "b.txt"

    Meanwhile(monkeypatch, replace)
    taken_in(storage)
    run_owed_work()
    assert storage.size("b.txt") == len(b"new content")
    assert (tmp_path / "vault/b.txt").read_bytes() == b"new content"


def test_names_of_one_batch_are_hinted_by_one_message(
    storage: TieredStorage, files: list[str], settings: Any
) -> None:
    settings.QUEUED_STORAGE_DISPATCHER = f"{__name__}.Noting"
    Noting.notes.clear()
    taken_in(storage)
    assert [len(ids) for ids in Noting.notes] == [3]


class Noting:
    notes: list[list[int]] = []

    def dispatch(self, ids: Any) -> None:
        self.notes.append(list(ids))


def test_names_of_the_catalog_are_read_in_pages(
    storage: TieredStorage, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "NAMES_AT_ONCE", 2)
    monkeypatch.setattr(operations, "FILES_AT_ONCE", 2)
    taken_in(storage)
    storage.delete("b.txt")
    run_owed_work()
    assert sorted(operations.names(storage.chain)) == ["a.txt", "c.txt"]
    assert StoredFile.objects.using(catalog.database()).count() == 3
