"""``manage.py tiers``: what it prints, what it changes, and how it exits."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, default_storage
from django.core.management import CommandError, call_command
from django.utils import timezone

from queued_storage import batch, copying, dispatch, leftovers, operations
from queued_storage.management import escaping
from queued_storage.models import StoredFile
from queued_storage.storage import TieredStorage

from tests.base_settings import DISK
from tests.testapp.models import Plain

pytestmark = pytest.mark.django_db


def tiers(*arguments: str) -> tuple[int, str]:
    """Run the command; return its exit code and what it printed."""
    out = io.StringIO()
    try:
        call_command("tiers", *arguments, stdout=out, stderr=io.StringIO())
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def tiers_json(*arguments: str) -> tuple[int, dict[str, Any]]:
    code, printed = tiers(*arguments, "--json")
    return code, json.loads(printed)


@pytest.fixture
def storage(make_chain: Any) -> TieredStorage:
    chain: TieredStorage = make_chain(policy="transfer-and-delete")
    return chain


@pytest.fixture
def pending(storage: TieredStorage) -> list[str]:
    return [storage.save(f"{i}.txt", ContentFile(b"x" * 10)) for i in range(3)]


@pytest.fixture
def failed(storage: TieredStorage) -> str:
    name = storage.save("bad.txt", ContentFile(b"1"))
    StoredFile.objects.update(state="failed", due_at=None, last_error="tier 'vault': OSError")
    return name


class TestStatus:
    def test_counts_by_state_and_tier(self, pending: list[str]) -> None:
        code, document = tiers_json("status", "--chain", "media")
        (chain,) = document["chains"]
        assert code == 0
        assert (chain["files"], chain["bytes"], chain["pending"], chain["settled"]) == (3, 30, 3, 0)
        assert chain["tiers"] == [
            {"tier": "disk", "files": 3, "bytes": 30},
            {"tier": "vault", "files": 0, "bytes": 0},
        ]
        assert chain["first_tier_only"] == {"tier": "disk", "files": 3, "bytes": 30}
        assert chain["owed_since"] is not None

    def test_says_that_all_is_settled(self, pending: list[str]) -> None:
        tiers("drain")
        _, document = tiers_json("status", "--chain", "media")
        (chain,) = document["chains"]
        assert (chain["settled"], chain["pending"], chain["owed_since"]) == (3, 0, None)
        assert chain["first_tier_only"]["files"] == 0

    def test_prints_plain_lines_in_a_pipe(self, pending: list[str]) -> None:
        _, printed = tiers("status", "--chain", "media")
        assert "media: 3 files" in printed
        assert "pending 3" in printed
        assert "\x1b" not in printed

    def test_failed_file_is_a_finding(self, failed: str) -> None:
        code, document = tiers_json("status", "--chain", "media")
        assert (code, document["chains"][0]["failed"]) == (2, 1)

    def test_chain_that_only_the_catalog_has_is_told(self, pending: list[str]) -> None:
        StoredFile.objects.filter(name=pending[0]).update(chain="of-another-project")
        _, document = tiers_json("status")
        *_, stray = document["chains"]
        assert (stray["chain"], stray["is_known"], stray["files"]) == ("of-another-project", False, 1)
        assert stray["tiers"] == [{"tier": "disk", "files": 1, "bytes": 10}]
        assert "of-another-project: 1 files, 10\xa0bytes; not known to this process" in tiers("status")[1]

    def test_tells_what_was_copied_lately(self, pending: list[str]) -> None:
        _, document = tiers_json("status", "--chain", "media")
        assert document["chains"][0]["throughput"] == {"minutes": 5, "files": 0, "bytes": 0}
        tiers("drain")
        StoredFile.objects.filter(name=pending[0]).update(copied_at=timezone.now() - timedelta(minutes=6))
        _, document = tiers_json("status", "--chain", "media")
        assert document["chains"][0]["throughput"] == {"minutes": 5, "files": 2, "bytes": 20}
        assert "in the last 5 minutes: 2 files, 20\xa0bytes (0.0 files/s" in tiers("status")[1]

    def test_tells_why_files_failed(self, pending: list[str]) -> None:
        StoredFile.objects.update(state="failed", due_at=None, last_error="tier 'vault' is full")
        StoredFile.objects.filter(name=pending[0]).update(last_error="tier 'vault': OSError")
        _, document = tiers_json("status", "--chain", "media")
        reasons = {"tier 'vault' is full": 2, "tier 'vault': OSError": 1}
        assert document["chains"][0]["reasons"] == reasons
        assert "failed, 2: tier 'vault' is full" in tiers("status")[1]

    def test_watch_redraws_until_ctrl_c(self, pending: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        waits: list[float] = []

        def wait(seconds: float) -> None:
            waits.append(seconds)
            tiers("drain")
            if len(waits) == 2:
                raise KeyboardInterrupt

        monkeypatch.setattr("time.sleep", wait)
        code, printed = tiers("status", "--chain", "media", "--watch", "7")
        assert (code, waits) == (0, [7.0, 7.0])
        assert [printed.count(text) for text in ("settled 0  pending 3", "settled 3  pending 0")] == [1, 1]
        assert "\x1b" not in printed

    def test_watch_has_no_json(self, storage: TieredStorage) -> None:
        with pytest.raises(CommandError, match="--watch"):
            tiers("status", "--watch", "--json")

    def test_costs_the_same_for_many_files(
        self, pending: list[str], django_assert_max_num_queries: Any
    ) -> None:
        with django_assert_max_num_queries(4):
            tiers("status", "--chain", "media")


class TestDrain:
    def test_does_all_due_work_here(self, storage: TieredStorage, pending: list[str]) -> None:
        code, document = tiers_json("drain")
        assert (code, document) == (0, {"worked_on": 3, "settled": 3})
        assert [storage.tiers(name) for name in pending] == [["vault"]] * 3

    def test_stops_at_its_limit(self, pending: list[str]) -> None:
        assert tiers_json("drain", "--limit", "2")[1]["worked_on"] == 2
        assert StoredFile.objects.filter(state="pending").count() == 1

    def test_dry_run_changes_nothing(self, pending: list[str]) -> None:
        assert tiers_json("drain", "--dry-run") == (0, {"due": 3, "dry_run": True})
        assert StoredFile.objects.filter(state="pending").count() == 3

    def test_leaves_other_chains_alone(self, make_chain: Any, pending: list[str], tmp_path: Path) -> None:
        make_chain(["papers", "cellar"], alias="papers").save("a.txt", ContentFile(b"1"))
        assert tiers_json("drain", "--chain", "papers")[1]["worked_on"] == 1
        assert StoredFile.objects.filter(chain="media", state="pending").count() == 3

    def test_file_that_is_due_again_at_once_is_visited_once(
        self, settings: Any, storage: TieredStorage, pending: list[str]
    ) -> None:
        settings.QUEUED_STORAGE_RETRY_DELAY = 0
        StoredFile.objects.filter(name=pending[0]).update(chain="of-another-project")
        assert tiers_json("drain") == (2, {"worked_on": 3, "settled": 2, "pending": 1})

    def test_file_that_cannot_move_is_a_finding(self, storage: TieredStorage, pending: list[str]) -> None:
        (Path(storage.path(pending[0]))).unlink()
        code, document = tiers_json("drain")
        assert (code, document["failed"], document["settled"]) == (2, 1, 2)

    def test_report_of_more_files_than_a_statement_has_parameters(
        self, pending: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ids = StoredFile.objects.values_list("pk", flat=True)
        many = [*ids, *range(10**9, 10**9 + 300_000)]  # SQLite takes 250,000, PostgreSQL 65,535
        monkeypatch.setattr(batch, "drain", lambda *_, **__: iter(many))
        assert tiers_json("drain") == (2, {"worked_on": len(many), "pending": 3})


class TestStopping:
    """Ctrl-C, and SIGTERM where there is something to give back."""

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    @pytest.mark.parametrize("fast_paths", [True, False])
    def test_drain_ends_what_it_began_and_gives_back_the_rest(
        self,
        storage: TieredStorage,
        settings: Any,
        monkeypatch: pytest.MonkeyPatch,
        number: int,
        fast_paths: bool,
    ) -> None:
        settings.QUEUED_STORAGE_FAST_PATHS = fast_paths
        settings.QUEUED_STORAGE_BATCH = 4
        for i in range(6):
            storage.save(f"{i}.txt", ContentFile(b"x" * 10))
        copy = copying.copy

        def stopped(*arguments: Any, **options: Any) -> Any:
            os.kill(os.getpid(), number)
            monkeypatch.setattr(copying, "copy", copy)
            return copy(*arguments, **options)

        monkeypatch.setattr(copying, "copy", stopped)
        before = signal.getsignal(number)
        out = io.StringIO()
        with pytest.raises(CommandError, match=r"^Stopped\. .* tiers drain --chain media goes on"):
            call_command("tiers", "drain", "--chain", "media", "--json", stdout=out)
        assert signal.getsignal(number) is before
        report = json.loads(out.getvalue())
        assert report["worked_on"] == report["settled"]
        assert report["worked_on"] in (range(1, 5) if fast_paths else [1])
        assert not StoredFile.objects.exclude(lease="").exists()
        assert tiers_json("drain") == (
            0,
            {"worked_on": 6 - report["worked_on"], "settled": 6 - report["worked_on"]},
        )

    def test_second_one_ends_drain_at_once(
        self, pending: list[str], settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.QUEUED_STORAGE_FAST_PATHS = False

        def stopped_twice(*_: Any, **__: Any) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

        monkeypatch.setattr(copying, "copy", stopped_twice)
        out = io.StringIO()
        with pytest.raises(CommandError, match=r"^Stopped\. "):
            call_command("tiers", "drain", "--json", stdout=out)
        assert json.loads(out.getvalue()) == {"worked_on": 0}

    @pytest.mark.parametrize(
        ("action", "at"),
        [
            (["status"], "status"),
            (["transfer", "--chain", "media"], "transfer"),
            (["gc"], "collect"),
            (["retry"], "failed"),
            (["explain", "a.txt"], "explain"),
        ],
    )
    def test_others_say_how_to_go_on(
        self, storage: TieredStorage, monkeypatch: pytest.MonkeyPatch, action: list[str], at: str
    ) -> None:
        def interrupted(*_: Any, **__: Any) -> Any:
            raise KeyboardInterrupt

        monkeypatch.setattr(operations, at, interrupted)
        with pytest.raises(CommandError, match=r"^Stopped\. \w.*again"):
            tiers(*action)


class TestTransfer:
    def test_takes_in_files_that_were_there_before(self, storage: TieredStorage, tmp_path: Path) -> None:
        (tmp_path / "disk" / "old").mkdir(parents=True)
        (tmp_path / "disk" / "old" / "a.txt").write_bytes(b"before")
        assert tiers_json("transfer", "--chain", "media")[1]["pending"] == 1
        tiers("drain")
        assert storage.tiers("old/a.txt") == ["vault"]
        assert (tmp_path / "vault" / "old" / "a.txt").read_bytes() == b"before"

    def test_dry_run_takes_in_nothing(self, storage: TieredStorage, tmp_path: Path) -> None:
        (tmp_path / "disk").mkdir()
        (tmp_path / "disk" / "a.txt").write_bytes(b"before")
        assert tiers_json("transfer", "--chain", "media", "--dry-run")[1]["unknown"] == 1
        assert not StoredFile.objects.exists()

    def test_asks_for_a_delayed_file(self, make_chain: Any) -> None:
        storage = make_chain(policy="delayed")
        name = storage.save("a.txt", ContentFile(b"1"))
        assert tiers_json("transfer", name, "--chain", "media")[1]["pending"] == 1
        tiers("drain")
        assert storage.tiers(name) == ["disk", "vault"]

    def test_missing_name_is_a_finding(self, storage: TieredStorage) -> None:
        code, document = tiers_json("transfer", "nowhere.txt", "--chain", "media")
        assert (code, document["missing"]) == (2, ["nowhere.txt"])


def put(path: Path, content: bytes = b"content") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


class WithMarkers(FileSystemStorage):
    """Lists the objects that stand for folders, as some object stores' consoles make them."""

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        directories, files = super().listdir(path)
        return directories, ["", *files]


class OwnDisk(FileSystemStorage):
    """A class that nobody knows by its path."""


class TestTransferAmongOthers:
    """Files of others in a chain's place: taken from the first tier, they would be missed there."""

    @pytest.fixture
    def theirs(self, storage: TieredStorage, tmp_path: Path) -> Path:
        put(tmp_path / "disk/reports/ours.pdf")
        return put(tmp_path / "disk/avatars/me.png")

    @pytest.fixture(params=["default_storage", "field", "own-class", "storages", "chain"])
    def other(
        self, request: pytest.FixtureRequest, make_chain: Any, theirs: Path, tmp_path: Path, settings: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> str:  # fmt: skip
        """Who else keeps files on the first tier, or around it; the name by which it is told."""
        folder = tmp_path / "disk"
        fields = {"field": FileSystemStorage(folder), "own-class": OwnDisk(folder)}
        if request.param == "chain":
            here = {"BACKEND": DISK, "OPTIONS": {"location": str(folder)}}
            make_chain({"here": here, "there": "disk"}, alias="papers")
            return "chain 'papers'"
        if request.param == "storages":
            options = {"location": str(folder)}
            settings.STORAGES = settings.STORAGES | {"more": {"BACKEND": DISK, "OPTIONS": options}}
            return "STORAGES['more']"
        settings.MEDIA_ROOT = str(folder)
        storage = fields.get(request.param, default_storage)
        monkeypatch.setattr(Plain._meta.get_field("file"), "storage", storage)
        return "testapp.Plain.file"

    def test_g1_all_of_them_are_not_taken_in_unasked(self, other: str, theirs: Path) -> None:
        with pytest.raises(CommandError, match=re.escape(f"{other} (on tier 'disk')")) as caught:
            tiers("transfer", "--chain", "media")
        assert all(word in str(caught.value) for word in ("--dry-run", "--prefix", "--all"))
        assert not StoredFile.objects.exists()

    def test_dry_run_lists_the_names(self, other: str) -> None:
        code, report = tiers_json("transfer", "--chain", "media", "--dry-run")
        assert (code, sorted(report["names"])) == (0, ["avatars/me.png", "reports/ours.pdf"])
        assert "unknown: avatars/me.png" in tiers("transfer", "--chain", "media", "--dry-run")[1]

    @pytest.mark.parametrize(
        ("said", "count"),
        [(["reports/ours.pdf"], 1), (["--prefix", "reports/"], 1), (["--prefix", "r"], 1), (["--all"], 2)],
    )  # fmt: skip
    def test_those_that_are_meant_are_moved(
        self, other: str, storage: TieredStorage, said: list[str], count: int
    ) -> None:
        assert tiers_json("transfer", *said, "--chain", "media")[1]["pending"] == count
        tiers("drain")
        assert storage.tiers("reports/ours.pdf") == ["vault"]

    def test_alone_nothing_need_be_said(self, theirs: Path) -> None:
        assert tiers_json("transfer", "--chain", "media")[1]["pending"] == 2

    def test_default_storage_that_no_field_uses_is_nobody(
        self, theirs: Path, tmp_path: Path, settings: Any
    ) -> None:
        options = {"location": str(tmp_path / "disk")}
        settings.STORAGES = settings.STORAGES | {"default": {"BACKEND": DISK, "OPTIONS": options}}
        plain = Plain._meta.get_field("file")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(plain, "storage", FileSystemStorage(tmp_path / "elsewhere"))
            assert tiers_json("transfer", "--chain", "media")[1]["pending"] == 2

    def test_field_on_a_folder_around_is_no_hindrance(
        self, theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Plain._meta.get_field("file"), "storage", FileSystemStorage(tmp_path))
        assert tiers_json("transfer", "--chain", "media")[1]["pending"] == 2

    def test_entry_of_storages_that_the_tier_is_is_itself(
        self, make_chain: Any, theirs: Path, tmp_path: Path, settings: Any
    ) -> None:
        options = {"location": str(tmp_path / "disk")}
        settings.STORAGES = settings.STORAGES | {"own": {"BACKEND": DISK, "OPTIONS": options}}
        make_chain({"disk": {"STORAGE": "own"}, "vault": "disk"})
        assert tiers_json("transfer", "--chain", "media")[1]["pending"] == 2

    def test_prefix_that_leads_out_is_refused(self, storage: TieredStorage) -> None:
        with pytest.raises(CommandError, match="outside"):
            tiers("transfer", "--prefix", "../x/", "--chain", "media")


class TestTransferOfNestedPlaces:
    """What lies in a folder of a tier that is another's place is not the tier's."""

    @pytest.fixture
    def nested(self, make_chain: Any, tmp_path: Path) -> TieredStorage:
        inner = {"BACKEND": DISK, "OPTIONS": {"location": str(tmp_path / "disk/archive")}}
        put(tmp_path / "disk/archive/moved.pdf", b"moved")
        put(tmp_path / "disk/waiting.pdf", b"waiting")
        storage: TieredStorage = make_chain({"disk": "disk", "vault": inner}, "transfer-and-delete")
        return storage

    def test_g2_files_of_the_chains_own_lower_tier_stay(self, nested: TieredStorage, tmp_path: Path) -> None:
        assert tiers_json("transfer", "--chain", "media")[0] == 0
        tiers("drain")
        assert (tmp_path / "disk/archive/moved.pdf").read_bytes() == b"moved"
        assert {name: nested.tiers(name) for name in ("moved.pdf", "waiting.pdf")} == {
            "moved.pdf": ["vault"],
            "waiting.pdf": ["vault"],
        }

    def test_g2_named_they_are_told_and_stay(self, nested: TieredStorage, tmp_path: Path) -> None:
        code, report = tiers_json("transfer", "archive/moved.pdf", "--chain", "media")
        assert (code, report["foreign"]) == (2, ["archive/moved.pdf"])
        assert (tmp_path / "disk/archive/moved.pdf").exists()

    def test_files_of_another_chain_stay(
        self, make_chain: Any, storage: TieredStorage, tmp_path: Path
    ) -> None:
        inner = {"BACKEND": DISK, "OPTIONS": {"location": str(tmp_path / "disk/papers")}}
        make_chain({"here": inner, "there": "disk"}, alias="papers")
        put(tmp_path / "disk/papers/a.txt")
        put(tmp_path / "disk/ours.txt")
        assert tiers_json("transfer", "--chain", "media")[1]["pending"] == 1
        assert storage.state("papers/a.txt") is None

    def test_field_that_saves_there_by_the_chain_goes_on(self, nested: TieredStorage) -> None:
        name = nested.save("archive/new.pdf", ContentFile(b"new"))
        assert tiers_json("transfer", name, "--chain", "media")[1]["pending"] == 1


class TestTransferOfOddNames:
    """Names that no read would find, or no database holds, are told; the others are moved."""

    def test_on_a_disk(self, storage: TieredStorage, tmp_path: Path) -> None:
        odd = ["a\\b.txt", "\\", "w\\.", "c\\..\\d.txt", "dir\\/x.txt", "/".join(["d" * 200] * 6)]
        for name in odd:
            put(tmp_path / "disk" / name)
        put(tmp_path / "disk/zz.txt")
        code, report = tiers_json("transfer", "--chain", "media")
        assert (code, report["pending"], report["unnameable"]) == (2, 1, len(odd))
        assert sorted(report["missing"]) == sorted([*odd[:4], "dir\\/", odd[5]])

    @pytest.mark.parametrize("key", ["a//b.txt", "/lead.txt", "x/../up.txt", "./here.txt"])
    def test_in_a_bucket(self, make_chain: Any, moto_s3: Any, tmp_path: Path, key: str) -> None:
        bucket = moto_s3.make_bucket()
        for each in (key, "c.txt", "folder/", "folder/d.txt"):
            moto_s3.client.put_object(Bucket=bucket, Key=each, Body=b"1")
        make_chain({"disk": "disk", "vault": moto_s3.tier(bucket)}, "transfer-and-delete")
        put(tmp_path / "disk/zz.txt")
        code, report = tiers_json("transfer", "--chain", "media")
        assert (code, report["pending"], report["settled"], report["unnameable"]) == (2, 1, 2, 1)
        assert key in moto_s3.keys(bucket)

    def test_marker_of_a_folder_is_no_file(self, make_chain: Any, tmp_path: Path) -> None:
        marked = {
            "BACKEND": "tests.test_tiers_command.WithMarkers",
            "OPTIONS": {"location": str(tmp_path / "marked")},
        }
        make_chain({"marked": marked, "vault": "disk"})
        put(tmp_path / "marked/folder/a.txt")
        assert tiers_json("transfer", "--chain", "media") == (
            0,
            {"asked": 1, "pending": 1, "dry_run": False, "missing": []},
        )

    @pytest.mark.parametrize("name", ["", ".", "/", "a/.."])
    def test_name_of_nothing(self, storage: TieredStorage, name: str) -> None:
        assert tiers_json("transfer", name, "--chain", "media")[1]["unnameable"] == 1

    def test_name_that_a_tier_refuses(self, storage: TieredStorage) -> None:
        code, report = tiers_json("transfer", "../../etc/passwd", "ok/./a//b.txt", "--chain", "media")
        assert (code, report["missing"]) == (2, ["../../etc/passwd", "ok/a/b.txt"])


class TestRetryAndSweep:
    def test_retry_brings_a_failed_file_back(self, storage: TieredStorage, failed: str) -> None:
        assert tiers_json("retry") == (0, {"retried": 1})
        tiers("drain")
        assert storage.state(failed) == "settled"

    def test_retry_of_another_name_leaves_it(self, storage: TieredStorage, failed: str) -> None:
        assert tiers_json("retry", "other.txt") == (0, {"retried": 0})
        assert storage.state(failed) == "failed"

    @pytest.fixture
    def failures(self, pending: list[str]) -> list[str]:
        """One that is full, one that is denied, and one that waits for its next attempt."""
        rows = StoredFile.objects.filter(name__in=pending)
        rows.update(state="failed", due_at=None, attempts=6, last_error="tier 'vault' is full: OSError")
        rows.filter(name=pending[1]).update(last_error="tier 'vault': PermissionError")
        later = timezone.now() + timedelta(hours=1)
        rows.filter(name=pending[2]).update(state="pending", due_at=later, attempts=2)
        return pending

    @pytest.mark.parametrize(
        ("said", "due"),
        [
            ([], [0, 1]), (["--failed"], [0, 1]), (["--error", "IS FULL"], [0]), (["--error", "permission"], [1]),
            (["--waiting"], [2]), (["--waiting", "--error", "permission"], []), (["--limit", "1"], [0]),
            (["--chain", "media"], [0, 1]), (["--cause", "full"], [0]), (["--cause", "name"], []),
            (["--tier", "vault"], [0, 1]), (["--tier", "disk"], []), (["--cause", "denied", "--limit", "1"], [1]),
        ],
    )  # fmt: skip
    def test_retry_of_those_that_are_meant(
        self, failures: list[str], said: list[str], due: list[int]
    ) -> None:
        assert tiers_json("retry", *said) == (0, {"retried": len(due)})
        is_due = StoredFile.objects.filter(state="pending", attempts=0, due_at__lte=timezone.now())
        assert sorted(is_due.values_list("name", flat=True)) == sorted(failures[i] for i in due)

    def test_retry_dry_run_counts_by_reason(self, failures: list[str]) -> None:
        reasons = {"tier 'vault' is full: OSError": 1, "tier 'vault': PermissionError": 1}
        before = list(StoredFile.objects.values())
        assert tiers_json("retry", "--dry-run") == (0, {"failed": 2, "dry_run": True, "reasons": reasons})
        assert "1 denied: tier 'vault': PermissionError" in tiers("retry", "--dry-run")[1]
        assert list(StoredFile.objects.values()) == before

    def test_retry_sends_one_message_for_many(
        self, settings: Any, failures: list[str], django_capture_on_commit_callbacks: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        sent: list[list[int]] = []
        monkeypatch.setattr(dispatch, "_dispatch", lambda ids: sent.append(ids) or len(ids))
        with django_capture_on_commit_callbacks(execute=True):
            tiers("retry")
        assert len(sent) == 1  # with the file that the test's transaction has saved
        assert set(sent[0]) >= set(StoredFile.objects.filter(attempts=0).values_list("pk", flat=True))

    def test_sweep_hands_due_work_to_the_dispatcher(self, settings: Any, pending: list[str]) -> None:
        settings.QUEUED_STORAGE_DISPATCHER = "queued_storage.dispatch.ImmediateDispatcher"
        assert tiers_json("sweep") == (0, {"dispatched": 3})
        assert set(StoredFile.objects.values_list("state", flat=True)) == {"settled"}

    def test_sweep_dry_run_counts(self, pending: list[str]) -> None:
        assert tiers_json("sweep", "--dry-run") == (0, {"due": 3, "dry_run": True})


class TestExplain:
    def test_tells_where_and_what_next(self, pending: list[str]) -> None:
        code, story = tiers_json("explain", pending[0], "--chain", "media")
        assert (code, story["state"]) == (0, "pending")
        assert story["found on"] == {"disk": "yes", "vault": "no"}
        assert story["next"].startswith("Copy to vault")
        assert story["ways"] == {"vault": "written beside their place, and renamed"}

    def test_unknown_file_is_a_finding(self, storage: TieredStorage) -> None:
        code, story = tiers_json("explain", "nowhere.txt", "--chain", "media")
        assert (code, story["state"]) == (2, None)

    def test_failed_file_tells_its_reason(self, failed: str) -> None:
        code, printed = tiers("explain", failed, "--chain", "media")
        assert code == 2
        assert "tier 'vault': OSError" in printed


class TestErrors:
    def test_unknown_chain(self, storage: TieredStorage) -> None:
        with pytest.raises(CommandError, match="Did you mean 'media'"):
            tiers("status", "--chain", "medai")

    def test_limit_that_is_no_count(self) -> None:
        with pytest.raises(CommandError, match="whole number"):
            tiers("drain", "--limit", "0")

    def test_chain_must_be_said_where_there_are_several(
        self, make_chain: Any, storage: TieredStorage
    ) -> None:
        make_chain(["papers", "cellar"], alias="papers")
        with pytest.raises(CommandError, match="--chain"):
            tiers("explain", "a.txt")


class TestTerminal:
    """What others wrote, into names above all, does nothing to a terminal."""

    NAME = "a\x1b[2J\x9b31m\u202e.txt"

    @pytest.fixture(autouse=True)
    def _odd(self, storage: TieredStorage, tmp_path: Path) -> None:
        put(tmp_path / "disk" / self.NAME)
        storage.save("b\x1b[2J.txt", ContentFile(b"1"))
        StoredFile.objects.update(state="failed", due_at=None, last_error="tier 'vault': E: \x1b[2J\r\nno")

    @pytest.mark.parametrize(
        "action",
        [
            ["verify", "--unknown"],
            ["transfer", "--chain", "media", "--dry-run"],
            ["explain", NAME],
            ["explain", "b\x1b[2J.txt"],
            ["transfer", "gone\x1b[2J.txt"],
            ["status"],
            ["retry", "--dry-run"],
        ],
    )
    def test_no_control_character_is_printed(self, action: list[str]) -> None:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.suppress(SystemExit):
            call_command("tiers", *action, stdout=out, stderr=err, no_color=True)
        printed = out.getvalue() + err.getvalue()
        assert "\\x1b[2J" in printed
        assert all(char.isprintable() or char in "\n\xa0" for char in printed), ascii(printed)

    def test_nor_in_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any) -> None:
            raise FileNotFoundError("no \x1b[2J\nhere")

        monkeypatch.setattr(operations, "explain", refuse)
        with pytest.raises(CommandError, match=r"^no \\x1b\[2J\nhere$"):
            tiers("explain", "a.txt")

    def test_nor_of_leftovers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        left = leftovers.Leftover("disk", "x\x1b[2J", "staging", lambda: None)
        monkeypatch.setattr(operations, "collect", lambda *_, **__: iter([left]))
        assert "media: disk: staging x\\x1b[2J" in tiers("gc", "--dry-run")[1]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Füße 写真\u3000é.txt", "Füße 写真\u3000é.txt"),
        ("1.5\xa0KB", "1.5\xa0KB"),
        ("a\x1bb\x7fc\x9bd", r"a\x1bb\x7fc\x9bd"),
        ("a\r\n\tb", r"a\r\n\tb"),
        ("\u202egnp.exe\u2028", r"\u202egnp.exe\u2028"),
        ("\udcff.txt", r"\xff.txt"),
        ("\U000e0001", r"\U000e0001"),
    ],
)
def test_line_is_escaped(text: str, line: str) -> None:
    assert escaping.line(text) == line
