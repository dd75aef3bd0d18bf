"""Which tier answers: absent is not broken, and nobody is told the one for the other."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import io
import os
import socket
import threading
import traceback
import tracemalloc
from contextlib import contextmanager

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage
from django.db import transaction

from queued_storage import hooks, outage
from queued_storage.direct.connections import Connections
from queued_storage.exceptions import ChainUnavailable, IncompleteListing, NoPath

from tests.support import faulty, pooled, recording

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["queued_storage"])

CONTENT = bytes(range(256)) * 100
SECRET = "hunter2-secret"
METHODS = ("open", "exists", "size", "url", "get_storage")


@pytest.fixture(autouse=True)
def _recording(settings):
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH
    recording.RecordingDispatcher.calls.clear()
    yield
    faulty.forget_all()
    outage.forget()


@pytest.fixture
def chain(make_chain):
    """Two tiers that can be made to fail, above a disk."""
    tiers = {"near": faulty.tier("near"), "far": faulty.tier("far"), "vault": "disk"}
    return make_chain(tiers, policy="transfer")


def put(chain, *tiers, name="a.txt", content=CONTENT):
    """Put a file that the catalog does not know on these tiers."""
    for tier in tiers:
        chain.chain[tier].storage.save(name, ContentFile(content))
    return name


def read(storage, name="a.txt"):
    with storage.open(name) as file:
        return file.read()


def break_down(tier, effect=faulty.refuse):
    for method in ("open", "exists", "size", "listdir", "delete", "save"):
        faulty.bucket(tier).on(method, effect)


def s3_error(code, status):
    response = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "GetObject")


def raising(error):
    def effect(call):
        raise error

    return effect


ABSENT = {
    "FileNotFoundError": FileNotFoundError("a.txt"),
    "NotADirectoryError": NotADirectoryError(20, "Not a directory"),
    "S3 404": s3_error("404", 404),
    "S3 NoSuchKey": s3_error("NoSuchKey", 404),
}
BROKEN = {
    "ConnectionRefusedError": ConnectionRefusedError(111, "Connection refused"),
    "TimeoutError": TimeoutError("timed out"),
    "PermissionError": PermissionError(13, "Permission denied"),
    "S3 403": s3_error("AccessDenied", 403),
    "S3 500": s3_error("InternalError", 500),
    "S3 NoSuchBucket": s3_error("NoSuchBucket", 404),
    "S3 unreachable": EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
    "an exception of its own": Exception("550 failed"),
}


class TestAbsent:
    """A tier that says that it has no such file is passed over."""

    @pytest.mark.parametrize("error", ABSENT)
    def test_lower_tier_answers(self, chain, error):
        put(chain, "far")
        faulty.bucket("near").on("open", raising(ABSENT[error]))
        assert read(chain) == CONTENT

    @pytest.mark.parametrize("error", ABSENT)
    def test_file_that_no_tier_has_is_missing(self, chain, error):
        for tier in ("near", "far"):
            faulty.bucket(tier).on("open", raising(ABSENT[error]))
        with pytest.raises(FileNotFoundError):
            chain.open("a.txt")

    @pytest.mark.parametrize("tier", ["near", "far", "vault"])
    def test_file_that_was_there_before_is_found(self, chain, tier):
        put(chain, tier)
        assert (read(chain), chain.tier("a.txt")) == (CONTENT, tier)

    def test_first_tier_that_has_the_file_wins(self, chain):
        put(chain, "far", content=b"far")
        put(chain, "near", content=b"near")
        assert read(chain) == b"near"

    def test_lower_tiers_are_not_asked_for_what_the_first_has(self, chain):
        put(chain, "near")
        faulty.bucket("far").calls.clear()
        read(chain)
        assert faulty.bucket("far").calls.total() == 0


class TestBroken:
    """A tier that cannot say is remembered, the next is asked, and nobody takes it for a missing file."""

    @pytest.mark.parametrize("error", BROKEN)
    def test_lower_tier_answers_for_a_broken_first(self, chain, error):
        put(chain, "far")
        break_down("near", raising(BROKEN[error]))
        assert read(chain) == CONTENT

    @pytest.mark.parametrize("error", BROKEN)
    def test_broken_tier_is_not_a_missing_file(self, chain, error):
        break_down("near", raising(BROKEN[error]))
        with pytest.raises(ChainUnavailable):
            chain.open("a.txt")

    @pytest.mark.parametrize("method", METHODS)
    def test_no_method_takes_down_for_missing(self, chain, method):
        break_down("far")
        with pytest.raises(ChainUnavailable):
            getattr(chain, method)("a.txt")

    @pytest.mark.parametrize("method", METHODS)
    def test_every_method_falls_back(self, chain, method):
        put(chain, "near", "vault")
        vault = chain.chain["vault"].storage
        expected = {
            "open": CONTENT, "exists": True, "size": len(CONTENT), "url": "/vault/a.txt", "get_storage": vault,
        }  # fmt: skip
        break_down("near")
        break_down("far")
        told = getattr(chain, method)("a.txt") if method != "open" else read(chain)
        assert told == expected[method]

    def test_error_names_every_tier_and_its_cause(self, chain):
        break_down("near")
        break_down("far", raising(BROKEN["PermissionError"]))
        with pytest.raises(ChainUnavailable) as caught:
            chain.open("a.txt")
        assert set(caught.value.reasons) == {"near", "far"}
        assert str(caught.value) == (
            "'a.txt' cannot be read from chain 'media': tier 'near': ConnectionError: open refused; "
            "tier 'far': PermissionError: [Errno 13] Permission denied"
        )

    def test_g10_error_shows_no_option(self, chain):
        for tier in ("near", "far"):
            break_down(tier, raising(ConnectionError(f"login ftp:{SECRET}@host failed")))
        with pytest.raises(ChainUnavailable) as caught:
            chain.open("a.txt")
        told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
        assert SECRET not in told
        assert "login ftp:***@host failed" in told

    def test_bug_of_a_backend_reaches_the_caller(self, chain):
        put(chain, "far")
        break_down("near", raising(TypeError("a bug")))
        with pytest.raises(TypeError, match="a bug"):
            chain.open("a.txt")

    def test_moved_file_whose_tier_is_down_is_not_missing(self, make_chain):
        chain = make_chain({"near": "disk", "far": faulty.tier("far")}, policy="transfer-and-delete")
        chain.save("a.txt", ContentFile(CONTENT))
        recording.work()
        break_down("far")
        with pytest.raises(ChainUnavailable, match="tier 'far'"):
            chain.open("a.txt")
        assert chain.exists("a.txt")  # the catalog knows

    def test_moved_file_is_found_while_the_first_tier_is_down(self, make_chain):
        chain = make_chain({"near": faulty.tier("near"), "far": "disk"}, policy="transfer-and-delete")
        chain.save("a.txt", ContentFile(CONTENT))
        recording.work()
        break_down("near")
        assert (read(chain), chain.size("a.txt"), chain.tier("a.txt")) == (CONTENT, len(CONTENT), "far")

    def test_save_on_a_broken_first_tier_fails_and_records_nothing(self, chain):
        break_down("near")
        with pytest.raises(OSError, match="refused"):
            chain.save("a.txt", ContentFile(CONTENT))
        faulty.bucket("near").heal()
        assert (chain.exists("a.txt"), chain.state("a.txt")) == (False, None)

    def test_g8_save_does_not_wait_for_a_broken_lower_tier(self, chain):
        break_down("far")
        name = chain.save("a.txt", ContentFile(CONTENT))
        assert read(chain, name) == CONTENT


class TestListing:
    def test_tier_that_is_down_makes_the_listing_incomplete(self, chain):
        put(chain, "near", name="a.txt")
        put(chain, "vault", name="b.txt")
        break_down("far")
        with pytest.raises(IncompleteListing, match="'far': ConnectionError") as caught:
            chain.listdir("")
        assert caught.value.partial == ([], ["a.txt", "b.txt"])

    def test_every_tier_down_leaves_an_empty_part(self, make_chain):
        chain = make_chain({"near": faulty.tier("near"), "far": faulty.tier("far")})
        break_down("near")
        break_down("far")
        with pytest.raises(IncompleteListing) as caught:
            chain.listdir("")
        assert caught.value.partial == ([], [])

    def test_folder_missing_on_one_tier_is_no_failure(self, make_chain):
        chain = make_chain(["near", "far"])
        put(chain, "far", name="folder/a.txt")
        assert chain.listdir("folder") == ([], ["a.txt"])


class LazyStorage(faulty.FaultyStorage):
    """Opens happily, as Azure, SFTP and Dropbox do; what is wrong comes out at the first read."""

    def _open(self, name, mode="rb"):
        return LazyFile(lambda: super(LazyStorage, self)._open(name, mode), name)


class LazyFile(File):
    def __init__(self, opener, name):
        self.opener = opener
        self.name = name
        self.opened = None

    @property
    def file(self):
        if self.opened is None:
            self.opened = self.opener()
        return self.opened

    @property
    def closed(self):
        return self.opened is not None and self.opened.closed

    def seekable(self):
        return True

    def close(self):
        if self.opened is not None:
            self.opened.close()


class TestLazyBackends:
    @pytest.fixture
    def chain(self, make_chain):
        lazy = {"BACKEND": "tests.test_reading.LazyStorage", "OPTIONS": {"bucket": "lazy"}}
        return make_chain({"lazy": lazy, "vault": "disk"}, policy="transfer")

    def test_missing_file_falls_back(self, chain):
        put(chain, "vault")
        assert read(chain) == CONTENT

    def test_broken_tier_falls_back(self, chain):
        put(chain, "lazy", "vault")
        faulty.bucket("lazy").on("open", faulty.refuse)
        assert read(chain) == CONTENT

    def test_missing_file_is_told_by_open(self, chain):
        with pytest.raises(FileNotFoundError):
            chain.open("a.txt")

    def test_broken_tier_is_told_by_open(self, chain):
        faulty.bucket("lazy").on("open", faulty.refuse)
        with pytest.raises(ChainUnavailable, match="tier 'lazy'"):
            chain.open("a.txt")

    def test_file_is_read_from_its_start(self, chain):
        put(chain, "lazy")
        with chain.open("a.txt") as file:
            assert (file.tell(), file.read()) == (0, CONTENT)

    def test_empty_file_is_read(self, chain):
        put(chain, "lazy", content=b"")
        assert read(chain) == b""


class ForwardStorage(faulty.FaultyStorage):
    """Gives files that can only be read forward."""

    def _open(self, name, mode="rb"):
        return ForwardFile(super()._open(name, mode).read(), name)


class ForwardFile(ContentFile):
    closings = 0

    def seekable(self):
        return False

    def seek(self, *where):
        raise io.UnsupportedOperation("seek")

    def close(self):
        ForwardFile.closings += 1
        super().close()


class TestForwardOnlyBackends:
    @pytest.fixture
    def chain(self, make_chain):
        forward = {"BACKEND": "tests.test_reading.ForwardStorage", "OPTIONS": {"bucket": "forward"}}
        return make_chain({"forward": forward, "vault": "disk"}, policy="transfer-and-delete")

    @pytest.mark.parametrize("size", [0, 1000, 3 << 20])
    def test_opened_file_is_seekable(self, chain, size):
        content = os.urandom(size)
        put(chain, "forward", content=content)
        with chain.open("a.txt") as file:
            file.seek(size // 2)
            assert file.read() == content[size // 2 :]
            file.seek(0)
            assert file.read() == content

    def test_backends_own_file_is_closed(self, chain):
        put(chain, "forward")
        before = ForwardFile.closings
        chain.open("a.txt").close()
        assert ForwardFile.closings == before + 1

    def test_file_is_moved_away(self, chain):
        chain.save("a.txt", ContentFile(CONTENT))
        recording.work()
        assert (chain.tiers("a.txt"), read(chain)) == (["vault"], CONTENT)


READS = {
    "open": read,
    "exists": lambda storage: storage.exists("a.txt"),
    "size": lambda storage: storage.size("a.txt"),
    "url": lambda storage: storage.url("a.txt"),
    "path": lambda storage: storage.path("a.txt"),
    "get_modified_time": lambda storage: storage.get_modified_time("a.txt"),
    "tier": lambda storage: storage.tier("a.txt"),
    "get_storage": lambda storage: storage.get_storage("a.txt"),
}


class HidingDisk(FileSystemStorage):
    """A disk that has a file, and says that it has not."""

    def exists(self, name):
        return False


class TestPlainDisk:
    """A first tier on which a glance is enough."""

    def test_disk_with_a_way_of_its_own_is_asked_in_that_way(self, make_chain, tmp_path):
        hiding = {"BACKEND": f"{__name__}.HidingDisk", "OPTIONS": {"location": str(tmp_path / "near")}}
        chain = make_chain({"near": hiding, "far": "disk"}, policy=None)
        put(chain, "near", "far")
        assert (chain.tier("a.txt"), chain.url("a.txt")) == ("far", "/far/a.txt")
        chain.chain["far"].storage.delete("a.txt")
        assert not chain.exists("a.txt")

    def test_path_that_no_chain_of_chains_has_is_missing_from_the_outer_one(self, make_chain):
        make_chain(["near"], policy=None, alias="inner")
        inner = {"BACKEND": "queued_storage.storage.TieredStorage", "OPTIONS": {"alias": "inner"}}
        outer = make_chain({"inner": inner, "far": "memory"}, policy=None)
        with pytest.raises(NoPath, match=r"Chain 'media' has no file 'a\.txt'"):
            outer.path("a.txt")

    @pytest.mark.parametrize("question", ["open", "url", "size", "tier"])
    @pytest.mark.parametrize("name", ["folder", ".", "", "a.txt/b.txt", "\0", "x" * 300])
    def test_what_is_no_file_is_none(self, make_chain, question, name):
        chain = make_chain(["near", "far"])
        put(chain, "near", name="folder/b.txt")
        put(chain, "near")
        try:
            told = getattr(chain, question)(name)
        except (FileNotFoundError, ValueError):
            told = None
        assert told is None

    @pytest.mark.parametrize("name", ["../a.txt", "/etc/hostname", "b/../../a.txt"])
    @pytest.mark.parametrize("question", ["open", "url", "size", "exists"])
    def test_nothing_outside_is_looked_at(self, make_chain, question, name):
        chain = make_chain(["near", "far"])
        put(chain, "near")
        with pytest.raises(SuspiciousFileOperation):
            getattr(chain, question)(name)

    def test_unreadable_file_is_a_broken_tiers(self, make_chain):
        chain = make_chain(["near", "far"], policy=None)
        path = chain.chain["near"].storage.path(put(chain, "near", "far"))
        os.unlink(path)
        os.symlink(path, path)
        assert read(chain) == CONTENT

    @pytest.mark.parametrize(
        "base",
        ["/m/", "m", "https://cdn.test/a b/", "/a/../m/", "//cdn.test/", "/m/?x=", "/m/#x", "x+y://z/", "."],
    )
    def test_url_is_the_disks_own(self, make_chain, tmp_path, base):
        options = {"location": str(tmp_path / "near"), "base_url": base}
        near = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": options}
        chain, plain = make_chain({"near": near, "far": "disk"}, policy=None), FileSystemStorage(**options)
        for name in (
            "a.txt",
            "a/b c.txt",
            "ä:b;c?d#e&f=g%2F.txt",
            "~!*()'/...x",
            "x:/y",
            "a.b/.c",
            "http:/x",
        ):
            assert chain.url(put(chain, "near", name=name)) == plain.url(name)

    @pytest.mark.parametrize("ending", [contextlib.nullcontext, pytest.raises])
    def test_reads_are_short_again_once_a_delete_is_decided(self, make_chain, ending):
        chain = make_chain(["near", "far"])
        chain.save("a.txt", ContentFile(CONTENT))
        with ending(*[ZeroDivisionError] * (ending is pytest.raises)), transaction.atomic():
            chain.delete("a.txt")
            assert hooks.ChangesReads.alive
            assert not chain.exists("a.txt")
            _ = 1 / (ending is not pytest.raises)
        gc.collect()  # an error on its way may have left a circle of references, here or in a test before
        assert not hooks.ChangesReads.alive
        assert chain.exists("a.txt") is (ending is pytest.raises)


class TestShortFile:
    """A client that takes a broken connection for the end of the file."""

    @pytest.fixture
    def chain(self, make_chain):
        chain = make_chain(
            {"near": "disk", "far": faulty.tier("far"), "vault": faulty.tier("vault")}, policy="transfer"
        )
        chain.save("a.txt", ContentFile(CONTENT))
        recording.work()
        chain.chain.first.storage.delete("a.txt")
        faulty.bucket("far").on("open", lambda call: ContentFile(call.proceed().read()[:-1], call.name))
        return chain

    def test_g4_rest_is_read_elsewhere(self, chain):
        assert read(chain) == CONTENT

    def test_g4_no_part_is_given_as_the_whole(self, chain):
        faulty.bucket("vault").files.clear()
        with pytest.raises(OSError, match="ended before its size"):
            read(chain)


class TestQueries:
    @pytest.mark.parametrize("question", READS)
    def test_first_tiers_answer_needs_no_query(self, make_chain, django_assert_num_queries, question):
        chain = make_chain(["near", "far"])
        chain.save("a.txt", ContentFile(CONTENT))
        with django_assert_num_queries(0):
            READS[question](chain)

    @pytest.mark.parametrize("question", READS)
    def test_lower_tiers_answer_needs_one_query(self, make_chain, django_assert_num_queries, question):
        chain = make_chain(["near", "middle", "far"], policy="transfer-and-delete")
        chain.save("a.txt", ContentFile(CONTENT))
        recording.work()
        with django_assert_num_queries(1):
            READS[question](chain)

    @pytest.mark.parametrize("question", ["exists", "tier"])
    def test_missing_file_needs_one_query(self, make_chain, django_assert_num_queries, question):
        chain = make_chain(["near", "far"])
        with django_assert_num_queries(1):
            assert not READS[question](chain)

    def test_catalog_says_which_of_the_lower_tiers_is_asked(self, make_chain):
        tiers = {"near": "disk", "middle": faulty.tier("middle"), "far": faulty.tier("far")}
        chain = make_chain(tiers, policy={"BACKEND": "transfer-and-delete", "OPTIONS": {"to": ["far"]}})
        chain.save("a.txt", ContentFile(CONTENT))
        recording.work()
        faulty.bucket("middle").calls.clear()
        assert read(chain) == CONTENT
        assert faulty.bucket("middle").calls.total() == 0

    def test_catalog_answers_for_a_lower_tier_without_asking_it(self, make_chain):
        chain = make_chain({"near": "disk", "far": faulty.tier("far")}, policy="transfer-and-delete")
        chain.save("a.txt", ContentFile(CONTENT))
        recording.work()
        faulty.bucket("far").calls.clear()
        assert (chain.exists("a.txt"), chain.size("a.txt"), chain.tier("a.txt")) == (
            True,
            len(CONTENT),
            "far",
        )
        assert faulty.bucket("far").calls.total() == 0


class TestWithoutPolicy:
    """A chain with POLICY None is a plain fallback: no row, no query, no message."""

    @pytest.fixture
    def chain(self, make_chain):
        return make_chain({"near": "disk", "far": faulty.tier("far")}, policy=None)

    @pytest.mark.parametrize("tier", ["near", "far"])
    @pytest.mark.parametrize("question", sorted(READS.keys() - {"path", "get_modified_time"}))
    def test_reading_makes_no_query(self, chain, django_assert_num_queries, question, tier):
        put(chain, tier)
        with django_assert_num_queries(0):
            READS[question](chain)

    def test_writing_makes_no_query(self, chain, django_assert_num_queries):
        with django_assert_num_queries(0):
            name = chain.save("a.txt", ContentFile(CONTENT))
            with chain.open(name, "ab") as file:
                file.write(b"more")
            assert chain.listdir("")[1] == ["a.txt"]
            chain.delete(name)
            assert not chain.exists(name)

    def test_state_is_unknown_without_a_query(self, chain, django_assert_num_queries):
        put(chain, "near")
        with django_assert_num_queries(0):
            assert (chain.state("a.txt"), chain.tiers("a.txt")) == (None, [])

    def test_nothing_is_dispatched(self, chain):
        chain.save("a.txt", ContentFile(CONTENT))
        assert recording.RecordingDispatcher.calls == []

    def test_delete_goes_on_to_the_other_tiers_when_one_is_down(self, make_chain):
        tiers = {"near": faulty.tier("near"), "far": faulty.tier("far")}
        chain = make_chain(tiers, policy=None)
        put(chain, "near", "far")
        faulty.bucket("near").on("delete", faulty.refuse)
        with pytest.raises(OSError, match="refused"):
            chain.delete("a.txt")
        assert faulty.bucket("far").files == {}


class TestTimeout:
    """A tier with a TIMEOUT that a read ran into is skipped for a while."""

    @pytest.fixture
    def chain(self, make_chain):
        tiers = {"near": "disk", "far": faulty.tier("far", TIMEOUT=0.2), "vault": "disk"}
        return make_chain(tiers, policy="transfer")

    @contextmanager
    def silence(self, method):
        """The tier takes calls and answers none until the end of the block."""
        answer = threading.Event()

        def wait(call):
            answer.wait(20)
            return call.proceed()

        faulty.bucket("far").on(method, wait)
        try:
            yield
        finally:
            answer.set()

    def test_silent_tier_falls_back_and_is_skipped_then(self, chain):
        put(chain, "vault")
        with self.silence("open"):
            assert read(chain) == CONTENT
            assert read(chain) == CONTENT
            assert faulty.bucket("far").calls["open"] == 1

    def test_silent_tier_is_not_a_missing_file(self, chain):
        with self.silence("exists"), pytest.raises(ChainUnavailable, match="did not answer in time"):
            chain.exists("a.txt")

    def test_g8_save_that_is_in_a_hurry_does_not_take_the_tier_down(self, make_chain, settings):
        settings.QUEUED_STORAGE_DEADLINE = 0.3
        chain = make_chain({"near": "disk", "far": faulty.tier("far", TIMEOUT=30)})
        put(chain, "far", name="old.txt")
        with self.silence("exists"):
            chain.save("a.txt", ContentFile(CONTENT))
        assert read(chain, "old.txt") == CONTENT


class TestS3Stream:
    """An object is read from the server as it is asked for, not downloaded first."""

    @pytest.fixture
    def bucket(self, moto_s3):
        return moto_s3.make_bucket()

    @pytest.fixture
    def chain(self, make_chain, moto_s3, bucket):
        tier = moto_s3.tier(bucket) | {"BACKEND": pooled.PATH}
        return make_chain({"near": "disk", "s3": tier}, policy=None)

    @pytest.fixture
    def content(self, moto_s3, bucket):
        content = os.urandom(2 << 20)
        moto_s3.client.put_object(Bucket=bucket, Key="a.bin", Body=content)
        return content

    @pytest.fixture(params=[True, False], ids=["direct", "boto3"])
    def requests(self, chain, request, settings, monkeypatch):
        """The ranges that were asked for."""
        settings.QUEUED_STORAGE_FAST_PATHS = request.param
        ranges = []
        ask = Connections.ask

        def note_and_ask(connections, method, target, body=None, headers=None):
            ranges.append(headers["Range"])
            return ask(connections, method, target, body, headers)

        monkeypatch.setattr(Connections, "ask", note_and_ask)
        events = chain.chain["s3"].storage.connection.meta.client.meta.events

        def note(request, **_):
            ranges.append(request.headers["Range"].decode())

        events.register("before-send.s3.GetObject", note)
        yield ranges
        events.unregister("before-send.s3.GetObject", note)

    def test_whole_object_is_one_request(self, chain, content, requests):
        assert read(chain, "a.bin") == content
        assert requests == ["bytes=0-"]

    def test_small_reads_are_one_request(self, chain, content, requests):
        with chain.open("a.bin") as file:
            assert b"".join(file.read(1000) for _ in range(50)) == content[:50_000]
        assert requests == ["bytes=0-"]

    def test_seek_asks_for_the_rest_alone(self, chain, content, requests):
        with chain.open("a.bin") as file:
            file.seek(1 << 20)
            assert file.read(10) == content[1 << 20 :][:10]
        assert requests == ["bytes=0-", f"bytes={1 << 20}-"]

    @pytest.mark.parametrize(
        ("offset", "whence", "start"),
        [
            (0, os.SEEK_SET, 0),
            (-100, os.SEEK_END, (2 << 20) - 100),
            (500, os.SEEK_CUR, 510),
            (0, os.SEEK_END, 2 << 20),
        ],
    )
    def test_seek_goes_where_files_go(self, chain, content, offset, whence, start):
        with chain.open("a.bin") as file:
            file.read(10)
            file.seek(offset, whence)
            assert file.tell() == start
            assert file.read() == content[start:]

    def test_read_beyond_the_end_is_empty(self, chain, content):
        with chain.open("a.bin") as file:
            file.seek(3 << 20)
            assert file.read() == b""

    def test_size_is_known_from_the_first_request(self, chain, content, requests):
        with chain.open("a.bin") as file:
            assert file.size == len(content)

    def test_empty_object_is_a_file(self, chain, moto_s3, bucket):
        moto_s3.client.put_object(Bucket=bucket, Key="empty", Body=b"")
        with chain.open("empty") as file:
            assert (file.size, file.read(), file.read(1)) == (0, b"", b"")

    def test_missing_object_is_told_by_open(self, chain, bucket):
        with pytest.raises(FileNotFoundError):
            chain.open("missing")

    def test_missing_bucket_is_not_a_missing_file(self, chain, moto_s3, make_chain):
        gone = moto_s3.tier("no-such-bucket") | {"BACKEND": pooled.PATH}
        chain = make_chain({"near": "disk", "s3": gone}, policy=None)
        with pytest.raises(ChainUnavailable, match="NoSuchBucket"):
            chain.open("a.bin")

    @pytest.mark.parametrize("position", [0, 1 << 20])
    def test_g4_replaced_object_is_not_mixed_with_the_old_one(
        self, chain, content, moto_s3, bucket, position
    ):
        with chain.open("a.bin") as file:
            file.seek(2 << 20)
            file.read(10)
            moto_s3.client.put_object(Bucket=bucket, Key="a.bin", Body=bytes(len(content)))
            file.seek(position)
            with pytest.raises(Exception, match=r"PreconditionFailed|412"):
                file.read()

    def test_text_is_decoded_over_the_edges_of_blocks(self, chain, moto_s3, bucket):
        text = "naïve ☃ " * 100_000
        moto_s3.client.put_object(Bucket=bucket, Key="text", Body=text.encode())
        with chain.open("text", "r") as file:
            assert file.read() == text


class TestMemory:
    """G11: what a file weighs does not show in memory."""

    SIZE = 64 << 20
    LIMIT = 16 << 20

    @pytest.fixture
    def large(self, moto_s3, tmp_path):
        """A bucket with one large object, and the object's digest."""
        bucket, block = moto_s3.make_bucket(), os.urandom(1 << 20)
        path = tmp_path / "large.bin"
        with path.open("wb") as file:
            file.writelines([block] * 64)
        moto_s3.client.upload_file(str(path), bucket, "large.bin")
        path.unlink()
        digest = hashlib.sha256()
        for _ in range(64):
            digest.update(block)
        return bucket, digest.hexdigest()

    @contextmanager
    def limited(self):
        tracemalloc.start()
        try:
            yield
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < self.LIMIT

    def test_g11_large_object_is_read_in_bounded_memory(self, make_chain, moto_s3, large):
        tier = moto_s3.tier(large[0]) | {"BACKEND": pooled.PATH}
        chain = make_chain({"near": "disk", "s3": tier}, policy=None)
        digest = hashlib.sha256()
        with self.limited(), chain.open("large.bin") as file:
            for chunk in file.chunks():
                digest.update(chunk)
        assert digest.hexdigest() == large[1]

    def test_g11_large_object_is_moved_in_bounded_memory(self, make_chain, moto_s3, large, tmp_path):
        tier = moto_s3.tier(large[0]) | {"BACKEND": pooled.PATH}
        chain = make_chain({"s3": tier, "vault": "disk"}, policy="transfer")
        chain.transfer("large.bin")
        with self.limited():
            recording.work()
        assert chain.tiers("large.bin") == ["s3", "vault"]
        with (tmp_path / "vault" / "large.bin").open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == large[1]


@pytest.fixture
def hanging_up():
    """The port of a server that hangs up on every request."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connection.recv(1)
                    connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_s3_that_hangs_up_is_broken_and_the_next_tier_answers(make_chain, hanging_up, db):
    options = {
        "bucket_name": "b",
        "endpoint_url": f"http://127.0.0.1:{hanging_up}",
        "client_config": Config(retries={"total_max_attempts": 1}),
    }
    s3 = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
    chain = make_chain({"near": "disk", "s3": s3, "far": "disk"}, policy=None)
    with pytest.raises(ChainUnavailable, match="s3"):
        chain.open("a.txt")
    put(chain, "far")
    assert read(chain) == CONTENT
