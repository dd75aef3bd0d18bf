"""What is CouchDB's own: revisions, files that are not whole yet, ranges or none, and its answers."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.files.base import ContentFile, File

from queued_storage import traits
from queued_storage.contrib.storages import couchdb as module
from queued_storage.contrib.storages.couchdb import CouchDBError, CouchDBStorage

from tests.contrib.documents.conftest import Documents

servers = pytest.mark.servers


@pytest.mark.parametrize("status", [401, 403, 404, 413])
def test_permanent(status: int) -> None:
    error = CouchDBError(status, "no")
    assert (traits.is_permanent(error), traits.is_missing(error), traits.is_outage(error)) == (
        True,
        False,
        False,
    )


def test_no_room() -> None:
    assert traits.is_capacity(CouchDBError(507, "full"))


@pytest.mark.parametrize("status", [409, 429, 500, 503])
def test_transient(status: int) -> None:
    error = CouchDBError(status, "later")
    assert (traits.is_permanent(error), traits.is_capacity(error), traits.is_missing(error)) == (False,) * 3


def test_login_in_the_url_is_taken_out_of_it() -> None:
    storage = CouchDBStorage("https://me%40home:se%2Fsame@couch.example:6984/root/", "my media")
    assert storage._url == "https://couch.example:6984/root/my%20media"
    assert storage._login == ("me@home", "se/same")


@servers
class TestDocuments:
    def test_file_counts_when_its_attachment_is_there(self, couchdb: Documents) -> None:
        couchdb.server.ask("PUT", couchdb.place, "a.txt", json={"attachment": "x", "size": 7})
        storage = couchdb.make()
        assert not storage.exists("a.txt")
        assert storage.listdir("") == ([], [])
        assert storage.save("a.txt", ContentFile(b"content")) == "a.txt"
        assert storage.open("a.txt").read() == b"content"

    def test_file_counts_when_its_attachment_is_as_long_as_it_says(self, couchdb: Documents) -> None:
        couchdb.put("a.txt", b"content")
        document = couchdb.server.document(couchdb.place, "a.txt")
        couchdb.server.ask("PUT", couchdb.place, "a.txt", json={**document, "size": 8})
        storage = couchdb.make()
        assert not storage.exists("a.txt")
        with pytest.raises(FileNotFoundError):
            storage.size("a.txt")
        storage.delete("a.txt")
        assert couchdb.names == []

    def test_files_of_storages_of_old_are_read(self, couchdb: Documents) -> None:
        couchdb.put("old.txt", b"content")
        storage = couchdb.make()
        assert storage.open("old.txt").read() == b"content"
        assert storage.size("old.txt") == 7
        with pytest.raises(NotImplementedError, match="did not say when"):
            storage.get_modified_time("old.txt")

    def test_design_documents_are_no_files(self, couchdb: Documents) -> None:
        couchdb.server.ask("PUT", couchdb.place, "_design/views", json={"views": {}})
        assert couchdb.make().listdir("") == ([], [])

    def test_old_content_goes_with_the_next_revision(self, couchdb: Documents) -> None:
        storage = couchdb.make(allow_overwrite=True)
        for content in (b"first", b"second"):
            storage.save("a.txt", ContentFile(content))
        document = couchdb.server.document(couchdb.place, "a.txt")
        assert list(document["_attachments"]) == [document["attachment"]]
        assert document["size"] == 6

    def test_delete_of_a_file_that_is_replaced_meanwhile(
        self, couchdb: Documents, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        storage = couchdb.make()
        storage.save("a.txt", ContentFile(b"first"))
        look = CouchDBStorage._document
        replaced: list[str] = []

        def look_and_replace(self: Any, name: str, revision: str = "") -> Any:
            document = look(self, name, revision)
            if not replaced:
                replaced.append(name)
                couchdb.make(allow_overwrite=True).save(name, ContentFile(b"second"))
            return document

        monkeypatch.setattr(CouchDBStorage, "_document", look_and_replace)
        storage.delete("a.txt")
        assert replaced == ["a.txt"]
        assert couchdb.names == []

    def test_content_that_is_not_as_long_as_it_says_leaves_nothing(self, couchdb: Documents) -> None:
        content = ContentFile(b"content")
        content.size = 100
        storage = couchdb.make()
        with pytest.raises(OSError, match="not as long as it says"):
            storage.save("a.txt", content)
        assert not storage.exists("a.txt")
        assert storage.listdir("") == ([], [])

    def test_database_that_is_not_there_is_a_permanent_failure_and_no_missing_file(
        self, couchdb: Documents
    ) -> None:
        storage = couchdb.make(database="nowhere")
        for call in (storage.exists, storage.open, storage.delete, storage.listdir):
            with pytest.raises(CouchDBError) as caught:
                call("a.txt")
            assert traits.is_permanent(caught.value)
            assert not traits.is_missing(caught.value)
        with pytest.raises(CouchDBError):
            storage.save("a.txt", ContentFile(b""))

    def test_wrong_login_is_a_permanent_failure(self, couchdb: Documents) -> None:
        with pytest.raises(CouchDBError) as caught:
            couchdb.make(password="wrong").save("a.txt", ContentFile(b""))
        assert traits.is_permanent(caught.value)

    def test_content_that_went_while_it_is_read(self, couchdb: Documents) -> None:
        storage = couchdb.make()
        storage.save("a.txt", ContentFile(b"content"))
        with storage.open("a.txt") as file:
            server = couchdb.server
            document = server.document(couchdb.place, "a.txt")
            server.ask("DELETE", couchdb.place)
            server.ask("PUT", couchdb.place)
            assert document["attachment"]
            with pytest.raises(OSError, match="replaced, deleted"):
                file.read()

    def test_server_without_ranges_is_asked_once_for_many_seeks(
        self, couchdb: Documents, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        storage, content = couchdb.make(), bytes(range(256)) * 8000
        storage.save("a.bin", ContentFile(content))
        asked: list[int] = []
        request = module.AttachmentStream._request

        def counted(self: Any) -> None:
            asked.append(self.tell())
            request(self)

        monkeypatch.setattr(module.AttachmentStream, "_request", counted)
        with storage.open("a.bin") as file:
            for start in (1_000_000, 5, 2_000_000, 300_000):
                file.seek(start)
                assert file.read(10) == content[start : start + 10]
        assert asked == [1_000_000]


class Attachment(http.server.BaseHTTPRequestHandler):
    """CouchDB as it is beyond the emulator: it knows ranges, and sends what it has compressed without a length."""

    protocol_version = "HTTP/1.1"
    content = bytes(range(256)) * 4000
    knows_ranges = True

    def do_GET(self) -> None:
        if self.path.endswith("/a.bin"):
            self.answer(200, self.document())
            return
        self.server.asked.append(self.headers.get("Range"))  # type: ignore[attr-defined]
        if self.knows_ranges and (asked := self.headers.get("Range")):
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            told = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
            self.answer(206, self.content[start:], ("Content-Range", told))
        elif self.knows_ranges:
            self.answer(200, self.content)
        else:
            self.send_chunked(self.content)

    def document(self) -> bytes:
        stub = {"content_type": "application/octet-stream", "length": len(self.content), "stub": True}
        return json.dumps({"_id": "a.bin", "_rev": "1-a", "_attachments": {"content": stub}}).encode()

    def answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(body)
        except ConnectionError:
            self.close_connection = True  # the client has enough

    def send_chunked(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for start in range(0, len(body), 10_000):
                part = body[start : start + 10_000]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """The test tells what went wrong."""


class Unranged(Attachment):
    knows_ranges = False


class Redirecting(Attachment):
    def do_GET(self) -> None:
        self.answer(302, b"", ("Location", "/elsewhere"))


class Truncating(Attachment):
    def send_header(self, keyword: str, value: str) -> None:
        super().send_header(keyword, value)
        if keyword == "Content-Length" and int(value) > 1000:
            self.close_connection = True

    def answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        if len(body) < 1000:
            super().answer(status, body, *headers)
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:500_000])


@contextmanager
def couch_like(handler: type[Attachment]) -> Iterator[tuple[CouchDBStorage, list[str | None]]]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield CouchDBStorage(f"http://127.0.0.1:{server.server_address[1]}", "media"), server.asked  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@servers
class TestRanges:
    def test_server_that_knows_ranges_is_asked_for_them(self) -> None:
        with couch_like(Attachment) as (storage, asked), storage.open("a.bin") as file:
            file.seek(700_000)
            assert file.read(10) == Attachment.content[700_000:700_010]
            file.seek(10)
            assert file.read() == Attachment.content[10:]
        assert asked == ["bytes=700000-", "bytes=10-"]

    def test_what_comes_without_a_length_is_read_whole(self) -> None:
        with couch_like(Unranged) as (storage, _), storage.open("a.bin") as file:
            assert file.read() == Attachment.content
            file.seek(900_000)
            assert file.read() == Attachment.content[900_000:]

    def test_answer_that_breaks_off_is_an_outage_and_no_short_file(self) -> None:
        with couch_like(Truncating) as (storage, _), storage.open("a.bin") as file:
            with pytest.raises(OSError) as caught:
                file.read()
            assert traits.is_outage(caught.value)

    def test_redirect_is_an_error(self) -> None:
        with couch_like(Redirecting) as (storage, _), pytest.raises(CouchDBError, match="302"):
            storage.exists("a.bin")


@servers
def test_content_is_sent_again_where_the_document_changed_meanwhile(
    couchdb: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = couchdb.make(allow_overwrite=True)
    storage.save("a.txt", ContentFile(b"old"))
    attach = CouchDBStorage._attach
    turns: list[str] = []

    def attach_late(self: Any, name: str, *arguments: Any) -> Any:
        if not turns:
            turns.append(name)
            couchdb.make(allow_overwrite=True).save(name, ContentFile(b"other"))
        return attach(self, name, *arguments)

    monkeypatch.setattr(CouchDBStorage, "_attach", attach_late)
    reading = iter([b"new ", b"content", b""])
    content = File(type("Pipe", (), {"read": lambda *_: next(reading), "closed": False})(), "a.txt")
    assert storage.save("a.txt", content) == "a.txt"
    assert couchdb.read("a.txt") == b"new content"
