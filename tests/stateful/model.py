"""What users were told: the reference that the real thing is compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class _Anything:
    def __repr__(self) -> str:
        return "anything"


#: For names of which nothing is promised until the next save or delete.
ANYTHING: Any = _Anything()

Content = bytes | None


@dataclass
class Operation:
    """A save or a delete that somebody asked for."""

    kind: str
    content: Content
    name: str = ""
    committed: list[str] = field(default_factory=list)
    #: What was murky of each name before; what became so later is not this operation's to make clear.
    murky: dict[str, set[Any]] = field(default_factory=dict)
    returned: bool = False
    crashed: bool = False
    #: Whether it did not fail; its transaction may still be rolled back.
    done: bool = False
    #: Whether it was rolled back on purpose.
    undone: bool = False


@dataclass
class Name:
    """One name, as its users know it; None is "no such file"."""

    current: Content = None
    #: What readers may see beside it: the last step of an operation that is committed is still to come.
    also: set[Any] = field(default_factory=set)
    #: What an operation may have left that never committed: nobody was told that it succeeded.
    murky: set[Any] = field(default_factory=set)
    last: Operation | None = None
    #: One set for each reader under way: all that it may find.
    watchers: list[set[Any]] = field(default_factory=list)

    @property
    def allowed(self) -> set[Any]:
        return {self.current} | self.also | self.murky

    def changed(self) -> None:
        for watcher in self.watchers:
            watcher |= self.allowed

    def watch(self) -> set[Any]:
        seen = set(self.allowed)
        self.watchers.append(seen)
        return seen

    def unwatch(self, seen: set[Any]) -> None:
        self.watchers = [watcher for watcher in self.watchers if watcher is not seen]


class Model:
    def __init__(self) -> None:
        self.names: dict[str, Name] = {}
        self.contents: set[bytes] = set()

    def __getitem__(self, name: str) -> Name:
        return self.names.setdefault(name, Name())

    def committed(self, operation: Operation, name: str) -> None:
        """The operation cannot be undone any more; it has not returned yet."""
        known = self[name]
        known.also |= {known.current}
        known.current, known.last = operation.content, operation
        operation.committed.append(name)
        operation.murky[name] = set(known.murky)
        known.changed()

    def returned(self, operation: Operation) -> None:
        """Whoever asked for the operation was told that it is done."""
        operation.returned = True
        for name in operation.committed:
            known = self[name]
            if known.last is operation:
                known.also.clear()
                known.murky -= operation.murky[name]

    def murk(self, name: str, *contents: Any) -> None:
        """An operation that nobody was told of may have left this."""
        known = self[name]
        known.murky |= set(contents)
        known.changed()
