"""What others wrote (names of files, reasons) as it is printed for people: nothing in it acts on their terminal."""

from __future__ import annotations

import unicodedata

from queued_storage.operations import printable


def line(text: str) -> str:
    """Return the text as one line: what is neither printed nor a space is written as an escape, ``\\x1b`` say."""
    text = printable(text)
    return text if text.isprintable() else "".join(map(_escaped, text))


def lines(text: str) -> str:
    """Return the text with the lines that it has, each as ``line`` returns it."""
    return "\n".join(map(line, text.split("\n")))


def _escaped(char: str) -> str:
    if char.isprintable() or unicodedata.category(char) == "Zs":  # spaces of all widths
        return char
    return char.encode("unicode_escape").decode()
