"""Objects to S3: small ones in one request, large ones in parts that go side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from django.core.files.base import File
from django.core.files.storage import Storage

from ..stock import has_stock
from . import parts
from .answers import Refused, Sent, code_of
from .checksums import crc32
from .connections import BROKEN, Exchange
from .line import PATH, Line, does_as_stock, line_to
from .parameters import spelled

#: Bytes up to which an MD5, which servers tell of what they keep, costs less than asking them for its size.
PROVEN_BY_MD5 = 1 << 18
#: Bytes up to which a body does not count as one of the parts that may be in memory at a time.
FREE = 1 << 20
_STOCK_SAVE = "django.core.files.storage.base.Storage"


def put(
    storage: Storage, name: str, upload: Callable[[], File[bytes]], headers: Mapping[str, str]
) -> Sent | None:
    """Send the object, with these headers beside the storage's own; return None where the storage has to do it.

    Raise Refused if a condition in ``headers`` is not met.
    """
    line = line_to(storage) if is_ordinary(storage, name) else None
    if line is None:
        return None
    content = upload()
    if content.size is None:
        return None
    key = storage._normalize_name(name)  # type: ignore[attr-defined]
    parameters = storage._get_write_parameters(key, content)  # type: ignore[attr-defined]
    own = spelled(line.service, parameters)
    if own is None:
        return None
    if content.size > storage.transfer_config.multipart_threshold:  # type: ignore[attr-defined]
        return parts.put(storage, line, content, headers, key=key, parameters=parameters)
    # As many threads as there are could have as many of them in memory.
    with parts.room() if content.size > FREE else nullcontext():
        body = content.read(content.size + 1)  # of no size, it is read in small pieces, and is there twice
        if len(body) != content.size:
            return None
        return _put(line, key, body, _digest(content, body), {**own, **headers})


def _put(line: Line, key: str, body: bytes, digest: str, headers: dict[str, str]) -> Sent | None:
    checksum = ""
    if line.checksums:
        checksum = crc32(body)
        headers |= {"x-amz-checksum-crc32": checksum, "x-amz-sdk-checksum-algorithm": "CRC32"}
    try:
        exchange = line.ask("PUT", key, headers, body, digest)
        answer = exchange.read()
    except BROKEN:
        return None
    if exchange.status == HTTPStatus.OK:
        return Sent(is_proven=_is_proven(exchange, body, checksum))
    if exchange.status in (HTTPStatus.PRECONDITION_FAILED, HTTPStatus.CONFLICT):
        raise Refused(code_of(answer) or str(exchange.status))
    return None


def _is_proven(exchange: Exchange, body: bytes, checksum: str) -> bool:
    """Tell whether the answer is about these bytes: by the checksum that the server made of them, or by their MD5."""
    if checksum and exchange.headers.get("x-amz-checksum-crc32") == checksum:
        return True
    if len(body) > PROVEN_BY_MD5:
        return False
    kept = (exchange.headers.get("ETag") or "").strip('"')
    return kept == hashlib.md5(body, usedforsecurity=False).hexdigest()


def is_ordinary(storage: Any, name: str) -> bool:
    """Tell whether the storage does by the name what S3Storage itself does."""
    from storages.utils import clean_name

    return _saves_as_stock(storage) and clean_name(name) == name


def is_way(storage: Any) -> bool:
    """Tell whether objects can be sent to the storage's bucket from here."""
    return has_stock(storage, "_save", PATH) and _saves_as_stock(storage) and line_to(storage) is not None


def _saves_as_stock(storage: Any) -> bool:
    return not storage.gzip and _is_stock(storage.__class__)


@lru_cache
def _is_stock(backend: Any) -> bool:
    return has_stock(backend, "save", _STOCK_SAVE) and does_as_stock(
        backend, "_save", "_normalize_name", "get_available_name"
    )


def _digest(content: Any, body: bytes) -> str:
    """Return the SHA-256 of the body: the one that was made while it was read, if that saw all of it."""
    read: Callable[[int], str | None] = getattr(content, "digest_of", lambda size: None)
    return read(len(body)) or hashlib.sha256(body).hexdigest()
