"""Writing to S3 only if nobody else has written there meanwhile.

A worker that was paused between its last look at the catalog and its request comes too late, maybe by hours. The server
knows: it takes an object on the condition that what lies by its name is what the worker saw before (``If-Match``), or
that nothing does (``If-None-Match: *``), and refuses the worker otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any, NamedTuple

from django.core.files.base import File
from django.core.files.storage import Storage
from storages.utils import clean_name

from . import direct, stock, traits
from .exceptions import QueuedStorageError
from .knowledge import s3

PARTS_IN_MEMORY = 4
#: The requests that make an object appear.
_PUBLISHING = ("before-call.s3.PutObject", "before-call.s3.CompleteMultipartUpload")
#: What servers say of a condition that is not met; 409 is AWS's where two requests meet.
_UNMET = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict"})
#: What servers say that know no conditions here, and what they may say of these, or of anything else.
_UNKNOWN = frozenset({"NotImplemented", "501"})
_REFUSING = _UNKNOWN | {"InvalidArgument", "InvalidRequest", "BadRequest"}
#: Endpoints of such servers, for this process.
_without_conditions: set[str] = set()


class Changed(QueuedStorageError):
    """Somebody else wrote there since it was looked at."""


def can_save(storage: Any) -> bool:
    """Tell whether the storage saves as django-storages' S3Storage does; a subclass's own way is respected."""
    return traits.is_s3(storage) and stock.has_stock(storage, "_save", s3.PATH)


def look(storage: Any, name: str) -> str | None:
    """Return what tells the object of this name from any other (its ETag); None where there is none."""
    try:
        etag: str = storage.bucket.Object(storage._normalize_name(clean_name(name))).e_tag
    except Exception as error:
        if not traits.is_missing(error):
            raise
        return None
    return etag


class Written(NamedTuple):
    #: The name that the storage gave.
    name: str
    #: Whether the server's answer tells that it keeps exactly what was sent.
    is_proven: bool = False


def save(storage: Storage, name: str, upload: Callable[[], File[bytes]], seen: str | None) -> Written:
    """Save over what was seen there, in one step; raise Changed if something else is there by now."""
    if (sent := _send(storage, name, upload, seen)) is not None:
        return Written(name, sent.is_proven)
    return Written(_save(storage, name, upload, seen))


def copy_by_server(
    found: direct.Object, storage: Any, name: str, content: File[bytes], seen: str | None
) -> direct.Sent | None:
    """Have the server copy the object over what was seen there; return None where that cannot be."""
    if _knows_no_conditions(storage):
        return None
    return direct.copy(found, storage, name, content, dict([_condition(seen)]))


def _knows_no_conditions(storage: Any) -> bool:
    # Most servers know them: no client is made to ask for its endpoint.
    return bool(_without_conditions) and storage.bucket.meta.client.meta.endpoint_url in _without_conditions


def _send(storage: Any, name: str, upload: Callable[[], File[bytes]], seen: str | None) -> direct.Sent | None:
    if _knows_no_conditions(storage):
        return direct.put(storage, name, upload, {})
    try:
        return direct.put(storage, name, upload, dict([_condition(seen)]))
    except direct.Refused as refused:
        if refused.code in _UNMET:
            raise Changed("somebody else has written there meanwhile") from refused
    return None


def _save(storage: Storage, name: str, upload: Callable[[], File[bytes]], seen: str | None) -> str:
    overwriting = traits.with_option(storage, "file_overwrite", True)
    overwriting.transfer_config = _thrifty(storage.transfer_config)  # type: ignore[attr-defined]
    client: Any = storage.bucket.meta.client  # type: ignore[attr-defined]
    endpoint = client.meta.endpoint_url
    if endpoint in _without_conditions:
        return overwriting.save(name, upload())
    try:
        with _only_if(client, seen):
            return overwriting.save(name, upload())
    except Exception as error:
        code = _code(error)
        if code in _UNMET:
            raise Changed("somebody else has written there meanwhile") from error
        if code not in _REFUSING:
            raise
    saved = overwriting.save(name, upload())
    if code in _UNKNOWN:
        _without_conditions.add(endpoint)
    return saved


def _thrifty(config: Any) -> Any:
    """Return the configuration of uploads with fewer parts in memory: ten of 8 MB at a time are no quicker."""
    thrifty = copy(config)
    thrifty.max_in_memory_upload_chunks = min(config.max_in_memory_upload_chunks, PARTS_IN_MEMORY)
    return thrifty


@contextmanager
def _only_if(client: Any, seen: str | None) -> Iterator[None]:
    """Have the client, which is this thread's alone, send the condition; boto3's uploads take none as an argument."""
    header, value = _condition(seen)

    def add(params: dict[str, Any], **_: Any) -> None:
        params["headers"][header] = value

    for event in _PUBLISHING:
        client.meta.events.register(event, add)
    try:
        yield
    finally:
        for event in _PUBLISHING:
            client.meta.events.unregister(event, add)


def _condition(seen: str | None) -> tuple[str, str]:
    return ("If-None-Match", "*") if seen is None else ("If-Match", seen)


def _code(error: Any) -> str:
    response: dict[str, Any] = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))
