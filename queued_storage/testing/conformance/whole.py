"""Whole or not at all: what readers see while content is written, and after it broke off."""

from __future__ import annotations

from collections.abc import Callable

from django.core.files.base import ContentFile

from queued_storage import streams, traits, writing

from .behaviour import Behaviours
from .contents import LARGE, SMALL, Watched, broken
from .subject import Subject

WHOLE = Behaviours()


@WHOLE.add()
def save_whole(subject: Subject) -> None:
    """While a new file is being saved, nobody sees it, nor a part of it."""
    name = subject.name("new.bin")

    def look() -> None:
        if (seen := _content(subject, name)) is not None:
            raise subject.misbehaves(
                f"while save({subject.told(name)}) was being given its content, another reader found {len(seen)} bytes",
                "show the file when all of it is there: stage it under another name and rename it, say",
            )

    _watched(subject, look, lambda content: subject.put("new.bin", content))
    subject.holds(name, LARGE, "a save")


@WHOLE.add()
def overwrite_whole(subject: Subject) -> None:
    """While a file is being replaced, readers see the old content (on a lower tier, for a moment, none)."""
    name = subject.put("old.bin", SMALL)

    def look() -> None:
        seen = _content(subject, name)
        if seen != SMALL and not (seen is None and subject.role == "lower"):
            found = "no file" if seen is None else f"{len(seen)} bytes"
            raise subject.misbehaves(
                f"while {subject.told(name)} was being replaced, another reader found {found}",
                "keep the old content until the new one is whole, and replace it in one step; an option that has it do "
                "so is registered as `overwriting`",
            )

    _watched(subject, look, lambda content: subject.replace(name, content))
    subject.holds(name, LARGE, "a replacement")


@WHOLE.add()
def source_fails(subject: Subject) -> None:
    """save() of content that breaks off half-way raises, and leaves nothing that counts as the file."""
    name = subject.name("broken.bin")
    call = f"save({subject.told(name)}) of content that breaks off half-way"
    if not _raises(lambda: _save_broken(subject, name)):
        raise subject.misbehaves(f"{call} returned", "raise what the content raised")
    left = _content(subject, name)
    # The engine never counts on what a lower tier has before it is as long as the file: it comes back and replaces it.
    if left is not None and (subject.role == "first" or len(left) == len(LARGE)):
        raise subject.misbehaves(f"{call} left {len(left)} bytes", "leave nothing, or what delete() removes")
    subject.replace(name, ContentFile(SMALL))
    subject.holds(name, SMALL, "a save that broke off and another one")


def _raises(function: Callable[[], object]) -> bool:
    try:
        function()
    except Exception:  # noqa: BLE001 - any error will do
        return True
    return False


def _save_broken(subject: Subject, name: str) -> None:
    if subject.role == "lower":
        subject.copy_plainly(name, broken(LARGE))
        return
    with writing.prepared(subject.storage, name, broken(LARGE)) as prepared:
        writing.publish_new(prepared, name, overwrite=False)


def _watched(subject: Subject, look: Callable[[], None], save: Callable[[Watched], object]) -> None:
    """Save content, and have ``look`` called whenever half of it was read; raise the first error of that."""
    raised: list[Exception] = []

    def at_half() -> None:
        try:
            subject.elsewhere("reading while a file is being saved", look)
        except Exception as error:  # noqa: BLE001 - raised below: what is saving must not take it for its own
            raised.append(error)

    save(Watched(LARGE, at_half))
    if raised:
        raise raised[0]


def _content(subject: Subject, name: str) -> bytes | None:
    """Return what a reader finds by the name on the storage itself; None for no file."""
    try:
        with streams.open_for_read(subject.storage, name) as file:
            data: bytes = file.read()
            return data
    except Exception as error:
        if traits.is_missing(error):
            return None
        raise subject.misbehaves(
            f"open({subject.told(name)}) raised {subject.described(error)}",
            "return the file, or raise FileNotFoundError",
        ) from error
