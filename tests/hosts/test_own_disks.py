"""A first tier that is each host's own: who has a file, who reads it, who moves it, and who clears it away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from queued_storage import batch, catalog, dispatch, identity, operations
from queued_storage import hosts as own_hosts
from queued_storage.exceptions import ChainUnavailable, OnAnotherHost, WrongPlace
from queued_storage.leftovers import find as find_leftovers
from queued_storage.looking import Looker
from queued_storage.models import Host, HostClearing, StoredFile
from queued_storage.names import IDENTITY
from queued_storage.uncatalogued import Walk
from queued_storage.verifying import Options, Verification

from tests.hosts.conftest import Hosts
from tests.support import recording

pytestmark = pytest.mark.django_db(transaction=True)


def row(name: str = "a.txt") -> StoredFile:
    return StoredFile.objects.get(name=name)


@contextmanager
def rolled_back() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.fixture
def overwriting(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> Hosts:
    plain = hosts.tiers

    def tiers(host: str) -> dict[str, Any]:
        found = plain(host)
        found["disk"]["OPTIONS"]["allow_overwrite"] = True
        return found

    monkeypatch.setattr(hosts, "tiers", tiers)
    return hosts


# ---- reading ----


def test_row_names_the_host_that_has_the_file(hosts: Hosts) -> None:
    hosts.save("web1", "a.txt")
    assert (row().host, row().for_host) == ("web1", "web1")


@pytest.mark.parametrize(
    "ask",
    [
        lambda storage: storage.open("a.txt"),
        lambda storage: storage.size("a.txt"),
        lambda storage: storage.path("a.txt"),
        lambda storage: storage.url("a.txt"),
        lambda storage: storage.get_modified_time("a.txt"),
        lambda storage: storage.get_storage("a.txt"),
    ],
    ids=["open", "size", "path", "url", "time", "get_storage"],
)
def test_other_host_is_told_where_the_file_is(hosts: Hosts, ask: Any) -> None:
    hosts.save("web1", "a.txt")
    with hosts.on("web2") as storage, pytest.raises(OnAnotherHost, match="'web1'") as caught:
        ask(storage)
    assert caught.value.host == "web1"
    assert isinstance(caught.value, ChainUnavailable)
    assert not isinstance(caught.value, FileNotFoundError)


def test_file_of_another_host_exists_and_is_listed(hosts: Hosts) -> None:
    hosts.save("web1", "folder/a.txt")
    hosts.save("web1", "b.txt")
    hosts.save("web2", "c.txt")
    with hosts.on("web2") as storage:
        assert storage.exists("b.txt")
        assert not storage.exists("missing.txt")
        assert (storage.state("b.txt"), storage.tiers("b.txt")) == ("pending", ["disk"])
        assert storage.listdir("") == (["folder"], ["b.txt", "c.txt"])
        assert storage.listdir("folder") == ([], ["a.txt"])
        with pytest.raises(FileNotFoundError):
            storage.open("missing.txt")


def test_other_host_reads_the_file_once_it_has_left(hosts: Hosts) -> None:
    hosts.save("web1", "a.txt", b"of web1")
    hosts.work("web1")
    assert hosts.read("web2", "a.txt") == b"of web1"
    assert (row().state, row().tiers, row().host, row().for_host) == ("settled", ["vault"], None, None)
    assert not hosts.has("web1", "a.txt")


def test_what_lies_by_the_name_on_this_host_is_not_taken_for_the_file(hosts: Hosts) -> None:
    """A rolled-back save leaves its bytes, as everywhere; here they may lie below another host's file."""
    with hosts.on("web2") as storage, rolled_back():
        storage.save("a.txt", ContentFile(b"rolled back"))
    assert hosts.has("web2", "a.txt")
    hosts.save("web1", "a.txt", b"of web1")
    with hosts.on("web2") as storage:
        with pytest.raises(OnAnotherHost):
            storage.open("a.txt")
        assert storage.listdir("") == ([], ["a.txt"])
    hosts.work("web1")
    assert hosts.read("web2", "a.txt") == b"of web1"


def test_save_and_read_inside_one_transaction(hosts: Hosts) -> None:
    with hosts.on("web1") as storage, transaction.atomic():
        storage.save("a.txt", ContentFile(b"new"))
        with storage.open("a.txt") as file:
            assert file.read() == b"new"
        storage.delete("a.txt")
        assert not storage.exists("a.txt")
    hosts.work("web1")
    assert not hosts.has("web1", "a.txt")


# ---- who works ----


def test_no_other_host_claims_the_file(hosts: Hosts) -> None:
    hosts.save("web1", "a.txt")
    with hosts.on("web2"):
        assert list(batch.drain(own_process=False)) == []
        assert list(batch.work([row().pk])) == []
        hosts.save("web2", "b.txt")
        assert list(batch.work([row().pk, row("b.txt").pk])) == [row("b.txt").pk]
    assert (row().state, row().attempts, row("b.txt").state) == ("pending", 0, "settled")


def test_hint_of_a_save_goes_to_its_hosts_queue(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, list[int]]] = []
    monkeypatch.setattr(
        recording.RecordingDispatcher, "dispatch_to", lambda _, *told: sent.append(told), raising=False
    )
    monkeypatch.setattr(recording.RecordingDispatcher, "tend", lambda *_: None, raising=False)
    hosts.save("web1", "a.txt")
    with hosts.on("web2") as storage:
        storage.transfer("a.txt")
    assert sent == [("web1", [row().pk])] * 2


def test_sweep_leaves_what_is_for_one_host_to_it(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    tended: list[str] = []
    sent: list[tuple[str, list[int]]] = []
    hosts.save("web1", "a.txt")
    monkeypatch.setattr(
        recording.RecordingDispatcher, "dispatch_to", lambda _, *told: sent.append(told), raising=False
    )
    monkeypatch.setattr(
        recording.RecordingDispatcher, "tend", lambda _, host: tended.append(host), raising=False
    )
    with hosts.on("web2"):
        assert dispatch.sweep() == 0
        assert tended == ["web1", "web2"]
        dispatch.sweep()
        assert tended == ["web1", "web2"], "who has not answered is not asked each minute"
        dispatch.tend("web1")
        assert sent == [], "another host's queue is not this one's to listen to"
    with hosts.on("web1"):
        dispatch.tend("web1")
    assert sent == [("web1", [row().pk])]


def test_dead_hosts_backlog_keeps_nobody_from_the_sweep(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "MAX_SWEPT", 2)
    for name in ("a", "b", "c"):
        hosts.save("web1", name)
    hosts.save("web2", "d")
    hosts.work("web2")
    StoredFile.objects.filter(name="d").update(state="pending", due_at=timezone.now())
    recording.RecordingDispatcher.calls.clear()
    with hosts.on("web2"):
        assert dispatch.sweep() == 1
    assert recording.RecordingDispatcher.calls[0] == [row("d").pk]


def test_any_host_makes_further_copies_once_the_file_lies_on_a_shared_tier(hosts: Hosts) -> None:
    hosts.policy = "mirror"
    hosts.save("web1", "a.txt")
    hosts.work("web1")
    assert (row().tiers, row().host, row().for_host) == (["disk", "vault"], "web1", None)
    hosts.chain = {"TIERS": {**hosts.tiers("web2"), "cold": {**hosts.tiers("cold")["disk"], "SHARED": True}}}
    StoredFile.objects.update(state="pending", due_at=timezone.now())
    with hosts.on("web2"):
        assert list(batch.drain(own_process=False)) == [row().pk]
    assert (row().state, row().tiers, row().host) == ("settled", ["disk", "vault", "cold"], "web1")


def test_release_from_another_hosts_disk_is_left_to_it(hosts: Hosts) -> None:
    hosts.policy = "mirror"
    hosts.save("web1", "a.txt")
    hosts.work("web1")
    StoredFile.objects.update(policy="transfer-and-delete", state="pending", due_at=timezone.now())
    hosts.work("web2")
    assert (row().state, row().tiers, row().for_host, row().attempts) == (
        "pending",
        ["disk", "vault"],
        "web1",
        0,
    )
    hosts.work("web1")
    assert (row().state, row().tiers, row().host) == ("settled", ["vault"], None)
    assert not hosts.has("web1", "a.txt")


def test_missing_shared_copy_is_no_loss_while_another_host_has_the_file(hosts: Hosts) -> None:
    """What web2 cannot read is not given up by it."""
    hosts.policy = "mirror"
    hosts.save("web1", "a.txt")
    hosts.work("web1")
    (hosts.folder / "vault" / "a.txt").unlink()
    hosts.chain = {"TIERS": {**hosts.tiers("web2"), "cold": {**hosts.tiers("cold")["disk"], "SHARED": True}}}
    StoredFile.objects.update(state="pending", due_at=timezone.now())
    hosts.work("web2")
    assert (row().state, row().for_host) == ("pending", "web1")


def test_file_saved_before_the_tier_was_each_hosts_own_is_found_where_it_lies(hosts: Hosts) -> None:
    hosts.save("web1", "a.txt")
    StoredFile.objects.update(host=None, for_host=None)
    hosts.work("web2")
    assert (row().state, row().tiers) == ("pending", ["disk"])
    assert "does not know" in row().last_error
    StoredFile.objects.update(due_at=timezone.now())
    hosts.work("web1")
    assert (row().state, row().tiers) == ("settled", ["vault"])


def test_watermark_counts_this_hosts_disk_alone(hosts: Hosts) -> None:
    hosts.policy = {"BACKEND": "watermark", "OPTIONS": {"high": 10, "low": 5}}
    for host in ("web1", "web2"):
        hosts.save(host, f"{host}.txt", b"12345678")
        hosts.work(host)
    assert {found.host: found.crowded_out for found in StoredFile.objects.all()} == {
        "web1": False,
        "web2": False,
    }
    hosts.save("web1", "more.txt", b"12345678")
    hosts.work("web1")
    assert row("web1.txt").tiers == ["vault"]
    assert row("web2.txt").tiers == ["disk", "vault"]


# ---- names ----


def test_name_that_another_host_has_is_not_given_again(hosts: Hosts) -> None:
    hosts.save("web1", "a.txt", b"of web1")
    other = hosts.save("web2", "a.txt", b"of web2")
    assert other != "a.txt"
    hosts.work("web1")
    hosts.work("web2")
    assert (hosts.read("web2", "a.txt"), hosts.read("web1", other)) == (b"of web1", b"of web2")


# ---- delete ----


def test_delete_from_another_host_hides_at_once_and_clears_later(hosts: Hosts) -> None:
    hosts.save("web1", "a.txt")
    with hosts.on("web2") as storage:
        storage.delete("a.txt")
    for host in ("web1", "web2"):
        with hosts.on(host) as storage:
            assert not storage.exists("a.txt")
            assert storage.listdir("") == ([], [])
    assert hosts.has("web1", "a.txt")
    assert [owed.host for owed in HostClearing.objects.all()] == ["web1"]
    hosts.work("web2")
    assert hosts.has("web1", "a.txt")
    hosts.work("web1")
    assert not hosts.has("web1", "a.txt")
    assert not HostClearing.objects.exists()


def test_name_is_free_for_another_host_while_its_bytes_wait_to_be_cleared(hosts: Hosts) -> None:
    hosts.save("web1", "a.txt", b"old")
    with hosts.on("web2") as storage:
        storage.delete("a.txt")
    assert hosts.save("web2", "a.txt", b"new") == "a.txt"
    with hosts.on("web1") as storage, pytest.raises(OnAnotherHost, match="web2"):
        storage.open("a.txt")
    hosts.work("web1")
    assert not hosts.has("web1", "a.txt")
    assert hosts.read("web2", "a.txt") == b"new"


def test_rolled_back_delete_owes_nothing(hosts: Hosts) -> None:
    hosts.save("web1", "a.txt")
    with hosts.on("web2") as storage, rolled_back():
        storage.delete("a.txt")
    hosts.work("web1")
    assert hosts.read("web2", "a.txt") == b"content"


def test_delete_on_its_own_host_clears_the_disk_at_once(hosts: Hosts) -> None:
    hosts.save("web1", "a.txt")
    with hosts.on("web1") as storage:
        storage.delete("a.txt")
    assert not hosts.has("web1", "a.txt")
    assert row().is_gone
    assert row().host is None
    assert not HostClearing.objects.exists()


def test_delete_on_its_own_host_that_dies_is_not_ended_by_another(hosts: Hosts) -> None:
    hosts.save("web1", "a.txt")
    with hosts.on("web1") as storage:
        catalog.tombstone(storage.chain, "a.txt")  # as a process that died right after its commit
    hosts.work("web2")
    assert (row().stale, row().for_host) == (["disk"], "web1")
    assert not row().is_gone
    hosts.work("web1")
    assert row().is_gone
    assert not hosts.has("web1", "a.txt")


def test_disk_that_is_not_there_is_not_taken_for_cleared(hosts: Hosts) -> None:
    hosts.save("web1", "a.txt")
    with hosts.on("web2") as storage:
        storage.delete("a.txt")
    hosts.root("web1").rename(hosts.folder / "away")
    hosts.work("web1")
    assert "mounted" in HostClearing.objects.get().last_error
    (hosts.folder / "away").rename(hosts.root("web1"))
    hosts.work("web1")
    assert not hosts.has("web1", "a.txt")
    assert not HostClearing.objects.exists()


def test_tombstone_stays_while_a_host_still_has_the_bytes(hosts: Hosts) -> None:
    hosts.save("web1", "a.txt")
    with hosts.on("web2") as storage:
        storage.delete("a.txt")
        StoredFile.objects.update(saved_at=timezone.now() - timedelta(days=365))
        dispatch.sweep()
    assert StoredFile.objects.exists()
    hosts.work("web1")
    with hosts.on("web2"):
        dispatch.prune()
    assert not StoredFile.objects.exists()


# ---- content that is replaced ----


def test_newest_save_wins_over_another_hosts(overwriting: Hosts) -> None:
    hosts = overwriting
    hosts.save("web1", "a.txt", b"first")
    assert hosts.save("web2", "a.txt", b"second, newer") == "a.txt"
    assert hosts.read("web2", "a.txt") == b"second, newer"
    with hosts.on("web1") as storage, pytest.raises(OnAnotherHost, match="web2"):
        storage.open("a.txt")
    hosts.work("web1")
    assert not hosts.has("web1", "a.txt"), "web1 clears its older content"
    hosts.work("web2")
    assert hosts.read("web1", "a.txt") == b"second, newer"
    assert row().tiers == ["vault"]
    assert not HostClearing.objects.exists()


def test_content_goes_to_and_fro_between_hosts(overwriting: Hosts) -> None:
    hosts = overwriting
    for i, host in enumerate(("web1", "web2", "web1")):
        hosts.save(host, "a.txt", b"content %d" % i)
    assert [owed.host for owed in HostClearing.objects.order_by("host")] == ["web1", "web2"]
    assert hosts.read("web1", "a.txt") == b"content 2"
    hosts.work("web2")
    assert not hosts.has("web2", "a.txt")
    with hosts.on("web1"):
        own_hosts.clear_owed()
    assert hosts.read("web1", "a.txt") == b"content 2", "what is owed is older than what lies there"
    hosts.work("web1")
    assert hosts.read("web2", "a.txt") == b"content 2"


def test_writing_to_a_name_replaces_another_hosts_content(hosts: Hosts) -> None:
    hosts.save("web1", "a.txt", b"first")
    with hosts.on("web2") as storage:
        with storage.open("a.txt", "wb") as file:
            file.write(b"second")
        with pytest.raises(OnAnotherHost):
            storage.open(hosts.save("web1", "b.txt"), "ab")
    assert hosts.read("web2", "a.txt") == b"second"
    hosts.work("web1")
    hosts.work("web2")
    assert hosts.read("web1", "a.txt") == b"second"


def test_attempt_that_lost_its_file_to_another_host_spoils_nothing(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """web1 brings a file up to its disk while web2 replaces it."""
    hosts.save("web1", "a.txt", b"old")
    hosts.work("web1")
    assert row().tiers == ["vault"]
    StoredFile.objects.update(policy="mirror", state="pending", due_at=timezone.now())
    publish = catalog.record_copy

    def overtaken(*arguments: Any, **facts: Any) -> None:
        monkeypatch.setattr(catalog, "record_copy", publish)
        with hosts.on("web2") as storage, storage.open("a.txt", "wb") as file:
            file.write(b"new")
        publish(*arguments, **facts)

    monkeypatch.setattr(catalog, "record_copy", overtaken)
    hosts.work("web1")
    assert (row().generation, row().host, row().tiers) == (2, "web2", ["disk"])
    assert [owed.host for owed in HostClearing.objects.all()] == ["web1"]
    assert hosts.read("web2", "a.txt") == b"new"
    hosts.work("web1")
    assert not hosts.has("web1", "a.txt")
    assert not HostClearing.objects.exists()


# ---- verify, gc ----


def test_verify_leaves_other_hosts_copies_to_them(hosts: Hosts) -> None:
    hosts.save("web1", "a.txt")
    with hosts.on("web2") as storage:
        run = Verification(storage.chain, Options(repair=True))
        assert [looked.flaws for looked in run.run()] == [()]
        assert run.copies["disk"] == 0
    assert row().state == "pending"
    hosts.work("web1")
    assert hosts.read("web2", "a.txt") == b"content"


def test_verify_does_not_condemn_what_another_host_may_heal(hosts: Hosts) -> None:
    hosts.policy = "mirror"
    hosts.save("web1", "a.txt")
    hosts.work("web1")
    (hosts.folder / "vault" / "a.txt").write_bytes(b"rotten!")
    with hosts.on("web2") as storage:
        (looked,) = Verification(storage.chain, Options(content=True, repair=True)).run()
    assert looked.outcome is not None
    assert looked.outcome.result == "left"
    assert row().state == "settled"
    with hosts.on("web1") as storage:
        (looked,) = Verification(storage.chain, Options(content=True, repair=True)).run()
    assert looked.outcome is not None
    assert looked.outcome.result == "healed"
    assert hosts.read("web2", "a.txt") == b"content"


def test_what_waits_to_be_cleared_is_no_finding(hosts: Hosts) -> None:
    hosts.save("web1", "a.txt")
    with hosts.on("web2") as storage:
        storage.delete("a.txt")
        hosts.save("web2", "a.txt", b"new")
    (hosts.root("web1") / "unknown.txt").write_bytes(b"x")
    with hosts.on("web1") as storage:
        found = Walk(storage.chain, Looker()).run([storage.chain.first])
        assert [(each.name, each.kind) for each in found] == [("unknown.txt", "unknown")]


def test_gc_leaves_what_a_host_has_not_published(overwriting: Hosts) -> None:
    hosts = overwriting
    hosts.save("web1", "a.txt", b"first")
    with hosts.on("web1") as storage, transaction.atomic():
        storage.save("a.txt", ContentFile(b"second"))
        staged = [path.name for path in hosts.root("web1").iterdir() if path.name != "a.txt"]
        later = timezone.now() + timedelta(days=1)
        assert len(staged) == 1
        assert [piece for _, found in find_leftovers(storage.chain, later) for piece in found.pieces] == []


def test_explain_tells_the_host_and_believes_no_other_disk(hosts: Hosts) -> None:
    hosts.save("web1", "a.txt")
    with hosts.on("web2") as storage:
        story = operations.explain(storage, "a.txt")
    assert (story["host"], story["found on"]["vault"]) == ("web1", "no")
    assert "web1" in story["found on"]["disk"]


# ---- signs of life ----


def test_silent_host_is_one_for_which_work_waits(hosts: Hosts) -> None:
    hosts.work("web1")
    hosts.work("web2")
    hosts.save("web1", "a.txt")
    now = timezone.now()
    later = now + timedelta(seconds=301)
    with hosts.on("web2"):
        assert not any(host.is_silent for host in own_hosts.status(now))
        told = {host.host: (host.is_silent, host.owed) for host in own_hosts.status(later)}
    assert told == {"web1": (True, 1), "web2": (False, 0)}
    hosts.work("web1")
    with hosts.on("web2"):
        assert not any(host.is_silent for host in own_hosts.status(later))


def test_sign_of_life_is_shown_seldom(hosts: Hosts, django_assert_num_queries: Any) -> None:
    with hosts.on("web1"):
        own_hosts.show(now=True)
        with django_assert_num_queries(0):
            own_hosts.show()
    assert Host.objects.get().seen_at is not None


def test_chain_without_such_a_tier_asks_nothing_of_hosts(make_chain: Any, settings: Any) -> None:
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH
    storage = make_chain(policy="transfer-and-delete")
    with CaptureQueriesContext(connection) as queries:
        storage.save("a.txt", ContentFile(b"content"))
        recording.work()
        dispatch.sweep()
    assert not [query["sql"] for query in queries if "queued_storage_host" in query["sql"]]
    (insert,) = (query["sql"] for query in queries if "INSERT" in query["sql"] and "a.txt" in query["sql"])
    assert '"host"' not in insert
    assert (row().host, row().for_host) == (None, None)
    assert storage.chain.disk is not None, "a glance at the disk still answers reads"


# ---- each host's disk is known by a file of its own ----


def identified(hosts: Hosts, host: str) -> list[str]:
    with hosts.on(host) as storage:
        return [done.result for done in identity.identify(storage.chain)]


def test_each_host_identifies_its_own_disk(hosts: Hosts) -> None:
    hosts.disk = {"IDENTITY": True}
    assert identified(hosts, "web1") == identified(hosts, "web2") == ["written"]
    assert identified(hosts, "web1") == ["known"]
    hosts.save("web1", "a.txt")
    with hosts.on("web2") as storage:
        storage.delete("a.txt")
    (hosts.root("web1") / IDENTITY).rename(hosts.folder / "away")
    hosts.work("web1")
    assert "identity" in HostClearing.objects.get().last_error
    assert hosts.has("web1", "a.txt")
    (hosts.folder / "away").rename(hosts.root("web1") / IDENTITY)
    hosts.work("web1")
    assert not hosts.has("web1", "a.txt")


def test_disk_that_two_hosts_mount_is_refused(hosts: Hosts) -> None:
    hosts.disk = {"IDENTITY": True}
    identified(hosts, "web1")
    hosts.root("web2").symlink_to(hosts.root("web1"))
    with pytest.raises(WrongPlace, match="SHARED"):
        identified(hosts, "web2")
