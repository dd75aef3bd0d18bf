"""The validated shapes of QUEUED_STORAGE_TIERS and QUEUED_STORAGE_POLICIES, and their mistakes in the user's words.

Options hold credentials: no message, ``repr`` or traceback of this module shows a value of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from django.conf import settings
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    StringConstraints,
    Tag,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

TIERS = "QUEUED_STORAGE_TIERS"
POLICIES = "QUEUED_STORAGE_POLICIES"
PREFIX = "QUEUED_STORAGE_"
#: Longest name of a file, in characters, that a chain takes.
MAX_NAME = 1024
#: For how long a deleted file can be kept.
SHORTEST_TRASH, LONGEST_TRASH = timedelta(seconds=1), timedelta(days=36_500)
#: For how long a signed link can open its file; nobody alive sees the end of the longest.
SHORTEST_LINK, LONGEST_LINK = timedelta(seconds=1), timedelta(days=36_500)

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
_NAME: TypeAdapter[str] = TypeAdapter(Name)
Options = Annotated[dict[str, Any], Field(default_factory=dict, repr=False)]
#: How ``queued_storage.urls`` answers for a file.
Serve = Literal["redirect", "stream", "x-accel-redirect", "x-sendfile"]


@dataclass(frozen=True)
class Problem:
    """One mistake: where it stands, what is wrong, what to write, and the id of its system check."""

    path: str
    message: str
    hint: str
    id: str = "queued_storage.E001"

    def __str__(self) -> str:
        return f"{self.path}: {self.message} {self.hint}".strip(": ")

    def inside(self, place: str) -> Problem:
        """Return the mistake as one at, or below, this place, unless it stands in a setting of its own."""
        if self.path.startswith(PREFIX):
            return self
        return replace(self, path=place + self.path.removeprefix("POLICY"))


class Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


AnyShape = TypeVar("AnyShape", bound=Shape)


#: Two times of the day.
_WINDOW = r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$"


Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class PriceSettings(Shape):
    """What a tier costs, for ``tiers simulate``, in any one currency; a gigabyte has 10**9 bytes."""

    #: For a gigabyte that lies there for a month.
    gb_month: Price = 0.0
    #: For 1,000 files that are written, and 1,000 that are read.
    put_1000: Price = 0.0
    get_1000: Price = 0.0
    #: For a gigabyte that is read from it.
    egress_gb: Price = 0.0


class TierSettings(Shape):
    """One tier: a storage of its own (BACKEND, OPTIONS) or an alias of Django's STORAGES (STORAGE)."""

    #: Dotted path of a storage class. A tier has either this or STORAGE.
    BACKEND: str | None = None
    #: The arguments of that class. They may hold credentials: no message of this package shows a value of them.
    OPTIONS: Options
    #: Alias of Django's STORAGES, in place of BACKEND and OPTIONS.
    STORAGE: str | None = None
    #: Read from it, never write to it or delete from it.
    READ_ONLY: StrictBool = False
    #: Only this chain writes there, so that no name is looked up there to find a free one.
    EXCLUSIVE: StrictBool = False
    #: False, of a first tier: each host has a disk of its own there, that no other host reaches. The catalog remembers
    #: which host has a file, and that host's workers move it.
    SHARED: StrictBool = True
    #: Seconds after which a read counts the tier as down; it is then skipped for DOWN_FOR seconds. None: whenever its
    #: client gives up.
    TIMEOUT: Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)] | None = None
    #: Of a disk. True: a save returns when the disk itself has the file. False: neither does a worker's copy wait for
    #: that, until another copy is to go. None: a save does not wait, a copy does.
    FSYNC: StrictBool | None = None
    #: What it costs, for ``tiers simulate`` alone: ``gb_month`` (a gigabyte for a month), ``put_1000`` and ``get_1000``
    #: (1,000 files written or read), ``egress_gb`` (a gigabyte that is read).
    PRICE: PriceSettings | None = None
    #: How many copies go to or from the tier at a time, in each worker process of each host: all of them together may
    #: make as many times that. Files that wait for it keep no thread from those of other tiers. None: THREADS to a disk
    #: or S3, elsewhere one for each message that the process works on.
    CONCURRENCY: Annotated[int, Field(ge=1, strict=True)] | None = None
    #: Bytes a second that copies to and from the tier take, all together, in each worker process of each host: all
    #: processes together may take as many times that. What a server copies by itself does not count. Without a
    #: CONCURRENCY four copies go on at a time, so that threads are left for other tiers.
    BANDWIDTH: Annotated[int, Field(ge=10_000, strict=True)] | None = None
    #: When copies to and from the tier begin, by the clock of TIME_ZONE: "22:00-06:00". Those that have begun are
    #: ended. Outside of it files stay pending, and are due when it opens.
    WINDOW: Annotated[str, StringConstraints(pattern=_WINDOW)] | None = None
    #: A small file in its root (``tiers identify`` writes it) proves that this is the right mount or bucket, before
    #: anything there is believed missing, copied there or deleted.
    IDENTITY: StrictBool = False
    #: How a file that lies there is served by its stable URL; None: as the chain's own SERVE says.
    SERVE: Serve | None = None

    @model_validator(mode="after")
    def has_a_window_that_opens(self) -> Self:
        if self.WINDOW is not None and self.WINDOW[:5] == self.WINDOW[6:]:
            raise PydanticCustomError(
                "empty_window",
                "WINDOW begins when it ends.",
                {"hint": "Write two different times, or leave WINDOW out: then copies begin at any time."},
            )
        return self

    @model_validator(mode="after")
    def names_one_storage(self) -> Self:
        if (self.BACKEND is None) == (self.STORAGE is None):
            raise PydanticCustomError(
                "one_storage",
                "a tier is either a BACKEND or a STORAGE.",
                {
                    "hint": 'Write "BACKEND": "dotted.path.of.a.Storage", or "STORAGE": "an alias of STORAGES".'
                },
            )
        if self.STORAGE is not None and self.OPTIONS:
            raise PydanticCustomError(
                "options_of_alias",
                "OPTIONS does not go with STORAGE.",
                {"hint": "Write the options into STORAGES, under that alias."},
            )
        return self


class PolicySettings(Shape):
    """A policy class by dotted path (or short name), and its options."""

    #: Dotted path of a policy class, or the short name of a built-in one.
    BACKEND: str
    #: The options of that policy.
    OPTIONS: Options


#: What pydantic says, in the place of a mistake, of the form of a policy that it took for meant.
_FORMS = ("(name)", "(settings)")


def _policy_form(value: Any) -> str:
    return _FORMS[isinstance(value, Mapping | PolicySettings)]


#: A policy's name, or the policy written out.
PolicyReference = Annotated[
    Annotated[str, Tag(_FORMS[0])] | Annotated[PolicySettings, Tag(_FORMS[1])], Discriminator(_policy_form)
]


class ChainSettings(Shape):
    """One chain: its tiers in order, and the policy of files whose field names no other."""

    #: The tiers by name, in order: saves go to the first, reads from top to bottom.
    TIERS: Annotated[dict[Name, TierSettings], Field(min_length=1)]
    #: Name of a policy, or one written out with BACKEND and OPTIONS. None: a plain read fallback, without rows.
    POLICY: PolicyReference | None = None
    #: A save that the first tier has no room for, or that finds it down, goes to the next writable tier.
    SPILL: StrictBool = False
    #: How many tiers hold a verified copy before a save returns. With more than 1 a save takes as long as the copies
    #: do, fails where they do, and replaces nothing.
    ACK: Annotated[int, Field(ge=1, strict=True)] = 1
    #: What ``url()`` gives: the URL of the tier that has the file, or one of ``queued_storage.urls`` that stays the
    #: same wherever the file moves.
    URLS: Literal["tier", "stable"] = "tier"
    #: How the stable URL answers. "redirect": leads to the tier's own URL. "stream": this process sends the bytes.
    #: "x-accel-redirect", "x-sendfile": nginx, or Apache and lighttpd, send the file of a tier with paths. A file of a
    #: tier that has none, no path or no URL, is streamed. None: "redirect", or "stream" where PRIVATE.
    SERVE: Serve | None = None
    #: Where nginx has its internal locations, one for each tier: ``<prefix><chain>/<tier>/``.
    ACCEL_PREFIX: Annotated[str, StringConstraints(pattern=r"^/([!-~]*/)?$")] = "/protected/"
    #: Only a signed link opens a file, for as long as it lasts; ``url()`` gives such links.
    PRIVATE: StrictBool = False
    #: For how long a signed link opens its file, from the moment that ``url()`` gave it.
    LINK_LIFETIME: Annotated[timedelta, Field(ge=SHORTEST_LINK, le=LONGEST_LINK)] = timedelta(hours=1)

    #: For how long a deleted file can be brought back by ``tiers restore``. None: a delete is final.
    TRASH: Annotated[timedelta, Field(ge=SHORTEST_TRASH, le=LONGEST_TRASH)] | None = None

    @property
    def serve(self) -> Serve:
        """How its files are served: a private chain tells no URL of a tier unless it says so."""
        return self.SERVE or ("stream" if self.PRIVATE else "redirect")

    @model_validator(mode="after")
    def serves_only_stable_urls(self) -> Self:
        keys = [
            key
            for key in ("SERVE", "ACCEL_PREFIX", "PRIVATE", "LINK_LIFETIME")
            if getattr(self, key) != type(self).model_fields[key].default
        ]
        keys += ["SERVE" for tier in self.TIERS.values() if tier.SERVE is not None]
        if self.URLS != "stable" and keys:
            raise PydanticCustomError(
                "not_served",
                "{key} is for the stable URLs, which this chain does not have.",
                {"key": keys[0], "hint": f'Write "URLS": "stable" beside it, or remove {keys[0]}.'},
            )
        return self

    @model_validator(mode="after")
    def leaves_its_host(self) -> Self:
        own = [name for name, tier in self.TIERS.items() if not tier.SHARED]
        if not own:
            return self
        first, *lower = self.TIERS
        if own != [first]:
            raise PydanticCustomError(
                "own_below",
                "tier {tier} is not SHARED, which only the first tier can be.",
                {
                    "tier": repr(own[-1]),
                    "hint": "Remove its SHARED, and let it be a tier that all hosts reach.",
                },
            )
        if self.POLICY is None:
            raise PydanticCustomError(
                "own_without_policy",
                "a tier that is not SHARED needs a POLICY: without a catalog nobody knows which host has a file.",
                {"hint": 'Write "POLICY": "transfer-and-delete", or another policy\'s name.'},
            )
        if self.TRASH is not None:
            raise PydanticCustomError(
                "own_trash",
                "TRASH does not go with a tier that is not SHARED: what was deleted would lie on a host of many.",
                {"hint": "Remove TRASH, or begin with a tier that all hosts reach."},
            )
        if all(self.TIERS[name].READ_ONLY for name in lower):
            raise PydanticCustomError(
                "own_alone",
                "a tier that is not SHARED needs a writable tier below it, or its files can never leave their host.",
                {"hint": "Add a tier that all hosts reach, or remove SHARED."},
            )
        return self

    @model_validator(mode="after")
    def can_be_written(self) -> Self:
        first, tier = next(iter(self.TIERS.items()))
        if self.POLICY is not None and tier.READ_ONLY:
            raise PydanticCustomError(
                "read_only_first",
                "the first tier, {tier}, takes the saves and cannot be READ_ONLY where there is a POLICY.",
                {"tier": repr(first), "hint": 'Put a writable tier first, or write "POLICY": None.'},
            )
        if self.ACK > 1 and self.POLICY is None:
            raise PydanticCustomError(
                "ack_without_policy",
                "ACK needs a POLICY that wants the copies.",
                {"hint": 'Write "POLICY": "mirror", another policy, or leave ACK out.'},
            )
        if self.TRASH is not None and self.POLICY is None:
            raise PydanticCustomError(
                "trash_without_policy",
                "TRASH needs a POLICY: the catalog, which a chain without one does not have, knows what was deleted.",
                {
                    "hint": 'Write "POLICY": "delayed", by which files stay where they are, or leave TRASH out.'
                },
            )
        writable = sum(not tier.READ_ONLY for tier in self.TIERS.values())
        if max(writable, 1) < self.ACK:
            raise PydanticCustomError(
                "ack_of_more_than_all",
                "ACK is {ack}, and {writable} of the tiers can be written to.",
                {"ack": self.ACK, "writable": writable, "hint": "Lower ACK, or add a tier."},
            )
        return self


class GeneralSettings(Shape):
    """The ``QUEUED_STORAGE_…`` settings beside the two dicts; they are used as they stand, so "5" is no number."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    RETRIES: Annotated[int, Field(ge=0)]
    RETRY_DELAY: Annotated[float, Field(ge=0)]
    RETRY_MAX_DELAY: Annotated[float, Field(ge=0)]
    CACHE_PREFIX: str
    CACHE: str
    DISPATCHER: str
    QUEUE: str | None
    LEASE: Annotated[float, Field(gt=0)]
    ATTEMPT_LIMIT: Annotated[float, Field(gt=0)]
    DEADLINE: Annotated[float, Field(gt=0)]
    DOWN_FOR: Annotated[float, Field(ge=0)]
    SWEEP_INTERVAL: Annotated[float, Field(gt=0)] | None
    BATCH: Annotated[int, Field(ge=1)]
    FAST_PATHS: bool
    THREADS: Annotated[int, Field(ge=1)]
    HISTORY: Annotated[float, Field(ge=0)]
    SAMPLES: Annotated[float, Field(ge=0)]
    HOST: Name | None
    HOSTS: dict[Name, Annotated[str, StringConstraints(pattern=r"^https?://[^/?#\s]+(/[^?#\s]*)?$")]]
    HOST_SILENT: Annotated[float, Field(gt=0)]


def read_chains() -> tuple[dict[str, ChainSettings], list[Problem]]:
    """Return the chains that can be read from the settings, and every mistake in the others."""
    return _read(TIERS, ChainSettings)


def read_policies() -> tuple[dict[str, PolicySettings], list[Problem]]:
    """Return the named policies that can be read from the settings, and every mistake in the others."""
    return _read(POLICIES, PolicySettings)


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Return a sentence that names the nearest known word, or all of them where none is near."""
    words = sorted(known)
    folded = {known_word.casefold(): known_word for known_word in words}
    near = difflib.get_close_matches(str(word).casefold(), folded, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {folded[near[0]]!r}?"
    return f"Known: {', '.join(map(repr, words))}." if words else "None is defined."


def option_problems(path: str, shape: type[BaseModel], error: ValidationError) -> list[Problem]:
    """Tell each mistake that pydantic found below the setting at ``path``."""
    return [
        _problem(path, shape, detail)
        for detail in error.errors(include_input=False, include_url=False, include_context=True)
    ]


def _read(setting: str, shape: type[AnyShape]) -> tuple[dict[str, AnyShape], list[Problem]]:
    value = getattr(settings, setting, {})
    if not isinstance(value, Mapping):
        return {}, [Problem(setting, "is not a dict.", f"Write {setting} = {{name: {{…}}, …}}.")]
    shapes: dict[str, AnyShape] = {}
    problems: list[Problem] = []
    for name, given in value.items():
        path = f"{setting}[{name!r}]"
        found = _mistakes(path, shape, lambda name=name: _NAME.validate_python(name))  # type: ignore[misc]
        found += _mistakes(path, shape, lambda given=given: shape.model_validate(given))  # type: ignore[misc]
        if not found:
            shapes[name] = shape.model_validate(given)
        problems += found
    return shapes, problems


def _mistakes(path: str, shape: type[BaseModel], validate: Callable[[], object]) -> list[Problem]:
    try:
        validate()
    except ValidationError as error:
        return option_problems(path, shape, error)
    return []


def _problem(path: str, shape: type[BaseModel], detail: ErrorDetails) -> Problem:
    keys = [key for key in detail["loc"] if key not in _FORMS]
    where = _setting_path(path, keys)
    kind, message = detail["type"], detail["msg"]
    if kind == "extra_forbidden":
        return Problem(where, "unknown key.", did_you_mean(keys[-1], _keys_beside(shape, keys)))
    if kind == "missing":
        return Problem(where, "is missing.", _what_to_write(shape, keys))
    if kind.startswith("string_") and _is_name(keys):
        return Problem(where, "is not a usable name.", "Use letters, digits, '_', '-' and '.', 64 at most.")
    if "hint" in detail.get("ctx", {}):
        return Problem(where, message, detail["ctx"]["hint"])
    told = _IN_WORDS.get(kind) or f"{message.removeprefix('Input ')}."
    return Problem(where, told, _what_to_write(shape, keys))


def _is_name(keys: list[int | str]) -> bool:
    """Tell whether the mistake is in the name of a chain, policy or tier itself."""
    return not keys or (keys[0] == "TIERS" and keys[2:] == ["[key]"])


def _setting_path(path: str, keys: list[int | str]) -> str:
    if path == PREFIX:
        return f"{PREFIX}{keys[0]}"
    return path + "".join(f"[{key!r}]" for key in keys if key != "[key]")


def _what_to_write(shape: type[BaseModel], keys: list[int | str]) -> str:
    field = _around(shape, keys)[1]
    if field is not None and field.examples:
        return f"Write {field.examples[0]}."
    for key in reversed(keys):
        if key in _EXAMPLES:
            return f"Write {_EXAMPLES[str(key)]}."
    if issubclass(shape, Shape):
        return f"Write a dict with the keys {', '.join(_keys_beside(shape, [*keys, '']))}."
    options = ", ".join(map(repr, sorted(shape.model_fields)))
    return f"Correct it: {shape.__name__} takes the options {options}."


def _keys_beside(shape: type[BaseModel], keys: list[int | str]) -> Iterable[str]:
    """Return the keys that the model around an unknown key does know."""
    return _around(shape, keys)[0].model_fields


def _around(shape: type[BaseModel], keys: list[int | str]) -> tuple[type[BaseModel], FieldInfo | None]:
    """Return the model in which the last of the keys stands, and the field that is, or holds, what is there."""
    field = None
    for key in keys:
        if isinstance(key, str) and key in shape.model_fields:
            field = shape.model_fields[key]
            inner = _model_in(field.annotation)
            if inner is not None and key is not keys[-1]:
                shape = inner
    return shape, field


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


_IN_WORDS = {
    "bool_type": "is neither True nor False.",
    "dict_type": "is not a dict.",
    "float_type": "is not a number.",
    "int_type": "is not a whole number.",
    "model_type": "is not a dict.",
    "string_pattern_mismatch": "is not of the form that is asked for.",
    "string_type": "is not a text.",
    "too_short": "is empty.",
    "tuple_type": "is not a list.",
}
_EXAMPLES = {
    "TIERS": '"TIERS": {"disk": {"BACKEND": "django.core.files.storage.FileSystemStorage"}}',
    "BACKEND": '"BACKEND": "dotted.path.of.a.class"',
    "OPTIONS": '"OPTIONS": {…}, a dict of arguments',
    "STORAGE": '"STORAGE": "an alias of STORAGES"',
    "READ_ONLY": "True or False",
    "EXCLUSIVE": "True or False",
    "SHARED": "True or False",
    "FSYNC": "True or False, or leave it out",
    "IDENTITY": "True or False",
    "BANDWIDTH": "a whole number of bytes a second, 10000 or more, or None",
    "WINDOW": 'two times of the day, "22:00-06:00" say, or None',
    "gb_month": "a price, 0 or more",
    "put_1000": "a price, 0 or more",
    "get_1000": "a price, 0 or more",
    "egress_gb": "a price, 0 or more",
    "PRICE": '"PRICE": {"gb_month": 0.023, "put_1000": 0.005, "get_1000": 0.0004, "egress_gb": 0.09}',
    "CONCURRENCY": "a whole number of copies at a time, 1 or more, or None",
    "SPILL": "True or False",
    "ACK": "a whole number of tiers, 1 or more",
    "URLS": '"tier" or "stable"',
    "SERVE": '"redirect", "stream", "x-accel-redirect" or "x-sendfile"',
    "ACCEL_PREFIX": 'a path such as "/protected/", with a slash at both ends',
    "PRIVATE": "True or False",
    "TRASH": 'a duration such as "P7D" or a number of seconds, 1 or more, and 36500 days at most, or None',
    "LINK_LIFETIME": 'a duration such as "PT1H" or a number of seconds, 1 or more, and 36500 days at most',
    "TIMEOUT": "a number of seconds above 0, or None",
    "POLICY": '"POLICY": "transfer-and-delete", another policy\'s name, or None',
    "to": "a list of tier names",
    "after": 'a duration such as "P30D", "PT1H" or a number of seconds',
    "keep": 'a duration such as "P30D", "PT1H" or a number of seconds',
    "verify": '"size" or "content"',
    "then": "the name of a policy",
    "RETRIES": "a whole number of retries, 0 or more",
    "RETRY_DELAY": "a number of seconds, 0 or more",
    "RETRY_MAX_DELAY": "a number of seconds, 0 or more",
    "CACHE_PREFIX": "a text",
    "CACHE": "an alias of CACHES",
    "DISPATCHER": "the dotted path of a dispatcher class",
    "QUEUE": "the name of a queue, or None",
    "LEASE": "a number of seconds above 0",
    "ATTEMPT_LIMIT": "a number of seconds above 0",
    "DEADLINE": "a number of seconds above 0",
    "DOWN_FOR": "a number of seconds, 0 or more",
    "SWEEP_INTERVAL": "a number of seconds above 0, or None",
    "BATCH": "a whole number of files, 1 or more",
    "FAST_PATHS": "True or False",
    "THREADS": "a whole number of threads, 1 or more",
    "HISTORY": "a number of days, 0 or more",
    "SAMPLES": "a number of days, 0 or more",
    "HOST": "letters, digits, '_', '-' and '.', 64 at most, or None",
    "HOSTS": '{"web1": "http://web1.internal:8000"}, by what each host calls itself in QUEUED_STORAGE_HOST',
    "HOST_SILENT": "a number of seconds above 0",
}
