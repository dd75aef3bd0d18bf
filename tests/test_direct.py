"""Small objects to S3 in one request: the same request as the storage's own, and its own way where that cannot be."""

from __future__ import annotations

import hashlib
import io
import os
import re
import select
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import botocore.session
import pytest
import time_machine
from boto3.s3.transfer import TransferConfig
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from django.core.files.base import ContentFile, File
from storages.backends.s3 import S3Storage

from queued_storage import conditional, copying, direct
from queued_storage.amended import amended
from queued_storage.direct import connections, copies, parts, signing, uploads
from queued_storage.direct.line import line_to
from queued_storage.testing import run_owed_work

from tests.support.servers import S3Server
from tests.support.waiting import wait_until

CONTENT = bytes(range(256)) * 40
#: What a client adds for itself, or what tells of the moment.
OWN = frozenset(("amz-sdk-invocation-id", "amz-sdk-request", "authorization", "accept-encoding", "expect"))
OWN |= {"user-agent", "x-amz-date"}


class Recorder(BaseHTTPRequestHandler):
    """Answers as S3 does to PutObject, and remembers what came."""

    protocol_version = "HTTP/1.1"
    server: Any

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._note(body)
        if not self.server.goes_on.is_set():
            self.server.waiting += 1
            self.server.goes_on.wait(60)
        part = self.path.partition("partNumber=")[2].partition("&")[0]
        if part and self.server.of_parts.get(int(part)):
            return self._answer(self.server.of_parts[int(part)].pop(0), b"<Error><Code>Some</Code></Error>")
        status, etag, answer = self.server.answers.pop(0) if self.server.answers else (200, None, b"")
        return self._answer(status, answer, etag or hashlib.md5(body, usedforsecurity=False).hexdigest())

    def do_POST(self) -> None:
        self._note(self.rfile.read(int(self.headers["Content-Length"] or 0)))
        if self.path.endswith("?uploads"):
            return self._answer(200, b"<A><UploadId>one</UploadId></A>")
        status, code = self.server.completing
        return self._answer(status, b"<A><ETag>x-2</ETag></A>" if status == 200 else _refusal(code))

    def do_DELETE(self) -> None:
        self._note(b"")
        self._answer(204)

    def _note(self, body: bytes) -> None:
        told = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append((self.path, told, body))

    def _answer(self, status: int, answer: bytes = b"", etag: str = "") -> None:
        self.send_response(status)
        self.send_header("ETag", f'"{etag}"')
        self.send_header("Content-Length", str(len(answer)))
        if self.server.hangs_up:
            self.close_connection = True
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


def _refusal(code: str) -> bytes:
    return f"<Error><Code>{code}</Code></Error>".encode()


@pytest.fixture
def recorder() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    server.requests, server.answers, server.of_parts, server.completing = [], [], {}, (200, "")
    server.hangs_up = False
    server.goes_on, server.waiting = threading.Event(), 0
    server.goes_on.set()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


class Own(S3Storage):
    def get_object_parameters(self, name: str) -> dict[str, Any]:
        return {
            **super().get_object_parameters(name),
            "CacheControl": "max-age=60",
            "Metadata": {"name": "a"},
        }


def make(recorder: Any, backend: type = S3Storage, **options: Any) -> Any:
    options = {
        "bucket_name": "bucket",
        "endpoint_url": f"http://127.0.0.1:{recorder.server_address[1]}",
        "access_key": "key",
        "secret_key": "secret",
        "region_name": "eu-west-1",
        "file_overwrite": True,
        **options,
    }
    return amended(backend)(**options)


def upload(content: bytes = CONTENT, content_type: str = "") -> File[bytes]:
    file = File(io.BytesIO(content), name="a.jpg")
    if content_type:
        file.content_type = content_type  # type: ignore[attr-defined]
    return file


PARAMETERS: list[dict[str, Any]] = [
    {},
    {"default_acl": "public-read"},
    {"location": "in/here"},
    {"object_parameters": {"CacheControl": "max-age=86400", "ContentDisposition": 'attachment; filename="a b"'}},
    {"object_parameters": {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "k"}},
    {"object_parameters": {"StorageClass": "STANDARD_IA", "Tagging": "a=b&c=d", "Metadata": {"who": "me", "x": "1"}}},
    {"object_parameters": {"ContentType": "text/x-own", "ContentLanguage": "de", "ContentEncoding": "br"}},
    {"object_parameters": {"ACL": "private", "ObjectLockMode": "GOVERNANCE", "WebsiteRedirectLocation": "/b"}},
]  # fmt: skip


@pytest.mark.parametrize("options", PARAMETERS, ids=lambda options: "-".join(options) or "none")
@pytest.mark.parametrize("backend", [S3Storage, Own])
def test_g9_request_is_the_one_of_the_storage_itself(recorder: Any, options: Any, backend: type) -> None:
    storage = make(recorder, backend, **options)
    storage.save("a b/ü.jpg", upload(content_type="image/jpeg"))
    assert direct.put(storage, "a b/ü.jpg", lambda: upload(content_type="image/jpeg"), {}) is not None
    (path, slow, body), (fast_path, fast, fast_body) = recorder.requests
    assert (fast_path, fast_body) == (path, body)
    assert {k: v for k, v in fast.items() if k not in OWN} == {k: v for k, v in slow.items() if k not in OWN}


@pytest.mark.parametrize(
    "name", ["a.jpg", "a.tar.gz", "no-extension", "%41 +&=?#;@$,~'()*!.txt", "ü/☃ 😀", "a" * 900]
)
def test_keys_and_guessed_types_are_the_same(recorder: Any, name: str) -> None:
    storage = make(recorder)
    storage.save(name, upload())
    direct.put(storage, name, upload, {})
    (path, slow, _), (fast_path, fast, _) = recorder.requests
    assert fast_path == path
    assert [fast.get(each) for each in ("content-type", "content-encoding")] == [
        slow.get(each) for each in ("content-type", "content-encoding")
    ]


class SavesItself(S3Storage):
    def _save(self, name: str, content: Any) -> str:
        return str(super()._save(name, content))


class NamesItself(S3Storage):
    def _normalize_name(self, name: str) -> str:
        return f"own/{name}"


class SavesOutside(S3Storage):
    def save(self, name: Any, content: Any, max_length: Any = None) -> str:
        return str(super().save(name, content, max_length))


@pytest.mark.parametrize(
    ("backend", "options"),
    [
        (SavesItself, {}),
        (NamesItself, {}),
        (SavesOutside, {}),
        (S3Storage, {"gzip": True}),
        (S3Storage, {"proxies": {"http": "http://127.0.0.1:1"}}),
        (S3Storage, {"signature_version": "s3"}),
        (S3Storage, {"object_parameters": {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}}),
        (S3Storage, {"object_parameters": {"ChecksumAlgorithm": "SHA256"}}),
        (S3Storage, {"object_parameters": {"Expires": "Thu, 01 Dec 2033 16:00:00 GMT"}}),
        (S3Storage, {"object_parameters": {"ContentDisposition": "attachment; filename=ü"}}),
        (S3Storage, {"object_parameters": {"Metadata": {"a": "ü"}}}),
        (S3Storage, {"object_parameters": {"BucketKeyEnabled": True}}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(list(value)),
)
def test_what_is_out_of_the_ordinary_is_left_to_the_storage(
    recorder: Any, backend: type, options: Any
) -> None:
    assert direct.put(make(recorder, backend, **options), "a.txt", upload, {}) is None
    assert recorder.requests == []


@pytest.mark.parametrize("name", ["a//b", "./a", "a/../b"])
def test_name_that_the_storage_would_change_is_left_to_it(recorder: Any, name: str) -> None:
    assert direct.put(make(recorder), name, upload, {}) is None


class TestParts:
    """A large object goes in parts, as the storage itself would send them."""

    CONFIG = TransferConfig(multipart_threshold=1 << 20, multipart_chunksize=5 << 20)
    CONTENT = os.urandom((5 << 20) + 1)

    @pytest.fixture(autouse=True)
    def _impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(parts, "DELAY", 0.001)

    def make(self, recorder: Any, **options: Any) -> Any:
        return make(recorder, transfer_config=self.CONFIG, **options)

    def put(self, storage: Any, content: bytes = CONTENT, **condition: str) -> direct.Sent | None:
        return direct.put(storage, "in/a.jpg", lambda: upload(content), condition)

    @pytest.mark.parametrize("options", PARAMETERS, ids=lambda options: "-".join(options) or "none")
    def test_g9_requests_are_those_of_the_storage_itself(self, recorder: Any, options: Any) -> None:
        storage = self.make(recorder, **options)
        storage.save("in/a.jpg", upload(self.CONTENT))
        slow, recorder.requests[:] = self.seen(recorder), []
        assert self.put(storage) is not None
        assert self.seen(recorder) == slow
        assert len(slow) == 4

    def seen(self, recorder: Any) -> list[Any]:
        return sorted(
            (sorted(re.split("[?&]", path)), sorted((k, v) for k, v in told.items() if k not in OWN), body)
            for path, told, body in recorder.requests
        )

    def test_part_that_failed_is_sent_again(self, recorder: Any) -> None:
        recorder.of_parts = {1: [503, 500], 2: [503]}
        assert self.put(self.make(recorder)) is not None
        assert [path.count("partNumber=1") for path, _, _ in recorder.requests].count(1) == 3

    def test_g11_few_parts_are_in_memory_whatever_is_under_way(
        self, recorder: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(parts, "IN_MEMORY", 2)
        monkeypatch.setattr(parts, "_rooms", {})
        recorder.goes_on.clear()
        taken: list[int] = []

        class Counted(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                taken.append(1)
                return super().read(size)

        def counted() -> File[bytes]:
            return File(Counted(self.CONTENT), name="a")

        storages = [self.make(recorder) for _ in range(3)]
        with ThreadPoolExecutor(3) as pool:
            sent = [pool.submit(direct.put, storage, "a", counted, {}) for storage in storages]
            try:
                wait_until(lambda: recorder.waiting == 2, "two parts are on their way")
                assert len(taken) == 2
            finally:
                recorder.goes_on.set()
        assert None not in [future.result() for future in sent]
        assert len(taken) == 6

    @pytest.mark.parametrize(("size", "at_a_time"), [(100, 4), (101, 2)])
    def test_g11_few_large_bodies_are_in_memory_however_many_threads_send(
        self, recorder: Any, monkeypatch: pytest.MonkeyPatch, size: int, at_a_time: int
    ) -> None:
        monkeypatch.setattr(uploads, "FREE", 100)
        monkeypatch.setattr(parts, "IN_MEMORY", 2)
        monkeypatch.setattr(parts, "_rooms", {})
        recorder.goes_on.clear()
        taken: list[int] = []

        class Counted(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                taken.append(1)
                return super().read(size)

        storages = [make(recorder) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            sent = [
                pool.submit(direct.put, storage, "a", lambda: File(Counted(b"x" * size), name="a"), {})
                for storage in storages
            ]
            try:
                wait_until(lambda: recorder.waiting == at_a_time, "as many as may be are on their way")
                assert len(taken) == at_a_time
            finally:
                recorder.goes_on.set()
        assert None not in [future.result() for future in sent]
        assert len(taken) == 4

    @pytest.mark.parametrize("status", [403, 404])
    def test_part_that_is_refused_ends_the_upload(self, recorder: Any, status: int) -> None:
        recorder.of_parts = {1: [status]}
        assert self.put(self.make(recorder)) is None
        assert recorder.requests[-1][0].endswith("?uploadId=one")  # which is aborted

    def test_content_that_ends_too_soon_is_left_to_the_storage(self, recorder: Any) -> None:
        def short() -> File[bytes]:
            file = upload(self.CONTENT)
            file.size = len(self.CONTENT) + 1
            return file

        assert direct.put(self.make(recorder), "a", short, {}) is None
        assert recorder.requests[-1][2] == b""

    def test_error_of_the_source_is_told_and_the_upload_ended(self, recorder: Any) -> None:
        class Broken(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                if self.tell():
                    raise OSError("gone")
                return super().read(size)

        with pytest.raises(OSError, match="gone"):
            direct.put(self.make(recorder), "a", lambda: File(Broken(self.CONTENT), name="a"), {})
        assert recorder.requests[-1][0].endswith("?uploadId=one")

    def test_g6_condition_that_is_not_met_is_told(self, recorder: Any) -> None:
        recorder.completing = (412, "PreconditionFailed")
        with pytest.raises(conditional.Changed):
            conditional.save(self.make(recorder), "a", lambda: upload(self.CONTENT), None)
        completing = [told for path, told, body in recorder.requests if body.startswith(b"<Complete")]
        assert [told["if-none-match"] for told in completing] == ["*"]
        assert recorder.requests[-1][0].endswith("?uploadId=one")

    def test_condition_that_nobody_knows_is_the_storages_to_find_out(self, recorder: Any) -> None:
        recorder.completing = (501, "NotImplemented")
        assert self.put(self.make(recorder), **{"If-None-Match": "*"}) is None


def test_connection_that_the_server_closed_is_not_used_again(recorder: Any) -> None:
    storage = make(recorder)
    recorder.hangs_up = True
    for number in range(5):
        assert direct.put(storage, f"{number}", upload, {}) is not None
    assert len(recorder.requests) == 5


def test_g4_connection_is_given_back_once(recorder: Any) -> None:
    kept = connections.Connections(
        connections.Server("http", f"127.0.0.1:{recorder.server_address[1]}", "", 5, 5)
    )
    exchange = kept.ask("PUT", "/bucket/a", b"1")
    exchange.read()
    exchange.close()
    one, other = (kept.ask("PUT", "/bucket/a", b"1") for _ in range(2))
    assert one._connection is not other._connection
    for each in (one, other):
        each.read()


@pytest.mark.parametrize(
    "read", [lambda exchange: exchange.read(), lambda exchange: exchange.readinto(bytearray(9))]
)
def test_g4_rest_of_an_answer_that_broke_off_is_no_answer(read: Any) -> None:
    """What comes late on its connection is the server's trouble, not the next request's content."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept = connections.Connections(
            connections.Server("http", f"127.0.0.1:{server.getsockname()[1]}", "", 5, 5)
        )
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(kept.ask, "GET", "/one")
            accepted, _ = server.accept()
            with accepted:
                accepted.recv(1 << 16)
                accepted.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n")
                exchange = asked.result(timeout=20)
                with pytest.raises(connections.BROKEN):
                    read(exchange)
                exchange.close()
                asked = pool.submit(kept.ask, "GET", "/two")
                ready, _, _ = select.select([server, accepted], [], [], 20)
                if accepted in ready and accepted.recv(1 << 16):
                    accepted.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")
                    assert asked.result(timeout=20).read() != b"late"
                other, _ = server.accept()
                with other:
                    other.recv(1 << 16)
                    other.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody")
                    assert asked.result(timeout=20).read() == b"body"


def test_slow_line_is_no_silent_one(recorder: Any) -> None:
    """A timeout is for a line on which nothing moves, not for how long a body takes."""
    body, timeout = bytes(1 << 26), 1.5
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)

        def take_slowly() -> None:
            line, _ = server.accept()
            with line:
                left = len(body)
                while left > 0:
                    time.sleep(timeout / 40)  # what makes the line slow
                    left -= len(line.recv(1 << 20, socket.MSG_WAITALL))
                line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=take_slowly)
        thread.start()
        host = f"127.0.0.1:{server.getsockname()[1]}"
        started = time.monotonic()
        lines = connections.Connections(connections.Server("http", host, "", 5, timeout))
        assert lines.ask("PUT", "/a", body).status == 200
        assert time.monotonic() - started > timeout
        thread.join()


@pytest.mark.parametrize("token", [None, "of-a-role"])
@pytest.mark.parametrize("key", ["a", "a b/ü~*'()+&=?#%41.txt", "☃" * 50])
def test_signature_is_the_one_that_botocore_makes(key: str, token: str | None) -> None:
    credentials = Credentials("key", "secret", token).get_frozen_credentials()
    query = {"partNumber": "7", "uploadId": "a/b+c=="}
    target = signing.Target.of("/bucket/", key, **query)
    headers = {"Host": "127.0.0.1:1", "x-amz-meta-a": "  b   c ", "Content-Type": "text/plain"}
    with time_machine.travel("2026-02-28 23:59:59Z", tick=False):
        ours = signing.Signer("eu-west-1").signed(credentials, "PUT", target, headers, signing.EMPTY)
        request = AWSRequest("PUT", f"http://127.0.0.1:1{target}", headers=headers)
        request.headers["X-Amz-Content-SHA256"] = signing.EMPTY
        S3SigV4Auth(credentials, "s3", "eu-west-1").add_auth(request)
    assert ours["Authorization"] == request.headers["Authorization"]


def test_setting_turns_it_off(recorder: Any, settings: Any) -> None:
    settings.QUEUED_STORAGE_FAST_PATHS = False
    assert direct.put(make(recorder), "a", upload, {}) is None


def test_proxy_of_the_environment_is_respected(recorder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert direct.put(make(recorder), "a", upload, {}) is None


def test_answer_that_does_not_know_the_content_proves_nothing(recorder: Any) -> None:
    recorder.answers = [(200, "of-a-key-of-kms", b""), (200, None, b"")]
    sent = [direct.put(make(recorder), "a", upload, {}) for _ in range(2)]
    assert [each is not None and each.is_proven for each in sent] == [False, True]


@pytest.mark.parametrize("status", [301, 307, 400, 403, 404, 500, 503])
def test_refusal_is_left_to_the_storage_to_tell_or_to_mend(recorder: Any, status: int) -> None:
    recorder.answers = [(status, "", b"<Error><Code>Some</Code></Error>")]
    assert direct.put(make(recorder), "a", upload, {}) is None
    assert len(recorder.requests) == 1


@pytest.mark.parametrize(
    ("status", "code"), [(412, "PreconditionFailed"), (409, "ConditionalRequestConflict")]
)
def test_g6_condition_that_is_not_met_is_told(recorder: Any, status: int, code: str) -> None:
    recorder.answers = [(status, "", f"<Error><Code>{code}</Code></Error>".encode())]
    with pytest.raises(conditional.Changed):
        conditional.save(make(recorder), "a", upload, None)
    assert recorder.requests[0][1]["if-none-match"] == "*"


def test_dead_server_is_left_to_the_storage(recorder: Any) -> None:
    storage = make(recorder)
    recorder.shutdown()
    recorder.server_close()
    assert direct.put(storage, "a", upload, {}) is None


@pytest.mark.parametrize(
    ("options", "is_one"),
    [
        ({}, True),
        ({"bucket_name": "other", "location": "in"}, True),
        ({"access_key": "another"}, False),
        ({"region_name": "eu-central-1"}, False),
        ({"endpoint_url": "http://elsewhere.invalid"}, False),
        ({"proxies": {"http": "http://127.0.0.1:1"}}, False),
    ],
    ids=str,
)
def test_buckets_with_hosts_of_their_own_may_be_one_servers(
    recorder: Any, monkeypatch: pytest.MonkeyPatch, options: Any, is_one: bool
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "*")
    virtual = {"addressing_style": "virtual", "endpoint_url": "http://s3.invalid"}
    near, far = make(recorder, **virtual), make(recorder, **virtual | options)
    assert copies.is_one_server(near, far) is is_one


def test_one_client_serves_two_buckets(recorder: Any) -> None:
    first, second = make(recorder), make(recorder, bucket_name="other")
    second._connections.connection = first.connection
    for storage in (first, second):
        direct.put(storage, "a", upload, {})
    assert [path for path, _, _ in recorder.requests] == ["/bucket/a", "/other/a"]


def test_process_that_was_forked_off_has_connections_of_its_own(recorder: Any) -> None:
    storage = make(recorder)
    direct.put(storage, "a", upload, {})
    if (child := os.fork()) == 0:
        os._exit(0 if direct.put(storage, "b", upload, {}) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert direct.put(storage, "c", upload, {})
    assert [path[-1] for path, _, _ in recorder.requests] == ["a", "b", "c"]


@pytest.mark.servers
@pytest.mark.django_db(transaction=True)
class TestCopyByServer:
    """What one server copies from bucket to bucket is what a save would have put there."""

    OPTIONS: ClassVar[dict[str, Any]] = {
        "default_acl": "public-read",
        "object_parameters": {"CacheControl": "max-age=5", "Metadata": {"who": "me"}},
    }

    @pytest.fixture
    def moved(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The names of files whose bytes came this way."""
        names: list[str] = []
        open_for_read = copying.streams.open_for_read

        def note_and_open(storage: Any, name: str, **options: Any) -> File[bytes]:
            names.append(name)
            return open_for_read(storage, name, **options)

        monkeypatch.setattr(copying.streams, "open_for_read", note_and_open)
        return names

    @pytest.fixture
    def make(self, make_chain: Any) -> Any:
        def make(server: Any, **options: Any) -> Any:
            near = server.tier(server.make_bucket(), object_parameters={"Metadata": {"of": "near"}})
            return make_chain({"near": near, "far": server.tier(server.make_bucket(), **options)})

        copies._heeds.clear()
        return make

    def head(self, server: Any, storage: Any, name: str) -> dict[str, Any]:
        far = storage.chain["far"].storage
        told = server.client.head_object(Bucket=far.bucket_name, Key=far._normalize_name(name))
        return {key: told.get(key) for key in ("ContentType", "CacheControl", "Metadata", "ContentLength")}

    def copied(self, storage: Any, name: str = "a b/ü+1.txt") -> str:
        file = upload(content_type="text/x-own")
        saved: str = storage.save(name, file)
        run_owed_work()
        assert storage.state(saved) == "settled"
        return saved

    def test_object_is_the_one_that_the_storage_would_save(
        self, make: Any, seaweedfs: S3Server, moved: list[str], settings: Any
    ) -> None:
        seen = []
        for is_on in (True, False):
            settings.QUEUED_STORAGE_FAST_PATHS = is_on
            storage = make(seaweedfs, location="in/here", **self.OPTIONS)
            name = self.copied(storage)
            seen.append(self.head(seaweedfs, storage, name))
            assert bool(moved) is not is_on
            assert seaweedfs.read(storage.chain["far"].storage.bucket_name, f"in/here/{name}") == CONTENT
        assert seen[0] == seen[1]
        assert seen[0]["Metadata"] == {"who": "me"}

    def test_way_is_told(self, make: Any, seaweedfs: S3Server, settings: Any, tmp_path: Any) -> None:
        chain = make(seaweedfs).chain
        assert "the server copies" in copying.way(chain["near"], chain["far"])
        settings.QUEUED_STORAGE_FAST_PATHS = False
        assert copying.way(chain["near"], chain["far"]) == "the storage's own save()"

    def test_large_object_is_copied_in_parts(
        self, make: Any, seaweedfs: S3Server, moved: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(copies, "LARGEST", 5 << 20)
        monkeypatch.setattr(parts, "COPIED_AT_ONCE", 5 << 20)
        storage = make(seaweedfs, **self.OPTIONS)
        content = os.urandom((5 << 20) * 2 + 7)
        name = storage.save("a.bin", ContentFile(content))
        run_owed_work()
        assert seaweedfs.read(storage.chain["far"].storage.bucket_name, name) == content
        assert self.head(seaweedfs, storage, name)["Metadata"] == {"who": "me"}
        assert moved == []

    def test_g6_server_that_heeds_no_condition_is_not_asked(
        self, make: Any, moto_s3: S3Server, moved: list[str]
    ) -> None:
        storage = make(moto_s3)
        name = self.copied(storage)
        assert moved == [name]
        # Nothing is left of the trial.
        assert moto_s3.names(storage.chain["far"].storage.bucket_name) == [name]

    @pytest.mark.parametrize(
        "options",
        [{"gzip": True}, {"object_parameters": {"Expires": "Thu, 01 Dec 2033 16:00:00 GMT"}}],
        ids=str,
    )
    def test_what_is_out_of_the_ordinary_is_moved(
        self, make: Any, seaweedfs: S3Server, moved: list[str], options: Any
    ) -> None:
        storage = make(seaweedfs, **options)
        assert self.copied(storage) in moved

    def test_g3_wrong_size_is_not_copied(self, make: Any, seaweedfs: S3Server) -> None:
        storage = make(seaweedfs)
        name = storage.save("a.txt", ContentFile(CONTENT))
        seaweedfs.client.put_object(Bucket=storage.chain["near"].storage.bucket_name, Key=name, Body=b"cut")
        run_owed_work()
        assert storage.state(name) != "settled"
        assert seaweedfs.names(storage.chain["far"].storage.bucket_name) == []

    def test_g6_what_came_there_meanwhile_is_replaced_by_the_newest_alone(
        self, make: Any, seaweedfs: S3Server
    ) -> None:
        storage = make(seaweedfs)
        name = storage.save("a.txt", ContentFile(CONTENT))
        far = storage.chain["far"].storage
        found = direct.find(storage.chain["near"].storage, far, name)
        assert found is not None
        seaweedfs.client.put_object(Bucket=far.bucket_name, Key=name, Body=b"another's")
        assert conditional.copy_by_server(found, far, name, upload(), None) is None
        assert seaweedfs.read(far.bucket_name, name) == b"another's"


@pytest.mark.servers
class TestServer:
    @pytest.fixture
    def storage(self, s3: S3Server, make_chain: Any) -> Any:
        return make_chain({"near": "disk", "far": s3.tier(s3.make_bucket(), file_overwrite=False)})

    def test_server_takes_it_and_knows_it(self, storage: Any, s3: S3Server) -> None:
        far = storage.chain["far"].storage
        for name in ("a.txt", "in/ü %25 +.txt"):
            sent = direct.put(far, name, lambda: upload(content_type="text/x-own"), {})
            assert sent is not None
            assert sent.is_proven
            assert s3.read(far.bucket_name, name) == CONTENT
            assert s3.client.head_object(Bucket=far.bucket_name, Key=name)["ContentType"] == "text/x-own"

    @pytest.mark.django_db(transaction=True)
    def test_copy_needs_one_request(self, storage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        checked: list[str] = []
        check = copying.check
        monkeypatch.setattr(
            copying, "check", lambda tier, *rest: (checked.append(tier.name), check(tier, *rest))
        )
        name = storage.save("a.txt", ContentFile(CONTENT))
        run_owed_work()
        assert storage.tiers(name) == ["near", "far"]
        assert checked == []


class TestSharedLine:
    """Threads have storages of their own, and one way to the server."""

    def test_threads_build_one_client(self, recorder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        built: list[str] = []
        client = botocore.session.Session.create_client

        def create(self: Any, *arguments: Any, **options: Any) -> Any:
            built.append(threading.current_thread().name)
            return client(self, *arguments, **options)

        monkeypatch.setattr(botocore.session.Session, "create_client", create)
        barrier = threading.Barrier(4)

        def send(number: int) -> Any:
            storage = make(recorder, region_name="eu-north-1")
            barrier.wait()
            return direct.put(storage, f"{number}.jpg", upload, {})

        with ThreadPoolExecutor(4) as pool:
            assert all(sent.is_proven for sent in pool.map(send, range(4)))
        assert len(built) == 1
        assert len(recorder.requests) == 4

    @pytest.mark.parametrize(
        "other",
        [
            {"bucket_name": "other"},
            {"access_key": "other"},
            {"secret_key": "other"},
            {"security_token": "other"},
            {"region_name": "us-west-2"},
            {"addressing_style": "virtual"},
            {"client_config": Config(read_timeout=7)},
        ],
        ids=lambda options: next(iter(options)),
    )
    def test_other_settings_have_another(self, recorder: Any, other: dict[str, Any]) -> None:
        one, two = make(recorder), make(recorder, **other)
        assert line_to(one) is line_to(make(recorder))
        assert line_to(two) is not line_to(one)

    def test_class_with_sessions_of_its_own_has_another(self, recorder: Any) -> None:
        class Assuming(S3Storage):
            def _create_session(self) -> Any:
                self.access_key = "assumed"
                return super()._create_session()

        assert line_to(make(recorder)) is not line_to(make(recorder, Assuming))
        assert line_to(make(recorder, Assuming)) is not line_to(make(recorder, Assuming))

    def test_environment_of_another_account_has_another(
        self, recorder: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one = line_to(make(recorder))
        monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
        two = line_to(make(recorder))
        assert one is not None
        assert two is not None
        assert (one.checksums, two.checksums) == (True, False)

    def test_credentials_that_are_renewed_sign_the_next_request(self, recorder: Any) -> None:
        storage = make(recorder, bucket_name="renewed")
        line = line_to(storage)
        assert line is not None
        current = iter(["first", "second"])

        class Renewing(Credentials):
            def get_frozen_credentials(self) -> Any:
                return Credentials(next(current), "secret").get_frozen_credentials()

        line._credentials = Renewing("key", "secret")
        for _ in range(2):
            direct.put(make(recorder, bucket_name="renewed"), "a.jpg", upload, {})
        told = [headers["authorization"] for _, headers, _ in recorder.requests]
        assert ["Credential=first/" in told[0], "Credential=second/" in told[1]] == [True, True]

    def test_fork_has_its_own(self, recorder: Any) -> None:
        storage = make(recorder)
        line = line_to(storage)
        reader, writer = os.pipe()
        if (pid := os.fork()) == 0:
            try:
                os.write(writer, str(line_to(storage) is line).encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as told:
            assert told.read() == "False"
        os.waitpid(pid, 0)
