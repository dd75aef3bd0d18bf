"""FallbackStorage: its thirteen methods, without a database, and without the bugs of the original."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, storages
from django.db.migrations.writer import MigrationWriter

from queued_storage import fallback
from queued_storage.backends import FILE_SYSTEM, FallbackStorage
from queued_storage.exceptions import ChainUnavailable

from tests.compat.folders import folder, put, read
from tests.support import clock

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper


class A(FileSystemStorage):
    """A storage whose tiers' names are those of others."""


class Mine(FallbackStorage):
    """A project's own class on it."""


THIRTEEN = {
    "_open", "_save", "delete", "exists", "listdir", "size", "url", "accessed_time", "created_time", "modified_time",
    "get_valid_name", "get_available_name", "path",
}  # fmt: skip
Make = Callable[..., FallbackStorage]


class TestThirteenMethods:
    """A file in the last of three storages."""

    @pytest.fixture
    def storage(self, make_fallback: Make, tmp_path: Path) -> FallbackStorage:
        storage = make_fallback("near", "middle", "far")
        put(tmp_path / "far/a.txt")
        return storage

    def test_all_thirteen_are_there(self, storage: FallbackStorage) -> None:
        assert {name for name in dir(storage) if callable(getattr(storage, name))} >= THIRTEEN

    def test_open(self, storage: FallbackStorage) -> None:
        with storage._open("a.txt", "rb") as file:
            assert file.read() == b"content"

    @pytest.mark.parametrize("method", ["save", "_save"])
    def test_save_goes_to_the_first(self, storage: FallbackStorage, tmp_path: Path, method: str) -> None:
        assert getattr(storage, method)("b.txt", ContentFile(b"1")) == "b.txt"
        assert (tmp_path / "near/b.txt").read_bytes() == b"1"

    def test_delete(self, storage: FallbackStorage) -> None:
        storage.save("b.txt", ContentFile(b"1"))
        storage.delete("b.txt")
        assert not storage.exists("b.txt")

    def test_exists(self, storage: FallbackStorage) -> None:
        assert storage.exists("a.txt")
        assert not storage.exists("b.txt")

    def test_listdir(self, storage: FallbackStorage) -> None:
        storage.save("dir/b.txt", ContentFile(b"1"))
        assert storage.listdir("") == (["dir"], ["a.txt"])

    def test_size(self, storage: FallbackStorage) -> None:
        assert storage.size("a.txt") == 7

    def test_url(self, storage: FallbackStorage) -> None:
        assert storage.url("a.txt") == "/far/a.txt"

    def test_path(self, storage: FallbackStorage, tmp_path: Path) -> None:
        assert storage.path("a.txt") == str(tmp_path / "far/a.txt")

    @pytest.mark.parametrize("kind", ["accessed", "created", "modified"])
    def test_times(self, storage: FallbackStorage, kind: str) -> None:
        old, new = getattr(storage, f"{kind}_time")("a.txt"), getattr(storage, f"get_{kind}_time")("a.txt")
        assert isinstance(old, datetime)
        assert old == new.replace(tzinfo=None)  # the tests' time zone is UTC

    def test_names(self, storage: FallbackStorage) -> None:
        assert storage.get_valid_name("a b.txt") == "a_b.txt"
        assert storage.get_available_name("b.txt") == "b.txt"

    def test_name_that_a_lower_storage_has_is_taken(self, storage: FallbackStorage) -> None:
        name = storage.save("a.txt", ContentFile(b"1"))
        assert name != "a.txt"
        assert (read(storage, name), read(storage, "a.txt")) == (b"1", b"content")


class TestSetting:
    def test_class_paths(self, settings: SettingsWrapper, tmp_path: Path) -> None:
        settings.MEDIA_ROOT = str(tmp_path)
        settings.FALLBACK_STORAGES = (FILE_SYSTEM, "tests.compat.storages.Down")
        put(tmp_path / "a.txt")
        assert FallbackStorage().chain.names == ("FileSystemStorage", "Down")
        assert read(FallbackStorage(), "a.txt") == b"content"

    def test_same_class_twice(self, settings: SettingsWrapper) -> None:
        settings.FALLBACK_STORAGES = (FILE_SYSTEM, FILE_SYSTEM)
        assert FallbackStorage().chain.names == ("FileSystemStorage", "FileSystemStorage-2")

    def test_argument_goes_before_the_setting(self, make_fallback: Make, tmp_path: Path) -> None:
        make_fallback("near", "far")
        FallbackStorage(["far"]).save("a.txt", ContentFile(b"1"))
        assert (tmp_path / "far/a.txt").exists()

    def test_change_is_followed(self, make_fallback: Make, settings: SettingsWrapper, tmp_path: Path) -> None:
        storage = make_fallback("near", "far")
        settings.FALLBACK_STORAGES = ["far"]
        storage.save("a.txt", ContentFile(b"1"))
        assert (tmp_path / "far/a.txt").exists()

    def test_change_of_an_alias_is_followed(self, make_fallback: Make, settings: Any, tmp_path: Path) -> None:
        storage = make_fallback("near")
        storage.save("a.txt", ContentFile(b"1"))
        settings.STORAGES = settings.STORAGES | {"near": folder(tmp_path / "other")}
        assert not storage.exists("a.txt")

    @pytest.mark.parametrize("value", [None, [], FILE_SYSTEM])
    def test_missing_or_empty_is_told(self, settings: SettingsWrapper, value: Any) -> None:
        settings.FALLBACK_STORAGES = value
        with pytest.raises(ImproperlyConfigured, match="FALLBACK_STORAGES is missing, empty or not a list"):
            FallbackStorage().exists("a.txt")

    @pytest.mark.parametrize(
        "itself",
        [
            "default",
            "queued_storage.backends.FallbackStorage",
            "fallback_storage.storage.FallbackStorage",
            "django.core.files.storage.DefaultStorage",
            "tests.compat.test_fallback.Mine",
        ],
    )
    def test_itself_is_refused(self, settings: SettingsWrapper, itself: str) -> None:
        settings.STORAGES = settings.STORAGES | {
            "default": {"BACKEND": "queued_storage.backends.FallbackStorage"}
        }
        settings.FALLBACK_STORAGES = [FILE_SYSTEM, itself]
        with pytest.raises(ImproperlyConfigured, match="is the fallback storage itself"):
            storages["default"].exists("a.txt")

    def test_instance_is_refused_with_its_options(self) -> None:
        storage = FallbackStorage([FILE_SYSTEM, FileSystemStorage("/nowhere")])
        with pytest.raises(ImproperlyConfigured, match=r"an instance of FileSystemStorage\. Write the path"):
            storage.exists("a.txt")

    def test_set_has_no_order(self, settings: SettingsWrapper) -> None:
        settings.FALLBACK_STORAGES = {FILE_SYSTEM}
        with pytest.raises(ImproperlyConfigured, match="not a list"):
            FallbackStorage().exists("a.txt")

    def test_tiers_of_one_name_are_told_apart(self, make_fallback: Make, settings: SettingsWrapper) -> None:
        make_fallback("A-3", "of mine!")
        settings.FALLBACK_STORAGES = [
            "A-3",
            "tests.compat.test_fallback.A",
            "tests.compat.test_fallback.A",
            "of mine!",
        ]
        assert FallbackStorage().chain.names == ("A-3", "A", "A-4", "of-mine-")

    def test_migration_holds_names_alone(self) -> None:
        assert MigrationWriter.serialize(FallbackStorage())[0] == "queued_storage.backends.FallbackStorage()"
        written, _ = MigrationWriter.serialize(FallbackStorage(["near", "far"]))
        assert written == "queued_storage.backends.FallbackStorage(['near', 'far'])"


@pytest.fixture(autouse=True)
def _all_are_up() -> Iterator[None]:
    """What one test finds silent is not skipped in the next, whose storages have the same names."""
    yield
    clock.forget_outages()


class Requests:
    """What reached a bucket on moto since then, as the server itself records it."""

    def __init__(self, server: Any, bucket: str) -> None:
        self._recorder = f"{server.endpoint}/moto-api/recorder"
        self._address = f"{server.endpoint}/{bucket}"
        for order in ("reset", "start"):
            requests.post(f"{self._recorder}/{order}-recording", timeout=30).raise_for_status()

    def methods(self) -> Counter[str]:
        told = requests.get(f"{self._recorder}/download-recording", timeout=30)
        told.raise_for_status()
        recorded = (json.loads(line) for line in told.text.splitlines())
        return Counter(each["method"] for each in recorded if each["url"].startswith(self._address))


@pytest.mark.servers
def test_silent_server_is_waited_for_once(
    settings: SettingsWrapper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fallback, "TIMEOUT", 0.5)
    settings.MEDIA_ROOT = str(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts, and says nothing
        options = {
            "bucket_name": "media", "access_key": "k", "secret_key": "s", "region_name": "us-east-1",
            "endpoint_url": f"http://127.0.0.1:{silent.getsockname()[1]}",
        }  # fmt: skip
        remote = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
        settings.STORAGES = settings.STORAGES | {"production": remote}
        settings.FALLBACK_STORAGES = [FILE_SYSTEM, "production"]
        with pytest.raises(ChainUnavailable, match="it did not answer in time"):
            FallbackStorage().exists("a.txt")
        with pytest.raises(ChainUnavailable, match="is skipped for a while"):
            FallbackStorage().open("a.txt")


@pytest.mark.servers
class TestDevelopmentMachine:
    """It reads production's bucket, writes to its own disk, and never touches the bucket."""

    @pytest.fixture
    def bucket(self, settings: SettingsWrapper, moto_s3: Any, tmp_path: Path) -> str:
        bucket: str = moto_s3.make_bucket()
        for key in ("logo.png", "dir/page.txt"):
            moto_s3.client.put_object(Bucket=bucket, Key=key, Body=b"production")
        settings.STORAGES = {
            "default": {"BACKEND": "queued_storage.backends.FallbackStorage"},
            "production": moto_s3.tier(bucket),
        }
        settings.MEDIA_ROOT = str(tmp_path)
        settings.FALLBACK_STORAGES = [FILE_SYSTEM, "production"]
        settings.QUEUED_STORAGE_DEADLINE = (
            20  # on a busy machine: a name that nobody tells of in time is another
        )
        return bucket

    def test_bucket_is_only_read(self, bucket: str, moto_s3: Any, tmp_path: Path) -> None:
        storage, seen = storages["default"], Requests(moto_s3, bucket)
        assert read(storage, "logo.png") == b"production"
        assert (storage.exists("logo.png"), storage.size("logo.png")) == (True, 10)
        assert storage.url("logo.png").startswith(f"{moto_s3.endpoint}/{bucket}/logo.png")
        assert storage.listdir("") == (["dir"], ["logo.png"])
        assert storage.get_modified_time("logo.png")
        assert not storage.exists("nowhere.png")
        assert storage.save("new.png", ContentFile(b"new")) == "new.png"
        assert storage.save("logo.png", ContentFile(b"mine")) != "logo.png"
        with storage.open("dir/page.txt", "wb") as file:
            file.write(b"mine")
        assert read(storage, "dir/page.txt") == b"mine"
        storage.delete("new.png")
        for name in ("logo.png", "dir/page.txt"):
            with pytest.raises(OSError, match="production holds the file"):
                storage.delete(name)
        methods = seen.methods()
        assert set(methods) == {"GET", "HEAD"}, methods
        assert read(storage, "dir/page.txt") == b"production"  # the disk's own copy is what delete() took
        assert {key: moto_s3.read(bucket, key) for key in moto_s3.keys(bucket)} == {
            "dir/page.txt": b"production",
            "logo.png": b"production",
        }

    def test_requests_that_write_would_be_seen(self, bucket: str, moto_s3: Any) -> None:
        seen = Requests(moto_s3, bucket)
        storages["production"].save("new.png", ContentFile(b"new"))
        storages["production"].delete("new.png")
        assert {"PUT", "DELETE"} <= set(seen.methods())

    def test_first_storage_answers_without_a_request(self, bucket: str, moto_s3: Any, tmp_path: Path) -> None:
        put(tmp_path / "mine.png")
        seen = Requests(moto_s3, bucket)
        assert read(storages["default"], "mine.png") == b"content"
        assert (storages["default"].exists("mine.png"), storages["default"].size("mine.png")) == (True, 7)
        assert not seen.methods()
