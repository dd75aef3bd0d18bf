"""``BANDWIDTH`` and ``WINDOW``: how fast copies to and from a tier go, and when they begin."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.utils import timezone

from queued_storage import bandwidth, batch, catalog, dispatch, windows
from queued_storage.bandwidth import Meter
from queued_storage.models import StoredFile
from queued_storage.schema import TierSettings
from queued_storage.storage import TieredStorage
from queued_storage.testing import run_owed_work
from queued_storage.tier import HELD_BACK, Tier

from tests.base_settings import DISK

pytestmark = pytest.mark.django_db

MEGABYTE = 1_000_000


@pytest.fixture
def make(make_chain: Any, tmp_path: Any) -> Callable[..., TieredStorage]:
    """Make a chain of tiers by name, each with its keys."""

    def build(policy: str = "transfer", **tiers: dict[str, Any]) -> TieredStorage:
        named = {
            name: {"BACKEND": DISK, "OPTIONS": {"location": str(tmp_path / name)}} | keys
            for name, keys in tiers.items()
        }
        storage: TieredStorage = make_chain(named, policy=policy)
        return storage

    return build


def tier(**keys: Any) -> Tier:
    return Tier("media", "far", 1, TierSettings(BACKEND=DISK, **keys))


class Clock:
    """A clock that is moved by whoever sleeps."""

    def __init__(self) -> None:
        self.now, self.slept = 1_000.0, 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(bandwidth, "_meters", {})
    monkeypatch.setattr(bandwidth, "time", SimpleNamespace(monotonic=found.monotonic, sleep=found.sleep))
    return found


class TestMeter:
    def test_bytes_take_their_time(self) -> None:
        meter = Meter(100)
        assert meter.take(100, now=50.0) == 0  # what stood still for a second
        assert meter.take(100, now=50.0) == 1
        assert meter.take(50, now=50.0) == 1.5
        assert meter.take(100, now=51.5) == 1

    def test_time_that_passed_is_not_saved_up(self) -> None:
        meter = Meter(100)
        meter.take(100, now=0.0)
        assert meter.take(300, now=1_000.0) == 2

    def test_threads_share_it(self) -> None:
        meter = Meter(1_000)
        with ThreadPoolExecutor(8) as pool:
            waits = list(pool.map(lambda _: meter.take(1_000, now=0.0), range(50)))
        assert sorted(waits) == [float(number) for number in range(50)]


class TestBandwidth:
    def test_copy_takes_as_long_as_its_bytes(self, make: Any, clock: Clock) -> None:
        storage = make(disk={}, far={"BANDWIDTH": MEGABYTE})
        storage.save("a.bin", ContentFile(b"x" * 5 * MEGABYTE))
        run_owed_work()
        assert StoredFile.objects.get().tiers == ["disk", "far"]
        assert clock.slept == pytest.approx(4, abs=0.1)

    def test_bytes_from_it_count_as_well(self, make: Any, clock: Clock) -> None:
        storage = make(disk={"BANDWIDTH": MEGABYTE}, far={})
        storage.save("a.bin", ContentFile(b"x" * 3 * MEGABYTE))
        assert clock.slept == 0  # no save waits
        run_owed_work()
        assert clock.slept == pytest.approx(2, abs=0.1)

    def test_copies_share_it(self, make: Any, clock: Clock) -> None:
        storage = make(disk={}, far={"BANDWIDTH": MEGABYTE})
        for i in range(5):
            storage.save(f"{i}.bin", ContentFile(b"x" * MEGABYTE))
        begun = clock.now
        list(batch.drain())
        assert set(StoredFile.objects.values_list("state", flat=True)) == {"settled"}
        # Several wait at once: each of their sleeps moves the clock.
        assert clock.now - begun >= 3.9

    def test_who_waits_long_shows_signs_of_life(self, clock: Clock) -> None:
        beats: list[int] = []
        paced = bandwidth.held_back([tier(BANDWIDTH=10_000)], beats.append)
        paced(100_000)
        assert beats == [100_000, *[0] * 9]

    def test_lease_that_is_lost_ends_the_wait(self, clock: Clock) -> None:
        def progress(count: int) -> None:
            if not count:
                raise LookupError

        with pytest.raises(LookupError):
            bandwidth.held_back([tier(BANDWIDTH=10_000)], progress)(100_000)
        assert clock.slept == 1

    def test_tier_without_any_costs_nothing(self) -> None:
        def progress(count: int) -> None: ...

        assert bandwidth.held_back([tier()], progress) is progress

    def test_it_leaves_threads_for_other_tiers(self) -> None:
        assert tier(BANDWIDTH=MEGABYTE).concurrency == HELD_BACK
        assert tier(BANDWIDTH=MEGABYTE, CONCURRENCY=9).concurrency == 9
        assert tier().concurrency is None


NIGHT = "22:00-06:00"
DAY = "09:30-17:00"


class TestOpening:
    """In Berlin, an hour ahead of UTC in winter and two in summer."""

    @pytest.fixture(autouse=True)
    def _berlin(self, settings: Any) -> None:
        settings.TIME_ZONE = "Europe/Berlin"

    @pytest.mark.parametrize(
        ("window", "now", "opens"),
        [
            (NIGHT, (2026, 1, 10, 21, 0), None),  # 22:00
            (NIGHT, (2026, 1, 10, 20, 59), (2026, 1, 10, 21, 0)),
            (NIGHT, (2026, 1, 10, 2, 0), None),
            (NIGHT, (2026, 1, 10, 5, 0), (2026, 1, 10, 21, 0)),  # 06:00: it has just closed
            (DAY, (2026, 1, 10, 8, 0), (2026, 1, 10, 8, 30)),
            (DAY, (2026, 1, 10, 8, 30), None),
            (DAY, (2026, 1, 10, 16, 0), (2026, 1, 11, 8, 30)),
            (DAY, (2026, 7, 10, 7, 0), (2026, 7, 10, 7, 30)),  # summer
            # 2:30 is not there in the night when summer time begins: 3:30 is as good.
            ("02:30-05:00", (2026, 3, 29, 0, 45), (2026, 3, 29, 1, 30)),
            # It comes twice when that ends. After the first time the second one is the next.
            ("02:30-05:00", (2026, 10, 25, 0, 10), (2026, 10, 25, 0, 30)),
            ("02:30-05:00", (2026, 10, 25, 1, 10), (2026, 10, 25, 1, 30)),
        ],
    )
    def test_opens_at(self, window: str, now: tuple[int, ...], opens: tuple[int, ...] | None) -> None:
        expected = None if opens is None else datetime(*opens, tzinfo=UTC)  # type: ignore[misc]
        assert windows.opens_at(tier(WINDOW=window), datetime(*now, tzinfo=UTC)) == expected  # type: ignore[misc]

    def test_without_time_zones(self, settings: Any) -> None:
        settings.USE_TZ = False
        now = datetime(2026, 1, 10, 20, 0)  # noqa: DTZ001 - as Django has them then
        assert windows.opens_at(tier(WINDOW=NIGHT), now) == now.replace(hour=22)

    def test_tier_without_one_is_open(self) -> None:
        assert windows.opens_at(tier()) is None


NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
OPENING = NOON.replace(hour=22)


class TestWindow:
    @pytest.fixture(autouse=True)
    def _utc(self, settings: Any) -> None:
        settings.TIME_ZONE = "UTC"

    @pytest.fixture
    def travel(self) -> Iterator[Any]:
        with time_machine.travel(NOON, tick=False) as travel:
            yield travel

    def rows(self) -> set[tuple[str, datetime | None, int]]:
        return set(StoredFile.objects.values_list("state", "due_at", "attempts"))

    @pytest.mark.parametrize("count", [1, 3])
    def test_files_wait_for_it(self, make: Any, travel: Any, count: int) -> None:
        storage = make(disk={}, far={"WINDOW": NIGHT})
        for i in range(count):
            storage.save(f"{i}.txt", ContentFile(b"1"))
        list(batch.drain())
        assert self.rows() == {("pending", OPENING, 0)}
        told = StoredFile.objects.first()
        assert told is not None
        assert (
            told.last_error
            == "tier 'far' is outside of its WINDOW, 22:00-06:00: copies begin when that opens"
        )
        assert not told.stale
        assert not catalog.due(timezone.now())
        assert dispatch.sweep() == 0
        travel.move_to(OPENING)
        list(batch.drain())
        assert self.rows() == {("settled", None, 0)}
        assert set(map(tuple, StoredFile.objects.values_list("tiers", flat=True))) == {("disk", "far")}

    def test_who_asks_for_it_wakes_nobody_for_long(self, make: Any, travel: Any) -> None:
        storage = make(disk={}, far={"WINDOW": NIGHT})
        storage.save("a.txt", ContentFile(b"1"))
        run_owed_work()
        storage.transfer("a.txt")
        call_command("tiers", "retry", "--waiting", stdout=io.StringIO())
        run_owed_work()
        assert self.rows() == {("pending", OPENING, 0)}

    def test_other_tiers_do_not_wait(self, make: Any, travel: Any) -> None:
        make(disk={}, far={"WINDOW": NIGHT}, near={}).save("a.txt", ContentFile(b"1"))
        run_owed_work()
        assert StoredFile.objects.get().tiers == ["disk", "near"]
        assert self.rows() == {("pending", OPENING, 0)}

    def test_copies_from_it_wait_as_well(self, make: Any, travel: Any) -> None:
        make(disk={"WINDOW": DAY}, far={"WINDOW": NIGHT}).save("a.txt", ContentFile(b"1"))
        run_owed_work()
        travel.move_to(OPENING)
        run_owed_work()  # the one is open, the other is closed by now
        assert self.rows() == {("pending", datetime(2026, 11, 23, 9, 30, tzinfo=UTC), 0)}

    def test_copy_comes_from_a_tier_that_is_open(self, make: Any, travel: Any) -> None:
        storage = make(disk={"WINDOW": NIGHT}, near={}, far={})
        storage.save("a.txt", ContentFile(b"1"))
        travel.move_to(OPENING)
        run_owed_work()
        row = StoredFile.objects.get()
        travel.move_to(NOON)
        (storage.chain["far"].storage).delete("a.txt")
        StoredFile.objects.update(tiers=["disk", "near"], state="pending", due_at=NOON)
        run_owed_work()
        row.refresh_from_db()
        assert (row.state, row.tiers) == ("settled", ["disk", "near", "far"])

    def test_file_that_only_a_closed_tier_has_is_not_given_up(
        self, make: Any, travel: Any, tmp_path: Any
    ) -> None:
        make(disk={}, near={"WINDOW": NIGHT}, far={}).save("a.txt", ContentFile(b"1"))
        travel.move_to(OPENING)
        run_owed_work()
        travel.move_to(NOON)
        for name in ("disk", "far"):
            (tmp_path / name / "a.txt").unlink()
        StoredFile.objects.update(tiers=["disk", "near"], state="pending", due_at=NOON)
        run_owed_work()
        assert self.rows() == {("pending", OPENING, 0)}

    def test_deletes_do_not_wait(self, make: Any, travel: Any, tmp_path: Any) -> None:
        storage = make(disk={}, far={"WINDOW": NIGHT})
        storage.save("a.txt", ContentFile(b"1"))
        travel.move_to(OPENING)
        run_owed_work()
        travel.move_to(NOON)
        storage.delete("a.txt")
        run_owed_work()
        assert not (tmp_path / "far" / "a.txt").exists()
