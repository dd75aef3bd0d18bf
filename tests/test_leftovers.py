"""``tiers gc``: what crashed processes left is found by its name and age, and nothing else is touched."""

from __future__ import annotations

import io
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone

from queued_storage import operations
from queued_storage.models import StoredFile
from queued_storage.names import staging_name

from tests.base_settings import DISK

pytestmark = pytest.mark.django_db

DAY = 86400.0


def gc(*arguments: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command("tiers", "gc", "--json", *arguments, stdout=out)
    report: dict[str, Any] = json.loads(out.getvalue())
    return report


def leave(folder: Path, age: float = 2 * DAY) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / staging_name()
    path.write_bytes(b"half of a fi")
    then = timezone.now().timestamp() - age
    os.utime(path, (then, then))
    return path


def test_staging_files_of_every_tier_and_folder_go(make_chain, tmp_path):
    make_chain(["near", "far"])
    left = [leave(tmp_path / "near"), leave(tmp_path / "far" / "a" / "b")]
    assert gc() == {"staging": 2, "upload": 0, "tombstones": 0, "trash": 0, "dry_run": False}
    assert not any(path.exists() for path in left)


def test_what_was_written_to_lately_stays(make_chain, tmp_path):
    make_chain(["near", "far"])
    path = leave(tmp_path / "near", age=60)
    assert gc()["staging"] == 0
    assert path.exists()
    assert gc("--older-than", "30")["staging"] == 1
    assert not path.exists()


def test_dry_run_only_tells(make_chain, tmp_path, capsys):
    make_chain(["near", "far"])
    path = leave(tmp_path / "near")
    call_command("tiers", "gc", "--dry-run")
    assert f"media: near: staging {path.name}" in capsys.readouterr().out
    assert path.exists()


def test_files_of_others_stay(make_chain, tmp_path):
    storage = make_chain(["near", "far"])
    name = storage.save("a.txt", ContentFile(b"1"))
    (tmp_path / "near" / ".hidden").write_bytes(b"1")
    assert gc("--older-than", "-5")["staging"] == 0
    assert storage.exists(name)
    assert (tmp_path / "near" / ".hidden").exists()


def test_read_only_tier_is_not_touched(make_chain, tmp_path):
    archive = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(tmp_path / "archive")},
        "READ_ONLY": True,
    }
    make_chain({"near": "disk", "archive": archive})
    path = leave(tmp_path / "archive")
    assert gc()["staging"] == 0
    assert path.exists()


@pytest.mark.django_db(transaction=True)
def test_g1_content_that_waits_for_its_publication_stays(make_chain, tmp_path, monkeypatch):
    from queued_storage import committed

    overwriting = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(tmp_path / "near"), "allow_overwrite": True},
    }
    storage = make_chain({"near": overwriting, "far": "disk"})
    storage.save("a.txt", ContentFile(b"old"))
    monkeypatch.setattr(committed._Publication, "run", lambda self: None)  # the process died after its commit
    with transaction.atomic():
        storage.save("a.txt", ContentFile(b"new"))
    monkeypatch.undo()
    assert gc("--older-than", "-5")["staging"] == 0
    call_command("tiers", "drain", "--json", stdout=io.StringIO())
    with storage.open("a.txt") as file:
        assert file.read() == b"new"


def test_g2_content_that_waits_on_another_chains_folder_stays(make_chain, tmp_path, settings, monkeypatch):
    """A chain whose tier lies around another's sees that one's staged content too."""
    from queued_storage import committed

    outer = {"BACKEND": DISK, "OPTIONS": {"location": str(tmp_path)}}
    inner = {"BACKEND": DISK, "OPTIONS": {"location": str(tmp_path / "near"), "allow_overwrite": True}}
    make_chain({"outer": outer}, alias="outer")
    storage = make_chain({"near": inner, "far": "disk"})
    storage.save("a.txt", ContentFile(b"old"))
    monkeypatch.setattr(committed._Publication, "run", lambda self: None)
    storage.save("a.txt", ContentFile(b"new"))
    monkeypatch.undo()
    assert gc("--chain", "outer", "--older-than", "-5")["staging"] == 0


def test_without_time_zones(make_chain, tmp_path, settings):
    settings.USE_TZ = False
    make_chain(["near", "far"])
    leave(tmp_path / "near")
    assert gc()["staging"] == 1


def test_unfinished_multipart_uploads_go(make_chain, seaweedfs):
    bucket, other = seaweedfs.make_bucket(), seaweedfs.make_bucket()
    make_chain({"near": "disk", "far": seaweedfs.tier(bucket, location="media")})
    for where, key in ((bucket, "media/a.bin"), (bucket, "elsewhere/a.bin"), (other, "media/a.bin")):
        seaweedfs.client.create_multipart_upload(Bucket=where, Key=key)
    assert gc()["upload"] == 0
    before = timezone.now() + timedelta(seconds=10)
    (found,) = operations.collect("media", before)
    assert (found.tier, found.name, found.kind) == ("far", "a.bin", "upload")
    left = seaweedfs.client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    assert [upload["Key"] for upload in left] == ["elsewhere/a.bin"]
    assert len(seaweedfs.client.list_multipart_uploads(Bucket=other)["Uploads"]) == 1


def test_tombstones_go_after_so_many_days(make_chain, settings):
    for alias in ("media", "papers"):
        storage = make_chain(["near", "far"], alias=alias)
        for i in range(2):
            storage.save(f"{i}.txt", ContentFile(b"1"))
    call_command("tiers", "drain", stdout=io.StringIO())
    StoredFile.objects.update(
        state="deleted", due_at=None, tiers=[], saved_at=timezone.now() - timedelta(days=3)
    )
    assert gc("--chain", "media")["tombstones"] == 0
    assert gc("--chain", "media", "--history", "2", "--dry-run")["tombstones"] == 2
    assert gc("--chain", "media", "--history", "2")["tombstones"] == 2
    assert list(StoredFile.objects.values_list("chain", flat=True)) == ["papers", "papers"]
