"""The view that serves files of a storage."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import InMemoryStorage, storages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import path

from queued_storage.contrib.storages.views import serve

pytestmark = pytest.mark.django_db

urlpatterns = [
    path("files/<path:path>", serve, {"storage": "database"}),
    path("disk/<path:path>", serve, {"storage": "disk"}),
    path("chain/<path:path>", serve, {"storage": "chain"}),
    path("timeless/<path:path>", serve, {"storage": "timeless"}),
]
CONTENT = b"<script>alert(1)</script>" * 20_000


@pytest.fixture(autouse=True)
def storage(settings: Any, tmp_path: Path) -> Any:
    database = {"BACKEND": "queued_storage.contrib.storages.database.DatabaseStorage"}
    settings.ROOT_URLCONF = __name__
    settings.STORAGES = settings.STORAGES | {"database": database}
    disk = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": str(tmp_path)}}
    settings.STORAGES |= {
        "disk": disk,
        "chain": {"BACKEND": "queued_storage.storage.TieredStorage", "OPTIONS": {"alias": "served"}},
        "timeless": {"BACKEND": f"{__name__}.Timeless"},
    }
    settings.QUEUED_STORAGE_TIERS = {
        "served": {
            "TIERS": {
                "disk": disk,
                "vault": {"BACKEND": disk["BACKEND"], "OPTIONS": {"location": str(tmp_path / "vault")}},
            },
            "POLICY": "transfer",
        }
    }
    (tmp_path / "in").mkdir()
    storage = storages["database"]
    storage.save("in/a b.html", SimpleUploadedFile("a.html", CONTENT, content_type="text/x-own"))
    return storage


def get(path: str = "in/a b.html", method: str = "GET", at: str = "files", **headers: str) -> Any:
    return Client(headers=headers).generic(method, f"/{at}/{quote(path)}")


class Timeless(InMemoryStorage):
    """A storage that knows no times, as of files that others wrote."""

    def get_modified_time(self, name: str) -> datetime:
        raise NotImplementedError


def test_file_is_served_whole_with_its_type() -> None:
    response = get()
    assert response.getvalue() == CONTENT
    assert response["Content-Type"] == "text/x-own"
    assert response["Content-Length"] == str(len(CONTENT))


def test_upload_cannot_act_as_a_page_of_the_site() -> None:
    response = get()
    assert response["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert response["X-Content-Type-Options"] == "nosniff"


def test_file_that_has_not_changed_is_not_sent_again() -> None:
    first = get()
    assert get(**{"If-Modified-Since": first["Last-Modified"]}).status_code == 304
    assert get(**{"If-Modified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}).status_code == 200


@pytest.mark.parametrize("at", ["files", "disk", "chain", "timeless"])
@pytest.mark.parametrize(
    "path",
    [
        "missing.txt", "../settings.py", "a\0b", "/etc/passwd", "in", "in/", ".", "y" * 300, "y/" + "y" * 300,
        "a.txt/b.txt",
    ],
    ids=lambda path: path[:10],
)  # fmt: skip
def test_missing_file_is_not_found(path: str, at: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a file, and no folder")
    assert get(path, at=at).status_code == 404


def test_file_of_unknown_age_is_served() -> None:
    storages["timeless"].save("a.txt", ContentFile(CONTENT))
    response = get("a.txt", at="timeless", **{"If-Modified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"})
    assert response.getvalue() == CONTENT
    assert "Last-Modified" not in response


def test_storage_that_is_down_is_no_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, name: str) -> None:
        raise ConnectionRefusedError("no")

    monkeypatch.setattr(Timeless, "get_modified_time", refuse)
    with pytest.raises(ConnectionRefusedError):
        get("a.txt", at="timeless")


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT"])
def test_nothing_else_is_allowed(method: str) -> None:
    assert get(method=method).status_code == 405
