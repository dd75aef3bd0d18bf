"""Dropbox: django-storages' DropboxStorage on Dropbox's SDK.

Measured against a stub of our own: it shows what the two do with an answer, and not what Dropbox answers.

* It opens lazily, holds the whole file in memory, and what is written to an opened file is lost.
* ``delete`` of a missing name raises, and of a folder removes all that is in it. ``exists`` and ``url`` take every
  refusal for "not there"; ``url`` then returns None.
* ``listdir`` gives the first page alone. It tells no modified time.
* A content that ends before its size is stored as it is and called a success, or sent on for ever if it is large.
* The SDK waits for as long as the server tells it to come back later.
* Dropbox does not tell names apart by case.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.core.files.base import File

from ..ranged import RangedStream
from .base import Backend, always, register
from .whole import Whole, opened

#: For an error of the server, and for each time that it says "later". The chain tries again by itself.
RETRIES = 1
RETRIES_LATER = 3


# ---- errors ----


def _tags(error: Any) -> list[str]:
    """Return the tags of what the server said, from the outermost in; each kind of request has methods of its own."""
    cause, tags = error.error, []
    while cause is not None:
        if hasattr(cause, "_tag"):
            tags.append(cause._tag)
        cause = getattr(cause, "_value", None) or getattr(cause, "reason", None)
    return tags


def _is_missing(error: Any) -> bool:
    # And not of a session of an upload that is lost.
    return _tags(error)[0].startswith("path") and _tags(error)[-1] in ("not_file", "not_folder", "not_found")


def _is_permanent(error: Any) -> bool:
    return not _PERMANENT.isdisjoint(_tags(error))


#: Not "expired_access_token": a new one may come.
_PERMANENT = frozenset(
    {
        "disallowed_name", "file_ancestor", "folder", "invalid_access_token", "malformed_path", "missing_scope",
        "no_write_permission", "payload_too_large", "restricted_content", "team_folder", "user_suspended",
    }
)  # fmt: skip


# ---- the client ----


def _init(self: Any, *arguments: Any, **settings: Any) -> None:
    from storages.backends.dropbox import DropboxStorage

    DropboxStorage.__init__(self, *arguments, **settings)
    self.client = self.client.clone(max_retries_on_error=RETRIES, max_retries_on_rate_limit=RETRIES_LATER)


# ---- asking ----


def _metadata(storage: Any, name: str) -> Any:
    """Return what is told of the file; raise IsADirectoryError for a folder."""
    found = storage.client.files_get_metadata(storage._full_path(name))
    if not hasattr(found, "size"):
        raise IsADirectoryError(name)
    return found


def _exists(self: Any, name: str) -> bool:
    from dropbox.exceptions import ApiError

    try:
        return bool(self.client.files_get_metadata(self._full_path(name)))
    except ApiError as error:
        if not _is_missing(error):
            raise
        return False


def _size(self: Any, name: str) -> int:
    return int(_metadata(self, name).size)


def _get_modified_time(self: Any, name: str) -> datetime:
    modified: datetime = _metadata(self, name).server_modified
    return modified.replace(tzinfo=UTC)


def _url(self: Any, name: str) -> str:
    return str(self.client.files_get_temporary_link(self._full_path(name)).link)


def _listdir(self: Any, path: str) -> tuple[list[str], list[str]]:
    full_path = self._full_path(path)
    page = self.client.files_list_folder("" if full_path == "/" else full_path)
    entries = list(page.entries)
    while page.has_more:
        page = self.client.files_list_folder_continue(page.cursor)
        entries += page.entries
    folders = [entry.name for entry in entries if not hasattr(entry, "size")]
    return folders, [entry.name for entry in entries if hasattr(entry, "size")]


# ---- reading ----


class DropboxStream(RangedStream):
    """A file as one response that is read on; a seek costs a new request."""

    def __init__(self, client: Any, path: str) -> None:
        super().__init__()
        self._client = client
        self._path = path
        self._response: Any = None
        self._revision = ""
        self._request()

    def _request(self) -> None:
        headers = {"Range": f"bytes={self._position}-"} if self._position else None
        found, self._response = self._client.files_download(self._path, extra_headers=headers)
        self.size: int = found.size
        if self._revision not in ("", found.rev):
            self._drop()
            raise FileNotFoundError(f"{self._path} was replaced while it was read")
        self._revision = found.rev

    def _read(self, most: int) -> bytes:
        if self._response is None:
            self._request()
        data: bytes = self._response.raw.read(most)
        return data

    def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None


def _stream(storage: Any, name: str) -> DropboxStream:
    return DropboxStream(storage.client, storage._full_path(name))


def _open(self: Any, name: str, mode: str = "rb") -> File[bytes]:
    return opened(lambda: _stream(self, name), name, mode)


# ---- writing ----


def _save(self: Any, name: str, content: Any) -> str:
    from dropbox.files import WriteMode

    whole, path = Whole(content), self._full_path(name)
    if whole.size <= self.CHUNK_SIZE:
        self.client.files_upload(whole.read(), path, mode=WriteMode(self.write_mode))
    else:
        self._chunked_upload(whole, path)
    return name


def _delete(self: Any, name: str) -> None:
    from dropbox.exceptions import ApiError

    try:
        found = _metadata(self, name)
        self.client.files_delete_v2(self._full_path(name), parent_rev=found.rev)
    except ApiError as error:
        if not _is_missing(error):
            raise


register(
    Backend(
        path="storages.backends.dropbox.DropboxStorage",
        extra="dropbox",
        missing={"dropbox.exceptions.ApiError": _is_missing},
        permanent={
            "dropbox.exceptions.ApiError": _is_permanent,
            "dropbox.exceptions.AuthError": _is_permanent,
            "dropbox.exceptions.BadInputError": always,
        },
        capacity={"dropbox.exceptions.ApiError": lambda e: "insufficient_space" in _tags(e)},
        opens_eagerly=True,
        stream=_stream,
        stream_goes_on=True,
        overwriting=("write_mode", "overwrite"),
        publishes_at_once=True,
        amendments={
            "__init__": _init,
            "_open": _open,
            "_save": _save,
            "delete": _delete,
            "exists": _exists,
            "get_modified_time": _get_modified_time,
            "listdir": _listdir,
            "size": _size,
            "url": _url,
        },
    )
)
