"""Mirror wants the first tier and the lower ones, from the save on."""

from __future__ import annotations

from typing import Any

import pytest

from queued_storage.policies import Mirror, Placement, PolicyError, get_policy
from queued_storage.schema import PolicySettings

from tests.policies.facts import DAY, FOUR, NOON, THREE, TWO, File


@pytest.mark.parametrize(
    ("tiers", "options", "file", "wanted"),
    [
        (TWO, {}, File(), TWO),
        (FOUR, {}, File(), FOUR),
        (THREE, {}, File(("vault",)), THREE),  # what was lost comes back, on the first tier too
        (THREE, {"to": ["vault"]}, File(), ("disk", "vault")),
        (THREE, {"to": ["vault"]}, File(THREE), ("disk", "vault")),
    ],
)
def test_every_tier_is_wanted_always(tiers: Any, options: dict[str, Any], file: File, wanted: Any) -> None:
    policy = Mirror.model_validate(options).bind(tiers, tiers[1:])
    assert policy.place(file, tiers, NOON) == policy.place(file, tiers, NOON + DAY) == Placement(wanted)


def test_read_only_tiers_are_left_out() -> None:
    assert Mirror().bind(THREE, ["s3"]).place(File(), THREE, NOON) == Placement(TWO)


def test_mirror_does_not_wait() -> None:
    with pytest.raises(PolicyError, match=r"\['after'\]: unknown key"):
        get_policy(PolicySettings(BACKEND="mirror", OPTIONS={"after": "P1D"}))


@pytest.mark.parametrize(("tiers", "options"), [(("disk",), {}), (TWO, {"to": []})])
def test_mirror_needs_another_tier(tiers: Any, options: dict[str, Any]) -> None:
    with pytest.raises(PolicyError, match="no writable tier below the first to mirror files to"):
        Mirror.model_validate(options).bind(tiers, [])
