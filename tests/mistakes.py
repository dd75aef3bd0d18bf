"""Mistakes that people make in the settings, and all that they are told about each: one table for two tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

DISK = "django.core.files.storage.FileSystemStorage"
CHAIN = "queued_storage.storage.TieredStorage"
MEDIA = "QUEUED_STORAGE_TIERS['media']"
X = f"{MEDIA}['TIERS']['x']"

A_DICT_OF_DICTS = "Write {} = {{name: {{…}}, …}}."
CHAIN_KEYS = (
    "Write a dict with the keys TIERS, POLICY, SPILL, ACK, URLS, SERVE, ACCEL_PREFIX, PRIVATE, LINK_LIFETIME, "
    "TRASH."
)
TIERS_EXAMPLE = f'Write "TIERS": {{"disk": {{"BACKEND": "{DISK}"}}}}.'
A_NAME = "Use letters, digits, '_', '-' and '.', 64 at most."
ONE_STORAGE = 'Write "BACKEND": "dotted.path.of.a.Storage", or "STORAGE": "an alias of STORAGES".'
BACKEND_EXAMPLE = 'Write "BACKEND": "dotted.path.of.a.class".'
OPTIONS_EXAMPLE = 'Write "OPTIONS": {…}, a dict of arguments.'
POLICY_EXAMPLE = 'Write "POLICY": "transfer-and-delete", another policy\'s name, or None.'
SECONDS = "Write a number of seconds above 0, or None."
COPIES = "Write a whole number of copies at a time, 1 or more, or None."
A_DURATION = 'Write a duration such as "P30D", "PT1H" or a number of seconds.'
POLICY_NAMES = "Known: 'delayed', 'mirror', 'rules', 'transfer', 'transfer-and-delete', 'watermark'."
BYTES_A_SECOND = "Write a whole number of bytes a second, 10000 or more, or None."
TIER_KEYS = (
    "Known: 'BACKEND', 'BANDWIDTH', 'CONCURRENCY', 'EXCLUSIVE', 'FSYNC', 'IDENTITY', 'OPTIONS', 'PRICE', 'READ_ONLY', "
    "'SERVE', 'SHARED', 'STORAGE', 'TIMEOUT', 'WINDOW'."
)
OWN_PLACE = "Give it a folder, bucket or prefix of its own, or remove one of the two."
OWN_OR_READ = "Give it a folder, bucket or prefix of its own, or make it READ_ONLY in one of the two."

E001, E002, E003, E004 = (f"queued_storage.E00{number}" for number in (1, 2, 3, 4))
S3 = "storages.backends.s3.S3Storage"
GCS = "storages.backends.gcloud.GoogleCloudStorage"


@dataclass(frozen=True)
class Told:
    """One thing that the user is told: where, what is wrong, what to write."""

    path: str
    message: str
    hint: str
    id: str = E001

    def __str__(self) -> str:
        return f"{self.path}: {self.message} {self.hint}"


def disk(folder: str = "a", **more: Any) -> dict[str, Any]:
    return {"BACKEND": DISK, "OPTIONS": {"location": f"/nowhere/{folder}"}, **more}


def tiers(value: Any, *told: Told, id: str) -> Any:
    return pytest.param({"QUEUED_STORAGE_TIERS": value}, told, id=id)


def chain(value: Any, *told: Told, id: str) -> Any:
    return tiers({"media": value}, *told, id=id)


def tier(value: Any, *told: Told, id: str) -> Any:
    """A mistake in the tier ``x`` below a sound one."""
    return chain({"TIERS": {"disk": disk(), "x": value}}, *told, id=id)


def policy(value: Any, *told: Told, id: str, policies: Any = None) -> Any:
    """A mistake in the policy of a sound chain of two tiers, disk and vault."""
    media = {"TIERS": {"disk": disk(), "vault": disk("b")}, "POLICY": value}
    settings = {"QUEUED_STORAGE_TIERS": {"media": media}}
    if policies is not None:
        settings["QUEUED_STORAGE_POLICIES"] = policies
    return pytest.param(settings, told, id=id)


def cold(value: Any, *told: Told, id: str) -> Any:
    """A mistake in a named policy that no chain uses: a field may."""
    return policy("transfer", *told, policies={"cold": value}, id=id)


def twins(one: Any, x: Any, *, id: str) -> Any:
    """Two spellings of one place."""
    told = Told(X, "is the same storage as tier 'one'.", OWN_PLACE, E003)
    return chain({"TIERS": {"one": one, "x": x}}, told, id=id)


def shared(papers: Any, *, id: str, **media: Any) -> Any:
    """Two chains, media and papers; the tier ``x`` of the second is the first one's vault."""
    first = {"TIERS": {"disk": disk(), "vault": disk("b")}, **media}
    told = Told(
        "QUEUED_STORAGE_TIERS['papers']['TIERS']['x']",
        "is the same storage as tier 'vault' of chain 'media'; a name in both would be one file.",
        OWN_OR_READ,
        "queued_storage.W002",
    )
    return tiers({"media": first, "papers": papers}, told, id=id)


def nested(one: Any, x: Any, *, id: str) -> Any:
    """The place of one tier lies inside the other's."""
    told = Told(
        X,
        "lies inside tier 'one' of chain 'media', or that one in it; a name in both would be one file.",
        "Give it a folder, bucket or prefix of its own, beside the other.",
        "queued_storage.W002",
    )
    return chain({"TIERS": {"one": one, "x": x}}, told, id=id)


IN_POLICY = f"{MEDIA}['POLICY']"
IN_COLD = "QUEUED_STORAGE_POLICIES['cold']"
NOT_A_DICT = "is not a dict."
UNKNOWN = "unknown key."
BAD_NAME = "is not a usable name."
BOTH_OR_NONE = "a tier is either a BACKEND or a STORAGE."

THE_DICT = [
    tiers(
        None,
        Told("QUEUED_STORAGE_TIERS", NOT_A_DICT, A_DICT_OF_DICTS.format("QUEUED_STORAGE_TIERS")),
        id="tiers-none",
    ),
    tiers(
        [{"media": {}}],
        Told("QUEUED_STORAGE_TIERS", NOT_A_DICT, A_DICT_OF_DICTS.format("QUEUED_STORAGE_TIERS")),
        id="tiers-list",
    ),
    tiers(
        "media",
        Told("QUEUED_STORAGE_TIERS", NOT_A_DICT, A_DICT_OF_DICTS.format("QUEUED_STORAGE_TIERS")),
        id="tiers-text",
    ),
]
CHAINS = [
    chain(None, Told(MEDIA, NOT_A_DICT, CHAIN_KEYS), id="chain-none"),
    chain([disk()], Told(MEDIA, NOT_A_DICT, CHAIN_KEYS), id="chain-list"),
    chain({}, Told(f"{MEDIA}['TIERS']", "is missing.", TIERS_EXAMPLE), id="chain-empty"),
    chain({"TIERS": {}}, Told(f"{MEDIA}['TIERS']", "is empty.", TIERS_EXAMPLE), id="no-tier"),
    chain({"TIERS": [disk()]}, Told(f"{MEDIA}['TIERS']", NOT_A_DICT, TIERS_EXAMPLE), id="tiers-in-a-list"),
    chain(
        {"TIERS": {"disk": disk()}, "POLICI": None},
        Told(f"{MEDIA}['POLICI']", UNKNOWN, "Did you mean 'POLICY'?"),
        id="chain-key-misspelt",
    ),
    chain(
        {"TIERS": {"disk": disk()}, "tiers": {}},
        Told(f"{MEDIA}['tiers']", UNKNOWN, "Did you mean 'TIERS'?"),
        id="chain-key-in-small-letters",
    ),
    chain(
        {"TEIRS": {"disk": disk()}},
        Told(f"{MEDIA}['TIERS']", "is missing.", TIERS_EXAMPLE),
        Told(f"{MEDIA}['TEIRS']", UNKNOWN, "Did you mean 'TIERS'?"),
        id="tiers-misspelt",
    ),
    tiers(
        {"my files": {"TIERS": {"disk": disk()}}},
        Told("QUEUED_STORAGE_TIERS['my files']", BAD_NAME, A_NAME),
        id="alias-with-a-space",
    ),
    tiers(
        {"": {"TIERS": {"disk": disk()}}}, Told("QUEUED_STORAGE_TIERS['']", BAD_NAME, A_NAME), id="no-alias"
    ),
    tiers(
        {7: {"TIERS": {"disk": disk()}}}, Told("QUEUED_STORAGE_TIERS[7]", BAD_NAME, A_NAME), id="alias-number"
    ),
    tiers(
        {"m" * 65: {"TIERS": {"disk": disk()}}},
        Told(f"QUEUED_STORAGE_TIERS[{'m' * 65!r}]", BAD_NAME, A_NAME),
        id="alias-too-long",
    ),
    chain(
        {"TIERS": {"my disk": disk()}},
        Told(f"{MEDIA}['TIERS']['my disk']", BAD_NAME, A_NAME),
        id="tier-name-with-a-space",
    ),
    chain({"TIERS": {1: disk()}}, Told(f"{MEDIA}['TIERS'][1]", BAD_NAME, A_NAME), id="tier-name-number"),
    chain(
        {"TIERS": {"disk": disk(READ_ONLY=True), "vault": disk("b")}, "POLICY": "transfer"},
        Told(
            MEDIA,
            "the first tier, 'disk', takes the saves and cannot be READ_ONLY where there is a POLICY.",
            'Put a writable tier first, or write "POLICY": None.',
        ),
        id="first-tier-read-only",
    ),
]
TIERS = [
    tier(None, Told(X, NOT_A_DICT, TIERS_EXAMPLE), id="tier-none"),
    tier(DISK, Told(X, NOT_A_DICT, TIERS_EXAMPLE), id="tier-a-path"),
    tier({}, Told(X, BOTH_OR_NONE, ONE_STORAGE), id="tier-without-a-storage"),
    tier(disk("x", STORAGE="default"), Told(X, BOTH_OR_NONE, ONE_STORAGE), id="tier-with-two-storages"),
    tier(
        {"STORAGE": "default", "OPTIONS": {"location": "/nowhere"}},
        Told(X, "OPTIONS does not go with STORAGE.", "Write the options into STORAGES, under that alias."),
        id="options-of-an-alias",
    ),
    tier({"BACKEND": 3}, Told(f"{X}['BACKEND']", "is not a text.", BACKEND_EXAMPLE), id="backend-number"),
    tier(
        {"STORAGE": ["default"]},
        Told(f"{X}['STORAGE']", "is not a text.", 'Write "STORAGE": "an alias of STORAGES".'),
        id="alias-list",
    ),
    tier(
        {"BACKEND": DISK, "OPTIONS": ["/nowhere"]},
        Told(f"{X}['OPTIONS']", NOT_A_DICT, OPTIONS_EXAMPLE),
        id="options-list",
    ),
    tier(
        {"BACKEND": DISK, "OPTIONS": {1: 2}},
        Told(f"{X}['OPTIONS'][1]", "is not a text.", OPTIONS_EXAMPLE),
        id="option-name-number",
    ),
    tier(disk("x", BACKND=DISK), Told(f"{X}['BACKND']", UNKNOWN, "Did you mean 'BACKEND'?"), id="backend-misspelt"),
    tier(disk("x", options={}), Told(f"{X}['options']", UNKNOWN, "Did you mean 'OPTIONS'?"), id="options-small"),
    tier(disk("x", READONLY=True), Told(f"{X}['READONLY']", UNKNOWN, "Did you mean 'READ_ONLY'?"), id="readonly"),
    tier(disk("x", EXCLUSIV=True), Told(f"{X}['EXCLUSIV']", UNKNOWN, "Did you mean 'EXCLUSIVE'?"), id="exclusiv"),
    tier(disk("x", TIME_OUT=5), Told(f"{X}['TIME_OUT']", UNKNOWN, "Did you mean 'TIMEOUT'?"), id="time-out"),
    chain(
        {"TIERS": {"disk": disk(), "x": disk("x", SHARED=False)}, "POLICY": "transfer"},
        Told(
            MEDIA,
            "tier 'x' is not SHARED, which only the first tier can be.",
            "Remove its SHARED, and let it be a tier that all hosts reach.",
        ),
        id="own-below",
    ),
    chain(
        {"TIERS": {"disk": disk(SHARED=False), "x": disk("x")}},
        Told(
            MEDIA,
            "a tier that is not SHARED needs a POLICY: without a catalog nobody knows which host has a file.",
            'Write "POLICY": "transfer-and-delete", or another policy\'s name.',
        ),
        id="own-without-policy",
    ),
    chain(
        {"TIERS": {"disk": disk(SHARED=False), "x": disk("x", READ_ONLY=True)}, "POLICY": "delayed"},
        Told(
            MEDIA,
            "a tier that is not SHARED needs a writable tier below it, or its files can never leave their host.",
            "Add a tier that all hosts reach, or remove SHARED.",
        ),
        id="own-alone",
    ),
    tier(disk("x", region="b"), Told(f"{X}['region']", UNKNOWN, TIER_KEYS), id="option-beside-options"),
    tier(
        disk("x", READ_ONLY="yes"),
        Told(f"{X}['READ_ONLY']", "is neither True nor False.", "Write True or False."),
        id="read-only-text",
    ),
    tier(
        disk("x", EXCLUSIVE=1),
        Told(f"{X}['EXCLUSIVE']", "is neither True nor False.", "Write True or False."),
        id="exclusive-number",
    ),
    tier(disk("x", TIMEOUT="5"), Told(f"{X}['TIMEOUT']", "is not a number.", SECONDS), id="timeout-text"),
    tier(disk("x", TIMEOUT=True), Told(f"{X}['TIMEOUT']", "is not a number.", SECONDS), id="timeout-bool"),
    tier(disk("x", TIMEOUT=0), Told(f"{X}['TIMEOUT']", "should be greater than 0.", SECONDS), id="timeout-zero"),
    tier(disk("x", TIMEOUT=-2), Told(f"{X}['TIMEOUT']", "should be greater than 0.", SECONDS), id="timeout-negative"),
    tier(
        disk("x", TIMEOUT=float("inf")),
        Told(f"{X}['TIMEOUT']", "should be a finite number.", SECONDS),
        id="timeout-endless",
    ),
    tier(
        disk("x", BANDWIDTH=5),
        Told(f"{X}['BANDWIDTH']", "should be greater than or equal to 10000.", BYTES_A_SECOND),
        id="bandwidth-of-a-snail",
    ),
    tier(
        disk("x", BANDWIDTH="10M"),
        Told(f"{X}['BANDWIDTH']", "is not a whole number.", BYTES_A_SECOND),
        id="bandwidth-text",
    ),
    tier(
        disk("x", WINDOW="22-6"),
        Told(
            f"{X}['WINDOW']",
            "is not of the form that is asked for.",
            'Write two times of the day, "22:00-06:00" say, or None.',
        ),
        id="window-of-hours",
    ),
    tier(
        disk("x", WINDOW="24:00-06:00"),
        Told(
            f"{X}['WINDOW']",
            "is not of the form that is asked for.",
            'Write two times of the day, "22:00-06:00" say, or None.',
        ),
        id="window-of-no-day",
    ),
    tier(
        disk("x", WINDOW="06:00-06:00"),
        Told(
            X,
            "WINDOW begins when it ends.",
            "Write two different times, or leave WINDOW out: then copies begin at any time.",
        ),
        id="window-empty",
    ),
    tier(
        disk("x", CONCURRENCY=0),
        Told(f"{X}['CONCURRENCY']", "should be greater than or equal to 1.", COPIES),
        id="concurrency-zero",
    ),
    tier(
        disk("x", CONCURRENCY=True),
        Told(f"{X}['CONCURRENCY']", "is not a whole number.", COPIES),
        id="concurrency-bool",
    ),
    tier(
        disk("x", CONCURRENCY=1.5),
        Told(f"{X}['CONCURRENCY']", "is not a whole number.", COPIES),
        id="concurrency-half",
    ),
    tier(
        {"STORAGE": "defualt"},
        Told(f"{X}['STORAGE']", "STORAGES has no 'defualt'.", "Did you mean 'default'?", E002),
        id="alias-misspelt",
    ),
    tier(
        {"STORAGE": "glacier"},
        Told(f"{X}['STORAGE']", "STORAGES has no 'glacier'.", "Known: 'default', 'loop', 'staticfiles'.", E002),
        id="alias-unknown",
    ),
    tier(disk("a"), Told(X, "is the same storage as tier 'disk'.", OWN_PLACE, E003), id="same-storage-twice"),
    chain(
        {"TIERS": {"one": {"STORAGE": "default"}, "x": {"STORAGE": "default"}}},
        Told(X, "is the same storage as tier 'one'.", OWN_PLACE, E003),
        id="same-alias-twice",
    ),
    tier(
        {"STORAGE": "loop"},
        Told(f"{X}['STORAGE']", "leads back to this chain, 'media'.", "Name a storage that does not.", E002),
        id="chain-in-itself-by-alias",
    ),
    tier(
        {"BACKEND": CHAIN, "OPTIONS": {"alias": "media"}},
        Told(f"{X}['BACKEND']", "leads back to this chain, 'media'.", "Name a storage that does not.", E002),
        id="chain-in-itself",
    ),
    chain({"TIERS": {"name": {"BACKND": 1}, "settings": {"BACKND": 1}}},
        Told(f"{MEDIA}['TIERS']['name']['BACKND']", UNKNOWN, "Did you mean 'BACKEND'?"),
        Told(f"{MEDIA}['TIERS']['settings']['BACKND']", UNKNOWN, "Did you mean 'BACKEND'?"),
        id="tiers-named-as-tags-of-the-schema",
    ),
]  # fmt: skip
WAYS = 'Write "redirect", "stream", "x-accel-redirect" or "x-sendfile".'
A_PREFIX = 'Write a path such as "/protected/", with a slash at both ends.'
SECONDS_OR_ISO_OR_NONE = (
    'Write a duration such as "P7D" or a number of seconds, 1 or more, and 36500 days at most, or None.'
)
SECONDS_OR_ISO = 'Write a duration such as "PT1H" or a number of seconds, 1 or more, and 36500 days at most.'


def served(told: Told, *, id: str, **keys: Any) -> Any:
    """A mistake in how the files of a sound chain are served."""
    return chain({"TIERS": {"disk": disk()}, "URLS": "stable", **keys}, told, id=id)


def not_stable(key: str, value: Any) -> Any:
    return served(
        Told(
            MEDIA,
            f"{key} is for the stable URLs, which this chain does not have.",
            f'Write "URLS": "stable" beside it, or remove {key}.',
        ),
        **{"URLS": "tier", key: value},
        id=f"{key}-without-stable-urls",
    )


URLS = [
    served(
        Told(f"{MEDIA}['URLS']", "should be 'tier' or 'stable'.", 'Write "tier" or "stable".'),
        URLS="lasting",
        id="urls-of-another-kind",
    ),
    served(
        Told(
            f"{MEDIA}['SERVE']", "should be 'redirect', 'stream', 'x-accel-redirect' or 'x-sendfile'.", WAYS
        ),
        SERVE="X-Sendfile",
        id="served-in-another-way",
    ),
    served(
        Told(f"{MEDIA}['PRIVATE']", "is neither True nor False.", "Write True or False."),
        PRIVATE=1,
        id="private-1",
    ),
    *(
        served(
            Told(f"{MEDIA}['ACCEL_PREFIX']", "is not of the form that is asked for.", A_PREFIX),
            ACCEL_PREFIX=prefix,
            id=f"prefix-{name}",
        )
        for name, prefix in {
            "relative": "protected/",
            "without-end": "/protected",
            "of-two-words": "/a b/",
        }.items()
    ),
    served(
        Told(f"{MEDIA}['LINK_LIFETIME']", "should be greater than or equal to 1 second.", SECONDS_OR_ISO),
        LINK_LIFETIME=0,
        id="links-that-never-open",
    ),
    served(
        Told(f"{MEDIA}['LINK_LIFETIME']", "should be less than or equal to 36500 days.", SECONDS_OR_ISO),
        LINK_LIFETIME="P36501D",
        id="links-that-never-end",
    ),
    chain(
        {"TIERS": {"disk": disk(SHARED=False), "x": disk("x")}, "POLICY": "transfer", "TRASH": "P7D"},
        Told(
            MEDIA,
            "TRASH does not go with a tier that is not SHARED: what was deleted would lie on a host of many.",
            "Remove TRASH, or begin with a tier that all hosts reach.",
        ),
        id="trash-on-a-host-of-many",
    ),
    chain(
        {"TIERS": {"disk": disk()}, "TRASH": "P7D"},
        Told(
            MEDIA,
            "TRASH needs a POLICY: the catalog, which a chain without one does not have, knows what was deleted.",
            'Write "POLICY": "delayed", by which files stay where they are, or leave TRASH out.',
        ),
        id="trash-without-policy",
    ),
    chain(
        {"TIERS": {"disk": disk()}, "POLICY": "delayed", "TRASH": 0},
        Told(f"{MEDIA}['TRASH']", "should be greater than or equal to 1 second.", SECONDS_OR_ISO_OR_NONE),
        id="trash-that-keeps-nothing",
    ),
    not_stable("PRIVATE", True),
    not_stable("SERVE", "stream"),
    not_stable("LINK_LIFETIME", 60),
]
TWINS = [
    twins({"BACKEND": DISK, "OPTIONS": disk()["OPTIONS"] | {"base_url": "/media/"}}, disk(),
        id="same-folder-with-another-option"),
    twins(disk("a/"), disk("b/../a"), id="same-folder-spelt-otherwise"),
    twins({"BACKEND": DISK}, {"BACKEND": DISK, "OPTIONS": {"location": None}}, id="same-folder-by-default"),
    twins(disk(), {"BACKEND": DISK.replace("storage.F", "storage.filesystem.F"), "OPTIONS": disk()["OPTIONS"]},
        id="same-folder-by-another-class-path"),
    twins({"STORAGE": "default"}, disk("default"), id="same-folder-by-an-alias"),
    twins({"BACKEND": S3, "OPTIONS": {"bucket_name": "b"}},
        {"BACKEND": S3, "OPTIONS": {"bucket_name": "b", "object_parameters": {"StorageClass": "GLACIER"}}},
        id="same-bucket-with-another-class-of-storage"),
    twins({"BACKEND": S3, "OPTIONS": {"bucket_name": "b", "location": "/a/", "endpoint_url": "http://host/"}},
        {"BACKEND": "storages.backends.s3boto3.S3Boto3Storage",
            "OPTIONS": {"bucket_name": "b", "location": "a", "endpoint_url": "http://host"}},
        id="same-bucket-and-prefix-spelt-otherwise"),
    twins({"BACKEND": GCS, "OPTIONS": {"bucket_name": "b"}},
        {"BACKEND": GCS, "OPTIONS": {"bucket_name": "b", "default_acl": "private"}},
        id="same-bucket-of-google"),
    twins({"BACKEND": "storages.backends.ftp.FTPStorage"}, {"BACKEND": "storages.backends.ftp.FTPStorage"},
        id="same-server-by-settings"),
]  # fmt: skip
SHARED = [
    shared({"TIERS": {"disk": disk("c"), "x": disk("b/")}, "POLICY": "transfer"}, POLICY="transfer",
        id="two-chains-share-a-tier"),
    shared({"TIERS": {"x": disk("b")}}, POLICY="transfer", id="chain-without-policy-shares-a-tier"),
    shared({"TIERS": {"x": disk("b"), "vault": disk("c")}, "POLICY": "delayed"},
        id="chain-shares-a-tier-of-one-without-policy"),
    nested(disk(), disk("a/inner"), id="folder-in-a-folder"),
    nested(disk("a/inner"), disk(), id="folder-around-a-folder"),
    nested({"BACKEND": S3, "OPTIONS": {"bucket_name": "b"}},
        {"BACKEND": S3, "OPTIONS": {"bucket_name": "b", "location": "old"}}, id="prefix-in-a-bucket"),
]  # fmt: skip
POLICIES = [
    policy(
        "transfr",
        Told(IN_POLICY, "there is no policy 'transfr'.", "Did you mean 'transfer'?", E004),
        id="policy",
    ),
    policy("", Told(IN_POLICY, "there is no policy ''.", POLICY_NAMES, E004), id="policy-empty"),
    policy(3, Told(IN_POLICY, "is not a text.", POLICY_EXAMPLE), id="policy-number"),
    policy(["transfer"], Told(IN_POLICY, "is not a text.", POLICY_EXAMPLE), id="policy-list"),
    policy(
        "cool",
        Told(IN_POLICY, "there is no policy 'cool'.", "Did you mean 'cold'?", E004),
        policies={"cold": {"BACKEND": "transfer"}},
        id="named-policy-misspelt",
    ),
    policy(
        "nowhere.at.All",
        Told(
            IN_POLICY, "'nowhere.at.All' cannot be imported: No module named 'nowhere'.", POLICY_NAMES, E004
        ),
        id="policy-path",
    ),
    policy(
        "tests.policies.facts.File",
        Told(
            IN_POLICY,
            "'tests.policies.facts.File' is not a policy.",
            "Name a subclass of queued_storage.policies.Policy.",
            E004,
        ),
        id="policy-path-of-no-policy",
    ),
    policy(
        "tests.policies.policies.BigFilesLow",
        Told(
            IN_POLICY,
            "policy 'tests.policies.policies.BigFilesLow' needs options: 'limit'.",
            "Write it out, with its OPTIONS, in QUEUED_STORAGE_POLICIES, and give its name there.",
            E004,
        ),
        id="policy-path-that-needs-options",
    ),
    policy(
        {"BACKND": "transfer"},
        Told(f"{IN_POLICY}['BACKEND']", "is missing.", BACKEND_EXAMPLE),
        Told(f"{IN_POLICY}['BACKND']", UNKNOWN, "Did you mean 'BACKEND'?"),
        id="policy-backend-misspelt",
    ),
    policy(
        {"BACKEND": "transfer", "OPTIONS": {"aftr": "P1D"}},
        Told(f"{IN_POLICY}['OPTIONS']['aftr']", UNKNOWN, "Did you mean 'after'?", E004),
        id="policy-option-misspelt",
    ),
    policy(
        {"BACKEND": "transfer", "OPTIONS": {"to": "vault"}},
        Told(f"{IN_POLICY}['OPTIONS']['to']", "is not a list.", "Write a list of tier names.", E004),
        id="to-text",
    ),
    policy(
        {"BACKEND": "transfer", "OPTIONS": {"to": ["valut"]}},
        Told(IN_POLICY, "'to' names no tier of the chain: 'valut'.", "Did you mean 'vault'?", E004),
        id="to-misspelt",
    ),
    policy(
        {"BACKEND": "transfer", "OPTIONS": {"to": ["disk"]}},
        Told(IN_POLICY, "'to' names 'disk', which is the first tier.", "Known: 'vault'.", E004),
        id="to-the-first-tier",
    ),
    policy(
        {"BACKEND": "transfer", "OPTIONS": {"after": "soon", "verify": "md5"}},
        Told(
            f"{IN_POLICY}['OPTIONS']['verify']",
            "should be 'size' or 'content'.",
            'Write "size" or "content".',
            E004,
        ),
        Told(
            f"{IN_POLICY}['OPTIONS']['after']",
            "should be a valid timedelta, invalid digit in duration.",
            A_DURATION,
            E004,
        ),
        id="two-options-wrong",
    ),
    policy(
        {"BACKEND": "delayed", "OPTIONS": {"then": "delayed"}},
        Told(IN_POLICY, "'then' of a delayed policy names a delayed one, 'delayed'.", "Name another.", E004),
        id="delayed-twice",
    ),
    policy(
        {"BACKEND": "delayed", "OPTIONS": {"keep": 5}},
        Told(IN_POLICY, "policy 'transfer' has no option 'keep'.", "Remove it, or change 'then'.", E004),
        id="delayed-with-a-strange-option",
    ),
    chain(
        {"TIERS": {"disk": disk()}, "POLICY": "transfer-and-delete"},
        Told(
            IN_POLICY,
            "there is no writable tier below the first to move files to.",
            "Add one to TIERS.",
            E004,
        ),
        id="nowhere-to-move-to",
    ),
    chain(
        {"TIERS": {"disk": disk(), "x": disk("x", READ_ONLY=True)}, "POLICY": "transfer-and-delete"},
        Told(
            IN_POLICY,
            "there is no writable tier below the first to move files to.",
            "Add one to TIERS.",
            E004,
        ),
        id="only-read-only-tiers-to-move-to",
    ),
    policy(
        "transfer",
        Told("QUEUED_STORAGE_POLICIES", NOT_A_DICT, A_DICT_OF_DICTS.format("QUEUED_STORAGE_POLICIES")),
        policies=["transfer"],
        id="policies-list",
    ),
    policy(
        "transfer",
        Told("QUEUED_STORAGE_POLICIES['very cold']", BAD_NAME, A_NAME),
        policies={"very cold": {"BACKEND": "transfer"}},
        id="policy-name-with-a-space",
    ),
    cold(
        "transfer", Told(IN_COLD, NOT_A_DICT, "Write a dict with the keys BACKEND, OPTIONS."), id="named-text"
    ),
    cold({}, Told(f"{IN_COLD}['BACKEND']", "is missing.", BACKEND_EXAMPLE), id="named-without-backend"),
    cold(
        {"BACKEND": "transfer", "OPTION": {}},
        Told(f"{IN_COLD}['OPTION']", UNKNOWN, "Did you mean 'OPTIONS'?"),
        id="named-key-misspelt",
    ),
    cold(
        {"BACKEND": "transfer-and-delete", "OPTIONS": {"keeep": 1}},
        Told(f"{IN_COLD}['OPTIONS']['keeep']", UNKNOWN, "Did you mean 'keep'?", E004),
        id="named-option-misspelt",
    ),
    cold(
        {"BACKEND": "transfered"},
        Told(
            f"{IN_COLD}['BACKEND']",
            "'transfered' cannot be imported: transfered doesn't look like a module path.",
            "Did you mean 'transfer'?",
            E004,
        ),
        id="named-backend-misspelt",
    ),
    cold(
        {"BACKEND": "tests.policies.policies.Unfinished"},
        Told(
            f"{IN_COLD}['BACKEND']",
            "'tests.policies.policies.Unfinished' lacks place().",
            "Write it: it says on which tiers a file should lie.",
            E004,
        ),
        id="named-backend-unfinished",
    ),
    policy(
        "cold",
        Told(f"{IN_COLD}['OPTIONS']['aftr']", UNKNOWN, "Did you mean 'after'?", E004),
        policies={"cold": {"BACKEND": "transfer", "OPTIONS": {"aftr": 1}}},
        id="named-policy-told-once-though-a-chain-uses-it",
    ),
]
SEVERAL = [
    tiers(
        {
            "media": {"TIERS": {"disk": disk(), "x": {"BACKEND": DISK, "TIMEOUT": "5", "OPTION": {}}}},
            "papers": {"TIERS": {"disk": {"STORAGE": "defualt"}, "vault": disk("b")}, "POLICY": "transfr"},
            "my photos": {"TEIRS": {}},
        },
        Told(f"{X}['TIMEOUT']", "is not a number.", SECONDS),
        Told(f"{X}['OPTION']", UNKNOWN, "Did you mean 'OPTIONS'?"),
        Told("QUEUED_STORAGE_TIERS['my photos']", BAD_NAME, A_NAME),
        Told("QUEUED_STORAGE_TIERS['my photos']['TIERS']", "is missing.", TIERS_EXAMPLE),
        Told("QUEUED_STORAGE_TIERS['my photos']['TEIRS']", UNKNOWN, "Did you mean 'TIERS'?"),
        Told(
            "QUEUED_STORAGE_TIERS['papers']['TIERS']['disk']['STORAGE']",
            "STORAGES has no 'defualt'.",
            "Did you mean 'default'?",
            E002,
        ),
        Told(
            "QUEUED_STORAGE_TIERS['papers']['POLICY']",
            "there is no policy 'transfr'.",
            "Did you mean 'transfer'?",
            E004,
        ),
        id="seven-mistakes-in-three-chains",
    ),
    policy(
        "transfr",
        Told("QUEUED_STORAGE_POLICIES['warm']['BACKEND']", "is missing.", BACKEND_EXAMPLE),
        Told(f"{IN_COLD}['OPTIONS']['aftr']", UNKNOWN, "Did you mean 'after'?", E004),
        Told(IN_POLICY, "there is no policy 'transfr'.", "Did you mean 'transfer'?", E004),
        policies={"cold": {"BACKEND": "transfer", "OPTIONS": {"aftr": 1}}, "warm": {}},
        id="both-settings",
    ),
    tiers(
        {
            "media": {"TIERS": {"x": {"BACKEND": CHAIN, "OPTIONS": {"alias": "papers"}}}},
            "papers": {"TIERS": {"x": {"STORAGE": "loop"}}},
        },
        Told(f"{X}['BACKEND']", "leads back to this chain, 'media'.", "Name a storage that does not.", E002),
        Told(
            "QUEUED_STORAGE_TIERS['papers']['TIERS']['x']['STORAGE']",
            "leads back to this chain, 'papers'.",
            "Name a storage that does not.",
            E002,
        ),
        id="two-chains-in-each-other",
    ),
]

SEVERAL += [
    tiers(
        {"media": {"TIERS": {"disk": disk()}}, "Media": {"TIERS": {"disk": disk("b")}}},
        Told(
            "QUEUED_STORAGE_TIERS['Media']",
            "differs from chain 'media' in case alone.",
            "Give it another name: some databases take the two for one.",
        ),
        id="aliases-differ-in-case",
    ),
]

MISTAKES = [*THE_DICT, *CHAINS, *TIERS, *URLS, *TWINS, *POLICIES, *SEVERAL]

#: The aliases that the table speaks of.
STORAGES: Mapping[str, Any] = {
    "default": {"BACKEND": DISK, "OPTIONS": {"location": "/nowhere/default"}},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "loop": {"BACKEND": CHAIN, "OPTIONS": {"alias": "media"}},
}
