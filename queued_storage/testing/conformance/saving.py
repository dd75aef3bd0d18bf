"""What a storage does with what it is given."""

from __future__ import annotations

from typing import IO, Any, cast

from django.core.files.base import ContentFile, File

from queued_storage import traits

from .behaviour import Behaviours
from .contents import LARGE, SMALL, Forward
from .subject import Subject

SAVING = Behaviours()


@SAVING.add()
def save_name(subject: Subject) -> None:
    """save() under a free name returns that name; as a first tier, the name under which the content then is."""
    name = subject.put("name.txt", SMALL)
    subject.holds(name, SMALL, "a save under a free name")


@SAVING.add()
def content_empty(subject: Subject) -> None:
    """An empty file is saved, and comes back empty."""
    subject.holds(subject.put("empty.txt", b""), b"", "a save of an empty file")


@SAVING.add()
def content_small(subject: Subject) -> None:
    """10 KB with every value that a byte can have come back as they were."""
    subject.holds(subject.put("small.bin", SMALL), SMALL, "a save of 10 KB")


@SAVING.add()
def content_large(subject: Subject) -> None:
    """3 MB, which many clients send in parts, come back as they were."""
    subject.holds(subject.put("large.bin", LARGE), LARGE, "a save of 3 MB")


@SAVING.add()
def content_forward(subject: Subject) -> None:
    """Content that cannot seek, and does not know its size, is saved whole."""
    content: File[Any] = File(cast("IO[bytes]", Forward(LARGE)), name="forward.bin")
    subject.holds(subject.put("forward.bin", content), LARGE, "a save of content that cannot seek")


@SAVING.add("first")
def content_from_start(subject: Subject) -> None:
    """Content that was read from before is saved from its start."""
    content = ContentFile(SMALL, name="start.bin")
    content.seek(1000)
    subject.holds(subject.put("start.bin", content), SMALL, "a save of content that was at position 1000")


@SAVING.add()
def name_unicode(subject: Subject) -> None:
    """Names that are not ASCII can be saved, read and listed."""
    _name_is_kept(subject, "naïve ☃ 文件 🗄.txt")


@SAVING.add()
def name_blanks(subject: Subject) -> None:
    """Names with blanks can be saved, read and listed."""
    _name_is_kept(subject, "two  blanks and one.txt")


@SAVING.add()
def name_special(subject: Subject) -> None:
    """Names with characters that mean something in URLs and shells can be saved, read and listed."""
    _name_is_kept(subject, "a%20b #1 & c+d; e=f 'g' [h] (i) !.txt")


@SAVING.add()
def name_deep(subject: Subject) -> None:
    """A name in folders that are not there yet can be saved."""
    subject.holds(subject.put("a/b.c/d/e/f/deep.txt", SMALL), SMALL, "a save in new folders")


def _name_is_kept(subject: Subject, base: str) -> None:
    name = subject.put(base, SMALL)
    subject.holds(name, SMALL, "a save")
    subject.is_there(name)
    subject.lists(name)


@SAVING.add()
def save_taken(subject: Subject) -> None:
    """save() under a taken name takes another one, unless the storage says that it overwrites."""
    name = subject.put("taken.txt", b"first")
    should = "save under another name, or replace the content and say so (file_overwrite = True)"
    saved = subject.call("save", name, ContentFile(b"second"), should=should)
    subject.own(saved)
    if saved == name and not traits.overwrites(subject.storage):
        raise subject.misbehaves(f"save({subject.told(name)}) of a taken name returned it", should)
    subject.holds(saved, b"second", "a second save of a name")
    if saved != name:
        subject.holds(name, b"first", "a second save of its name")


@SAVING.add()
def overwrite(subject: Subject) -> None:
    """A file that a chain replaces has the new content, and nothing else is left of it."""
    name = subject.put("replaced.bin", SMALL)
    neighbour = subject.put("replaced.bin.txt", b"neighbour")
    for content in (b"shorter", LARGE, b"", SMALL):
        subject.replace(name, ContentFile(content))
        subject.holds(name, content, "a replacement")
    subject.holds(neighbour, b"neighbour", "a replacement of another file")
    subject.lists(name, neighbour)
