"""The catalog's rows on every database: who may change them, when, and what names they hold."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import IntegrityError, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from queued_storage import catalog
from queued_storage.catalog import Saved, finding
from queued_storage.exceptions import CustodyError, LeaseLost, NameTaken
from queued_storage.models import StoredFile

from tests.support import clock as clocks

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["queued_storage"])

HOUR = 3600


@pytest.fixture
def chain(catalog_db, make_chain):
    return make_chain(["disk", "vault"]).chain


@pytest.fixture
def clock():
    with clocks.stopped() as clock:
        yield clock


def record(chain, name="a.txt", **facts):
    return catalog.record(chain, Saved(name, "transfer", size=7, tiers=("disk",), **facts))


def current(row):
    return catalog.files().get(pk=row.pk)


def replace(chain, name="a.txt"):
    with catalog.locked(chain.alias, name) as row:
        return catalog.replace(row, chain, Saved(name, "transfer", size=8, tiers=("disk",)))


def in_threads(count, function):
    """Run the function in threads that start together; return what it returned, or raised."""
    start, results = threading.Barrier(count), []

    def run():
        start.wait(20)
        try:
            results.append(function())
        except Exception as error:  # noqa: BLE001 - what it raised is a result too
            results.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(results) == count
    return results


NAMES = [
    "a.txt",
    "straße/übergröße.txt",
    "写真/写真.png",
    "🏔️/👩‍👩‍👧.txt",
    "quote'\"`;--.txt",
    "back\\slash%_.txt",
    "new\nline\ttab.txt",
    "n" * 1024,
    "🏔" * 1024,
    " leading and trailing ",
]

DIFFERENT = [
    ("photo.txt", "PHOTO.txt"),
    ("cafe.txt", "café.txt"),
    ("caf\u00e9.txt", "cafe\u0301.txt"),
    ("a.txt", "a.txt "),
    ("a.txt", " a.txt"),
    ("strasse", "straße"),
    ("🏔", "🏕"),
    ("\u0131", "i"),
    ("n" * 1023 + "a", "n" * 1023 + "b"),
    ("a/b", "a//b"),
]


class TestNames:
    @pytest.mark.parametrize("name", NAMES, ids=ascii)
    def test_name_comes_back_as_it_was_given(self, chain, name):
        record(chain, name)
        row = catalog.find("media", name)
        assert row is not None
        assert row.name == name

    @pytest.mark.parametrize(("one", "other"), DIFFERENT, ids=ascii)
    def test_names_that_databases_think_alike_are_two(self, chain, one, other):
        first = record(chain, one)
        assert catalog.find("media", other) is None
        second = record(chain, other)
        assert (catalog.find("media", one), catalog.find("media", other)) == (first, second)

    def test_chains_have_names_of_their_own(self, chain, make_chain):
        other = make_chain(["shelf", "cellar"], alias="photos").chain
        other_row = catalog.record(other, Saved("a.txt", "transfer", tiers=("shelf",)))
        assert record(chain).pk != other_row.pk


class TestRecord:
    def test_first_generation_lies_on_the_first_tier(self, chain, clock):
        row = current(record(chain))
        assert (row.generation, row.tiers, row.stale, row.state) == (1, ["disk"], [], "pending")
        assert (row.size, row.attempts, row.lease) == (7, 0, "")
        assert row.saved_at == row.due_at == timezone.now()

    def test_taken_name_is_refused(self, chain):
        row = record(chain)
        with pytest.raises(NameTaken):
            record(chain)
        assert current(row).generation == 1

    def test_taken_name_leaves_the_callers_transaction_usable(self, chain, catalog_db):
        record(chain)
        with transaction.atomic(using=catalog_db):
            with pytest.raises(NameTaken):
                record(chain)
            record(chain, "b.txt")
        assert catalog.find("media", "b.txt") is not None

    def test_savepoint_that_rolls_back_takes_the_row_with_it(self, chain, catalog_db):
        with transaction.atomic(using=catalog_db):
            record(chain, "kept.txt")
            with pytest.raises(RuntimeError), transaction.atomic(using=catalog_db):
                save_and_fail(chain, "dropped.txt")
            record(chain, "after.txt")
        names = catalog.files().values_list("name", flat=True)
        assert sorted(names) == ["after.txt", "kept.txt"]

    def test_name_is_free_again_after_a_rollback(self, chain, catalog_db):
        with pytest.raises(RuntimeError), transaction.atomic(using=catalog_db):
            save_and_fail(chain, "a.txt")
        assert record(chain).generation == 1

    def test_one_of_several_savers_gets_the_name(self, chain):
        results = in_threads(4, lambda: record(chain))
        assert [type(result) for result in results].count(StoredFile) == 1
        assert [type(result) for result in results].count(NameTaken) == 3

    def test_only_one_row_can_have_a_name(self, chain, catalog_db):
        row = record(chain)
        with pytest.raises(IntegrityError), transaction.atomic(using=catalog_db):
            StoredFile(chain=row.chain, name=row.name, key=row.key, saved_at=row.saved_at).save()


def save_and_fail(chain, name):
    record(chain, name)
    raise RuntimeError


class TestClaim:
    def test_claim_takes_a_due_row(self, chain, clock):
        row = catalog.claim(record(chain).pk)
        assert (row.attempts, row.fence) == (1, 1)
        assert row.lease
        assert row.lease_until == timezone.now() + timedelta(seconds=300)

    def test_claimed_row_is_not_claimed_again(self, chain):
        row = record(chain)
        assert catalog.claim(row.pk)
        assert catalog.claim(row.pk) is None
        assert current(row).attempts == 1

    def test_lease_that_ran_out_can_be_taken_over(self, chain, clock):
        first = catalog.claim(record(chain).pk)
        clock.shift(301)
        second = catalog.claim(first.pk)
        assert second.lease != first.lease
        assert (second.attempts, second.fence) == (2, 2)

    def test_lease_holds_to_its_last_second(self, chain, clock):
        row = catalog.claim(record(chain).pk)
        clock.shift(299)
        assert catalog.claim(row.pk) is None

    def test_renewed_lease_holds_on(self, chain, clock):
        row = catalog.claim(record(chain).pk)
        clock.shift(200)
        catalog.renew(row)
        clock.shift(200)
        assert catalog.claim(row.pk) is None

    @pytest.mark.parametrize("due_in", [timedelta(seconds=1), None])
    def test_row_that_is_not_due_is_not_claimed(self, chain, clock, due_in):
        row = record(chain)
        catalog.files().update(due_at=due_in and timezone.now() + due_in)
        assert catalog.claim(row.pk) is None

    def test_row_that_is_not_there_is_not_claimed(self, chain):
        assert catalog.claim(987_654) is None

    def test_one_of_several_workers_wins(self, chain):
        pk = record(chain).pk
        results = in_threads(4, lambda: catalog.claim(pk))
        assert [result is None for result in results].count(False) == 1
        assert catalog.files().get(pk=pk).attempts == 1

    def test_workers_share_many_rows_without_overlap(self, chain):
        ids = [record(chain, f"{number}.txt").pk for number in range(12)]
        results = in_threads(3, lambda: [pk for pk in ids if catalog.claim(pk)])
        assert sorted(pk for claimed in results for pk in claimed) == ids


class TestDue:
    def test_longest_owed_comes_first(self, chain, clock):
        for name in ("c.txt", "a.txt", "b.txt"):
            record(chain, name)
            clock.shift(1)
        assert [row.name for row in catalog.due(timezone.now())] == ["c.txt", "a.txt", "b.txt"]

    def test_claimed_and_future_rows_are_left_out(self, chain, clock):
        catalog.claim(record(chain, "claimed.txt").pk)
        record(chain, "due.txt")
        later = record(chain, "later.txt")
        catalog.files().filter(pk=later.pk).update(due_at=timezone.now() + timedelta(seconds=9))
        assert [row.name for row in catalog.due(timezone.now())] == ["due.txt"]

    @pytest.fixture
    def backlog(self, chain, make_chain, clock):
        """Many due files of one chain, and a few of another that are owed since later."""
        other = make_chain(alias="other").chain
        for number in range(12):
            record(chain, f"{number:02}.txt")
        clock.shift(1)
        for name in "ab":
            record(other, name)
        clock.shift(1)
        return timezone.now()

    def named(self, ids):
        names = dict(catalog.files().values_list("pk", "name"))
        return [names[pk].removesuffix(".txt") for pk in ids]

    def test_chains_take_turns(self, backlog):
        assert self.named(catalog.due_ids(backlog, 100))[:6] == ["00", "a", "01", "b", "02", "03"]
        assert len(catalog.due_ids(backlog, 100)) == 14

    @pytest.mark.parametrize(("count", "few"), [(1, 0), (2, 1), (5, 2), (13, 2)])
    def test_chains_share_the_count(self, backlog, count, few):
        found = self.named(catalog.due_ids(backlog, count))
        assert len(found) == len(set(found)) == count
        assert len({"a", "b"}.intersection(found)) == few

    def test_one_chain_has_all_of_the_count(self, backlog):
        assert self.named(catalog.due_ids(backlog, 5, "media")) == ["00", "01", "02", "03", "04"]
        assert self.named(catalog.due_ids(backlog, 5, "other")) == ["a", "b"]

    def test_those_that_were_passed_are_left_out(self, backlog):
        passed = set(catalog.due_ids(backlog, 6))
        assert self.named(catalog.due_ids(backlog, 6, passed=passed)) == ["04", "05", "06", "07", "08", "09"]

    def test_abandoned_row_is_due_again(self, chain, clock):
        catalog.claim(record(chain).pk)
        clock.shift(301)
        assert catalog.due(timezone.now()).count() == 1


CHANGES = {
    "renew": catalog.renew,
    "note_writing": lambda row: catalog.note_writing(row, "vault"),
    "record_release": lambda row: catalog.record_release(row, "disk", cleared=True),
    "record_cleared": lambda row: catalog.record_cleared(row, "vault"),
    "settle": lambda row: catalog.settle(row, None),
    "bury": catalog.bury,
    "fail": lambda row: catalog.fail(row, "reason", permanent=False),
    "fail for good": lambda row: catalog.fail(row, "reason", permanent=True),
    "leave": lambda row: catalog.leave(row, "reason"),
}


def deleted(chain, row):
    catalog.tombstone(chain, row.name)


def replaced(chain, row):
    replace(chain, row.name)


def taken_over(chain, row):
    catalog.files().update(lease_until=timezone.now() - timedelta(seconds=1))
    assert catalog.claim(row.pk)


@pytest.mark.parametrize("event", [replaced, deleted, taken_over])
class TestLostLease:
    """An attempt that lost its file changes nothing any more."""

    @pytest.fixture
    def row(self, chain, event):
        row = record(chain)
        catalog.files().update(tiers=["disk", "vault"])
        row = catalog.claim(row.pk)
        event(chain, row)
        return row

    @pytest.mark.parametrize("change", CHANGES)
    def test_g6_change_is_refused(self, row, event, change):
        before = catalog.files().values().get()
        with pytest.raises(LeaseLost):
            CHANGES[change](row)
        assert catalog.files().values().get() == before

    def test_g6_copy_of_an_older_generation_is_not_recorded(self, row, chain, event):
        before = catalog.files().values().get()
        with pytest.raises(LeaseLost):
            catalog.record_copy(row, chain, "vault", size=7, digest="0" * 64)
        assert catalog.files().values().get() == before

    def test_row_is_handed_back_to_nobody_elses_harm(self, row, event):
        lease = catalog.files().get().lease
        catalog.end(row)
        assert catalog.files().get().lease == ("" if lease == row.lease else lease)


class TestCopies:
    @pytest.fixture
    def row(self, chain):
        return catalog.claim(record(chain).pk)

    def test_tier_is_suspect_from_before_the_first_byte(self, row):
        catalog.note_writing(row, "vault")
        assert (current(row).stale, current(row).tiers) == (["vault"], ["disk"])

    def test_verified_copy_is_recorded_in_the_chains_order(self, row, chain):
        catalog.files().update(tiers=["vault"])
        row.tiers = ["vault"]
        catalog.record_copy(row, chain, "disk", size=7, digest="0" * 64)
        assert current(row).tiers == ["disk", "vault"]

    def test_copy_clears_the_suspicion(self, row, chain):
        catalog.note_writing(row, "vault")
        catalog.record_copy(row, chain, "vault", size=7, digest="0" * 64)
        assert (current(row).tiers, current(row).stale) == (["disk", "vault"], [])
        assert current(row).copied_at is not None

    def test_g2_last_copy_is_not_released(self, row):
        with pytest.raises(CustodyError):
            catalog.record_release(row, "disk", cleared=True)
        assert current(row).tiers == ["disk"]

    @pytest.mark.parametrize(("cleared", "stale"), [(True, []), (False, ["disk"])])
    def test_released_copy_is_counted_on_no_more(self, row, chain, cleared, stale):
        catalog.record_copy(row, chain, "vault", size=7, digest="0" * 64)
        catalog.record_release(row, "disk", cleared=cleared)
        assert (current(row).tiers, current(row).stale) == (["vault"], stale)

    def test_distrusted_copy_is_counted_on_no_more(self, row, chain):
        catalog.record_copy(row, chain, "vault", size=7, digest="0" * 64)
        catalog.settle(row, None)
        catalog.distrust(row, "vault")
        now = current(row)
        assert (now.tiers, now.stale, now.state) == (["disk"], ["vault"], "pending")
        assert now.due_at is not None


class TestEnds:
    @pytest.fixture
    def row(self, chain, clock):
        return catalog.claim(record(chain).pk)

    def test_settled_row_owes_nothing(self, row):
        catalog.settle(row, None)
        now = current(row)
        assert (now.state, now.due_at, now.lease, now.attempts, now.last_error) == (
            "settled",
            None,
            "",
            0,
            "",
        )

    def test_settled_row_may_be_looked_at_again_later(self, row):
        later = timezone.now() + timedelta(days=30)
        catalog.settle(row, later)
        assert (current(row).state, current(row).due_at) == ("settled", later)

    def test_review_in_the_past_does_not_spin(self, row):
        catalog.settle(row, timezone.now() - timedelta(days=1))
        assert current(row).due_at > timezone.now()

    @pytest.mark.parametrize(
        ("attempts", "low", "high"),
        [
            (1, 60, 75),  # 60 s, and up to a quarter more
            (2, 120, 150),  # doubled
            (3, 240, 300),
            (5, 960, 1200),  # 60 * 2 ** 4
        ],
    )
    def test_failed_attempt_is_due_again_after_a_growing_wait(self, row, attempts, low, high):
        row.attempts = attempts
        assert not catalog.fail(row, "reason", permanent=False)
        wait = (current(row).due_at - timezone.now()).total_seconds()
        assert low <= wait <= high

    def test_wait_never_exceeds_its_limit(self, row, settings):
        settings.QUEUED_STORAGE_RETRIES, settings.QUEUED_STORAGE_RETRY_MAX_DELAY = 500, 100
        row.attempts = 400
        catalog.fail(row, "reason", permanent=False)
        assert timedelta(seconds=100) <= current(row).due_at - timezone.now() <= timedelta(seconds=125)

    def test_waits_are_spread(self, chain, clock):
        dues = set()
        for number in range(8):
            row = catalog.claim(record(chain, f"{number}.txt").pk)
            catalog.fail(row, "reason", permanent=False)
            dues.add(current(row).due_at)
        assert len(dues) > 1

    def test_failed_attempt_keeps_reason_and_bytes(self, row):
        catalog.fail(row, "tier 'vault': ConnectionError", permanent=False)
        now = current(row)
        assert (now.state, now.last_error, now.lease) == ("pending", "tier 'vault': ConnectionError", "")
        assert now.tiers == ["disk"]

    @pytest.mark.parametrize(("attempts", "state"), [(5, "pending"), (6, "failed")])
    def test_g3_last_attempt_makes_the_file_failed(self, row, attempts, state):
        row.attempts = attempts  # RETRIES is 5: one attempt and five more
        assert catalog.fail(row, "reason", permanent=False) == (state == "failed")
        now = current(row)
        assert (now.state, now.last_error, now.due_at is None) == (state, "reason", state == "failed")

    def test_g3_permanent_failure_is_final_at_once(self, row):
        assert catalog.fail(row, "reason", permanent=True)
        assert (current(row).state, current(row).due_at) == ("failed", None)

    def test_g5_delete_is_never_given_up(self, row, chain):
        catalog.end(row)
        row = catalog.claim(catalog.tombstone(chain, row.name).pk)
        row.attempts = 99
        assert not catalog.fail(row, "reason", permanent=True)
        assert (current(row).state, current(row).due_at is None) == ("deleted", False)


class TestRetry:
    def test_failed_file_is_due_again_with_all_its_attempts(self, chain):
        row = catalog.claim(record(chain).pk)
        catalog.fail(row, "reason", permanent=True)
        assert catalog.retry(catalog.files()) == 1
        now = current(row)
        assert (now.state, now.attempts) == ("pending", 0)
        assert catalog.claim(now.pk)

    def test_other_files_are_left_alone(self, chain):
        row = catalog.claim(record(chain).pk)
        catalog.settle(row, None)
        record(chain, "b.txt")
        assert catalog.retry(catalog.files()) == 0
        assert current(row).state == "settled"


class TestDelete:
    def test_tombstone_owes_a_clearing_of_every_writable_tier(self, chain):
        record(chain)
        row = catalog.tombstone(chain, "a.txt")
        assert (row.state, row.tiers, row.stale) == ("deleted", [], ["disk", "vault"])
        assert (row.generation, row.is_live) == (2, False)
        assert catalog.claim(row.pk)

    def test_unknown_file_gets_a_tombstone(self, chain):
        row = catalog.tombstone(chain, "found.txt")
        assert (row.state, row.stale) == ("deleted", ["disk", "vault"])
        assert catalog.holds("media", "found.txt")

    def test_name_is_held_until_nothing_is_left(self, chain):
        record(chain)
        row = catalog.claim(catalog.tombstone(chain, "a.txt").pk)
        assert catalog.holds("media", "a.txt")
        with pytest.raises(NameTaken):
            record(chain)
        catalog.bury(row)
        assert not catalog.holds("media", "a.txt")

    def test_new_file_revives_the_row_of_a_buried_one(self, chain):
        old = record(chain)
        catalog.bury(catalog.claim(catalog.tombstone(chain, "a.txt").pk))
        new = record(chain)
        assert (new.pk, new.generation, new.state, new.tiers) == (old.pk, 3, "pending", ["disk"])

    def test_deleted_ones_among_names_are_told(self, chain):
        record(chain, "kept.txt")
        for name in ("gone.txt", "elsewhere.txt"):
            record(chain, name)
            catalog.tombstone(chain, name)
        assert catalog.deleted_among("media", ["gone.txt", "kept.txt", "unknown.txt"]) == {"gone.txt"}

    @pytest.mark.parametrize("tombstones", [3, 4, 5, 9])
    def test_deleted_ones_are_told_of_more_names_than_one_query_asks_for(
        self, chain, monkeypatch, django_assert_max_num_queries, catalog_db, tombstones
    ):
        monkeypatch.setattr(finding, "MAX_KEYS", 4)
        gone = {f"{number}.txt" for number in range(tombstones)}
        for name in gone:
            catalog.tombstone(chain, name)
        with django_assert_max_num_queries(1 if tombstones <= 4 else 1 + 4, using=catalog_db):
            assert catalog.deleted_among("media", {*gone, *"abc"} | {"x.txt"}) == gone

    def test_many_tombstones_are_never_all_in_memory(self, chain, monkeypatch, catalog_db):
        monkeypatch.setattr(finding, "MAX_KEYS", 4)
        for number in range(20):
            catalog.tombstone(chain, f"{number}.txt")
        with CaptureQueriesContext(connections[catalog_db]) as queries:
            assert catalog.deleted_among("media", ["1.txt", *"abcdef"]) == {"1.txt"}
        for query in queries:
            assert " LIMIT 5" in query["sql"] or " IN (" in query["sql"]

    def test_tombstone_that_rolls_back_leaves_the_file(self, chain, catalog_db):
        row = record(chain)
        with pytest.raises(RuntimeError), transaction.atomic(using=catalog_db):
            delete_and_fail(chain, "a.txt")
        assert (current(row).state, current(row).tiers) == ("pending", ["disk"])


def delete_and_fail(chain, name):
    catalog.tombstone(chain, name)
    raise RuntimeError


class TestPrune:
    @pytest.fixture
    def buried(self, chain, clock):
        record(chain)
        row = catalog.claim(catalog.tombstone(chain, "a.txt").pk)
        catalog.bury(row)
        return row

    @pytest.mark.parametrize(("days", "pruned"), [(29, 0), (31, 1)])
    def test_buried_row_goes_after_the_history(self, buried, clock, days, pruned):
        clock.shift(days * 24 * HOUR)
        assert catalog.prune(timezone.now(), ["media"]) == pruned
        assert catalog.files().count() == 1 - pruned

    def test_g5_row_of_another_chain_stays(self, buried, clock):
        """Of one that hides what a READ_ONLY tier holds, or that this process does not know."""
        clock.shift(99 * 24 * HOUR)
        assert catalog.prune(timezone.now(), ["other"]) == 0

    def test_rows_that_are_live_or_owed_stay(self, chain, clock):
        record(chain, "live.txt")
        catalog.tombstone(chain, "owed.txt")
        clock.shift(99 * 24 * HOUR)
        assert catalog.prune(timezone.now(), ["media"]) == 0
        assert catalog.files().count() == 2


class TestReplace:
    def test_next_generation_starts_anew(self, chain):
        row = record(chain)
        catalog.files().update(tiers=["disk", "vault"], attempts=3, last_error="old", digest="0" * 64)
        new = replace(chain)
        assert (new.pk, new.generation, new.size, new.digest) == (row.pk, 2, 8, "")
        assert (new.tiers, new.stale) == (["disk"], ["vault"])
        assert (new.attempts, new.last_error, new.state) == (0, "", "pending")

    def test_attempt_under_way_keeps_its_lease_until_it_ends(self, chain):
        row = catalog.claim(record(chain).pk)
        replace(chain)
        assert catalog.claim(row.pk) is None
        catalog.end(row)
        assert catalog.claim(row.pk).generation == 2

    def test_two_savers_of_one_new_name_wait_for_each_other(self, chain):
        def overwrite():
            with catalog.reserved(chain, "new.txt") as row:
                return catalog.replace(row, chain, Saved("new.txt", "transfer", tiers=("disk",))).generation

        assert sorted(in_threads(2, overwrite)) == [1, 2]


class TestRequest:
    @pytest.fixture
    def row(self, chain):
        return catalog.record(chain, Saved("a.txt", "delayed", size=7, tiers=("disk",)))

    def test_delayed_file_is_settled_until_it_is_asked_for(self, row):
        assert (row.state, row.due_at, row.requested) == ("settled", None, False)

    def test_request_makes_work_due(self, row, chain):
        assert catalog.request(row, chain)
        now = current(row)
        assert (now.requested, now.state) == (True, "pending")
        assert catalog.claim(now.pk)

    def test_request_for_a_settled_file_makes_none(self, chain):
        row = catalog.claim(record(chain).pk)
        catalog.record_copy(row, chain, "vault", size=7, digest="0" * 64)
        catalog.settle(row, None)
        assert not catalog.request(row, chain)
        assert current(row).state == "settled"

    def test_request_for_a_deleted_file_makes_none(self, row, chain):
        catalog.tombstone(chain, "a.txt")
        assert not catalog.request(row, chain)
        assert current(row).state == "deleted"
