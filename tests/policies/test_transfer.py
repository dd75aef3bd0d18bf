"""Transfer keeps the first tier and wants every lower one, once its wait is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from queued_storage.policies import Placement, Transfer

from tests.policies.facts import DAY, FOUR, HOUR, NOON, SECOND, THREE, TWO, File

NEW = File()


@pytest.mark.parametrize(
    ("tiers", "wanted"),
    [
        (("disk",), ("disk",)),  # 1 tier: 1 + 0 lower ones
        (TWO, ("disk", "s3")),  # 1 + 1
        (THREE, ("disk", "s3", "vault")),  # 1 + 2
        (FOUR, ("disk", "near", "s3", "vault")),  # 1 + 3
    ],
)
def test_every_tier_is_wanted(tiers: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    assert Transfer().place(NEW, tiers, NOON) == Placement(wanted)


@pytest.mark.parametrize(
    ("to", "wanted"),
    [
        (["s3"], ("disk", "s3")),  # 4 tiers - near - vault
        (["vault"], ("disk", "vault")),  # 4 tiers - near - s3
        (["s3", "vault"], ("disk", "s3", "vault")),  # 4 tiers - near
        (["vault", "near"], ("disk", "vault", "near")),  # the order asked for is the order of copying
    ],
)
def test_to_names_the_lower_tiers_that_are_wanted(to: list[str], wanted: tuple[str, ...]) -> None:
    assert Transfer.model_validate({"to": to}).place(NEW, FOUR, NOON) == Placement(wanted)


@pytest.mark.parametrize(
    ("after", "seconds"),
    [
        ("PT1H", 3600),  # 1 x 60 x 60
        ("PT90M", 5400),  # 90 x 60
        ("P1D", 86_400),  # 24 x 60 x 60
        ("P1W", 604_800),  # 7 x 86,400
        ("P30D", 2_592_000),  # 30 x 86,400
        ("P1DT12H", 129_600),  # 1.5 x 86,400
        (timedelta(minutes=5), 300),  # 5 x 60
        (timedelta(days=1, hours=1), 90_000),  # 86,400 + 3,600
        (3600, 3600),  # seconds as they are
        (1.5, 1.5),  # and their fractions
        (0, 0),  # at once
    ],
)
class TestAfter:
    def test_file_stays_until_the_wait_is_over(self, after: Any, seconds: float) -> None:
        due = NOON + timedelta(seconds=seconds)
        policy = Transfer.model_validate({"after": after})
        assert policy.place(NEW, TWO, due - SECOND / 2) == Placement(("disk",), review_at=due)

    def test_file_moves_on_the_second(self, after: Any, seconds: float) -> None:
        due = NOON + timedelta(seconds=seconds)
        assert Transfer.model_validate({"after": after}).place(NEW, TWO, due) == Placement(TWO)


@pytest.mark.parametrize(
    ("file", "now", "placement"),
    [
        # Before 13:00 a file stays wherever it is: nothing moves, nothing is released.
        (File(("disk",)), NOON, Placement(("disk",), NOON + HOUR)),
        (File(("disk", "s3")), NOON, Placement(("disk", "s3"), NOON + HOUR)),
        (File(("s3",)), NOON, Placement(("s3",), NOON + HOUR)),
        # No verified copy is known of: the first tier is where it was put.
        (File(()), NOON, Placement(("disk",), NOON + HOUR)),
        # From 13:00 on where it lies changes nothing about where it should.
        (File(("disk",)), NOON + HOUR, Placement(TWO)),
        (File(("s3",)), NOON + HOUR, Placement(TWO)),
        (File(("disk", "s3")), NOON + DAY, Placement(TWO)),
        (File(()), NOON + DAY, Placement(TWO)),
    ],
)
def test_wait_of_an_hour(file: File, now: datetime, placement: Placement) -> None:
    assert Transfer(after=HOUR).place(file, TWO, now) == placement


def test_request_does_not_shorten_the_wait() -> None:
    due = NOON + HOUR
    assert Transfer(after=HOUR).place(File(requested=True), TWO, NOON) == Placement(("disk",), due)


def test_wait_counts_from_the_save_of_the_newest_content() -> None:
    replaced = File(saved_at=NOON + 3 * HOUR)  # 15:00 + 1 h = 16:00
    assert Transfer(after=HOUR).place(replaced, TWO, NOON + 2 * HOUR).review_at == NOON + 4 * HOUR


def test_same_question_has_the_same_answer() -> None:
    policy, now = Transfer(after=HOUR), datetime(2026, 5, 1, 12, 30, tzinfo=UTC)
    assert policy.place(NEW, THREE, now) == policy.place(NEW, THREE, now)


def test_verify_is_by_size_unless_asked_otherwise() -> None:
    assert (Transfer().verify, Transfer(verify="content").verify) == ("size", "content")
