"""A first tier that is full or down: the error reaches the user, or with SPILL the next tier takes the file, whole."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.files.base import ContentFile, File
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.db import transaction

from queued_storage import catalog
from queued_storage.batch import drain
from queued_storage.exceptions import TierUnavailable
from queued_storage.names import is_staging
from queued_storage.storage import TieredStorage
from queued_storage.testing import faulty

from tests.base_settings import DISK
from tests.support.small_disk import small_disk

pytestmark = pytest.mark.django_db(transaction=True)

BIG = os.urandom(600 * 1024)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A disk on which a small file has room, and BIG has none."""
    with small_disk(tmp_path / "full", kibibytes=512) as path:
        yield path


@pytest.fixture
def make_spilling(settings: Any, make_chain: Callable[..., TieredStorage]) -> Callable[..., TieredStorage]:
    def make(tiers: Any, policy: str | None = "transfer-and-delete", *, spill: bool = True) -> TieredStorage:
        storage = make_chain(tiers, policy=policy)
        chain = settings.QUEUED_STORAGE_TIERS["media"] | {"SPILL": spill}
        settings.QUEUED_STORAGE_TIERS = {"media": chain}
        return storage

    return make


def disk(path: Path, **options: Any) -> dict[str, Any]:
    return {"BACKEND": DISK, "OPTIONS": {"location": str(path), "base_url": "/x/", **options}}


def content_of(storage: TieredStorage, name: str) -> bytes:
    with storage.open(name) as file:
        content: bytes = file.read()
        return content


def everything_in(path: Path) -> list[str]:
    return [each.name for each in path.rglob("*") if each.is_file()]


class TestFullDisk:
    def test_g4_error_reaches_the_user_and_nothing_is_left(self, make_spilling, full):
        storage = make_spilling({"near": disk(full), "far": "disk"}, spill=False)
        with pytest.raises(OSError, match="No space left") as caught:
            storage.save("a.bin", ContentFile(BIG))
        assert caught.value.errno == errno.ENOSPC
        assert everything_in(full) == []
        assert not catalog.files().exists()
        assert not storage.exists("a.bin")
        assert storage.save("a.bin", ContentFile(b"small")) == "a.bin"

    def test_next_tier_takes_it_whole(self, make_spilling, full, tmp_path):
        storage = make_spilling({"near": disk(full), "far": "disk"})
        name = storage.save("a.bin", ContentFile(BIG))
        assert name == "a.bin"
        assert (tmp_path / "far" / name).read_bytes() == BIG
        assert everything_in(full) == []
        assert (storage.tier(name), storage.tiers(name), storage.state(name)) == ("far", ["far"], "settled")
        assert content_of(storage, name) == BIG

    def test_first_tier_that_has_room_takes_it(self, make_spilling, full):
        storage = make_spilling({"near": disk(full), "far": "disk"})
        name = storage.save("a.txt", ContentFile(b"small"))
        assert storage.tier(name) == "near"

    def test_file_is_brought_home_where_its_policy_wants_it(self, make_spilling, full):
        storage = make_spilling({"near": disk(full), "far": "disk"}, policy="transfer")
        (full / "ballast").write_bytes(b"x" * 400 * 1024)
        name = storage.save("a.bin", ContentFile(BIG[: 200 * 1024]))
        modified = storage.get_modified_time(name)
        assert (storage.tiers(name), storage.state(name)) == (["far"], "pending")
        (full / "ballast").unlink()
        list(drain())
        assert (storage.tiers(name), storage.state(name)) == (["near", "far"], "settled")
        assert (full / name).read_bytes() == BIG[: 200 * 1024]
        assert storage.get_modified_time(name) == modified

    def test_g3_first_tier_that_stays_full_is_told(self, make_spilling, full, settings):
        settings.QUEUED_STORAGE_RETRIES = 0
        storage = make_spilling({"near": disk(full), "far": "disk"}, policy="transfer")
        name = storage.save("a.bin", ContentFile(BIG))
        list(drain())
        row = catalog.files().get()
        assert (row.state, row.tiers) == ("failed", ["far"])
        assert "near" in row.last_error
        assert "No space left" in row.last_error
        assert content_of(storage, name) == BIG

    def test_upload_in_a_temporary_file(self, make_spilling, full, tmp_path):
        storage = make_spilling({"near": disk(full), "far": "disk"})
        with TemporaryUploadedFile("a.bin", "image/png", len(BIG), None) as upload:
            upload.write(BIG)
            name = storage.save("a.bin", upload)
        assert (tmp_path / "far" / name).read_bytes() == BIG
        assert catalog.files().get().content_type == "image/png"

    def test_content_that_can_be_read_only_once(self, make_spilling, full, tmp_path):
        class Pipe(io.RawIOBase):
            left = BIG

            def readable(self) -> bool:
                return True

            def readinto(self, buffer: Any) -> int:
                count = min(len(buffer), len(self.left))
                buffer[:count], self.left = self.left[:count], self.left[count:]
                return count

        storage = make_spilling({"near": disk(full), "far": "disk"})
        name = storage.save("a.bin", File(io.BufferedReader(Pipe())))
        assert (tmp_path / "far" / name).read_bytes() == BIG

    def test_name_is_free_on_every_tier(self, make_spilling, full, tmp_path):
        storage = make_spilling({"near": disk(full), "far": "disk"})
        (tmp_path / "far").mkdir()
        (tmp_path / "far" / "a.bin").write_bytes(b"older")
        name = storage.save("a.bin", ContentFile(BIG))
        assert name != "a.bin"
        assert (tmp_path / "far" / "a.bin").read_bytes() == b"older"
        assert content_of(storage, name) == BIG

    def test_g7_rollback_leaves_no_row(self, make_spilling, full):
        storage = make_spilling({"near": disk(full), "far": "disk"})
        with transaction.atomic():
            storage.save("a.bin", ContentFile(BIG))
            transaction.set_rollback(True)
        assert not catalog.files().exists()

    def test_g5_delete_clears_the_tier_that_took_it(self, make_spilling, full, tmp_path):
        storage = make_spilling({"near": disk(full), "far": "disk"})
        name = storage.save("a.bin", ContentFile(BIG))
        storage.delete(name)
        assert not storage.exists(name)
        assert everything_in(tmp_path / "far") == []

    def test_read_only_tier_takes_nothing(self, make_spilling, full, tmp_path):
        tiers = {
            "near": disk(full),
            "archive": disk(tmp_path / "archive") | {"READ_ONLY": True},
            "far": "disk",
        }
        storage = make_spilling(tiers)
        assert storage.tier(storage.save("a.bin", ContentFile(BIG))) == "far"

    def test_all_tiers_full(self, make_spilling, full):
        storage = make_spilling({"near": disk(full / "near"), "far": disk(full / "far")})
        with pytest.raises(OSError, match="No space left"):
            storage.save("a.bin", ContentFile(BIG))
        assert everything_in(full) == []
        assert not catalog.files().exists()

    def test_chain_without_policy(self, make_spilling, full, tmp_path):
        storage = make_spilling({"near": disk(full), "far": "disk"}, policy=None)
        name = storage.save("a.bin", ContentFile(BIG))
        assert (tmp_path / "far" / name).read_bytes() == BIG
        assert content_of(storage, name) == BIG


class TestOverwritingFirstTier:
    def test_g6_replacing_does_not_spill(self, make_spilling, full):
        """Readers ask the first tier without the catalog: they would go on to get the old content."""
        storage = make_spilling({"near": disk(full, allow_overwrite=True), "far": "disk"})
        storage.save("a.bin", ContentFile(b"old"))
        with pytest.raises(OSError, match="No space left"):
            storage.save("a.bin", ContentFile(BIG))
        assert content_of(storage, "a.bin") == b"old"
        list(drain())
        assert content_of(storage, "a.bin") == b"old"

    def test_new_name_spills_and_is_replaced_later(self, make_spilling, full):
        storage = make_spilling({"near": disk(full, allow_overwrite=True), "far": "disk"})
        assert storage.save("a.bin", ContentFile(BIG)) == "a.bin"
        assert storage.tier("a.bin") == "far"
        assert storage.save("a.bin", ContentFile(b"new")) == "a.bin"
        assert content_of(storage, "a.bin") == b"new"
        list(drain())
        assert content_of(storage, "a.bin") == b"new"
        assert storage.tiers("a.bin") == ["far"]


class TestServerDown:
    @pytest.fixture(autouse=True)
    def _forget(self) -> Iterator[None]:
        yield
        faulty.forget_all()

    def test_next_tier_takes_it_under_a_random_name(self, make_spilling, tmp_path):
        storage = make_spilling({"near": faulty.tier("near"), "far": "disk"})
        for method in ("exists", "save"):
            faulty.bucket("near").on(method, faulty.refuse)
        name = storage.save("a.txt", ContentFile(b"1"))
        assert name != "a.txt"
        assert (tmp_path / "far" / name).read_bytes() == b"1"
        with pytest.raises(ConnectionError, match="refused"):
            make_spilling({"near": faulty.tier("near"), "far": faulty.tier("near2")}, spill=False).save(
                "b.txt", ContentFile(b"1")
            )

    def test_content_is_sent_from_its_start(self, make_spilling, tmp_path):
        storage = make_spilling({"near": faulty.tier("near"), "far": "disk"})
        faulty.bucket("near").on("save", faulty.refuse)
        content = ContentFile(b"0123456789")
        content.seek(5)
        name = storage.save("a.txt", content)
        assert (tmp_path / "far" / name).read_bytes() == b"0123456789"
        assert content.tell() == 0
        assert not content.closed

    def test_tier_between_that_is_down_is_passed_over(self, make_spilling, tmp_path):
        storage = make_spilling({"near": faulty.tier("near"), "mid": faulty.tier("mid"), "far": "disk"})
        for bucket in ("near", "mid"):
            faulty.bucket(bucket).on("save", faulty.refuse)
        name = storage.save("a.txt", ContentFile(b"1"))
        assert (tmp_path / "far" / name).read_bytes() == b"1"

    def test_first_tiers_reason_is_told(self, make_spilling):
        storage = make_spilling({"near": faulty.tier("near"), "far": faulty.tier("far")})
        faulty.bucket("near").on("save", faulty.refuse)
        faulty.bucket("far").on("save", faulty.fail_afterwards)
        with pytest.raises((ConnectionError, TierUnavailable), match="refused"):
            storage.save("a.txt", ContentFile(b"1"))
        assert not catalog.files().exists()


class TestErrorsOfTheUpload:
    def test_upload_that_breaks_off_is_not_the_tiers_fault(self, make_spilling, tmp_path):
        class Broken(ContentFile):  # type: ignore[type-arg]
            def read(self, size: int = -1) -> Any:
                if self.tell() >= 4:
                    raise OSError(errno.EIO, "the client went away")
                return self.file.read(min(size, 4) if size >= 0 else 4)

        storage = make_spilling(["near", "far"])
        with pytest.raises(OSError, match="the client went away"):
            storage.save("a.txt", Broken(b"whole"))
        assert everything_in(tmp_path) == []
        assert not catalog.files().exists()

    def test_name_that_is_too_long_is_not_the_tiers_fault(self, make_spilling, tmp_path):
        storage = make_spilling(["near", "far"])
        with pytest.raises(OSError, match="too long"):
            storage.save("x" * 300, ContentFile(b"1"))
        assert everything_in(tmp_path) == []


class TestFsync:
    def test_g1_save_returns_when_file_and_folders_are_on_the_disk(self, make_chain, tmp_path, monkeypatch):
        synced: list[str] = []
        monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.readlink(f"/proc/self/fd/{number}")))
        storage = make_chain({"near": disk(tmp_path / "near") | {"FSYNC": True}, "far": "disk"})
        storage.save("a/b/c.txt", ContentFile(b"1"))
        assert [path for path in synced if is_staging(Path(path).name)]
        near = tmp_path / "near"
        assert {str(path) for path in (near, near / "a", near / "a" / "b")} <= set(synced)

    def test_check_warns_where_it_has_no_effect(self, make_chain, tmp_path):
        make_chain({"near": disk(tmp_path / "near") | {"FSYNC": True}, "far": faulty.tier("far", FSYNC=True)})
        (warning,) = run_checks(tags=["queued_storage"])
        assert warning.id == "queued_storage.W004"
        assert warning.msg.startswith("QUEUED_STORAGE_TIERS['media']['TIERS']['far']['FSYNC']: has no effect")

    def test_without_it_a_save_does_not_wait_for_the_disk(self, make_chain, monkeypatch):
        monkeypatch.setattr(os, "fsync", lambda number: pytest.fail("fsync was called"))
        make_chain().save("a.txt", ContentFile(b"1"))

    def test_g2_copy_is_on_the_disk_before_the_source_goes(self, make_chain, tmp_path, monkeypatch):
        synced: list[str] = []
        storage = make_chain(["near", "far"], policy="transfer-and-delete")
        name = storage.save("a/b.txt", ContentFile(b"1"))

        def fsync(number: int) -> None:
            assert (tmp_path / "near" / name).exists()
            synced.append(os.readlink(f"/proc/self/fd/{number}"))

        monkeypatch.setattr(os, "fsync", fsync)
        list(drain())
        assert not (tmp_path / "near" / name).exists()
        far = tmp_path / "far"
        assert {str(tmp_path), str(far), str(far / "a")} <= set(synced)
        assert any(is_staging(Path(path).name) for path in synced)
