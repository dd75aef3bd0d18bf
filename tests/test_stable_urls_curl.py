"""Stable URLs as ``curl`` sees them, from Django and through nginx, while the file moves from a disk to S3."""

from __future__ import annotations

import hashlib
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import include, path
from django.utils import timezone

from queued_storage.models import StoredFile
from queued_storage.storage import TieredStorage
from queued_storage.testing import run_owed_work

from tests.support import recording, web_servers
from tests.support.waiting import wait_until
from tests.test_stable_urls_http import answering

CURL = shutil.which("curl")
NGINX = pytest.mark.skipif(web_servers.PROGRAM is None, reason="nginx is not installed (install.sh)")
pytestmark = [
    pytest.mark.servers,
    pytest.mark.storages,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CURL is None, reason="curl is not installed"),
]

urlpatterns = [path("files/", include("queued_storage.urls"))]
#: More than the buffers between server and client hold.
CONTENT = random.Random(7).randbytes(8_000_001)
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
    wait_until(lambda: not answering(), "the server's threads have ended")


@pytest.fixture(params=["django", pytest.param("nginx", marks=NGINX)])
def by(request: pytest.FixtureRequest) -> str:
    """Who sends files that lie on the disk."""
    name: str = request.param
    return name


@pytest.fixture
def storage(make_chain: Any, settings: Any, moto_s3: Any, by: str) -> TieredStorage:
    make_chain({"disk": "disk", "s3": moto_s3.tier()}, "transfer-and-delete")
    have(settings, URLS="stable", SERVE={"django": "stream", "nginx": "x-accel-redirect"}[by])
    made = TieredStorage("media")
    assert made.save(NAME, SimpleUploadedFile("1.png", CONTENT, content_type="image/png")) == NAME
    return made


def have(settings: Any, **options: Any) -> None:
    chain = settings.QUEUED_STORAGE_TIERS["media"] | options
    settings.QUEUED_STORAGE_TIERS = settings.QUEUED_STORAGE_TIERS | {"media": chain}


@pytest.fixture
def server(storage: TieredStorage, live_server: Any, tmp_path: Path, by: str) -> Iterator[str]:
    if by == "django":
        yield live_server.url
        return
    instead = {"127.0.0.1:8000": urlsplit(live_server.url).netloc, "/srv/media/": f"{tmp_path}/disk/"}
    with web_servers.nginx(
        tmp_path / "nginx", web_servers.documented("howto/stable-urls.rst"), instead
    ) as port:
        yield f"http://127.0.0.1:{port}"


def curl(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command(*arguments), capture_output=True, check=False, timeout=100)


def command(*arguments: str) -> list[str]:
    return [str(CURL), "--disable", "--silent", "--show-error", "--globoff", "--noproxy", "*", *arguments]


def told(*arguments: str) -> tuple[int, dict[str, str], bytes]:
    """Return the status, the headers and the body of the answer."""
    head, _, body = curl("--include", *arguments).stdout.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(re.split(r":\s*", line, maxsplit=1) for line in lines)
    return int(status.split()[1]), {name.lower(): value for name, value in headers.items()}, body


def move(storage: TieredStorage) -> None:
    run_owed_work()
    assert storage.tiers(NAME) == ["s3"]
    assert not storage.chain.first.storage.exists(NAME)


def test_every_range_is_right_before_and_after_the_move(storage: TieredStorage, server: str) -> None:
    url, size, draw = server + storage.url(NAME), len(CONTENT), random.Random(8)
    for has_moved in (False, True):
        if has_moved:
            move(storage)
        ends = [sorted(draw.sample(range(size), 2)) for _ in range(5)]
        wanted = {f"{start}-{end}": CONTENT[start : end + 1] for start, end in ends}
        wanted |= {"0-0": CONTENT[:1], "-5": CONTENT[-5:], f"{size - 7}-": CONTENT[-7:]}
        for asked, part in wanted.items():
            status, headers, body = told("--range", asked, url)
            assert (status, headers["content-length"], body == part) == (206, str(len(part)), True), asked
            assert headers["content-range"].endswith(f"/{size}")


def test_download_that_broke_off_is_resumed_after_the_move(
    storage: TieredStorage, server: str, tmp_path: Path
) -> None:
    url, file = server + storage.url(NAME), tmp_path / "download"
    assert curl("--range", "0-2999999", "--output", str(file), url).returncode == 0
    move(storage)
    assert curl("--continue-at", "-", "--output", str(file), url).returncode == 0
    assert file.read_bytes() == CONTENT


@pytest.mark.parametrize("asked", ["0-", "1000000-7999999"])
def test_download_under_way_gets_every_byte(storage: TieredStorage, server: str, asked: str) -> None:
    start, _, end = asked.partition("-")
    # It can go on only when its pipe is read from.
    with subprocess.Popen(
        command("--range", asked, server + storage.url(NAME)), stdout=subprocess.PIPE
    ) as begun:
        assert begun.stdout is not None
        first = begun.stdout.read(1)
        move(storage)
        body = first + begun.stdout.read()
    assert begun.returncode == 0
    assert body == CONTENT[int(start) : int(end) + 1 if end else None]


@pytest.mark.parametrize("has_moved", [False, True], ids=["on-disk", "on-s3"])
def test_head_and_conditions(storage: TieredStorage, server: str, tmp_path: Path, *, has_moved: bool) -> None:
    if has_moved:
        move(storage)
    else:  # what the catalog else knows from the first copy on
        StoredFile.objects.update(digest=hashlib.sha256(CONTENT).hexdigest())
    url, kept = server + storage.url(NAME), tmp_path / "etag"
    status, known, body = told("--head", url)
    assert (status, known["content-length"], known["content-type"]) == (200, str(len(CONTENT)), "image/png")
    assert (known["accept-ranges"], body) == ("bytes", b"")
    assert curl("--etag-save", str(kept), "--output", str(tmp_path / "first"), url).returncode == 0
    assert (tmp_path / "first").read_bytes() == CONTENT
    etag = kept.read_text().strip()
    assert etag == known["etag"]
    assert hashlib.sha256(CONTENT).hexdigest()[:16] in etag
    assert told("--etag-compare", str(kept), url)[0] == 304
    assert told("--header", f"If-Modified-Since: {known['last-modified']}", url)[0] == 304
    status, _, body = told("--header", f"If-Range: {etag}", "--range", "5-9", url)
    assert (status, body) == (206, CONTENT[5:10])
    status, _, body = told("--header", 'If-Range: "other"', "--range", "5-9", url)
    assert (status, body == CONTENT) == (200, True)
    assert told("--header", 'If-Match: "other"', url)[0] == 412
    assert told("--range", f"{len(CONTENT)}-", url)[0] == 416


def test_signed_link_opens_the_file_until_its_end(
    storage: TieredStorage, server: str, settings: Any, time_machine: Any
) -> None:
    have(settings, PRIVATE=True)
    storage = TieredStorage("media")
    url = server + storage.stable_url(NAME, timedelta(hours=1))
    assert told(url)[2] == CONTENT
    assert told(url.partition("?")[0])[0] == 403
    assert told(url.replace("=3600", "=9999"))[0] == 403
    move(storage)
    assert told("--range", "-9", url)[2] == CONTENT[-9:]
    time_machine.move_to(timezone.now() + timedelta(hours=1, seconds=1))
    for method in ("--get", "--head"):
        assert told(method, url)[0] == 410
