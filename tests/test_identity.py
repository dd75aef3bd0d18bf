"""``IDENTITY``: a small file proves that a tier is the right mount or bucket, before anything is lost there."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.utils import timezone

from queued_storage import identity, operations
from queued_storage.chain import chains
from queued_storage.exceptions import NotIdentified, WrongPlace
from queued_storage.models import StoredChain, StoredFile
from queued_storage.names import IDENTITY, staging_name
from queued_storage.storage import TieredStorage
from queued_storage.testing import run_owed_work

from tests.base_settings import DISK

pytestmark = pytest.mark.django_db


def tiers(action: str, *arguments: str) -> dict[str, Any]:
    out = io.StringIO()
    try:
        call_command("tiers", action, "--json", *arguments, stdout=out, stderr=io.StringIO())
    finally:
        report: dict[str, Any] = json.loads(out.getvalue() or "{}")
    return report


@pytest.fixture
def make(make_chain: Any, tmp_path: Path) -> Callable[..., TieredStorage]:
    def build(policy: str = "transfer", **keys: Any) -> TieredStorage:
        named = {
            name: {"BACKEND": DISK, "OPTIONS": {"location": str(tmp_path / name)}, "IDENTITY": True} | keys
            for name in ("disk", "vault")
        }
        storage: TieredStorage = make_chain(named, policy=policy)
        return storage

    return build


@pytest.fixture
def storage(make: Callable[..., TieredStorage]) -> TieredStorage:
    built = make()
    tiers("identify")
    return built


def swap(folder: Path) -> Path:
    """Put an empty folder in the place of what is mounted there; return where that is now."""
    away = folder.with_name(f"{folder.name}-away")
    folder.rename(away)
    folder.mkdir()
    return away


def swap_back(folder: Path, away: Path) -> None:
    shutil.rmtree(folder)
    away.rename(folder)
    identity._memos.clear()


def row() -> StoredFile:
    return StoredFile.objects.get()


class TestIdentify:
    def test_files_are_written_once(self, make: Any, tmp_path: Path) -> None:
        make()
        first = tiers("identify")
        assert [(each["tier"], each["result"]) for each in first["tiers"]] == [
            ("disk", "written"),
            ("vault", "written"),
        ]
        written = (tmp_path / "vault" / IDENTITY).read_text()
        assert {each["result"] for each in tiers("identify")["tiers"]} == {"known"}
        assert (tmp_path / "vault" / IDENTITY).read_text() == written
        told = json.loads(written)
        assert (told["chain"], told["tier"]) == ("media", "vault")
        assert StoredChain.objects.get().identities["vault"] == told["id"]

    def test_file_of_another_catalog_is_refused_until_it_is_accepted(self, storage: Any) -> None:
        StoredChain.objects.all().delete()
        out = io.StringIO()
        with pytest.raises(CommandError, match="Not every tier is identified"):
            call_command("tiers", "identify", stdout=out)
        assert "one that this catalog has not written" in out.getvalue()
        assert "manage.py tiers identify --chain media --tier vault --accept" in out.getvalue()
        told = tiers("identify", "--chain", "media", "--tier", "vault", "--accept")
        assert told["tiers"] == [{"chain": "media", "tier": "vault", "result": "accepted", "reason": ""}]
        assert tiers("identify", "--tier", "vault", "--chain", "media")["tiers"][0]["result"] == "known"

    def test_file_that_is_lost_is_written_again_if_that_is_said(self, storage: Any, tmp_path: Path) -> None:
        before = (tmp_path / "vault" / IDENTITY).read_text()
        (tmp_path / "vault" / IDENTITY).unlink()
        with pytest.raises(CommandError):
            tiers("identify")
        assert not (tmp_path / "vault" / IDENTITY).exists()
        tiers("identify", "--chain", "media", "--tier", "vault", "--accept")
        assert json.loads((tmp_path / "vault" / IDENTITY).read_text())["id"] == json.loads(before)["id"]

    def test_empty_mount_point_is_not_taken_for_the_tier(self, make: Any, tmp_path: Path) -> None:
        make().save("a.txt", ContentFile(b"1"))
        run_owed_work()
        away = swap(tmp_path / "vault")
        with pytest.raises(CommandError):
            tiers("identify")
        assert not list((tmp_path / "vault").iterdir())
        with pytest.raises(WrongPlace, match="lacks all of the 1 files looked at"):
            list(identity.identify(chains["media"], ["vault"]))
        swap_back(tmp_path / "vault", away)
        assert tiers("identify", "--tier", "vault")["tiers"][0]["result"] == "written"

    def test_accept_is_said_of_one_tier(self, storage: Any) -> None:
        with pytest.raises(CommandError, match="write --chain and --tier"):
            tiers("identify", "--accept")

    def test_chain_without_any_is_told(self, make_chain: Any) -> None:
        make_chain(["near", "far"])
        with pytest.raises(CommandError, match='write "IDENTITY": True'):
            tiers("identify")

    def test_read_only_tier_is_not_written_to(self, make_chain: Any, tmp_path: Path) -> None:
        archive = {"BACKEND": DISK, "OPTIONS": {"location": str(tmp_path / "archive")}, "READ_ONLY": True}
        make_chain({"near": "memory", "archive": archive | {"IDENTITY": True}})
        with pytest.raises(CommandError):
            tiers("identify")
        assert not (tmp_path / "archive").exists()


class TestHidden:
    def test_nobody_sees_the_file(self, storage: Any, tmp_path: Path) -> None:
        storage.save("a.txt", ContentFile(b"1"))
        run_owed_work()
        assert storage.listdir("") == ([], ["a.txt"])
        assert storage.save(IDENTITY, ContentFile(b"mine")) == IDENTITY.lstrip(".")
        old = timezone.now() - timedelta(days=9)
        os.utime(tmp_path / "vault" / IDENTITY, (old.timestamp(),) * 2)
        assert tiers("gc")["staging"] == 0
        assert (tmp_path / "vault" / IDENTITY).exists()
        assert list(operations.names(chains["media"])) == ["a.txt", IDENTITY.lstrip(".")]
        run_owed_work()
        assert tiers("verify", "--unknown")["unknown"] == []


class TestSwapped:
    """Another folder is mounted where a tier was."""

    @pytest.fixture
    def moving(self, make: Any) -> TieredStorage:
        storage: TieredStorage = make("transfer-and-delete")
        tiers("identify")
        return storage

    def test_nothing_is_copied_there(self, moving: Any, tmp_path: Path) -> None:
        away = swap(tmp_path / "vault")
        moving.save("a.txt", ContentFile(b"1"))
        run_owed_work()
        assert not list((tmp_path / "vault").iterdir())
        assert (row().state, row().tiers) == ("pending", ["disk"])
        assert "Tier 'vault' is unavailable: its identity file" in row().last_error
        assert "manage.py tiers identify --chain media --tier vault --accept" in row().last_error
        swap_back(tmp_path / "vault", away)
        StoredFile.objects.update(due_at=timezone.now())
        run_owed_work()
        assert (row().state, row().tiers) == ("settled", ["vault"])

    def test_it_does_not_fail_for_good(self, moving: Any, tmp_path: Path, settings: Any) -> None:
        settings.QUEUED_STORAGE_RETRIES = 0
        swap(tmp_path / "vault")
        moving.save("a.txt", ContentFile(b"1"))
        for _ in range(3):
            StoredFile.objects.update(due_at=timezone.now())
            run_owed_work()
        assert (row().state, row().attempts) == ("pending", 0)

    def test_many_at_once_are_not_copied_there(self, moving: Any, tmp_path: Path) -> None:
        swap(tmp_path / "vault")
        for i in range(3):
            moving.save(f"{i}.txt", ContentFile(b"1"))
        with pytest.raises(SystemExit):  # what is left is a finding
            call_command("tiers", "drain", stdout=io.StringIO())
        assert not list((tmp_path / "vault").iterdir())
        assert set(StoredFile.objects.values_list("state", flat=True)) == {"pending"}

    def test_g2_nothing_is_released_against_another_place(self, moving: Any, tmp_path: Path) -> None:
        """The vault has a file of the name and size, and is not the vault."""
        moving.save("a.txt", ContentFile(b"1"))
        StoredFile.objects.update(tiers=["disk", "vault"])
        swap(tmp_path / "vault")
        (tmp_path / "vault" / "a.txt").write_bytes(b"2")
        run_owed_work()
        assert (tmp_path / "disk" / "a.txt").read_bytes() == b"1"
        assert (row().state, row().tiers) == ("pending", ["disk", "vault"])
        assert "identity file" in row().last_error

    def test_what_a_file_was_deleted_from_is_left_alone(self, storage: Any, tmp_path: Path) -> None:
        storage.save("a.txt", ContentFile(b"1"))
        run_owed_work()
        away = swap(tmp_path / "vault")
        (tmp_path / "vault" / "a.txt").write_bytes(b"somebody else's")
        storage.delete("a.txt")
        run_owed_work()
        assert (tmp_path / "vault" / "a.txt").exists()
        assert (row().state, row().stale) == ("deleted", ["vault"])
        assert row().due_at is not None
        swap_back(tmp_path / "vault", away)
        StoredFile.objects.update(due_at=timezone.now())
        run_owed_work()
        assert row().is_gone
        assert not (tmp_path / "vault" / "a.txt").exists()

    def test_first_tier_is_left_alone_as_well(self, storage: Any, tmp_path: Path) -> None:
        storage.save("a.txt", ContentFile(b"1"))
        run_owed_work()
        swap(tmp_path / "disk")
        (tmp_path / "disk" / "a.txt").write_bytes(b"somebody else's")
        storage.delete("a.txt")
        run_owed_work()
        assert (tmp_path / "disk" / "a.txt").read_bytes() == b"somebody else's"
        assert row().stale == ["disk"]

    def test_copy_that_cannot_be_seen_is_not_believed_missing(self, make: Any, tmp_path: Path) -> None:
        storage = make("transfer")
        tiers("identify")
        storage.save("a.txt", ContentFile(b"1"))
        swap(tmp_path / "disk")
        run_owed_work()
        assert (row().state, row().tiers) == ("pending", ["disk"])
        assert "Tier 'disk' is unavailable: its identity file" in row().last_error

    def test_verify_believes_nothing(self, storage: Any, tmp_path: Path) -> None:
        storage.save("a.txt", ContentFile(b"1"))
        run_owed_work()
        swap(tmp_path / "vault")
        with pytest.raises(CommandError, match="could not be checked"):
            tiers("verify", "--repair", "--max-share", "100")
        assert (row().state, row().tiers) == ("settled", ["disk", "vault"])

    def test_place_that_is_accepted_is_repaired(self, storage: Any, tmp_path: Path) -> None:
        storage.save("a.txt", ContentFile(b"1"))
        run_owed_work()
        swap(tmp_path / "vault")
        tiers("identify", "--chain", "media", "--tier", "vault", "--accept")
        tiers("verify", "--repair", "--max-share", "100")
        assert (tmp_path / "vault" / "a.txt").exists()
        assert row().state == "settled"

    def test_gc_removes_nothing(self, storage: Any, tmp_path: Path) -> None:
        swap(tmp_path / "vault")
        left = tmp_path / "vault" / staging_name()
        left.write_bytes(b"somebody else's")
        os.utime(left, (1, 1))
        with pytest.raises(CommandError, match="its identity file"):
            tiers("gc")
        assert left.exists()


class TestNotIdentified:
    def test_engine_works_as_without(self, make: Any) -> None:
        make().save("a.txt", ContentFile(b"1"))
        run_owed_work()
        assert row().state == "settled"

    @pytest.mark.parametrize("arguments", [("verify", "--repair"), ("gc",)])
    def test_commands_that_take_away_ask_for_it(self, make: Any, arguments: tuple[str, ...]) -> None:
        make()
        with pytest.raises(CommandError, match=r"type: manage\.py tiers identify --chain media"):
            tiers(*arguments)


class TestCost:
    def test_saves_and_reads_ask_for_nothing(
        self, storage: Any, make_chain: Any, django_assert_num_queries: Any
    ) -> None:
        identity._memos.clear()
        with django_assert_num_queries(0):
            assert storage.listdir("") == ([], [])
        name = storage.save("a.txt", ContentFile(b"1"))
        identity._memos.clear()
        with django_assert_num_queries(0), storage.open(name) as file:
            assert file.read() == b"1"
        assert not identity._memos

    def test_one_query_for_many_files(self, storage: Any, django_assert_num_queries: Any) -> None:
        chain = chains["media"]
        identity._memos.clear()
        with django_assert_num_queries(1):
            for _ in range(5):
                identity.load(chain)
                for tier in chain:
                    identity.require(tier, fresh=True)


def test_errors_say_what_to_type() -> None:
    told = str(WrongPlace("media", "s3", "its identity file is not there."))
    assert told.startswith("Tier 's3' is unavailable: its identity file")
    assert "manage.py tiers identify --chain media --tier s3 --accept" in told
    assert "manage.py tiers identify --chain media" in str(NotIdentified("media", "s3"))
