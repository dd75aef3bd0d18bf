"""Taking turns: of many who wait, none waits until another has had all that it wants."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import zip_longest
from typing import TypeVar

T = TypeVar("T")

_NOTHING = object()


def in_turn(lines: Iterable[Iterable[T]]) -> Iterator[T]:
    """Yield the first of each line, then the second of each that has one, and so on."""
    for row in zip_longest(*lines, fillvalue=_NOTHING):
        yield from (each for each in row if each is not _NOTHING)  # type: ignore[misc]


def by_turns(items: Iterable[T], whose: Callable[[T], Hashable]) -> Iterator[T]:
    """Yield the items so that those they belong to take turns; of each of these, in the order in which they came."""
    lines: dict[Hashable, list[T]] = {}
    for item in items:
        lines.setdefault(whose(item), []).append(item)
    return in_turn(lines.values())
