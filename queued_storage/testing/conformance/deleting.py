"""What a storage does when it is told to delete."""

from __future__ import annotations

from .behaviour import Behaviours
from .contents import SMALL
from .subject import Subject

DELETING = Behaviours()


@DELETING.add()
def delete(subject: Subject) -> None:
    """A file that was deleted is gone from every method at once, and no other file with it."""
    name = subject.put("deleted.txt", SMALL)
    neighbours = [subject.put(base, SMALL) for base in ("deleted.txt.bak", "deleted", "deleted.tx")]
    subject.deletes(name)
    subject.is_not_there(name)
    subject.is_missing_in_chain(name, "open", "size")
    subject.lists(*neighbours)
    for neighbour in neighbours:
        subject.holds(neighbour, SMALL, f"delete({subject.told(name)})")


@DELETING.add()
def delete_twice(subject: Subject) -> None:
    """delete() of a file that was deleted does nothing."""
    name = subject.put("twice.txt")
    subject.deletes(name)
    subject.deletes(name)


@DELETING.add()
def delete_and_save(subject: Subject) -> None:
    """The name of a deleted file is free again, and has the new content."""
    name = subject.put("free.txt", SMALL)
    subject.deletes(name)
    again = subject.put("free.txt", b"new")
    if again != name:
        raise subject.misbehaves(
            f"save({subject.told(name)}), after delete(), returned {subject.told(again)}",
            "return the name: it is free",
        )
    subject.holds(again, b"new", "a delete and a save")
