"""SFTP and FTP as the first tier: a save is whole or not there, and replacing leaves no moment without content."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.files.base import ContentFile, File
from django.db import connections, transaction

from queued_storage.models import StoredFile
from queued_storage.testing import run_owed_work

from tests.remote.test_renaming import Broken
from tests.support import recording
from tests.support.file_servers import FileServer
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.servers, pytest.mark.django_db(transaction=True, available_apps=["queued_storage"])]


@pytest.fixture(params=["sftp", "ftp"])
def server(request: pytest.FixtureRequest) -> FileServer:
    found: FileServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def place(server: FileServer) -> str:
    return server.new_place()


@pytest.fixture
def storage(server: FileServer, place: str, make_chain: Any, settings: Any) -> Any:
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH
    return make_chain({"near": server.tier(place), "disk": "disk"})


def write(storage: Any, data: bytes, name: str = "a.txt") -> None:
    with storage.open(name, "wb") as file:
        file.write(data)


def read(storage: Any, name: str = "a.txt") -> bytes:
    with storage.open(name) as file:
        data: bytes = file.read()
    return data


def test_saved_file_is_whole_and_moves_on(storage: Any, server: FileServer, place: str) -> None:
    name = storage.save("in/a b.txt", ContentFile(b"content"))
    assert server.names(place) == [name]
    assert read(storage, name) == b"content"
    run_owed_work()
    assert storage.tiers(name) == ["near", "disk"]
    storage.delete(name)
    run_owed_work()
    assert server.names(place) == []


def test_g4_upload_that_breaks_off_leaves_nothing(storage: Any, server: FileServer, place: str) -> None:
    with pytest.raises(RuntimeError, match="gone"):
        storage.save("a.txt", File(Broken(RuntimeError("gone")), name="a.txt"))
    assert server.names(place) == []
    assert not storage.exists("a.txt")


def test_g4_reader_polling_during_replacements_sees_old_or_new(storage: Any) -> None:
    contents = [bytes([letter]) * 100_000 for letter in b"ab"]
    write(storage, contents[0])
    seen: list[bytes] = []
    ended = threading.Event()

    def poll() -> None:
        try:
            while not ended.is_set():
                seen.append(read(storage))
        finally:
            connections.close_all()

    def replace_until_seen(turn: int = 0) -> bool:
        write(storage, contents[turn % 2])
        return len(seen) >= 8

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(poll)
        try:
            wait_until(lambda: replace_until_seen(len(seen)) or reader.done(), "eight reads", every=0)
        finally:
            ended.set()
        reader.result()
    assert set(seen) <= set(contents)


def test_g4_rolled_back_replacement_leaves_the_old_content(
    storage: Any, server: FileServer, place: str
) -> None:
    write(storage, b"old")
    with transaction.atomic():
        write(storage, b"new")
        assert read(storage) == b"new"
        assert server.read(place, "a.txt") == b"old"
        transaction.set_rollback(True)
    assert read(storage) == b"old"
    assert storage.listdir("") == ([], ["a.txt"])


def test_g4_two_savers_of_one_free_name_get_two_files(storage: Any, server: FileServer, place: str) -> None:
    start = threading.Barrier(2)

    def save(content: bytes) -> str:
        try:
            start.wait(10)
            return str(storage.save("a.txt", ContentFile(content)))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        names = list(pool.map(save, [b"one", b"two"]))
    assert sorted(names) == server.names(place)
    assert [server.read(place, name) for name in names] == [b"one", b"two"]


def test_delete_that_is_denied_is_owed_and_not_taken_for_done(
    server: FileServer, make_chain: Any, settings: Any
) -> None:
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH
    place = server.new_place("denied")
    server.put(place, "a.txt", b"content")
    storage = make_chain({"disk": "disk", "far": server.tier(place)})
    storage.delete("a.txt")
    assert server.names(place) == ["a.txt"]
    row = StoredFile.objects.get()
    assert row.stale == ["far"]
    assert "ermission denied" in row.last_error
