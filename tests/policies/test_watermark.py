"""Watermark wants the first tier too, but for files that were asked to make room there."""

from __future__ import annotations

from typing import Any

import pytest

from queued_storage.policies import Limit, Placement, PolicyError, Rules, Transfer, Watermark, get_policy
from queued_storage.schema import PolicySettings

from tests.policies.facts import DAY, NOON, THREE, TWO, File


@pytest.mark.parametrize(
    ("options", "file", "wanted"),
    [
        ({}, File(), THREE),
        ({}, File(crowded_out=True), ("s3", "vault")),
        ({}, File(("s3", "vault")), THREE),  # called back
        ({"to": ["vault"]}, File(), ("disk", "vault")),
        ({"to": ["vault"]}, File(crowded_out=True), ("vault",)),
    ],
)
def test_file_stays_until_it_is_crowded_out(options: dict[str, Any], file: File, wanted: Any) -> None:
    policy = Watermark.model_validate({"high": 10} | options).bind(THREE, THREE[1:])
    assert policy.place(file, THREE, NOON) == policy.place(file, THREE, NOON + DAY) == Placement(wanted)


@pytest.mark.parametrize(
    ("options", "limit"),
    [({"high": 100}, (100, 90)), ({"high": 100, "low": 50}, (100, 50)), ({"high": 0}, (0, 0))],
)
def test_limit(options: dict[str, int], limit: tuple[int, int]) -> None:
    assert Watermark.model_validate(options).first_tier_limit == limit


@pytest.mark.parametrize(
    ("options", "file", "comes"),
    [
        ({}, File(crowded_out=True), False),
        ({"promote": True}, File(crowded_out=True), True),
        ({"promote": True}, File(), False),  # it has never left
        ({"promote": True, "promote_up_to": 5}, File(crowded_out=True, size=5), True),
        ({"promote": True, "promote_up_to": 5}, File(crowded_out=True, size=6), False),
        ({"promote": True}, File(crowded_out=True, size=None), False),  # nobody knows what room it takes
    ],
)
def test_file_that_is_read_comes_back(options: dict[str, Any], file: File, comes: bool) -> None:
    assert Watermark.model_validate({"high": 10} | options).calls_back(file) is comes


def test_other_policies_set_no_limit_and_call_nothing_back() -> None:
    assert (Transfer().first_tier_limit, Transfer().calls_back(File(crowded_out=True))) == (None, False)


def test_rules_have_the_limit_of_what_they_name() -> None:
    options = {
        "rules": [{"name": "*.a", "policy": {"BACKEND": "watermark", "OPTIONS": {"high": 10, "low": 5}}}]
    }
    policy = get_policy(PolicySettings(BACKEND="rules", OPTIONS=options)).bind(TWO, ["s3"])
    assert isinstance(policy, Rules)
    assert policy.first_tier_limit == Limit(10, 5)
    assert [policy.for_file(File(name=name)).makes_room for name in ("x.a", "x.b")] == [True, False]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "['high']: is missing. Write a number of bytes: 50 * 10**9 is 50 GB."),
        ({"high": -1}, "['high']: should be greater than or equal to 0. Write a number of bytes"),
        (
            {"high": 5, "low": 6},
            ": 'low' is above 'high'. Write the bytes at which files stop leaving into 'low'",
        ),
        ({"high": 5, "promote": "perhaps"}, "['promote']: should be a valid boolean"),
    ],
)
def test_wrong_option_is_told_in_words(options: dict[str, Any], told: str) -> None:
    with pytest.raises(PolicyError) as caught:
        get_policy(PolicySettings(BACKEND="watermark", OPTIONS=options))
    assert str(caught.value).startswith(f"POLICY['OPTIONS']{told}")


def test_there_has_to_be_a_tier_to_leave_for() -> None:
    with pytest.raises(PolicyError, match="no writable tier below the first to move files to"):
        Watermark(high=1).bind(("disk",), [])
