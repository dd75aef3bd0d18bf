"""Chains of many shapes, and the moments in the life of a file at which each behaviour is looked at."""

from __future__ import annotations

import enum
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.core.files.base import ContentFile, File
from django.core.files.uploadedfile import SimpleUploadedFile

from queued_storage.chain import Tier
from queued_storage.storage import TieredStorage

from tests.base_settings import DISK
from tests.support import pooled, recording
from tests.support.servers import S3Server


class Moment(enum.StrEnum):
    """When a behaviour is looked at; each is reached by a policy of its own."""

    #: Nothing was moved yet.
    SAVED = "saved"
    #: The copies are made, and the first tier keeps its own.
    COPIED = "copied"
    #: The lower tiers alone have the file.
    MOVED = "moved"
    #: As COPIED, by ``transfer()`` under the policy "delayed".
    ASKED = "asked"
    #: Without policy: a file that somebody put on the last tier.
    FOUND = "found"


POLICIES: dict[Moment, str | None] = {
    Moment.SAVED: "transfer-and-delete",
    Moment.COPIED: "transfer",
    Moment.MOVED: "transfer-and-delete",
    Moment.ASKED: "delayed",
    Moment.FOUND: None,
}


@dataclass(frozen=True)
class Arrangement:
    """The kinds of the tiers, in order."""

    kinds: tuple[str, ...]
    moments: tuple[Moment, ...] = (Moment.SAVED, Moment.COPIED, Moment.MOVED)
    #: Whether others show most of it: it is looked at where there is time (``make test-storages``).
    is_extra: bool = False

    def __str__(self) -> str:
        return "+".join(self.kinds)

    @property
    def overwrites(self) -> bool:
        """Whether a save under a taken name keeps the name."""
        return "overwriting" in self.kinds[0]

    @property
    def uses_s3(self) -> bool:
        return any(kind.startswith("s3") for kind in self.kinds)

    def policy(self, moment: Moment) -> str | None:
        # With one tier alone there is nowhere to move a file to, and its policy must not ask for it.
        return "transfer" if len(self.kinds) == 1 and moment is Moment.SAVED else POLICIES[moment]


ALL = (Moment.SAVED, Moment.COPIED, Moment.MOVED)
LATE = (Moment.MOVED,)

ARRANGEMENTS = [
    Arrangement(("disk", "disk"), (*ALL, Moment.ASKED, Moment.FOUND)),
    Arrangement(("disk", "memory"), (Moment.MOVED, Moment.FOUND), is_extra=True),
    Arrangement(("memory", "memory"), ALL),
    Arrangement(("memory", "disk"), LATE, is_extra=True),
    Arrangement(("disk", "memory", "disk"), (Moment.COPIED, Moment.MOVED)),
    Arrangement(("disk",), (Moment.SAVED,)),
    Arrangement(("disk-overwriting", "disk"), ALL),
    Arrangement(("disk", "memory-read-only", "disk"), (Moment.COPIED, Moment.MOVED)),
    # Each request to a server costs more than a whole test without one: the late moments show what is S3's own.
    Arrangement(("disk", "s3"), (Moment.MOVED, Moment.FOUND)),
    Arrangement(("disk", "s3-overwriting"), LATE, is_extra=True),
    Arrangement(("disk", "s3-timeout"), LATE, is_extra=True),
    Arrangement(("disk-overwriting", "s3"), LATE),
    Arrangement(("s3", "s3"), LATE),
    Arrangement(("s3-overwriting", "s3-overwriting"), LATE, is_extra=True),
]


@dataclass(frozen=True)
class Case:
    arrangement: Arrangement
    moment: Moment

    def __str__(self) -> str:
        return f"{self.arrangement}-{self.moment}"

    @property
    def has_catalog(self) -> bool:
        return self.arrangement.policy(self.moment) is not None

    @property
    def first_is_s3(self) -> bool:
        return self.arrangement.kinds[0].startswith("s3")


CASES = [Case(arrangement, moment) for arrangement in ARRANGEMENTS for moment in arrangement.moments]
CATALOGUED = [case for case in CASES if case.has_catalog]
#: First tiers that give a second file of one name another, and those that replace the first file.
NUMBERING = [case for case in CASES if not case.arrangement.overwrites]
OVERWRITING = [case for case in CASES if case.arrangement.overwrites]
#: Tiers that keep a content type, of files that came in by ``save()``.
TYPED = [case for case in CATALOGUED if case.arrangement.uses_s3]
#: Every arrangement as it is when a file was just saved.
FRESH = [Case(arrangement, Moment.SAVED) for arrangement in ARRANGEMENTS]
#: One case for each kind of first tier, for what no other tier has a part in.
FIRST_TIERS = list({case.arrangement.kinds[0]: case for case in reversed(FRESH)}.values())


def tier_settings(kind: str, s3: S3Server | None, folder: Any) -> Any:
    """Settings of a tier of this kind, for ``make_chain``."""
    if kind == "disk-overwriting":
        options = {"location": str(folder), "base_url": "/overwriting/", "allow_overwrite": True}
        return {"BACKEND": DISK, "OPTIONS": options}
    if kind == "memory-read-only":
        backend = "tests.support.storages.SharedMemoryStorage"
        return {"BACKEND": backend, "OPTIONS": {"bucket": "archive"}, "READ_ONLY": True}
    if kind.startswith("s3"):
        assert s3 is not None
        bucket = s3.make_bucket()
        s3.buckets.remove(bucket)  # it goes with the server: to empty it would cost more than the test
        tier = s3.tier(bucket, file_overwrite=kind == "s3-overwriting") | {"BACKEND": pooled.PATH}
        return tier | {"TIMEOUT": 20} if kind == "s3-timeout" else tier
    return kind


def upload(content: bytes, content_type: str = "application/octet-stream") -> SimpleUploadedFile:
    return SimpleUploadedFile("upload", content, content_type)


class Life:
    """A chain, and how a file of it comes to the moment that the test looks at."""

    def __init__(self, case: Case, storage: TieredStorage, s3: S3Server | None) -> None:
        self.case = case
        self.storage = storage
        self.s3 = s3

    @property
    def tiers(self) -> tuple[Tier, ...]:
        return self.storage.chain.tiers

    @property
    def overwrites(self) -> bool:
        return self.case.arrangement.overwrites

    def put(self, name: str, content: bytes | File[Any] = b"content", max_length: int | None = None) -> str:
        """Save, and bring the file to the moment; return its name."""
        file = upload(content) if isinstance(content, bytes) else content
        saved = self.storage.save(name, file, max_length)
        self.arrive(saved)
        return saved

    def arrive(self, name: str) -> None:
        """Bring a file that was just saved to the moment."""
        moment = self.case.moment
        if moment is Moment.FOUND:
            self._move_by_hand(name)
        if moment is Moment.ASKED:
            self.storage.transfer(name)
        if moment in (Moment.COPIED, Moment.MOVED, Moment.ASKED):
            recording.work()
            assert self.storage.state(name) == "settled"
        assert self.storage.tier(name) in self.expected_tiers

    @property
    def expected_tiers(self) -> list[str]:
        """The names of the tiers that hold a file at the moment."""
        writable = [tier.name for tier in self.tiers if not tier.read_only]
        return {
            Moment.SAVED: writable[:1],
            Moment.MOVED: writable[1:],
            Moment.FOUND: writable[-1:],
        }.get(self.case.moment, writable)

    def holders(self, name: str) -> list[str]:
        """The names of the tiers whose own storage has the file: the truth, past catalog and chain."""
        return [tier.name for tier in self.tiers if tier.storage.exists(name)]

    def contents(self, name: str) -> set[bytes]:
        """The different contents that tiers hold by the name."""
        return {read(tier.storage, name) for tier in self.tiers if tier.storage.exists(name)}

    def files(self) -> dict[str, list[str]]:
        """Every file of every tier, in all directories."""
        return {tier.name: sorted(walk(tier.storage)) for tier in self.tiers}

    def content_types(self, name: str) -> dict[str, str]:
        """What the S3 tiers that hold the file say of its type."""
        assert self.s3 is not None
        return {
            tier.name: self.s3.client.head_object(Bucket=tier.storage.bucket_name, Key=name)["ContentType"]
            for tier in self.tiers
            if tier.name in self.expected_tiers and hasattr(tier.storage, "bucket_name")
        }

    def _move_by_hand(self, name: str) -> None:
        first, last = self.tiers[0].storage, self.tiers[-1].storage
        with first.open(name) as file:
            assert last.save(name, ContentFile(file.read())) == name
        first.delete(name)


def read(storage: Any, name: str) -> bytes:
    with storage.open(name) as file:
        data: bytes = file.read()
        return data


def walk(storage: Any, path: str = "") -> Iterator[str]:
    try:
        folders, files = storage.listdir(path)
    except FileNotFoundError:
        return
    prefix = f"{path}/" if path else ""
    yield from (f"{prefix}{name}" for name in files)
    for folder in folders:
        yield from walk(storage, f"{prefix}{folder}")


class Unseekable(io.RawIOBase):
    """A stream that can only be read forward, as a pipe or a socket."""

    def __init__(self, content: bytes) -> None:
        self._rest = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def readinto(self, buffer: Any) -> int:
        return self._rest.readinto(buffer)
