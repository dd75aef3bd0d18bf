"""CouchDB: this package's own CouchDBStorage, over HTTP."""

from __future__ import annotations

from typing import Any

from .base import Backend, register

PATH = "queued_storage.contrib.storages.couchdb.CouchDBStorage"

#: A wrong login, a refusal, no such database (of a document it would be no error), a name or a file that is too large.
_PERMANENT = frozenset({400, 401, 403, 404, 413, 414})


def _is_permanent(error: Any) -> bool:
    return error.status_code in _PERMANENT


register(
    Backend(
        path=PATH,
        extra="couchdb",
        permanent={"queued_storage.contrib.storages.couchdb.CouchDBError": _is_permanent},
        opens_eagerly=True,
        overwriting=("allow_overwrite", True),
        publishes_at_once=True,
        keeps_content_type=True,
        place=("couchdb", (("url", ""), ("database", ""))),
    )
)
