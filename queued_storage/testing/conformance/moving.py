"""What becomes of files in a chain that moves them to, or from, a storage."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.files.base import ContentFile
from django.test import override_settings

from queued_storage.tier import Tier

from ..owing import assert_nothing_owed, owed
from ..work import run_owed_work
from . import arranging
from .behaviour import Behaviours, Misbehaviour, NotAsked
from .building import SENTINEL, locked_out
from .contents import LARGE, SMALL
from .subject import Subject

MOVING = Behaviours()


@MOVING.add()
def transfer(subject: Subject) -> None:
    """The policy "transfer" copies a file to the lower tier, and the first one keeps it."""
    name = _save(subject, "transfer.bin", LARGE, policy="transfer")
    _work(subject, name)
    _lies_on(subject, name, LARGE, *subject.chain.chain)
    subject.holds(name, LARGE, "a transfer")


@MOVING.add()
def transfer_and_delete(subject: Subject) -> None:
    """The policy "transfer-and-delete" moves a file to the lower tier, and it is readable all the time."""
    name = _save(subject, "moved.bin", LARGE)
    subject.holds(name, LARGE, "a save")
    _work(subject, name)
    _lies_on(subject, name, LARGE, subject.chain.chain.tiers[1])
    subject.holds(name, LARGE, "a transfer")


@MOVING.add()
def read_ranges(subject: Subject) -> None:
    """A file that was moved can be read in parts, through the chain."""
    name = _moved(subject, "ranges.bin", LARGE)
    with subject.demand(
        f"open({subject.told(name)})", "open the file", lambda: subject.chain.open(name)
    ) as file:
        for start in (2_000_000, 5):
            file.seek(start)
            if (part := file.read(1000)) != LARGE[start : start + 1000]:
                told = subject.difference(part, LARGE[start : start + 1000])
                raise subject.misbehaves(
                    f"seek({start}) and read(1000) gave {told}", "give the part that is there"
                )


@MOVING.add()
def facts_stay(subject: Subject) -> None:
    """Size and modified time are the same before and after a move, and the chain gives a URL."""
    name = _save(subject, "facts.bin", SMALL)
    before = _facts(subject, name)
    _work(subject, name)
    if (after := _facts(subject, name)) != before:
        raise Misbehaviour(
            f"before the move, the chain told size and modified time {before}; after it {after}."
        )


@MOVING.add()
def listed_once(subject: Subject) -> None:
    """The chain lists a file once, before and after a move, and nothing beside it."""
    name = _save(subject, "listed.txt", SMALL, policy="transfer")
    _lists(subject, "listed.txt")
    _work(subject, name)
    _lists(subject, "listed.txt")


@MOVING.add()
def taken_names(subject: Subject) -> None:
    """Two saves of one name are two files, or the second replaces the first on every tier."""
    first = _save(subject, "taken.txt", b"first")
    _work(subject, first)
    second = _save(subject, "taken.txt", b"second")
    _work(subject, second)
    subject.holds(second, b"second", "two saves of one name, and their moves")
    if first != second:
        subject.holds(first, b"first", "two saves of its name, and their moves")


@MOVING.add()
def replaced_everywhere(subject: Subject) -> None:
    """A file that is written anew through open() has the new content on every tier, under its name."""
    name = _save(subject, "replaced.bin", LARGE, policy="transfer")
    _work(subject, name)
    chain = subject.chain.with_policy("transfer")

    def write() -> None:
        with chain.open(name, "wb") as file:
            file.write(SMALL)

    subject.demand(f"open({subject.told(name)}, 'wb'), through a chain,", "take the new content", write)
    subject.holds(name, SMALL, "a replacement")
    _work(subject, name)
    _lies_on(subject, name, SMALL, *subject.chain.chain)
    _lists(subject, "replaced.bin")


@MOVING.add()
def deleted_everywhere(subject: Subject) -> None:
    """A file that is deleted through the chain is gone from every tier."""
    name = _save(subject, "deleted.bin", SMALL, policy="transfer")
    _work(subject, name)
    subject.demand(f"delete({subject.told(name)})", "delete the file", lambda: subject.chain.delete(name))
    subject.is_missing_in_chain(name, "open", "size", "url", "get_modified_time")
    _work(subject, name)
    for tier in subject.chain.chain:
        if tier.storage.exists(name):
            raise Misbehaviour(
                f"after delete({subject.told(name)}) through a chain, tier {tier.name!r} has it still."
            )


@MOVING.add()
def deleted_before_move(subject: Subject) -> None:
    """A file that is deleted before it was moved comes to no tier."""
    name = _save(subject, "short-lived.bin", SMALL)
    subject.demand(f"delete({subject.told(name)})", "delete the file", lambda: subject.chain.delete(name))
    _work(subject, name)
    for tier in subject.chain.chain:
        if tier.storage.exists(name):
            raise Misbehaviour(
                f"after delete({subject.told(name)}) through a chain, tier {tier.name!r} has it still."
            )


@MOVING.add()
def missing_everywhere(subject: Subject) -> None:
    """A file that no tier has is missing from every method of the chain."""
    name = subject.name("missing.bin")
    subject.is_missing_in_chain(name, "open", "size", "url", "get_modified_time", "transfer", "get_storage")
    if subject.chain.exists(name):
        raise subject.misbehaves(
            f"read through a chain, exists({subject.told(name)}) returned True", "return False"
        )


@MOVING.add("lower")
def found(subject: Subject) -> None:
    """A file that was on the storage before the chain was is found, and taken over by transfer()."""
    name = subject.name("found.txt")
    saved = subject.storage.save(name, ContentFile(SMALL))
    subject.own(saved)
    subject.holds(saved, SMALL, "it was there before")
    subject.demand(
        f"transfer({subject.told(saved)})", "take the file over", lambda: subject.chain.transfer(saved)
    )
    _work(subject, saved)
    _lies_on(subject, saved, SMALL, subject.tier)


@MOVING.add()
def content_type_stays(subject: Subject) -> None:
    """The content type of an upload arrives with the file."""
    if subject.candidate.content_type is None:
        raise NotAsked("nobody says how to ask the backend for a content type")
    content = ContentFile(b"<svg/>", name="type.dat")
    content.content_type = "image/svg+xml"  # type: ignore[attr-defined] # as uploads have it
    name = subject.chain.with_policy("transfer").save(subject.name("type.dat"), content)
    subject.own(name)
    _work(subject, name)
    if (kept := subject.candidate.content_type(name)) != "image/svg+xml":
        raise subject.misbehaves(
            f"a file of the content type 'image/svg+xml' is stored as {kept!r}", "keep the type"
        )


@MOVING.add("lower")
def secrets_in_chain(subject: Subject) -> None:
    """A move that fails because the login is refused leaves no password or key in the catalog, or in the log."""
    with arranging.in_chain(locked_out(subject.candidate), subject.role) as other, _logged() as log:
        other.own(other.chain.save(other.name("secret.txt"), ContentFile(SMALL)))
        with override_settings(QUEUED_STORAGE_RETRIES=0):
            run_owed_work()
        told = "\n".join([log.getvalue(), *map(str, owed(other.chain.alias))])
    if SENTINEL in told:
        raise subject.misbehaves(
            "a move to the storage with a wrong password or key told that in the log, or as the file's reason",
            "raise errors that hold no option's value",
        )


@contextmanager
def _logged() -> Iterator[io.StringIO]:
    """Yield what is logged inside, with tracebacks."""
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    logging.getLogger().addHandler(handler)
    try:
        yield log
    finally:
        logging.getLogger().removeHandler(handler)


def _save(subject: Subject, base: str, content: bytes, policy: str | None = None) -> str:
    chain = subject.chain if policy is None else subject.chain.with_policy(policy)
    asked = subject.name(base)
    name = subject.demand(
        f"save({subject.told(asked)}), in a chain,",
        "store the content and return its name",
        lambda: chain.save(asked, ContentFile(content)),
    )
    subject.own(name)
    return name


def _moved(subject: Subject, base: str, content: bytes) -> str:
    name = _save(subject, base, content)
    _work(subject, name)
    return name


def _work(subject: Subject, name: str) -> None:
    """Do what is owed; it has to be done at the first attempt."""
    run_owed_work()
    try:
        assert_nothing_owed(subject.chain.alias)
    except AssertionError as error:
        raise Misbehaviour(f"the work for {subject.told(name)} failed: {error}") from None


def _lies_on(subject: Subject, name: str, content: bytes, *tiers: Tier) -> None:
    expected = [tier.name for tier in tiers]
    if (told := subject.chain.tiers(name)) != expected:
        raise Misbehaviour(
            f"{subject.told(name)} should lie on {expected}; the chain says that it lies on {told}."
        )
    for tier in subject.chain.chain:
        if tier.storage.exists(name) is not (tier in tiers):
            where = "has no" if tier in tiers else "still has a"
            raise Misbehaviour(
                f"tier {tier.name!r} {where} file {subject.told(name)}; it should lie on {expected}."
            )
    for tier in tiers:
        with tier.storage.open(name) as file:
            if (found := file.read()) != content:
                told_difference = subject.difference(found, content)
                raise Misbehaviour(f"on tier {tier.name!r}, {subject.told(name)} has {told_difference}.")


def _facts(subject: Subject, name: str) -> tuple[object, ...]:
    chain = subject.chain
    size = subject.demand(
        f"size({subject.told(name)}), through a chain,", "tell it", lambda: chain.size(name)
    )
    url = subject.call_chain("url", name)
    if not (url is NotImplemented or isinstance(url, str)):
        raise subject.misbehaves(
            f"url({subject.told(name)}), through a chain, returned {url!r}", "return a str"
        )
    return size, subject.call_chain("get_modified_time", name)


def _lists(subject: Subject, *expected: str) -> None:
    listing = subject.call_chain("listdir", subject.folder)
    if listing is not NotImplemented and listing != ([], list(expected)):
        raise subject.misbehaves(
            f"listdir(), through a chain, returned {listing!r}", f"return {([], list(expected))!r}"
        )
