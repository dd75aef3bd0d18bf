"""The samples that the sweep takes, beside what happened: each number is compared with the rows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.core.files.base import ContentFile

from queued_storage import batch, catalog, census, dispatch, sampling
from queued_storage.models import Sample, StoredFile
from queued_storage.storage import TieredStorage

pytestmark = pytest.mark.django_db

BEGIN = datetime(2026, 3, 1, 12, 0, 20, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def clock() -> Iterator[Any]:
    with time_machine.travel(BEGIN, tick=False) as traveller:
        yield traveller


@pytest.fixture
def storage(make_chain: Any, clock: Any) -> TieredStorage:
    chain: TieredStorage = make_chain(policy="transfer")
    return chain


def save(storage: TieredStorage, count: int, size: int = 10) -> list[int]:
    names = [storage.save("a.txt", ContentFile(b"x" * size)) for _ in range(count)]
    return list(StoredFile.objects.filter(name__in=names).values_list("pk", flat=True))


def told() -> tuple[int, ...]:
    last = catalog.samples("media").last()
    assert last is not None
    return last.pending, last.pending_bytes, last.failed, last.seconds, last.copied, last.copied_bytes


def test_sweep_notes_what_is_owed_and_what_was_copied(storage: TieredStorage, clock: Any) -> None:
    pks = save(storage, 5)
    dispatch.sweep()
    assert told() == (5, 50, 0, 0, 0, 0)
    list(batch.work(pks[:3]))
    StoredFile.objects.filter(pk=pks[3]).update(state="failed", due_at=None)
    clock.shift(2 * MINUTE)
    dispatch.sweep()
    assert told() == (1, 10, 1, 120, 3, 30)
    assert [sample.taken_at.second for sample in catalog.samples("media")] == [0, 0]


def test_one_sample_a_minute_is_taken_however_many_sweep(storage: TieredStorage, clock: Any) -> None:
    save(storage, 1)
    assert [sampling.take(), sampling.take()] == [1, 0]
    clock.shift(MINUTE)
    assert sampling.take() == 1
    again = catalog.samples("media").last()
    assert again is not None
    again.pk = None
    catalog.add_samples([again])  # of a sweep that looked at the same moment
    assert Sample.objects.count() == 2


def test_what_was_copied_in_a_minute_that_has_not_ended_is_of_the_next_sample(
    storage: TieredStorage, clock: Any
) -> None:
    first, second = save(storage, 2)
    sampling.take()
    clock.shift(MINUTE)
    list(batch.work([first]))  # 12:01:20, and the sample is of 12:01
    sampling.take()
    assert told()[4] == 0
    clock.shift(MINUTE)
    list(batch.work([second]))
    sampling.take()
    assert told()[4] == 1


def test_each_chain_has_its_own(storage: TieredStorage, make_chain: Any) -> None:
    save(storage, 2)
    other = make_chain(alias="other", policy="transfer")
    other.save("b.txt", ContentFile(b"1234"))
    assert sampling.take("other") == 1
    assert sampling.take() == 1
    assert {sample.chain: sample.pending for sample in Sample.objects.all()} == {"media": 2, "other": 1}


def test_old_samples_go(storage: TieredStorage, clock: Any, settings: Any) -> None:
    save(storage, 1)
    settings.QUEUED_STORAGE_SAMPLES = 1
    sampling.take()
    clock.shift(timedelta(hours=25))
    sampling.take()
    assert Sample.objects.count() == 1


def test_none_are_taken_where_none_are_wanted(storage: TieredStorage, settings: Any) -> None:
    save(storage, 1)
    settings.QUEUED_STORAGE_SAMPLES = 0
    dispatch.sweep()
    assert not Sample.objects.exists()


class TestMany:
    """Of many files no index has what was copied: it is seen by what is owed no more, and among the latest."""

    @pytest.fixture(autouse=True)
    def _few_are_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(census, "COUNTED", 5)
        monkeypatch.setattr(census, "LATEST", 2)

    def test_work_done_on_files_of_before_is_counted(self, storage: TieredStorage, clock: Any) -> None:
        pks = save(storage, 12)
        sampling.take()
        clock.shift(timedelta(seconds=30))
        list(batch.work(pks[:7]))  # none of them is among the latest
        clock.shift(timedelta(seconds=30))
        sampling.take()
        assert told() == (5, 50, 0, 60, 7, 70)

    def test_files_that_came_and_were_copied_meanwhile_are_counted(
        self, storage: TieredStorage, clock: Any
    ) -> None:
        save(storage, 12)
        sampling.take()
        clock.shift(timedelta(seconds=30))
        list(batch.work(save(storage, 4)))
        clock.shift(timedelta(seconds=30))
        sampling.take()
        assert told() == (12, 120, 0, 60, 4, 40)

    def test_files_that_never_were_owed_a_copy_are_not(self, storage: TieredStorage, clock: Any) -> None:
        save(storage, 12)
        sampling.take()
        clock.shift(timedelta(seconds=30))
        StoredFile.objects.filter(pk__in=save(storage, 4)).update(state="settled", due_at=None)
        clock.shift(timedelta(seconds=30))
        sampling.take()
        assert told() == (12, 120, 0, 60, 0, 0)

    def test_copies_of_files_that_became_due_again_are_seen_among_the_latest(
        self, storage: TieredStorage, clock: Any
    ) -> None:
        pks = save(storage, 12)
        StoredFile.objects.filter(pk__in=pks).update(state="settled", due_at=None)
        sampling.take()
        clock.shift(timedelta(seconds=30))
        StoredFile.objects.filter(pk__in=pks[-2:]).update(copied_at=BEGIN)
        clock.shift(timedelta(seconds=30))
        sampling.take()
        assert told()[3:] == (60, 2, 20)
