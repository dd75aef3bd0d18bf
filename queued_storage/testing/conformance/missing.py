"""What a storage says of a file that is not there."""

from __future__ import annotations

from queued_storage import streams, traits

from .behaviour import Behaviours, Cannot
from .subject import Subject

MISSING = Behaviours()
NAME = "missing.txt"


@MISSING.add()
def missing_open(subject: Subject) -> None:
    """open() of a missing file, or the first read, raises FileNotFoundError."""
    name = subject.name(NAME)

    def open_and_read() -> bytes:
        with streams.open_for_read(subject.storage, name) as file:
            data: bytes = file.read(1)
            return data

    subject.is_told_missing(f"open({subject.told(name)}), and read(),", open_and_read)
    subject.is_missing_in_chain(name, "open")


@MISSING.add()
def missing_size(subject: Subject) -> None:
    """size() of a missing file raises FileNotFoundError, and never returns 0."""
    name = subject.name(NAME)
    subject.raises_missing("size", name)
    subject.is_missing_in_chain(name, "size")


@MISSING.add()
def missing_modified_time(subject: Subject) -> None:
    """get_modified_time() of a missing file raises FileNotFoundError."""
    name = subject.name(NAME)
    subject.raises_missing("get_modified_time", name)
    subject.is_missing_in_chain(name, "get_modified_time")


@MISSING.add()
def missing_exists(subject: Subject) -> None:
    """exists() of a missing file is False, in a folder that is there and in one that is not."""
    subject.put("there.txt")
    for base in (NAME, f"no-such-folder/{NAME}", "there", "there.txt.txt"):
        subject.is_not_there(subject.name(base))


@MISSING.add()
def missing_url(subject: Subject) -> None:
    """url() of a missing file returns what its URL would be, or raises FileNotFoundError; a chain does the latter."""
    name = subject.name(NAME)
    call = subject.spelled("url", name)
    should = "return what the file's URL would be, or raise FileNotFoundError"
    try:
        told = subject.storage.url(name)
    except NotImplementedError as error:
        raise Cannot(f"{call} raises NotImplementedError") from error
    except Exception as error:
        if not traits.is_missing(error):
            raise subject.misbehaves(f"{call} raised {subject.described(error)}", should) from error
    else:
        if not isinstance(told, str):
            raise subject.misbehaves(f"{call} returned {told!r}", should)
    subject.is_missing_in_chain(name, "url")


@MISSING.add()
def missing_delete(subject: Subject) -> None:
    """delete() of a missing file does nothing."""
    subject.deletes(subject.name(NAME))
    subject.deletes(subject.name(f"no-such-folder/{NAME}"))


@MISSING.add()
def missing_listdir(subject: Subject) -> None:
    """listdir() of a missing folder raises FileNotFoundError, or returns two empty lists."""
    path = subject.name("no-such-folder")
    call = subject.spelled("listdir", path)
    should = "raise FileNotFoundError, or return ([], [])"
    try:
        told = subject.storage.listdir(path)
    except NotImplementedError as error:
        raise Cannot(f"{call} raises NotImplementedError") from error
    except Exception as error:
        if not traits.is_missing(error):
            raise subject.misbehaves(f"{call} raised {subject.described(error)}", should) from error
    else:
        if [list(names) for names in told] != [[], []]:
            raise subject.misbehaves(f"{call} returned {told!r}", should)
