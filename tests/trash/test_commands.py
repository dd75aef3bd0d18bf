"""``tiers restore``, ``tiers erase`` and ``tiers gc --orphans``: what they do, print and exit with."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command

from queued_storage.batch import drain
from queued_storage.brakes import Cap
from queued_storage.models import StoredFile, TrashedFile
from queued_storage.names import is_staging
from queued_storage.retention.objects import remove_versions
from queued_storage.storage import TieredStorage
from queued_storage.testing import faulty

from tests.base_settings import DISK
from tests.support.clock import Clock

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["queued_storage"])

YEAR = 365 * 86_400


@pytest.fixture(autouse=True)
def _forget():
    yield
    faulty.forget_all()


def tiers(*arguments: str, exits: int = 0) -> dict[str, Any]:
    out = io.StringIO()
    code = 0
    try:
        call_command("tiers", *arguments, "--json", stdout=out)
    except SystemExit as end:
        code = int(str(end.code))
    assert code == exits, out.getvalue()
    report: dict[str, Any] = json.loads(out.getvalue())
    return report


def save(storage: TieredStorage, name: str, content: bytes = b"12345") -> str:
    return storage.save(name, ContentFile(content))


def work() -> None:
    for _ in drain(own_process=False):
        pass


def states(receipt: dict[str, Any]) -> dict[str, str]:
    return {tier["tier"]: tier["state"] for tier in receipt["tiers"]}


def read(storage: TieredStorage, name: str) -> bytes:
    with storage.open(name) as file:
        data: bytes = file.read()
        return data


# ---- restore ----


def test_list_tells_sizes_and_until_when(make, capsys):
    storage = make()
    for name in ("a/1.txt", "a/2.txt", "b.txt"):
        save(storage, name)
        storage.delete(name)
    told = tiers("restore", "--list")
    assert (told["in_trash"], told["bytes"]) == (3, 15)
    assert [each["name"] for each in told["files"]] == ["a/1.txt", "a/2.txt", "b.txt"]
    assert tiers("restore", "--list", "--prefix", "a/")["in_trash"] == 2
    call_command("tiers", "restore", "--list", "b*")
    line = capsys.readouterr().out.splitlines()[0]
    assert "b.txt  5 bytes  on disk  deleted 2" in line
    assert "until 2" in line


def test_restore_by_name_pattern_prefix_and_all(make):
    storage = make()
    names = ["a/1.txt", "a/2.jpg", "b/1.txt", "c.txt"]
    for name in names:
        save(storage, name)
        storage.delete(name)
    assert tiers("restore", "c.txt", "--dry-run")["restored"] == 0
    assert tiers("restore", "c.txt")["restored"] == 1
    assert tiers("restore", "a/*.txt")["restored"] == 1
    assert tiers("restore", "--prefix", "a/")["restored"] == 1
    assert tiers("restore", "--all")["restored"] == 1
    assert all(storage.exists(name) for name in names)
    assert tiers("restore", "c.txt", exits=2)["missing"] == ["c.txt"]


def test_what_was_deleted_last_comes_back_and_older_ones_by_their_id(make):
    storage = make()
    for content in (b"1", b"22"):
        save(storage, "a.txt", content)
        storage.delete("a.txt")
    first = TrashedFile.objects.order_by("pk")[0].pk
    assert tiers("restore", "a.txt")["restored"] == 1
    assert read(storage, "a.txt") == b"22"
    told = tiers("restore", "a.txt", exits=2)
    assert "is taken" in told["files"][0]["reason"]
    assert tiers("restore", "--id", str(first), "--as", "old.txt")["files"][0]["as"] == "old.txt"
    assert read(storage, "old.txt") == b"1"


def test_restore_asks_which_files(make):
    make()
    with pytest.raises(CommandError, match="--list tells what there is"):
        call_command("tiers", "restore")


# ---- erase ----


def test_erase_removes_all_and_tells_each_tier(make, tmp_path):
    storage = make(policy="transfer")
    save(storage, "a.txt")
    work()
    storage.delete("a.txt")
    save(storage, "a.txt")
    work()
    row = StoredFile.objects.get(name="a.txt")
    part = tmp_path / "disk" / row.staging_name(row.fence)
    part.write_bytes(b"123")
    (receipt,) = tiers("erase", "a.txt", "--yes")["receipts"]
    assert receipt["complete"]
    assert receipt["tiers"] == [
        {"tier": "disk", "state": "removed", "removed": {"part": 1, "copy": 1, "trash": 1}, "reason": ""},
        {"tier": "vault", "state": "removed", "removed": {"copy": 1}, "reason": ""},
    ]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert not StoredFile.objects.exists()
    assert not TrashedFile.objects.exists()
    (receipt,) = tiers("erase", "a.txt", "--yes")["receipts"]
    assert states(receipt) == {"disk": "not there", "vault": "not there"}
    assert not StoredFile.objects.exists()


def test_erase_leaves_other_names_alone(make):
    storage = make()
    for name in ("a.txt", "b.txt"):
        save(storage, name)
        storage.delete(name)
        save(storage, name)
    tiers("erase", "a.txt", "--yes")
    assert read(storage, "b.txt") == b"12345"
    assert [entry.name for entry in TrashedFile.objects.all()] == ["b.txt"]


def test_tier_that_is_down_stays_owed_until_it_is_done(make, clock: Clock):
    storage = make({"near": "memory", "far": faulty.tier("far")}, policy="transfer")
    save(storage, "a.txt")
    work()
    faulty.bucket("far").go_down()
    (receipt,) = tiers("erase", "a.txt", "--yes", exits=2)["receipts"]
    assert states(receipt) == {"near": "removed", "far": "owed"}
    assert "refused" in receipt["tiers"][1]["reason"]
    assert not receipt["complete"]
    assert not storage.exists("a.txt")
    faulty.bucket("far").heal()
    clock.shift(3600)
    work()
    assert faulty.bucket("far").files == {}
    (receipt,) = tiers("erase", "a.txt", "--yes")["receipts"]
    assert receipt["complete"]
    assert not StoredFile.objects.exists()


def test_read_only_tier_is_named_as_not_touched(make, tmp_path):
    archive = {"BACKEND": DISK, "OPTIONS": {"location": str(tmp_path / "archive")}, "READ_ONLY": True}
    storage = make({"disk": "disk", "archive": archive}, policy="delayed")
    save(storage, "a.txt")
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "a.txt").write_bytes(b"12345")
    (receipt,) = tiers("erase", "a.txt", "--yes", exits=2)["receipts"]
    assert states(receipt) == {"disk": "removed", "archive": "not touched"}
    assert (tmp_path / "archive" / "a.txt").exists()
    assert not storage.exists("a.txt")
    (tmp_path / "archive" / "a.txt").unlink()
    tiers("erase", "a.txt", "--yes")
    assert not StoredFile.objects.exists()


def test_chain_without_policy_has_its_files_erased_too(make_chain, tmp_path):
    storage = make_chain(policy=None)
    save(storage, "a.txt")
    (receipt,) = tiers("erase", "a.txt", "--chain", "media", "--yes")["receipts"]
    assert states(receipt) == {"disk": "removed", "vault": "not there"}
    assert not (tmp_path / "disk" / "a.txt").exists()


def test_erase_asks_for_confirmation(make, monkeypatch):
    storage = make()
    save(storage, "a.txt")
    monkeypatch.setattr("builtins.input", lambda question: "no")
    with pytest.raises(CommandError, match="Nothing was erased"):
        call_command("tiers", "erase", "a.txt")
    assert storage.exists("a.txt")
    monkeypatch.setattr("builtins.input", lambda question: "yes")
    call_command("tiers", "erase", "a.txt", stdout=io.StringIO())
    assert not storage.exists("a.txt")


def test_receipt_for_people(make):
    storage = make()
    save(storage, "a.txt")
    out = io.StringIO()
    call_command("tiers", "erase", "a.txt", "--yes", stdout=out)
    first, *rest = out.getvalue().splitlines()
    assert first.startswith("media:a.txt: erased (2")
    assert rest == ["  disk: removed (1 copy)", "  vault: not there", "  catalog: no row has the name"]


@pytest.mark.parametrize("server", ["moto_s3", "seaweedfs"])
def test_s3_keeps_no_version_upload_or_trash_of_what_was_erased(make, request, server):
    s3 = request.getfixturevalue(server)
    bucket = s3.make_bucket()
    if server == "moto_s3":
        s3.client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    storage = make({"disk": "disk", "s3": s3.tier(bucket, location="media")})
    for _ in range(2):
        save(storage, "a.txt")
        work()
        storage.delete("a.txt")
        work()
    assert {entry.tier for entry in TrashedFile.objects.all()} == {"s3"}
    save(storage, "a.txt")
    save(storage, "a.txt.b")
    work()
    s3.client.create_multipart_upload(Bucket=bucket, Key="media/a.txt")
    (receipt,) = tiers("erase", "a.txt", "--yes")["receipts"]
    assert read(storage, "a.txt.b") == b"12345"
    removed = receipt["tiers"][1]["removed"]
    assert (removed["copy"], removed["trash"], removed["upload"]) == (1, 2, 1)
    versions = s3.client.list_object_versions(Bucket=bucket)
    left = {each["Key"] for each in (*versions.get("Versions", ()), *versions.get("DeleteMarkers", ()))}
    # The client has tried, with an empty object of its own, whether the server heeds conditions.
    assert {key for key in left if not is_staging(key.removeprefix("media/"))} == {"media/a.txt.b"}
    assert not any("trash" in key for key in left)
    for key in left:
        remove_versions(storage.chain["s3"].storage, key)
    assert receipt["complete"]


@pytest.mark.parametrize("server", ["moto_s3", "seaweedfs"])
def test_trash_on_s3_is_restored_there_without_a_byte_moved(make, request, server):
    s3 = request.getfixturevalue(server)
    bucket = s3.make_bucket()
    storage = make({"disk": "disk", "s3": s3.tier(bucket)})
    save(storage, "a.txt")
    work()
    storage.delete("a.txt")
    work()
    (key,) = s3.names(bucket)
    assert key.endswith(".queued-storage.trash.txt")
    assert storage.listdir("") == ([], [])
    tiers("restore", "a.txt")
    work()
    assert s3.names(bucket) == ["a.txt"]
    assert storage.tiers("a.txt") == ["s3"]
    assert s3.content_type(bucket, "a.txt") == "text/plain"


# ---- orphans ----


def orphan(folder: Path, name: str, age: float = YEAR) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"1")
    then = path.stat().st_mtime - age
    os.utime(path, (then, then))
    return path


def test_orphans_go_by_their_age_and_nothing_else(make, tmp_path):
    storage = make(policy="transfer")
    save(storage, "a.txt")
    save(storage, "gone.txt")
    work()
    storage.delete("gone.txt")
    old = [orphan(tmp_path / "disk", "x/old.txt"), orphan(tmp_path / "vault", "old.txt")]
    new = orphan(tmp_path / "disk", "new.txt", age=60)
    for copy in (tmp_path / "disk" / "a.txt", tmp_path / "vault" / "a.txt"):
        os.utime(copy, (1, 1))
    told = tiers("gc", "--orphans", "--older-than", "P30D", "--dry-run")
    assert (told["orphans"], told["removed"]) == (2, 0)
    assert all(path.exists() for path in old)
    assert tiers("gc", "--orphans", "--older-than", "P30D")["removed"] == 2
    assert not any(path.exists() for path in old)
    assert new.exists()
    assert storage.exists("a.txt")
    tiers("restore", "gone.txt")
    assert not StoredFile.objects.filter(generation=0).exists()


def test_orphans_have_to_be_of_an_age(make):
    make()
    with pytest.raises(CommandError, match="--older-than P30D"):
        call_command("tiers", "gc", "--orphans")


def test_too_many_orphans_are_somebodys(make, tmp_path):
    storage = make()
    save(storage, "a.txt")
    paths = [orphan(tmp_path / "disk", f"{number}.txt") for number in range(12)]
    with pytest.raises(CommandError, match="12 of 13 files on tier 'disk' are unknown"):
        call_command("tiers", "gc", "--orphans", "--older-than", "P30D")
    assert all(path.exists() for path in paths)
    assert tiers("gc", "--orphans", "--older-than", "P30D", "--max-share", "100")["removed"] == 12


def test_orphan_whose_name_is_taken_in_the_middle_is_left(make, tmp_path):
    from django.utils import timezone

    from queued_storage.retention import Orphans

    storage = make()
    orphan(tmp_path / "disk", "a.txt")
    orphans = Orphans(storage.chain, timezone.now())
    (found,) = orphans.find()
    storage.take_in(["a.txt"])
    assert not orphans.remove(found, Cap())
    assert (tmp_path / "disk" / "a.txt").exists()


def test_read_only_tier_has_no_orphans(make, tmp_path):
    archive = {"BACKEND": DISK, "OPTIONS": {"location": str(tmp_path / "archive")}, "READ_ONLY": True}
    make({"disk": "disk", "archive": archive}, policy="delayed")
    path = orphan(tmp_path / "archive", "a.txt")
    assert tiers("gc", "--orphans", "--older-than", "P30D")["orphans"] == 0
    assert path.exists()


def test_tier_that_cannot_be_listed_is_a_finding(make):
    make({"near": "memory", "far": faulty.tier("far")})
    faulty.bucket("far").go_down()
    told = tiers("gc", "--orphans", "--older-than", "P30D", exits=2)
    assert list(told["unlisted"]) == ["media: far"]
