"""G2, tried to be broken: whatever two attempts, savers and deleters do to a row in any order, a copy stays.

The rows are real; the tiers are a model. Each rule is one statement of the catalog, so that every interleaving of two
attempts is a sequence of rules, and every moment between two rules is a committed one.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from queued_storage import catalog
from queued_storage.catalog import Saved
from queued_storage.exceptions import CustodyError, LeaseLost, NameTaken
from queued_storage.models import StoredFile

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["queued_storage"])

TIERS = ("disk", "vault", "cellar")
LEASE = 300
numbers = itertools.count()


@dataclass
class Truth:
    """What should be so: told by the answers of the catalog alone."""

    live: bool = True
    #: The tiers that hold a verified copy of the newest generation.
    copies: set[str] = field(default_factory=lambda: {"disk"})
    #: The token of the one attempt whose changes count; None where no attempt has the file.
    owner: str | None = None


class Rows:
    """One name, and whoever wants to change its row."""

    def __init__(self, chain, clock):
        self.chain = chain
        self.clock = clock
        self.name = f"{next(numbers)}.txt"
        self.truth = Truth()
        #: The attempt that claimed last, and the one before it, which lives on somewhere.
        self.attempts = []
        saved = Saved(self.name, "transfer-and-delete", size=7, tiers=("disk",))
        self.pk = catalog.record(self.chain, saved).pk

    def do(self, step):
        """Do a step; one that an attempt does is left out where there is none."""
        verb = getattr(self, step.verb)
        if step.verb in OF_AN_ATTEMPT:
            if self.attempts:
                verb(self.attempts[step.who % len(self.attempts)], step)
        else:
            verb(step)
        self.check()

    # ---- savers and deleters ----

    def save_again(self, step):
        saved = Saved(self.name, "transfer-and-delete", size=8, tiers=("disk",))
        with catalog.reserved(self.chain, self.name) as row:
            catalog.replace(row, self.chain, saved)
        self.truth = Truth()

    def save_if_the_name_is_free(self, step):
        try:
            catalog.record(self.chain, Saved(self.name, "transfer", size=9, tiers=("disk",)))
        except NameTaken:
            return
        assert not self.truth.live
        self.truth = Truth()

    def delete(self, step):
        catalog.tombstone(self.chain, self.name)
        self.truth = Truth(live=False, copies=set())

    def ask_for_the_transfer(self, step):
        row = self.row
        if row.is_live:
            catalog.request(row, self.chain)

    def retry(self, step):
        catalog.retry(StoredFile.objects.filter(pk=self.pk))

    # ---- attempts ----

    def claim(self, step):
        row = catalog.claim(self.pk)
        if row is not None:
            self.truth.owner = row.lease
            self.attempts = [row, *self.attempts][:2]

    def time_passes(self, step):
        self.clock.shift(step.seconds)

    def renew(self, row, step):
        self.change(row, lambda: catalog.renew(row))

    def copy(self, row, step):
        if (tier := step.tier) in row.tiers:
            return

        def note_and_record():
            catalog.note_writing(row, tier)
            catalog.record_copy(row, self.chain, tier, size=row.size, digest="")

        if self.change(row, note_and_record):
            self.truth.copies.add(tier)

    def release(self, row, step):
        if (tier := step.tier) not in row.tiers:
            return
        if self.change(row, lambda: catalog.record_release(row, tier, cleared=step.flag)):
            self.truth.copies.discard(tier)
            assert self.truth.copies, f"{tier} held the last copy, and was released"

    def clear(self, row, step):
        if step.tier not in row.tiers:
            self.change(row, lambda: catalog.record_cleared(row, step.tier))

    def settle(self, row, step):
        # An attempt that has not seen a request since its claim is refused, and looks again.
        if row.is_live and row.requested == self.row.requested:
            self.end(row, lambda: catalog.settle(row, None))

    def fail(self, row, step):
        self.end(row, lambda: catalog.fail(row, "a reason", permanent=step.flag))

    def bury(self, row, step):
        if not row.is_live:
            self.end(row, lambda: catalog.bury(row))

    def find_out_that_it_is_lost(self, row, step):
        catalog.end(row)
        if self.truth.owner == row.lease:
            self.truth.owner = None

    def distrust(self, row, step):
        """A late attempt overwrote the copy there, which is no release: the last copy is not among those here."""
        if self.truth.live and self.truth.copies - {step.tier}:
            seen = row if step.flag else self.row
            if catalog.distrust(seen, step.tier):
                self.truth.copies.discard(step.tier)
                self.truth.owner = None

    def change(self, row, verb):
        """Try it, and say whether it was done; only the owner's are."""
        try:
            verb()
        except LeaseLost:
            assert not self.owns(row), "the owner's own change was refused"
            return False
        except CustodyError:
            return False
        assert self.owns(row), "a change of an attempt that lost the file was taken"
        return True

    def end(self, row, verb):
        if self.change(row, verb):
            self.truth.owner = None

    def owns(self, row):
        current = self.row
        return self.truth.owner == row.lease and current.generation == row.generation

    # ---- what must hold in every committed moment ----

    @property
    def row(self):
        return StoredFile.objects.get(pk=self.pk)

    def check(self):
        row = self.row
        assert row.is_live == self.truth.live
        assert set(row.tiers) == self.truth.copies
        assert row.tiers or not row.is_live


OF_AN_ATTEMPT = (
    "renew",
    "copy",
    "release",
    "clear",
    "settle",
    "fail",
    "bury",
    "find_out_that_it_is_lost",
    "distrust",
)
OF_OTHERS = ("save_again", "save_if_the_name_is_free", "delete", "ask_for_the_transfer", "retry")


@dataclass(frozen=True)
class Step:
    verb: str
    #: Of the two latest attempts, the last or the one before.
    who: int
    tier: str
    seconds: float
    flag: bool


steps = st.builds(
    Step,
    # What a transfer consists of comes more often than what disturbs it.
    verb=st.sampled_from([*["claim", "copy", "release"] * 5, "time_passes", *OF_AN_ATTEMPT, *OF_OTHERS]),
    who=st.sampled_from([0, 0, 1]),
    tier=st.sampled_from(TIERS),
    seconds=st.sampled_from([1, LEASE - 1, LEASE + 1, 2 * LEASE + 2]),
    flag=st.booleans(),
)


@given(in_order=st.lists(steps, min_size=15, max_size=40))
@settings(
    max_examples=60,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],  # shrinking takes minutes; add it to look at a failure
)
def do_all(chain, clock, in_order):
    rows = Rows(chain, clock)
    for step in in_order:
        rows.do(step)


def test_g2_no_order_of_statements_removes_the_last_copy(make_chain, clock):
    chain = make_chain(TIERS, policy="transfer-and-delete").chain
    do_all(chain, clock)


ROUNDS = 8


def test_g2_two_attempts_at_once_leave_a_copy(catalog_db, make_chain):
    """One has lost its lease to the other, and both release, each another tier, in the same moment."""
    chain = make_chain(["disk", "vault"], policy="transfer-and-delete").chain
    for number in range(ROUNDS):
        row = catalog.record(chain, Saved(f"{number}.txt", "transfer-and-delete", size=7, tiers=("disk",)))
        catalog.files().filter(pk=row.pk).update(tiers=["disk", "vault"], due_at=timezone.now())
        first = catalog.claim(row.pk)
        assert first is not None
        at_once(
            lambda first=first: catalog.record_release(first, "disk", cleared=True),
            lambda row=row: take_over_and_release(row.pk, "vault"),
        )
        assert catalog.files().get(pk=row.pk).tiers in (["disk"], ["vault"])


def take_over_and_release(pk, tier):
    catalog.files().filter(pk=pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    row = catalog.claim(pk)
    if row is not None:
        catalog.record_release(row, tier, cleared=True)


def test_g2_release_and_save_at_once_leave_the_new_copy(catalog_db, make_chain):
    """A worker releases the old content from the first tier while a save puts the new one there."""
    chain = make_chain(["disk", "vault"], policy="transfer-and-delete").chain
    for number in range(ROUNDS):
        name = f"{number}.txt"
        row = catalog.record(chain, Saved(name, "transfer-and-delete", size=7, tiers=("disk",)))
        catalog.files().filter(pk=row.pk).update(tiers=["disk", "vault"])
        attempt = catalog.claim(row.pk)
        at_once(
            lambda attempt=attempt: catalog.record_release(attempt, "disk", cleared=True),
            lambda name=name: save_again(chain, name),
        )
        current = catalog.files().get(pk=row.pk)
        assert (current.generation, current.tiers) == (2, ["disk"])


def save_again(chain, name):
    with catalog.reserved(chain, name) as row:
        catalog.replace(row, chain, Saved(name, "transfer-and-delete", size=8, tiers=("disk",)))


def at_once(*functions):
    """Run the functions in threads that start together; LeaseLost and CustodyError are fair answers."""
    start, errors = threading.Barrier(len(functions)), []

    def run(function):
        start.wait(20)
        try:
            function()
        except (LeaseLost, CustodyError):
            pass
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
