"""Whether an object is there, and how large it is: asked at a tenth of what boto3's own question costs the client."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from .connections import BROKEN
from .line import does_as_stock, line_to
from .uploads import is_ordinary


def exists(storage: Any, name: str) -> bool:
    """Say what ``storage.exists(name)`` says, whatever the storage."""
    status, _ = _look(storage, "exists", name)
    if status in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
        return status == HTTPStatus.OK
    return bool(storage.exists(name))


def size(storage: Any, name: str) -> int:
    """Say what ``storage.size(name)`` says, whatever the storage."""
    status, length = _look(storage, "size", name)
    return int(length) if status == HTTPStatus.OK and length else int(storage.size(name))


def _look(storage: Any, method: str, name: str) -> tuple[int | None, str]:
    """Return the status and the length that the server tells; None where the storage itself has to ask."""
    if not does_as_stock(storage, method, "get_object_parameters") or not is_ordinary(storage, name):
        return None, ""
    if storage.object_parameters or (line := line_to(storage)) is None:
        return None, ""
    try:
        exchange = line.ask("HEAD", storage._normalize_name(name), {})
        exchange.read()
    except BROKEN:
        return None, ""
    return exchange.status, exchange.headers.get("Content-Length") or ""
