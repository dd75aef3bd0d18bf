"""``tiers plan`` and ``tiers apply``: changed settings move nothing before somebody has seen what they mean."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.utils import timezone

from queued_storage import applied, catalog, dispatch, planning
from queued_storage.brakes import Cap
from queued_storage.chain import chains
from queued_storage.models import StoredChain, StoredFile
from queued_storage.names import IDENTITY
from queued_storage.storage import TieredStorage
from queued_storage.testing import run_owed_work

from tests.base_settings import DISK
from tests.docs.pages import DOCS
from tests.test_fields import png
from tests.testapp.models import Document, Picture

pytestmark = pytest.mark.django_db

Make = Callable[..., TieredStorage]


class Ran:
    """What a run of the command came to."""

    def __init__(self, action: str, *arguments: str) -> None:
        out, self.code, self.error = io.StringIO(), 0, ""
        try:
            call_command(
                "tiers", action, "--chain", "media", "--json", *arguments, stdout=out, stderr=io.StringIO()
            )
        except SystemExit as end:
            self.code = int(end.code or 0)
        except CommandError as error:
            self.code, self.error = 1, str(error)
        self.report: dict[str, Any] = json.loads(out.getvalue())
        self.chain: dict[str, Any] = self.report["chains"][0]
        self.plan: dict[str, Any] = self.chain.get("plan", self.chain)

    @property
    def moves(self) -> dict[str, tuple[int, int]]:
        """Of each tier, how many copies go there and how many are deleted."""
        return {
            name: (tier["copies"]["files"], tier["releases"]["files"])
            for name, tier in self.plan["tiers"].items()
        }


def lines(action: str, *arguments: str) -> list[str]:
    out = io.StringIO()
    with suppress(SystemExit, CommandError):
        call_command("tiers", action, *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue().splitlines()


@pytest.fixture
def make(make_chain: Any, tmp_path: Path) -> Make:
    def build(*names: str, policy: Any = "transfer", **keys: Any) -> TieredStorage:
        tiers = {
            name: {"BACKEND": DISK, "OPTIONS": {"location": str(tmp_path / name)}} | keys for name in names
        }
        storage: TieredStorage = make_chain(tiers, policy=policy)
        return storage

    return build


def save(storage: TieredStorage, count: int, content: bytes = b"12345") -> list[str]:
    """Save files, and have them lie where they should; the sweep notes the settings."""
    names = [storage.save(f"{i}.txt", ContentFile(content)) for i in range(count)]
    dispatch.sweep()
    run_owed_work()
    assert set(StoredFile.objects.values_list("state", flat=True)) == {"settled"}
    return names


def placed() -> dict[str, list[str]]:
    return dict(StoredFile.objects.order_by("pk").values_list("name", "tiers"))


class TestNothingBySurprise:
    def test_fresh_chain_works_without_apply(self, make: Make) -> None:
        save(make("disk", "vault"), 2)
        assert applied.pending(chains["media"]) == []
        ran = Ran("plan")
        assert (ran.code, ran.plan["moves"]["files"], ran.plan["changes"]) == (0, 0, [])

    def test_new_tier_gets_nothing_until_it_is_applied(self, make: Make, tmp_path: Path) -> None:
        save(make("disk", "vault"), 2)
        storage = make("disk", "vault", "third")
        dispatch.sweep()
        run_owed_work()
        assert set(map(tuple, placed().values())) == {("disk", "vault")}
        assert not (tmp_path / "third").exists()
        ran = Ran("plan")
        assert ran.code == 2
        assert ran.plan["changes"] == ["tier 'third' was added"]
        assert ran.moves == {"disk": (0, 0), "vault": (0, 0), "third": (2, 0)}
        assert ran.plan["moves"] == {"files": 2, "bytes": 10}
        assert set(StoredFile.objects.values_list("state", flat=True)) == {"settled"}
        ran = Ran("apply")
        assert (ran.code, ran.chain["due"], ran.chain["applied"]) == (0, {"files": 2, "bytes": 10}, True)
        run_owed_work()
        assert set(map(tuple, placed().values())) == {("disk", "vault", "third")}
        assert Ran("plan").code == 0
        assert applied.pending(storage.chain) == []

    def test_new_saves_follow_the_new_settings(self, make: Make) -> None:
        save(make("disk", "vault"), 1)
        make("disk", "vault", "third").save("new.txt", ContentFile(b"1"))
        run_owed_work()
        assert placed() == {"0.txt": ["disk", "vault"], "new.txt": ["disk", "vault", "third"]}

    def test_work_that_is_owed_goes_on(self, make: Make) -> None:
        make("disk", "vault").save("a.txt", ContentFile(b"1"))
        make("disk", "third")
        run_owed_work()
        assert placed() == {"a.txt": ["disk", "third"]}

    def test_policy_that_waits_goes_on_waiting(self, make: Make, settings: Any) -> None:
        later = {"BACKEND": "transfer", "OPTIONS": {"after": "P30D"}}
        save(make("disk", "vault", policy=later), 1)
        review = StoredFile.objects.get().due_at
        sooner = {"BACKEND": "transfer", "OPTIONS": {"after": "P10D"}}
        make("disk", "vault", policy=sooner)
        ran = Ran("plan")
        assert (ran.code, ran.plan["reviews"], ran.plan["moves"]["files"]) == (2, 1, 0)
        assert ran.plan["changes"] == ["the chain's POLICY is another"]
        assert StoredFile.objects.get().due_at == review
        assert Ran("apply").chain["reviews"] == 1
        row = StoredFile.objects.get()
        assert row.due_at is not None
        assert row.due_at - row.saved_at == timedelta(days=10)
        assert row.state == "settled"

    def test_delayed_file_stays_until_it_is_asked_for(self, make: Make) -> None:
        save(make("disk", "vault", policy="delayed"), 1)
        make("disk", "vault", "third", policy="delayed")
        assert Ran("plan").plan["moves"]["files"] == 0
        assert Ran("apply").chain["due"]["files"] == 0
        assert placed() == {"0.txt": ["disk"]}

    def test_named_policy_that_changes_is_seen(self, make: Make, settings: Any) -> None:
        settings.QUEUED_STORAGE_POLICIES = {"cold": {"BACKEND": "transfer", "OPTIONS": {"to": ["vault"]}}}
        save(make("disk", "vault", "third", policy="cold"), 1)
        settings.QUEUED_STORAGE_POLICIES = {"cold": {"BACKEND": "transfer", "OPTIONS": {"to": ["third"]}}}
        ran = Ran("plan")
        assert ran.plan["changes"] == ["the chain's POLICY is another", "policy 'cold' was changed"]
        assert ran.moves == {"disk": (0, 0), "vault": (0, 1), "third": (1, 0)}

    def test_failed_files_stay_so(self, make: Make) -> None:
        save(make("disk", "vault"), 2)
        StoredFile.objects.filter(name="0.txt").update(state="failed")
        make("disk", "vault", "third")
        ran = Ran("apply")
        assert (ran.plan["failed"], ran.chain["due"]["files"]) == (1, 1)
        assert StoredFile.objects.get(name="0.txt").state == "failed"

    def test_file_in_somebodys_hands_is_left_to_them(self, make: Make) -> None:
        save(make("disk", "vault"), 2)
        make("disk", "vault", "third")
        StoredFile.objects.filter(name="0.txt").update(lease="x", lease_until=timezone.now())
        assert Ran("apply").chain["due"]["files"] == 1
        assert StoredFile.objects.get(name="0.txt").state == "settled"


class TestFollowers:
    """A file remembers its policy by name; those that follow the chain's go with it once that is applied."""

    def test_file_of_the_chains_own_policy(self, make: Make) -> None:
        save(make("disk", "vault", policy="transfer"), 1)
        make("disk", "vault", policy="delayed")
        dispatch.sweep()
        assert StoredFile.objects.get().policy == "transfer"
        ran = Ran("plan")
        assert (ran.code, ran.plan["followers"]) == (2, 1)
        Ran("apply")
        assert StoredFile.objects.get().policy == "delayed"
        assert Ran("plan").code == 0

    def test_policy_that_never_was_applied_is_remembered(self, make: Make) -> None:
        save(make("disk", "vault", policy="transfer"), 1)
        storage = make("disk", "vault", policy="delayed")
        dispatch.sweep()
        storage.save("b.txt", ContentFile(b"1"))
        make("disk", "vault", policy="mirror")
        dispatch.sweep()
        assert Ran("apply").plan["followers"] == 2
        assert set(StoredFile.objects.values_list("policy", flat=True)) == {"mirror"}

    def test_file_that_was_given_another_keeps_it(self, make: Make) -> None:
        storage = make("disk", "vault", policy="transfer")
        save(storage.with_policy("delayed"), 1)
        make("disk", "vault", policy="transfer-and-delete")
        assert Ran("apply").plan["followers"] == 0
        assert StoredFile.objects.get().policy == "delayed"

    def test_field_that_names_the_former_one_keeps_it(self, make: Make) -> None:
        make("disk", "vault", policy="delayed")
        dispatch.sweep()
        picture = Picture.objects.create(image=png())
        document = Document.objects.create(file=ContentFile(b"1", name="a.txt"))
        make("disk", "vault", policy="transfer")
        assert Ran("apply").plan["followers"] == 1
        policies = dict(StoredFile.objects.values_list("name", "policy"))
        assert policies == {picture.image.name: "delayed", document.file.name: "transfer"}


class TestFindings:
    def test_tier_that_is_gone_with_the_last_copy(self, make: Make) -> None:
        save(make("disk", "vault", policy="transfer-and-delete"), 2)
        make("disk", "third")
        ran = Ran("plan")
        assert (ran.code, ran.plan["stranded"]) == (2, {"vault": 2})
        assert any("cannot be read: 2 files lie on vault alone" in line for line in lines("plan"))

    def test_policy_that_has_no_answer(self, make: Make) -> None:
        save(make("disk", "vault"), 1)
        StoredFile.objects.update(policy="gone")
        ran = Ran("apply")
        assert (ran.code, list(ran.plan["problems"].values())) == (2, [1])
        assert StoredFile.objects.get().state == "settled"


class TestBrakes:
    """What ``apply`` refuses, and what it says."""

    def test_more_deletions_than_the_share(self, make: Make, tmp_path: Path) -> None:
        save(make("disk", "vault"), 12)
        make("disk", "vault", policy="transfer-and-delete")
        ran = Ran("apply")
        assert ran.code == 1
        assert "12 of the 12 copies on tier 'disk' would be deleted there, more than 10 %" in ran.error
        assert "Nothing was applied" in ran.error
        assert "--max-share 100" in ran.error
        assert ran.chain["refused"] == ran.error
        run_owed_work()
        assert len(list((tmp_path / "disk").iterdir())) == 12
        assert Ran("apply", "--dry-run").code == 1
        assert Ran("apply", "--max-share", "100").chain["due"]["files"] == 12
        run_owed_work()
        assert set(map(tuple, placed().values())) == {("vault",)}

    def test_mount_that_was_swapped(self, make: Make, tmp_path: Path) -> None:
        save(make("disk", "vault", IDENTITY=True), 3)
        call_command("tiers", "identify", stdout=io.StringIO())
        (tmp_path / "vault").rename(tmp_path / "away")
        (tmp_path / "vault").mkdir()
        make("disk", "vault", policy="transfer-and-delete", IDENTITY=True)
        for arguments in (("--max-share", "100"), ("--dry-run", "--max-share", "100")):
            ran = Ran("apply", *arguments)
            assert ran.code == 1
            assert "Tier 'vault' is unavailable: its identity file" in ran.error
            assert "manage.py tiers identify --chain media --tier vault --accept" in ran.error
        assert set(StoredFile.objects.values_list("state", flat=True)) == {"settled"}
        assert not list((tmp_path / "vault").iterdir())
        shutil.rmtree(tmp_path / "vault")
        (tmp_path / "away").rename(tmp_path / "vault")
        assert Ran("apply", "--max-share", "100").code == 0

    def test_first_apply_identifies(self, make: Make, tmp_path: Path) -> None:
        save(make("disk", "vault", IDENTITY=True), 1)
        assert Ran("apply", "--dry-run").chain["identified"] == []
        assert not (tmp_path / "vault" / IDENTITY).exists()
        assert Ran("apply").chain["identified"] == ["disk", "vault"]
        assert (tmp_path / "vault" / IDENTITY).exists()

    def test_cap_of_a_run(self, make: Make) -> None:
        save(make("disk", "vault"), 5)
        make("disk", "vault", "third")
        ran = Ran("apply", "--max-bytes", "12")
        assert (ran.code, ran.chain["due"]["files"], ran.chain["applied"]) == (0, 2, False)
        assert ran.chain["capped"]
        assert applied.pending(chains["media"])
        ran = Ran("apply", "--max-files", "3")
        assert (ran.chain["due"]["files"], ran.chain["applied"]) == (3, True)
        assert StoredFile.objects.filter(state="pending").count() == 5


class TestGoingOn:
    def test_killed_run_goes_on_where_it_was(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(planning, "PAGE", 2)
        save(make("disk", "vault"), 6)
        chain = make("disk", "vault", "third").chain
        (told, _), *_ = planning.plan(chain)
        first = planning.apply(chain, told, Cap())
        next(first)
        first.close()  # what a kill leaves: some are due, and how far it came is in the catalog
        assert StoredFile.objects.filter(state="pending").count() == 2
        assert applied.pending(chain)
        *_, last = planning.apply(chain, told, Cap())
        assert (last.due.files, last.done, last.is_complete) == (4, 4, True)
        assert StoredFile.objects.filter(state="pending").count() == 6
        assert StoredChain.objects.get().progress == {}

    def test_other_settings_begin_anew(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(planning, "PAGE", 2)
        save(make("disk", "vault"), 4)
        chain = make("disk", "vault", "third").chain
        (told, _), *_ = planning.plan(chain)
        next(planning.apply(chain, told, Cap()))
        chain = make("disk", "vault", "fourth").chain
        *_, last = planning.apply(chain, told, Cap())
        assert (last.done, last.due.files) == (4, 2)  # two were due already

    def test_ctrl_c_says_how_to_go_on(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(planning, "PAGE", 2)
        save(make("disk", "vault"), 4)
        make("disk", "vault", "third")
        wake = catalog.wake

        def interrupted(pks: Any) -> int:
            import signal

            signal.raise_signal(signal.SIGINT)
            return wake(pks)

        monkeypatch.setattr(catalog, "wake", interrupted)
        ran = Ran("apply")
        assert (ran.code, ran.chain["due"]["files"]) == (1, 2)
        assert ran.error == "Stopped. manage.py tiers apply --chain media goes on where it was."
        monkeypatch.setattr(catalog, "wake", wake)
        assert Ran("apply").chain["due"]["files"] == 2

    def test_pages_cost_the_same(self, make: Make, django_assert_max_num_queries: Any) -> None:
        save(make("disk", "vault"), 30)
        chain = make("disk", "vault", "third").chain
        with django_assert_max_num_queries(4):
            *_, (told, _) = planning.plan(chain)
        with django_assert_max_num_queries(24):
            list(planning.apply(chain, told, Cap()))


class TestCheck:
    def warnings(self) -> list[str]:
        return [each.msg for each in run_checks(databases=["default"]) if each.id == "queued_storage.W011"]

    def test_pending_plan_is_told(self, make: Make) -> None:
        save(make("disk", "vault"), 1)
        assert self.warnings() == []
        make("disk", "vault", "third")
        (told,) = self.warnings()
        assert "'media'" in told
        assert "tier 'third' was added" in told
        Ran("apply")
        assert self.warnings() == []

    def test_status_tells_it_too(self, make: Make) -> None:
        save(make("disk", "vault"), 1)
        assert Ran("status").chain["changes"] == []
        make("disk", "vault", "third")
        told = Ran("status")
        assert (told.chain["changes"], told.code) == (["tier 'third' was added"], 0)
        line = "  settings changed: tier 'third' was added; `tiers plan` says what that means for the files"
        assert line in lines("status")
        Ran("apply")
        assert Ran("status").chain["changes"] == []

    def test_status_goes_through_no_files_for_it(
        self, make: Make, django_assert_max_num_queries: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save(make("disk", "vault"), 1)
        make("disk", "vault", "third")
        monkeypatch.setattr(planning, "plan", None)
        with django_assert_max_num_queries(4):
            assert Ran("status").chain["changes"] != []

    def test_chain_of_which_nothing_was_noted_is_not(self, make: Make) -> None:
        make("disk", "vault")
        assert self.warnings() == []

    def test_tier_that_nobody_has_identified_is_told(self, make: Make) -> None:
        make("disk", "vault", IDENTITY=True)
        (told,) = [each for each in run_checks(databases=["default"]) if each.id == "queued_storage.W012"]
        assert "'disk', 'vault'" in told.msg
        call_command("tiers", "identify", stdout=io.StringIO())
        assert not [each for each in run_checks(databases=["default"]) if each.id == "queued_storage.W012"]

    def test_sweep_tells_it_in_the_log(self, make: Make, caplog: pytest.LogCaptureFixture) -> None:
        save(make("disk", "vault"), 1)
        make("disk", "vault", "third")
        dispatch.sweep()
        dispatch.sweep()
        assert caplog.text.count("settings_not_applied chain=media") == 1

    def test_same_policy_in_other_words_is_no_change(self, make: Make) -> None:
        save(make("disk", "vault", policy={"BACKEND": "transfer", "OPTIONS": {"after": "P1D"}}), 1)
        make("disk", "vault", policy={"BACKEND": "transfer", "OPTIONS": {"after": timedelta(days=1)}})
        assert applied.pending(chains["media"]) == []

    @pytest.mark.parametrize(
        ("names", "change"),
        [
            (("disk",), "tier 'vault' was removed"),
            (("vault", "disk"), "the tiers are in another order"),
        ],
    )
    def test_changes_in_words(self, make: Make, names: tuple[str, ...], change: str) -> None:
        dispatch.sweep()
        make("disk", "vault", policy="delayed")
        dispatch.sweep()
        make(*names, policy="delayed")
        assert change in applied.pending(chains["media"])


def test_every_database_wakes_and_reviews(catalog_db: str, make: Make) -> None:
    save(make("disk", "vault"), 3)
    first, second, third = StoredFile.objects.order_by("pk").values_list("pk", flat=True)
    moment = timezone.now().replace(microsecond=0) + timedelta(days=3)
    assert catalog.look_again({first: moment, second: None}) == 2
    assert catalog.wake([third]) == 1
    rows = StoredFile.objects.order_by("pk")
    assert [(row.state, row.due_at is None) for row in rows] == [
        ("settled", False),
        ("settled", True),
        ("pending", False),
    ]
    assert rows[0].due_at == moment
    applied.record(chains["media"])
    applied.record(chains["media"], instead=True)
    assert StoredChain.objects.get().applied["tiers"] == [["disk", False], ["vault", False]]


class TestTranscript:
    """What the how-to guide shows is what the command says."""

    def said(self, *arguments: str) -> str:
        out = io.StringIO()
        try:
            call_command("tiers", *arguments, stdout=out)
        except CommandError as error:
            out.write(f"CommandError: {error}\n")
        except SystemExit:
            pass
        return out.getvalue()

    def shown(self, command: str) -> str:
        """Return what the page shows below the command, unwrapped."""
        page = (DOCS / "howto" / "change-your-chain.rst").read_text()
        _, found, rest = page.partition(f"   $ python manage.py {command}\n")
        assert found, command
        shown = rest.partition("\n   $ ")[0].partition("\n\n")[0]
        return " ".join(shown.split())

    def test_it_is_true(self, make: Make, tmp_path: Path) -> None:
        for name in ("disk", "vault"):
            (tmp_path / name).mkdir()
        save(make("disk", "vault", IDENTITY=True), 200, b"x" * 1024)
        call_command("tiers", "identify", stdout=io.StringIO())
        make("disk", "vault", policy="transfer-and-delete", IDENTITY=True)
        assert self.said("plan", "--chain", "media").split() == self.shown("tiers plan").split()
        (tmp_path / "vault").rename(tmp_path / "away")
        (tmp_path / "vault").mkdir()
        said = self.said("apply", "--chain", "media", "--max-share", "100")
        assert said.split() == self.shown("tiers apply --max-share 100").split()
        shutil.rmtree(tmp_path / "vault")
        (tmp_path / "away").rename(tmp_path / "vault")
        assert self.said("apply", "--chain", "media").split() == self.shown("tiers apply").split()


def test_plan_in_words(make: Make) -> None:
    save(make("disk", "vault"), 12)
    make("disk", "vault", "third", policy="transfer-and-delete")
    assert lines("plan", "--chain", "media") == [
        "media: since the last apply: tier 'third' was added",
        "media: since the last apply: the chain's POLICY is another",
        "media: looked at 12 files; to move 12 files, 60 bytes; 12 to follow the chain's new POLICY",
        "media: disk: holds 12; to copy there nothing; to delete there 12 files, 60 bytes (100 %)",
        "media: third: holds 0; to copy there 12 files, 60 bytes; to delete there nothing",
    ]
