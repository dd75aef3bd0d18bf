"""Delayed leaves a file alone until its transfer is asked for; then another policy decides."""

from __future__ import annotations

from typing import Any

import pytest

from queued_storage.policies import Delayed, Placement, PolicyError, get_policy
from queued_storage.schema import PolicySettings

from tests.policies.facts import DAY, FOUR, HOUR, NOON, THREE, TWO, File

COPIED = NOON + HOUR


@pytest.mark.parametrize("then", ["transfer", "transfer-and-delete"])
@pytest.mark.parametrize(
    ("file", "placement"),
    [
        (File(), Placement(("disk",))),  # saved: the first tier alone, and no review
        (File(()), Placement(("disk",))),  # not verified anywhere: where a save puts it
        (File(("disk", "s3")), Placement(("disk", "s3"))),  # an earlier copy is not released
        (File(("vault",)), Placement(("vault",))),  # nor is a file brought back up
    ],
)
def test_unrequested_file_stays_where_it_is(then: str, file: File, placement: Placement) -> None:
    policy = Delayed(then=then, after=HOUR)
    assert policy.place(file, THREE, NOON) == placement
    assert policy.place(file, THREE, NOON + 365 * DAY) == placement  # however long it lies there


@pytest.mark.parametrize(
    ("options", "tiers", "placement"),
    [
        ({}, TWO, Placement(("disk", "s3"))),  # then: "transfer" = first + lower
        ({}, FOUR, Placement(FOUR)),  # 1 + 3
        ({"then": "transfer"}, THREE, Placement(THREE)),  # 1 + 2
        ({"then": "transfer-and-delete"}, TWO, Placement(("s3",))),  # 2 - 1
        ({"then": "transfer-and-delete"}, FOUR, Placement(("near", "s3", "vault"))),  # 4 - 1
        ({"to": ["vault"]}, THREE, Placement(("disk", "vault"))),  # 3 - s3
        ({"then": "transfer-and-delete", "to": ["vault"]}, THREE, Placement(("vault",))),  # 3 - disk - s3
        ({"after": "PT1H"}, TWO, Placement(("disk",), NOON + HOUR)),  # saved 12:00 + 1 h
        ({"then": "transfer-and-delete", "keep": "PT1H"}, TWO, Placement(TWO)),  # no copy yet: no grace yet
    ],
)
def test_requested_file_goes_where_the_next_policy_says(
    options: dict[str, Any], tiers: tuple[str, ...], placement: Placement
) -> None:
    policy = Delayed.model_validate(options).bind(tiers, tiers[1:])
    assert policy.place(File(requested=True), tiers, NOON) == placement


def test_keep_reaches_the_next_policy() -> None:
    policy = Delayed(then="transfer-and-delete", keep=HOUR)
    file = File(TWO, COPIED, requested=True)
    assert policy.place(file, TWO, COPIED) == Placement(TWO, COPIED + HOUR)


def test_next_policy_leaves_read_only_tiers_out() -> None:
    policy = Delayed(then="transfer-and-delete").bind(THREE, ["s3"])
    assert policy.place(File(requested=True), THREE, NOON) == Placement(("s3",))


def test_named_policy_keeps_its_options(settings: Any) -> None:
    options = {"to": ["vault"], "keep": "PT1H"}
    settings.QUEUED_STORAGE_POLICIES = {"cold": {"BACKEND": "transfer-and-delete", "OPTIONS": options}}
    policy = Delayed(then="cold", keep=DAY).bind(THREE, THREE[1:])
    file = File(("disk", "vault"), COPIED, requested=True)
    assert policy.place(file, THREE, COPIED) == Placement(("disk", "vault"), COPIED + DAY)


@pytest.mark.parametrize(
    ("then", "told"),
    [
        ("delayed", "'then' of a delayed policy names a delayed one, 'delayed'. Name another."),
        ("later", "'then' of a delayed policy names a delayed one, 'later'. Name another."),
        (
            "queued_storage.policies.Delayed",
            "'then' of a delayed policy names a delayed one, 'queued_storage.policies.Delayed'. Name another.",
        ),
        ("transfr", "there is no policy 'transfr'. Did you mean 'transfer'?"),
    ],
)
def test_next_policy_must_be_one_that_moves(then: str, told: str, settings: Any) -> None:
    settings.QUEUED_STORAGE_POLICIES = {"later": {"BACKEND": "delayed"}}
    with pytest.raises(PolicyError) as caught:
        Delayed(then=then).bind(TWO, ["s3"])
    assert str(caught.value) == told


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"keep": "PT1H"}, "policy 'transfer' has no option 'keep'. Remove it, or change 'then'."),
        (
            {"then": "transfer", "keep": 0},
            "policy 'transfer' has no option 'keep'. Remove it, or change 'then'.",
        ),
        ({"to": ["S3"]}, "'to' names no tier of the chain: 'S3'. Did you mean 's3'?"),
        ({"to": ["disk"]}, "'to' names 'disk', which is the first tier. Known: 's3'."),
    ],
)
def test_option_that_the_next_policy_cannot_use_is_refused(options: dict[str, Any], told: str) -> None:
    policy = get_policy(PolicySettings(BACKEND="delayed", OPTIONS=options))
    with pytest.raises(PolicyError) as caught:
        policy.bind(TWO, ["s3"])
    assert str(caught.value) == told


def test_next_policy_needs_a_tier_to_move_to() -> None:
    with pytest.raises(PolicyError, match="no writable tier below the first"):
        Delayed(then="transfer-and-delete").bind(TWO, [])


def test_verify_reaches_the_copy() -> None:
    assert Delayed(verify="content").bind(TWO, ["s3"]).verify == "content"


def test_verify_of_the_next_policy_holds_where_none_is_given(settings: Any) -> None:
    options = {"verify": "content"}
    settings.QUEUED_STORAGE_POLICIES = {"careful": {"BACKEND": "transfer", "OPTIONS": options}}
    assert Delayed(then="careful").bind(TWO, ["s3"]).verify == "content"
