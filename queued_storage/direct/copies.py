"""Objects from one S3 bucket to another of the same server, which copies them itself: no byte comes this way."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from django.core.files.base import File

from ..names import staging_name
from . import parts
from .answers import Sent, code_of, etag_of
from .connections import BROKEN
from .line import Line, line_to
from .parameters import spelled
from .signing import quoted
from .uploads import is_ordinary

#: Bytes above which a server copies in parts alone.
LARGEST = 5 << 30
#: By endpoint: whether the server was seen to refuse a copy whose condition is not met. Some make it all the same.
_heeds: dict[str, bool] = {}


#: Nothing of what the source says of the object, as where its bytes are moved.
_AS_IT_IS_SENT = {"x-amz-metadata-directive": "REPLACE", "x-amz-tagging-directive": "REPLACE"}


class Object(NamedTuple):
    """An object of a bucket, as it is now."""

    bucket: str
    key: str
    size: int
    etag: str

    @property
    def as_source(self) -> dict[str, str]:
        return {"x-amz-copy-source": self.path, "x-amz-copy-source-if-match": self.etag}

    @property
    def path(self) -> str:
        return quoted(f"/{self.bucket}/{self.key}")


def is_one_server(source: Any, destination: Any) -> bool:
    """Tell whether both buckets are one server's, which knows who asks as the same."""
    line, other = line_to(source), line_to(destination)
    return line is not None and other is not None and line.leads_where(other)


def find(source: Any, destination: Any, name: str, to: str = "") -> Object | None:
    """Return the object if its server can copy it to the destination; None where its bytes have to be moved.

    ``to`` is the name there, if that is another.
    """
    if not (is_ordinary(source, name) and is_ordinary(destination, to or name)):
        return None
    if not is_one_server(source, destination):
        return None
    line, other = line_to(source), line_to(destination)
    assert line is not None
    assert other is not None
    try:
        key = source._normalize_name(name)
        exchange = line.ask("HEAD", key, {})
        exchange.read()
        headers = exchange.headers
        size, etag = headers.get("Content-Length"), headers.get("ETag")
        if exchange.status != HTTPStatus.OK or not (size and etag):
            return None
        if headers.get("Content-Encoding") == "gzip":
            return None  # readers of what is packed get other bytes than the server has
        found = Object(source.bucket_name, key, int(size), etag)
        return found if _heeds_conditions(other, destination) else None
    except BROKEN:
        return None


def copy(
    found: Object, destination: Any, name: str, content: File[bytes], headers: Mapping[str, str]
) -> Sent | None:
    """Have the server copy the object, with the destination's own parameters and these headers.

    ``content`` says what the storage would be given; it is not read. Return None where the bytes have to be moved, and
    where a condition in ``headers`` is not met: the server does not tell whether that was the destination's.
    """
    line = line_to(destination)
    key = destination._normalize_name(name)
    parameters = destination._get_write_parameters(key, content)
    own = None if line is None else spelled(line.service, parameters)
    if line is None or own is None:
        return None
    if found.size > LARGEST:
        return parts.copy(destination, line, found, headers, key=key, parameters=parameters)
    try:
        exchange = line.ask("PUT", key, {**own, **_AS_IT_IS_SENT, **found.as_source, **headers})
        answer = exchange.read()
    except BROKEN:
        return None
    # An answer that began before the copy was made may tell an error in its text.
    if exchange.status != HTTPStatus.OK or code_of(answer):
        return None
    kept = etag_of(answer)
    return Sent(is_proven="-" not in kept and kept == found.etag.strip('"'))


def _heeds_conditions(line: Line, destination: Any) -> bool:
    """Tell, after one trial with an empty object of its own, whether the server refuses what a late worker asks."""
    if line.endpoint not in _heeds:
        key = destination._normalize_name(staging_name())
        trial = Object(destination.bucket_name, key, 0, "*")
        try:
            line.ask("PUT", key, {}, b"").read()
            asked = {**_AS_IT_IS_SENT, **trial.as_source, "If-None-Match": "*"}
            refused = line.ask("PUT", key, asked)
            refused.read()
        finally:
            line.ask("DELETE", key, {}).read()
        _heeds[line.endpoint] = refused.status == HTTPStatus.PRECONDITION_FAILED
    return _heeds[line.endpoint]
