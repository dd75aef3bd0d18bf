"""What is GridFS's own: revisions, chunks as the drivers lay them, and pymongo's errors."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from django.core.files.base import ContentFile
from pymongo import errors

from queued_storage import traits
from queued_storage.contrib.storages import gridfs as module
from queued_storage.contrib.storages import objects
from queued_storage.contrib.storages.gridfs import GridFSStorage
from queued_storage.exceptions import ConfigurationError

from tests.contrib.documents.conftest import Documents

servers = pytest.mark.servers


def refusal(code: int, text: str = "no") -> errors.OperationFailure:
    return errors.OperationFailure(text, code)


def refused_write(code: int, text: str = "no") -> errors.BulkWriteError:
    return errors.BulkWriteError({"writeErrors": [{"index": 0, "code": code, "errmsg": text}]})


@pytest.mark.parametrize(
    "error",
    [refusal(13), refusal(18), refused_write(13), errors.ConfigurationError("no"), errors.InvalidURI("no")],
    ids=repr,
)
def test_permanent(error: Exception) -> None:
    assert (traits.is_permanent(error), traits.is_capacity(error)) == (True, False)
    assert not traits.is_outage(error)
    assert not traits.is_missing(error)


@pytest.mark.parametrize(
    "error",
    [refusal(14031), refused_write(14031), refusal(8000, "you are over your space quota, using 513 MB")],
    ids=repr,
)
def test_no_room(error: Exception) -> None:
    assert (traits.is_permanent(error), traits.is_capacity(error)) == (False, True)


@pytest.mark.parametrize(
    "error",
    [
        errors.ServerSelectionTimeoutError("no"),
        errors.NetworkTimeout("no"),
        errors.AutoReconnect("no"),
        errors.NotPrimaryError("no"),
    ],
    ids=repr,
)
def test_outage(error: Exception) -> None:
    assert traits.is_outage(error)
    assert not traits.is_permanent(error)


@pytest.mark.parametrize("error", [refusal(8000, "busy"), refusal(11600), refused_write(11000)], ids=repr)
def test_transient(error: Exception) -> None:
    assert (traits.is_permanent(error), traits.is_capacity(error), traits.is_outage(error)) == (False,) * 3


@pytest.mark.parametrize("chunk_size", [0, 16 << 20])
def test_chunk_size_fits_a_document(chunk_size: int) -> None:
    with pytest.raises(ConfigurationError, match="chunk_size from 1"):
        GridFSStorage("mongodb://127.0.0.1", "media", chunk_size=chunk_size)


def test_timeouts_in_the_uri_are_respected() -> None:
    storage = GridFSStorage("mongodb://127.0.0.1/?sockettimeoutms=1234", "media")
    assert "socketTimeoutMS" not in storage._options
    assert storage._options["serverSelectionTimeoutMS"] == 5_000


@pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "broken"])
def test_certificate_that_cannot_be_read_is_no_missing_file(tmp_path: Path, content: str | None) -> None:
    certificate = tmp_path / "ca.pem"
    if content is not None:
        certificate.write_text(content)
    options = {"tls": True, "tlsCAFile": str(certificate)}
    storage = GridFSStorage("mongodb://127.0.0.1", "media", client_options=options)
    for call in (storage.exists, storage.open, storage.delete, storage.listdir):
        with pytest.raises(errors.ConfigurationError) as caught:
            call("a.txt")
        assert traits.is_permanent(caught.value)
        assert not traits.is_missing(caught.value)


@servers
class TestRevisions:
    def test_newest_is_read(self, gridfs: Documents) -> None:
        gridfs.put("a.txt", b"first")
        gridfs.put("a.txt", b"second")
        assert gridfs.make().open("a.txt").read() == b"second"

    def test_all_are_removed_by_a_save_that_overwrites(self, gridfs: Documents) -> None:
        gridfs.put("a.txt", b"first")
        gridfs.put("a.txt", b"second")
        gridfs.make(allow_overwrite=True).save("a.txt", ContentFile(b"third"))
        assert gridfs.names == ["a.txt"]
        assert gridfs.read("a.txt") == b"third"
        assert chunks(gridfs) == [b"third"]

    def test_all_are_deleted(self, gridfs: Documents) -> None:
        gridfs.put("a.txt", b"first")
        gridfs.put("a.txt", b"second")
        gridfs.make().delete("a.txt")
        assert gridfs.names == []
        assert chunks(gridfs) == []

    def test_save_is_the_newest_whatever_the_clock_says(self, gridfs: Documents) -> None:
        gridfs.put("a.txt", b"from a clock that is ahead")
        change(gridfs, {"filename": "a.txt"}, {"uploadDate": datetime.now(UTC) + timedelta(hours=1)})
        gridfs.make(allow_overwrite=True).save("a.txt", ContentFile(b"later"))
        assert gridfs.make().open("a.txt").read() == b"later"
        assert gridfs.names == ["a.txt"]

    def test_claim_of_a_save_that_died_is_no_file(self, gridfs: Documents) -> None:
        gridfs.put("a.txt", b"content")
        change(gridfs, {"filename": "a.txt"}, {"metadata": {"unpublished": True}})
        storage = gridfs.make()
        assert not storage.exists("a.txt")
        assert storage.listdir("") == ([], [])
        assert storage.save("a.txt", ContentFile(b"other")) != "a.txt"  # it could be that of a save under way
        assert gridfs.make(allow_overwrite=True).save("a.txt", ContentFile(b"new")) == "a.txt"
        assert storage.open("a.txt").read() == b"new"

    @pytest.mark.parametrize("revisions", [2, 3, 7])
    def test_listing_ends_where_revisions_fill_pages(
        self, gridfs: Documents, monkeypatch: pytest.MonkeyPatch, revisions: int
    ) -> None:
        monkeypatch.setattr(objects, "PAGE", 3)
        monkeypatch.setattr(module, "PAGE", 3)
        names = ["a.txt", "in/a.txt", "in/b/c.txt", "in/b.txt", "z.txt"]
        for name in names * revisions:
            gridfs.put(name, b"x")
        storage = gridfs.make()
        monkeypatch.setattr(storage, "_page", at_most(3 * len(names), storage._page))
        assert storage.listdir("") == (["in"], ["a.txt", "z.txt"])
        assert storage.listdir("in") == (["b"], ["a.txt", "b.txt"])

    def test_file_is_listed_among_claims_that_fill_a_page(
        self, gridfs: Documents, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(objects, "PAGE", 3)
        monkeypatch.setattr(module, "PAGE", 3)
        for _ in range(4):
            gridfs.put("a.txt", b"of a save that died")
            change(gridfs, {"filename": "a.txt", "metadata": None}, {"metadata": {"unpublished": True}})
        gridfs.put("a.txt", b"content")
        storage = gridfs.make()
        monkeypatch.setattr(storage, "_page", at_most(5, storage._page))
        assert storage.listdir("") == ([], ["a.txt"])

    def test_save_whose_claim_is_deleted_fails_and_leaves_nothing(
        self, gridfs: Documents, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        storage = gridfs.make()
        update = GridFSStorage._update

        def delete_first(self: GridFSStorage, key: ObjectId, change: Any) -> None:
            gridfs.make().delete("a.txt")
            update(self, key, change)

        monkeypatch.setattr(GridFSStorage, "_update", delete_first)
        with pytest.raises(FileNotFoundError, match="while it was saved"):
            storage.save("a.txt", ContentFile(b"content"))
        assert gridfs.names == []
        assert chunks(gridfs) == []


@servers
class TestLayout:
    def test_other_drivers_read_what_was_saved(self, gridfs: Documents) -> None:
        content = bytes(range(256)) * 4000
        gridfs.make(chunk_size=100_000).save("a.bin", ContentFile(content))
        with gridfs.server.bucket(gridfs.place) as bucket:
            stream = bucket.open_download_stream_by_name("a.bin")
            assert stream.read() == content
            assert stream.chunk_size == 100_000
            assert stream.length == len(content)

    def test_indexes_are_those_of_gridfs(self, gridfs: Documents) -> None:
        gridfs.make().save("a.txt", ContentFile(b"content"))
        with gridfs.server.client() as client:
            database = client[gridfs.place]
            assert "filename_1_uploadDate_1" in database["fs.files"].index_information()
            assert database["fs.chunks"].index_information()["files_id_1_n_1"]["unique"]

    def test_bucket_of_another_name(self, gridfs: Documents) -> None:
        storage = gridfs.make(bucket="other")
        storage.save("a.txt", ContentFile(b"content"))
        assert storage.open("a.txt").read() == b"content"
        assert gridfs.names == []

    def test_file_without_its_chunks_is_an_error_and_not_a_short_file(self, gridfs: Documents) -> None:
        storage = gridfs.make(chunk_size=10)
        storage.save("a.txt", ContentFile(b"x" * 35))
        with gridfs.server.client() as client:
            client[gridfs.place]["fs.chunks"].delete_one({"n": 2})
        with storage.open("a.txt") as file, pytest.raises(OSError, match="damaged"):
            file.read()

    def test_range_costs_a_few_chunks(self, gridfs: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
        storage = gridfs.make()
        storage.save("a.bin", ContentFile(b"x" * (8 << 20)))
        fetched: list[int] = []
        fetch = module.GridFSStream._fetch

        def counted(self: Any, start: int, length: int) -> bytes:
            data = fetch(self, start, length)
            fetched.append(len(data))
            return data

        monkeypatch.setattr(module.GridFSStream, "_fetch", counted)
        with storage.open("a.bin") as file:
            file.seek(5 << 20)
            assert file.read(100) == b"x" * 100
        assert sum(fetched) < 1 << 20

    def test_clients_are_shared_by_the_instances_of_a_process(self, gridfs: Documents) -> None:
        clients = {id(gridfs.make()._files.database.client) for _ in range(3)}
        assert len(clients) == 1

    def test_closed_clients_are_opened_again(self, gridfs: Documents) -> None:
        storage = gridfs.make()
        storage.save("a.txt", ContentFile(b"content"))
        module.close_clients()
        assert storage.open("a.txt").read() == b"content"


def at_most(times: int, call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that does the same, and fails where it is called without end."""
    calls = itertools.count(1)

    def counted(*arguments: Any) -> Any:
        assert next(calls) <= times
        return call(*arguments)

    return counted


def chunks(gridfs: Documents) -> list[bytes]:
    with gridfs.server.client() as client:
        return [each["data"] for each in client[gridfs.place]["fs.chunks"].find()]


def change(gridfs: Documents, which: dict[str, Any], values: dict[str, Any]) -> None:
    with gridfs.server.client() as client:
        assert client[gridfs.place]["fs.files"].update_one(which, {"$set": values}).matched_count
