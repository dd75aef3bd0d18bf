"""What crashed processes left on the tiers: unfinished files, and uploads that S3 keeps, and bills, unseen."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import chain as chained
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from . import catalog, copying, disk, outage, staging, traits
from .chain import Chain
from .exceptions import CopyMismatch
from .names import clean, is_of_trash, is_staging
from .renaming import ASIDE
from .tier import Tier

if TYPE_CHECKING:
    from .models import StoredFile


#: Pieces that are found before they are removed, and files that are looked at meanwhile, at most.
FOUND_AT_ONCE = 1_000
LOOKED_AT_AT_ONCE = 100_000


@dataclass(frozen=True)
class Leftover:
    """One thing that nobody will finish."""

    tier: str
    name: str
    #: "staging" (a file of this package) or "upload" (a multipart upload).
    kind: str
    remove: Callable[[], Any]
    #: Returns its bytes; 0 where nothing tells them.
    size: Callable[[], int] = lambda: 0


@dataclass
class Found:
    """What was found among so many files of a tier."""

    looked_at: int = 0
    pieces: list[Leftover] = field(default_factory=list)

    @property
    def is_much(self) -> bool:
        return len(self.pieces) >= FOUND_AT_ONCE or (
            bool(self.pieces) and self.looked_at >= LOOKED_AT_AT_ONCE
        )


def find(chain: Chain, before: datetime) -> Iterator[tuple[Tier, Found]]:
    """Yield, some at a time, what was last written to before that time; raise TierUnavailable for a tier that fails.

    Nothing else tells a crashed process from one that is slow, so leave a long time between.
    """
    for tier in chain.writable:
        found = Found()
        for leftover in chained(_files(chain, tier, before), _uploads(tier, before)):
            found.looked_at += 1
            if leftover is not None:
                found.pieces.append(leftover)
            if found.is_much:
                yield tier, found
                found = Found()
        yield tier, found


def _files(chain: Chain, tier: Tier, before: datetime) -> Iterator[Leftover | None]:
    """Yield, for each file of the tier, None or the leftover that it is."""
    for name in walk(tier):
        base = PurePosixPath(name).name
        if (
            is_staging(base)
            and catalog.find(chain.alias, name) is None
            and is_older(tier, name, before)
            and not (catalog.is_staged(base) or catalog.is_kept_as(base))
        ):
            remove = partial(_put_back, chain, tier, name) if base.endswith(ASIDE) else tier.storage.delete
            size = partial(_ask, tier, partial(_size, tier, name))
            yield Leftover(tier.name, name, "staging", partial(_ask, tier, partial(remove, name)), size)
        else:
            yield None


def _size(tier: Tier, name: str) -> int:
    try:
        return int(tier.storage.size(name))
    except NotImplementedError:
        return 0


def _put_back(chain: Chain, tier: Tier, aside: str, _: str) -> None:
    """Give a file its name back that was moved aside and is what the catalog counts on; remove what is not.

    What the catalog does not know stays where it is.
    """
    folder, base = posixpath.split(aside)
    staged = base.removesuffix(ASIDE)
    rows = catalog.files().filter(chain=chain.alias, name__startswith=f"{folder}/" if folder else "")
    for row in rows.iterator():
        if any(row.staging_name(fence) == staged for fence in range(row.fence + 1)):
            if not _is_counted_on(tier, row, aside):
                tier.storage.delete(aside)
            staging.discard(tier.storage, row.name, staged)
            return


def _is_counted_on(tier: Tier, row: StoredFile, aside: str) -> bool:
    if not row.is_live or tier.name not in row.tiers:
        return False
    size = tier.storage.size(aside) if row.size is None else row.size
    try:
        copying.check(tier, aside, copying.Copy(size, row.digest), "content" if row.digest else "size")
    except CopyMismatch:
        return False
    return True


def walk(tier: Tier, path: str = "") -> Iterator[str]:
    """Yield the names of all files of the tier; a folder that no name of a file leads to, with a "/" at its end."""
    try:
        directories, files = _ask(tier, partial(tier.storage.listdir, path))
    except Exception as error:
        if not traits.is_missing(error):
            raise
        return
    prefix = f"{path}/" if path else ""
    yield from (prefix + name for name in files if name)  # "" is an object that stands for the folder
    for directory in directories:
        if (
            directory in ("", ".", "..")
            or clean(directory) != directory
            or directory.startswith(("/", "../"))
        ):
            yield f"{prefix}{directory}/"  # a key with "//" or "/../" in it: its listing may be that of its parent
        else:
            yield from walk(tier, prefix + directory)


def is_older(tier: Tier, name: str, before: datetime) -> bool:
    try:
        written: datetime = _ask(tier, partial(tier.storage.get_modified_time, name))
    except NotImplementedError:
        return False  # nothing tells whether it is still being written
    except Exception as error:
        if not traits.is_missing(error):
            raise
        return False
    if is_of_trash(name) and _is_linked_later(tier, name, before):
        return False
    return _aware(written) < before


def _is_linked_later(tier: Tier, name: str, before: datetime) -> bool:
    """Tell whether a disk gave the file this name later than that: the time of its content stays what it was."""
    if not disk.tells_times(tier.storage):
        return False
    linked: datetime = _ask(tier, partial(tier.storage.get_created_time, name))
    return _aware(linked) >= before


def _aware(moment: datetime) -> datetime:
    return timezone.make_aware(moment) if timezone.is_naive(moment) else moment


def _uploads(tier: Tier, before: datetime) -> Iterator[Leftover]:
    """Yield S3's unfinished multipart uploads below the tier's location."""
    storage: Any = tier.storage
    if not traits.is_s3(storage):
        return
    prefix = f"{storage.location.strip('/')}/" if storage.location.strip("/") else ""
    for upload in _ask(tier, lambda: list(storage.bucket.multipart_uploads.filter(Prefix=prefix))):
        if upload.initiated < before:
            yield Leftover(
                tier.name, upload.object_key.removeprefix(prefix), "upload", partial(_ask, tier, upload.abort)
            )


def _ask(tier: Tier, question: Callable[[], Any]) -> Any:
    return outage.ask(tier, question)
