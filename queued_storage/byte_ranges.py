"""What the header Range asks for, as RFC 9110 says it; a server may answer any of it with the whole file."""

from __future__ import annotations

import re

#: "bytes=0-99", "bytes=100-" or "bytes=-100"; several ranges are not looked for.
_ONE_RANGE = re.compile(r"bytes[ \t]*=[ \t]*([0-9]*)-([0-9]*)[ \t]*", re.IGNORECASE | re.ASCII)
#: No file has an offset of more digits, and int() takes no text of any length.
_DIGITS = 20


class Unsatisfiable(ValueError):
    """The file has none of the bytes that are asked for."""


def parse(header: str, size: int) -> range | None:
    """Return the offsets that are asked for, of a file of this size; None where the whole file is the answer.

    Raise Unsatisfiable. What is no range, and several in one header, is answered with the whole.
    """
    match = _ONE_RANGE.fullmatch(header.strip())
    if match is None:
        return None
    first, last = match.groups()
    if not first:
        return _suffix(last, size)
    start, end = _number(first), _number(last) if last else size
    if last and end < start:
        return None
    if start >= size:
        raise Unsatisfiable(header)
    return range(start, min(end + 1, size))


def _suffix(length: str, size: int) -> range | None:
    """Return the last so many bytes."""
    if not length:
        return None
    if not _number(length):
        raise Unsatisfiable(length)
    # That there are no bytes at all can be told by the whole file alone.
    return range(max(size - _number(length), 0), size) if size else None


def _number(digits: str) -> int:
    significant = digits.lstrip("0")
    return int(significant or "0") if len(significant) <= _DIGITS else 10**_DIGITS
