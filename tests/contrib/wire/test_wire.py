"""What holds for MogileFS and WebDAV alike: whole or not at all, streamed, bounded in time, honest errors."""

from __future__ import annotations

import errno
import io
import os
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile, File
from django.utils import timezone

from queued_storage import traits
from queued_storage.contrib.storages.remote import HTTPStream

from tests.contrib.wire.conftest import Remote
from tests.support.waiting import within

pytestmark = pytest.mark.servers

MEGABYTE = 1 << 20
ODD_NAMES = [
    "a.txt",
    "in/a/folder/a b.txt",
    "Grüße/日本語.txt",
    "per%20cent/100%.txt",
    "a#b?c&d=e+f;g.txt",
    "(brackets) [and] {more} ^$*.txt",
    'it\'s "quoted" <&>.txt',
]


class Source(io.RawIOBase):
    """Some megabytes that are made as they are read, and what they end with."""

    def __init__(self, megabytes: int, error: Exception | None = None) -> None:
        self.length = megabytes * MEGABYTE
        self.error = error
        self.position = 0

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), self.length - self.position)
        buffer[:count] = bytes([self.position // MEGABYTE % 251]) * count
        self.position += count
        if not count and self.error is not None:
            raise self.error
        return count

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.position = offset + (self.length if whence == 2 else 0)
        return self.position

    def tell(self) -> int:
        return self.position


class Piped(File):  # type: ignore[type-arg]
    """What can be read once, to an end that nobody knows."""

    size = None

    def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
        yield from iter(lambda: self.read(4), b"")


def said_to_be(source: Source, size: int) -> File[bytes]:
    content = File(source, name="a.txt")
    content.size = size
    return content


CALLS: dict[str, Callable[[Any], Any]] = {
    "exists": lambda storage: storage.exists("a.txt"),
    "size": lambda storage: storage.size("a.txt"),
    "open": lambda storage: storage.open("a.txt"),
    "modified": lambda storage: storage.get_modified_time("a.txt"),
    "listdir": lambda storage: storage.listdir(""),
    "delete": lambda storage: storage.delete("a.txt"),
    "save": lambda storage: storage.save("b.txt", ContentFile(b"b")),
}


class TestSaving:
    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_any_name_comes_back(self, remote: Remote, name: str) -> None:
        storage = remote.make()
        assert storage._save(name, ContentFile(b"content")) == name
        assert remote.names == [name]
        assert remote.read(name) == b"content"
        with storage.open(name) as file:
            assert file.read() == b"content"
        folder, _, base = name.rpartition("/")
        assert storage.listdir(folder) == ([], [base])
        assert storage.size(name) == 7
        storage.delete(name)
        assert remote.names == []

    def test_taken_name_is_left_alone(self, remote: Remote) -> None:
        storage = remote.make()
        storage.save("a.txt", ContentFile(b"first"))
        other = storage.save("a.txt", ContentFile(b"second"))
        assert other != "a.txt"
        assert remote.read("a.txt") == b"first"
        assert remote.read(other) == b"second"
        assert len(remote.names) == 2

    def test_name_that_was_taken_meanwhile_is_left_alone(self, remote: Remote) -> None:
        storage = remote.make()
        remote.put("a.txt", b"first")
        other = storage._save("a.txt", ContentFile(b"second"))  # as after a look that found the name free
        assert other != "a.txt"
        assert remote.read("a.txt") == b"first"
        assert remote.read(other) == b"second"
        assert len(remote.names) == 2

    def test_taken_name_is_replaced_where_that_is_asked(self, remote: Remote) -> None:
        storage = remote.make(allow_overwrite=True)
        for content in (b"first and longer", b"second"):
            assert storage.save("in/a.txt", ContentFile(content)) == "in/a.txt"
        assert remote.names == ["in/a.txt"]
        assert remote.read("in/a.txt") == b"second"

    @pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)) * 5000], ids=["none", "one", "many"])
    def test_any_length_comes_back(self, remote: Remote, content: bytes) -> None:
        storage = remote.make()
        storage.save("a.bin", ContentFile(content))
        assert remote.read("a.bin") == content
        with storage.open("a.bin") as file:
            assert file.size == len(content)
            assert file.read() == content
            assert file.read() == b""

    def test_content_that_is_not_on_its_disk_yet_is_saved_whole(self, remote: Remote) -> None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"in a buffer")
            remote.make().save("a.txt", File(file))
        assert remote.read("a.txt") == b"in a buffer"

    def test_content_is_saved_from_its_start(self, remote: Remote) -> None:
        content = ContentFile(b"0123456789")
        content.seek(5)
        remote.make().save("a.txt", content)
        assert remote.read("a.txt") == b"0123456789"

    def test_text_is_saved_as_utf_8(self, remote: Remote) -> None:
        remote.make().save("a.txt", ContentFile("Grüße"))
        assert remote.read("a.txt") == "Grüße".encode()

    def test_content_that_does_not_know_its_size_is_saved(self, remote: Remote) -> None:
        reading, writing = os.pipe()
        os.write(writing, b"through a pipe")
        os.close(writing)

        with os.fdopen(reading, "rb") as pipe:
            remote.make().save("a.txt", Piped(pipe, name="a.txt"))
        assert remote.read("a.txt") == b"through a pipe"

    @pytest.mark.parametrize("name", ["../a.txt", "/etc/passwd", "a/../../b.txt", "a\nb.txt"])
    def test_name_that_leads_elsewhere_is_refused(self, remote: Remote, name: str) -> None:
        storage = remote.make()
        for call in (storage.exists, storage.open, storage.delete, storage.size, storage.url):
            with pytest.raises(SuspiciousFileOperation):
                call(name)

    @pytest.mark.parametrize("mode", ["wb", "ab", "r+b", "r"])
    def test_other_modes_than_reading_are_refused(self, remote: Remote, mode: str) -> None:
        with pytest.raises(ValueError, match="mode 'rb'"):
            remote.make().open("a.txt", mode)


class TestWholeOrNotAtAll:
    @pytest.mark.parametrize("overwrite", [False, True])
    @pytest.mark.parametrize(
        "error",
        [RuntimeError("gone"), OSError(errno.EIO, "bad disk"), ConnectionResetError("another server")],
        ids=lambda error: type(error).__name__,
    )
    def test_source_that_fails_leaves_what_was_there(
        self, remote: Remote, error: Exception, overwrite: bool
    ) -> None:
        remote.put("a.txt", b"old")
        content = said_to_be(Source(1, error), 4 * MEGABYTE)
        with pytest.raises(type(error)) as caught:
            remote.make(allow_overwrite=overwrite).save("a.txt", content)
        assert caught.value is error  # and not what the client makes of it: the server did nothing wrong
        assert remote.names == ["a.txt"]
        assert remote.read("a.txt") == b"old"

    @pytest.mark.parametrize("size", [MEGABYTE // 2, MEGABYTE - 1, MEGABYTE + 1, 0], ids=str)
    def test_content_of_another_size_than_it_says_is_refused(self, remote: Remote, size: int) -> None:
        with pytest.raises(OSError, match="not as long as it says"):
            remote.make().save("a.txt", said_to_be(Source(1), size))
        assert remote.names == []

    def test_reader_sees_old_or_new_and_never_a_part(self, remote: Remote) -> None:
        contents = [bytes([letter]) * 300_000 for letter in b"ab"]
        storage = remote.make(allow_overwrite=True)
        storage.save("a.txt", ContentFile(contents[0]))
        seen: list[bytes] = []
        ended = threading.Event()

        def poll() -> None:
            reading = remote.make()
            while not ended.is_set():
                try:
                    with reading.open("a.txt") as file:
                        seen.append(file.read())
                except (FileNotFoundError, OSError) as error:
                    # Replaced while it was read; on WebDAV, missing for a moment: see webdav.rst.
                    assert isinstance(error, FileNotFoundError) or error.errno == errno.ESTALE  # noqa: PT017

        reader = threading.Thread(target=poll)
        reader.start()
        turn = 0
        while len(seen) < 12 and reader.is_alive():
            turn += 1
            storage.save("a.txt", ContentFile(contents[turn % 2]))
        ended.set()
        reader.join()
        assert len(seen) >= 12
        assert set(seen) <= set(contents)

    def test_open_file_never_mixes_two_contents(self, remote: Remote) -> None:
        storage = remote.make(allow_overwrite=True)
        storage.save("a.bin", ContentFile(b"a" * (4 * MEGABYTE)))
        with storage.open("a.bin") as file:
            assert file.read(10) == b"a" * 10
            storage.save("a.bin", ContentFile(b"b" * (4 * MEGABYTE)))
            file.seek(3 * MEGABYTE)
            with pytest.raises(OSError, match="replaced"):
                file.read()


class TestReading:
    def test_parts_are_fetched_and_not_the_rest(
        self, remote: Remote, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        content = os.urandom(3 * MEGABYTE)
        remote.put("a.bin", content)
        asked: list[str] = []
        ask = HTTPStream._ask

        def watched(stream: HTTPStream, address: str) -> Any:
            response = ask(stream, address)
            assert response is not None
            assert response.status_code == 206
            asked.append(response.headers["Content-Range"])
            return response

        monkeypatch.setattr(HTTPStream, "_ask", watched)
        with remote.make().open("a.bin") as file:
            assert file.seek(2 * MEGABYTE) == 2 * MEGABYTE
            assert file.read(5) == content[2 * MEGABYTE :][:5]
            assert file.seek(-7, os.SEEK_END) == len(content) - 7
            assert file.read() == content[-7:]
            assert file.seek(0) == 0
            assert file.read(3) == content[:3]
        starts = [int(each.removeprefix("bytes ").split("-")[0]) for each in asked]
        assert starts == [0, 2 * MEGABYTE, len(content) - 7, 0]

    def test_listing_tells_children_alone(self, remote: Remote) -> None:
        for name in ("a.txt", "b/c.txt", "b/d/e.txt", "b/d/f.txt", "bb.txt"):
            remote.put(name, b"x")
        storage = remote.make()
        assert sorted_listing(storage, "") == (["b"], ["a.txt", "bb.txt"])
        assert sorted_listing(storage, ".") == (["b"], ["a.txt", "bb.txt"])
        assert sorted_listing(storage, "b") == (["d"], ["c.txt"])
        assert sorted_listing(storage, "b/") == (["d"], ["c.txt"])
        assert sorted_listing(storage, "b/d") == ([], ["e.txt", "f.txt"])

    @pytest.mark.parametrize("use_tz", [True, False])
    def test_modified_time_is_as_settings_say(self, remote: Remote, settings: Any, use_tz: bool) -> None:
        settings.USE_TZ = use_tz
        remote.put("a.txt", b"x")
        moment = remote.make().get_modified_time("a.txt")
        assert timezone.is_aware(moment) is use_tz
        assert abs((timezone.now() - moment).total_seconds()) < 60

    def test_url_is_below_the_base_url(self, remote: Remote) -> None:
        storage = remote.make(base_url="https://media.example/files")
        assert storage.url("in/a b?.txt") == "https://media.example/files/in/a%20b%3F.txt"

    @pytest.mark.parametrize("name", ["a.txt", "no/such/folder/a.txt"])
    def test_missing_file_is_told_by_every_method(self, remote: Remote, name: str) -> None:
        storage = remote.make()
        assert storage.exists(name) is False
        assert storage.delete(name) is None
        for call in (storage.open, storage.size, storage.get_modified_time, storage.listdir):
            with pytest.raises(FileNotFoundError):
                call(name)


def sorted_listing(storage: Any, path: str) -> tuple[list[str], list[str]]:
    folders, files = storage.listdir(path)
    return sorted(folders), sorted(files)


class TestOutage:
    @pytest.mark.parametrize("call", CALLS)
    def test_server_that_refuses_is_told_at_once(self, remote: Remote, call: str) -> None:
        storage = remote.make()
        remote.relay.refuse()
        with within(2, "the error"), pytest.raises(ConnectionError) as caught:
            CALLS[call](storage)
        assert traits.is_outage(caught.value)
        assert not traits.is_missing(caught.value)

    @pytest.mark.parametrize("call", CALLS)
    def test_silent_server_is_waited_for_as_long_as_was_said(self, remote: Remote, call: str) -> None:
        remote.put("a.txt", b"x")
        storage = remote.make(timeout=0.5)
        remote.relay.be_silent()
        begun = time.monotonic()
        with within(5, "the error"), pytest.raises(TimeoutError) as caught:
            CALLS[call](storage)
        assert time.monotonic() - begun > 0.4
        assert traits.is_outage(caught.value)

    def test_storage_works_again_when_its_server_does(self, remote: Remote) -> None:
        remote.put("a.txt", b"x")
        storage = remote.make(timeout=1)
        assert storage.size("a.txt") == 1
        for fail in (remote.relay.refuse, remote.relay.be_silent):
            fail()
            with pytest.raises((ConnectionError, TimeoutError)):
                storage.size("a.txt")
            remote.relay.hand_on()
            assert storage.size("a.txt") == 1
        remote.relay.cut()
        assert storage.size("a.txt") == 1

    def test_server_that_was_killed_has_what_it_acknowledged(self, remote: Remote) -> None:
        storage = remote.make()
        storage.save("a.bin", ContentFile(b"x" * MEGABYTE))
        remote.server.kill()
        try:
            with pytest.raises(ConnectionError):
                storage.exists("a.bin")
        finally:
            remote.server.start()
        with storage.open("a.bin") as file:
            assert file.read() == b"x" * MEGABYTE


class TestManyAtOnce:
    def test_six_threads_share_an_instance(self, remote: Remote) -> None:
        storage = remote.make()
        contents = {f"{index}/{turn}.bin": os.urandom(60_000) for index in range(6) for turn in range(8)}
        wrong: list[str] = []

        def use(index: int) -> None:
            for name, content in contents.items():
                if name.startswith(f"{index}/"):
                    saved = storage.save(name, ContentFile(content))
                    with storage.open(saved) as file:
                        if (saved, file.read()) != (name, content):
                            wrong.append(name)

        threads = [threading.Thread(target=use, args=[index], daemon=True) for index in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)
        assert wrong == []
        assert {name: remote.read(name) for name in remote.names} == contents

    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_forked_process_uses_connections_of_its_own(self, remote: Remote) -> None:
        remote.put("a.txt", b"content")
        storage = remote.make()
        with storage.open("a.txt") as file:
            assert file.read() == b"content"
        child = os.fork()
        if not child:
            code = 1
            try:
                with storage.open("a.txt") as file:
                    code = 0 if file.read() == b"content" else 2
            finally:
                os._exit(code)
        assert storage.size("a.txt") == 7
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    @pytest.mark.slow
    def test_g11_large_files_pass_through_little_memory(self, remote: Remote) -> None:
        storage = remote.make(allow_overwrite=True)
        storage.save("first.txt", ContentFile(b"imports and pools"))
        tracemalloc.start()
        try:
            storage.save("a.bin", File(Source(64), name="a.bin"))
            expected = Source(64)
            with storage.open("a.bin") as file:
                while data := file.read(MEGABYTE):
                    assert data == expected.read(MEGABYTE)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert expected.position == 64 * MEGABYTE
        assert peak < 8 * MEGABYTE


class TestBuilding:
    def test_storage_can_be_written_into_a_migration(self, remote: Remote) -> None:
        remote.put("a.txt", b"content")
        path, args, kwargs = remote.make().deconstruct()
        assert path == remote.server.tier(remote.place)["BACKEND"]
        assert type(remote.make())(*args, **kwargs).size("a.txt") == 7

    def test_place_is_known_by_the_settings(self, remote: Remote, make_chain: Any) -> None:
        from queued_storage import places
        from queued_storage.schema import TierSettings

        one, twin = (TierSettings(**remote.server.tier(remote.place)) for _ in range(2))
        other = TierSettings(**remote.server.tier(remote.server.new_place()))
        assert places.are_one(one, twin)
        assert not places.are_one(one, other)
