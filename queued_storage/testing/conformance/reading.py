"""What a storage opens."""

from __future__ import annotations

import io
from typing import Any

from django.core.files.base import File

from .behaviour import Behaviours
from .contents import LARGE
from .subject import Subject

READING = Behaviours()
PIECE = 500_000


@READING.add()
def open_whole(subject: Subject) -> None:
    """open() returns a file that gives bytes, piece by piece, and b"" at its end."""
    name = subject.put("whole.bin", LARGE)
    with subject.open(name) as file:
        for start in range(0, len(LARGE), PIECE):
            expected = LARGE[start : start + PIECE]
            _require_content(
                subject, name, _read(subject, file, PIECE), expected, f"read({PIECE}) at {start}"
            )
        rest = _read(subject, file)
        _require_content(subject, name, rest, b"", "read() at the end")


@READING.add()
def open_ranges(subject: Subject) -> None:
    """An opened file can seek, and reads the part that it is asked for."""
    name = subject.put("ranges.bin", LARGE)
    with subject.open(name) as file:
        for offset, whence, start in (
            (2_000_000, io.SEEK_SET, 2_000_000),
            (10, io.SEEK_SET, 10),
            (5, io.SEEK_CUR, 1015),
            (-300, io.SEEK_END, len(LARGE) - 300),
            (0, io.SEEK_SET, 0),
        ):
            _step(subject, file, "seek", offset, whence)
            if (position := _step(subject, file, "tell")) != start:
                raise subject.misbehaves(
                    f"after seek({offset}, {whence}), tell() of an opened file returned {position}",
                    f"return {start}",
                )
            expected = LARGE[start : start + 1000]
            told = f"seek({offset}, {whence}) and read(1000)"
            _require_content(subject, name, _read(subject, file, 1000), expected, told)


@READING.add()
def open_ranges_in_chain(subject: Subject) -> None:
    """A file that is opened through a chain can seek, and reads the part that it is asked for."""
    name = subject.put("ranges.bin", LARGE)
    call = f"open({subject.told(name)}), through a chain,"
    with subject.demand(call, "open the file", lambda: subject.chain.open(name)) as file:
        for start in (2_500_000, 17, len(LARGE) - 5):
            _step(subject, file, "seek", start)
            data = _read(subject, file, 500)
            _require_content(subject, name, data, LARGE[start : start + 500], f"seek({start}) and read(500)")


@READING.add()
def open_twice(subject: Subject) -> None:
    """A file that is opened twice at once is read twice, each from its own position."""
    name = subject.put("twice.bin", LARGE)
    with subject.open(name) as one, subject.open(name) as other:
        _step(subject, one, "seek", 1_000_000)
        for at in (0, 1000):
            for file, start in ((one, 1_000_000 + at), (other, at)):
                data = _read(subject, file, 1000)
                told = "read(1000) of a file that is opened twice"
                _require_content(subject, name, data, LARGE[start : start + 1000], told)


@READING.add()
def open_again(subject: Subject) -> None:
    """A file that was read and closed can be opened again."""
    name = subject.put("again.txt", b"again")
    for _ in range(3):
        subject.holds(name, b"again", "it was read and closed")


def _read(subject: Subject, file: File[Any], *size: int) -> object:
    """Return so many bytes, however many calls that takes; or what was read that is no bytes."""
    data = _step(subject, file, "read", *size)
    while isinstance(data, bytes) and size and len(data) < size[0]:
        more = _step(subject, file, "read", size[0] - len(data))
        if not isinstance(more, bytes) or not more:
            break
        data += more
    return data


def _step(subject: Subject, file: File[Any], method: str, *args: Any) -> Any:
    call = f"{method}({', '.join(map(repr, args))}) of an opened file"
    return subject.demand(call, "work, as on any file", lambda: getattr(file, method)(*args))


def _require_content(subject: Subject, name: str, found: object, expected: bytes, call: str) -> None:
    if found != expected:
        raise subject.misbehaves(
            f"{call} of what open({subject.told(name)}) returned gave {subject.difference(found, expected)}",
            f"give the {len(expected)} bytes that are there",
        )
