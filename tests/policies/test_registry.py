"""From the names that settings and fields write to policies, and from policies to chains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from django.test import override_settings

from queued_storage.exceptions import ConfigurationError
from queued_storage.policies import (
    Delayed,
    Placement,
    Policy,
    PolicyError,
    Transfer,
    TransferAndDelete,
    get_policy,
)
from queued_storage.schema import PolicySettings

from tests.mistakes import POLICY_NAMES
from tests.policies.facts import DAY, FOUR, HOUR, NOON, THREE, TWO, File

MOVING = [Transfer, TransferAndDelete]
ALL = [*MOVING, Delayed]


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("transfer", Transfer()),
        ("transfer-and-delete", TransferAndDelete()),
        ("delayed", Delayed()),
        ("queued_storage.policies.Transfer", Transfer()),
        ("queued_storage.policies.TransferAndDelete", TransferAndDelete()),
        ("queued_storage.policies.Delayed", Delayed()),
    ],
)
def test_names_of_the_built_in_policies(name: str, policy: Policy) -> None:
    assert get_policy(name) == policy


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("transfr", "there is no policy 'transfr'. Did you mean 'transfer'?"),
        ("Transfer", "there is no policy 'Transfer'. Did you mean 'transfer'?"),
        (
            "transfer_and_delete",
            "there is no policy 'transfer_and_delete'. Did you mean 'transfer-and-delete'?",
        ),
        ("delay", "there is no policy 'delay'. Did you mean 'delayed'?"),
        ("colt", "there is no policy 'colt'. Did you mean 'cold'?"),
        (
            "zzz",
            "there is no policy 'zzz'. " + POLICY_NAMES.replace("Known:", "Known: 'cold',"),
        ),
    ],
)
@override_settings(QUEUED_STORAGE_POLICIES={"cold": {"BACKEND": "transfer"}})
def test_unknown_name_is_refused(name: str, told: str) -> None:
    with pytest.raises(PolicyError) as caught:
        get_policy(name)
    assert str(caught.value) == told


@pytest.mark.parametrize("policy", ALL)
@pytest.mark.parametrize("option", ["too", "aftr", "keeep", "bucket_name", "TO"])
def test_unknown_option_is_refused(policy: type[Policy], option: str) -> None:
    path = f"queued_storage.policies.{policy.__name__}"
    with pytest.raises(PolicyError) as caught:
        get_policy(PolicySettings(BACKEND=path, OPTIONS={option: 1}))
    assert str(caught.value).startswith(f"POLICY['OPTIONS'][{option!r}]: unknown key.")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"to": "s3"}, "['to']: is not a list. Write a list of tier names."),
        ({"to": [1]}, "['to'][0]: is not a text. Write a list of tier names."),
        (
            {"after": "soon"},
            "['after']: should be a valid timedelta, invalid digit in duration. Write a dur",
        ),
        ({"after": -1}, "['after']: should be greater than or equal to 0 seconds. Write a duration"),
        ({"keep": "-PT1H"}, "['keep']: should be greater than or equal to 0 seconds. Write a duration"),
        ({"keep": None}, "['keep']: should be a valid timedelta. Write a duration such as"),
        (
            {"verify": "md5"},
            "['verify']: should be 'size' or 'content'. Write \"size\" or \"content\".",
        ),
        ({"too": ["s3"]}, "['too']: unknown key. Did you mean 'to'?"),
        ({"zzz": 1}, "['zzz']: unknown key. Known: 'after', 'keep', 'to', 'verify'."),
    ],
)
def test_wrong_option_is_refused_in_words(options: dict[str, Any], told: str) -> None:
    with pytest.raises(PolicyError) as caught:
        get_policy(PolicySettings(BACKEND="transfer-and-delete", OPTIONS=options))
    assert str(caught.value).startswith(f"POLICY['OPTIONS']{told}")


def test_all_wrong_options_are_told_at_once() -> None:
    options = {"verify": "md5", "after": "soon", "too": 1}
    with pytest.raises(PolicyError) as caught:
        get_policy(PolicySettings(BACKEND="transfer", OPTIONS=options))
    assert {problem.path.split("'")[-2] for problem in caught.value.problems} == {"verify", "after", "too"}


@pytest.mark.parametrize("policy", ALL)
def test_policy_is_frozen(policy: type[Policy]) -> None:
    with pytest.raises(ValueError, match="frozen"):
        policy().verify = "content"


@pytest.mark.parametrize("policy", ALL)
def test_policies_of_the_same_options_are_equal(policy: type[Policy]) -> None:
    assert policy(verify="content") == policy(verify="content") != policy()


class TestNamedPolicies:
    @override_settings(
        QUEUED_STORAGE_POLICIES={"cold": {"BACKEND": "transfer-and-delete", "OPTIONS": {"keep": "PT1H"}}}
    )
    def test_has_its_options(self) -> None:
        assert get_policy("cold") == TransferAndDelete(keep=HOUR)

    @override_settings(QUEUED_STORAGE_POLICIES={"cold": {"BACKEND": "queued_storage.policies.Transfer"}})
    def test_needs_no_options(self) -> None:
        assert get_policy("cold") == Transfer()

    @override_settings(
        QUEUED_STORAGE_POLICIES={"transfer": {"BACKEND": "transfer", "OPTIONS": {"after": "P1D"}}}
    )
    def test_may_give_a_short_name_another_meaning(self) -> None:
        assert get_policy("transfer") == Transfer(after=DAY)

    def test_follows_the_settings(self) -> None:
        for days in (1, 2):
            policy = {"BACKEND": "transfer", "OPTIONS": {"after": f"P{days}D"}}
            with override_settings(QUEUED_STORAGE_POLICIES={"cold": policy}):
                assert get_policy("cold") == Transfer(after=days * DAY)
        with pytest.raises(PolicyError, match="there is no policy 'cold'"):
            get_policy("cold")

    def test_chain_follows_the_settings(self, make_chain: Any, settings: Any) -> None:
        settings.QUEUED_STORAGE_POLICIES = {"cold": {"BACKEND": "transfer"}}
        storage = make_chain(policy="cold")
        assert storage.chain.policy("cold").place(File(), TWO, NOON) == Placement(("disk", "vault"))
        settings.QUEUED_STORAGE_POLICIES = {"cold": {"BACKEND": "transfer-and-delete"}}
        assert storage.chain.policy("cold").place(File(), TWO, NOON) == Placement(("vault",))

    def test_mistake_names_its_own_setting(self, settings: Any) -> None:
        settings.QUEUED_STORAGE_POLICIES = {"cold": {"BACKEND": "transfer", "OPTIONS": {"aftr": 1}}}
        with pytest.raises(PolicyError) as caught:
            get_policy("cold")
        path = "QUEUED_STORAGE_POLICIES['cold']['OPTIONS']['aftr']"
        assert str(caught.value) == f"{path}: unknown key. Did you mean 'after'?"

    def test_malformed_one_is_not_taken_for_unknown(self, settings: Any) -> None:
        settings.QUEUED_STORAGE_POLICIES = {"cold": {"BACKND": "transfer"}}
        with pytest.raises(PolicyError) as caught:
            get_policy("cold")
        assert "QUEUED_STORAGE_POLICIES['cold']['BACKND']: unknown key." in str(caught.value)


class TestBinding:
    @pytest.mark.parametrize("policy", MOVING)
    @pytest.mark.parametrize(
        ("tiers", "writable", "to"),
        [
            (TWO, ["s3"], ("s3",)),  # 2 - first
            (THREE, ["s3", "vault"], ("s3", "vault")),  # 3 - first
            (FOUR, ["near", "s3", "vault"], ("near", "s3", "vault")),  # 4 - first
            (FOUR, ["near", "vault"], ("near", "vault")),  # 4 - first - s3, which is READ_ONLY
            (FOUR, ["vault"], ("vault",)),  # 4 - first - near - s3
        ],
    )
    def test_default_is_every_writable_lower_tier(
        self, policy: type[Transfer], tiers: Sequence[str], writable: Sequence[str], to: Sequence[str]
    ) -> None:
        assert policy().bind(tiers, writable).to == to

    @pytest.mark.parametrize("policy", MOVING)
    @pytest.mark.parametrize(
        ("to", "told"),
        [
            (["valt"], "'to' names no tier of the chain: 'valt'. Did you mean 'vault'?"),
            (["s3", "VAULT"], "'to' names no tier of the chain: 'VAULT'. Did you mean 'vault'?"),
            (["glacier"], "'to' names no tier of the chain: 'glacier'. Known: 's3', 'vault'."),
            (["disk"], "'to' names 'disk', which is the first tier. Known: 's3', 'vault'."),
            (["s3", "disk"], "'to' names 'disk', which is the first tier. Known: 's3', 'vault'."),
            (["near"], "'to' names 'near', which is READ_ONLY. Known: 's3', 'vault'."),
        ],
    )
    def test_to_must_name_writable_lower_tiers(
        self, policy: type[Transfer], to: list[str], told: str
    ) -> None:
        with pytest.raises(PolicyError) as caught:
            policy.model_validate({"to": to}).bind(FOUR, ["s3", "vault"])
        assert str(caught.value) == told

    @pytest.mark.parametrize(("tiers", "options"), [(("disk",), {}), (TWO, {}), (TWO, {"to": []})])
    def test_moving_needs_a_tier_to_move_to(self, tiers: Sequence[str], options: dict[str, Any]) -> None:
        with pytest.raises(PolicyError, match=r"no writable tier below the first to move files to\. Add one"):
            TransferAndDelete.model_validate(options).bind(tiers, [])

    def test_copying_without_a_lower_tier_is_to_stay(self) -> None:
        policy = Transfer().bind(("disk",), [])
        assert policy.place(File(), ("disk",), NOON) == Placement(("disk",))

    @pytest.mark.parametrize("policy", ALL)
    def test_binding_leaves_the_policy_as_it_was(self, policy: type[Policy]) -> None:
        unbound = policy()
        unbound.bind(TWO, ["s3"])
        assert unbound == policy()

    def test_one_policy_serves_chains_of_other_tiers(self) -> None:
        policy = get_policy("transfer-and-delete")
        assert policy.bind(TWO, ["s3"]).place(File(), TWO, NOON) == Placement(("s3",))
        assert policy.bind(THREE, ["vault"]).place(File(), THREE, NOON) == Placement(("vault",))


def test_chain_tells_whose_policy_is_wrong(make_chain: Any) -> None:
    chain = make_chain().chain
    with pytest.raises(ConfigurationError) as caught:
        chain.policy("transfr")
    told = "QUEUED_STORAGE_TIERS['media']: there is no policy 'transfr'. Did you mean 'transfer'?"
    assert str(caught.value) == told


def test_read_only_tier_is_left_out_of_the_chains_policy(make_chain: Any) -> None:
    old = {"BACKEND": "django.core.files.storage.InMemoryStorage", "READ_ONLY": True}
    chain = make_chain({"disk": "disk", "old": old, "s3": "disk"}).chain
    assert chain.assess(File(), "transfer", NOON).missing == ("s3",)


def test_same_tier_named_twice_is_copied_to_once(make_chain: Any) -> None:
    policy = {"BACKEND": "transfer", "OPTIONS": {"to": ["vault", "vault"]}}
    chain = make_chain(policy=policy).chain
    assert chain.assess(File(), "", NOON).missing == ("vault",)
