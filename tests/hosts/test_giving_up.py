"""``tiers hosts``: what hosts have alone, and the end of one that is gone for good, or comes back all the same."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.utils import timezone

from queued_storage import catalog, dispatch, giving_up, signals
from queued_storage import hosts as own_hosts
from queued_storage.exceptions import LeaseLost, OnAnotherHost
from queued_storage.giving_up import HostLives, give_up
from queued_storage.models import Host, HostClearing, StoredFile

from tests.hosts.conftest import Hosts
from tests.support import recording

pytestmark = pytest.mark.django_db(transaction=True)
YES = ("--give-up", "web1", "--yes")


class Ran:
    """What ``tiers hosts`` said on web2."""

    def __init__(self, hosts: Hosts, *arguments: str, host: str = "web2") -> None:
        out, self.code, self.error = io.StringIO(), 0, ""
        with hosts.on(host):
            try:
                call_command("tiers", "hosts", *arguments, stdout=out, stderr=io.StringIO())
            except SystemExit as end:
                self.code = int(end.code or 0)
            except CommandError as error:
                self.code, self.error = 1, str(error)
        self.printed = out.getvalue()

    @property
    def lines(self) -> list[str]:
        return self.printed.replace("\xa0", " ").splitlines()

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.printed)
        return document


def row(name: str = "a.txt") -> StoredFile:
    return StoredFile.objects.get(name=name)


def ago(**time: float) -> Any:
    return timezone.now() - timedelta(**time)


def go_silent(host: str = "web1") -> None:
    """Have it look as if the host had given no sign of life for long, and was asked for one."""
    Host.objects.update_or_create(
        name=host, defaults={"seen_at": ago(minutes=20), "asked_at": ago(minutes=10)}
    )
    StoredFile.objects.filter(host=host).update(saved_at=ago(minutes=20))
    StoredFile.objects.filter(host=host, due_at__isnull=False).update(due_at=ago(minutes=20))


def on_both(hosts: Hosts, name: str = "a.txt", content: bytes = b"content") -> None:
    """Have a file on web1's disk and on the tier below."""
    hosts.policy = "mirror"
    hosts.save("web1", name, content)
    hosts.work("web1")
    assert (row(name).tiers, row(name).host) == (["disk", "vault"], "web1")


@pytest.fixture
def overwriting(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> Hosts:
    plain = hosts.tiers

    def tiers(host: str) -> dict[str, Any]:
        found = plain(host)
        for tier in found.values():
            tier["OPTIONS"]["allow_overwrite"] = True
        return found

    monkeypatch.setattr(hosts, "tiers", tiers)
    return hosts


# ---- the list ----


def test_list_tells_what_each_host_has_alone(hosts: Hosts) -> None:
    on_both(hosts, "both.txt")
    hosts.policy = "transfer-and-delete"
    hosts.save("web1", "a.txt", b"12345")
    hosts.save("web2", "b.txt", b"1234567")
    hosts.work("web2")
    go_silent()
    ran = Ran(hosts, "--json")
    told = {each["host"]: each for each in ran.document["hosts"]}
    assert (ran.code, set(told)) == (2, {"web1", "web2"})
    assert [told["web1"][key] for key in ("files", "bytes", "owed", "is_silent")] == [1, 5, 1, True]
    assert [told["web2"][key] for key in ("files", "bytes", "owed", "is_silent")] == [0, 0, 0, False]
    first, second = Ran(hosts).lines
    assert first == (
        "host web1: SILENT: seen 20 minutes ago; 1 files, 5 bytes on its disk alone; "
        "1 wait for it alone since 20 minutes"
    )
    assert second.startswith("host web2: seen 0 minutes ago; 0 files, 0 bytes on its disk alone; 0 wait")


def test_list_has_hosts_that_files_alone_tell_of(hosts: Hosts) -> None:
    hosts.save("web1", "a.txt", b"12345")
    StoredFile.objects.update(state="failed", due_at=None)
    (told,) = Ran(hosts, "--json").document["hosts"]
    assert (told["host"], told["seen_at"], told["files"]) == ("web1", None, 1)


# ---- refusals ----


def test_host_that_was_seen_lately_is_not_given_up(hosts: Hosts) -> None:
    hosts.save("web1", "a.txt")
    go_silent()
    Host.objects.update(seen_at=ago(minutes=4))
    ran = Ran(hosts, *YES)
    assert (ran.code, row().state, Host.objects.get().given_up_at) == (1, "pending", None)
    assert ran.error.replace("\xa0", " ") == "Host 'web1' lives: it was seen 4 minutes ago."


def test_host_that_saves_is_not_given_up(hosts: Hosts) -> None:
    """Its workers are dead; its web processes are not."""
    hosts.save("web1", "a.txt")
    go_silent()
    StoredFile.objects.update(saved_at=ago(minutes=1))
    assert "has saved files" in Ran(hosts, *YES).error
    assert row().state == "pending"


def test_host_cannot_give_up_itself(hosts: Hosts) -> None:
    hosts.save("web1", "a.txt")
    go_silent()
    assert Ran(hosts, *YES, host="web1").error == "Host 'web1' is this one."


def test_host_that_nobody_asked_is_asked_first(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    tended: list[str] = []
    monkeypatch.setattr(recording.RecordingDispatcher, "dispatch_to", lambda *_: None, raising=False)
    monkeypatch.setattr(
        recording.RecordingDispatcher, "tend", lambda _, host: tended.append(host), raising=False
    )
    hosts.save("web1", "a.txt")
    go_silent()
    Host.objects.update(asked_at=ago(minutes=30))  # it has answered that
    assert "It is asked now" in Ran(hosts, *YES).error
    assert tended == ["web1"]
    assert "was asked for a sign of life 0" in Ran(hosts, *YES).error
    assert (tended, row().state) == (["web1"], "pending")
    Host.objects.update(asked_at=ago(minutes=6))
    assert Ran(hosts, *YES).code == 2
    assert row().state == "failed"


def test_unknown_host_is_a_mistake(hosts: Hosts) -> None:
    assert "Nothing is known of a host 'web9'" in Ran(hosts, "--give-up", "web9", "--yes").error
    assert not Host.objects.exists()


def test_chain_does_not_go_with_it(hosts: Hosts) -> None:
    hosts.save("web1", "a.txt")
    assert "leave --chain out" in Ran(hosts, *YES, "--chain", "media").error


@pytest.mark.parametrize("answer", ["no", None])
def test_it_asks_whether_that_is_meant(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, answer: str | None
) -> None:
    def say(_: str) -> str:
        if answer is None:
            raise EOFError
        return answer

    hosts.save("web1", "a.txt")
    go_silent()
    monkeypatch.setattr("builtins.input", say)
    assert Ran(hosts, "--give-up", "web1").error in (
        "Nothing was changed.",
        "Nobody is there to confirm it: say --yes.",
    )
    assert row().state == "pending"
    monkeypatch.setattr("builtins.input", lambda _: "yes")
    assert Ran(hosts, "--give-up", "web1").code == 2
    assert row().state == "failed"


def test_host_that_comes_back_meanwhile_is_not_given_up(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(giving_up, "PAGE", 1)
    for name in ("a.txt", "b.txt"):
        hosts.save("web1", name)
    go_silent()
    with hosts.on("web2"):
        fates = give_up("web1")
        assert next(fates).result == "lost"
        catalog.touch("web1")
        with pytest.raises(HostLives):
            list(fates)
    assert (row("b.txt").state, Host.objects.get().given_up_at) == ("pending", None)


# ---- what becomes of the files ----


def test_what_it_alone_had_is_listed_and_stays_in_the_catalog(hosts: Hosts) -> None:
    heard: list[str] = []

    def hear(name: str, final: bool, **_: Any) -> None:
        heard.append(f"{name} {final}")

    hosts.save("web1", "a.txt", b"12345")
    go_silent()
    signals.transfer_failed.connect(hear)
    try:
        ran = Ran(hosts, *YES)
    finally:
        signals.transfer_failed.disconnect(hear)
    assert (ran.code, heard) == (2, ["a.txt True"])
    assert ran.lines == [
        "lost: media: a.txt (5 bytes)",
        "host web1: 1 files lost, 0 are on other tiers, 0 were deleted, 0 left as they are",
        "host web1: given up. If it comes back, `tiers retry` brings back what it alone had.",
    ]
    assert (row().state, row().due_at, row().host, row().tiers) == ("failed", None, "web1", ["disk"])
    assert row().last_error == "no good copy is left: tier 'disk': it was on host 'web1', which was given up"
    with hosts.on("web2") as storage:
        assert (storage.state("a.txt"), storage.exists("a.txt")) == ("failed", True)
        with pytest.raises(OnAnotherHost):
            storage.open("a.txt")


def test_json_names_what_is_lost(hosts: Hosts) -> None:
    hosts.save("web1", "a.txt", b"12345")
    go_silent()
    told = Ran(hosts, *YES, "--json").document
    (lost,) = told.pop("files")
    assert (lost["chain"], lost["name"], lost["size"], lost["result"]) == ("media", "a.txt", 5, "lost")
    assert told == {
        "host": "web1", "lost": 1, "elsewhere": 0, "deleted": 0, "left": 0, "given_up": True, "dry_run": False,
    }  # fmt: skip


def test_nothing_waits_for_it_any_more(hosts: Hosts) -> None:
    hosts.save("web1", "a.txt")
    hosts.save("web1", "b.txt")
    with hosts.on("web2") as storage:
        storage.delete("b.txt")
    go_silent()
    HostClearing.objects.update(owed_at=ago(minutes=20))
    with hosts.on("web2"):
        assert [(each.owed, each.is_silent) for each in own_hosts.status(timezone.now())] == [(2, True)]
    Ran(hosts, *YES)
    with hosts.on("web2"):
        (told,) = own_hosts.status(timezone.now())
        assert (told.owed, told.is_silent, told.given_up_at is None) == (0, False, False)
        assert "web1" not in catalog.to_ask(timezone.now())
        assert dispatch.sweep() == 0
    assert (
        Ran(hosts)
        .lines[0]
        .startswith("host web1: given up 0 minutes ago; 1 files, 7 bytes on its disk alone; 0 wait")
    )


def test_copies_elsewhere_stay_and_the_file_lies_where_it_should(hosts: Hosts) -> None:
    on_both(hosts)
    go_silent()
    ran = Ran(hosts, *YES)
    assert (ran.code, ran.lines[0].split(",")[:2]) == (
        0,
        ["host web1: 0 files lost", " 1 are on other tiers"],
    )
    assert (row().tiers, row().host, row().for_host, row().state) == (["vault"], None, None, "pending")
    assert hosts.read("web2", "a.txt") == b"content"
    hosts.work("web2")  # which makes the copy that the policy wants on a first tier
    assert (row().tiers, row().host, row().state) == (["disk", "vault"], "web2", "settled")


def test_release_that_waited_for_it_is_done(hosts: Hosts) -> None:
    on_both(hosts)
    StoredFile.objects.update(policy="transfer-and-delete", state="pending", due_at=timezone.now())
    hosts.work("web2")
    assert row().for_host == "web1"
    go_silent()
    Ran(hosts, *YES)
    hosts.work("web2")
    assert (row().state, row().tiers, row().host, row().for_host) == ("settled", ["vault"], None, None)


def test_copy_that_is_not_there_is_no_copy_elsewhere(hosts: Hosts) -> None:
    """Else the host, back again, would clear the last bytes of the file."""
    on_both(hosts)
    (hosts.folder / "vault" / "a.txt").unlink()
    go_silent()
    assert Ran(hosts, *YES).code == 2
    assert (row().state, row().host, row().tiers) == ("failed", "web1", ["disk", "vault"])
    assert row().last_error.endswith("which was given up; tier 'vault': no such file")
    assert not HostClearing.objects.exists()
    hosts.work("web1")
    assert hosts.has("web1", "a.txt")
    assert hosts.read("web1", "a.txt") == b"content"


def test_file_is_left_while_the_others_cannot_be_looked_at(hosts: Hosts) -> None:
    on_both(hosts)
    (hosts.folder / "vault").rename(hosts.folder / "away")
    go_silent()
    ran = Ran(hosts, *YES)
    assert (ran.code, row().state, Host.objects.get(name="web1").given_up_at) == (2, "settled", None)
    assert ran.lines[0].startswith("left: media: a.txt (7 bytes): ")
    assert "is it mounted?" in ran.lines[0]
    assert ran.lines[-1] == "host web1: not given up yet: run it again when the others can be looked at."
    (hosts.folder / "away").rename(hosts.folder / "vault")
    assert Ran(hosts, *YES).code == 0
    assert (row().tiers, Host.objects.get(name="web1").given_up_at is None) == (["vault"], False)


def test_file_in_the_hands_of_an_attempt_is_left(hosts: Hosts) -> None:
    on_both(hosts)
    go_silent()
    StoredFile.objects.update(lease="somebody's", lease_until=timezone.now() + timedelta(minutes=1))
    ran = Ran(hosts, *YES)
    assert (ran.code, ran.lines[0]) == (2, "left: media: a.txt (7 bytes): somebody has it in hand")
    assert (row().host, row().lease) == ("web1", "somebody's")


def test_attempt_that_died_with_it_is_over(hosts: Hosts) -> None:
    hosts.save("web1", "a.txt")
    go_silent()
    StoredFile.objects.update(lease="its own", lease_until=ago(minutes=10))
    Ran(hosts, *YES)
    assert (row().state, row().lease, len(row().lost)) == ("failed", "", 1)


def test_content_that_was_never_published_is_lost(hosts: Hosts) -> None:
    hosts.save("web1", "a.txt")
    go_silent()
    StoredFile.objects.update(staged="beside.tmp")
    Ran(hosts, *YES)
    assert (row().state, row().staged) == ("failed", "beside.tmp")


def test_deleted_file_is_cleared_from_the_rest(hosts: Hosts) -> None:
    on_both(hosts)
    with hosts.on("web1") as storage:
        catalog.tombstone(storage.chain, "a.txt")  # as a process that died right after its commit
    go_silent()
    assert Ran(hosts, *YES).lines[0].endswith("1 were deleted, 0 left as they are")
    hosts.work("web2")
    assert (row().is_gone, (hosts.folder / "vault" / "a.txt").exists()) == (True, False)


def test_dry_run_changes_nothing(hosts: Hosts) -> None:
    on_both(hosts, "both.txt")
    hosts.save("web1", "a.txt")
    before = list(StoredFile.objects.order_by("pk").values())
    ran = Ran(hosts, "--give-up", "web1", "--dry-run")
    assert ran.code == 2
    assert ran.lines == [
        "lost: media: a.txt (7 bytes)",
        "host web1: 1 files would be lost, 1 are on other tiers, 0 were deleted, 0 left as they are",
    ]
    assert list(StoredFile.objects.order_by("pk").values()) == before
    assert Host.objects.get(name="web1").given_up_at is None


def test_it_goes_on_where_it_was_stopped(hosts: Hosts) -> None:
    for name in ("a.txt", "b.txt"):
        on_both(hosts, name)
    go_silent()
    with hosts.on("web2"):
        answers = iter([False, True])
        assert len(list(give_up("web1", stopping=lambda: next(answers)))) == 1
        assert Host.objects.get(name="web1").given_up_at is None
        assert [fate.name for fate in give_up("web1")] == ["b.txt"]
    assert Host.objects.get(name="web1").given_up_at is not None


def test_what_is_tried_again_waits_for_it_again(hosts: Hosts) -> None:
    hosts.save("web1", "a.txt")
    go_silent()
    Ran(hosts, *YES)
    with hosts.on("web2"):
        call_command("tiers", "retry", stdout=io.StringIO())
    StoredFile.objects.update(due_at=ago(minutes=20))
    (line,) = Ran(hosts).lines
    assert line.startswith(
        "host web1: SILENT: given up 0 minutes ago; 1 files, 7 bytes on its disk alone; 1 wait"
    )
    assert Ran(hosts, *YES).code == 2
    assert (row().state, Ran(hosts).code) == ("failed", 0)


def test_rows_are_gone_through_once_not_with_each_page(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """No index leads to a host's files: what asks for the latest of them looks at every row."""
    monkeypatch.setattr(giving_up, "PAGE", 1)
    for number in range(4):
        hosts.save("web1", f"{number}.txt")
    go_silent()
    asked: list[str] = []
    has_saved = catalog.has_saved

    def ask(host: str, since: Any) -> bool:
        asked.append(host)
        return has_saved(host, since)

    monkeypatch.setattr(catalog, "has_saved", ask)
    assert Ran(hosts, *YES).lines[-2].startswith("host web1: 4 files lost")
    assert asked == ["web1"]


# ---- it comes back all the same ----


def test_host_that_comes_back_brings_what_it_alone_had(hosts: Hosts) -> None:
    hosts.save("web1", "a.txt", b"of web1")
    go_silent()
    Ran(hosts, *YES)
    hosts.work("web1")
    assert (Host.objects.get(name="web1").given_up_at, row().state) == (None, "failed")
    with hosts.on("web1"):
        call_command("tiers", "retry", stdout=io.StringIO())
    hosts.work("web1")
    assert (row().state, row().tiers) == ("settled", ["vault"])
    assert hosts.read("web2", "a.txt") == b"of web1"


def test_host_that_comes_back_clears_what_others_hold(hosts: Hosts) -> None:
    on_both(hosts)
    go_silent()
    Ran(hosts, *YES)
    hosts.work("web2")
    hosts.work("web1")
    assert not hosts.has("web1", "a.txt")
    assert hosts.read("web1", "a.txt") == hosts.read("web2", "a.txt") == b"content"
    assert (row().tiers, row().host) == (["disk", "vault"], "web2")


def test_host_that_comes_back_leaves_newer_content_alone(overwriting: Hosts) -> None:
    hosts = overwriting
    on_both(hosts, content=b"old")
    go_silent()
    Ran(hosts, *YES)
    hosts.save("web2", "a.txt", b"new")
    hosts.work("web1")  # before web2 has moved it
    assert not hosts.has("web1", "a.txt")
    hosts.work("web2")
    hosts.work("web1")
    assert hosts.read("web2", "a.txt") == hosts.read("web1", "a.txt") == b"new"
    assert (hosts.folder / "vault" / "a.txt").read_bytes() == b"new"


def test_what_it_saves_anew_is_not_cleared(overwriting: Hosts) -> None:
    hosts = overwriting
    on_both(hosts, content=b"old")
    go_silent()
    Ran(hosts, *YES)
    hosts.save("web1", "a.txt", b"new")
    hosts.work("web1")
    assert hosts.read("web1", "a.txt") == b"new"
    assert (hosts.folder / "vault" / "a.txt").read_bytes() == b"new"


def test_worker_that_wakes_up_late_writes_nothing(hosts: Hosts) -> None:
    on_both(hosts)
    StoredFile.objects.update(state="pending", due_at=timezone.now())
    with hosts.on("web1"):
        attempt = catalog.claim(row().pk)
        assert attempt is not None
    go_silent()
    StoredFile.objects.update(lease_until=ago(minutes=10))
    Ran(hosts, *YES)
    with hosts.on("web1"), pytest.raises(LeaseLost):
        catalog.renew(attempt)


def test_deleted_name_does_not_come_back_with_it(hosts: Hosts) -> None:
    on_both(hosts)
    go_silent()
    Ran(hosts, *YES)
    with hosts.on("web2") as storage:
        storage.delete("a.txt")
    hosts.work("web2")
    with hosts.on("web1") as storage:
        dispatch.prune(days=0)
        assert (storage.exists("a.txt"), storage.listdir("")) == (False, ([], []))
    hosts.work("web1")
    assert not hosts.has("web1", "a.txt")
    with hosts.on("web1") as storage:
        dispatch.prune(days=0)
        assert not storage.exists("a.txt")


def test_lost_file_can_be_deleted_and_its_name_used_again(hosts: Hosts) -> None:
    hosts.save("web1", "a.txt", b"old")
    go_silent()
    Ran(hosts, *YES)
    with hosts.on("web2") as storage:
        storage.delete("a.txt")
        assert storage.save("a.txt", ContentFile(b"new")) == "a.txt"
    hosts.work("web2")
    hosts.work("web1")
    assert not hosts.has("web1", "a.txt")
    assert hosts.read("web1", "a.txt") == b"new"


def test_every_database_counts_and_lets_go(catalog_db: str, hosts: Hosts) -> None:
    on_both(hosts, "both.txt", b"1234567")
    hosts.save("web1", "a.txt", b"12")
    hosts.save("web1", "b.txt", b"123")
    go_silent()
    with hosts.on("web2"):
        found = sorted((each[0], each[1], tuple(each[2]), *each[3:]) for each in catalog.on_hosts("media"))
    assert found == [("web1", "media", ("disk",), 2, 5), ("web1", "media", ("disk", "vault"), 1, 7)]
    assert Ran(hosts, *YES).lines[-2].startswith("host web1: 2 files lost, 1 are on other tiers")
    assert row("both.txt").tiers == ["vault"]
