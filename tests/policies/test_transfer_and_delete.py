"""TransferAndDelete wants the lower tiers only, once its wait and its grace are over."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from queued_storage.policies import Placement, TransferAndDelete

from tests.policies.facts import DAY, FOUR, HOUR, NOON, SECOND, THREE, TWO, File

COPIED = NOON + HOUR


@pytest.mark.parametrize(
    ("tiers", "wanted"),
    [
        (TWO, ("s3",)),  # 2 - 1
        (THREE, ("s3", "vault")),  # 3 - 1
        (FOUR, ("near", "s3", "vault")),  # 4 - 1
    ],
)
def test_every_tier_but_the_first_is_wanted(tiers: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    assert TransferAndDelete().place(File(), tiers, NOON) == Placement(wanted)


@pytest.mark.parametrize(
    ("to", "wanted"),
    [
        (["s3"], ("s3",)),  # 4 - disk - near - vault
        (["vault"], ("vault",)),  # 4 - disk - near - s3
        (["near", "vault"], ("near", "vault")),  # 4 - disk - s3
    ],
)
def test_to_names_the_tiers_that_are_wanted(to: list[str], wanted: tuple[str, ...]) -> None:
    assert TransferAndDelete.model_validate({"to": to}).place(File(), FOUR, NOON) == Placement(wanted)


@pytest.mark.parametrize(
    ("file", "now", "placement"),
    [
        # Saved 12:00, after 24 h: until tomorrow noon nothing moves and nothing is released.
        (File(), NOON, Placement(("disk",), NOON + DAY)),
        (File(), NOON + DAY - SECOND, Placement(("disk",), NOON + DAY)),
        (File(("disk", "s3")), NOON + HOUR, Placement(("disk", "s3"), NOON + DAY)),
        (File(("s3",)), NOON + HOUR, Placement(("s3",), NOON + DAY)),
        (File(), NOON + DAY, Placement(("s3", "vault"))),
        (File(("disk", "s3")), NOON + 2 * DAY, Placement(("s3", "vault"))),
    ],
)
def test_wait_of_a_day(file: File, now: datetime, placement: Placement) -> None:
    assert TransferAndDelete(after=DAY).place(file, THREE, now) == placement


@pytest.mark.parametrize(
    ("file", "now", "placement"),
    [
        # Saved 12:00, copied 13:00, keep 1 h: the first tier keeps its copy until 14:00.
        (File(("disk",)), NOON, Placement(THREE)),
        (File(("disk", "s3"), COPIED), COPIED, Placement(THREE)),  # 1 of 2 copies: the grace has not begun
        (File(("disk", "s3"), COPIED), COPIED + DAY, Placement(THREE)),  # however long that takes
        (File(THREE, COPIED), COPIED, Placement(THREE, COPIED + HOUR)),
        (File(THREE, COPIED), COPIED + HOUR - SECOND, Placement(THREE, COPIED + HOUR)),
        (File(THREE, COPIED), COPIED + HOUR, Placement(("s3", "vault"))),
        (File(THREE, COPIED), COPIED + DAY, Placement(("s3", "vault"))),
        # The first tier has none (any more): a grace does not bring it back.
        (File(("s3", "vault"), COPIED), COPIED, Placement(("s3", "vault"))),
        (File(("s3", "vault"), COPIED), COPIED + DAY, Placement(("s3", "vault"))),
        # Copies that nobody noted the time of (a file from before): the grace counts from the save.
        (File(THREE, None), NOON + HOUR - SECOND, Placement(THREE, NOON + HOUR)),
        (File(THREE, None), NOON + HOUR, Placement(("s3", "vault"))),
    ],
)
def test_grace_of_an_hour(file: File, now: datetime, placement: Placement) -> None:
    assert TransferAndDelete(keep=HOUR).place(file, THREE, now) == placement


@pytest.mark.parametrize(
    ("keep", "seconds"),
    [
        ("PT1H", 3600),  # 1 x 60 x 60
        ("P2D", 172_800),  # 2 x 86,400
        (timedelta(minutes=1), 60),  # 1 x 60
        (90, 90),  # seconds as they are
        (0.5, 0.5),  # and their fractions
    ],
)
def test_keep_takes_every_form_of_a_duration(keep: Any, seconds: float) -> None:
    policy, end = TransferAndDelete.model_validate({"keep": keep}), COPIED + timedelta(seconds=seconds)
    assert policy.place(File(TWO, COPIED), TWO, COPIED) == Placement(TWO, end)
    assert policy.place(File(TWO, COPIED), TWO, end) == Placement(("s3",))


@pytest.mark.parametrize(
    ("file", "now", "placement"),
    [
        # Wait 1 d, then copied at 12:00 + 1 d + 1 h, then 1 h of grace: released at 12:00 + 1 d + 2 h.
        (File(), NOON + HOUR, Placement(("disk",), NOON + DAY)),
        (File(), NOON + DAY, Placement(TWO)),
        (File(TWO, COPIED + DAY), COPIED + DAY, Placement(TWO, NOON + DAY + 2 * HOUR)),
        (File(TWO, COPIED + DAY), NOON + DAY + 2 * HOUR, Placement(("s3",))),
    ],
)
def test_grace_follows_the_wait(file: File, now: datetime, placement: Placement) -> None:
    assert TransferAndDelete(after=DAY, keep=HOUR).place(file, TWO, now) == placement


def test_grace_needs_only_the_tiers_of_to() -> None:
    policy = TransferAndDelete(to=("vault",), keep=HOUR)  # s3 is not waited for, and is let go
    file = File(("disk", "s3", "vault"), COPIED)
    assert policy.place(file, THREE, COPIED) == Placement(("disk", "vault"), COPIED + HOUR)
    assert policy.place(file, THREE, COPIED + HOUR) == Placement(("vault",))


def test_request_changes_nothing() -> None:
    policy = TransferAndDelete(after=HOUR)
    asked, unasked = File(requested=True), File()
    assert policy.place(asked, TWO, NOON) == policy.place(unasked, TWO, NOON)
