"""Brakes and caps: how much one run may believe, take away or do."""

from __future__ import annotations

import io
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command

from queued_storage.brakes import Brake, Cap, TooManyReleases
from queued_storage.models import StoredFile
from queued_storage.names import staging_name

pytestmark = pytest.mark.django_db


def tiers(action: str, *arguments: str) -> dict[str, Any]:
    out = io.StringIO()
    with suppress(SystemExit):  # findings
        call_command("tiers", action, "--json", *arguments, stdout=out, stderr=io.StringIO())
    report: dict[str, Any] = json.loads(out.getvalue())
    return report


class TestBrake:
    def test_a_few_are_no_reason(self) -> None:
        Brake(10, TooManyReleases).check({"s3": 9}, {"s3": 9})

    def test_share_of_one_part_is_enough(self) -> None:
        brake = Brake(10, TooManyReleases)
        brake.check({"s3": 1000}, {})
        with pytest.raises(TooManyReleases, match="20 of the 100 copies on tier 's3'"):
            brake.check({"s3": 100}, {"s3": 20})

    def test_share_of_the_whole_counts(self) -> None:
        brake = Brake(10, TooManyReleases)
        brake.check({"s3": 60}, {"s3": 6})
        with pytest.raises(TooManyReleases, match="13 of the 120 copies"):
            brake.check({"s3": 60}, {"s3": 7})

    def test_other_tiers_do_not_count(self) -> None:
        Brake(10, TooManyReleases).check({"s3": 1000, "disk": 20}, {"s3": 20})


class TestCap:
    @pytest.mark.parametrize(
        ("files", "size", "sizes", "taken"),
        [
            (None, None, [5, 5, 5], 3),
            (2, None, [5, 5, 5], 2),
            (None, 10, [5, 5, 5], 2),
            (None, 3, [5, 1], 1),  # the first one, whatever its size
            (None, 10, [5, 6, 1], 1),  # what comes after one that does not fit keeps its turn
            (1, 100, [5, 5], 1),
        ],
    )
    def test_takes(self, files: int | None, size: int | None, sizes: list[int], taken: int) -> None:
        cap = Cap(files, size)
        assert sum(cap.takes(each) for each in sizes) == taken
        assert cap.is_reached is (taken < len(sizes))


class TestCommands:
    @pytest.fixture
    def owed(self, make_chain: Any) -> Any:
        storage = make_chain(["near", "far"], policy="transfer")
        for i in range(5):
            storage.save(f"{i}.txt", ContentFile(b"12345"))
        return storage

    def test_drain_ends_at_so_many_bytes(self, owed: Any) -> None:
        assert tiers("drain", "--max-bytes", "12") == {"worked_on": 2, "settled": 2, "capped": True}
        assert tiers("drain", "--max-bytes", "1kB") == {"worked_on": 3, "settled": 3}

    def test_drain_ends_at_so_many_files(self, owed: Any) -> None:
        assert tiers("drain", "--max-files", "4")["worked_on"] == 4
        assert tiers("drain", "--limit", "4")["worked_on"] == 1

    def test_transfer_makes_so_much_due(self, make_chain: Any, tmp_path: Path) -> None:
        make_chain(["near", "far"], policy="transfer")
        (tmp_path / "near").mkdir()
        for i in range(5):
            (tmp_path / "near" / f"{i}.txt").write_bytes(b"12345")
        assert tiers("transfer", "--max-bytes", "12") == {
            "asked": 2, "pending": 2, "dry_run": False, "capped": True, "missing": [],
        }  # fmt: skip
        assert tiers("transfer", "--max-files", "2")["asked"] == 2  # those that are due already
        assert StoredFile.objects.count() == 2
        tiers("drain")
        report = tiers("transfer", "--max-files", "2")
        assert (report["asked"], report["settled"], report["pending"]) == (4, 2, 2)
        tiers("drain")
        assert tiers("transfer", "--max-bytes", "1GB")["asked"] == 5

    def left(self, folder: Path, count: int) -> list[Path]:
        folder.mkdir(exist_ok=True)
        paths = [folder / staging_name() for _ in range(count)]
        for path in paths:
            path.write_bytes(b"12345")
            os.utime(path, (1, 1))
        return paths

    def test_gc_stops_where_too_much_looks_unfinished(self, make_chain: Any, tmp_path: Path) -> None:
        make_chain(["near", "far"])
        paths = self.left(tmp_path / "far", 12)
        (tmp_path / "far" / "a.txt").write_bytes(b"1")
        out = io.StringIO()
        with pytest.raises(CommandError, match="12 of 13 files looked at on tier 'far'"):
            call_command("tiers", "gc", "--json", stdout=out)
        assert json.loads(out.getvalue())["staging"] == 0
        assert all(path.exists() for path in paths)
        assert tiers("gc", "--dry-run")["staging"] == 12
        assert tiers("gc", "--max-share", "100")["staging"] == 12
        assert not any(path.exists() for path in paths)

    def test_gc_ends_at_its_cap(self, make_chain: Any, tmp_path: Path) -> None:
        make_chain(["near", "far"])
        self.left(tmp_path / "far", 5)
        assert tiers("gc", "--max-files", "2")["staging"] == 2
        assert tiers("gc", "--max-bytes", "10")["staging"] == 2
        assert tiers("gc", "--max-bytes", "10") == {
            "staging": 1, "upload": 0, "tombstones": 0, "trash": 0, "dry_run": False,
        }  # fmt: skip

    @pytest.mark.parametrize("size", ["0", "many", "-5", "5X"])
    def test_number_of_bytes_that_is_none(self, owed: Any, size: str) -> None:
        with pytest.raises(CommandError, match="number of bytes"):
            call_command("tiers", "drain", f"--max-bytes={size}")
