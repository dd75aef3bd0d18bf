"""What a storage should do, one behaviour at a time: a short id, a sentence, and a function that finds out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .subject import Subject

#: Where in a chain a storage stands: below the tier that takes the saves, or as that tier.
Role = Literal["lower", "first"]
ROLES: tuple[Role, ...] = ("lower", "first")


class Misbehaviour(AssertionError):
    """A storage does not do what it should; the message names the method, and says what it should do."""


class Cannot(Exception):
    """The storage says itself that it does not have a behaviour."""


class NotAsked(Exception):
    """There is nothing to find out: of a storage without credentials, say, whether it prints any."""


@dataclass(frozen=True)
class Behaviour:
    """One thing that a storage should do."""

    #: Short and stable: tables, declarations and reports name the behaviour by it.
    id: str
    #: A sentence.
    says: str
    #: In which roles it is asked for.
    roles: tuple[Role, ...]
    #: Raises Misbehaviour where the storage does not do so.
    look: Callable[[Subject], None]

    @property
    def method(self) -> str:
        """The name of the test method."""
        return f"test_{self.id.replace('-', '_')}"


class Behaviours:
    """Behaviours in the order in which they were written down."""

    def __init__(self, *parts: Behaviours) -> None:
        self._by_id: dict[str, Behaviour] = {each.id: each for part in parts for each in part}

    def __iter__(self) -> Iterator[Behaviour]:
        return iter(self._by_id.values())

    def __contains__(self, id: object) -> bool:
        return id in self._by_id

    def add(self, *roles: Role) -> Callable[[Callable[[Subject], None]], Callable[[Subject], None]]:
        """Take a function as a behaviour (in these roles alone): its name is the id, its docstring the sentence."""

        def take(look: Callable[[Subject], None]) -> Callable[[Subject], None]:
            name = look.__name__.replace("_", "-")
            says = " ".join((look.__doc__ or "").split())
            self._by_id[name] = Behaviour(name, says, roles or ROLES, look)
            return look

        return take

    @property
    def ids(self) -> set[str]:
        """What declarations may name: a behaviour, or one in one role alone, as in ``save-taken[first]``."""
        return set(self._by_id) | {f"{each.id}[{role}]" for each in self for role in each.roles}
