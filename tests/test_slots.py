"""A tier's CONCURRENCY: no more copies than that go on at a time in a process, and who waits holds nobody up."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import connections
from django.utils import timezone

from queued_storage import batch, catalog, copying, slots, tasks
from queued_storage.reconcile import reconcile
from queued_storage.schema import TierSettings
from queued_storage.slots import Turn
from queued_storage.storage import TieredStorage
from queued_storage.tier import Tier

from tests.support import recording
from tests.support.waiting import wait_until

DISK = "django.core.files.storage.FileSystemStorage"


@pytest.fixture(autouse=True)
def _free(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test takes slots of another, or its threads."""
    monkeypatch.setattr(slots, "_desks", {})


def tier(name: str, concurrency: int | None) -> Tier:
    return Tier("media", name, 1, TierSettings(BACKEND=DISK, CONCURRENCY=concurrency))


class TestTurns:
    def begun(self, log: list[str], name: str, *tiers: Tier) -> Turn:
        turn = Turn(tiers)
        turn.begin(lambda: log.append(name))
        return turn

    def test_as_many_as_there_are_slots(self) -> None:
        log: list[str] = []
        far = tier("far", 2)
        first, second, *_ = [self.begun(log, name, far) for name in "abcd"]
        assert log == ["a", "b"]
        second.end()
        assert log == ["a", "b", "c"]
        first.end()
        assert log == ["a", "b", "c", "d"]

    def test_tier_without_limit_is_waited_for_by_nobody(self) -> None:
        log: list[str] = []
        turns = [self.begun(log, name, tier("far", None)) for name in "abcd"]
        assert log == ["a", "b", "c", "d"]
        assert all(turn.take(0) for turn in turns)

    def test_slots_are_taken_all_together(self) -> None:
        """So two that wait for each other's do not wait for ever."""
        log: list[str] = []
        one, other = tier("one", 1), tier("other", 1)
        first, second = self.begun(log, "a", one), self.begun(log, "b", other)
        self.begun(log, "c", one, other)
        first.end()
        assert log == ["a", "b"]
        second.end()
        assert log == ["a", "b", "c"]

    def test_one_that_needs_two_is_not_overtaken_by_those_that_need_one(self) -> None:
        log: list[str] = []
        one, other, third = tier("one", 1), tier("other", 1), tier("third", 1)
        ones, others = [self.begun(log, "one", one)], [self.begun(log, "other", other)]
        both = self.begun(log, "both", one, other)
        for _ in range(3):
            ones.append(self.begun(log, "one", one))
            others.append(self.begun(log, "other", other))
            ones.pop(0).end()
            others.pop(0).end()
        assert log == ["one", "other", "both"]
        self.begun(log, "third", third)
        assert log.pop() == "third"
        both.end()
        assert log[3:] == ["one", "other"]

    def test_claim_goes_with_who_leaves_the_line(self) -> None:
        log: list[str] = []
        one, other = tier("one", 1), tier("other", 1)
        self.begun(log, "a", one)
        both, late = self.begun(log, "both", one, other), Turn([other])
        self.begun(log, "b", other)
        assert log == ["a"]
        both.end()
        assert log == ["a", "b"]
        assert not late.take(0)

    def test_claim_goes_with_patience(self) -> None:
        log: list[str] = []
        one, other = tier("one", 1), tier("other", 1)
        self.begun(log, "a", one)
        turn = Turn([one, other])
        with ThreadPoolExecutor(1) as pool:
            taking = pool.submit(turn.take, 0.5)
            wait_until(lambda: slots._desk().line == [turn] or taking.done(), "it stands in line")
            self.begun(log, "b", other)
            assert not taking.result(30)
        assert log == ["a", "b"]
        assert slots._desk().line == []

    def test_claim_to_the_rest_of_a_tier_goes_with_entering(self) -> None:
        """What was freed is taken again by then, and who is served next waits for another tier."""
        log: list[str] = []
        one, other = tier("one", 1), tier("other", 2)
        first = self.begun(log, "a", one)
        self.begun(log, "both", one, other)
        self.begun(log, "b", other)
        assert log == ["a"]
        first.end()
        assert log == ["a", "both", "b"]

    def test_threads_that_keep_coming_overtake_nobody_for_ever(self) -> None:
        log: list[str] = []
        far = tier("far", 1)
        holder, one, other = (Turn([far]) for _ in range(3))
        assert holder.take(0)
        queued = self.begun(log, "queued", far)

        def stands_in_line(turn: Turn) -> None:
            wait_until(lambda: turn in slots._desk().line, "it stands in line")

        with ThreadPoolExecutor(2) as pool:
            taking = pool.submit(one.take, 30)
            stands_in_line(one)
            holder.end()
            assert taking.result(30)
            taking = pool.submit(other.take, 30)
            stands_in_line(other)
            one.end()
            assert log == ["queued"]
            queued.end()
            assert taking.result(30)

    def test_end_is_there_to_be_said_twice(self) -> None:
        log: list[str] = []
        far = tier("far", 1)
        first = self.begun(log, "a", far)
        waiting = [self.begun(log, name, far) for name in "bcd"]
        waiting[1].end()
        first.end()
        first.end()
        assert log == ["a", "b"]
        waiting[0].end()
        assert log == ["a", "b", "d"]

    def test_thread_that_waits_comes_first(self) -> None:
        far = tier("far", 1)
        log: list[str] = []
        first = self.begun(log, "a", far)
        queued = self.begun(log, "b", far)
        turn = Turn([far])
        with ThreadPoolExecutor(1) as pool:
            taking = pool.submit(turn.take, 30)
            wait_until(lambda: slots._desk().line[0] is turn, "it stands in front")
            first.end()
            assert taking.result(30)
        assert log == ["a"]
        turn.end()
        assert log == ["a", "b"]
        queued.end()

    def test_patience_that_is_over_leaves_no_trace(self) -> None:
        far = tier("far", 1)
        first, late, next_one = (Turn([far]) for _ in range(3))
        assert first.take(0)
        assert not late.take(0.01)
        first.end()
        assert next_one.take(0)

    def test_change_of_tiers_gives_the_slot_back(self) -> None:
        far, near = tier("far", 1), tier("near", 1)
        first, second = Turn([far]), Turn([far])
        assert first.take(0)
        assert first.change([far], 0)
        assert not second.take(0)
        assert first.change([near], 0)
        assert second.take(0)
        assert not first.change([far], 0)

    def test_many_threads_take_no_slot_twice(self) -> None:
        far, near = tier("far", 3), tier("near", 2)
        under_way, most = Counter[str](), Counter[str]()
        lock = threading.Lock()

        def copy(number: int) -> None:
            tiers = [[far], [near], [far, near]][number % 3]
            turn = Turn(tiers)
            assert turn.take(60)
            with lock:
                under_way.update(each.name for each in tiers)
                for each in tiers:
                    most[each.name] = max(most[each.name], under_way[each.name])
            with lock:
                under_way.subtract(each.name for each in tiers)
            turn.end()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(copy, range(300)))
        assert most["far"] <= 3
        assert most["near"] <= 2
        assert not any(slots._desk().taken.values())
        assert slots._desk().line == []

    def test_fork_has_slots_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        far = tier("far", 1)
        assert Turn([far]).take(0)
        monkeypatch.setattr(os, "getpid", lambda: -1)
        assert Turn([far]).take(0)

    def test_fork_frees_none_of_its_parents(self, monkeypatch: pytest.MonkeyPatch) -> None:
        far = tier("far", 1)
        of_parent = Turn([far])
        assert of_parent.take(0)
        monkeypatch.setattr(os, "getpid", lambda: -1)
        of_parent.end()
        assert Turn([far]).take(0)
        assert not Turn([far]).take(0)


class Copies:
    """Sees copies made, and holds up those to one tier."""

    def __init__(self, patch: pytest.MonkeyPatch, held_up: str) -> None:
        self.most = 0
        self.count = 0
        self.goes_on = threading.Event()
        self._held_up = held_up
        self._lock = threading.Lock()
        self._copy = copying.copy
        patch.setattr(copying, "copy", self.copy)

    def copy(self, source: Tier, destination: Tier, *arguments: Any, **options: Any) -> Any:
        if destination.name != self._held_up:
            return self._copy(source, destination, *arguments, **options)
        with self._counted():
            assert self.goes_on.wait(60)
            return self._copy(source, destination, *arguments, **options)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self.count += 1
            self.most = max(self.most, self.count)
        yield
        with self._lock:
            self.count -= 1


COUNT = 20


@pytest.fixture(autouse=True)
def _recorded(settings: Any) -> None:
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH


@pytest.fixture
def slow(catalog_db: str, make_chain: Callable[..., TieredStorage], tmp_path: Any) -> TieredStorage:
    far = {"BACKEND": DISK, "OPTIONS": {"location": str(tmp_path / "slow")}, "CONCURRENCY": 2}
    return make_chain({"near": "disk", "slow": far}, alias="slow")


@pytest.fixture
def quick(catalog_db: str, make_chain: Callable[..., TieredStorage]) -> TieredStorage:
    return make_chain(["here", "there"], alias="quick")


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> Iterator[Copies]:
    made = Copies(monkeypatch, "slow")
    yield made
    made.goes_on.set()


def save(chain: TieredStorage, count: int = COUNT) -> list[str]:
    return [chain.save(f"{number}.txt", ContentFile(b"content")) for number in range(count)]


def ids() -> list[int]:
    return list(catalog.files().order_by("pk").values_list("pk", flat=True))


@contextmanager
def in_a_thread(act: Callable[[], Any]) -> Iterator[None]:
    def run() -> None:
        try:
            act()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join(60)
    assert not thread.is_alive()


def states(chain: TieredStorage) -> Counter[str]:
    return Counter(catalog.files().filter(chain=chain.alias).values_list("state", flat=True))


def test_slow_tier_holds_up_no_other(slow: TieredStorage, quick: TieredStorage, copies: Copies) -> None:
    save(slow)
    save(quick)
    with in_a_thread(lambda: list(batch.work(ids()))):
        wait_until(lambda: states(quick) == {"settled": COUNT}, "all of the other chain are copied")
        assert states(slow) == {"pending": COUNT}
        copies.goes_on.set()
    assert states(slow) == {"settled": COUNT}
    assert copies.most == 2


def test_limit_is_of_all_that_a_process_does(slow: TieredStorage, copies: Copies) -> None:
    """Of two messages at a time, as Celery's threads work on them."""
    save(slow)
    with in_a_thread(lambda: list(batch.work(ids()[:10]))), in_a_thread(lambda: list(batch.work(ids()[10:]))):
        wait_until(lambda: copies.count == 2, "two are under way")
        copies.goes_on.set()
    assert states(slow) == {"settled": COUNT}
    assert copies.most == 2


def test_files_that_are_copied_alone_count_too(slow: TieredStorage, copies: Copies, settings: Any) -> None:
    settings.QUEUED_STORAGE_FAST_PATHS = False
    save(slow, 6)
    with ThreadPoolExecutor(6) as pool:
        for pk in ids():
            pool.submit(reconcile_and_hang_up, pk)
        wait_until(lambda: copies.count == 2, "two are under way")
        copies.goes_on.set()
    assert states(slow) == {"settled": 6}
    assert copies.most == 2


def reconcile_and_hang_up(pk: int) -> None:
    try:
        reconcile(pk)
    finally:
        connections.close_all()


def test_file_whose_tier_is_busy_stays_due_and_has_lost_no_attempt(slow: TieredStorage) -> None:
    save(slow, 1)
    full = [Turn([slow.chain["slow"]]) for _ in range(2)]
    assert all(turn.take(0) for turn in full)
    told: list[int] = []
    assert reconcile(*ids(), patience=0, when_busy=told.append)
    row = catalog.files().get()
    assert told == [row.pk]
    assert (row.state, row.attempts, row.lease, row.stale, row.lost) == ("pending", 0, "", [], [])
    assert row.last_error == "as many copies as CONCURRENCY allows go on between 'near' and 'slow'"
    assert catalog.due_ids(row.due_at, 9) == [row.pk]
    full[0].end()
    assert reconcile(row.pk, patience=0, when_busy=told.append)
    assert states(slow) == {"settled": 1}
    assert told == [row.pk]


def test_others_of_a_message_do_not_wait_for_a_busy_tier(
    slow: TieredStorage, quick: TieredStorage, settings: Any
) -> None:
    settings.QUEUED_STORAGE_FAST_PATHS = False
    save(slow, 2)
    save(quick, 2)
    full = Turn([slow.chain["slow"]]), Turn([slow.chain["slow"]])
    assert all(turn.take(0) for turn in full)
    with in_a_thread(lambda: list(batch.work(ids()))):
        wait_until(lambda: states(quick) == {"settled": 2}, "the others are copied")
        assert states(slow) == {"pending": 2}
        full[0].end()
    assert states(slow) == {"settled": 2}


class TestShift:
    """A worker goes on to other messages after a while."""

    def test_what_it_did_not_come_to_is_handed_on(
        self, slow: TieredStorage, quick: TieredStorage, copies: Copies, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its shift is over when two copies are under way."""
        monkeypatch.setattr(batch, "_time_left", lambda ends_at: 0 if copies.most == 2 else 0.05)
        save(slow)
        save(quick, 2)
        handed_on: list[int] = []
        worked_on: list[int] = []
        with in_a_thread(lambda: worked_on.extend(batch.work(ids(), hand_on=handed_on.extend))):
            wait_until(
                lambda: catalog.files().filter(chain="slow", lease="").count() == COUNT - 2,
                "all but the two that are under way are given back",
            )
            copies.goes_on.set()
        assert states(slow) == {"settled": 2, "pending": COUNT - 2}
        assert sorted(worked_on + handed_on) == ids()
        assert {row.attempts for row in catalog.files().filter(state="pending")} == {0}
        assert catalog.due_ids(timezone.now(), 99) == sorted(handed_on)
        monkeypatch.setattr(batch, "_time_left", lambda ends_at: None)
        assert sorted(batch.work(handed_on, hand_on=None)) == sorted(handed_on)
        assert states(slow) == {"settled": COUNT}

    def test_files_that_go_one_by_one_are_handed_on_too(
        self, quick: TieredStorage, monkeypatch: pytest.MonkeyPatch, settings: Any
    ) -> None:
        settings.QUEUED_STORAGE_FAST_PATHS = False
        monkeypatch.setattr(batch, "SHIFT", 0)
        save(quick, 3)
        handed_on: list[list[int]] = []
        assert list(batch.work(ids(), hand_on=lambda pks: handed_on.append(list(pks)))) == []
        assert handed_on == [ids()]

    def test_celery_worker_sends_them_again(
        self, quick: TieredStorage, monkeypatch: pytest.MonkeyPatch, settings: Any
    ) -> None:
        monkeypatch.setattr(batch, "SHIFT", 0)
        settings.QUEUED_STORAGE_FAST_PATHS = False
        settings.QUEUED_STORAGE_BATCH = 2
        save(quick, 3)
        recording.RecordingDispatcher.calls.clear()
        tasks.reconcile(*ids())
        assert recording.RecordingDispatcher.calls == [ids()[:2], ids()[2:]]

    def test_eager_task_does_all_at_once(self, quick: TieredStorage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(batch, "SHIFT", 0)
        monkeypatch.setattr(
            tasks, "current_app", SimpleNamespace(conf=SimpleNamespace(task_always_eager=True))
        )
        save(quick, 3)
        recording.RecordingDispatcher.calls.clear()
        tasks.reconcile(*ids())
        assert states(quick) == {"settled": 3}
        assert recording.RecordingDispatcher.calls == []

    def test_nothing_is_handed_on_where_all_is_done(self, quick: TieredStorage) -> None:
        save(quick)
        handed_on: list[int] = []
        assert sorted(batch.work(ids(), hand_on=handed_on.extend)) == ids()
        assert handed_on == []
        assert list(batch.work(ids(), hand_on=handed_on.extend)) == []
        assert handed_on == []
