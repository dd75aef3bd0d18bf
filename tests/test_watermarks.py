"""A first tier with a limit: who has to leave it, who comes back, and that nothing is lost meanwhile."""

from __future__ import annotations

import errno
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.core.checks import run_checks
from django.core.files.base import ContentFile
from django.db import OperationalError, connections, transaction
from django.utils import timezone

from queued_storage import catalog, dispatch, operations, staging, watermarks
from queued_storage.batch import drain
from queued_storage.catalog import asking
from queued_storage.exceptions import ConfigurationError
from queued_storage.models import StoredFile
from queued_storage.policies.watermark import Watermark
from queued_storage.signals import file_transferred
from queued_storage.simulation import run
from queued_storage.storage import TieredStorage
from queued_storage.testing import faulty

from tests.support import clock, recording

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def now() -> Iterator[clock.Clock]:
    with clock.stopped() as stopped:
        yield stopped


@pytest.fixture
def make(make_chain: Any, settings: Any) -> Iterator[Callable[..., TieredStorage]]:
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH
    recording.RecordingDispatcher.calls.clear()

    def make(**options: Any) -> TieredStorage:
        storage: TieredStorage = make_chain(
            {"disk": "disk", "far": faulty.tier("far")},
            policy={"BACKEND": "watermark", "OPTIONS": {"high": 50, "low": 30} | options},
        )
        return storage

    faulty.forget_all()
    yield make
    faulty.forget_all()


def save(storage: TieredStorage, now: clock.Clock, count: int, size: int = 10) -> list[str]:
    """Save so many files, a minute apart, and do what they are owed."""
    names = []
    for _ in range(count):
        names.append(storage.save(f"{StoredFile.objects.count()}.bin", ContentFile(b"x" * size)))
        now.shift(60)
    list(drain())
    return names


def sweep(now: clock.Clock) -> None:
    dispatch.sweep()
    list(drain())
    now.shift(60)


def on_disk(storage: TieredStorage) -> list[str]:
    names: list[str] = storage.chain.first.storage.listdir("")[1]
    return sorted(names)


def read(storage: TieredStorage, name: str) -> bytes:
    with storage.open(name) as file:
        content: bytes = file.read()
        return content


class TestCrowdingOut:
    def test_up_to_the_high_mark_all_stay(self, make: Any, now: clock.Clock) -> None:
        storage = make()
        names = save(storage, now, 5)  # 50 bytes
        sweep(now)
        assert on_disk(storage) == names

    def test_above_it_the_oldest_leave_down_to_the_low_mark(self, make: Any, now: clock.Clock) -> None:
        storage = make()
        names = save(storage, now, 6)  # 60 bytes, of which 30 may stay
        sweep(now)
        assert on_disk(storage) == names[3:]
        assert [storage.tiers(name) for name in names] == [["far"]] * 3 + [["disk", "far"]] * 3
        assert set(StoredFile.objects.values_list("state", flat=True)) == {"settled"}

    def test_what_is_about_to_leave_is_not_counted_again(self, make: Any, now: clock.Clock) -> None:
        storage = make()
        save(storage, now, 6)
        for _ in range(3):
            dispatch.sweep()  # no worker has come to it yet
        assert StoredFile.objects.filter(crowded_out=True).count() == 3

    def test_file_is_never_only_on_its_way(self, make: Any, now: clock.Clock) -> None:
        storage = make()
        names = save(storage, now, 6)
        faulty.bucket("far").files.clear()  # somebody else's doing
        sweep(now)
        assert all(read(storage, name) == b"x" * 10 for name in names)

    def test_file_that_is_not_copied_yet_stays(self, make: Any, now: clock.Clock) -> None:
        storage = make()
        faulty.bucket("far").go_down()
        names = save(storage, now, 6)
        sweep(now)
        assert on_disk(storage) == names

    def test_files_of_other_policies_stay_and_count(self, make: Any, now: clock.Clock) -> None:
        storage = make()
        other = save(storage.with_policy("transfer"), now, 2)
        names = save(storage, now, 4)
        sweep(now)
        assert on_disk(storage) == [*other, names[-1]]

    def test_content_that_is_saved_anew_starts_anew(self, make: Any, now: clock.Clock) -> None:
        storage = make()
        first = save(storage, now, 6)[0]
        sweep(now)
        with storage.open(first, "wb") as file:
            file.write(b"y" * 10)
        list(drain())
        assert (storage.tiers(first), StoredFile.objects.get(name=first).crowded_out) == (
            ["disk", "far"],
            False,
        )

    def test_limit_holds_for_one_chain(self, make: Any, make_chain: Any, now: clock.Clock) -> None:
        other = make_chain(("here", "there"), policy="transfer", alias="other")
        make()
        names = save(other, now, 6)
        sweep(now)
        assert on_disk(other) == names


class TestCallingBack:
    @pytest.fixture
    def storage(self, make: Any) -> TieredStorage:
        storage: TieredStorage = make(promote=True, promote_up_to=15)
        return storage

    def test_file_that_is_read_comes_back(self, storage: TieredStorage, now: clock.Clock) -> None:
        names = save(storage, now, 6)
        sweep(now)
        assert read(storage, names[0]) == b"x" * 10
        assert recording.RecordingDispatcher.calls[-1] == [StoredFile.objects.get(name=names[0]).pk]
        list(drain())
        assert on_disk(storage) == [names[0], *names[3:]]

    def test_it_is_the_last_to_leave_again(self, storage: TieredStorage, now: clock.Clock) -> None:
        names = save(storage, now, 6)
        sweep(now)
        read(storage, names[0])
        list(drain())
        now.shift(60)
        names += save(storage, now, 2)  # 10 + 30 + 20
        sweep(now)
        assert on_disk(storage) == sorted([names[0], *names[6:]])

    def test_many_readers_have_it_fetched_once(self, storage: TieredStorage, now: clock.Clock) -> None:
        names = save(storage, now, 6)
        sweep(now)
        before = len(recording.RecordingDispatcher.calls)
        for _ in range(5):
            read(storage, names[0])
        assert len(recording.RecordingDispatcher.calls) == before + 1

    def test_readers_count_nothing(
        self, storage: TieredStorage, now: clock.Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name, *_ = save(storage, now, 6)
        sweep(now)
        monkeypatch.delattr(catalog, "first_tier_bytes")
        read(storage, name)
        assert storage.state(name) == "pending"

    @pytest.mark.parametrize("becomes", ["gone", "dead"])
    def test_without_the_sweeps_number_nothing_comes_back(
        self, storage: TieredStorage, now: clock.Clock, settings: Any, becomes: str
    ) -> None:
        name, *_ = save(storage, now, 6)
        sweep(now)
        if becomes == "gone":
            caches["default"].clear()
        else:
            settings.QUEUED_STORAGE_CACHE = "no such cache"
        assert read(storage, name) == b"x" * 10
        assert storage.state(name) == "settled"

    def test_number_that_is_gone_by_then_is_no_loss(
        self, storage: TieredStorage, now: clock.Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name, other, *_ = save(storage, now, 6)
        sweep(now)
        call_back = catalog.call_back

        def late(row: StoredFile) -> bool:
            caches["default"].clear()
            return call_back(row)

        monkeypatch.setattr(catalog, "call_back", late)
        read(storage, name)
        assert storage.state(name) == "pending"
        dispatch.sweep()
        read(storage, other)  # the cache did not take the missing number for a failure
        assert storage.state(other) == "pending"

    def test_there_has_to_be_room(self, storage: TieredStorage, now: clock.Clock) -> None:
        names = save(storage, now, 6)
        sweep(now)  # 30 of 50 are left
        for name in names[:3]:
            read(storage, name)
        list(drain())
        assert on_disk(storage) == sorted([*names[:2], *names[3:]])

    def test_what_is_about_to_come_takes_room(self, storage: TieredStorage, now: clock.Clock) -> None:
        names = save(storage, now, 6)
        sweep(now)  # 30 of 50 are left
        for name in names[:2]:
            read(storage, name)
        dispatch.sweep()  # no worker has come to them yet
        read(storage, names[2])
        assert storage.state(names[2]) == "settled"

    def test_large_file_stays_away(self, storage: TieredStorage, now: clock.Clock) -> None:
        large, *_ = save(storage, now, 3, size=20)
        sweep(now)
        assert storage.tiers(large) == ["far"]
        read(storage, large)
        assert StoredFile.objects.get(name=large).state == "settled"

    def test_without_promote_nothing_comes_back(self, make: Any, now: clock.Clock) -> None:
        storage = make()
        names = save(storage, now, 6)
        sweep(now)
        read(storage, names[0])
        assert StoredFile.objects.get(name=names[0]).crowded_out is True

    def test_question_without_opening_calls_nothing_back(
        self, storage: TieredStorage, now: clock.Clock
    ) -> None:
        names = save(storage, now, 6)
        sweep(now)
        storage.exists(names[0]), storage.size(names[0])
        assert StoredFile.objects.get(name=names[0]).crowded_out is True

    def test_reader_gets_the_file_whatever_becomes_of_that(
        self, storage: TieredStorage, now: clock.Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = save(storage, now, 6)
        sweep(now)

        def refuse(*_: object) -> bool:
            raise OSError("no")

        monkeypatch.setattr(catalog, "call_back", refuse)
        assert read(storage, names[0]) == b"x" * 10

    def test_rollback_of_the_reader_takes_it_back(self, storage: TieredStorage, now: clock.Clock) -> None:
        names = save(storage, now, 6)
        sweep(now)
        with transaction.atomic():
            read(storage, names[0])
            transaction.set_rollback(True)
        row = StoredFile.objects.get(name=names[0])
        assert (row.crowded_out, row.state) == (True, "settled")


class TestReadersInTransactions:
    """ATOMIC_REQUESTS: what a reader has to write waits for the commit, and locks nothing before."""

    @pytest.fixture
    def storage(self, make: Any, now: clock.Clock) -> TieredStorage:
        storage: TieredStorage = make(promote=True)
        save(storage, now, 6)
        sweep(now)
        return storage

    def test_nothing_is_written_before_the_commit(self, storage: TieredStorage) -> None:
        with transaction.atomic():
            read(storage, "0.bin")
            assert StoredFile.objects.get(name="0.bin").crowded_out is True
        assert StoredFile.objects.get(name="0.bin").state == "pending"

    def test_file_is_sent_off_after_the_commit(self, storage: TieredStorage) -> None:
        recording.RecordingDispatcher.calls.clear()
        with transaction.atomic():
            read(storage, "0.bin")
            read(storage, "0.bin")
            assert recording.RecordingDispatcher.calls == []
        assert recording.RecordingDispatcher.calls == [[StoredFile.objects.get(name="0.bin").pk]]

    def test_commit_survives_what_becomes_of_that(
        self, storage: TieredStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> bool:
            raise OSError("no")

        monkeypatch.setattr(watermarks, "call_back", refuse)
        with transaction.atomic():
            assert read(storage, "0.bin") == b"x" * 10


def test_readers_of_the_same_files_do_not_wait_for_each_other(
    catalog_db: str, make: Any, now: clock.Clock
) -> None:
    storage = make(promote=True, low=10)  # so that there is room for all that they might call back
    names = save(storage, now, 6)[:2]
    sweep(now)
    both_have_read = threading.Barrier(2)
    wrong: list[str] = []

    def request(first: str, second: str) -> None:
        try:
            with transaction.atomic(using=catalog_db):
                read(storage, first)
                both_have_read.wait(15)
                read(storage, second)
                both_have_read.wait(15)  # neither waits for the other's commit
        except BaseException as error:  # noqa: BLE001 - told by the test
            both_have_read.abort()
            wrong.append(repr(error))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=request, args=order) for order in (names, names[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert set(
        StoredFile.objects.using(catalog_db).filter(name__in=names).values_list("state", flat=True)
    ) == {"pending"}


def test_readers_while_a_sweep_makes_room_go_by_what_it_counted(
    make: Any, now: clock.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = make(promote=True)
    names = save(storage, now, 6)
    sweep(now)  # 30 bytes stay, and that is what readers go by until the next one
    save(storage, now, 3)
    crowd_out = catalog.crowd_out

    def read_meanwhile(row: StoredFile) -> bool:
        read(storage, names[0])
        read(storage, names[1])
        return crowd_out(row)

    monkeypatch.setattr(catalog, "crowd_out", read_meanwhile)
    sweep(now)
    assert len(on_disk(storage)) == 3
    for name in names:
        read(storage, name)
    list(drain())
    assert len(on_disk(storage)) == 5  # as many as the high mark allows


class TestSweepGoesOn:
    """What is wrong with one chain, or one file, is not the others' loss."""

    def test_where_one_chain_cannot_be_counted(
        self, make: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        storage = make()
        storage.save("a", ContentFile(b"x"))
        recording.RecordingDispatcher.calls.clear()

        def time_out(*_: object) -> int:
            raise OperationalError("canceling statement due to statement timeout")

        monkeypatch.setattr(catalog, "first_tier_bytes", time_out)
        dispatch.sweep()
        assert recording.RecordingDispatcher.calls == [[StoredFile.objects.get().pk]]
        assert "not_relieved chain=media error=OperationalError" in caplog.text

    def test_where_a_policy_fails_for_one_file(
        self, make: Any, now: clock.Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        storage = make()
        names = save(storage, now, 6)

        def decide(policy: Watermark, file: Any) -> Watermark:
            if file.name in names[:2]:
                raise RuntimeError("a bug")
            return policy

        monkeypatch.setattr(Watermark, "for_file", decide)
        dispatch.sweep()
        monkeypatch.undo()
        list(drain())
        assert on_disk(storage) == [*names[:2], names[5]]
        assert caplog.text.count("not_relieved chain=media error=RuntimeError") == 1


def test_file_that_is_taken_in_from_below_stays_there(make: Any, now: clock.Clock) -> None:
    storage = make(promote=True)
    names = [f"{number}.bin" for number in range(10)]
    faulty.bucket("far").files.update(dict.fromkeys(names, b"x" * 10))
    for name in names[:5]:
        storage.transfer(name)
    list(operations.transfer(storage, names))
    list(drain())
    assert not any(storage.chain.first.storage.exists(name) for name in names)
    assert set(StoredFile.objects.values_list("state", "crowded_out")) == {("settled", True)}
    dispatch.sweep()
    read(storage, names[0])
    list(drain())
    assert on_disk(storage) == names[:1]


def test_file_that_spilled_stays_where_it_is(make: Any, settings: Any, now: clock.Clock) -> None:
    storage = make()
    chain = settings.QUEUED_STORAGE_TIERS["media"]
    tiers = {"disk": faulty.tier("near"), "far": faulty.tier("far")}
    settings.QUEUED_STORAGE_TIERS = {"media": chain | {"SPILL": True, "TIERS": tiers}}
    near = faulty.bucket("near")
    near.on("save", faulty.full)
    names = save(storage, now, 10)
    near.heal()
    StoredFile.objects.filter(state="pending").update(due_at=timezone.now())
    list(drain())
    assert near.files == {}
    assert [storage.tiers(name) for name in names] == [["far"]] * 10


class TestFirstTierThatCannotBePromotedTo:
    """One on which a file grows in its place, or is sent with its row locked."""

    @pytest.fixture
    def storage(self, make: Any, settings: Any) -> TieredStorage:
        storage: TieredStorage = make(promote=True)
        chain = settings.QUEUED_STORAGE_TIERS["media"]
        tiers = {"disk": faulty.tier("near"), "far": faulty.tier("far")}
        settings.QUEUED_STORAGE_TIERS = {"media": chain | {"TIERS": tiers}}
        return storage

    def test_nothing_comes_back(self, storage: TieredStorage, now: clock.Clock) -> None:
        names = save(storage, now, 6)
        sweep(now)
        read(storage, names[0])
        assert storage.state(names[0]) == "settled"
        assert storage.tiers(names[0]) == ["far"]

    def test_check_says_so(self, storage: TieredStorage) -> None:
        (message,) = [each for each in run_checks(tags=["queued_storage"]) if "promote" in each.msg]
        assert message.id == "queued_storage.E001"

    def test_check_says_so_of_a_rule(self, storage: TieredStorage, settings: Any) -> None:
        chain = settings.QUEUED_STORAGE_TIERS["media"]
        rule = {"name": "*.bin", "policy": chain["POLICY"]}
        policy = {"BACKEND": "rules", "OPTIONS": {"rules": [rule]}}
        settings.QUEUED_STORAGE_TIERS = {"media": chain | {"POLICY": policy}}
        assert [each.id for each in run_checks(tags=["queued_storage"])] == ["queued_storage.E001"]

    def test_disk_passes(self, make: Any) -> None:
        make(promote=True)
        assert run_checks(tags=["queued_storage"]) == []


class TestPromotionThatFails:
    @pytest.fixture
    def name(self, make: Any, now: clock.Clock, settings: Any, monkeypatch: pytest.MonkeyPatch) -> str:
        """The name of a file that is called back, to a disk that is full by now."""
        settings.QUEUED_STORAGE_RETRIES = 0
        storage = make(promote=True)
        name = save(storage, now, 6)[0]
        sweep(now)
        read(storage, name)

        def fill(*_: Any, **__: Any) -> Any:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(staging, "stage", fill)
        return name

    def test_leaves_the_file_settled_below(self, name: str, caplog: pytest.LogCaptureFixture) -> None:
        list(drain())
        row = StoredFile.objects.get(name=name)
        assert (row.state, row.tiers, row.stale, row.crowded_out) == ("settled", ["far"], [], True)
        assert f"not_called_back chain=media file={row.pk}" in caplog.text
        assert "No space left on device" in caplog.text

    def test_does_not_hide_that_the_file_is_gone(self, name: str) -> None:
        faulty.bucket("far").files.pop(name)
        list(drain())
        assert StoredFile.objects.get(name=name).state == "failed"


def test_limit_on_every_database(catalog_db: str, make: Any, now: clock.Clock) -> None:
    storage = make(promote=True)
    names = save(storage, now, 6)
    sweep(now)
    assert on_disk(storage) == names[3:]
    read(storage, names[0])
    list(drain())
    assert on_disk(storage) == [names[0], *names[3:]]


def test_simulation_says_that_it_cannot_tell(make: Any) -> None:
    with pytest.raises(ConfigurationError, match="A policy with a watermark looks at all files"):
        run(make().chain, days=1)


class Crowd:
    """Eight threads that save and read, 2,000 times together; each sweeps now and then, as Celery beat does."""

    THREADS, EACH, SIZE = 8, 250, 100

    def __init__(self, storage: TieredStorage) -> None:
        self.storage = storage
        self.contents: dict[str, bytes] = {}
        self.wrong: list[str] = []
        self.called, self.fetched = Counter[str](), Counter[str]()
        self.saved_before_sweep, self.most_kept = 0, 0

    def use(self, seed: int) -> None:
        chance = random.Random(seed)
        try:
            for number in range(self.EACH):
                if number < 5 or chance.random() < 0.08:
                    self._save(f"{seed}-{number}.bin", bytes(chance.choices(range(256), k=self.SIZE)))
                else:
                    self._read(chance.choice(list(self.contents)))
                self._measure()
                if number % 50 == 5 * seed:
                    self._sweep()
        except BaseException as error:  # noqa: BLE001 - told by the test
            self.wrong.append(repr(error))
        finally:
            connections.close_all()

    def _sweep(self) -> None:
        saved = len(self.contents)
        dispatch.sweep()
        self.saved_before_sweep = max(self.saved_before_sweep, saved)

    def _measure(self) -> None:
        """Note how many files are to stay on the first tier, but for those that came since a sweep looked.

        Of these each thread may be saving one.
        """
        since, kept = self.saved_before_sweep, catalog.first_tier_bytes(self.storage.chain) // self.SIZE
        self.most_kept = max(self.most_kept, kept - (len(self.contents) - since) - self.THREADS)

    def _save(self, name: str, content: bytes) -> None:
        self.contents[self.storage.save(name, ContentFile(content))] = content

    def _read(self, name: str) -> None:
        if read(self.storage, name) != self.contents[name]:
            self.wrong.append(name)

    def run(self) -> None:
        threads = [threading.Thread(target=self.use, args=(seed,)) for seed in range(self.THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def count_call(self, row: StoredFile) -> bool:
        if came := asking._ask_again(row, crowded_out=False, called_back_at=row.saved_at):
            self.called[row.name] += 1
        return came

    def count_copy(self, *, name: str, destination: str, **_: Any) -> None:
        self.fetched[name] += destination == "disk"


@pytest.mark.slow
@pytest.mark.storages  # 2,000 uses of a chain: the steps are tested by themselves
def test_many_threads_on_a_first_tier_that_is_too_small(
    make: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.QUEUED_STORAGE_DISPATCHER = "queued_storage.dispatch.ImmediateDispatcher"
    high = 5_000
    storage = make(high=high, low=3_000, promote=True)
    crowd = Crowd(storage)
    monkeypatch.setattr(catalog, "call_back", crowd.count_call)
    file_transferred.connect(crowd.count_copy)
    try:
        crowd.run()
        for _ in range(2):
            dispatch.sweep()
            list(drain())
    finally:
        file_transferred.disconnect(crowd.count_copy)
    assert crowd.wrong == []
    assert len(crowd.contents) * crowd.SIZE > 2 * high  # it was too small
    assert crowd.most_kept * crowd.SIZE <= high  # at every moment
    assert sum(crowd.called.values()) > 20
    assert +crowd.fetched == crowd.called  # fetched as often as called, whoever else read it meanwhile
    assert len(on_disk(storage)) * crowd.SIZE == catalog.first_tier_bytes(storage.chain) <= high
    assert not StoredFile.objects.exclude(state="settled").exists()
    assert all(read(storage, name) == content for name, content in crowd.contents.items())
