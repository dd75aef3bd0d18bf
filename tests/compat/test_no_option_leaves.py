"""The options of a storage that code declares stay in the process that declares it."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db.migrations.writer import MigrationWriter

from queued_storage import backends, catalog, dispatch
from queued_storage.backends import FILE_SYSTEM, QueuedStorage

from tests.compat import tasks
from tests.compat.declarations import GUARDED, SECRET, Bare, DiskToVault, with_password

Make = Callable[..., QueuedStorage]


class TestG10NoOptionLeaves:
    @pytest.mark.parametrize(
        "make",
        [
            DiskToVault,
            lambda: DiskToVault(delayed=True, task="tests.compat.tasks.copy"),
            lambda: QueuedStorage(FILE_SYSTEM, GUARDED),
            lambda: with_password(SECRET),
            lambda: with_password(SECRET, task=tasks.Noting(), delayed=True),
            lambda: Bare("/nowhere", SECRET),
            lambda: backends.QueuedS3BotoStorage(remote_options={"secret_key": SECRET, "bucket_name": "b"}),
        ],
        ids=["class", "class-with-task", "paths", "options", "options-and-task", "own-signature", "s3"],
    )
    def test_g10_migration_finds_the_storage_without_its_options(
        self, make: Callable[[], QueuedStorage]
    ) -> None:
        storage = make()
        written, imports = MigrationWriter.serialize(storage)
        assert SECRET not in written
        assert "/nowhere" not in written
        scope: dict[str, Any] = {}
        exec("\n".join(imports), scope)  # noqa: S102 - as Django runs a migration
        assert eval(written, scope) == storage  # noqa: S307

    def test_migration_of_a_class_without_arguments_is_its_name(self) -> None:
        assert MigrationWriter.serialize(DiskToVault())[0] == "tests.compat.declarations.DiskToVault()"

    def test_migration_of_options_given_in_code_is_the_alias(self) -> None:
        storage = with_password(SECRET)
        assert storage.deconstruct() == (
            "queued_storage.storage.TieredStorage", (storage.alias,), {"policy": "transfer"},
        )  # fmt: skip

    @pytest.mark.parametrize(
        "make", [DiskToVault, lambda: with_password(SECRET), lambda: Bare("/nowhere", SECRET)]
    )
    def test_g10_neither_repr_nor_pickle_nor_attributes_tell(self, make: Callable[[], QueuedStorage]) -> None:
        storage = make()
        told = f"{storage!r} {vars(storage)!r} {storage.chain!r} {storage.chain.config!r} {pickle.dumps(storage)!r}"
        assert SECRET not in told

    @pytest.mark.django_db(transaction=True)
    def test_g10_row_and_log_of_a_refused_login_do_not_tell(
        self, make_queued: Make, inline: None, caplog: pytest.LogCaptureFixture, tmp_path: Path
    ) -> None:
        options = {"location": str(tmp_path / "remote"), "password": SECRET}
        storage = make_queued(remote="tests.compat.storages.Refusing", remote_options=options)
        with caplog.at_level(logging.DEBUG):
            name = storage.save("a.txt", ContentFile(b"1"))
        row = catalog.files().filter(chain=storage.alias, name=name).values().get()
        assert "530 login with *** refused" in row["last_error"]
        assert SECRET not in f"{row} {caplog.text}"

    @pytest.mark.django_db(transaction=True)
    def test_g10_message_is_the_row_id(self, make_queued: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        sent: list[list[int]] = []
        monkeypatch.setattr(dispatch.CeleryDispatcher, "dispatch", lambda self, ids: sent.append(list(ids)))
        storage = make_queued(task=tasks.copy)
        storage.save("a.txt", ContentFile(b"1"))
        assert sent == [[catalog.files().get(chain=storage.alias).pk]]
