"""Rules: the first that applies to a file says which policy decides for it."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.test import override_settings

from queued_storage.chain import chains, find_problems
from queued_storage.policies import Placement, Policy, PolicyError, Rules, Transfer, get_policy
from queued_storage.schema import PolicySettings
from queued_storage.testing import run_owed_work

from tests.policies.facts import DAY, NOON, THREE, TWO, File

MOVED, COPIED, STAYED = Placement(("s3",)), Placement(TWO), Placement(("disk",))
MEGABYTE = 10**6


def rules(*rules: dict[str, Any], **options: Any) -> Rules:
    """Rules of which each moves, unless it names a policy."""
    written = [{"policy": "transfer-and-delete"} | rule for rule in rules]
    policy = get_policy(PolicySettings(BACKEND="rules", OPTIONS={"rules": written} | options))
    assert isinstance(policy, Rules)
    return policy


@pytest.mark.parametrize(
    ("condition", "file", "applies"),
    [
        ({"name": "*.mp4"}, File(name="film.mp4"), True),
        ({"name": "*.mp4"}, File(name="2026/05/film.mp4"), True),  # "*" stands for folders too
        ({"name": "*.mp4"}, File(name="FILM.MP4"), True),  # cameras write so
        ({"name": "*.mp4"}, File(name="film.mp4.txt"), False),
        ({"name": "film.mp4"}, File(name="2026/film.mp4"), False),  # the whole name
        ({"name": "thumbs/*"}, File(name="thumbs/a/b.png"), True),
        ({"name": "thumbs/*"}, File(name="my/thumbs/b.png"), False),
        ({"name": "img_[0-9].png"}, File(name="img_7.png"), True),
        ({"name": ["*.mp4", "*.mov"]}, File(name="film.mov"), True),  # one of them is enough
        ({"name": ["*.mp4", "*.mov"]}, File(name="film.avi"), False),
        ({"content_type": "video/*"}, File(content_type="video/mp4"), True),
        ({"content_type": "video/*"}, File(content_type="Video/MP4"), True),
        ({"content_type": "text/html"}, File(content_type="text/html; charset=utf-8"), True),
        ({"content_type": "text/html"}, File(content_type="text/plain"), False),
        ({"content_type": "video/*"}, File(name="film.mp4", content_type=""), True),  # by its extension
        ({"content_type": "video/*"}, File(name="film.mp4", content_type="image/png"), False),  # as told
        ({"content_type": "*"}, File(name="film", content_type=""), True),
        ({"content_type": "?*"}, File(name="film", content_type=""), False),  # nobody knows what it is
        ({"larger_than": MEGABYTE}, File(size=MEGABYTE), False),
        ({"larger_than": MEGABYTE}, File(size=MEGABYTE + 1), True),
        ({"larger_than": 0}, File(size=0), False),
        ({"larger_than": 0}, File(size=None), False),  # not known yet
        ({"smaller_than": MEGABYTE}, File(size=MEGABYTE), False),
        ({"smaller_than": MEGABYTE}, File(size=MEGABYTE - 1), True),
        ({"smaller_than": MEGABYTE}, File(size=None), False),
        ({"larger_than": 1, "smaller_than": 3}, File(size=2), True),  # 1 < 2 < 3
        ({"larger_than": 1, "smaller_than": 3}, File(size=3), False),
        ({"name": "*.mp4", "larger_than": 5}, File(name="film.mp4", size=6), True),  # both
        ({"name": "*.mp4", "larger_than": 5}, File(name="film.mp4", size=5), False),
        ({"name": "*.mp4", "larger_than": 5}, File(name="film.avi", size=6), False),
    ],
)
def test_conditions(condition: dict[str, Any], file: File, applies: bool) -> None:
    assert rules(condition).place(file, TWO, NOON) == (MOVED if applies else STAYED)


@pytest.mark.parametrize(
    ("file", "placement"),
    [
        (File(name="a.mp4", size=1), COPIED),  # the first rule, though the second applies too
        (File(name="b.mp4", size=1), MOVED),  # the second
        (File(name="b.pdf", size=9), Placement(("disk",), NOON + DAY)),  # the third
        (File(name="b.pdf", size=1), Placement(("disk",))),  # none, and no default
        (File(TWO, name="b.pdf", size=1), Placement(TWO)),  # no default leaves every copy where it is
    ],
)
def test_first_rule_that_applies_decides(file: File, placement: Placement) -> None:
    policy = rules(
        {"name": "a.*", "policy": "transfer"},
        {"name": "*.mp4"},
        {"larger_than": 5, "policy": {"BACKEND": "transfer", "OPTIONS": {"after": "P1D"}}},
    )
    assert policy.place(file, TWO, NOON) == placement
    assert policy.bind(TWO, ["s3"]).place(file, TWO, NOON) == placement


def test_default_is_for_every_other_file() -> None:
    policy = rules({"name": "*.mp4"}, default="transfer").bind(TWO, ["s3"])
    assert policy.place(File(name="a.pdf"), TWO, NOON) == COPIED


@override_settings(
    QUEUED_STORAGE_POLICIES={"cold": {"BACKEND": "transfer-and-delete", "OPTIONS": {"to": ["vault"]}}}
)
def test_rule_may_name_a_policy_of_the_settings() -> None:
    policy = rules({"name": "*.mp4", "policy": "cold"}).bind(THREE, THREE[1:])
    assert policy.place(File(name="a.mp4"), THREE, NOON) == Placement(("vault",))


def test_rules_may_name_rules() -> None:
    inner = {"BACKEND": "rules", "OPTIONS": {"rules": [{"larger_than": 5, "policy": "transfer"}]}}
    policy = rules({"name": "*.mp4", "policy": inner}, default="transfer-and-delete").bind(TWO, ["s3"])
    placed = [policy.place(File(name="a.mp4", size=size), TWO, NOON) for size in (5, 6)]
    assert placed == [STAYED, COPIED]


def test_read_only_tiers_are_left_out() -> None:
    policy = rules({"name": "*"}).bind(THREE, ["s3"])
    assert policy.place(File(), THREE, NOON) == Placement(("s3",))


@pytest.mark.parametrize(
    ("options", "verify"),
    [
        ({}, ("content", "size")),  # as each policy says
        ({"verify": "content"}, ("content", "content")),  # as is written for all
        ({"verify": "size"}, ("size", "size")),
    ],
)
def test_way_of_verifying_is_that_of_the_policy_that_decides(
    options: dict[str, Any], verify: tuple[str, str]
) -> None:
    careful = {"BACKEND": "transfer", "OPTIONS": {"verify": "content"}}
    policy = rules({"name": "a.*", "policy": careful}, default="transfer", **options).bind(TWO, ["s3"])
    assert tuple(policy.for_file(File(name=name)).verify for name in ("a.pdf", "b.pdf")) == verify


def test_code_that_copies_is_that_of_the_policy_that_decides() -> None:
    policy = rules({"name": "a.*", "policy": "task:somebody.Copies"}).bind(TWO, ["s3"])
    copiers = [policy.for_file(File(name=name)).copier for name in ("a.pdf", "b.pdf")]
    assert copiers == ["somebody.Copies", None]


def test_delayed_policy_may_go_on_with_rules(settings: Any) -> None:
    written = {
        "rules": [{"name": "*.mp4", "policy": {"BACKEND": "transfer", "OPTIONS": {"verify": "content"}}}]
    }
    settings.QUEUED_STORAGE_POLICIES = {"sorted": {"BACKEND": "rules", "OPTIONS": written}}
    policy = get_policy("delayed:sorted").bind(TWO, ["s3"])
    files = [File(name="a.mp4", requested=True), File(name="a.mp4"), File(name="a.pdf", requested=True)]
    assert [policy.place(file, TWO, NOON) for file in files] == [COPIED, STAYED, STAYED]
    assert policy.for_file(files[0]).verify == "content"


HINT_OF_PATTERNS = 'Write "*.mp4", or a list of such patterns.'
HINT_OF_SIZES = "Write a number of bytes: 10 * 2**20 is 10 MiB."


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "['rules']: is missing. Write \"rules\": [{"),
        ({"rules": []}, "['rules']: is empty. Write \"rules\": [{"),
        ({"rules": {"name": "*"}}, "['rules']: is not a list. Write \"rules\": [{"),
        ({"rules": ["*.mp4"]}, "['rules'][0]: is not a dict. Write \"rules\": [{"),
        (
            {"rules": [{"name": "*"}]},
            "['rules'][0]['policy']: is missing. Write \"policy\": \"transfer\", or",
        ),
        (
            {"rules": [{"name": "*", "policy": 5}]},
            "['rules'][0]['policy']: is not a text. Write \"policy\": \"tr",
        ),
        (
            {"rules": [{"policy": "transfer"}]},
            "['rules'][0]: has no condition. Write 'name', 'content_type', ",
        ),
        (
            {"rules": [{"nmae": "*", "policy": "transfer"}]},
            "['rules'][0]['nmae']: unknown key. Did you mean 'name'?",
        ),
        (
            {"rules": [{"name": 7, "policy": "transfer"}]},
            f"['rules'][0]['name']: is not a list. {HINT_OF_PATTERNS}",
        ),
        (
            {"rules": [{"name": [7], "policy": "transfer"}]},
            f"['rules'][0]['name'][0]: is not a text. {HINT_OF_PATTERNS}",
        ),
        (
            {"rules": [{"name": [], "policy": "transfer"}]},
            f"['rules'][0]['name']: is empty. {HINT_OF_PATTERNS}",
        ),
        (
            {"rules": [{"larger_than": "10 MB", "policy": "transfer"}]},
            "['rules'][0]['larger_than']: should be a valid integer, unable to parse string as an integer. "
            + HINT_OF_SIZES,
        ),
        (
            {"rules": [{"smaller_than": -1, "policy": "transfer"}]},
            f"['rules'][0]['smaller_than']: should be greater than or equal to 0. {HINT_OF_SIZES}",
        ),
        (
            {"rules": [{"larger_than": 5, "smaller_than": 6, "policy": "transfer"}]},
            "['rules'][0]: no size is larger than 5 and smaller than 6. Correct one of the two.",
        ),
        (
            {"rules": [{"name": "*", "policy": {"BACKND": "transfer"}}]},
            "['rules'][0]['policy']['BACKEND']: is missing. Write \"BACKEND\":",
        ),
        (
            {"rules": [{"name": "*", "policy": "transfer"}], "defalt": "delayed"},
            "['defalt']: unknown key. Did you m",
        ),
    ],
)
def test_wrong_option_is_told_in_words(options: dict[str, Any], told: str) -> None:
    with pytest.raises(PolicyError) as caught:
        get_policy(PolicySettings(BACKEND="rules", OPTIONS=options))
    assert str(caught.value).startswith(f"POLICY['OPTIONS']{told}")


def test_bare_name_says_that_rules_are_needed() -> None:
    with pytest.raises(
        PolicyError, match=r"policy 'rules' needs options: 'rules'\. Write it out, with its OPTIONS"
    ):
        get_policy("rules")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"rules": [{"name": "*", "policy": "transfr"}]},
            "['rules'][0]['policy']: there is no policy 'transfr'. Did you mean 'transfer'?",
        ),
        (
            {"rules": [{"name": "*", "policy": "transfer"}], "default": "transfr"},
            "['default']: there is no policy 'transfr'. Did you mean 'transfer'?",
        ),
        (
            {"rules": [{"name": "*", "policy": {"BACKEND": "transfer", "OPTIONS": {"to": ["valt"]}}}]},
            "['rules'][0]['policy']: 'to' names no tier of the chain: 'valt'. Did you mean 'vault'?",
        ),
        (
            {"rules": [{"name": "*", "policy": {"BACKEND": "transfer", "OPTIONS": {"too": []}}}]},
            "['rules'][0]['policy']['OPTIONS']['too']: unknown key. Did you mean 'to'?",
        ),
    ],
)
class TestWhatOneRuleNames:
    def test_mistake_is_told_where_the_chain_writes_the_rules(
        self, options: dict[str, Any], told: str, make_chain: Any
    ) -> None:
        make_chain(policy={"BACKEND": "rules", "OPTIONS": options})
        path = "QUEUED_STORAGE_TIERS['media']['POLICY']['OPTIONS']"
        assert [str(problem) for problem in find_problems()] == [f"{path}{told}"]

    def test_mistake_is_told_where_a_policy_writes_the_rules(
        self, options: dict[str, Any], told: str, make_chain: Any, settings: Any
    ) -> None:
        settings.QUEUED_STORAGE_POLICIES = {"sorted": {"BACKEND": "rules", "OPTIONS": options}}
        make_chain(policy="sorted")
        place, _, message = told.partition(": ")
        path = f"QUEUED_STORAGE_POLICIES['sorted']['OPTIONS']{place}"
        found = find_problems()
        assert [str(problem) for problem in found] == [f"{path}: on chain 'media', {message}"]
        assert {problem.id for problem in found} == {"queued_storage.E004"}


def test_mistakes_of_several_rules_are_told_at_once(make_chain: Any) -> None:
    written = [{"name": "*.a", "policy": "one"}, {"name": "*.b", "policy": "two"}]
    make_chain(policy={"BACKEND": "rules", "OPTIONS": {"rules": written}})
    assert [problem.path.partition("OPTIONS")[2] for problem in find_problems()] == [
        "']['rules'][0]['policy']",
        "']['rules'][1]['policy']",
    ]


@pytest.mark.parametrize(
    ("policies", "where", "way"),
    [
        ({"a": "a"}, "a", "'a' → 'a'"),
        ({"a": "b", "b": "a"}, "b", "'a' → 'b' → 'a'"),  # told where it leads back
        ({"a": "delayed:a"}, "a", "'a' → 'delayed:a' → 'a'"),
    ],
)
def test_rules_that_lead_back_to_themselves_are_refused(
    policies: dict[str, str], where: str, way: str, make_chain: Any, settings: Any
) -> None:
    settings.QUEUED_STORAGE_POLICIES = {
        name: {"BACKEND": "rules", "OPTIONS": {"rules": [{"name": "*", "policy": other}]}}
        for name, other in policies.items()
    }
    make_chain(policy="a")
    (problem,) = find_problems()
    assert problem.message == f"on chain 'media', leads back to itself: {way}."
    assert problem.path == f"QUEUED_STORAGE_POLICIES[{where!r}]['OPTIONS']['rules'][0]['policy']"


def test_policies_that_share_one_are_no_cycle(settings: Any) -> None:
    settings.QUEUED_STORAGE_POLICIES = {"cold": {"BACKEND": "transfer"}}
    policy = rules({"name": "*.a", "policy": "cold"}, {"name": "*.b", "policy": "cold"}, default="cold")
    assert policy.bind(TWO, ["s3"]).place(File(), TWO, NOON) == COPIED


def test_binding_leaves_the_rules_as_they_were() -> None:
    unbound = rules({"name": "*"})
    unbound.bind(TWO, ["s3"])
    assert unbound == rules({"name": "*"})


def test_other_policies_decide_themselves() -> None:
    policy: Policy = Transfer()
    assert policy.for_file(File()) is policy


@pytest.mark.django_db
def test_engine_brings_each_file_where_its_rule_says(make_chain: Any) -> None:
    written = [
        {"name": "*.mp4", "policy": {"BACKEND": "transfer-and-delete", "OPTIONS": {"to": ["vault"]}}},
        {"smaller_than": 3, "policy": {"BACKEND": "transfer", "OPTIONS": {"to": []}}},
    ]
    options = {"rules": written, "default": "transfer"}
    storage = make_chain(THREE, policy={"BACKEND": "rules", "OPTIONS": options})
    names = [
        storage.save(name, ContentFile(b"1234"[:size]))
        for name, size in (("a.mp4", 4), ("a.b", 2), ("a.c", 4))
    ]
    run_owed_work()
    assert [storage.tiers(name) for name in names] == [["vault"], ["disk"], ["disk", "s3", "vault"]]
    assert chains["media"].policy_name == ""
