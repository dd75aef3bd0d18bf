"""A file's story on its page: what ``tiers explain`` tells, tier by tier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import operations
from ..chain import chains
from ..exceptions import QueuedStorageError
from ..models import StoredFile
from ..storage import TieredStorage

#: Seconds that a page waits for each tier to tell whether it has the file.
PATIENCE = 2.0


@dataclass(frozen=True)
class TierStory:
    """What there is to tell of the file and one tier; ``way`` is how a copy that is lacking will be made."""

    name: str
    is_recorded: bool
    is_stale: bool
    #: "yes", "no", or why the tier did not tell.
    found: str
    is_wanted: bool
    way: str

    @property
    def is_silent(self) -> bool:
        return self.found not in ("yes", "no")

    @property
    def contradicts(self) -> bool:
        """Whether the tier has no file where the catalog says that it has one."""
        return self.is_recorded and self.found == "no"


@dataclass(frozen=True)
class Story:
    next: str
    why: str
    tiers: tuple[TierStory, ...] = ()


def of(file: StoredFile) -> Story:
    """Return the file's story; tiers that answer slowly are told as such, and what is not known is no error."""
    try:
        told = operations.explain(TieredStorage(file.chain), file.name, PATIENCE)
        names = chains[file.chain].names
    except QueuedStorageError as error:
        return Story(str(error), "")
    return Story(told["next"], told.get("why", ""), tuple(_tier(name, file, told) for name in names))


def _tier(name: str, file: StoredFile, told: dict[str, Any]) -> TierStory:
    return TierStory(
        name=name,
        is_recorded=name in told.get("tiers", file.tiers),
        is_stale=name in told.get("stale", file.stale),
        found=told["found on"][name],
        is_wanted=name in told.get("wanted on", ()),
        way=told.get("ways", {}).get(name, ""),
    )
