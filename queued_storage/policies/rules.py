from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from queued_storage.schema import PolicyReference

from .base import FileFacts, Limit, Placement, Policy, PolicyError, where_it_is
from .registry import bind_policy, get_policy


def _as_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


#: One pattern as the shell's, or several of which one has to fit; "*" stands for "/" too, and cases are one.
Patterns = Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(min_length=1)]
Bytes = Annotated[int, Field(ge=0)]

_SIZE = "a number of bytes: 10 * 2**20 is 10 MiB"
_POLICY = '"policy": "transfer", or another policy\'s name'


class Rule(BaseModel):
    """Conditions, all of which a file has to meet, and the policy that then decides."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    #: Of the whole name, folders and all.
    name: Patterns = Field((), examples=['"*.mp4", or a list of such patterns'])
    #: As the upload told it, without parameters; where that told none, as the name's extension says.
    content_type: Patterns = Field((), examples=['"video/*", or a list of such patterns'])
    #: In bytes. A file whose size is not known is neither larger nor smaller.
    larger_than: Bytes | None = Field(None, examples=[_SIZE])
    smaller_than: Bytes | None = Field(None, examples=[_SIZE])
    policy: PolicyReference = Field(examples=[_POLICY])

    @model_validator(mode="after")
    def can_apply(self) -> Self:
        if not self.model_fields_set - {"policy"}:
            raise PydanticCustomError(
                "rule_without_condition",
                "has no condition.",
                {
                    "hint": "Write 'name', 'content_type', 'larger_than' or 'smaller_than'; the policy of every other "
                    "file is the option 'default', after the rules."
                },
            )
        low, high = self.larger_than, self.smaller_than
        if low is not None and high is not None and high - low < 2:
            raise PydanticCustomError(
                "rule_of_no_size",
                "no size is larger than {low} and smaller than {high}.",
                {"low": low, "high": high, "hint": "Correct one of the two."},
            )
        return self

    def applies_to(self, file: FileFacts) -> bool:
        if self.larger_than is not None and not (file.size is not None and file.size > self.larger_than):
            return False
        if self.smaller_than is not None and not (file.size is not None and file.size < self.smaller_than):
            return False
        return _fits(self.name, file.name) and (
            not self.content_type or _fits(self.content_type, _kind(file))
        )


def _fits(patterns: tuple[str, ...], text: str) -> bool:
    return not patterns or any(fnmatchcase(text.casefold(), pattern.casefold()) for pattern in patterns)


def _kind(file: FileFacts) -> str:
    told = file.content_type or mimetypes.guess_type(file.name)[0] or ""
    return told.partition(";")[0].strip()


class Rules(Policy):
    """Have the first rule that applies to a file say which policy decides for it."""

    #: The rules, each with one or more conditions and a policy; the first of which all conditions hold decides.
    rules: Annotated[tuple[Rule, ...], Field(min_length=1)] = Field(
        examples=['"rules": [{"name": "*.mp4", "policy": "transfer-and-delete"}, …]']
    )
    #: The policy of files to which no rule applies; None leaves them where they are.
    default: PolicyReference | None = Field(
        None, examples=['"default": "transfer", or another policy\'s name']
    )

    #: The policies of the rules and the default, as they act on a chain; () is of a policy that acts on none yet.
    _bound: tuple[Policy | None, ...] = PrivateAttr(default=())

    def place(self, file: FileFacts, tiers: Sequence[str], now: datetime) -> Placement:
        policy = self._policy_of(file)
        return where_it_is(file, tiers) if policy is None else policy.place(file, tiers, now)

    def for_file(self, file: FileFacts) -> Policy:
        policy = self._policy_of(file)
        return self if policy is None else policy.for_file(file)

    @property
    def first_tier_limit(self) -> Limit | None:
        limits = (policy.first_tier_limit for policy in self._bound if policy is not None)
        return min((limit for limit in limits if limit is not None), default=None)

    @property
    def promotes(self) -> bool:
        return any(policy.promotes for policy in self._bound if policy is not None)

    def _policy_of(self, file: FileFacts) -> Policy | None:
        number = next((i for i, rule in enumerate(self.rules) if rule.applies_to(file)), len(self.rules))
        if self._bound:
            return self._bound[number]
        reference = self._references[number][1]
        return None if reference is None else get_policy(reference)

    def bind(self, tiers: Sequence[str], writable: Sequence[str]) -> Self:
        # As with the other options of the kind: what is written here holds for all that are named here.
        given = self.model_dump(include={"verify"}, exclude_unset=True)
        policies: list[Policy | None] = []
        problems = []
        for place, reference in self._references:
            try:
                policies.append(None if reference is None else bind_policy(reference, tiers, writable, given))
            except PolicyError as error:
                problems += [problem.inside(place) for problem in error.problems]
        if problems:
            raise PolicyError("", problems=problems)
        bound = self.model_copy()
        bound._bound = tuple(policies)
        return bound

    @property
    def _references(self) -> list[tuple[str, PolicyReference | None]]:
        """Each policy that is named here, with where it stands among the options."""
        of_rules = [(f"['rules'][{i}]['policy']", rule.policy) for i, rule in enumerate(self.rules)]
        return [*of_rules, ("['default']", self.default)]
