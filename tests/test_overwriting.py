"""Saves that replace content under its name: where the first tier overwrites, and through ``open(name, "wb")``."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import connections, transaction

from queued_storage.batch import drain
from queued_storage.models import StoredFile
from queued_storage.storage import TieredStorage

from tests import base_settings

Save = Callable[[TieredStorage, bytes], None]


class RolledBack(Exception):
    """Ends a transaction of a test."""


def save(storage: TieredStorage, data: bytes) -> None:
    storage.save("a.txt", ContentFile(data))


def write(storage: TieredStorage, data: bytes) -> None:
    with storage.open("a.txt", "wb") as file:
        file.write(data)


def read(storage: TieredStorage) -> bytes:
    with storage.open("a.txt") as file:
        data: bytes = file.read()
        return data


@pytest.fixture
def overwriting(make_chain: Any, tmp_path: Path) -> TieredStorage:
    options = {"location": str(tmp_path / "disk"), "allow_overwrite": True}
    first = {"BACKEND": base_settings.DISK, "OPTIONS": options}
    storage: TieredStorage = make_chain({"disk": first, "vault": "disk"}, policy="transfer-and-delete")
    return storage


def do_all_work() -> None:
    for _ in drain(own_process=False):
        pass


@pytest.mark.parametrize("replace", [save, write])
@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.django_db(transaction=True)
def test_g1_rolled_back_replacement_leaves_the_committed_content(
    overwriting: TieredStorage, replace: Save, moved: bool
) -> None:
    save(overwriting, b"first")
    if moved:
        do_all_work()
    with suppress(RolledBack), transaction.atomic():
        replace(overwriting, b"second")
        raise RolledBack
    assert read(overwriting) == b"first"
    do_all_work()
    assert read(overwriting) == b"first"
    assert overwriting.state("a.txt") == "settled"


@pytest.mark.django_db(transaction=True)
def test_g1_rolled_back_savepoint_leaves_the_outer_content(overwriting: TieredStorage) -> None:
    save(overwriting, b"first")
    with transaction.atomic():
        save(overwriting, b"second")
        with suppress(RolledBack), transaction.atomic():
            save(overwriting, b"third")
            raise RolledBack
        assert read(overwriting) == b"second"
    assert read(overwriting) == b"second"


@pytest.mark.django_db(transaction=True)
def test_g6_delete_and_save_in_one_transaction_end_with_the_saved_content(overwriting: TieredStorage) -> None:
    save(overwriting, b"first")
    with transaction.atomic():
        overwriting.delete("a.txt")
        save(overwriting, b"second")
    do_all_work()
    assert read(overwriting) == b"second"
    assert overwriting.tiers("a.txt") == ["vault"]


@pytest.mark.django_db(transaction=True)
def test_g7_rolled_back_delete_and_save_lose_nothing(overwriting: TieredStorage) -> None:
    save(overwriting, b"first")
    with suppress(RolledBack), transaction.atomic():
        overwriting.delete("a.txt")
        save(overwriting, b"second")
        raise RolledBack
    assert read(overwriting) == b"first"


def test_g4_others_read_the_old_content_until_the_new_is_committed(
    catalog_db: str, overwriting: TieredStorage
) -> None:
    seen: list[bytes] = []

    def look() -> None:
        seen.append(read(overwriting))
        connections.close_all()

    save(overwriting, b"first")
    with transaction.atomic(using=catalog_db):
        save(overwriting, b"second")
        assert read(overwriting) == b"second"
        assert overwriting.size("a.txt") == 6
        reader = threading.Thread(target=look)
        reader.start()
        reader.join(10)
    look()
    assert seen == [b"first", b"second"]


@pytest.mark.django_db
def test_g1_content_that_nobody_lived_to_publish_is_published_by_the_engine(
    overwriting: TieredStorage, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        save(overwriting, b"first")
    with django_capture_on_commit_callbacks(execute=False):  # killed right after the commit
        save(overwriting, b"second")
    do_all_work()
    assert read(overwriting) == b"second"
    assert StoredFile.objects.get().staged == ""


@pytest.mark.django_db(transaction=True)
def test_nothing_is_left_beside_a_published_file(overwriting: TieredStorage, tmp_path: Path) -> None:
    save(overwriting, b"first")
    with transaction.atomic():
        save(overwriting, b"second")
        save(overwriting, b"third")
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["a.txt"]
    assert read(overwriting) == b"third"


def test_g6_two_first_saves_of_one_name_both_succeed_and_one_is_whole(
    catalog_db: str, overwriting: TieredStorage
) -> None:
    contents = [b"short", b"a longer one"]
    for i in range(10):
        start, names = threading.Barrier(2), []

        def go(data: bytes, name: str = f"{i}.txt", start: Any = start, names: list[str] = names) -> None:
            start.wait(10)
            names.append(overwriting.save(name, ContentFile(data)))
            connections.close_all()

        threads = [threading.Thread(target=go, args=(data,)) for data in contents]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert names == [f"{i}.txt"] * 2
        with overwriting.open(f"{i}.txt") as file:
            data = file.read()
        assert data in contents
        assert StoredFile.objects.get(name=f"{i}.txt").size == len(data)
