"""``tiers verify``: what it finds, what it never takes for a finding, and how it heals."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, connections, transaction
from django.utils import timezone

from queued_storage import catalog, looking, verifying
from queued_storage.models import StoredFile
from queued_storage.storage import TieredStorage
from queued_storage.verifying import Verification

from tests.base_settings import DISK

pytestmark = pytest.mark.django_db


class Ran:
    """What a run of the command came to."""

    def __init__(self, *arguments: str) -> None:
        out, self.code, self.error = io.StringIO(), 0, ""
        try:
            call_command("tiers", "verify", *arguments, "--json", stdout=out, stderr=io.StringIO())
        except SystemExit as end:
            self.code = int(end.code or 0)
        except CommandError as error:
            self.code, self.error = 1, str(error)
        self.report: dict[str, Any] = json.loads(out.getvalue()) if out.getvalue() else {}
        self.chain: dict[str, Any] = next(
            (each for each in self.report.get("chains", ()) if each["chain"] == "media"), {}
        )

    @property
    def findings(self) -> list[tuple[str, str, str]]:
        return [(each["tier"], each["kind"], each["name"]) for each in self.report["findings"]]

    @property
    def repairs(self) -> list[str]:
        return [each["repair"]["result"] for each in self.report["findings"]]

    @property
    def unknown(self) -> list[tuple[str, str, str]]:
        return [(each["tier"], each["kind"], each["name"]) for each in self.report["unknown"]]


def verify(*arguments: str) -> Ran:
    return Ran("--chain", "media", *arguments)


@pytest.fixture
def storage(make_chain: Any) -> TieredStorage:
    chain: TieredStorage = make_chain(["disk", "vault"], policy="transfer")
    return chain


def save(storage: TieredStorage, *names: str, content: bytes = b"content") -> list[str]:
    """Save files, and have them moved to where their policy wants them."""
    saved = [storage.save(name, ContentFile(content)) for name in names]
    call_command("tiers", "drain", stdout=io.StringIO())
    return saved


@pytest.fixture
def name(storage: TieredStorage) -> str:
    return save(storage, "folder/a.txt")[0]


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return tmp_path / "disk"


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    return tmp_path / "vault"


class TestFindings:
    def test_there_are_none_where_all_is_well(self, name: str) -> None:
        ran = verify("--content", "--unknown")
        assert (ran.code, ran.findings, ran.unknown) == (0, [], [])
        assert (ran.chain["files"], ran.chain["copies"]) == (1, {"disk": 1, "vault": 1})
        assert (ran.chain["complete"], ran.report["go_on"]) == (True, [])

    def test_missing_copy(self, name: str, vault: Path) -> None:
        (vault / name).unlink()
        ran = verify()
        assert (ran.code, ran.findings) == (2, [("vault", "missing", name)])

    def test_folder_in_its_place_is_no_file(self, name: str, vault: Path) -> None:
        (vault / name).unlink()
        (vault / name).mkdir()
        assert verify().findings == [("vault", "missing", name)]

    def test_link_in_its_place_is_no_copy(self, name: str, disk: Path, vault: Path) -> None:
        (vault / name).unlink()
        (vault / name).symlink_to(disk / name)
        assert verify().findings == [("vault", "link", name)]

    def test_wrong_size(self, name: str, disk: Path) -> None:
        (disk / name).write_bytes(b"cont")
        ran = verify()
        assert (ran.code, ran.findings) == (2, [("disk", "size", name)])
        assert ran.report["findings"][0]["detail"] == "4 bytes instead of 7"

    def test_wrong_content_is_found_by_reading_it(self, name: str, disk: Path) -> None:
        (disk / name).write_bytes(b"CONTENT")
        assert verify().findings == []
        assert verify("--content").findings == [("disk", "content", name)]

    def test_file_without_a_digest_is_told_apart(self, name: str, disk: Path) -> None:
        StoredFile.objects.update(digest="")
        (disk / name).write_bytes(b"CONTENT")
        ran = verify("--content")
        assert (ran.code, ran.findings, ran.chain["without_digest"]) == (0, [], 1)

    def test_nothing_changes(self, name: str, vault: Path) -> None:
        (vault / name).unlink()
        before = StoredFile.objects.values().get()
        verify("--content")
        assert StoredFile.objects.values().get() == before

    def test_deleted_files_are_not_looked_for(self, storage: TieredStorage, name: str) -> None:
        storage.delete(name)
        ran = verify()
        assert (ran.code, ran.chain["files"]) == (0, 0)

    def test_empty_file_that_is_missing(self, storage: TieredStorage, vault: Path) -> None:
        (name,) = save(storage, "empty.txt", content=b"")
        assert verify().findings == []
        (vault / name).unlink()
        assert verify().findings == [("vault", "missing", name)]

    def test_prints_lines_in_a_pipe(self, name: str, vault: Path, capsys: Any) -> None:
        (vault / name).unlink()
        with pytest.raises(SystemExit):
            call_command("tiers", "verify", "--chain", "media")
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == f"media: vault: missing: {name} (no such file)"
        assert lines[1] == "media: looked at 1 files, 2 copies (disk 1, vault 1); 1 flaws (missing 1)"

    def test_chain_without_policy_has_nothing_to_compare(self, make_chain: Any) -> None:
        make_chain(policy=None, alias="plain")
        assert "no POLICY" in Ran("--chain", "plain").error


class TestWhatLiesOnTiers:
    def test_unknown_file_is_counted_and_named_where_wanted(self, name: str, disk: Path) -> None:
        (disk / "old.txt").write_bytes(b"before")
        ran = verify()
        assert (ran.code, ran.unknown, ran.chain["not_in_catalog"]) == (0, [], {"unknown": 1})
        ran = verify("--unknown")
        assert (ran.code, ran.unknown) == (2, [("disk", "unknown", "old.txt")])

    def test_g5_deleted_file_that_is_there_again_is_a_finding(
        self, storage: TieredStorage, name: str, vault: Path
    ) -> None:
        storage.delete(name)
        call_command("tiers", "drain", stdout=io.StringIO())
        (vault / name).parent.mkdir(exist_ok=True)
        (vault / name).write_bytes(b"back")
        ran = verify()
        assert (ran.code, ran.unknown) == (2, [("vault", "deleted", name)])

    def test_deleted_file_that_is_still_to_be_cleared_is_none(
        self, storage: TieredStorage, name: str
    ) -> None:
        storage.delete(name)  # the test's transaction is not committed, so nothing is cleared
        assert verify("--unknown").unknown == []

    def test_copy_that_the_catalog_does_not_count_on(self, make_chain: Any, disk: Path) -> None:
        storage = make_chain(policy="transfer-and-delete")
        (name,) = save(storage, "a.txt")
        (disk / name).write_bytes(b"restored")
        assert verify("--unknown").unknown == [("disk", "uncounted", name)]

    def test_unfinished_files_are_for_gc(self, name: str, disk: Path) -> None:
        (disk / f".{'a' * 32}.queued-storage").write_bytes(b"half")
        assert verify("--unknown").unknown == []

    def test_odd_names_are_told(self, name: str, disk: Path) -> None:
        (disk / "a\\b.txt").write_bytes(b"1")
        Path(os.fsdecode(os.fsencode(disk) + b"/\xff.txt")).write_bytes(b"1")
        assert {each for _, _, each in verify("--unknown").unknown} == {"a\\b.txt", "\\xff.txt"}

    def test_what_others_keep_there_is_not_told(self, make_chain: Any, disk: Path, storage: Any) -> None:
        inner = {"BACKEND": DISK, "OPTIONS": {"location": str(disk / "papers")}}
        make_chain({"here": inner, "there": "disk"}, alias="papers")
        (disk / "papers").mkdir(parents=True)
        (disk / "papers" / "a.txt").write_bytes(b"1")
        assert verify("--unknown").unknown == []

    def test_file_that_moves_on_while_tiers_are_listed_is_none(
        self, make_chain: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Listed on the disk, it is gone from there before the catalog is asked."""
        storage = make_chain(policy="transfer-and-delete")
        storage.save("a.txt", ContentFile(b"1"))
        listdir = FileSystemStorage.listdir

        def listed(self: FileSystemStorage, path: str) -> Any:
            listing = listdir(self, path)
            call_command("tiers", "drain", stdout=io.StringIO())
            return listing

        monkeypatch.setattr(FileSystemStorage, "listdir", listed)
        ran = verify("--unknown")
        assert (ran.unknown, storage.tiers("a.txt")) == ([], ["vault"])


class TestChoice:
    def test_of_a_tier(self, name: str, disk: Path, vault: Path) -> None:
        (disk / name).unlink()
        (vault / name).unlink()
        ran = verify("--tier", "vault")
        assert (ran.findings, ran.chain["copies"]) == ([("vault", "missing", name)], {"vault": 1})

    def test_of_a_tier_that_is_not_there(self, storage: TieredStorage) -> None:
        assert "Did you mean 'vault'" in verify("--tier", "valt").error

    def test_of_a_prefix(self, storage: TieredStorage, vault: Path) -> None:
        save(storage, "a/1.txt", "A/2.txt", "b/3.txt")
        shutil.rmtree(vault)
        vault.mkdir()
        assert verify("--prefix", "a/").findings == [("vault", "missing", "a/1.txt")]

    def test_of_a_number_and_the_rest_later(self, storage: TieredStorage, vault: Path) -> None:
        names = save(storage, *(f"{i}.txt" for i in range(5)))
        (vault / names[0]).unlink()
        (vault / names[4]).unlink()
        first = verify("--limit", "3")
        assert (first.code, first.chain["files"], first.findings) == (2, 3, [("vault", "missing", names[0])])
        (go_on,) = first.report["go_on"]
        assert go_on.startswith("manage.py tiers verify --chain media --after ")
        rest = Ran(*go_on.split()[3:])
        assert (rest.chain["files"], rest.findings) == (2, [("vault", "missing", names[4])])
        assert rest.report["go_on"] == []

    def test_files_of_all_pages(
        self, storage: TieredStorage, monkeypatch: pytest.MonkeyPatch, vault: Path
    ) -> None:
        monkeypatch.setattr(verifying, "PAGE", 2)
        names = save(storage, *(f"{i}.txt" for i in range(5)))
        (vault / names[4]).unlink()
        ran = verify()
        assert (ran.chain["files"], ran.findings) == (5, [("vault", "missing", names[4])])


class TestTierThatIsDown:
    """What cannot be asked is never believed missing."""

    @pytest.fixture
    def down(self, monkeypatch: pytest.MonkeyPatch, storage: TieredStorage, name: str) -> list[str]:
        """Have the vault's disk answer with an error; return the names that it was asked about."""
        asked: list[str] = []
        size = FileSystemStorage.size

        def broken(self: FileSystemStorage, name: str) -> int:
            if "vault" in self.location:
                asked.append(name)
                raise OSError(5, "Input/output error")
            return size(self, name)

        monkeypatch.setattr(FileSystemStorage, "size", broken)
        return asked

    def test_g2_g8_its_copies_could_not_be_checked(self, down: list[str]) -> None:
        ran = verify()
        assert (ran.code, ran.findings) == (1, [])
        assert ran.chain["unchecked"]["vault"]["copies"] == 1
        assert "Input/output error" in ran.chain["unchecked"]["vault"]["reason"]

    def test_g8_it_is_not_asked_over_and_over(self, down: list[str], storage: TieredStorage) -> None:
        for i in range(10):
            row = StoredFile.objects.get(name="folder/a.txt")
            row.pk, row.name, row.key = None, f"{i}.txt", StoredFile.key_of(f"{i}.txt")
            row.tiers = ["vault"]
            row.save()
        ran = verify("--tier", "vault")
        assert (len(down), ran.chain["unchecked"]["vault"]["copies"]) == (looking.STRIKES, 11)

    def test_g2_nothing_is_repaired_by_it(self, down: list[str], name: str, disk: Path) -> None:
        (disk / name).unlink()
        ran = verify("--repair")
        assert (ran.code, ran.findings, ran.repairs) == (2, [("disk", "missing", name)], ["left"])
        row = StoredFile.objects.get()
        assert (row.state, row.tiers) == ("settled", ["disk", "vault"])

    def test_g2_folder_that_is_not_mounted(self, name: str, vault: Path) -> None:
        vault.rename(vault.with_name("elsewhere"))
        ran = verify("--repair")
        assert (ran.code, ran.findings) == (1, [])
        assert "mounted" in ran.chain["unchecked"]["vault"]["reason"]
        assert StoredFile.objects.get().tiers == ["disk", "vault"]

    def test_g2_tier_that_is_not_in_the_settings(self, name: str) -> None:
        StoredFile.objects.update(tiers=["disk", "gone"])
        ran = verify()
        assert (ran.code, ran.findings, list(ran.chain["unchecked"])) == (1, [], ["gone"])


class TestFilesThatMove:
    """What looks bad for a moment, because somebody is at it, is no finding."""

    def while_looking(self, monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
        """Have something happen once, between the look at the row and that at the disk."""
        size = FileSystemStorage.size
        acts = [act]

        def meanwhile(self: FileSystemStorage, name: str) -> int:
            if acts:
                acts.pop()()
            return size(self, name)

        monkeypatch.setattr(FileSystemStorage, "size", meanwhile)

    def test_released_while_it_is_looked_at(self, make_chain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        storage = make_chain(policy="transfer-and-delete")
        storage.save("a.txt", ContentFile(b"1"))
        self.while_looking(monkeypatch, lambda: call_command("tiers", "drain", stdout=io.StringIO()))
        ran = verify()
        assert (storage.tiers("a.txt"), ran.code, ran.findings) == (["vault"], 0, [])

    def test_deleted_while_it_is_looked_at(
        self, storage: TieredStorage, name: str, monkeypatch: pytest.MonkeyPatch, disk: Path
    ) -> None:
        def delete() -> None:
            storage.delete(name)
            (disk / name).unlink()

        self.while_looking(monkeypatch, delete)
        ran = verify()
        assert (ran.code, ran.findings) == (0, [])

    @pytest.mark.parametrize("how", [(), ("--repair",)])
    def test_in_the_hands_of_a_worker(self, name: str, disk: Path, how: tuple[str, ...]) -> None:
        """It may have deleted the bytes a moment before it commits that."""
        StoredFile.objects.update(
            lease="worker", lease_until=timezone.now() + timezone.timedelta(minutes=5), fence=7
        )
        (disk / name).unlink()
        ran = verify(*how)
        assert (ran.code, ran.findings, ran.chain["in_hand"]) == (0, [], 1)

    def test_worker_that_died_hides_nothing(self, name: str, disk: Path) -> None:
        long_ago = timezone.now() - timezone.timedelta(minutes=5)
        StoredFile.objects.update(lease="worker", lease_until=long_ago, fence=7)
        (disk / name).unlink()
        assert verify().findings == [("disk", "missing", name)]

    def test_worker_that_ends_in_time_hides_nothing(
        self, name: str, disk: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        soon = timezone.now() + timezone.timedelta(minutes=5)
        StoredFile.objects.update(lease="worker", lease_until=soon, fence=7)
        (disk / name).unlink()
        look_again = Verification._look_again

        def ended(self: Verification) -> Any:
            StoredFile.objects.update(lease="", lease_until=None)
            return look_again(self)

        monkeypatch.setattr(Verification, "_look_again", ended)
        ran = verify()
        assert (ran.findings, ran.chain["in_hand"]) == ([("disk", "missing", name)], 0)


class TestRepair:
    @pytest.mark.parametrize("lost", ["disk", "vault"])
    def test_missing_copy_is_made_anew(
        self, storage: TieredStorage, name: str, tmp_path: Path, lost: str
    ) -> None:
        (tmp_path / lost / name).unlink()
        ran = verify("--repair")
        assert (ran.code, ran.findings, ran.repairs) == (0, [(lost, "missing", name)], ["healed"])
        assert (tmp_path / lost / name).read_bytes() == b"content"
        assert (storage.tiers(name), storage.state(name)) == (["disk", "vault"], "settled")
        assert verify("--content").code == 0

    @pytest.mark.parametrize("lost", ["disk", "vault"])
    def test_wrong_content_is_replaced(self, name: str, tmp_path: Path, lost: str) -> None:
        (tmp_path / lost / name).write_bytes(b"CONTENT")
        assert verify("--repair", "--content").repairs == ["healed"]
        assert (tmp_path / lost / name).read_bytes() == b"content"

    def test_g2_it_heals_from_none_that_is_bad_itself(self, name: str, disk: Path, vault: Path) -> None:
        """The vault's copy has the right size, which is all that was looked at."""
        (disk / name).unlink()
        (vault / name).write_bytes(b"CONTENT")
        ran = verify("--repair")
        assert (ran.code, ran.repairs) == (2, ["failed", "failed"])
        assert (vault / name).read_bytes() == b"CONTENT"
        assert not (disk / name).exists()

    def test_g2_g3_last_bad_copy_stays_and_the_file_is_failed(
        self, storage: TieredStorage, name: str, disk: Path, vault: Path
    ) -> None:
        (disk / name).write_bytes(b"cont")
        (vault / name).unlink()
        ran = verify("--repair")
        assert (ran.code, ran.repairs) == (2, ["failed", "failed"])
        row = StoredFile.objects.get()
        assert (row.state, row.tiers, row.due_at) == ("failed", ["disk", "vault"], None)
        assert row.last_error == (
            "no good copy is left: tier 'disk': 4 bytes instead of 7; tier 'vault': no such file"
        )
        assert (disk / name).read_bytes() == b"cont"

    @pytest.fixture
    def condemned(self, name: str, disk: Path, vault: Path) -> str:
        """A file that has lost both copies."""
        (disk / name).unlink()
        (vault / name).write_bytes(b"CONTENT")
        assert verify("--repair", "--content").code == 2
        return name

    @pytest.mark.parametrize("how", [("retry",), ("transfer", "folder/a.txt", "--chain", "media")])
    def test_g3_it_is_not_settled_by_being_tried_again(
        self, storage: TieredStorage, condemned: str, how: tuple[str, ...]
    ) -> None:
        call_command("tiers", *how, stdout=io.StringIO())
        assert storage.state(condemned) == "pending"
        with pytest.raises(SystemExit):
            call_command("tiers", "drain", stdout=io.StringIO())
        row = StoredFile.objects.get()
        assert (row.state, row.tiers) == ("failed", ["disk", "vault"])
        assert row.last_error == "no good copy is left: those that are recorded are missing or wrong"

    def test_reason_of_one_that_kills_its_workers_is_said_once(self, condemned: str, settings: Any) -> None:
        settings.QUEUED_STORAGE_RETRIES = 1
        row = StoredFile.objects.get()
        StoredFile.objects.update(state="pending", due_at=timezone.now(), attempts=2)
        with pytest.raises(SystemExit):
            call_command("tiers", "drain", stdout=io.StringIO())
        told, _, reason = row.last_error.partition(": ")
        row.refresh_from_db()
        assert row.last_error == f"{told}: given up after 2 attempts: {reason}"

    def test_g3_nor_while_a_tier_is_down(
        self, storage: TieredStorage, condemned: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def down(*_: Any) -> int:
            raise OSError(5, "Input/output error")

        call_command("tiers", "retry", stdout=io.StringIO())
        with monkeypatch.context() as patch:
            patch.setattr(FileSystemStorage, "size", down)
            with pytest.raises(SystemExit):
                call_command("tiers", "drain", stdout=io.StringIO())
        row = StoredFile.objects.get()
        assert (row.state, row.last_error) == (
            "pending", "no good copy is left: tier 'disk': OSError: [Errno 5] Input/output error"
        )  # fmt: skip
        StoredFile.objects.update(due_at=timezone.now())
        with pytest.raises(SystemExit):
            call_command("tiers", "drain", stdout=io.StringIO())
        assert storage.state(condemned) == "failed"

    @pytest.mark.parametrize("restored", ["disk", "vault"])
    def test_copy_that_somebody_puts_back_heals_the_others(
        self, storage: TieredStorage, condemned: str, tmp_path: Path, restored: str
    ) -> None:
        (tmp_path / restored / condemned).write_bytes(b"content")
        call_command("tiers", "retry", stdout=io.StringIO())
        call_command("tiers", "drain", stdout=io.StringIO())
        row = StoredFile.objects.get()
        assert (row.state, row.tiers, row.last_error) == ("settled", ["disk", "vault"], "")
        assert verify("--content").findings == []

    def test_g2_one_good_copy_does_not_speak_for_the_other_bad_ones(
        self, make_chain: Any, disk: Path, tmp_path: Path
    ) -> None:
        """A file without a good copy gets one back: the next attempt looks at all of them before it releases any."""
        (name,) = save(make_chain(["disk", "far", "vault"], policy="transfer"), "a.txt")
        for tier in ("disk", "far"):
            (tmp_path / tier / name).write_bytes(b"CONTENT")
        (tmp_path / "vault" / name).unlink()
        verify("--repair", "--content")
        (disk / name).write_bytes(b"content")
        to_far = {"BACKEND": "transfer-and-delete", "OPTIONS": {"to": ["far"]}}
        storage = make_chain(["disk", "far", "vault"], policy=to_far)
        verify("--repair")
        call_command("tiers", "drain", stdout=io.StringIO())
        held = {tier: (tmp_path / tier / name).read_bytes() for tier in storage.tiers(name)}
        assert (storage.state(name), set(held.values())) == ("settled", {b"content"})

    def test_g2_good_copy_on_a_tier_that_was_not_asked_for(self, name: str, disk: Path) -> None:
        (disk / name).unlink()
        assert verify("--repair", "--tier", "disk").repairs == ["healed"]
        assert (disk / name).exists()

    def test_dry_run_says_what_it_would_do(self, storage: TieredStorage, disk: Path, vault: Path) -> None:
        names = save(storage, "a.txt", "b.txt")
        (vault / names[0]).unlink()
        (vault / names[1]).unlink()
        (disk / names[1]).unlink()
        before = list(StoredFile.objects.values())
        ran = verify("--repair", "--dry-run")
        assert (ran.code, ran.repairs) == (2, ["would heal", "would fail", "would fail"])
        assert list(StoredFile.objects.values()) == before
        assert not (vault / names[0]).exists()

    def test_dry_run_alone_is_a_slip(self, storage: TieredStorage) -> None:
        assert "--repair" in verify("--dry-run").error

    def test_g2_row_that_changed_since_the_look_is_left(
        self, name: str, vault: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (vault / name).unlink()
        unrecord = catalog.unrecord

        def late(seen: StoredFile, tiers: Any) -> bool:
            StoredFile.objects.update(generation=2)
            return unrecord(seen, tiers)

        monkeypatch.setattr(catalog, "unrecord", late)
        ran = verify("--repair")
        assert (ran.code, ran.repairs, StoredFile.objects.get().tiers) == (2, ["left"], ["disk", "vault"])

    def test_g3_repair_that_does_not_succeed_stays_owed(
        self, name: str, vault: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (vault / name).unlink()
        os.rmdir((vault / name).parent)
        (vault / "folder").write_bytes(b"in the way")
        ran = verify("--repair")
        assert (ran.code, ran.repairs) in [(2, ["pending"]), (2, ["failed"])]
        row = StoredFile.objects.get()
        assert (row.tiers, row.last_error != "") == (["disk"], True)

    def test_transfer_failed_is_told(self, name: str, disk: Path, vault: Path) -> None:
        from queued_storage.signals import transfer_failed

        told: list[Any] = []

        def hear(**facts: Any) -> None:
            told.append((facts["name"], facts["final"]))

        transfer_failed.connect(hear)
        (disk / name).unlink()
        (vault / name).unlink()
        try:
            with transaction.atomic():
                verify("--repair")
                verify("--repair")  # is failed already
            for _, callback, _ in connection.run_on_commit:
                callback()
        finally:
            transfer_failed.disconnect(hear)
        assert told == [(name, True)]


class TestBrake:
    """A tier that has lost many files is more probably the wrong one."""

    @pytest.fixture
    def names(self, storage: TieredStorage) -> list[str]:
        return save(storage, *(f"{i:02}.txt" for i in range(20)))

    @pytest.fixture
    def swapped(self, names: list[str], vault: Path) -> Path:
        """An empty folder in the vault's place."""
        shutil.rmtree(vault)
        vault.mkdir()
        return vault

    def test_g2_nothing_is_believed_of_an_empty_mount(self, swapped: Path) -> None:
        ran = verify("--repair")
        assert (ran.code, ran.findings) == (1, [])
        assert "20 of 20 copies looked at on tier 'vault' are missing or wrong" in ran.error
        assert "--max-share 100" in ran.error
        assert list(StoredFile.objects.values_list("tiers", "state").distinct()) == [
            (["disk", "vault"], "settled")
        ]
        assert not list(swapped.iterdir())

    def test_it_goes_on_where_that_is_said(self, swapped: Path, names: list[str]) -> None:
        assert verify("--repair", "--max-share", "100").chain["outcomes"] == {"healed": 20}
        assert len(list(swapped.iterdir())) == 20

    def test_few_files_do_not_stop_it(self, names: list[str], vault: Path) -> None:
        for name in names[:3]:
            (vault / name).unlink()
        assert verify("--repair").chain["outcomes"] == {"healed": 3}

    def test_g2_mount_that_goes_away_later_stops_it_as_well(
        self, names: list[str], vault: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What was looked at before is no reason to believe a page that is all missing."""
        monkeypatch.setattr(verifying, "PAGE", 10)
        for name in names[10:]:
            (vault / name).unlink()
        ran = verify("--repair", "--max-share", "60")
        assert (ran.code, StoredFile.objects.filter(tiers=["disk", "vault"]).count()) == (1, 20)
        assert ran.report["go_on"]

    def test_share_that_is_none(self, storage: TieredStorage) -> None:
        assert "percentage" in verify("--max-share", "many").error


class TestStopping:
    def test_ctrl_c_says_how_to_go_on(self, storage: TieredStorage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(verifying, "PAGE", 2)
        names = save(storage, *(f"{i}.txt" for i in range(6)))
        size = FileSystemStorage.size

        def interrupted(self: FileSystemStorage, name: str) -> int:
            if name == names[2]:
                os.kill(os.getpid(), signal.SIGINT)
            return size(self, name)

        with monkeypatch.context() as patch:
            patch.setattr(FileSystemStorage, "size", interrupted)
            ran = verify("--content")
        assert ran.code == 1
        (go_on,) = ran.report["go_on"]
        assert go_on in ran.error
        rest = Ran(*go_on.split()[3:])
        assert (rest.code, ran.chain["files"] + rest.chain["files"]) == (0, 6)

    def test_document_is_whole_where_the_database_is_gone(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def gone(*_: Any) -> None:
            raise OperationalError("server closed the connection")

        monkeypatch.setattr(catalog, "live_after", gone)
        ran = verify()
        assert (ran.code, ran.error) == (1, "server closed the connection")
        assert ran.report["go_on"] == ["manage.py tiers verify --chain media"]

    def test_handlers_are_as_before(self, name: str) -> None:
        before = signal.getsignal(signal.SIGINT)
        verify()
        assert signal.getsignal(signal.SIGINT) is before


class TestOnServers:
    def test_object_store(self, make_chain: Any, moto_s3: Any) -> None:
        bucket = moto_s3.make_bucket()
        storage = make_chain({"disk": "disk", "s3": moto_s3.tier(bucket)}, "transfer")
        names = save(storage, "a.txt", "b.txt", "c.txt")
        assert verify("--content").code == 0
        moto_s3.client.delete_object(Bucket=bucket, Key=names[0])
        moto_s3.client.put_object(Bucket=bucket, Key=names[1], Body=b"short")
        moto_s3.client.put_object(Bucket=bucket, Key=names[2], Body=b"CONTENT")
        moto_s3.client.put_object(Bucket=bucket, Key="z.txt", Body=b"1")
        ran = verify("--content", "--repair", "--unknown")
        assert ran.findings == [
            ("s3", "missing", names[0]), ("s3", "size", names[1]), ("s3", "content", names[2])
        ]  # fmt: skip
        assert (ran.repairs, ran.unknown) == (["healed"] * 3, [("s3", "unknown", "z.txt")])
        assert [moto_s3.read(bucket, name) for name in names] == [b"content"] * 3

    def test_g2_bucket_that_is_not_there(self, make_chain: Any, moto_s3: Any) -> None:
        bucket = moto_s3.make_bucket()
        storage = make_chain({"disk": "disk", "s3": moto_s3.tier(bucket)}, "transfer")
        (name,) = save(storage, "a.txt")
        moto_s3.client.delete_object(Bucket=bucket, Key=name)
        moto_s3.client.delete_bucket(Bucket=bucket)
        ran = verify("--repair")
        moto_s3.client.create_bucket(Bucket=bucket)  # the fixture empties it
        assert (ran.code, ran.findings) == (1, [])
        assert "bucket" in ran.chain["unchecked"]["s3"]["reason"]


class TestOnDatabases:
    def test_finds_and_heals(self, catalog_db: str, make_chain: Any, tmp_path: Path) -> None:
        storage = make_chain(["disk", "vault"], policy="transfer")
        names = save(storage, "a.txt", "b.txt")
        (tmp_path / "vault" / names[0]).unlink()
        (tmp_path / "disk" / "unknown.txt").write_bytes(b"1")
        ran = verify("--repair", "--unknown")
        assert (ran.repairs, ran.unknown) == (["healed"], [("disk", "unknown", "unknown.txt")])

    def test_g2_what_changed_is_left_and_so_is_the_last_copy(
        self, catalog_db: str, make_chain: Any, tmp_path: Path
    ) -> None:
        storage = make_chain(["disk", "vault"], policy="transfer")
        save(storage, "a.txt")
        row = StoredFile.objects.using(catalog_db).get()
        with pytest.raises(Exception, match="no other tier"):
            catalog.unrecord(row, ["disk", "vault"])
        StoredFile.objects.using(catalog_db).update(fence=99)
        assert not catalog.unrecord(row, ["vault"])
        assert not catalog.condemn(row, "none is left")
        assert StoredFile.objects.using(catalog_db).get().state == "settled"

    @pytest.mark.parametrize("catalog_db", ["postgresql", "mysql"], indirect=True)
    def test_release_that_is_not_committed_yet_is_waited_for(
        self, catalog_db: str, make_chain: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The bytes are gone, and the row tells others of them until the transaction ends."""
        (name,) = save(make_chain(["disk", "vault"], policy="transfer"), "a.txt")
        is_gone, is_looked_for = threading.Event(), threading.Event()

        def release() -> None:
            try:
                with catalog.locked("media", name) as row:
                    assert row is not None
                    StoredFile.objects.using(catalog_db).filter(pk=row.pk).update(tiers=["vault"], fence=9)
                    (tmp_path / "disk" / name).unlink()
                    is_gone.set()
                    is_looked_for.wait(30)
            finally:
                connections[catalog_db].close()

        as_it_is = catalog.as_it_is

        def looked_for(seen: StoredFile) -> StoredFile | None:
            is_looked_for.set()
            return as_it_is(seen)

        monkeypatch.setattr(catalog, "as_it_is", looked_for)
        thread = threading.Thread(target=release)
        thread.start()
        assert is_gone.wait(30)
        ran = verify()
        thread.join()
        assert is_looked_for.is_set()
        assert (ran.code, ran.findings) == (0, [])
