"""OpenStack Swift: django-storage-swift's SwiftStorage on python-swiftclient.

* It asks for its container when it is made, and calls every failure of that a missing container.
* While the server is down each call takes half a minute (five attempts), and for a silent server it waits for ever.
* ``exists`` and ``delete`` take every error for "not there". With ``cache_headers`` they tell what was once so.
* With a ``name_prefix`` a save destroys the file whose name it takes: the look for a free one adds the prefix twice.
* ``listdir`` takes names without a dot for folders and those with one for files, "ab/c" for part of "a", and tells
  folders more than once.
* Its files hold the whole object in memory, compressed where it was stored so.
* It guesses a content type from the name, whatever the upload says, and tells no modified time.
* Of a content that ends before its size, client and server wait for the rest.
* On one connection, what is read of one object goes on with the answer to the next request.
"""

from __future__ import annotations

import gzip
import mimetypes
from datetime import UTC, datetime
from typing import Any

from django.core.files.base import File
from django.core.files.storage import Storage

from ..ranged import RangedStream
from .base import Backend, register
from .whole import Whole, opened

PATH = "swift.storage.SwiftStorage"
#: Seconds for which a server may be silent while it is waited for.
SILENCE = 60.0
#: Beside the first attempt: for a connection that the server has closed meanwhile. The chain tries again by itself.
RETRIES = 1
PAUSE = 0.1


# ---- errors ----


def _is_missing(error: Any) -> bool:
    return bool(error.http_status == 404) and not _is_of_more_than_one(error)


def _is_of_more_than_one(error: Any) -> bool:
    """Tell whether the request named no object: the client's messages begin with what they were about."""
    return str(error).startswith(("Account", "Auth", "Container"))


def _is_permanent(error: Any) -> bool:
    if error.http_status in (
        401,
        404,
    ):  # 401 of an object is also said of a token that the server has forgotten
        return _is_of_more_than_one(error)
    if error.http_status == 413:
        return not _is_over_quota(error)
    return error.http_status in (400, 403, 405, 412) or str(error).startswith("Unauthorized")


def _is_over_quota(error: Any) -> bool:
    return bool(error.http_status == 413) and b"quota" in (error.http_response_content or b"")


def _changes_content(storage: Any) -> bool:
    return bool(storage.gzip_content_types or storage.gzip_unknown_content_type)


# ---- the connection ----


def _init(self: Any, **settings: Any) -> None:
    from swift.storage import SwiftStorage

    SwiftStorage.__init__(self, **settings | {"lazy_connect": True})


def _check_container(self: Any) -> None:
    """Called with a connection that is new, and has not been used."""
    from swift.storage import SwiftStorage
    from swiftclient.exceptions import ClientException

    connection = self._swift_conn
    connection.timeout = SILENCE
    connection.starting_backoff = PAUSE
    connection.retries = min(connection.retries, RETRIES)
    try:
        try:
            connection.head_container(self.container_name)
        except ClientException as error:
            if error.http_status != 404 or not self.auto_create_container:
                raise
            SwiftStorage._check_container(self)
    except BaseException:
        self._swift_conn = None  # or the next call would take it for one that was checked
        raise


def _get_headers(self: Any, name: str) -> Any:
    return self.swift_conn.head_object(self.container_name, name)


# ---- asking ----


def _exists(self: Any, name: str) -> bool:
    from swiftclient.exceptions import ClientException

    try:
        self.get_headers(self.name_prefix + name)
    except ClientException as error:
        if not _is_missing(error):
            raise
        return False
    return True


def _get_modified_time(self: Any, name: str) -> datetime:
    return datetime.fromtimestamp(float(self.get_headers(self.name_prefix + name)["x-timestamp"]), UTC)


def _listdir(self: Any, path: str) -> tuple[list[str], list[str]]:
    path = path.strip("/")
    prefix = f"{self.name_prefix}{path}/" if path else self.name_prefix
    found = self.swift_conn.get_container(
        self.container_name, prefix=prefix, delimiter="/", full_listing=True
    )[1]
    folders = [each["subdir"].removeprefix(prefix).rstrip("/") for each in found if "subdir" in each]
    files = [each["name"].removeprefix(prefix) for each in found if "name" in each]
    return [each for each in folders if each], [each for each in files if each not in ("", ".")]


# ---- reading ----


class SwiftStream(RangedStream):
    """An object as one response that is read on; a seek costs a new request."""

    def __init__(self, storage: Any, name: str) -> None:
        super().__init__()
        self._connection = storage.swift_conn
        self._path = (storage.container_name, storage.name_prefix + name)
        self._response: Any = None
        self._etag = ""
        self.encoding = ""
        # The first request tells the size, so that opening costs no request beside the one for the bytes.
        try:
            self._request()
        except Exception as error:
            if (
                getattr(error, "http_status", None) != 416
            ):  # an empty object has no byte 0 to start a range at
                raise
            self.size = 0

    def _request(self) -> None:
        headers = {"Range": f"bytes={self._position}-"}
        if self._etag:
            headers["If-Match"] = self._etag
        told, body = self._connection.get_object(*self._path, resp_chunk_size=1, headers=headers)
        self._response = body.resp
        self._etag = told["etag"]
        self.encoding = told.get("content-encoding", "")
        total = told.get("content-range", "").rpartition("/")[2]
        self.size = int(total) if total.isdigit() else self._position + int(told["content-length"])

    def _read(self, most: int) -> bytes:
        if self._response is None:
            self._request()
        # Not by the client's own ``read``: that is the one of the connection's last response, whichever it is.
        data: bytes = self._response.raw.read(most)
        return data

    def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None


def _stream(storage: Any, name: str) -> SwiftStream | None:
    stream = SwiftStream(storage, name)
    if stream.encoding != "gzip":
        return stream
    stream.close()
    return None


def _open(self: Any, name: str, mode: str = "rb") -> File[bytes]:
    return opened(lambda: _plain_stream(self, name), name, mode)


def _plain_stream(storage: Any, name: str) -> Any:
    stream = SwiftStream(storage, name)
    return gzip.GzipFile(fileobj=stream) if stream.encoding == "gzip" else stream


# ---- writing ----


def _save(self: Any, name: str, content: Any, headers: Any = None) -> str:
    from swift.storage import SwiftStorage

    guessed = mimetypes.guess_type(name)[0]
    compresses = guessed in self.gzip_content_types or (guessed is None and self.gzip_unknown_content_type)
    if compresses or self.content_type_from_fd:
        return str(SwiftStorage._save(self, name, content, headers))
    self.swift_conn.put_object(
        self.container_name,
        self.name_prefix + name,
        Whole(content),
        content_length=content.size,
        content_type=getattr(content, "content_type", None) or guessed,
        headers=headers,
    )
    return name


def _delete(self: Any, name: str) -> None:
    from swiftclient.exceptions import ClientException

    try:
        self.swift_conn.delete_object(self.container_name, self.name_prefix + name)
    except ClientException as error:
        if not _is_missing(error):
            raise


def _get_available_name(self: Any, name: str, max_length: int | None = None) -> str:
    return name if self.auto_overwrite else Storage.get_available_name(self, name, max_length)


register(
    Backend(
        path=PATH,
        extra="swift",
        missing={"swiftclient.exceptions.ClientException": _is_missing},
        permanent={"swiftclient.exceptions.ClientException": _is_permanent},
        capacity={"swiftclient.exceptions.ClientException": _is_over_quota},
        opens_eagerly=True,
        stream=_stream,
        stream_goes_on=True,
        overwriting=("auto_overwrite", True),
        publishes_at_once=True,
        changes_content=_changes_content,
        keeps_content_type=True,
        amendments={
            "__init__": _init,
            "_check_container": _check_container,
            "_open": _open,
            "_save": _save,
            "delete": _delete,
            "exists": _exists,
            "get_available_name": _get_available_name,
            "get_headers": _get_headers,
            "get_modified_time": _get_modified_time,
            "listdir": _listdir,
        },
        place=(
            "swift",
            (
                ("container_name", "SWIFT_CONTAINER_NAME"),
                ("name_prefix", "SWIFT_NAME_PREFIX"),
                ("api_auth_url", "SWIFT_AUTH_URL"),
                ("api_username", "SWIFT_USERNAME"),
            ),
        ),
    )
)
