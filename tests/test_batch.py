"""Plain copies in batches: what holds for one file holds for each of many, and any other work is done as before."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core.files.base import ContentFile
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from queued_storage import batch, catalog, conf, copying, signals
from queued_storage.heartbeat import SharedHeartbeat
from queued_storage.models import StoredFile
from queued_storage.storage import TieredStorage

from tests.support import recording
from tests.support.waiting import wait_until

COUNT = 20


@pytest.fixture(autouse=True)
def _recorded(settings: Any) -> None:
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH


@pytest.fixture
def chain(catalog_db: str, make_chain: Callable[..., TieredStorage]) -> TieredStorage:
    return make_chain(["near", "far"])


def later(seconds: float) -> Any:
    return time_machine.travel(timezone.now() + timedelta(seconds=seconds))


def save_many(chain: TieredStorage, count: int = COUNT) -> list[str]:
    return [chain.save(f"{number}.txt", ContentFile(content(number))) for number in range(count)]


def content(number: int) -> bytes:
    return bytes([number]) * (number + 1)


def rows() -> dict[str, StoredFile]:
    return {row.name: row for row in catalog.files()}


def ids() -> list[int]:
    return list(catalog.files().order_by("pk").values_list("pk", flat=True))


def read(storage: Any, name: str) -> bytes:
    with storage.open(name) as file:
        data: bytes = file.read()
    return data


def to_far(row: StoredFile) -> str:
    return "far"


def work(pks: list[int] | None = None) -> list[int]:
    return list(batch.work(ids() if pks is None else pks))


@pytest.fixture
def during_copy(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have something done, once, in the middle of the copy of a name."""

    def install(name: str, act: Callable[[], Any]) -> None:
        copy, left = copying.copy, [act]

        def copy_while_that_happens(source: Any, destination: Any, told: Any, **options: Any) -> Any:
            if told.name == name and left:
                # Threads that copy do not ask the database; another process would.
                thread = threading.Thread(target=_and_hang_up, args=(left.pop(),))
                thread.start()
                thread.join()
            return copy(source, destination, told, **options)

        monkeypatch.setattr(copying, "copy", copy_while_that_happens)

    return install


def _and_hang_up(act: Callable[[], Any]) -> None:
    try:
        act()
    finally:
        connections.close_all()


def test_all_are_copied_and_settled(chain: TieredStorage) -> None:
    names = save_many(chain)
    assert sorted(work()) == ids()
    for number, name in enumerate(names):
        assert chain.tiers(name) == ["near", "far"]
        assert read(chain.chain["far"].storage, name) == content(number)
    for row in rows().values():
        assert (row.state, row.due_at, row.attempts, row.lease, row.stale, row.lost) == (
            "settled",
            None,
            0,
            "",
            [],
            [],
        )
        assert len(row.digest) == 64
        assert row.modified_at is not None
        assert row.copied_at is not None
    assert work() == []


def test_row_says_what_one_that_is_done_alone_says(chain: TieredStorage, settings: Any) -> None:
    save_many(chain, 3)
    alone, *together = ids()
    assert list(batch.work([alone])) == [alone]
    work(together)
    told = [{**vars(row)} for row in catalog.files().order_by("pk")]
    varying = {"_state", "id", "key", "name", "size", "digest"}
    times = {"saved_at", "copied_at", "modified_at", "created_at", "accessed_at"}
    first, *others = [
        {key: value for key, value in each.items() if key not in varying | times} for each in told
    ]
    assert others == [first, first]
    assert {key for each in told for key in times if each[key] is None} == set()


def test_statements_are_few(chain: TieredStorage, catalog_db: str) -> None:
    save_many(chain)
    with CaptureQueriesContext(connections[catalog_db]) as queries:
        work()
    assert len([query for query in queries if "queued_storage_storedfile" in query["sql"]]) < COUNT


def test_each_row_gets_its_own_facts(chain: TieredStorage) -> None:
    """What differs from row to row, what is the same for all, and what some have none of."""
    save_many(chain, 3)
    claimed = catalog.claim_each(ids(), to_far)
    moment = timezone.now().replace(microsecond=123456)
    told: list[dict[str, Any]] = [
        {"size": number, "digest": f"{number:064}", "modified_at": moment if number else None}
        for number in range(3)
    ]
    unsettled, lost = catalog.record_copies(chain.chain, "far", list(zip(claimed, told, strict=True)))
    assert (unsettled, lost) == ([], set())
    for row, facts in zip(catalog.files().order_by("pk"), told, strict=True):
        assert {name: getattr(row, name) for name in facts} == facts
        assert (row.tiers, row.stale, row.state, row.lease) == (["near", "far"], [], "settled", "")


def test_g3_sign_of_life_goes_on_for_the_others_once_one_is_settled(chain: TieredStorage) -> None:
    save_many(chain, 2)
    one, other = catalog.claim_each(ids(), to_far)
    catalog.record_copies(chain.chain, "far", [(one, {"size": 1, "digest": "a" * 64})])
    assert (rows()[one.name].state, rows()[one.name].lease) == ("settled", "")
    began = rows()[other.name].lease_until
    assert other.pk not in catalog.renew_each([one, other])
    assert rows()[other.name].lease_until > began


def test_g2_first_tier_is_released_where_the_policy_says_so(catalog_db: str, make_chain: Any) -> None:
    chain = make_chain(["near", "far"], policy="transfer-and-delete")
    names = save_many(chain)
    work()
    assert [chain.tiers(name) for name in names] == [["far"]] * COUNT
    assert chain.chain["near"].storage.listdir("")[1] == []
    assert [read(chain, name) for name in names] == [content(number) for number in range(COUNT)]


def test_three_tiers(catalog_db: str, make_chain: Any) -> None:
    chain = make_chain(["near", "middle", "far"])
    names = save_many(chain)
    assert sorted(work()) == ids()
    assert {tuple(chain.tiers(name)) for name in names} == {("near", "middle", "far")}


def test_two_chains(catalog_db: str, make_chain: Any) -> None:
    chains = [make_chain(["near", "far"]), make_chain(["here", "there"], alias="other")]
    names = [name for chain in chains for name in save_many(chain)]
    work()
    assert {row.state for row in catalog.files()} == {"settled"}
    assert len(names) == 2 * COUNT == catalog.files().count()


def test_chains_take_turns(catalog_db: str, make_chain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither waits until the other's are copied."""
    monkeypatch.setattr(batch, "_pools", {os.getpid(): ThreadPoolExecutor(1)})
    save_many(make_chain(["near", "far"]))
    few = save_many(make_chain(["here", "there"], alias="other"), 3)
    copied: list[tuple[str, str]] = []
    copy = copying.copy

    def note(source: Any, destination: Any, told: Any, **options: Any) -> Any:
        copied.append((destination.name, told.name))
        return copy(source, destination, told, **options)

    monkeypatch.setattr(copying, "copy", note)
    work()
    assert [("there", name) for name in few] == copied[1:6:2]


def test_drain_has_chains_take_turns(catalog_db: str, make_chain: Any, settings: Any) -> None:
    settings.QUEUED_STORAGE_BATCH = 6
    save_many(make_chain(["near", "far"]))
    other = make_chain(["here", "there"], alias="other")
    few = save_many(other, 3)
    assert len(list(batch.drain(limit=6, own_process=False))) == 6
    assert [other.state(name) for name in few] == ["settled"] * 3


def test_policy_that_has_the_file_looked_at_again(catalog_db: str, make_chain: Any, settings: Any) -> None:
    settings.QUEUED_STORAGE_POLICIES = {
        "month": {"BACKEND": "queued_storage.policies.TransferAndDelete", "OPTIONS": {"keep": "P30D"}}
    }
    chain = make_chain(["near", "far"], policy="month")
    names = save_many(chain)
    work()
    assert {tuple(chain.tiers(name)) for name in names} == {("near", "far")}
    for row in rows().values():
        assert row.state == "settled"
        assert row.due_at is not None
        assert 29 < (row.due_at - timezone.now()).days + 1 <= 31


def test_g3_one_that_fails_does_not_keep_the_others(chain: TieredStorage, tmp_path: Any) -> None:
    names = save_many(chain)
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / names[3]).mkdir()  # where its copy should go
    work()
    found = rows()
    assert found[names[3]].state == "failed"
    assert "tier 'far'" in found[names[3]].last_error
    assert {row.state for name, row in found.items() if name != names[3]} == {"settled"}
    (tmp_path / "far" / names[3]).rmdir()
    catalog.retry(catalog.files())
    work()
    assert chain.state(names[3]) == "settled"


def test_g3_file_that_is_gone_from_its_tier_is_told(chain: TieredStorage) -> None:
    names = save_many(chain)
    chain.chain["near"].storage.delete(names[3])
    work()
    assert "does not hold the file any more" in rows()[names[3]].last_error


def test_g5_file_that_is_deleted_meanwhile_stays_deleted(chain: TieredStorage, during_copy: Any) -> None:
    names = save_many(chain)
    during_copy(names[3], lambda: chain.delete(names[3]))
    work()
    with later(3600):
        work()
    assert not chain.exists(names[3])
    assert names[3] not in chain.chain["far"].storage.listdir("")[1]
    assert {chain.state(name) for name in names if name != names[3]} == {"settled"}


def test_g6_file_that_is_replaced_meanwhile_is_the_new_one(chain: TieredStorage, during_copy: Any) -> None:
    names = save_many(chain)

    def replace() -> None:
        with chain.open(names[3], "wb") as file:
            file.write(b"newer")

    during_copy(names[3], replace)
    work()
    with later(3600):
        work()
    assert chain.tiers(names[3]) == ["near", "far"]
    assert read(chain.chain["far"].storage, names[3]) == read(chain, names[3]) == b"newer"


def test_g6_lease_that_was_lost_is_lost_for_that_file_alone(chain: TieredStorage, during_copy: Any) -> None:
    names = save_many(chain)
    during_copy(names[3], lambda: catalog.files().filter(name=names[3]).update(lease="another's"))
    work()
    found = rows()
    assert (found[names[3]].lease, found[names[3]].state) == ("another's", "pending")
    assert {row.state for name, row in found.items() if name != names[3]} == {"settled"}


def test_g6_process_that_slept_beyond_its_lease_begins_again(
    chain: TieredStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_many(chain)
    claim = catalog.claim_each

    def claim_and_sleep(*arguments: Any) -> Any:
        if claimed := claim(*arguments):
            shift.enter_context(later(100_000))
        return claimed

    with ExitStack() as shift:
        monkeypatch.setattr(catalog, "claim_each", claim_and_sleep)
        work()
    # The second attempt at each is the one that wrote.
    assert {(row.state, row.fence) for row in rows().values()} == {("settled", 2)}


def test_g3_lease_of_what_was_copied_is_kept_until_it_is_recorded(
    chain: TieredStorage, settings: Any
) -> None:
    settings.QUEUED_STORAGE_LEASE = 1.5
    save_many(chain, 2)
    copied, stuck = claimed = catalog.claim_each(ids(), to_far)

    def until(row: StoredFile) -> Any:
        return catalog.files().get(pk=row.pk).lease_until

    with SharedHeartbeat(claimed) as heartbeat:
        with heartbeat.of(copied):
            pass
        with heartbeat.of(stuck):
            # Four beats: one that stands still is spoken for once more, for it had begun.
            moments = [until(copied)]
            while len(moments) < 5:
                wait_until(lambda: until(copied) != moments[-1], "a beat", every=0.01)
                moments.append(until(copied))
            assert until(stuck) < moments[3]


def test_request_that_comes_meanwhile_is_looked_at(
    catalog_db: str, make_chain: Any, during_copy: Any, settings: Any
) -> None:
    chain = make_chain(["near", "far"])
    names = save_many(chain)
    during_copy(names[3], lambda: catalog.files().filter(name=names[3]).update(requested=True))
    work()
    with later(3600):
        work()
    assert chain.state(names[3]) == "settled"
    assert rows()[names[3]].requested


def test_what_others_are_at_is_left_alone(chain: TieredStorage) -> None:
    names = save_many(chain)
    theirs = catalog.claim(ids()[3])
    assert theirs is not None
    assert len(work()) == COUNT - 1
    assert chain.state(names[3]) == "pending"


def test_signals_are_those_of_single_files(chain: TieredStorage) -> None:
    names = save_many(chain)
    told: list[str] = []

    def note(name: str, destination: str, **_: Any) -> None:
        told.append(f"{name} {destination}")

    signals.file_transferred.connect(note)
    try:
        work()
    finally:
        signals.file_transferred.disconnect(note)
    assert sorted(told) == sorted(f"{name} far" for name in names)


def test_g3_what_was_not_begun_is_given_back_at_once(chain: TieredStorage) -> None:
    names = save_many(chain)
    begun, goes_on = threading.Semaphore(0), threading.Event()
    copy = copying.copy

    def copy_later(*arguments: Any, **options: Any) -> Any:
        begun.release()
        assert goes_on.wait(30)
        return copy(*arguments, **options)

    def interrupt(*arguments: Any) -> Any:
        for _ in range(conf.get("THREADS")):
            assert begun.acquire(timeout=30)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copying, "copy", copy_later)
        patch.setattr(batch._Batch, "_wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            work()
    free = [name for name, row in rows().items() if (row.lease, row.attempts) == ("", 0)]
    assert len(free) == COUNT - conf.get("THREADS")
    assert len(work()) == len(free)
    goes_on.set()
    with later(3600):
        work()
    assert {chain.state(name) for name in names} == {"settled"}


def test_g3_batch_that_is_stopped_ends_what_it_began(
    chain: TieredStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = save_many(chain)
    threads = conf.get("THREADS")
    begun, stopped, given_back = threading.Semaphore(0), threading.Event(), threading.Event()
    copy, give_back = copying.copy, batch._Batch._give_back_unbegun
    firsts = [True]

    def copy_later(*arguments: Any, **options: Any) -> Any:
        begun.release()
        if (
            firsts and firsts.pop()
        ):  # it ends when all threads are at work; the others, when the rest is given back
            for _ in range(threads):
                assert begun.acquire(timeout=30)
            stopped.set()
        else:
            assert given_back.wait(30)
        return copy(*arguments, **options)

    def note(*arguments: Any) -> None:
        give_back(*arguments)
        given_back.set()

    monkeypatch.setattr(copying, "copy", copy_later)
    monkeypatch.setattr(batch._Batch, "_give_back_unbegun", note)
    worked_on = list(batch.drain(again=False, stopping=stopped.is_set))
    assert len(worked_on) == threads + 1  # the first one's thread began another
    for row in rows().values():
        assert (row.lease, row.attempts, row.state == "settled") == ("", 0, row.pk in worked_on)
    assert len(list(batch.drain())) == COUNT - len(worked_on)
    assert {chain.state(name) for name in names} == {"settled"}


class TestLockedRow:
    """A transaction that saves two of a batch's files never waits for the batch while that waits for it."""

    @pytest.fixture(autouse=True)
    def _locks_rows(self, catalog_db: str) -> None:
        if not connections[catalog_db].features.has_select_for_update_skip_locked:
            pytest.skip("one writer at a time")

    @pytest.fixture
    def lock(self, catalog_db: str) -> Iterator[Callable[[str], threading.Event]]:
        """Have a transaction lock a name's row until its event is set, or the test ends."""
        threads: list[tuple[threading.Thread, threading.Event]] = []

        def hold(name: str, locked: threading.Event, end: threading.Event) -> None:
            with catalog.locked("media", name):
                locked.set()
                end.wait(60)

        def start(name: str) -> threading.Event:
            locked, end = threading.Event(), threading.Event()
            threads.append(
                (threading.Thread(target=_and_hang_up, args=(lambda: hold(name, locked, end),)), end)
            )
            threads[-1][0].start()
            assert locked.wait(60)
            return end

        yield start
        for thread, end in threads:
            end.set()
            thread.join()

    def in_a_thread(self) -> threading.Thread:
        thread = threading.Thread(target=_and_hang_up, args=(work,))
        thread.start()
        return thread

    def others_are_settled(self, held: str) -> bool:
        return {row.state for name, row in rows().items() if name != held} == {"settled"}

    def test_g3_the_others_are_claimed(self, chain: TieredStorage, lock: Any) -> None:
        names = save_many(chain)
        end = lock(names[3])
        working = self.in_a_thread()
        wait_until(lambda: self.others_are_settled(names[3]), "the others are settled")
        assert rows()[names[3]].state == "pending"
        end.set()
        working.join()
        assert rows()[names[3]].state == "settled"

    def test_g3_the_others_are_recorded(self, chain: TieredStorage, lock: Any, during_copy: Any) -> None:
        names = save_many(chain)
        ends: list[threading.Event] = []
        during_copy(names[3], lambda: ends.append(lock(names[3])))
        working = self.in_a_thread()
        wait_until(lambda: ends and self.others_are_settled(names[3]), "the others are settled")
        ends[0].set()
        working.join()
        assert rows()[names[3]].state == "settled"

    def test_beat_does_not_give_it_up(self, chain: TieredStorage, lock: Any) -> None:
        names = save_many(chain, 3)
        claimed = catalog.claim_each(ids(), to_far)
        lock(names[1])
        assert catalog.renew_each(claimed) == set()
        catalog.files().filter(name=names[2]).update(lease="another's")
        assert catalog.renew_each(claimed) == {rows()[names[2]].pk}


def test_setting_turns_it_off(chain: TieredStorage, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.QUEUED_STORAGE_FAST_PATHS = False
    monkeypatch.setattr(catalog, "claim_each", None)
    save_many(chain)
    assert sorted(work()) == ids()
    assert {row.state for row in catalog.files()} == {"settled"}
