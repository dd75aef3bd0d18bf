"""What holds for GridFS and CouchDB alike: whole or not at all, streamed, bounded in time, honest errors."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import pickle
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile, File
from django.utils import timezone

from queued_storage import places, traits
from queued_storage.contrib.storages import couchdb, gridfs, objects
from queued_storage.schema import TierSettings

from tests.contrib.documents.conftest import Documents
from tests.support import document_servers
from tests.support.waiting import within

pytestmark = pytest.mark.servers

MEGABYTE = 1 << 20
SIX = 6
ODD_NAMES = [
    "a.txt",
    "in/a/folder/a b.txt",
    "Grüße/日本語 😀.txt",
    "per%20cent/100%2F.txt",
    "a#b?c&d=e+f;g.txt",
    "(brackets) [and] {more} ^$*.txt",
    "_design/_a.txt",
    "_a",
    "a\nb.txt",
    "'quoted' \"twice\"",
]


class Source(io.RawIOBase):
    """Some megabytes that are made as they are read, and what they end with."""

    def __init__(self, megabytes: int, error: Exception | None = None) -> None:
        self.length = megabytes * MEGABYTE
        self.error = error
        self.position = 0
        self.digest = hashlib.sha256()

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), self.length - self.position)
        data = self.position.to_bytes(8, "big") * (count // 8 + 1)
        buffer[:count] = data[:count]
        self.digest.update(data[:count])
        self.position += count
        if not count and self.error is not None:
            raise self.error
        return count

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.position = offset + (self.length if whence == io.SEEK_END else 0)
        self.digest = hashlib.sha256()
        return self.position

    def tell(self) -> int:
        return self.position


class Once(io.RawIOBase):
    """Content that can be read once, and does not know its size."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._content.readinto(buffer)


def in_threads(function: Callable[[int], Any], count: int = SIX) -> list[Any]:
    """Run ``function(number)`` in threads that begin at one moment; return what they returned, in order."""
    barrier = threading.Barrier(count)

    def run(number: int) -> Any:
        barrier.wait()
        return function(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count), timeout=60))


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
    def test_any_name_comes_back(self, documents: Documents, name: str) -> None:
        storage = documents.make()
        assert storage.save(name, ContentFile(b"content")) == name
        with storage.open(name) as file:
            assert file.read() == b"content"
        folder, _, base = name.rpartition("/")
        assert storage.listdir(folder) == ([], [base])
        assert storage.exists(name)
        storage.delete(name)
        assert documents.names == []

    def test_taken_name_is_left_alone(self, documents: Documents) -> None:
        storage = documents.make()
        storage.save("a.txt", ContentFile(b"first"))
        other = storage.save("a.txt", ContentFile(b"second"))
        assert documents.names == sorted(["a.txt", other])
        assert documents.read("a.txt") == b"first"
        assert documents.read(other) == b"second"

    def test_name_that_was_taken_meanwhile_is_left_alone(self, documents: Documents) -> None:
        storage = documents.make()
        documents.put("in/a.txt", b"first")
        other = storage._save("in/a.txt", ContentFile(b"second"))  # as after a look that found the name free
        assert other.startswith("in/a_")
        assert other.endswith(".txt")
        assert documents.names == sorted(["in/a.txt", other])
        assert documents.read("in/a.txt") == b"first"
        assert documents.read(other) == b"second"

    def test_threads_that_save_under_one_name_get_one_each(self, documents: Documents) -> None:
        storage = documents.make()
        storage.save("before.txt", ContentFile(b""))
        names = in_threads(lambda number: storage.save("a.txt", ContentFile(b"%d" % number)))
        assert documents.names == sorted([*names, "before.txt"])
        assert [documents.read(name) for name in names] == [b"%d" % number for number in range(SIX)]
        assert all(storage.exists(name) for name in names)

    def test_threads_that_replace_a_file_leave_one_of_them(self, documents: Documents) -> None:
        storage = documents.make(allow_overwrite=True)
        contents = [bytes([number]) * 300_000 for number in range(SIX)]
        storage.save("a.txt", ContentFile(b"old"))
        names = in_threads(lambda number: storage.save("a.txt", ContentFile(contents[number])))
        assert set(names) == {"a.txt"}
        assert documents.read("a.txt") in contents
        storage.save("a.txt", ContentFile(b"last"))
        assert documents.names == ["a.txt"]
        assert documents.read("a.txt") == b"last"

    @pytest.mark.parametrize("size", [0, 1, 3 * MEGABYTE + 1], ids=str)
    def test_any_length_comes_back(self, documents: Documents, size: int) -> None:
        content = os.urandom(size)
        storage = documents.make(allow_overwrite=True)
        for _ in range(2):
            storage.save("a.bin", ContentFile(content))
            with storage.open("a.bin") as file:
                assert file.read() == content
            assert storage.size("a.bin") == size
            assert documents.read("a.bin") == content

    @pytest.mark.parametrize(
        "content",
        [
            lambda: ContentFile("Grüße"),
            lambda: File(io.StringIO("Grüße")),
            lambda: File(Once("Grüße".encode())),
        ],
        ids=["text", "text-file", "once"],
    )
    def test_texts_and_pipes_are_stored_as_bytes(
        self, documents: Documents, content: Callable[[], Any]
    ) -> None:
        documents.make().save("a.txt", content())
        assert documents.read("a.txt") == "Grüße".encode()

    def test_content_is_stored_from_its_start(self, documents: Documents) -> None:
        content = ContentFile(b"content")
        content.seek(3)
        documents.make().save("a.txt", content)
        assert documents.read("a.txt") == b"content"

    @pytest.mark.parametrize("error", [ValueError("no more"), OSError(errno.EIO, "bad disk")], ids=repr)
    def test_source_that_fails_leaves_nothing(self, documents: Documents, error: Exception) -> None:
        storage = documents.make()
        source = File(Source(3, error), "a.bin")
        source.size = 4 * MEGABYTE
        with pytest.raises(type(error)) as caught:
            storage.save("a.bin", source)
        assert caught.value is error
        assert not traits.is_outage(caught.value)
        assert storage.listdir("") == ([], [])
        assert not storage.exists("a.bin")
        assert storage.save("a.bin", ContentFile(b"then")) == "a.bin"
        assert documents.read("a.bin") == b"then"

    def test_source_that_fails_leaves_the_old_content(self, documents: Documents) -> None:
        storage = documents.make(allow_overwrite=True)
        storage.save("a.bin", ContentFile(b"old"))
        source = File(Source(3, ValueError("no more")), "a.bin")
        source.size = 4 * MEGABYTE
        with pytest.raises(ValueError, match="no more"):
            storage.save("a.bin", source)
        assert storage.open("a.bin").read() == b"old"
        assert documents.names == ["a.bin"]

    def test_type_of_the_upload_is_kept(self, documents: Documents) -> None:
        storage = documents.make()
        content = ContentFile(b"content")
        content.content_type = "text/x-own"  # type: ignore[attr-defined]
        storage.save("a.txt", content)
        assert documents.server.content_type(documents.place, "a.txt") == "text/x-own"
        assert storage.content_type("a.txt") == "text/x-own"

    def test_type_is_guessed_where_the_upload_has_none(self, documents: Documents) -> None:
        storage = documents.make()
        content = ContentFile(b"content")
        content.content_type = "text/x-own\r\nSet-Cookie: a=b"  # type: ignore[attr-defined]
        storage.save("a.png", content)
        assert documents.server.content_type(documents.place, "a.png") == "image/png"


class TestReading:
    def test_ranges(self, documents: Documents) -> None:
        storage, content = documents.make(), os.urandom(2 * MEGABYTE)
        storage.save("a.bin", ContentFile(content))
        with storage.open("a.bin") as file:
            assert file.size == len(content)
            for start in (MEGABYTE, 10, MEGABYTE + 300_000, 0, len(content)):
                assert file.seek(start) == start
                assert file.read(1000) == content[start : start + 1000]
            assert file.seek(-5, io.SEEK_END) == len(content) - 5
            assert file.read() == content[-5:]

    def test_text_mode(self, documents: Documents) -> None:
        storage = documents.make()
        storage.save("a.txt", ContentFile("Grüße\n"))
        with storage.open("a.txt", "r") as file:
            assert file.read() == "Grüße\n"

    @pytest.mark.parametrize("mode", ["wb", "ab", "r+b", "w"])
    def test_other_modes_are_refused(self, documents: Documents, mode: str) -> None:
        with pytest.raises(io.UnsupportedOperation, match="use save"):
            documents.make().open("a.txt", mode)

    def test_reader_never_gets_a_mix(self, documents: Documents) -> None:
        storage = documents.make(allow_overwrite=True)
        old, new = b"o" * 3 * MEGABYTE, b"n" * 3 * MEGABYTE
        storage.save("a.bin", ContentFile(old))
        with storage.open("a.bin") as file:
            assert file.read(10) == b"o" * 10
            storage.save("a.bin", ContentFile(new))
            try:
                file.seek(2 * MEGABYTE)
                assert set(file.read()) == set(b"o")
            except OSError as error:
                assert error.errno == errno.ESTALE  # noqa: PT017 - either will do
        assert storage.open("a.bin").read() == new

    def test_readers_see_whole_contents_while_it_is_replaced(self, documents: Documents) -> None:
        storage = documents.make(allow_overwrite=True)
        contents = [bytes([number]) * 400_000 for number in range(4)]
        storage.save("a.bin", ContentFile(contents[0]))
        seen: list[bytes] = []
        done = threading.Event()

        def read() -> None:
            while not done.is_set():
                try:
                    seen.append(storage.open("a.bin").read())
                except OSError as error:
                    assert error.errno == errno.ESTALE  # noqa: PT017 - never "there is no such file"

        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(read)
            for content in contents * 3:
                storage.save("a.bin", ContentFile(content))
            done.set()
            reading.result(30)
        assert seen
        assert set(seen) <= set(contents)

    @pytest.mark.parametrize("use_tz", [True, False])
    def test_times_are_as_settings_say(self, documents: Documents, use_tz: bool, settings: Any) -> None:
        settings.USE_TZ, settings.TIME_ZONE = use_tz, "Asia/Kolkata"
        storage = documents.make()
        storage.save("a.txt", ContentFile(b""))
        moment = storage.get_modified_time("a.txt")
        assert timezone.is_aware(moment) is use_tz
        aware = moment if use_tz else timezone.make_aware(moment)
        assert abs((datetime.now(UTC) - aware).total_seconds()) < 30
        assert storage.get_created_time("a.txt") == moment

    def test_url(self, documents: Documents) -> None:
        storage = documents.make(base_url="https://files.example/media")
        assert storage.url("a b/ü.txt") == "https://files.example/media/a%20b/%C3%BC.txt"
        with pytest.raises(ValueError, match="not accessible"):
            documents.make(base_url=None).url("a.txt")

    @pytest.mark.parametrize("name", ["a.txt", "folder/a.txt", "_a", "folder"])
    def test_missing_file(self, documents: Documents, name: str) -> None:
        storage = documents.make()
        storage.save("folder/b.txt", ContentFile(b""))
        assert storage.exists(name) is False
        for call in (storage.open, storage.size, storage.get_modified_time, storage.content_type):
            with pytest.raises(FileNotFoundError):
                call(name)
        storage.delete(name)
        assert storage.listdir("nowhere") == ([], [])

    @pytest.mark.parametrize("name", ["../a.txt", "/a.txt", "a/../../b"])
    def test_names_that_lead_out_are_refused(self, documents: Documents, name: str) -> None:
        storage = documents.make()
        for call in (storage.exists, storage.open, storage.delete, storage.listdir):
            with pytest.raises(SuspiciousFileOperation):
                call(name)

    @pytest.mark.parametrize("page", [2, 3, 1000])
    def test_listing_a_page_at_a_time(
        self, documents: Documents, page: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        storage = documents.make()
        names = ["_d/x", "_f", "a", "a/1", "a/2", "a/b/1", "a/b/2", "a.b", "a0", "a/😀", "b/1", "z"]
        for name in names:
            storage.save(name, ContentFile(b""))
        for module in (objects, gridfs, couchdb):
            monkeypatch.setattr(module, "PAGE", page)
        assert storage.listdir("") == (["_d", "a", "b"], ["_f", "a", "a.b", "a0", "z"])
        assert storage.listdir("a") == (["b"], ["1", "2", "😀"])
        assert storage.listdir("a/b/") == ([], ["1", "2"])
        assert storage.listdir("_d") == ([], ["x"])

    def test_files_below_a_folder_are_not_listed_for_it(
        self, documents: Documents, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(30):
            documents.put(f"a/{number:02}", b"")
        documents.put("b", b"")
        storage = documents.make()
        for module in (objects, gridfs, couchdb):
            monkeypatch.setattr(module, "PAGE", 5)
        pages = []
        page = storage._page
        monkeypatch.setattr(storage, "_page", lambda *span: pages.append(span) or page(*span))
        assert storage.listdir("") == (["a"], ["b"])
        assert len(pages) <= 3


class TestServer:
    @pytest.mark.parametrize("call", CALLS)
    def test_refusing(self, documents: Documents, call: str) -> None:
        storage = documents.make(**impatient(documents, 0.5))
        documents.relay.refuse()
        with within(3, "the error"), pytest.raises(Exception) as caught:
            CALLS[call](storage)
        require_outage(documents, caught.value)

    @pytest.mark.parametrize("call", CALLS)
    def test_silent(self, documents: Documents, call: str) -> None:
        storage = documents.make(**impatient(documents, 0.5))
        documents.relay.be_silent()
        with within(3, "the error"), pytest.raises(Exception) as caught:
            CALLS[call](storage)
        require_outage(documents, caught.value)

    def test_falls_silent_while_a_file_is_read(self, documents: Documents) -> None:
        documents.make().save("a.bin", File(Source(8), "a.bin"))
        storage = documents.make(**impatient(documents, 0.5))
        with storage.open("a.bin") as file:
            file.read(10)
            documents.relay.be_silent()
            with pytest.raises(Exception) as caught:
                file.read()
        require_outage(documents, caught.value)

    def test_comes_back(self, documents: Documents) -> None:
        storage = documents.make(**impatient(documents, 1))
        storage.save("a.txt", ContentFile(b"content"))
        documents.relay.refuse()
        with pytest.raises(Exception) as caught:
            storage.exists("a.txt")
        require_outage(documents, caught.value)
        documents.relay.hand_on()
        assert storage.open("a.txt").read() == b"content"

    def test_wrong_login_tells_no_secret(self, documents: Documents) -> None:
        storage = documents.make(password="wrong-sesame")
        with pytest.raises(Exception) as caught:
            storage.exists("a.txt")
        assert not traits.is_missing(caught.value)
        assert not traits.is_outage(caught.value)
        require_discretion(caught.value, "wrong-sesame")

    @pytest.mark.parametrize("starter", ["mongoeco", "pouchdb"])
    def test_killed_and_started_again_has_all_that_it_acknowledged(self, starter: str) -> None:
        with getattr(document_servers, starter)() as server:
            place = server.new_place()
            documents = Documents(server, place, server)
            storage = documents.make(**impatient(documents, 5))
            contents = {f"{number}.bin": os.urandom(200_000) for number in range(5)}
            for name, content in contents.items():
                storage.save(name, ContentFile(content))
            server.kill()
            with pytest.raises(Exception) as caught:
                storage.save("late.bin", ContentFile(b"late"))
            require_outage(documents, caught.value)
            server.start()
            assert {name: storage.open(name).read() for name in contents} == contents
            assert documents.names == sorted(contents)
            assert storage.save("late.bin", ContentFile(b"late")) == "late.bin"


def impatient(documents: Documents, seconds: float) -> dict[str, Any]:
    if documents.server.kind == "couchdb":
        return {"timeout": seconds}
    options = ("serverSelectionTimeoutMS", "connectTimeoutMS", "socketTimeoutMS")
    return {"client_options": dict.fromkeys(options, int(seconds * 1000))}


def require_outage(documents: Documents, error: BaseException) -> None:
    assert traits.is_outage(error)
    assert not traits.is_missing(error)
    assert not traits.is_permanent(error)
    require_discretion(error, documents.server.password)


def require_discretion(error: BaseException | None, secret: str) -> None:
    while error is not None:
        assert secret not in f"{error} {error!r}"
        error = error.__cause__ or error.__context__


class TestMany:
    def test_six_threads_share_an_instance(self, documents: Documents) -> None:
        storage = documents.make()

        def work(number: int) -> bool:
            right = []
            for turn in range(5):
                name, content = f"{number}/{turn}.bin", os.urandom(300_000)
                assert storage.save(name, ContentFile(content)) == name
                right.append(storage.open(name).read() == content)
            return all(right)

        assert in_threads(work) == [True] * SIX
        assert len(documents.names) == 5 * SIX

    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    def test_fork_has_connections_of_its_own(self, documents: Documents) -> None:
        storage = documents.make()
        storage.save("a.txt", ContentFile(b"content"))
        pid = os.fork()
        if pid == 0:
            try:
                os._exit(0 if storage.open("a.txt").read() == b"content" else 2)
            finally:
                os._exit(1)
        assert storage.open("a.txt").read() == b"content"
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert storage.open("a.txt").read() == b"content"

    @pytest.mark.slow
    def test_large_file_passes_through_little_memory(self, documents: Documents) -> None:
        storage, source = (
            documents.make(**impatient(documents, 100)),
            Source(64),
        )  # pouchdb-server takes its time
        storage.save("warm.txt", ContentFile(b"x"))
        storage.open("warm.txt").read()
        tracemalloc.start()
        try:
            storage.save("a.bin", File(source, "a.bin"))
            sent, digest = source.digest, hashlib.sha256()
            with storage.open("a.bin") as file:
                while data := file.read(MEGABYTE):
                    digest.update(data)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert digest.hexdigest() == sent.hexdigest()
        assert peak < 16 * MEGABYTE


class TestBuilding:
    def test_deconstructs(self, documents: Documents) -> None:
        options = documents.tier()["OPTIONS"]
        path, arguments, keywords = documents.make().deconstruct()
        assert (path, arguments, keywords) == (documents.tier()["BACKEND"], (), options)

    def test_pickles(self, documents: Documents) -> None:
        storage = documents.make(allow_overwrite=True)
        storage.save("a.txt", ContentFile(b"content"))
        copy = pickle.loads(pickle.dumps(storage))  # noqa: S301 - its own
        assert copy.open("a.txt").read() == b"content"
        assert copy.save("a.txt", ContentFile(b"new")) == "a.txt"

    def test_place_is_known_by_the_settings(self, documents: Documents) -> None:
        place = TierSettings(**documents.tier())
        assert places.are_one(place, TierSettings(**documents.tier(allow_overwrite=True)))
        other = documents.server.tier("elsewhere", documents.relay.port)
        assert not places.are_one(place, TierSettings(**other))
