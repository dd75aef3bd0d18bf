"""CouchDB: a document for each file, with the content as its attachment.

A document tells the name of its attachment, the size and the time; without that attachment, in that size, it is no
file. So a new file appears with its attachment. One that is replaced gets its new content as a second attachment, and
shows it with the next revision of the document. CouchDB takes a revision only from who knows the last one: of several
that save or delete at a time one is first, and the others look again.
"""

from __future__ import annotations

import errno
import io
import json
import random
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from django.core.files.base import File
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.deconstruct import deconstructible

from ...ranged import RangedStream
from ...spooling import spooled
from .objects import ATTEMPTS, GONE, PAGE, ObjectStorage, Stored, file_name, type_of

try:
    import requests
    import urllib3

    from .remote import TIMEOUT, ContentFailed, Sessions, raise_plainly, uploading
except ImportError as error:
    raise ImportError(
        "CouchDBStorage needs requests: pip install 'django-queued-storage[couchdb]'"
    ) from error

Document = dict[str, Any]

#: What the attachment is called where the document does not say it: as storages of old had it.
_CONTENT = "content"
_DEFAULT_TYPE = "application/octet-stream"
#: Reasons for a 404 that speak of the document; others speak of the database.
_NO_DOCUMENT = frozenset({"missing", "deleted"})


class CouchDBError(OSError):
    """An answer of CouchDB that says no."""

    def __init__(self, status_code: int, reason: str) -> None:
        self.status_code = status_code
        self.reason = reason
        super().__init__(f"CouchDB answered with HTTP status {status_code}: {reason}")


@deconstructible(path="queued_storage.contrib.storages.couchdb.CouchDBStorage")
class CouchDBStorage(ObjectStorage):
    """Keeps files in a database of the CouchDB at ``url``; the database must be there.

    ``timeout`` is for how many seconds the server may be silent.
    """

    def __init__(
        self,
        url: str,
        database: str,
        username: str | None = None,
        password: str | None = None,
        base_url: str | None = None,
        *,
        timeout: float = TIMEOUT,
        allow_overwrite: bool = False,
    ) -> None:
        super().__init__(base_url, allow_overwrite=allow_overwrite)
        server, login = _without_login(url)
        self._url = f"{server}/{quote(database, safe='')}"
        self._login = login if username is None else (username, password or "")
        self._timeout = timeout
        self._sessions = Sessions(self._log_in)

    def _log_in(self, session: requests.Session) -> None:
        session.auth = self._login

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "_sessions"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._sessions = Sessions(self._log_in)

    # ---- reading ----

    def _find(self, name: str) -> Stored | None:
        document = self._document(name)
        return None if document is None else _stored(name, document)

    def _stream(self, name: str, stored: Stored) -> AttachmentStream:
        attachment, revision = stored.key

        def get(start: int) -> requests.Response:
            headers = {"Range": f"bytes={start}-"} if start else {}
            return self._ask("GET", name, attachment, params={"rev": revision}, headers=headers, stream=True)

        return AttachmentStream(get, stored.size)

    def _page(self, start: str, end: str) -> list[tuple[str, bool]]:
        span = {"startkey": json.dumps(start)} if start else {}
        if end:
            span |= {"endkey": json.dumps(end), "inclusive_end": "false"}
        page = self._ask("GET", params={**span, "limit": str(PAGE), "include_docs": "true"}).json()
        return [(row["id"], _is_file(row["id"], row.get("doc"))) for row in page["rows"]]

    def _children(self, prefix: str) -> tuple[set[str], set[str]]:
        folders, files = super()._children(_id(prefix))
        if not prefix:
            folders.discard(".")
            more_folders, more_files = super()._children("./")
            return folders | more_folders, files | more_files
        return folders, files

    # ---- writing ----

    def _save(self, name: str, content: File[Any]) -> str:
        name = file_name(name)
        content_type = type_of(name, content)
        with _repeatable(content) as upload:
            for attempt in range(ATTEMPTS):
                document = self._document(name)
                if document is not None and not self.allow_overwrite and _stored(name, document):
                    name = self._another(name)
                elif self._put(name, document, upload, content_type):
                    return name
                else:
                    # Those who met here would meet again: each sends its content in the way of the others.
                    time.sleep(random.uniform(0, min(2**attempt / 20, 2)))  # noqa: S311 - keeps no secret
        raise CouchDBError(HTTPStatus.CONFLICT, "others go on saving under the name")

    def _put(self, name: str, document: Document | None, content: File[Any], content_type: str) -> bool:
        """Give the file its content, in place of what the document holds; return False if that is not the last one."""
        attachment = uuid.uuid4().hex
        told = {"attachment": attachment, "size": content.size, "modified_at": datetime.now(UTC).isoformat()}
        try:
            if document is None:
                # It is no file before it has what it speaks of.
                revision = self._ask("PUT", name, json=told).json()["rev"]
                with self._removed_if_content_fails(name, revision):
                    self._attach(name, attachment, revision, content, content_type)
            else:
                changed = self._attach(name, attachment, document["_rev"], content, content_type)
                stubs = {attachment: changed["_attachments"][attachment]}
                self._ask("PUT", name, json={**told, "_rev": changed["_rev"], "_attachments": stubs})
        except ContentFailed as failed:
            raise failed.error from None
        except CouchDBError as error:
            if error.status_code != HTTPStatus.CONFLICT:
                raise
            return False
        return True

    def _attach(
        self, name: str, attachment: str, revision: str, content: File[Any], content_type: str
    ) -> Document:
        """Send the content to the server; return the document that has it."""
        headers = {"Content-Type": content_type or _DEFAULT_TYPE}
        with uploading(content) as body:
            answer = self._ask("PUT", name, attachment, params={"rev": revision}, headers=headers, data=body)
        document = self._document(name, answer.json()["rev"])
        if document is None:
            raise CouchDBError(HTTPStatus.CONFLICT, "the file was deleted while it was saved")
        length = document["_attachments"][attachment]["length"]
        if length != content.size:
            raise OSError(errno.EIO, f"CouchDB has {length} bytes of the {content.size} that were sent")
        return document

    @contextmanager
    def _removed_if_content_fails(self, name: str, revision: str) -> Iterator[None]:
        try:
            yield
        except ContentFailed:
            with suppress(OSError):  # without its attachment it is no file
                self._ask("DELETE", name, params={"rev": revision})
            raise

    def delete(self, name: str) -> None:
        name = file_name(name)
        for _ in range(ATTEMPTS):
            document = self._document(name)
            if document is None:
                return
            try:
                self._ask("DELETE", name, params={"rev": document["_rev"]})
            except CouchDBError as error:
                if error.status_code not in (HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND):
                    raise
        if self._document(name) is not None:
            raise CouchDBError(HTTPStatus.CONFLICT, "others go on saving under the name")

    # ---- requests ----

    def _document(self, name: str, revision: str = "") -> Document | None:
        """Return the document of the name, without the content itself; None if there is none."""
        try:
            response = self._ask("GET", name, params={"rev": revision} if revision else {})
        except CouchDBError as error:
            if error.status_code == HTTPStatus.NOT_FOUND and error.reason in _NO_DOCUMENT:
                return None
            raise
        document: Document = response.json()
        return document

    def _ask(self, method: str, name: str = "", attachment: str = "", **arguments: Any) -> requests.Response:
        """Return the response about the document (without a name: all of them); raise CouchDBError if it says no."""
        path = [quote(_id(name), safe=""), attachment] if name else ["_all_docs"]
        address = "/".join([self._url, *filter(None, path)])
        try:
            # A redirect would make a GET of a PUT.
            response = self._sessions.session.request(
                method, address, timeout=self._timeout, allow_redirects=False, **arguments
            )
        except requests.RequestException as error:
            raise_plainly(error)
        if response.status_code >= HTTPStatus.MULTIPLE_CHOICES:
            with response:
                raise CouchDBError(response.status_code, _reason(response))
        return response


class AttachmentStream(RangedStream):
    """An attachment as a seekable stream; where the server knows no ranges, a seek fetches it into a temporary file."""

    def __init__(self, get: Callable[[int], requests.Response], size: int) -> None:
        super().__init__()
        self.size = size
        self._get = get
        self._response: requests.Response | None = None
        self._spool: Any = None

    def _read(self, most: int) -> bytes:
        if self._spool is None and self._response is None:
            self._request()
        if self._spool is not None:
            self._spool.seek(self._position)
            return bytes(self._spool.read(most))
        assert self._response is not None
        data = _received(self._response, most)
        if not data:
            raise ConnectionError("the connection ended before the file did")
        return data

    def _request(self) -> None:
        try:
            response = self._get(self._position)
        except CouchDBError as error:
            if error.status_code == HTTPStatus.NOT_FOUND:
                raise OSError(errno.ESTALE, GONE) from error
            raise
        if response.status_code == HTTPStatus.PARTIAL_CONTENT or not self._position:
            self._response = response
            return
        with response:
            self._spool = spooled(lambda spool: shutil.copyfileobj(_Body(response), spool))

    def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None

    def close(self) -> None:
        if self._spool is not None:
            self._spool.close()
        super().close()


class _Body(io.RawIOBase):
    def __init__(self, response: requests.Response) -> None:
        self._response = response

    def read(self, size: int = -1) -> bytes:
        return _received(self._response, size)


def _received(response: requests.Response, most: int) -> bytes:
    try:
        data: bytes = response.raw.read(most)
    except (OSError, urllib3.exceptions.HTTPError) as error:
        raise_plainly(error)
    return data


@contextmanager
def _repeatable(content: File[Any]) -> Iterator[File[Any]]:
    """Yield the content as bytes of a known size that can be sent again, from a copy where it cannot be by itself."""
    if _is_repeatable(content):
        yield content
        return
    with spooled(lambda spool: spool.writelines(_bytes(content))) as spool:
        spool.seek(0, io.SEEK_END)
        copy = File(spool, content.name)
        copy.size = spool.tell()
        yield copy


def _is_repeatable(content: File[Any]) -> bool:
    try:
        content.seek(0)
        return isinstance(content.read(0), bytes) and content.size is not None
    except (AttributeError, OSError, ValueError):
        return False


def _bytes(content: File[Any]) -> Iterator[bytes]:
    for chunk in content.chunks():
        yield chunk.encode() if isinstance(chunk, str) else chunk


def _id(name: str) -> str:
    """Return the document's name: not one with a "_" in front, which CouchDB keeps for itself."""
    return f"./{name}" if name.startswith("_") else name


def _is_file(key: str, document: Document | None) -> bool:
    return not key.startswith("_") and document is not None and _stored(key, document) is not None


def _stored(name: str, document: Document) -> Stored | None:
    """Return what the document tells of its file; None if that is not whole yet."""
    attachment = document.get("attachment", _CONTENT)
    stub = document.get("_attachments", {}).get(attachment)
    if stub is None or stub["length"] != document.get("size", stub["length"]):
        return None
    return Stored(
        size=stub["length"],
        modified_at=_moment(document.get("modified_at")),
        content_type=stub.get("content_type") or type_of(name, None),
        key=(attachment, document["_rev"]),
    )


def _moment(text: Any) -> datetime | None:
    moment = parse_datetime(text) if isinstance(text, str) else None
    return timezone.make_aware(moment) if moment is not None and timezone.is_naive(moment) else moment


def _reason(response: requests.Response) -> str:
    try:
        said = response.json()
        return str(said.get("reason") or said.get("error"))
    except (AttributeError, ValueError):  # no JSON, or none of CouchDB's: a proxy's
        return HTTPStatus(response.status_code).phrase


def _without_login(url: str) -> tuple[str, tuple[str, str] | None]:
    """Return the address of the server, and the login that was in it."""
    parts = urlsplit(url)
    server = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
    if parts.username is None:
        return server, None
    return server, (unquote(parts.username), unquote(parts.password or ""))
