"""The rows of the benchmarks, by what they are about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..harness import Result
from ..world import World
from . import catalog, moving, nearby, reading, saving
from tests.support import services


@dataclass(frozen=True, eq=False)
class Theme:
    """Rows that are measured together."""

    rows: tuple[int, ...]
    run: Callable[[World], list[Result]]
    #: Databases by alias; "default" has the catalog unless the row says otherwise.
    databases: Mapping[str, str] = field(default_factory=lambda: {"default": "postgresql"})

    def __str__(self) -> str:
        return ", ".join(map(str, self.rows))

    def why_impossible(self) -> str:
        """Return which service is missing for it, and why; an empty string if none is."""
        needed = services.PORTS.keys() & {"redis", *self.databases.values()}
        reasons = {service: services.why_unusable(service) for service in sorted(needed)}
        return "; ".join(
            f"{service} cannot be used here: {reason}" for service, reason in reasons.items() if reason
        )


THEMES = (
    Theme((1, 2), moving.small_files),
    Theme((3,), moving.uploads),
    Theme((4,), moving.downloads),
    Theme((5,), nearby.copies),
    Theme((6,), moving.without_obstore),
    Theme((7,), saving.saves),
    Theme((8,), reading.reads),
    Theme((9,), catalog.sizes, catalog.DATABASES),
    Theme((11,), moving.far_away),
)
