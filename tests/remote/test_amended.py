"""Stock storages say what is not so; amended, they tell missing from broken, and deleted from not deleted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.utils import timezone
from django.utils.module_loading import import_string
from storages.backends.ftp import FTPStorage, FTPStorageException
from storages.backends.sftpstorage import SFTPStorage

from queued_storage import knowledge, traits
from queued_storage.amended import amended

from tests.support.file_servers import FileServer
from tests.support.relay import Relay, relay_to

pytestmark = pytest.mark.servers


def make(tier: dict[str, Any], *, stock: bool = False) -> Any:
    backend = import_string(tier["BACKEND"])
    return (backend if stock else amended(backend))(**tier["OPTIONS"])


@pytest.fixture(params=["sftp", "ftp"])
def server(request: pytest.FixtureRequest) -> FileServer:
    found: FileServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def relay(server: FileServer) -> Iterator[Relay]:
    with relay_to(server.port) as relay:
        yield relay


class TestBoth:
    """SFTPStorage and FTPStorage."""

    def test_delete_on_a_dead_server_is_no_success(self, server: FileServer, relay: Relay) -> None:
        place = server.new_place()
        server.put(place, "a.txt", b"content")
        storage = make(server.tier(place, relay.port))
        assert storage.exists("a.txt")
        relay.refuse()
        for _ in range(2):
            with pytest.raises(Exception) as caught:
                storage.delete("a.txt")
            assert traits.is_outage(caught.value)
        relay.hand_on()
        storage.delete("a.txt")
        assert server.names(place) == []

    def test_delete_that_is_denied_is_no_success(self, server: FileServer) -> None:
        place = server.new_place("denied")
        server.put(place, "a.txt", b"content")
        with pytest.raises(Exception, match="ermission denied"):
            make(server.tier(place)).delete("a.txt")

    @pytest.mark.parametrize("name", ["a.txt", "no/such/folder/a.txt"])
    def test_delete_of_a_missing_file_is_fine(self, server: FileServer, name: str) -> None:
        make(server.tier(server.new_place())).delete(name)

    @pytest.mark.parametrize("method", ["exists", "size", "delete", "listdir"])
    def test_server_that_falls_silent_is_given_up_and_asked_anew(
        self, server: FileServer, relay: Relay, method: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = server.new_place()
        server.put(place, "in/a.txt", b"content")
        for backend in (knowledge.ftp, knowledge.sftp):
            monkeypatch.setattr(backend, "SILENCE", 0.2)
        storage = make(server.tier(place, relay.port))
        assert storage.exists("in/a.txt")
        relay.swallow()
        with pytest.raises(Exception) as caught:
            getattr(storage, method)("in")
        assert traits.is_outage(caught.value)
        relay.hand_on()
        for backend in (knowledge.ftp, knowledge.sftp):
            monkeypatch.setattr(backend, "SILENCE", 20)
        assert storage.exists("in/a.txt")

    @pytest.mark.parametrize("name", ["b.txt", "in/b.txt", "no/such/folder/b.txt", "a.txt/b.txt"])
    def test_missing_is_missing(self, server: FileServer, name: str) -> None:
        place = server.new_place()
        server.put(place, "a.txt", b"content")
        server.put(place, "in/a.txt", b"content")
        storage = make(server.tier(place))
        assert not storage.exists(name)
        for call in (storage.size, storage.get_modified_time, lambda name: storage.open(name).read()):
            with pytest.raises(Exception) as caught:
                call(name)
            assert traits.is_missing(caught.value)

    def test_folder_that_two_make_at_once_is_no_failure(self, server: FileServer) -> None:
        place, folders, together = server.new_place(), 15, threading.Barrier(4)

        def save(number: int) -> list[str]:
            storage = make(server.tier(place))
            saved = []
            for folder in range(folders):
                together.wait(30)
                try:
                    saved.append(storage.save(f"{folder}/in/{number}.txt", ContentFile(b"content")))
                except BaseException:
                    together.abort()
                    raise
            return saved

        with ThreadPoolExecutor(together.parties) as pool:
            saved = [name for names in pool.map(save, range(together.parties)) for name in names]
        assert sorted(saved) == sorted(server.names(place))
        assert len(saved) == folders * together.parties

    def test_missing_folder_is_missing(self, server: FileServer) -> None:
        with pytest.raises(FileNotFoundError):
            make(server.tier(server.new_place())).listdir("no/such")


class TestFTP:
    @pytest.fixture
    def place(self, ftp: FileServer) -> str:
        place = ftp.new_place()
        ftp.put(place, "in/a b.txt", b"content")
        return place

    @pytest.fixture(params=[False, True], ids=["stock-names", "overwriting"])
    def storage(self, request: pytest.FixtureRequest, ftp: FileServer, place: str) -> Any:
        return make(ftp.tier(place, allow_overwrite=request.param))

    def test_what_is_there_is_found_and_told_and_deleted(
        self, storage: Any, ftp: FileServer, place: str
    ) -> None:
        assert storage.exists("in/a b.txt")
        assert storage.size("in/a b.txt") == 7
        assert storage.listdir("in") == storage.listdir("in/") == ([], ["a b.txt"])
        assert storage.listdir("") == (["in"], [])
        assert abs((timezone.now() - storage.get_modified_time("in/a b.txt")).total_seconds()) < 60
        with storage.open("in/a b.txt") as file:
            assert file.read() == b"content"
        storage.delete("in/a b.txt")
        assert ftp.names(place) == []

    def test_save_under_a_taken_name_does_what_the_option_says(
        self, storage: Any, ftp: FileServer, place: str
    ) -> None:
        saved = storage.save("in/a b.txt", ContentFile(b"new"))
        assert (saved == "in/a b.txt") is storage.allow_overwrite
        assert ftp.read(place, saved) == b"new"
        assert len(ftp.names(place)) == (1 if storage.allow_overwrite else 2)

    def test_name_that_is_too_long_is_cut(self, storage: Any) -> None:
        assert storage.get_available_name("a" * 30 + ".txt", max_length=20).endswith(".txt")

    @pytest.mark.parametrize("use", ["exists", "size", "listdir", "read"])
    def test_what_is_denied_is_not_missing(self, ftp: FileServer, use: str) -> None:
        place = ftp.new_place()
        ftp.put(place, "in/denied/a.txt", b"content")
        storage = make(ftp.tier(place))
        name = "in/denied" if use == "listdir" else "in/denied/b.txt"
        with pytest.raises(Exception) as caught:
            storage.open(name).read() if use == "read" else getattr(storage, use)(name)
        assert not traits.is_missing(caught.value)

    @pytest.mark.parametrize("use", ["exists", "size", "listdir", "read"])
    def test_what_cannot_be_asked_is_not_missing(self, ftp: FileServer, place: str, use: str) -> None:
        with relay_to(ftp.port) as relay:
            storage = make(ftp.tier(place, relay.port))
            assert storage.exists("in/a b.txt")
            relay.refuse()
            with pytest.raises(FTPStorageException) as caught:
                storage.open("a.txt").read() if use == "read" else getattr(storage, use)("a.txt")
        assert traits.is_outage(caught.value)

    def test_unreadable_login_tells_no_password(self, ftp: FileServer, place: str) -> None:
        tier = ftp.tier(place)
        tier["OPTIONS"]["location"] = tier["OPTIONS"]["location"].replace(ftp.password, "wrong-password")
        with pytest.raises(FTPStorageException) as caught:
            make(tier).exists("a.txt")
        assert "wrong-password" not in str(caught.value)


class OwnDelete(SFTPStorage):
    def delete(self, name: str) -> None:
        raise NotImplementedError


class TestWhichClasses:
    def test_stock_class_is_amended_and_keeps_its_name(self) -> None:
        changed = amended(FTPStorage)
        assert issubclass(changed, FTPStorage)
        assert (changed.__module__, changed.__name__) == (FTPStorage.__module__, FTPStorage.__name__)
        assert changed.size is not FTPStorage.size

    def test_own_method_of_a_subclass_is_respected(self) -> None:
        changed = amended(OwnDelete)
        assert changed.delete is OwnDelete.delete
        assert changed._connect is not OwnDelete._connect  # type: ignore[attr-defined]

    def test_others_are_left_as_they_are(self) -> None:
        assert amended(FileSystemStorage) is FileSystemStorage
