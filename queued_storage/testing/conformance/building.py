"""What a storage lets be known of how it was built."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import Storage
from django.utils.module_loading import import_string

from queued_storage import credentials, traits

from . import arranging
from .behaviour import Behaviours, NotAsked
from .contents import SMALL
from .subject import Candidate, Subject

BUILDING = Behaviours()
#: Takes the place of every credential in the options.
SENTINEL = "conformance-sentinel-0123456789abcdef"
#: The login in a URL.
_LOGIN = re.compile(r"(://[^/:@\s]*):[^@\s]*@")


@BUILDING.add("lower")
def deconstruct(subject: Subject) -> None:
    """deconstruct() returns the path and the arguments of a storage that has the same files."""
    storage: Any = subject.storage
    should = "return the path of the class and the arguments: decorate it with django.utils.deconstruct.deconstructible"
    if not hasattr(storage, "deconstruct"):
        raise subject.misbehaves("the storage has no deconstruct()", should)
    path, args, kwargs = subject.call("deconstruct", should=should)
    call = "building the storage again from what deconstruct() returned"
    twin = subject.demand(call, "work", lambda: import_string(path)(*args, **kwargs))
    if not isinstance(twin, Storage):
        raise subject.misbehaves(f"deconstruct() returned the path {path!r}, which is no storage's", should)
    if traits.keeps_content_in_instance(type(storage)):
        return  # it has no file but its own
    name = subject.put("twin.txt", SMALL)
    call = f"exists({subject.told(name)}) of the storage that deconstruct() describes"
    if not subject.demand(call, "be True", lambda: twin.exists(name)):
        raise subject.misbehaves(f"{call} returned False", "be True: it should be the same storage")


@BUILDING.add()
def secrets(subject: Subject) -> None:
    """What a chain raises where the login is refused prints no password or key of the storage's options."""
    with arranging.as_tier(locked_out(subject.candidate), subject.role) as other:
        name, chain = other.name("secret.txt"), other.chain
        _require_discretion(other, "open()", lambda: chain.open(name).close())
        _require_discretion(other, "exists()", lambda: chain.exists(name))
        _require_discretion(other, "size()", lambda: chain.size(name))
        if other.role == "first":
            _require_discretion(other, "save()", lambda: chain.save(name, ContentFile(SMALL)))


def locked_out(candidate: Candidate) -> Candidate:
    """Return the candidate with wrong credentials; raise NotAsked where its options hold none."""
    tier = candidate.tier()
    options = tier.get("OPTIONS", {})
    if (spoiled := _spoiled(options)) == options:
        raise NotAsked("no option holds a credential")
    return replace(candidate, storage={**tier, "OPTIONS": spoiled})


def _require_discretion(subject: Subject, told: str, call: Callable[[], object]) -> None:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - it is looked at
        if SENTINEL in "".join(traceback.format_exception(error)):
            raise subject.misbehaves(
                f"{told} with a wrong password or key raised {type(error).__name__}, whose text prints that",
                "raise an error that holds no option's value",
            ) from None


def _spoiled(value: Any, *, hidden: bool = False) -> Any:
    """Return the options with a sentinel in place of every credential."""
    if isinstance(value, Mapping):
        return {key: _spoiled(item, hidden=hidden or _is_hidden(str(key))) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_spoiled(item, hidden=hidden) for item in value)
    if not isinstance(value, str):
        return value
    return SENTINEL if hidden else _LOGIN.sub(rf"\g<1>:{SENTINEL}@", value)


def _is_hidden(option: str) -> bool:
    return credentials.NAMES.search(option) is not None and option not in credentials._TELLABLE
