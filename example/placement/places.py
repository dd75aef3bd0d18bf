"""Where files are now, for a whole page of them.

``photo.image.tier``, ``.tiers`` and ``.state`` answer the same for one file, at a query each, or for many at one, with
``prefetch_tiers``. The catalog's row knows more: size, digest, attempts, what went wrong.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, TypeVar

from django.conf import settings
from django.db.models import Model
from django.utils import timezone

from queued_storage.fields import prefetch_tiers
from queued_storage.models import StoredFile

T = TypeVar("T", bound=Model)


@dataclass(frozen=True)
class Place:
    """The tiers that hold a file, and whether it lies where its policy wants it."""

    chain: str = ""
    name: str = ""
    tiers: Sequence[str] = ()
    state: str = "unknown"
    size: int | None = None
    content_type: str = ""
    policy: str = ""
    digest: str = ""
    attempts: int = 0
    error: str = ""
    saved_at: datetime | None = None
    due_at: datetime | None = None
    is_under_way: bool = False

    @property
    def tier(self) -> str | None:
        """The tier that answers a read: the first that has the file."""
        return self.tiers[0] if self.tiers else None

    @property
    def label(self) -> str:
        return f"{' + '.join(self.tiers) or 'nowhere'} · {self.state}"

    @property
    def step(self) -> str:
        """What is to be done next, as the policies of this site have it: copy to what is below, then release."""
        if self.state == "deleted":
            return f"remove from {' and '.join(self.tiers)}" if self.tiers else "clear away"
        missing = [name for name in tiers_of(self.chain)[1:] if name not in self.tiers]
        return f"copy to {' and '.join(missing)}" if missing else f"release from {self.tier}"

    @property
    def owed(self) -> str:
        """The work that the catalog has on record for the file, and when it is done."""
        if self.state in ("settled", "unknown"):
            return "nothing"
        if self.state == "failed":
            return f"{self.step}: given up after {self.attempts} attempts"
        if self.is_under_way:
            return f"{self.step}: under way"
        if self.due_at and self.due_at > timezone.now():
            return f"{self.step}: attempt {self.attempts + 1} at {self.due_at:%H:%M:%S} UTC"
        return f"{self.step}: due now"

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"tier": self.tier, "label": self.label}


def tiers_of(chain: str) -> list[str]:
    return list(settings.QUEUED_STORAGE_TIERS[chain]["TIERS"]) if chain else []


def places(chain: str, names: Iterable[str]) -> dict[str, Place]:
    """Read the catalog for many names at once."""
    rows = StoredFile.objects.filter(chain=chain, key__in=[StoredFile.key_of(name) for name in names])
    return {row.name: place_of(row) for row in rows if row.is_live}


def put_places(instances: Iterable[T], chain: str, *fields: str) -> list[T]:
    """Give each instance a dict ``places``: the names of its file fields, and where their files are.

    Two queries, however many files: the other one is for their URLs, which then cost none.
    """
    instances = prefetch_tiers(list(instances), *fields)
    files = {(one.pk, field): getattr(one, field).name for one in instances for field in fields}
    known = places(chain, files.values())
    for one in instances:
        one.places = {field: known.get(files[one.pk, field], Place()) for field in fields}
    return instances


def place_of(row: StoredFile) -> Place:
    return Place(
        chain=row.chain,
        name=row.name,
        tiers=row.tiers,
        state=row.state,
        size=row.size,
        content_type=row.content_type,
        policy=row.policy,
        digest=row.digest,
        attempts=row.attempts,
        error=row.last_error,
        saved_at=row.saved_at,
        due_at=row.due_at,
        is_under_way=bool(row.lease and row.lease_until and row.lease_until > timezone.now()),
    )
