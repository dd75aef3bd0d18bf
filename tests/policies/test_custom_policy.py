"""A policy of the user's own: a dotted path, pydantic fields as options, one pure method."""

from __future__ import annotations

from typing import Any

import pytest

from queued_storage.chain import chains
from queued_storage.exceptions import CustodyError
from queued_storage.policies import Placement, PolicyError, get_policy
from queued_storage.schema import PolicySettings

from tests.policies.facts import NOON, THREE, TWO, File
from tests.policies.policies import BigFilesLow

HERE = "tests.policies.policies"


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        (None, ("disk",)),  # not known yet: counts as 0
        (999, ("disk",)),  # 999 <= 1000
        (1000, ("disk",)),  # 1000 <= 1000
        (1001, ("vault",)),  # 1001 > 1000
    ],
)
def test_policy_by_size(size: int | None, wanted: tuple[str, ...]) -> None:
    assert BigFilesLow(limit=1000).place(File(size=size), THREE, NOON) == Placement(wanted)


@pytest.mark.parametrize(
    ("content_type", "wanted"),
    [
        ("image/png", TWO),  # 1 + 1
        ("application/pdf", ("disk",)),  # left alone
        ("", ("disk",)),  # nobody said what it is
    ],
)
def test_policy_that_narrows_another(content_type: str, wanted: tuple[str, ...]) -> None:
    policy = get_policy(f"{HERE}.PicturesOnly")
    assert policy.place(File(content_type=content_type), TWO, NOON) == Placement(wanted)


def test_dotted_path_takes_its_options() -> None:
    policy = get_policy(PolicySettings(BACKEND=f"{HERE}.BigFilesLow", OPTIONS={"limit": 5}))
    assert policy == BigFilesLow(limit=5)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "POLICY['OPTIONS']['limit']: is missing."),
        ({"limit": "many"}, "POLICY['OPTIONS']['limit']: should be a valid integer"),
        ({"limit": -1}, "POLICY['OPTIONS']['limit']: should be greater than or equal to 0."),
        ({"limit": 1, "limits": 2}, "POLICY['OPTIONS']['limits']: unknown key. Did you mean 'limit'?"),
        ({"limit": 1, "verify": "md5"}, "POLICY['OPTIONS']['verify']: should be 'size' or 'content'."),
    ],
)
def test_options_are_validated(options: dict[str, Any], told: str) -> None:
    with pytest.raises(PolicyError) as caught:
        get_policy(PolicySettings(BACKEND=f"{HERE}.BigFilesLow", OPTIONS=options))
    assert str(caught.value).startswith(told)


def test_hint_for_an_option_of_ones_own_names_the_options_of_the_policy() -> None:
    with pytest.raises(PolicyError) as caught:
        get_policy(PolicySettings(BACKEND=f"{HERE}.BigFilesLow", OPTIONS={"limit": []}))
    assert str(caught.value).endswith("Correct it: BigFilesLow takes the options 'limit', 'verify'.")


@pytest.mark.parametrize(
    ("backend", "told"),
    [
        ("tests.policies.policies.Nobody", "cannot be imported"),
        ("tests.no_such_module.Policy", "cannot be imported"),
        (
            "tests.policies.policies.not_a_policy",
            "is not a policy. Name a subclass of queued_storage.policies.Policy.",
        ),
        ("tests.policies.facts.File", "is not a policy. Name a subclass of queued_storage.policies.Policy."),
    ],
)
def test_path_must_lead_to_a_policy(backend: str, told: str) -> None:
    with pytest.raises(PolicyError) as caught:
        get_policy(backend)
    assert repr(backend) in str(caught.value)
    assert told in str(caught.value)


def test_policy_must_say_where_files_should_lie() -> None:
    with pytest.raises(PolicyError, match=r"Unfinished.* lacks place\(\)"):
        get_policy(f"{HERE}.Unfinished")


def test_policy_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        BigFilesLow(limit=1).limit = 2


def test_policy_binds_to_every_chain_unless_it_says_otherwise() -> None:
    policy = BigFilesLow(limit=1)
    assert policy.bind(("disk",), []) is policy


def test_chain_takes_a_policy_by_dotted_path_alone(make_chain: Any) -> None:
    chain = make_chain(policy="tests.policies.policies.PicturesOnly").chain
    assert chain.policy(chain.policy_name).place(File(), chain.names, NOON) == Placement(("disk",))


def test_chain_takes_a_policy_written_out_with_its_options(make_chain: Any) -> None:
    options = {"limit": 10}
    chain = make_chain(policy={"BACKEND": f"{HERE}.BigFilesLow", "OPTIONS": options}).chain
    assert chain.policy_name == ""
    assert chain.policy("") == BigFilesLow(limit=10)


def test_policy_that_wants_a_file_nowhere_is_stopped(make_chain: Any) -> None:
    chain = make_chain(policy=f"{HERE}.Nowhere").chain
    with pytest.raises(CustodyError, match="on no tier at all"):
        chain.assess(File(), f"{HERE}.Nowhere", NOON)


def test_policy_that_wants_a_copy_on_a_read_only_tier_is_stopped(make_chain: Any, tmp_path: Any) -> None:
    old = {"BACKEND": "django.core.files.storage.FileSystemStorage", "READ_ONLY": True}
    make_chain({"disk": "disk", "old": old}, policy=f"{HERE}.Everywhere")
    with pytest.raises(CustodyError, match=r"'old'.*READ_ONLY"):
        chains["media"].assess(File(), f"{HERE}.Everywhere", NOON)


def test_base_class_cannot_be_used_itself() -> None:
    with pytest.raises(PolicyError, match=r"Policy.* lacks place\(\)"):
        get_policy("queued_storage.policies.Policy")


def test_policy_on_three_tiers_reaches_the_engine(make_chain: Any) -> None:
    chain = make_chain(THREE, policy={"BACKEND": f"{HERE}.BigFilesLow", "OPTIONS": {"limit": 10}}).chain
    owed = chain.assess(File(size=11), "", NOON)
    assert (owed.missing, owed.surplus) == (("vault",), ("disk",))
