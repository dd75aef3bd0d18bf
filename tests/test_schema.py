"""The two settings: every mistake is an ImproperlyConfigured that says where, what, and what to write."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from pydantic import ValidationError

from queued_storage.chain import chains, find_problems
from queued_storage.exceptions import ConfigurationError, QueuedStorageError
from queued_storage.schema import ChainSettings, PolicySettings, TierSettings, did_you_mean
from queued_storage.storage import TieredStorage, tiered_storages

from tests.mistakes import CHAIN, DISK, MISTAKES, S3, STORAGES, Told, disk

SECRET = "s3cr3t-Xy7"
IMPROPER = {"my key": SECRET, "location": SECRET, "secret_key": SECRET}


class TestMistakes:
    @pytest.mark.parametrize(("wrong", "told"), MISTAKES)
    def test_first_use_tells_every_mistake(self, wrong: dict[str, Any], told: tuple[Told, ...]) -> None:
        with override_settings(STORAGES=STORAGES, **wrong), pytest.raises(ImproperlyConfigured) as caught:
            TieredStorage("media").exists("a.txt")
        assert str(caught.value).splitlines() == [str(each) for each in told]

    @pytest.mark.parametrize(("wrong", "told"), MISTAKES)
    def test_mistake_is_told_again_at_the_next_use(
        self, wrong: dict[str, Any], told: tuple[Told, ...]
    ) -> None:
        with override_settings(STORAGES=STORAGES, **wrong):
            for _ in range(2):
                with pytest.raises(ConfigurationError) as caught:
                    chains["media"]
        assert len(str(caught.value).splitlines()) == len(told)

    def test_is_caught_by_the_root_of_the_packages_errors(self) -> None:
        with override_settings(QUEUED_STORAGE_TIERS={"media": {}}), pytest.raises(QueuedStorageError):
            chains["media"]

    def test_mistake_in_one_chain_stops_the_others(self) -> None:
        wrong = {"media": {"TIERS": {"disk": disk()}}, "papers": {}}
        with (
            override_settings(QUEUED_STORAGE_TIERS=wrong),
            pytest.raises(ImproperlyConfigured, match="papers"),
        ):
            chains["media"]


class TestSoundSettings:
    @pytest.mark.parametrize(
        "tiers",
        [
            {"disk": disk()},
            {"disk": disk(), "vault": disk("b", READ_ONLY=True)},
            {"disk": disk(), "vault": disk("b", EXCLUSIVE=True, TIMEOUT=5)},
            {"disk": disk(), "vault": disk("b", TIMEOUT=0.5)},
            {"disk": disk(), "vault": disk("b", TIMEOUT=None)},
            {"disk": {"STORAGE": "default"}, "vault": disk("b")},
            {"disk": {"STORAGE": "default", "READ_ONLY": False}},
            {"a-1": disk(), "b_2": disk("b"), "C.3": disk("c"), "4": disk("d")},
            {"disk": {"BACKEND": DISK}, "mem": {"BACKEND": "django.core.files.storage.InMemoryStorage"}},
            {f"tier{i}": disk(str(i)) for i in range(9)},
            # Two memories of one class are two stores.
            {name: {"BACKEND": "django.core.files.storage.InMemoryStorage"} for name in ("one", "two")},
            # A chain in a chain is a tier like any other.
            {"disk": disk(), "below": {"BACKEND": CHAIN, "OPTIONS": {"alias": "papers"}}},
        ],
    )
    def test_tiers(self, tiers: dict[str, Any]) -> None:
        sound = {"media": {"TIERS": tiers}, "papers": {"TIERS": {"disk": disk("p")}}}
        with override_settings(STORAGES=STORAGES, QUEUED_STORAGE_TIERS=sound):
            assert find_problems() == []
            assert chains["media"].names == tuple(tiers)

    @pytest.mark.parametrize(
        ("one", "two"),
        [
            ({}, {"bucket_name": "b"}),
            ({"bucket_name": "b"}, {"bucket_name": "b", "location": "old"}),
            (
                {"bucket_name": "b", "endpoint_url": "http://one"},
                {"bucket_name": "b", "endpoint_url": "http://two"},
            ),
        ],
    )
    @override_settings(AWS_STORAGE_BUCKET_NAME="a")
    def test_places_of_one_server(self, one: dict[str, str], two: dict[str, str]) -> None:
        tiers = {"one": {"BACKEND": S3, "OPTIONS": one}, "two": {"BACKEND": S3, "OPTIONS": two}}
        with override_settings(QUEUED_STORAGE_TIERS={"media": {"TIERS": tiers}}):
            assert find_problems() == []

    @pytest.mark.parametrize(
        ("media", "papers"),
        [
            ({"TIERS": {"disk": disk()}}, {"TIERS": {"disk": disk()}}),
            (
                {"TIERS": {"disk": disk(), "vault": disk("b")}, "POLICY": "transfer"},
                {"TIERS": {"disk": disk("c"), "vault": disk("b", READ_ONLY=True)}, "POLICY": None},
            ),
            (
                {"TIERS": {"disk": disk(), "old": disk("b", READ_ONLY=True)}, "POLICY": "delayed"},
                {"TIERS": {"disk": disk("c"), "old": disk("b", READ_ONLY=True)}, "POLICY": "delayed"},
            ),
        ],
        ids=["plain-fallbacks", "one-of-them-only-reads", "both-only-read"],
    )
    def test_place_that_chains_share_without_harm(self, media: Any, papers: Any) -> None:
        with override_settings(QUEUED_STORAGE_TIERS={"media": media, "papers": papers}):
            assert find_problems() == []

    @pytest.mark.parametrize(
        ("policy", "name"),
        [
            (None, None),
            ("transfer", "transfer"),
            ("cold", "cold"),
            ("queued_storage.policies.Delayed", "queued_storage.policies.Delayed"),
            ({"BACKEND": "transfer"}, ""),
            ({"BACKEND": "transfer-and-delete", "OPTIONS": {"after": "P30D", "to": ("vault",)}}, ""),
        ],
    )
    def test_policy(self, policy: Any, name: str | None) -> None:
        media = {"TIERS": {"disk": disk(), "vault": disk("b")}, "POLICY": policy}
        cold = {"BACKEND": "transfer-and-delete", "OPTIONS": {"keep": "PT1H"}}
        with override_settings(QUEUED_STORAGE_TIERS={"media": media}, QUEUED_STORAGE_POLICIES={"cold": cold}):
            assert find_problems() == []
            assert chains["media"].policy_name == name

    def test_read_only_first_tier_goes_with_no_policy(self) -> None:
        tiers = {"disk": disk(READ_ONLY=True), "vault": disk("b", READ_ONLY=True)}
        with override_settings(QUEUED_STORAGE_TIERS={"media": {"TIERS": tiers}}):
            assert chains["media"].writable == ()

    def test_nothing_configured_is_no_mistake(self, settings: Any) -> None:
        del settings.QUEUED_STORAGE_TIERS
        assert find_problems() == []
        assert list(chains) == []

    @pytest.mark.parametrize("shape", [TierSettings, ChainSettings, PolicySettings])
    def test_shapes_are_frozen(self, shape: Any) -> None:
        value = {
            TierSettings: {"BACKEND": DISK},
            ChainSettings: {"TIERS": {"disk": {"BACKEND": DISK}}},
            PolicySettings: {"BACKEND": "transfer"},
        }[shape]
        with pytest.raises(ValidationError, match="frozen"):
            setattr(shape.model_validate(value), next(iter(value)), None)


class TestUnknownChain:
    @pytest.mark.parametrize(
        ("alias", "hint"),
        [
            ("meida", "Did you mean 'media'?"),
            ("MEDIA", "Did you mean 'media'?"),
            ("zzz", "Known: 'media', 'papers'."),
        ],
    )
    @pytest.mark.parametrize(
        "use", [lambda alias: tiered_storages[alias], lambda alias: TieredStorage(alias).exists("a.txt")]
    )
    def test_is_told_with_the_nearest_one(self, use: Any, alias: str, hint: str) -> None:
        known = {"media": {"TIERS": {"disk": disk()}}, "papers": {"TIERS": {"disk": disk("b")}}}
        with override_settings(QUEUED_STORAGE_TIERS=known), pytest.raises(ImproperlyConfigured) as caught:
            use(alias)
        assert str(caught.value) == f"QUEUED_STORAGE_TIERS has no chain {alias!r}. {hint}"

    def test_where_none_is_defined(self, settings: Any) -> None:
        del settings.QUEUED_STORAGE_TIERS
        with pytest.raises(ImproperlyConfigured) as caught:
            tiered_storages["media"]
        assert str(caught.value) == "QUEUED_STORAGE_TIERS has no chain 'media'. None is defined."

    @pytest.mark.parametrize("value", [None, ["media"], 3])
    def test_setting_that_is_no_dict_is_told_at_first_use(self, value: Any) -> None:
        with override_settings(QUEUED_STORAGE_TIERS=value):
            storage = tiered_storages["media"]  # a model is imported before anybody can be told
            with pytest.raises(ImproperlyConfigured, match="QUEUED_STORAGE_TIERS: is not a dict"):
                storage.exists("a.txt")

    def test_unknown_tier_of_a_chain_is_told_with_the_nearest_one(self) -> None:
        with pytest.raises(ImproperlyConfigured) as caught:
            chains["media"]["valt"]
        told = "Tier 'valt' is not in QUEUED_STORAGE_TIERS['media']. Did you mean 'vault'?"
        assert str(caught.value) == told


@pytest.mark.parametrize(
    ("word", "known", "told"),
    [
        ("trasnfer", ["transfer", "delayed"], "Did you mean 'transfer'?"),
        ("TRANSFER", ["transfer", "delayed"], "Did you mean 'transfer'?"),
        ("zzz", ["b", "a"], "Known: 'a', 'b'."),
        (3, ["a"], "Known: 'a'."),
        ("a", [], "None is defined."),
    ],
)
def test_did_you_mean(word: object, known: list[str], told: str) -> None:
    assert did_you_mean(word, known) == told


SECRET_MISTAKES = [
    {"BACKEND": DISK, "OPTIONS": IMPROPER, "TIMEOUT": "x"},
    {"BACKEND": DISK, "OPTIONS": IMPROPER, "SOTRAGE": "x"},
    {"BACKEND": DISK, "STORAGE": "default", "OPTIONS": IMPROPER},
    {"STORAGE": "default", "OPTIONS": IMPROPER},
    {"OPTIONS": IMPROPER},
    {"OPTIONS": [SECRET]},
    {"BACKEND": DISK, "OPTIONS": SECRET},
    {"BACKEND": DISK, "OPTIONS": {"nested": {"deep": [SECRET]}}, "READ_ONLY": 3},
    {"BACKEND": DISK, "OPTIONS": {3: SECRET}},
    [SECRET],
    SECRET,
]
BUILD_MISTAKES = [
    {"BACKEND": DISK, "OPTIONS": IMPROPER},
    {"BACKEND": DISK, "OPTIONS": {SECRET[:3]: SECRET}},
    {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": {"no_such_option": SECRET}},
    *(
        {"BACKEND": f"tests.support.refusing.{name}", "OPTIONS": {"url": f"sftp://me:{SECRET}@host/"}}
        for name in ("TypeRefused", "ValueRefused", "KeyRefused", "ImproperRefused", "ChainedRefused")
    ),
    {"BACKEND": "tests.support.refusing.ValueRefused", "OPTIONS": {"url": SECRET.encode()}},
    {"BACKEND": "tests.support.refusing.ValueRefused", "OPTIONS": {"url": [{"deep": SECRET}]}},
]


def full_text(error: BaseException) -> str:
    """Everything that a log, a console or an error page would show of the error."""
    return "".join(traceback.format_exception(error)) + repr(error) + str(error)


class TestG10OptionsAreNeverShown:
    @pytest.mark.parametrize("tier", SECRET_MISTAKES)
    def test_g10_by_a_mistake_beside_them(self, tier: Any) -> None:
        wrong = {"media": {"TIERS": {"disk": disk(), "x": tier}}}
        with override_settings(QUEUED_STORAGE_TIERS=wrong), pytest.raises(ImproperlyConfigured) as caught:
            chains["media"]
        assert SECRET not in full_text(caught.value)

    @pytest.mark.parametrize("tier", BUILD_MISTAKES)
    def test_g10_by_a_backend_that_refuses_them(self, tier: Any) -> None:
        wrong = {"media": {"TIERS": {"x": tier}}}
        with override_settings(QUEUED_STORAGE_TIERS=wrong), pytest.raises(ImproperlyConfigured) as caught:
            _ = chains["media"]["x"].storage
        assert "QUEUED_STORAGE_TIERS['media']['TIERS']['x']: the storage refuses its OPTIONS" in str(
            caught.value
        )
        assert SECRET not in full_text(caught.value)

    @pytest.mark.parametrize(
        "options", [{"to": SECRET}, {"after": SECRET}, {"verify": SECRET}, {"too": SECRET}, SECRET, [SECRET]]
    )
    def test_g10_by_a_mistake_in_a_policy(self, options: Any) -> None:
        policy = {"BACKEND": "transfer", "OPTIONS": options}
        wrong = {"media": {"TIERS": {"disk": disk(), "vault": disk("b")}, "POLICY": policy}}
        with override_settings(QUEUED_STORAGE_TIERS=wrong), pytest.raises(ImproperlyConfigured) as caught:
            chains["media"]
        assert SECRET not in full_text(caught.value)

    def test_g10_by_any_repr(self, tmp_path: Any) -> None:
        location = str(tmp_path / SECRET)
        tier = {"BACKEND": DISK, "OPTIONS": {"location": location}}
        policy = {"BACKEND": "tests.policies.policies.PicturesOnly", "OPTIONS": {"kind": SECRET}}
        given = {"TIERS": {"disk": tier, "vault": disk("b")}, "POLICY": policy}
        with override_settings(QUEUED_STORAGE_TIERS={"media": given}):
            storage, chain = tiered_storages["media"], chains["media"]
            shape = ChainSettings.model_validate(given)
            shown = [storage, chain, *chain, chain.first.storage, chains, shape, shape.TIERS, shape.POLICY]
            shown += [*shape.TIERS.values(), storage.reader, storage.with_policy("transfer"), tiered_storages]
            assert SECRET not in f"{shown!r}{[str(each) for each in shown]}"

    def test_g10_by_vars_of_a_validated_shape_in_an_error(self) -> None:
        with pytest.raises(ValidationError) as caught:
            TierSettings.model_validate({"BACKEND": DISK, "OPTIONS": SECRET})
        assert SECRET not in full_text(caught.value)
