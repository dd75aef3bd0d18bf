"""Identity: a small file in a tier's root proves that the mount or bucket is the one that was meant.

The catalog keeps what the file says. A tier on which that cannot be read is never believed to lack a file, and nothing
is deleted there: an empty folder under a missing mount looks like a tier that has lost everything.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal
from weakref import WeakKeyDictionary

from django.core.files.base import ContentFile
from django.utils import timezone

from . import catalog, conf, outage, streams, traits
from .chain import Chain
from .exceptions import NotIdentified, PermanentFailure, WrongPlace
from .names import IDENTITY
from .tier import Tier

#: Seconds for which a process goes by what the catalog said; and by what it last saw on a tier that is not a disk here:
#: a server's bucket is not exchanged under a running process as a mount is.
KNOWN_FOR = 60.0
SEEN_FOR = 30.0
#: Files of which one has to be there before a place is taken for the right one.
SAMPLE = 10
#: Bytes of which an identity file has less.
LENGTH = 4096


class _Memo:
    """What this process knows of a tier; times are those of ``time.monotonic()``."""

    def __init__(self) -> None:
        self.expected: str | None = None
        self.asked_at: float | None = None
        self.seen_at = float("-inf")


_memos: WeakKeyDictionary[Tier, _Memo] = WeakKeyDictionary()


def load(chain: Chain) -> None:
    """Ask the catalog what the tiers are known by, unless that was asked a moment ago: ``require`` does not, then.

    Call it where the catalog may be asked; most chains have no such tier, and no query is made for those.
    """
    tiers = [tier for tier in chain if tier.has_identity]
    now = time.monotonic()
    if any(_is_old(_memo(tier), now) for tier in tiers):
        expected = catalog.identities(chain.alias)
        for tier in tiers:
            memo = _memo(tier)
            memo.expected, memo.asked_at = expected.get(_key(tier)), now


def require(tier: Tier, *, fresh: bool = False) -> None:
    """Raise WrongPlace unless the tier is what it was when it was identified; TierUnavailable if it does not tell.

    A tier without IDENTITY, or that nobody has identified yet, is taken for the right one. ``fresh`` has the tier
    looked at in any case: before something is believed that cannot be taken back.
    """
    if not tier.has_identity:
        return
    memo = _memo(tier)
    if memo.asked_at is None:
        memo.expected, memo.asked_at = catalog.identities(tier.chain).get(_key(tier)), time.monotonic()
    if memo.expected is None or (not fresh and _was_seen(tier, memo)):
        return
    try:
        _compare(tier, memo.expected)
    except WrongPlace:
        memo.asked_at, memo.seen_at = (
            float("-inf"),
            float("-inf"),
        )  # it may have been accepted meanwhile: see load()
        raise
    memo.seen_at = time.monotonic()


def holds(tier: Tier) -> bool:
    """Tell what ``require`` would raise WrongPlace for."""
    try:
        require(tier)
    except WrongPlace:
        return False
    return True


def require_each(chain: Chain, tiers: Iterable[str] | None = None) -> None:
    """Raise what ``require`` raises of these tiers (or all); and NotIdentified where none was identified yet."""
    wanted = [tier for tier in chain if tier.has_identity and (tiers is None or tier.name in tiers)]
    known = catalog.identities(chain.alias) if wanted else {}
    for tier in wanted:
        if _key(tier) not in known:
            raise NotIdentified(chain.alias, tier.name)
        _compare(tier, known[_key(tier)])


def unidentified(chain: Chain) -> list[str]:
    """Return the tiers with IDENTITY that nobody has identified."""
    tiers = [tier for tier in chain if tier.has_identity]
    known = catalog.identities(chain.alias) if tiers else {}
    return [tier.name for tier in tiers if _key(tier) not in known]


@dataclass(frozen=True)
class Identified:
    """What ``identify`` did with a tier."""

    tier: str
    #: "known": the file is there, as it was. "written": it was not, and is now. "accepted": the catalog goes by the one
    #: that was found there from now on.
    result: Literal["known", "written", "accepted"]


def identify(
    chain: Chain, names: Iterable[str] | None = None, *, accept: bool = False
) -> Iterator[Identified]:
    """Write the identity files that lack of the tiers with IDENTITY; yield what was done with each tier.

    Raise WrongPlace where a file is there that the catalog does not know, or one is not that it knows, or where none of
    the tier's own files is there; ``accept`` takes the place for the right one. Run again, it changes nothing.
    """
    for tier in chain:
        if tier.has_identity and (names is None or tier.name in names):
            with catalog.changing_chain(chain.alias) as known:
                expected, found = known.identities.get(_key(tier)), _read(tier)
                _require_own(tier, found, known.identities)
                result = _settle(tier, expected, found, accept=accept)
                known.identities[_key(tier)] = found or _write(tier, expected)
            _memos.pop(tier, None)
            yield Identified(tier.name, result)


def _key(tier: Tier) -> str:
    """Return by what the catalog knows the tier: one that is not SHARED is another place on each host."""
    return tier.name if tier.shared else f"{tier.name}@{conf.host()}"


def _require_own(tier: Tier, found: str | None, known: Mapping[str, str]) -> None:
    """Raise WrongPlace where a tier that should be each host's own is one that another host has as well."""
    if tier.shared or found is None:
        return
    for key, told in known.items():
        name, _, host = key.partition("@")
        if name == tier.name and host not in ("", conf.host()) and told == found:
            raise WrongPlace(tier.chain, tier.name, f"it is the disk of host {host!r} too: leave SHARED out.")


def _settle(
    tier: Tier, expected: str | None, found: str | None, *, accept: bool
) -> Literal["known", "written", "accepted"]:
    if found is not None and found == expected:
        return "known"
    if expected != found and not accept:
        _refuse(tier, expected, found)
    if found is None and not accept:
        _require_known_files(tier)
    return "written" if found is None else "accepted"


def _require_known_files(tier: Tier) -> None:
    """Raise WrongPlace where none of the files is there that were counted on last: it may be an empty mount point."""
    names = catalog.held_lately(tier.chain, tier.name, SAMPLE) if tier.shared else []
    if names and not any(outage.ask(tier, partial(tier.storage.exists, name)) for name in names):
        told = f"it lacks all of the {len(names)} files looked at that the catalog counts on there."
        raise WrongPlace(tier.chain, tier.name, told)


def _write(tier: Tier, expected: str | None) -> str:
    """Write the file, and return what it says; another process' one is left as it is."""
    if tier.read_only:
        raise PermanentFailure(
            f"tier {tier.name!r} is READ_ONLY, and has no identity file: leave IDENTITY out, or identify it where it "
            "is written to"
        )
    token = expected or uuid.uuid4().hex
    written = {"id": token, "chain": tier.chain, "tier": tier.name, "written": timezone.now().isoformat()}
    content = ContentFile(f"{json.dumps(written)}\n".encode(), name=IDENTITY)
    name = outage.ask(tier, lambda: tier.storage.save(IDENTITY, content))
    if name != IDENTITY:
        outage.ask(tier, lambda: tier.storage.delete(name))
    if (found := _read(tier)) is None:
        raise PermanentFailure(
            f"tier {tier.name!r} cannot keep a file named {IDENTITY!r}: leave IDENTITY out"
        )
    return found


def _compare(tier: Tier, expected: str) -> None:
    if (found := _read(tier)) != expected:
        _refuse(tier, expected, found)


def _refuse(tier: Tier, expected: str | None, found: str | None) -> None:
    if found is None:
        reason = f"its identity file {IDENTITY} is not there."
    elif expected is None:
        reason = "its identity file is one that this catalog has not written."
    else:
        reason = "its identity file is that of another place."
    raise WrongPlace(tier.chain, tier.name, reason)


def _read(tier: Tier) -> str | None:
    """Return what the tier's identity file says; None where there is none; raise TierUnavailable."""
    try:
        data = outage.ask(tier, partial(_content, tier))
    except Exception as error:
        if traits.is_missing(error):
            return None
        raise
    try:
        told: Any = json.loads(data)
        return str(told["id"])
    except (ValueError, TypeError, KeyError):
        return f"not this package's: {data[:16]!r}"


def _content(tier: Tier) -> bytes:
    with streams.open_for_read(tier.storage, IDENTITY) as file:
        data: bytes = file.read(LENGTH)
    return data


def _memo(tier: Tier) -> _Memo:
    memo = _memos.get(tier)
    return _memos.setdefault(tier, _Memo()) if memo is None else memo


def _is_old(memo: _Memo, now: float) -> bool:
    return memo.asked_at is None or now - memo.asked_at > KNOWN_FOR


def _was_seen(tier: Tier, memo: _Memo) -> bool:
    return not traits.is_local(tier.storage) and time.monotonic() - memo.seen_at < SEEN_FOR
