"""What a save does, counted: statements, files, requests. How long that takes, ``benchmarks/`` shows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.db import DataError, connections, transaction
from django.test.utils import CaptureQueriesContext

from queued_storage import catalog, disk, saving
from queued_storage.models import StoredFile
from queued_storage.storage import TieredStorage

from tests.support import recording

CONTENT = b"content"
#: Databases that tell of a taken name by the INSERT, and lock nothing for it.
TELLING = ("default", "postgresql")


class NumberingStorage(FileSystemStorage):
    """A disk with its own idea of what to call a second file."""

    def get_alternative_name(self, file_root: str, file_ext: str) -> str:
        return f"{file_root}-again{file_ext}"


@pytest.fixture(autouse=True)
def _work_when_told(settings: Any) -> None:
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH


@pytest.fixture
def chain(catalog_db: str, make_chain: Any) -> TieredStorage:
    storage: TieredStorage = make_chain(policy="transfer-and-delete")
    return storage


def read(chain: TieredStorage, name: str) -> bytes:
    with chain.open(name) as file:
        return bytes(file.read())


def verbs(alias: str, save: Any) -> list[str]:
    with CaptureQueriesContext(connections[alias]) as queries:
        save()
    told = [
        query["sql"].removeprefix("BEGIN; ") for query in queries if query["sql"] not in ("BEGIN", "COMMIT")
    ]
    return [sql.split()[0] for sql in told]


def test_save_is_one_statement(chain: TieredStorage, catalog_db: str) -> None:
    if catalog_db not in TELLING:
        pytest.skip("MariaDB is asked for the name first, lest the INSERT lock another's row")
    assert verbs(catalog_db, lambda: chain.save("a.txt", ContentFile(CONTENT))) == ["INSERT"]


@pytest.mark.parametrize("catalog_db", ["postgresql"], indirect=True)
class TestBegin:
    """PostgreSQL is told of the transaction in the same breath as of the row."""

    def test_it_comes_with_the_row(self, chain: TieredStorage, catalog_db: str) -> None:
        with CaptureQueriesContext(connections[catalog_db]) as queries:
            chain.save("a.txt", ContentFile(CONTENT))
        assert [query["sql"][:13] for query in queries if "INSERT" in query["sql"]] == ["BEGIN; INSERT"]
        connection = connections[catalog_db]
        assert (connection.get_autocommit(), connection.connection.autocommit) == (True, True)
        assert StoredFile.objects.get().name == "a.txt"

    def test_save_that_fails_leaves_no_row(
        self, chain: TieredStorage, catalog_db: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*arguments: Any, **options: Any) -> None:
            raise OSError("no")

        with monkeypatch.context() as patch:
            patch.setattr(disk.Staged, "publish", fail)
            with pytest.raises(OSError, match="no"):
                chain.save("a.txt", ContentFile(CONTENT))
        assert not StoredFile.objects.exists()
        assert connections[catalog_db].get_autocommit()
        assert chain.save("a.txt", ContentFile(CONTENT)) == "a.txt"
        assert StoredFile.objects.get().state == "pending"

    def test_name_that_is_taken_by_then(self, chain: TieredStorage) -> None:
        chain.save("a.txt", ContentFile(b"first"))
        os.unlink(chain.chain["disk"].storage.path("a.txt"))
        assert chain.save("a.txt", ContentFile(CONTENT)) != "a.txt"
        assert StoredFile.objects.count() == 2

    def test_rollback_of_the_caller_s_own_transaction(self, chain: TieredStorage, catalog_db: str) -> None:
        with transaction.atomic(using=catalog_db):
            chain.save("a.txt", ContentFile(CONTENT))
            assert StoredFile.objects.using(catalog_db).count() == 1
            transaction.set_rollback(True, using=catalog_db)
        assert not StoredFile.objects.exists()
        assert connections[catalog_db].get_autocommit()

    def test_row_that_the_database_refuses(self, chain: TieredStorage, catalog_db: str) -> None:
        with saving.saving_for("m" * 300, "field"), pytest.raises(DataError):
            chain.save("a.txt", ContentFile(CONTENT))
        assert connections[catalog_db].get_autocommit()
        assert chain.save("a.txt", ContentFile(CONTENT)) == "a.txt"


def test_row_of_the_one_statement_has_all_that_is_known(chain: TieredStorage, catalog_db: str) -> None:
    seen: list[StoredFile] = []
    with transaction.atomic(using=catalog_db):
        chain.save("a.txt", ContentFile(CONTENT))
        seen.append(StoredFile.objects.get())
    row = seen[0]
    assert (row.chain, row.name, row.size, row.tiers) == ("media", "a.txt", len(CONTENT), ["disk"])
    assert (row.key, row.generation, row.state) == (StoredFile.key_of("a.txt"), 1, "pending")
    assert row.due_at == row.saved_at
    assert recording.RecordingDispatcher.calls[-1] == [row.pk]


def test_name_that_only_the_catalog_knows_is_not_given_again(chain: TieredStorage) -> None:
    chain.save("a.txt", ContentFile(b"first"))
    recording.work()
    os.unlink(chain.chain["vault"].storage.path("a.txt"))  # nothing but its row tells of it any more
    name = chain.save("a.txt", ContentFile(CONTENT))
    assert (name != "a.txt", read(chain, name)) == (True, CONTENT)
    assert StoredFile.objects.get(name="a.txt").size == len(b"first")


def test_other_name_is_of_the_first_tiers_own_kind(catalog_db: str, make_chain: Any, tmp_path: Path) -> None:
    near = {
        "BACKEND": f"{__name__}.NumberingStorage",
        "OPTIONS": {"location": str(tmp_path / "near")},
    }
    far = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(tmp_path / "far")},
        "EXCLUSIVE": True,
    }
    chain = make_chain({"near": near, "far": far}, policy="transfer-and-delete")
    chain.save("a.txt", ContentFile(b"first"))
    recording.work()
    assert chain.save("a.txt", ContentFile(CONTENT)) == "a-again.txt"


def test_name_of_a_deleted_file_is_given_again(chain: TieredStorage) -> None:
    chain.save("a.txt", ContentFile(b"first"))
    chain.delete("a.txt")
    recording.work()
    assert chain.save("a.txt", ContentFile(CONTENT)) == "a.txt"
    assert StoredFile.objects.get().generation > 1


@pytest.fixture
def locked_row(chain: TieredStorage, catalog_db: str) -> Iterator[str]:
    """A file that has moved on, whose row somebody else's long transaction holds."""
    chain.save("a.txt", ContentFile(b"first"))
    recording.work()
    is_locked, may_end = Event(), Event()

    def hold() -> None:
        with catalog.locked("media", "a.txt"):
            is_locked.set()
            may_end.wait(30)
        connections.close_all()

    thread = Thread(target=hold)
    thread.start()
    assert is_locked.wait(30)
    yield "a.txt"
    may_end.set()
    thread.join()


def test_taken_name_is_not_waited_for(chain: TieredStorage, catalog_db: str, locked_row: str) -> None:
    if connections[catalog_db].vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    with connections[catalog_db].cursor() as cursor:
        cursor.execute(LOCK_TIMEOUT[connections[catalog_db].vendor])
    with transaction.atomic(using=catalog_db):
        assert chain.save(locked_row, ContentFile(CONTENT)) != locked_row


LOCK_TIMEOUT = {"postgresql": "SET lock_timeout = '3s'", "mysql": "SET innodb_lock_wait_timeout = 3"}


def test_uploaded_temporary_file_is_moved(chain: TieredStorage, settings: Any, tmp_path: Path) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path)  # on the disk of the tiers, as it should be in production
    with TemporaryUploadedFile("a.bin", "image/png", len(CONTENT), None) as upload:
        upload.write(CONTENT)
        upload.flush()
        inode = os.stat(upload.temporary_file_path()).st_ino
        name = chain.save("a.bin", upload)
    assert os.stat(chain.path(name)).st_ino == inode
    assert read(chain, name) == CONTENT
