"""One URL for life: what ``queued_storage.urls`` answers, wherever the file lies."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from asgiref.sync import sync_to_async
from django.core import checks
from django.core.files.base import ContentFile, File
from django.core.files.storage import InMemoryStorage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.handlers.base import BaseHandler
from django.core.signals import request_finished
from django.db import close_old_connections, connections
from django.http import StreamingHttpResponse
from django.test import AsyncClient, Client
from django.urls import include, path, resolve
from django.utils.http import http_date, parse_http_date

from queued_storage import outage, serving
from queued_storage.chain import chains
from queued_storage.exceptions import ConfigurationError
from queued_storage.models import StoredFile
from queued_storage.storage import TieredStorage
from queued_storage.testing import run_owed_work

from tests.support import faulty, recording
from tests.support.storages import SharedMemoryStorage

pytestmark = pytest.mark.django_db

urlpatterns = [path("files/", include("queued_storage.urls"))]
CONTENT = bytes(range(256)) * 1200  # more than two chunks
DIGEST = hashlib.sha256(CONTENT).hexdigest()
LONG_AGO = "Sat, 01 Jan 2000 00:00:00 GMT"


@pytest.fixture(autouse=True)
def _here(settings: Any) -> Any:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = []
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH
    yield
    faulty.forget_all()
    outage.forget()


@pytest.fixture
def serve(make_chain: Any, settings: Any) -> Any:
    """Make the chain "media" with stable URLs, streamed unless the options say otherwise."""

    def make(
        tiers: Any = ("disk", "vault"), policy: str | None = "transfer-and-delete", **options: Any
    ) -> TieredStorage:
        make_chain(tiers, policy)
        chain = settings.QUEUED_STORAGE_TIERS["media"] | {"URLS": "stable", "SERVE": "stream"} | options
        settings.QUEUED_STORAGE_TIERS = settings.QUEUED_STORAGE_TIERS | {"media": chain}
        return TieredStorage("media")

    return make


@pytest.fixture
def storage(serve: Any) -> TieredStorage:
    made: TieredStorage = serve()
    return made


def overwriting(folder: Path) -> dict[str, Any]:
    """A disk on which a save keeps a name that is taken."""
    options = {"location": str(folder / "first"), "allow_overwrite": True}
    return {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": options}


def save(storage: TieredStorage, name: str = "a.bin", content: bytes = CONTENT, kind: str = "") -> str:
    return storage.save(name, SimpleUploadedFile(name, content, content_type=kind))


def get(url: str = "/files/media/a.bin", method: str = "GET", **headers: str) -> Any:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return Client(headers=sent).generic(method, url)


def body(response: Any) -> bytes:
    content: bytes = response.getvalue()
    return content


def end(response: Any) -> None:
    """Close it as a server does whose client has gone; the test's own connection stays."""
    request_finished.disconnect(close_old_connections)
    try:
        response.close()
    finally:
        request_finished.connect(close_old_connections)


def row(name: str = "a.bin") -> StoredFile:
    return StoredFile.objects.get(name=name)


class TestUrl:
    def test_stays_the_same_when_the_file_moves(self, storage: TieredStorage) -> None:
        name = save(storage)
        before = storage.url(name)
        assert (storage.tier(name), body(get(before))) == ("disk", CONTENT)
        run_owed_work()
        assert (storage.tier(name), body(get(before))) == ("vault", CONTENT)
        assert storage.url(name) == before == "/files/media/a.bin"

    @pytest.mark.parametrize(
        "name",
        [
            "fünf/Ωmega 漢字.bin", "e\u0301.bin", "100%25.bin", "what?.bin", "a#b.bin", "a+b;c=d&e.bin", "a'b\"c.bin",
            "line\nbreak.bin", "😀.bin", "a:b@c.bin", "~tilde!.bin", " leading.bin", "(1) [2].bin", "a|b^c`d.bin",
            "%2e%2e.bin", "data:text,x.bin",
        ],
        ids=ascii,
    )  # fmt: skip
    def test_serves_any_name(self, storage: TieredStorage, name: str) -> None:
        url = storage.url(
            save(storage, "x.bin") if name == "x.bin" else storage.save(name, ContentFile(CONTENT))
        )
        assert url.isascii()
        response = get(url)
        assert response.status_code == 200
        assert body(response) == CONTENT

    def test_file_on_the_first_tier_costs_no_query(
        self, storage: TieredStorage, django_assert_num_queries: Any
    ) -> None:
        name = save(storage)
        with django_assert_num_queries(0):
            storage.url(name)
        run_owed_work()
        with django_assert_num_queries(1):
            storage.url(name)

    def test_of_a_missing_file_is_an_error(self, storage: TieredStorage) -> None:
        with pytest.raises(FileNotFoundError):
            storage.url("missing.bin")

    def test_is_told_while_all_tiers_are_down(self, serve: Any) -> None:
        storage = serve({"near": faulty.tier("near"), "far": faulty.tier("far")}, "transfer")
        name = save(storage)
        faulty.bucket("near").go_down()
        assert storage.url(name) == "/files/media/a.bin"

    def test_is_the_tiers_own_unless_the_chain_says_so(self, make_chain: Any) -> None:
        storage = make_chain()
        name = save(storage)
        assert storage.url(name) == "/disk/a.bin"
        with pytest.raises(ConfigurationError, match='Write "URLS": "stable" into it'):
            storage.stable_url(name)

    def test_without_the_include_says_what_to_write(self, storage: TieredStorage, settings: Any) -> None:
        name = save(storage)
        settings.ROOT_URLCONF = "tests.urls"
        with pytest.raises(ConfigurationError, match=r'path\("files/", include\("queued_storage.urls"\)\)'):
            storage.url(name)

    def test_without_the_include_is_told_by_the_check(self, storage: TieredStorage, settings: Any) -> None:
        assert checks.run_checks(tags=["queued_storage"]) == []
        settings.ROOT_URLCONF = "tests.urls"
        (message,) = checks.run_checks(tags=["queued_storage"])
        assert message.id == "queued_storage.E010"
        assert "QUEUED_STORAGE_TIERS['media']['URLS']" in message.msg


class TestWhole:
    def test_has_its_size_and_type(self, storage: TieredStorage) -> None:
        save(storage, "a.txt", kind="text/plain")
        response = get("/files/media/a.txt")
        assert body(response) == CONTENT
        assert response["Content-Length"] == str(len(CONTENT))
        assert response["Content-Type"] == "text/plain"
        assert response["Accept-Ranges"] == "bytes"
        assert response["Cache-Control"] == "no-cache, max-age=0"

    def test_empty_file_is_served(self, storage: TieredStorage) -> None:
        save(storage, content=b"")
        response = get(range="bytes=-5")
        assert (response.status_code, body(response), response["Content-Length"]) == (200, b"", "0")

    def test_head_has_the_headers_alone(self, storage: TieredStorage) -> None:
        save(storage)
        run_owed_work()
        whole, head = get(), get(method="HEAD", range="bytes=0-9")
        assert dict(head.headers) == dict(whole.headers)
        assert (head.status_code, head.content) == (200, b"")
        end(whole)

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
    def test_nothing_else_is_allowed(self, storage: TieredStorage, method: str) -> None:
        save(storage)
        assert get(method=method).status_code == 405

    def test_chain_without_catalog(self, serve: Any) -> None:
        storage = serve(policy=None)
        storage.chain["vault"].storage.save("a.bin", ContentFile(CONTENT))
        response = get(storage.url("a.bin"))
        assert body(response) == CONTENT
        assert get(if_none_match=response["ETag"]).status_code == 304
        modified = parse_http_date(response["Last-Modified"])
        assert get(if_modified_since=http_date(modified + 1)).status_code == 304
        assert body(get(if_modified_since=http_date(modified))) == CONTENT

    @pytest.mark.parametrize("policy", [None, "transfer-and-delete"])
    def test_part_of_a_file_that_the_catalog_does_not_know_is_not_gone_on_with(
        self, serve: Any, policy: str | None
    ) -> None:
        """Another content may have the same time: of a file system, that of the whole second."""
        storage = serve(policy=policy)
        path = Path(storage.chain["vault"].storage.path("a.bin"))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"AAAAAAAA")
        os.utime(path, (1_000_000_000, 1_000_000_000))
        date = get(method="HEAD")["Last-Modified"]
        path.write_bytes(b"BBBBBBBB")
        os.utime(path, (1_000_000_000.5, 1_000_000_000.5))
        response = get(range="bytes=4-", if_range=date)
        assert (response["Last-Modified"], response.status_code, body(response)) == (date, 200, b"BBBBBBBB")

    def test_file_that_the_catalog_does_not_know(self, storage: TieredStorage) -> None:
        storage.chain["vault"].storage.save("a.bin", ContentFile(CONTENT))
        assert body(get()) == CONTENT

    def test_storage_that_knows_no_times(self, serve: Any) -> None:
        serve({"timeless": {"BACKEND": f"{__name__}.Timeless"}}, None).save("a.bin", ContentFile(CONTENT))
        response = get(if_modified_since=LONG_AGO)
        assert body(response) == CONTENT
        assert "Last-Modified" not in response


class Timeless(InMemoryStorage):
    def get_modified_time(self, name: str) -> datetime:
        raise NotImplementedError


END = len(CONTENT)


class TestRanges:
    @pytest.mark.parametrize(
        ("asked", "start", "stop"),
        [
            ("bytes=0-0", 0, 1), ("bytes=0-", 0, END), ("bytes=5-9", 5, 10), ("bytes=-7", END - 7, END),
            (f"bytes={END - 1}-", END - 1, END), (f"bytes=10-{END * 2}", 10, END), (f"bytes=-{END * 2}", 0, END),
            ("bytes=131071-131073", 131071, 131074), ("Bytes = 3-4 ", 3, 5), ("bytes=000-0004", 0, 5),
            (f"bytes=0-{'9' * 5000}", 0, END),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize(
        "tiers",
        [("disk", "vault"), {"memory": "memory", "store": faulty.tier("store")}],
        ids=["disk", "store"],
    )
    def test_part(self, serve: Any, tiers: Any, asked: str, start: int, stop: int) -> None:
        save(serve(tiers))
        run_owed_work()
        response = get(range=asked)
        assert response.status_code == 206
        assert response["Content-Range"] == f"bytes {start}-{stop - 1}/{END}"
        assert response["Content-Length"] == str(stop - start)
        assert body(response) == CONTENT[start:stop]

    @pytest.mark.parametrize(
        "asked",
        [
            "", "bytes", "bytes=", "bytes=-", "bytes=9-5", "bytes=a-b", "lines=0-5", "bytes=0-1,5-6", "bytes=1-2-3",
            "bytes=٣-٤",
        ],
        ids=ascii,
    )  # fmt: skip
    def test_whole_file_answers_what_is_not_understood(self, storage: TieredStorage, asked: str) -> None:
        save(storage)
        response = get(range=asked)
        assert (response.status_code, body(response)) == (200, CONTENT)
        assert "Content-Range" not in response

    @pytest.mark.parametrize(
        "asked", [f"bytes={END}-", "bytes=-0", f"bytes={END}-{END + 5}", f"bytes={'9' * 5000}-"]
    )
    def test_beyond_the_end_is_refused_with_the_size(self, storage: TieredStorage, asked: str) -> None:
        save(storage)
        response = get(range=asked)
        assert (response.status_code, response["Content-Range"]) == (416, f"bytes */{END}")

    def test_is_not_compressed(self, storage: TieredStorage, settings: Any) -> None:
        settings.MIDDLEWARE = ["django.middleware.gzip.GZipMiddleware"]
        save(storage)
        assert body(get(range="bytes=0-999", accept_encoding="gzip")) == CONTENT[:1000]


class TestConditions:
    def test_etag_is_the_digest_once_there_is_one(self, storage: TieredStorage) -> None:
        save(storage)
        assert get(method="HEAD")["ETag"].startswith("W/")
        run_owed_work()
        assert get(method="HEAD")["ETag"] == f'"{DIGEST}"'

    def test_time_is_that_of_the_save_before_and_after_a_move(self, storage: TieredStorage) -> None:
        save(storage)
        StoredFile.objects.update(saved_at=datetime(2020, 5, 17, tzinfo=UTC))
        before = get(method="HEAD")["Last-Modified"]
        run_owed_work()
        assert before == get(method="HEAD")["Last-Modified"] == "Sun, 17 May 2020 00:00:00 GMT"

    def test_content_that_is_known_is_not_sent_again(self, storage: TieredStorage) -> None:
        save(storage)
        run_owed_work()
        head = get(method="HEAD")
        for known in (head["ETag"], f'"x", W/{head["ETag"]}', "*"):
            answer = get(if_none_match=known)
            assert (answer.status_code, answer.content, answer["ETag"]) == (304, b"", head["ETag"])
        assert get(if_modified_since=head["Last-Modified"]).status_code == 304
        assert get(method="HEAD", if_none_match=head["ETag"]).status_code == 304
        assert (
            get(method="HEAD", if_none_match='"x"', if_modified_since=head["Last-Modified"]).status_code
            == 200
        )
        assert get(method="HEAD", if_modified_since=LONG_AGO).status_code == 200

    def test_known_content_is_told_while_the_tiers_are_down(self, serve: Any) -> None:
        save(serve({"near": faulty.tier("near"), "far": faulty.tier("far")}))
        run_owed_work()
        faulty.bucket("near").go_down()
        faulty.bucket("far").go_down()
        assert get(if_none_match=f'"{DIGEST}"').status_code == 304

    def test_failed_precondition(self, storage: TieredStorage) -> None:
        save(storage)
        run_owed_work()
        assert get(if_match='"x"').status_code == 412
        assert get(method="HEAD", if_match=f'"{DIGEST}"').status_code == 200
        assert get(if_unmodified_since=LONG_AGO).status_code == 412

    def test_rest_of_the_same_content_is_sent(self, storage: TieredStorage) -> None:
        save(storage)
        run_owed_work()
        head = get(method="HEAD")
        for known in (head["ETag"], head["Last-Modified"]):
            response = get(range="bytes=100-", if_range=known)
            assert (response.status_code, body(response)) == (206, CONTENT[100:])

    @pytest.mark.parametrize("known", ['"x"', f'W/"{DIGEST}"', LONG_AGO, "nonsense", "", http_date(2**33)])
    def test_whole_file_is_sent_to_who_has_a_part_of_another(
        self, storage: TieredStorage, known: str
    ) -> None:
        save(storage)
        run_owed_work()
        response = get(range="bytes=100-", if_range=known)
        assert (response.status_code, body(response)) == (200, CONTENT)

    @pytest.mark.django_db(transaction=True, available_apps=["queued_storage"])
    def test_replaced_content_has_other_validators(self, serve: Any, tmp_path: Path) -> None:
        storage = serve({"first": overwriting(tmp_path), "vault": "disk"})
        save(storage)
        run_owed_work()
        before = get(method="HEAD")
        StoredFile.objects.update(saved_at=datetime.now(UTC))
        save(storage, content=CONTENT[::-1])
        date = get(method="HEAD")["Last-Modified"]
        for known in (before["ETag"], date, get(method="HEAD")["ETag"]):
            response = get(range="bytes=100-", if_range=known)
            assert (response.status_code, body(response)) == (200, CONTENT[::-1])
        assert get(method="HEAD", if_none_match=before["ETag"]).status_code == 200

    @pytest.mark.django_db(transaction=True, available_apps=["queued_storage"])
    def test_content_replaced_in_the_same_second_is_sent(self, serve: Any, tmp_path: Path) -> None:
        storage = serve({"first": overwriting(tmp_path), "vault": "disk"}, "transfer")
        save(storage)
        StoredFile.objects.update(saved_at=datetime(2020, 5, 17, 0, 0, 0, 100_000, tzinfo=UTC))
        date = get(method="HEAD")["Last-Modified"]
        assert get(if_modified_since=date).status_code == 304
        assert get(method="HEAD", if_unmodified_since=date).status_code == 200
        save(storage, content=CONTENT[::-1])
        StoredFile.objects.update(saved_at=datetime(2020, 5, 17, 0, 0, 0, 500_000, tzinfo=UTC))
        response = get(if_modified_since=date)
        assert (response["Last-Modified"], response.status_code, body(response)) == (date, 200, CONTENT[::-1])
        assert get(if_unmodified_since=date).status_code == 412
        later = http_date(parse_http_date(date) + 1)
        assert get(if_modified_since=later).status_code == 304
        assert get(method="HEAD", if_unmodified_since=later).status_code == 200

    def test_g4_object_store_that_overwrites_proves_nothing_of_parts(self, serve: Any) -> None:
        """Its new content is seen a moment before the row that has the new digest and time."""
        tier = {"BACKEND": "tests.support.storages.ObjectStore", "OPTIONS": {"bucket": "near"}}
        save(serve({"near": tier, "far": "disk"}))
        run_owed_work()
        head = get(method="HEAD")
        assert head["ETag"].startswith("W/")
        for known in (head["ETag"], head["Last-Modified"]):
            response = get(range="bytes=100-", if_range=known)
            assert (response.status_code, body(response)) == (200, CONTENT)

    def test_content_of_another_size_is_not_what_the_catalog_tells_of(self, storage: TieredStorage) -> None:
        save(storage)
        run_owed_work()
        Path(storage.path("a.bin")).write_bytes(b"written past the storage")
        response = get(range="bytes=8-", if_range=f'"{DIGEST}"')
        assert "ETag" not in response
        assert (response.status_code, body(response)) == (200, b"written past the storage")

    @pytest.mark.parametrize("moment", ["before", "after"])
    def test_content_replaced_while_opened_has_its_own_etag(
        self, serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
    ) -> None:
        storage = serve({"first": overwriting(tmp_path), "vault": "disk"}, "transfer")
        save(storage)
        run_owed_work()
        new, opened = CONTENT[::-1], []
        real = TieredStorage._open

        def replaced(self: TieredStorage, name: str, mode: str = "rb") -> Any:
            file = real(self, name, mode)
            if not opened:
                opened.append(save(self, content=new))
                run_owed_work()
                if moment == "before":
                    file.close()
                    file = real(self, name, mode)
            return file

        monkeypatch.setattr(TieredStorage, "_open", replaced)
        response = get()
        assert (body(response), response["ETag"]) == (new, f'"{hashlib.sha256(new).hexdigest()}"')


class TestSafety:
    @pytest.mark.parametrize(
        ("name", "kind", "shown"),
        [
            ("a.png", "image/png", True), ("a.jpg", "", True), ("a.txt", "text/plain; charset=utf-8", True),
            ("a.mp4", "video/mp4", True), ("a.mp3", "", True), ("a.pdf", "application/pdf", True),
            ("a.html", "text/html", False), ("a.htm", "", False), ("a.svg", "image/svg+xml", False),
            ("a.png", "TEXT/HTML; charset=utf-8", False), ("a.png", "image/svg+xml", False), ("a.xml", "", False),
            ("a.xhtml", "", False), ("a.mht", "multipart/related", False), ("a.swf", "", False), ("a", "", False),
            ("a.js", "", False), ("a.txt", "video/x+xml", False), ("a.txt", "text/plain, text/html", True),
        ],
    )  # fmt: skip
    def test_only_harmless_types_are_shown(
        self, storage: TieredStorage, name: str, kind: str, shown: bool
    ) -> None:
        save(storage, name, kind=kind)
        response = get(f"/files/media/{name}", method="HEAD")
        assert response["Content-Disposition"] == f'{"inline" if shown else "attachment"}; filename="{name}"'
        assert response["X-Content-Type-Options"] == "nosniff"
        if response["Content-Type"] != "application/pdf":
            assert "sandbox" in response["Content-Security-Policy"]

    @pytest.mark.parametrize(
        ("name", "kind", "served"),
        [
            ("a.bin", "image/png", "image/png"), ("a.png", "", "image/png"),
            ("a.unknown", "", "application/octet-stream"), ("a.svg", "", "image/svg+xml"),
            ("a.txt", "text/plain; charset=UTF-8; x=y", "text/plain; charset=utf-8"),
            ("a.js", "", "application/octet-stream"), ("a.png", "text/javascript1.5", "application/octet-stream"),
            ("a.png", "nonsense", "image/png"), ("a.png", "text/html\u00e9", "image/png"),
            ("a.tar.gz", "", "application/gzip"),
            ("a.css", "", "application/octet-stream"), ("a.png", "text/css", "application/octet-stream"),
        ],
    )  # fmt: skip
    def test_type_is_the_catalogs_else_the_names(
        self, storage: TieredStorage, name: str, kind: str, served: str
    ) -> None:
        save(storage, name)
        StoredFile.objects.update(content_type=kind)
        assert get(f"/files/media/{name}", method="HEAD")["Content-Type"] == served

    def test_type_with_a_line_break_adds_no_header(self, storage: TieredStorage) -> None:
        save(storage)
        StoredFile.objects.update(content_type="text/html\r\nSet-Cookie: a=b")
        response = get(method="HEAD")
        assert response["Content-Type"] == "application/octet-stream"

    @pytest.mark.parametrize(
        ("name", "told"),
        [
            ("in/plain name.png", 'filename="plain name.png"'), ('a"b\\.png', 'filename="a\\"b.png"'),
            ("naïve €.png", "filename*=utf-8''na%C3%AFve%20%E2%82%AC.png"), ("a\r\nb.png", 'filename="a__b.png"'),
        ],
    )  # fmt: skip
    def test_name_for_saving(self, storage: TieredStorage, name: str, told: str) -> None:
        name = storage.save(name.replace("\\", ""), ContentFile(CONTENT))
        assert get(storage.url(name), method="HEAD")["Content-Disposition"] == f"inline; {told}"


class TestAbsent:
    @pytest.mark.parametrize(
        "name",
        [
            "missing.bin", "../a.bin", "in/../a.bin", "./a.bin", "/etc/passwd", "//a.bin", "in//b.bin", "in", "in/",
            ".", "..", "a\0b", "a\\b", "y" * 300, "y/" * 600, "a.bin/b", f".{'0' * 32}.queued-storage", "a.bin/", "%ff",
        ],
        ids=lambda name: ascii(name[:12]),
    )  # fmt: skip
    @pytest.mark.parametrize("policy", [None, "transfer"])
    def test_name_that_is_no_files(self, serve: Any, tmp_path: Path, name: str, policy: str | None) -> None:
        storage = serve(policy=policy)
        for kept in ("a.bin", "in/b.bin"):
            storage.save(kept, ContentFile(CONTENT))
        (tmp_path / "disk" / f".{'0' * 32}.queued-storage").write_bytes(b"unfinished")
        assert get(f"/files/media/{quote(name)}").status_code == 404

    def test_deleted_file(self, storage: TieredStorage) -> None:
        name = save(storage)
        run_owed_work()
        storage.delete(name)
        assert get().status_code == 404

    @pytest.mark.parametrize("chain", ["nowhere", "plain", "queued-0", "..", "a b"])
    def test_chain_that_has_no_stable_urls(self, serve: Any, make_chain: Any, chain: str) -> None:
        serve()
        save(make_chain({"one": "disk", "two": "disk"}, alias="plain"))
        assert get(f"/files/{quote(chain)}/a.bin").status_code == 404


class TestDown:
    @pytest.fixture
    def storage(self, serve: Any) -> TieredStorage:
        made: TieredStorage = serve({"near": faulty.tier("near"), "far": faulty.tier("far")}, "transfer")
        return made

    @pytest.mark.parametrize("serve_by", ["stream", "redirect", "x-accel-redirect", "x-sendfile"])
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    @pytest.mark.parametrize("policy", ["transfer", None])
    def test_file_is_unavailable_not_missing(
        self, serve: Any, serve_by: str, method: str, policy: str | None, caplog: Any
    ) -> None:
        tiers = {"near": faulty.tier("near"), "far": faulty.tier("far")}
        save(serve(tiers, policy, SERVE=serve_by))
        faulty.bucket("near").go_down()
        faulty.bucket("far").go_down()
        response = get(method=method)
        assert (response.status_code, response["Retry-After"]) == (503, "30")
        assert "not_served chain=media name=a.bin error=" in caplog.text

    def test_other_tier_answers(self, storage: TieredStorage) -> None:
        save(storage)
        run_owed_work()
        faulty.bucket("near").go_down()
        assert body(get(range="bytes=7-")) == CONTENT[7:]

    def test_missing_file_is_unavailable_too_where_nobody_can_tell(self, storage: TieredStorage) -> None:
        faulty.bucket("near").go_down()
        assert get("/files/media/other.bin").status_code == 503


class TestPrivate:
    @pytest.fixture
    def storage(self, serve: Any) -> TieredStorage:
        storage: TieredStorage = serve(PRIVATE=True, LINK_LIFETIME="PT10M")
        save(storage)
        return storage

    def test_signed_url_opens_the_file(self, storage: TieredStorage) -> None:
        response = get(storage.url("a.bin"))
        assert body(response) == CONTENT
        assert response["Cache-Control"] == "private, no-cache, max-age=0"

    def test_is_signed_after_the_move_too(self, storage: TieredStorage) -> None:
        link = storage.url("a.bin")
        run_owed_work()
        assert body(get(link, range="bytes=-9")) == CONTENT[-9:]

    @pytest.mark.parametrize(
        "query",
        [
            "", "?signature=", "?signature=1:2:3", "?signature=x", "?signature=9999999999999999:a:b", "?signature=%00",
            "?signature=a%20/b:c:d",
        ],
    )  # fmt: skip
    def test_without_a_signature_nothing_is_told(self, storage: TieredStorage, query: str) -> None:
        for name in ("a.bin", "missing.bin", "../a.bin"):
            for method in ("GET", "HEAD"):
                assert get(f"/files/media/{name}{query}", method=method).status_code == 403

    def test_link_ends(self, storage: TieredStorage, time_machine: Any) -> None:
        now = datetime(2030, 1, 1, tzinfo=UTC)
        time_machine.move_to(now, tick=False)
        link, longer = storage.url("a.bin"), storage.stable_url("a.bin", timedelta(days=2))
        time_machine.move_to(now + timedelta(minutes=9, seconds=59), tick=False)
        assert get(link, method="HEAD").status_code == 200
        time_machine.move_to(now + timedelta(minutes=10, seconds=1), tick=False)
        assert get(link, method="HEAD").status_code == 410
        assert get(longer, method="HEAD").status_code == 200

    @pytest.mark.parametrize(
        "lifetime",
        [
            timedelta(0),
            timedelta(seconds=-5),
            timedelta(milliseconds=999),
            timedelta(days=36_501),
            timedelta.max,
        ],
    )
    def test_link_that_would_never_open_is_refused(self, storage: TieredStorage, lifetime: timedelta) -> None:
        with pytest.raises(ValueError, match="Give 1 second or more, and 36500 days at most"):
            storage.stable_url("a.bin", lifetime)

    @pytest.mark.parametrize("lifetime", [timedelta(seconds=1), timedelta(days=36_500)])
    def test_shortest_and_longest_link_open(
        self, storage: TieredStorage, lifetime: timedelta, time_machine: Any
    ) -> None:
        time_machine.move_to(datetime(2030, 1, 1, tzinfo=UTC), tick=False)
        assert get(storage.stable_url("a.bin", lifetime), method="HEAD").status_code == 200

    def test_end_cannot_be_put_off(self, storage: TieredStorage) -> None:
        assert get(storage.url("a.bin").replace("=600", "=900")).status_code == 403

    @pytest.mark.parametrize(
        ("signed", "asked"), [("b.bin", "a.bin"), ("a.bin:x", "a.bin"), ("a.bin/media/a.bin", "a.bin")]
    )
    def test_signature_is_of_one_file(
        self, storage: TieredStorage, signed: str, asked: str, settings: Any
    ) -> None:
        from queued_storage import links

        link = links.signed_url("media", signed, timedelta(hours=1))
        (signature,) = parse_qs(urlsplit(link).query)["signature"]
        seconds, _, stamp = signature.partition(":")
        tried = [
            signature,
            f"{seconds}:{signed.removeprefix(asked).lstrip(':')}:{stamp}",
            f"{seconds}/media/a.bin:{stamp}",
        ]
        for each in tried:
            assert get(f"/files/media/{asked}?signature={quote(each)}").status_code == 403

    def test_signature_is_of_one_chain(self, storage: TieredStorage, settings: Any, tmp_path: Path) -> None:
        from queued_storage import links

        (signature,) = parse_qs(urlsplit(links.signed_url("other", "a.bin", timedelta(hours=1))).query)[
            "signature"
        ]
        assert get(f"/files/media/a.bin?signature={quote(signature)}").status_code == 403

    def test_streams_unless_told_to_redirect(self, serve: Any) -> None:
        storage = serve(PRIVATE=True, SERVE=None)
        assert body(get(storage.url(save(storage)))) == CONTENT


class TestRedirect:
    def test_leads_to_the_tiers_own_url(self, serve: Any) -> None:
        storage = serve(SERVE="redirect")
        save(storage, "ü b.bin")
        response = get(storage.url("ü b.bin"))
        assert (response.status_code, response["Location"]) == (302, "/disk/%C3%BC%20b.bin")
        assert response["Cache-Control"] == "no-store"
        run_owed_work()
        assert get(storage.url("ü b.bin"))["Location"] == "/vault/%C3%BC%20b.bin"

    def test_is_what_is_done_by_default(self, serve: Any) -> None:
        save(serve(SERVE=None))
        assert get()["Location"] == "/disk/a.bin"

    def test_missing_file(self, serve: Any) -> None:
        serve(SERVE="redirect")
        assert get().status_code == 404

    @pytest.mark.parametrize(
        "url",
        [
            None, ValueError, NotImplementedError, "gs://bucket/a.bin", "javascript:alert(1)", "http://[x/a",
            pytest.param("https://store/" + "a" * 20_000, id="long"),
        ],
    )  # fmt: skip
    def test_file_without_a_url_for_browsers_is_streamed(
        self, serve: Any, url: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def told(self: Any, name: str) -> str:
            if isinstance(url, str):
                return url
            raise url or ValueError("This file is not accessible via a URL.")

        monkeypatch.setattr(SharedMemoryStorage, "url", told)
        save(serve({"first": "memory", "vault": "disk"}, SERVE="redirect"))
        assert body(get()) == CONTENT

    def test_tier_may_be_served_in_another_way(self, serve: Any, tmp_path: Path) -> None:
        tiers: dict[str, Any] = {
            name: {
                "BACKEND": "django.core.files.storage.FileSystemStorage",
                "OPTIONS": {"location": str(tmp_path / name), "base_url": f"/{name}/"},
            }
            for name in ("disk", "vault")
        }
        tiers["vault"]["SERVE"] = "redirect"
        save(serve(tiers, SERVE="x-accel-redirect"))
        assert get()["X-Accel-Redirect"] == "/protected/media/disk/a.bin"
        run_owed_work()
        assert get()["Location"] == "/vault/a.bin"


class TestHandedOver:
    def test_nginx_is_told_where(self, serve: Any) -> None:
        storage = serve(SERVE="x-accel-redirect")
        name = "in/ü %41?#.png"
        save(storage, name)
        name = storage.listdir("in")[1][0] if not storage.exists(name) else name
        response = get(storage.url("in/ü %41?#.png"))
        assert response["X-Accel-Redirect"] == "/protected/media/disk/in/%C3%BC%20%2541%3F%23.png"
        assert (response.status_code, response.content) == (200, b"")
        assert response["Content-Type"] == "image/png"
        run_owed_work()
        assert get(storage.url(name))["X-Accel-Redirect"].startswith("/protected/media/vault/in/")

    def test_prefix_is_a_setting(self, serve: Any) -> None:
        save(serve(SERVE="x-accel-redirect", ACCEL_PREFIX="/internal/files/"))
        assert get()["X-Accel-Redirect"] == "/internal/files/media/disk/a.bin"

    def test_apache_is_told_the_path(self, serve: Any, tmp_path: Path) -> None:
        storage = serve(SERVE="x-sendfile")
        save(storage, "ü.bin")
        assert get(storage.url("ü.bin"))["X-Sendfile"] == quote(f"{tmp_path}/disk/ü.bin")

    @pytest.mark.parametrize("by", ["x-accel-redirect", "x-sendfile"])
    def test_conditions_are_answered_here(self, serve: Any, by: str) -> None:
        save(serve(SERVE=by))
        run_owed_work()
        head = get(method="HEAD")
        assert head["ETag"] == f'"{DIGEST}"'
        answer = get(if_none_match=head["ETag"])
        assert answer.status_code == 304
        assert "X-Accel-Redirect" not in answer
        assert get(if_modified_since=head["Last-Modified"]).status_code == 304

    @pytest.mark.parametrize("by", ["x-accel-redirect", "x-sendfile"])
    def test_tier_without_paths_is_streamed(self, serve: Any, by: str) -> None:
        save(serve({"first": "memory", "far": faulty.tier("far")}, SERVE=by))
        assert body(get(range="bytes=3-")) == CONTENT[3:]
        run_owed_work()
        assert body(get(range="bytes=3-")) == CONTENT[3:]

    @pytest.mark.parametrize("by", ["x-accel-redirect", "x-sendfile"])
    def test_link_out_of_the_location_is_not_handed_over(self, serve: Any, by: str, tmp_path: Path) -> None:
        serve(policy=None, SERVE=by)
        (tmp_path / "secret").write_bytes(b"outside")
        (tmp_path / "disk").mkdir(exist_ok=True)
        os.symlink(tmp_path / "secret", tmp_path / "disk" / "a.bin")
        response = get()
        assert {"X-Accel-Redirect", "X-Sendfile"}.isdisjoint(response.headers)
        assert body(response) == b"outside"

    def test_missing_file(self, serve: Any) -> None:
        serve(SERVE="x-accel-redirect")
        assert get().status_code == 404


class TestUnderWay:
    """The download is begun before the file moves, and goes on after."""

    @pytest.mark.parametrize("lower", ["disk", "memory"])
    @pytest.mark.parametrize("asked", ["bytes=0-", "bytes=1000-", f"bytes=-{END - 5}", f"bytes=5-{END - 9}"])
    def test_every_byte_is_right(self, serve: Any, lower: str, asked: str) -> None:
        storage = serve({"first": "disk", "second": lower})
        save(storage)
        response = get(range=asked)
        received = [next(response.streaming_content)]
        run_owed_work()
        assert storage.tier("a.bin") == "second"
        assert not (storage.chain.first.storage.exists("a.bin"))
        received += response.streaming_content
        start, stop = (int(each) for each in response["Content-Range"].split()[1].split("/")[0].split("-"))
        assert b"".join(received) == CONTENT[start : stop + 1]
        end(response)

    def test_file_is_closed_with_the_response(
        self, storage: TieredStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = opened(monkeypatch)
        save(storage)
        for asked in (
            {},
            {"method": "HEAD"},
            {"range": "bytes=1-"},
            {"range": f"bytes={END}-"},
            {"if_none_match": "*"},
        ):
            end(get(**asked))
        assert len(files) == 4
        assert all(file.closed for file in files)

    def test_file_that_cannot_be_measured_is_closed(
        self, storage: TieredStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Replaced whenever it is opened, so that it is sent without what the catalog says."""
        save(storage)
        files, moments = opened(monkeypatch), iter(range(1_000))

        def facts(*_: Any) -> Any:
            return serving.Facts(etag=f'"{next(moments)}"')

        def broken(*_: Any) -> int:
            raise OSError(errno.EIO, "bad sector")

        monkeypatch.setattr(serving, "facts", facts)
        monkeypatch.setattr(File, "seek", broken, raising=False)
        with pytest.raises(OSError, match="bad sector"):
            serving.opened(storage, "a.bin")
        assert len(files) == serving.ATTEMPTS + 1
        assert all(file.closed for file in files)

    def test_memory_is_bounded(self, storage: TieredStorage) -> None:
        save(storage, content=bytes(24_000_000))
        response = get(range="bytes=10-")
        tracemalloc.start()
        received = sum(len(chunk) for chunk in response.streaming_content)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        end(response)
        assert received == 24_000_000 - 10
        assert peak < 3_000_000

    def test_file_that_ends_early_is_an_error(self, storage: TieredStorage) -> None:
        save(storage)
        response = get()
        os.truncate(storage.path("a.bin"), 200_000)
        with pytest.raises(OSError, match="ended before its size"):
            list(response.streaming_content)
        end(response)


def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list to which each file is added that is opened."""
    files: list[Any] = []
    real = TieredStorage.open

    def noted(self: TieredStorage, name: str, mode: str = "rb") -> Any:
        files.append(real(self, name, mode))
        return files[-1]

    monkeypatch.setattr(TieredStorage, "open", noted)
    return files


class TestAsgi:
    """Warnings are errors here: Django warns of a content that it has to read whole before it sends it."""

    def ask(self, read: Any, **headers: str) -> Any:
        async def asked() -> Any:
            response: Any = await AsyncClient().get("/files/media/a.bin", headers=headers)
            assert not isinstance(response, StreamingHttpResponse) or response.is_async
            content = await read(response)
            await sync_to_async(end)(response)
            return response, content

        return asyncio.run(asked())

    @pytest.mark.parametrize(
        "tiers", [("disk", "vault"), {"first": "memory", "far": faulty.tier("far")}], ids=["disk", "far"]
    )
    def test_part_is_streamed(self, serve: Any, tiers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        save(serve(tiers))
        run_owed_work()
        files = opened(monkeypatch)

        async def whole(response: Any) -> bytes:
            return b"".join([chunk async for chunk in response.streaming_content])

        response, content = self.ask(whole, Range="bytes=1000-")
        assert (response.status_code, content) == (206, CONTENT[1000:])
        assert all(file.closed or isinstance(file, ContentFile) for file in files)

    def test_file_is_closed_when_the_client_has_gone(
        self, storage: TieredStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save(storage)
        files = opened(monkeypatch)

        async def first(response: Any) -> bytes:
            return await anext(aiter(response.streaming_content))  # type: ignore[no-any-return]

        _, content = self.ask(first)
        assert content == CONTENT[: serving.CHUNK]
        assert [file.closed for file in files] == [True]


def test_no_request_is_one_transaction(settings: Any) -> None:
    """Whatever databases a project has: one query in it would hold a transaction while a file is sent."""
    view = resolve("/files/media/a.bin").func
    with pytest.MonkeyPatch.context() as patch:
        for alias in settings.DATABASES:
            patch.setitem(connections.settings[alias], "ATOMIC_REQUESTS", True)
        assert BaseHandler().make_view_atomic(view) is view


def test_chains_of_code_have_no_stable_urls() -> None:
    assert {chains[alias].config.URLS for alias in chains} == {"tier"}
