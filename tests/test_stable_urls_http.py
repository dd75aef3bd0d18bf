"""Stable URLs over real connections: downloads, ranges and web servers, while the file moves."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import include, path

from queued_storage import views
from queued_storage.models import StoredFile
from queued_storage.storage import TieredStorage
from queued_storage.testing import run_owed_work

from tests.support import recording, web_servers
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.servers, pytest.mark.django_db(transaction=True)]

urlpatterns = [path("files/", include("queued_storage.urls"))]
#: More than the buffers between server and client hold.
CONTENT = random.Random(6).randbytes(8_000_001)
NAME = "in/ü 1%.png"


@pytest.fixture(scope="session", autouse=True)
def _database_before_server(django_db_setup: None) -> None:
    """The server would share this thread's connection with a database in memory, which there is until that."""


@pytest.fixture(autouse=True)
def _here(settings: Any) -> Iterator[None]:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = []
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH
    yield
    # Those that still have a connection to the database would keep it from being dropped.
    wait_until(lambda: not answering(), "the server's threads have ended")


def answering() -> list[str]:
    """Return the names of the threads in which the server answers requests."""
    return [thread.name for thread in threading.enumerate() if "process_request_thread" in thread.name]


@pytest.fixture
def storage(make_chain: Any, settings: Any, request: pytest.FixtureRequest) -> TieredStorage:
    """A disk above an S3 server, or above what the test gives, with one file."""
    tiers = getattr(request, "param", None) or {
        "disk": "disk",
        "s3": request.getfixturevalue("moto_s3").tier(),
    }
    make_chain(tiers, "transfer-and-delete")
    chain = settings.QUEUED_STORAGE_TIERS["media"] | {"URLS": "stable", "SERVE": "stream"}
    settings.QUEUED_STORAGE_TIERS = settings.QUEUED_STORAGE_TIERS | {"media": chain}
    made = TieredStorage("media")
    assert made.save(NAME, SimpleUploadedFile("1.png", CONTENT, content_type="image/png")) == NAME
    return made


@contextmanager
def asked(server: str, url: str, method: str = "GET", **headers: str) -> Iterator[HTTPResponse]:
    with closing(HTTPConnection(urlsplit(server).netloc, timeout=60)) as connection:
        connection.request(
            method, url, headers={name.replace("_", "-"): each for name, each in headers.items()}
        )
        yield connection.getresponse()


def know_its_digest() -> None:
    """Have the catalog know what it else knows from the first copy on."""
    StoredFile.objects.update(digest=hashlib.sha256(CONTENT).hexdigest())


def test_ranges_before_during_and_after_a_move_make_the_file(
    storage: TieredStorage, live_server: Any
) -> None:
    url = storage.url(NAME)
    with asked(live_server.url, url, Range="bytes=0-999999") as response:
        parts = [response.read()]
    with asked(live_server.url, url, Range="bytes=1000000-1999999") as response:
        parts.append(response.read(1000))
        run_owed_work()
        assert storage.tiers(NAME) == ["s3"]
        parts.append(response.read())
        assert response.status == 206
    with asked(live_server.url, url, Range="bytes=2000000-") as response:
        parts.append(response.read())
        assert response.headers["Content-Range"] == f"bytes 2000000-8000000/{len(CONTENT)}"
    assert b"".join(parts) == CONTENT


def test_download_of_the_whole_goes_on_while_the_file_moves(storage: TieredStorage, live_server: Any) -> None:
    with asked(live_server.url, storage.url(NAME)) as response:
        first = response.read(1)
        run_owed_work()
        assert not storage.chain.first.storage.exists(NAME)
        assert first + response.read() == CONTENT


def test_head_and_the_rest_on_s3(storage: TieredStorage, live_server: Any) -> None:
    run_owed_work()
    url = storage.url(NAME)
    with asked(live_server.url, url, "HEAD") as response:
        assert (response.headers["Content-Length"], response.read()) == (str(len(CONTENT)), b"")
        etag = response.headers["ETag"]
    with asked(live_server.url, url, If_None_Match=etag) as response:
        assert (response.status, response.read()) == (304, b"")
    with asked(live_server.url, url, Range="bytes=-5", If_Range=etag) as response:
        assert (response.status, response.read()) == (206, CONTENT[-5:])


@pytest.mark.storages
@pytest.mark.skipif(web_servers.PROGRAM is None, reason="nginx is not installed (tests/storages/install.sh)")
@pytest.mark.parametrize("storage", [{"disk": "disk", "vault": "memory"}], indirect=True)
class TestNginx:
    @pytest.fixture
    def server(
        self, storage: TieredStorage, settings: Any, live_server: Any, tmp_path: Path
    ) -> Iterator[str]:
        chain = settings.QUEUED_STORAGE_TIERS["media"] | {"SERVE": "x-accel-redirect"}
        settings.QUEUED_STORAGE_TIERS = settings.QUEUED_STORAGE_TIERS | {"media": chain}
        instead = {"127.0.0.1:8000": urlsplit(live_server.url).netloc, "/srv/media/": f"{tmp_path}/disk/"}
        locations = web_servers.documented("howto/stable-urls.rst")
        with web_servers.nginx(tmp_path / "nginx", locations, instead) as port:
            yield f"http://127.0.0.1:{port}"

    @pytest.fixture
    def streamed(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The names of files that Django sends itself."""
        names: list[str] = []
        real = views._Answer._streamed

        def noted(self: Any) -> Any:
            names.append(self.name)
            return real(self)

        monkeypatch.setattr(views._Answer, "_streamed", noted)
        return names

    def test_sends_the_file_with_what_django_says_of_it(
        self, storage: TieredStorage, server: str, streamed: list[str]
    ) -> None:
        url = storage.url(NAME)
        with asked(server, url) as response:
            assert response.read() == CONTENT
        headers = response.headers
        assert (headers["Content-Type"], headers["Accept-Ranges"]) == ("image/png", "bytes")
        assert headers["Content-Disposition"] == "inline; filename*=utf-8''%C3%BC%201%25.png"
        assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == (
            "nosniff",
            "no-cache, max-age=0",
        )
        assert "sandbox" in headers["Content-Security-Policy"]
        assert "X-Accel-Redirect" not in headers
        with asked(server, url, "HEAD") as response:
            assert (response.headers["Content-Length"], response.read()) == (str(len(CONTENT)), b"")
        assert streamed == []

    def test_ranges_go_on_after_a_move(
        self, storage: TieredStorage, server: str, streamed: list[str]
    ) -> None:
        url, chain = storage.url(NAME), storage.chain
        know_its_digest()
        with asked(server, url, Range="bytes=0-1999999") as response:
            begun = response.read()
            etag = response.headers["ETag"]
        assert (response.status, streamed) == (206, [])
        run_owed_work()
        assert not chain.first.storage.exists(NAME)
        with asked(server, url, Range="bytes=2000000-", If_Range=etag) as response:
            assert begun + response.read() == CONTENT
        assert (response.status, streamed) == (206, [NAME])

    def test_conditions(self, storage: TieredStorage, server: str, streamed: list[str]) -> None:
        url = storage.url(NAME)
        know_its_digest()
        with asked(server, url, "HEAD") as response:
            known = response.headers
        for sent in ({"If_None_Match": known["ETag"]}, {"If_Modified_Since": known["Last-Modified"]}):
            with asked(server, url, **sent) as response:
                assert response.status == 304
        with asked(server, url, Range="bytes=5-9", If_Range=known["ETag"]) as response:
            assert (response.status, response.read()) == (206, CONTENT[5:10])
        with asked(server, url, Range="bytes=5-9", If_Range='"other"') as response:
            assert (response.status, response.read()) == (200, CONTENT)
        with asked(server, url, Range=f"bytes={len(CONTENT)}-") as response:
            assert (response.status, response.headers["Content-Range"]) == (416, f"bytes */{len(CONTENT)}")
        assert streamed == []

    def test_file_that_moves_between_django_and_nginx_is_sent(
        self, storage: TieredStorage, server: str, streamed: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = views._Answer._handed_over

        def moved_on(self: Any, mode: Any) -> Any:
            response = real(self, mode)
            run_owed_work()
            return response

        monkeypatch.setattr(views._Answer, "_handed_over", moved_on)
        with asked(server, storage.url(NAME)) as response:
            assert (response.status, response.read()) == (200, CONTENT)
        assert streamed == [NAME]

    def test_nobody_reaches_the_files_past_django(self, storage: TieredStorage, server: str) -> None:
        storage.save("plain.bin", ContentFile(CONTENT))
        for url in ("/protected/media/disk/plain.bin", "/files/media/missing.bin"):
            with asked(server, url) as response:
                assert response.status == 404
