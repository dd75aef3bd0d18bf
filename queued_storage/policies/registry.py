"""From the name of a policy, as settings and fields write it, to the policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from inspect import isabstract
from typing import Any

from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import import_string
from pydantic import ValidationError

from queued_storage.schema import (
    POLICIES,
    PolicySettings,
    Problem,
    did_you_mean,
    option_problems,
    read_policies,
)

from .base import Policy, PolicyError

SHORT_NAMES = {
    "transfer": "queued_storage.policies.Transfer",
    "transfer-and-delete": "queued_storage.policies.TransferAndDelete",
    "delayed": "queued_storage.policies.Delayed",
    "rules": "queued_storage.policies.Rules",
    "mirror": "queued_storage.policies.Mirror",
    "watermark": "queued_storage.policies.Watermark",
}

#: What a name with such a prefix stands for: a policy, and the option that the rest of the name is.
PREFIXES = {
    "delayed": ("queued_storage.policies.Delayed", "then"),
    "task": ("queued_storage.policies.Delegated", "task"),
}


def get_policy(reference: str | PolicySettings) -> Policy:
    """Return the policy of a name, a dotted path or written-out settings; raise PolicyError."""
    if isinstance(reference, PolicySettings):
        return _build("POLICY", reference)
    return _named(reference)


def bind_policy(
    reference: str | PolicySettings,
    tiers: Sequence[str],
    writable: Sequence[str],
    given: Mapping[str, Any] | None = None,
) -> Policy:
    """Return the policy as it acts on a chain, with the options that are given in place of its own.

    Raise PolicyError where it cannot, and where policies that name others lead back to this one.
    """
    if isinstance(reference, PolicySettings):
        return _bind(reference, "POLICY", tiers, writable, given)
    with binding(reference):
        return _bind(reference, f"{POLICIES}[{reference!r}]", tiers, writable, given)


def _bind(
    reference: str | PolicySettings,
    path: str,
    tiers: Sequence[str],
    writable: Sequence[str],
    given: Mapping[str, Any] | None,
) -> Policy:
    policy = get_policy(reference)
    try:
        return (policy.model_copy(update=given) if given else policy).bind(tiers, writable)
    except PolicyError as error:
        # Only this knows where the options stand that the policy speaks of.
        problems = [each.inside(f"{path}['OPTIONS']") if each.path else each for each in error.problems]
        raise PolicyError("", problems=problems) from None


_being_bound: ContextVar[tuple[str, ...]] = ContextVar("queued_storage_policies_being_bound", default=())


@contextmanager
def binding(name: str) -> Iterator[None]:
    """Note that the policy of this name is being bound, for those that it names; raise PolicyError if it is already."""
    outer = _being_bound.get()
    if name in outer:
        way = " → ".join(map(repr, (*outer[outer.index(name) :], name)))
        raise PolicyError(f"leads back to itself: {way}.", "Name a policy that does not.")
    token = _being_bound.set((*outer, name))
    try:
        yield
    finally:
        _being_bound.reset(token)


@lru_cache(maxsize=256)
def _named(name: str) -> Policy:
    named, problems = read_policies()
    path = f"{POLICIES}[{name!r}]"
    if name in named:
        return _build(path, named[name])
    if own := [problem for problem in problems if problem.path.startswith(path)]:
        raise PolicyError("", problems=own)
    prefix, _, rest = name.partition(":")
    if rest and prefix in PREFIXES:
        backend, option = PREFIXES[prefix]
        return _build(f"policy {name!r}", PolicySettings(BACKEND=backend, OPTIONS={option: rest}))
    if name in SHORT_NAMES or "." in name:
        return _bare(name)
    raise PolicyError(f"there is no policy {name!r}.", did_you_mean(name, [*SHORT_NAMES, *named]))


def _build(path: str, config: PolicySettings) -> Policy:
    policy_class = _import(path, config.BACKEND)
    try:
        return policy_class.model_validate(config.OPTIONS)
    except ValidationError as error:
        problems = option_problems(f"{path}['OPTIONS']", policy_class, error)
        raise PolicyError("", problems=problems) from None


def _bare(name: str) -> Policy:
    try:
        return _import("", name)()
    except ValidationError as error:
        missing = ", ".join(repr(detail["loc"][0]) for detail in error.errors(include_input=False))
        hint = f"Write it out, with its OPTIONS, in {POLICIES}, and give its name there."
        raise PolicyError(f"policy {name!r} needs options: {missing}.", hint) from None


def _import(path: str, backend: str) -> type[Policy]:
    dotted = SHORT_NAMES.get(backend, backend)
    try:
        policy_class = import_string(dotted)
    except ImportError as error:
        message = f"{backend!r} cannot be imported: {str(error).rstrip('.')}."
        raise _wrong_backend(path, message, did_you_mean(backend, SHORT_NAMES)) from error
    if not (isinstance(policy_class, type) and issubclass(policy_class, Policy)):
        hint = "Name a subclass of queued_storage.policies.Policy."
        raise _wrong_backend(path, f"{backend!r} is not a policy.", hint)
    if isabstract(policy_class):
        hint = "Write it: it says on which tiers a file should lie."
        raise _wrong_backend(path, f"{backend!r} lacks place().", hint)
    return policy_class


def _wrong_backend(path: str, message: str, hint: str) -> PolicyError:
    return PolicyError("", problems=[Problem(f"{path}['BACKEND']" if path else "", message, hint)])


@receiver(setting_changed, dispatch_uid="queued_storage.policies")
def forget_policies(*, setting: str, **_: Any) -> None:
    if setting == POLICIES:
        _named.cache_clear()
