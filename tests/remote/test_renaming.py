"""G4 on storages that write in place but can rename: content is staged beside its place, and published at once."""

from __future__ import annotations

import io
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.base import ContentFile, File
from django.utils import timezone
from storages.backends.ftp import FTPStorage
from storages.backends.sftpstorage import SFTPStorage

from queued_storage import catalog, leftovers, names, renaming
from queued_storage.amended import amended
from queued_storage.exceptions import CopyMismatch, NameTaken
from queued_storage.testing import run_owed_work

from tests.support.file_servers import FileServer

pytestmark = pytest.mark.servers

STOCK = {"sftp": SFTPStorage, "ftp": FTPStorage}


@dataclass
class Remote:
    """One kind of server, a place there, and storages for it."""

    server: FileServer
    place: str
    make: Callable[..., Any]

    def __post_init__(self) -> None:
        self.storage = self.make()

    def put(self, name: str, content: bytes) -> None:
        self.server.put(self.place, name, content)

    def read(self, name: str) -> bytes:
        return self.server.read(self.place, name)

    @property
    def names(self) -> list[str]:
        return self.server.names(self.place)


def remote_at(server: FileServer, place: str, stock: bool = False, **extra: Any) -> Remote:
    options = server.tier(place, **extra)["OPTIONS"]
    backend = STOCK[server.kind] if stock else amended(STOCK[server.kind])
    return Remote(server, place, lambda: backend(**options))


@pytest.fixture(params=["sftp", "ftp"])
def server(request: pytest.FixtureRequest) -> FileServer:
    found: FileServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=[False, True], ids=["amended", "stock"])
def remote(request: pytest.FixtureRequest, server: FileServer) -> Remote:
    return remote_at(server, server.new_place(), stock=request.param)


#: Servers that cannot replace a file by a rename.
NO_REPLACING = {"sftp": "plain", "ftp": "strict"}


@pytest.fixture
def strict(server: FileServer) -> Remote:
    return remote_at(server, server.new_place(NO_REPLACING[server.kind]))


def staged(remote: Remote, name: str, content: bytes, staging: str | None = None) -> Any:
    return renaming.stage(
        remote.storage, name, ContentFile(content, name=name), staging or names.staging_name()
    )


def publish(remote: Remote, name: str, content: bytes, *, overwrite: bool) -> None:
    with staged(remote, name, content) as content_there:
        content_there.publish(name, overwrite=overwrite)


class TestPublish:
    @pytest.mark.parametrize("overwrite", [False, True])
    @pytest.mark.parametrize("name", ["a.txt", "new/folder/a b.txt", "Grüße.txt"])
    def test_free_name_gets_the_content(self, remote: Remote, name: str, overwrite: bool) -> None:
        with staged(remote, name, b"content") as content:
            assert [names.is_staging(each.rpartition("/")[2]) for each in remote.names] == [True]
            assert content.size == 7
            content.publish(name, overwrite=overwrite)
        assert remote.names == [name]
        assert remote.read(name) == b"content"

    def test_taken_name_is_refused(self, remote: Remote) -> None:
        remote.put("a.txt", b"another's")
        with pytest.raises(NameTaken), staged(remote, "a.txt", b"mine") as content:
            content.publish("a.txt", overwrite=False)
        assert remote.names == ["a.txt"]
        assert remote.read("a.txt") == b"another's"

    def test_taken_name_is_replaced_where_that_is_asked(self, remote: Remote) -> None:
        remote.put("a.txt", b"older and longer")
        publish(remote, "a.txt", b"new", overwrite=True)
        assert remote.names == ["a.txt"]
        assert remote.read("a.txt") == b"new"

    def test_server_without_such_a_rename_is_served_in_two_steps(self, strict: Remote) -> None:
        publish(strict, "a.txt", b"first", overwrite=True)
        publish(strict, "a.txt", b"second", overwrite=True)
        assert strict.names == ["a.txt"]
        assert strict.read("a.txt") == b"second"

    def test_refused_name_can_be_followed_by_another(self, remote: Remote) -> None:
        remote.put("a.txt", b"another's")
        with staged(remote, "a.txt", b"mine") as content:
            with pytest.raises(NameTaken):
                content.publish("a.txt", overwrite=False)
            content.publish("b.txt", overwrite=False)
        assert remote.names == ["a.txt", "b.txt"]
        assert remote.read("b.txt") == b"mine"

    def test_published_content_can_be_withdrawn_and_published_again(self, remote: Remote) -> None:
        with staged(remote, "a.txt", b"mine") as content:
            content.publish("a.txt", overwrite=False)
            content.withdraw("a.txt")
            assert "a.txt" not in remote.names
            content.publish("b.txt", overwrite=False)
        assert remote.names == ["b.txt"]

    def test_withdrawn_content_is_removed(self, remote: Remote) -> None:
        with staged(remote, "a.txt", b"mine") as content:
            content.publish("a.txt", overwrite=False)
            content.withdraw("a.txt")
        assert remote.names == []

    def test_mode_of_files_is_set_before_they_are_seen(self, sftp: FileServer) -> None:
        remote = remote_at(sftp, sftp.new_place(), file_mode=0o600)
        publish(remote, "a.txt", b"mine", overwrite=False)
        assert (sftp.path(remote.place) / "a.txt").stat().st_mode & 0o777 == 0o600


class Broken(io.RawIOBase):
    """Four megabytes that break off after the first."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.position = 0

    def readinto(self, buffer: Any) -> int:
        if self.position >= 1 << 20:
            if self.error is not None:
                raise self.error
            return 0
        self.position += len(buffer)
        return len(buffer)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, *_: int) -> int:
        self.position = 0
        return 0

    def tell(self) -> int:
        return self.position


class Overstated(Broken):
    def tell(self) -> int:
        return 4 << 20


def stage_broken(remote: Remote, name: str, content: Broken) -> Any:
    return renaming.stage(remote.storage, name, File(content, name=name), names.staging_name())


class TestFailure:
    def test_source_that_breaks_off_leaves_nothing(self, remote: Remote) -> None:
        remote.put("a.txt", b"old")
        staging = stage_broken(remote, "a.txt", Broken(RuntimeError("gone")))
        with pytest.raises(RuntimeError, match="gone"), staging:
            pytest.fail("what is not whole was staged")
        assert remote.names == ["a.txt"]
        assert remote.read("a.txt") == b"old"

    def test_next_file_goes_to_its_own_folder(self, remote: Remote) -> None:
        staging = stage_broken(remote, "in/a.txt", Broken(RuntimeError()))
        with pytest.raises(RuntimeError), staging:
            pytest.fail("what is not whole was staged")
        publish(remote, "b.txt", b"mine", overwrite=False)
        assert remote.names == ["b.txt"]

    def test_bytes_that_did_not_arrive_are_noticed(self, ftp: FileServer) -> None:
        """FTP has no sign of its own for the end of a file."""
        remote = remote_at(ftp, ftp.new_place())

        staging = stage_broken(remote, "a.txt", Overstated(None))
        with pytest.raises(CopyMismatch, match="1048576 of 4194304 bytes"), staging:
            pytest.fail("what is not whole was staged")
        assert remote.names == []

    def test_use_that_fails_leaves_nothing(self, remote: Remote) -> None:
        with pytest.raises(RuntimeError), staged(remote, "a.txt", b"mine"):
            raise RuntimeError
        assert remote.names == []

    def test_failed_replacing_in_two_steps_puts_the_old_content_back(
        self, strict: Remote, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        strict.put("a.txt", b"old")
        with staged(strict, "a.txt", b"new") as content:
            staging = strict.server.path(strict.place) / content.base_name
            renamed = type(content._remote).rename

            def rename(remote: Any, name: str, to: str) -> None:
                renamed(remote, name, to)
                if name == "a.txt":
                    staging.unlink()

            monkeypatch.setattr(type(content._remote), "rename", rename)
            with pytest.raises(FileNotFoundError):
                content.publish("a.txt", overwrite=True)
        assert strict.names == ["a.txt"]
        assert strict.read("a.txt") == b"old"


class TestKept:
    def test_kept_content_stays_and_is_published_later(self, remote: Remote) -> None:
        remote.put("a.txt", b"old")
        with staged(remote, "a.txt", b"new") as content:
            content.kept = True
        assert remote.read("a.txt") == b"old"
        assert len(remote.names) == 2
        for _ in range(2):  # the second time it is there already
            renaming.publish_kept(remote.storage, "a.txt", content.base_name, 3)
        assert remote.names == ["a.txt"]
        assert remote.read("a.txt") == b"new"

    def test_kept_content_that_is_gone_is_told(self, remote: Remote) -> None:
        with pytest.raises(FileNotFoundError):
            renaming.publish_kept(remote.storage, "a.txt", names.staging_name(), 3)

    def test_other_content_in_its_place_is_not_taken_for_it(self, remote: Remote) -> None:
        remote.put("a.txt", b"older")
        with pytest.raises(FileNotFoundError):
            renaming.publish_kept(remote.storage, "a.txt", names.staging_name(), 3)

    def test_left_over_content_is_discarded(self, remote: Remote) -> None:
        staging = names.staging_name()
        remote.put("a.txt", b"old")
        remote.put(staging, b"half of new")
        for _ in range(2):
            renaming.discard(remote.storage, "a.txt", staging)
        assert remote.names == ["a.txt"]

    def test_nothing_to_discard_in_a_folder_that_is_missing(self, remote: Remote) -> None:
        renaming.discard(remote.storage, "no/such/folder/a.txt", names.staging_name())

    def test_content_that_was_moved_aside_by_a_killed_process_is_put_back(self, strict: Remote) -> None:
        staging = names.staging_name()
        strict.put(staging + ".old", b"old")
        strict.put(staging, b"new")
        renaming.discard(strict.storage, "a.txt", staging)
        assert strict.names == ["a.txt"]
        assert strict.read("a.txt") == b"old"

    def test_content_that_was_moved_aside_and_replaced_is_removed(self, strict: Remote) -> None:
        staging = names.staging_name()
        strict.put(staging + ".old", b"old")
        strict.put("a.txt", b"new")
        renaming.discard(strict.storage, "a.txt", staging)
        assert strict.names == ["a.txt"]
        assert strict.read("a.txt") == b"new"


@pytest.mark.django_db(transaction=True)
class TestCollecting:
    """``tiers gc`` meets content that was moved aside, and whose process could not remove it afterwards."""

    @pytest.fixture
    def chain(self, strict: Remote, make_chain: Any) -> Any:
        far = strict.server.tier(strict.place)
        chain = make_chain({"near": "disk", "far": far}, policy="transfer-and-delete")
        chain.save("a.txt", ContentFile(b"newer"))
        run_owed_work()
        assert strict.names == ["a.txt"]
        return chain

    def leave_aside(self, strict: Remote, chain: Any, content: bytes) -> None:
        row = catalog.find(chain.alias, "a.txt")
        assert row is not None
        strict.put(row.staging_name(row.fence) + ".old", content)

    def collect(self, chain: Any) -> None:
        for _, found in leftovers.find(chain.chain, timezone.now() + timedelta(days=1)):
            for leftover in found.pieces:
                leftover.remove()

    def test_g5_deleted_file_does_not_come_back(self, strict: Remote, chain: Any) -> None:
        self.leave_aside(strict, chain, b"older")
        chain.delete("a.txt")
        run_owed_work()
        self.collect(chain)
        assert strict.names == []

    def test_g6_older_content_does_not_take_the_place_of_what_is_lost(
        self, strict: Remote, chain: Any
    ) -> None:
        self.leave_aside(strict, chain, b"older")
        strict.storage.delete("a.txt")
        self.collect(chain)
        assert strict.names == []

    def test_the_file_itself_is_put_back(self, strict: Remote, chain: Any) -> None:
        self.leave_aside(strict, chain, b"newer")
        strict.storage.delete("a.txt")
        self.collect(chain)
        assert (strict.names, strict.read("a.txt")) == (["a.txt"], b"newer")


class TestRaces:
    def test_g4_reader_sees_old_or_new_and_never_a_part(self, server: FileServer) -> None:
        remote = remote_at(server, server.new_place())
        contents = [bytes([letter]) * 200_000 for letter in b"ab"]
        publish(remote, "a.txt", contents[0], overwrite=False)
        seen: list[bytes] = []
        ended = threading.Event()

        def poll() -> None:
            storage = remote.make()
            while not ended.is_set():
                with storage.open("a.txt") as file:
                    seen.append(file.read())

        reader = threading.Thread(target=poll)
        reader.start()
        for turn in itertools.count(1):
            publish(remote, "a.txt", contents[turn % 2], overwrite=True)
            if len(seen) >= 12 or not reader.is_alive():
                break
        ended.set()
        reader.join()
        assert len(seen) >= 12
        assert set(seen) <= set(contents)

    def test_two_savers_of_one_name_do_not_overwrite_each_other(self, sftp: FileServer) -> None:
        place = sftp.new_place()
        remotes = [remote_at(sftp, place) for _ in range(2)]
        for turn in range(10):
            name, start = f"{turn}.txt", threading.Barrier(2)
            won: list[bytes] = []

            def save(remote: Remote, content: bytes) -> None:
                with staged(remote, name, content) as there:  # noqa: B023
                    start.wait(10)  # noqa: B023
                    try:
                        there.publish(name, overwrite=False)  # noqa: B023
                    except NameTaken:
                        return
                won.append(content)  # noqa: B023

            savers = [
                threading.Thread(target=save, args=pair)
                for pair in zip(remotes, [b"one", b"two"], strict=True)
            ]
            for saver in savers:
                saver.start()
            for saver in savers:
                saver.join()
            assert [remotes[0].read(name)] == won


class Own(SFTPStorage):
    def _save(self, name: str, content: Any) -> str:
        raise NotImplementedError


class OwnFolder(FTPStorage):
    """Changes nothing of how files are saved."""


class TestCanStage:
    @pytest.mark.parametrize(
        ("backend", "can"),
        [
            (SFTPStorage, True),
            (OwnFolder, True),
            (Own, False),
            (amended(Own), False),
            (amended(OwnFolder), True),
        ],
        ids=["stock", "subclass", "own-save", "own-save-amended", "subclass-amended"],
    )
    def test_only_with_the_stock_way_of_saving(self, backend: Any, can: bool) -> None:
        options = {"location": "ftp://a:b@c:21/"} if issubclass(backend, FTPStorage) else {}
        assert renaming.can_stage(backend(**options)) is can
