"""MongoDB's GridFS: this package's own GridFSStorage, on pymongo."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .base import Backend, always, register

PATH = "queued_storage.contrib.storages.gridfs.GridFSStorage"

#: MongoDB's codes: denied, wrong login, name that cannot be, document or key that is too large.
_PERMANENT = frozenset({13, 18, 73, 10334, 17280})
#: OutOfDiskSpace; and Atlas', for whom it is one of many things.
_NO_ROOM = 14031
_ATLAS = 8000


def _failures(error: Any) -> Iterator[tuple[int | None, str]]:
    """Yield code and text of the error, and of the single writes that it stands for."""
    yield error.code, str(error)
    details = error.details or {}
    for each in (*details.get("writeErrors", ()), *details.get("writeConcernErrors", ())):
        yield each.get("code"), str(each.get("errmsg"))


def _any_of(judge: Callable[[int | None, str], bool]) -> Callable[[Any], bool]:
    return lambda error: any(judge(code, text) for code, text in _failures(error))


register(
    Backend(
        path=PATH,
        extra="gridfs",
        missing={"gridfs.errors.NoFile": always},
        outage={"pymongo.errors.ConnectionFailure": always},
        permanent={
            "pymongo.errors.ConfigurationError": always,
            "pymongo.errors.InvalidName": always,
            "pymongo.errors.OperationFailure": _any_of(lambda code, _: code in _PERMANENT),
        },
        capacity={
            "pymongo.errors.OperationFailure": _any_of(
                lambda code, text: code == _NO_ROOM or (code == _ATLAS and "quota" in text)
            )
        },
        opens_eagerly=True,
        overwriting=("allow_overwrite", True),
        publishes_at_once=True,
        keeps_content_type=True,
        place=("gridfs", (("uri", ""), ("database", ""), ("bucket", ""))),
    )
)
