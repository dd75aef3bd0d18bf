"""WebDAV, spoken over requests: uploads are streamed, staged beside their place and moved there whole."""

from __future__ import annotations

import errno
import posixpath
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import requests
import urllib3
from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import Storage
from django.utils import timezone
from django.utils.deconstruct import deconstructible

from .remote import (
    TIMEOUT,
    ContentFailed,
    HTTPFailure,
    HTTPStream,
    Sessions,
    Upload,
    file_name,
    measured,
    missing,
    opened,
    raise_plainly,
    relative,
    require_reading,
    save_staged,
    uploading,
)

_DAV = "{DAV:}"
#: Seconds in which a server should notice that a connection was ended.
_PAUSES = (0.0, 0.05, 0.1, 0.2, 0.4)
_ASKED = (
    b'<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop>'
    b"<resourcetype/><getcontentlength/><getlastmodified/></prop></propfind>"
)


class NoSuchFolder(OSError):
    """The folder that the storage was given by its ``url`` is not there."""

    def __init__(self) -> None:
        super().__init__("the folder of the storage's url does not exist on the server")


@dataclass(frozen=True)
class Entry:
    """What a server tells of a file or folder."""

    name: str
    #: How many folders deep it lies, on the server.
    depth: int
    is_folder: bool
    size: int | None
    modified: str


@deconstructible(path="queued_storage.contrib.storages.webdav.WebDAVStorage")
class WebDAVStorage(Storage):
    """Files below the folder ``url`` of a server, which must exist.

    Content is uploaded beside its place and moved there when it is whole; with ``allow_overwrite`` it replaces what
    has the name. ``timeout`` is for how many seconds the server may be silent. ``verify`` is a path of certificates to
    trust, or False for none.
    """

    def __init__(
        self,
        url: str,
        *,
        username: str = "",
        password: str = "",
        token: str = "",
        base_url: str | None = None,
        timeout: float = TIMEOUT,
        allow_overwrite: bool = False,
        verify: bool | str = True,
    ) -> None:
        parts = urlsplit(url)
        self._root = urlunsplit(
            (parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", "")
        )
        user = username or unquote(parts.username or "")
        self._login = (user, password or unquote(parts.password or "")) if user else None
        self._token = token
        self._verify = verify
        self.base_url = base_url if base_url is None or base_url.endswith("/") else f"{base_url}/"
        self.timeout = timeout
        self.allow_overwrite = allow_overwrite
        self._sessions = Sessions(self._configure)

    def _configure(self, session: requests.Session) -> None:
        if self._login is not None:
            session.auth = tuple(part.encode() for part in self._login)  # type: ignore[assignment] # latin-1 otherwise
        if self._token:
            session.headers["Authorization"] = f"Bearer {self._token}"
        session.verify = self._verify

    # ---- writing ----

    def is_name_available(self, name: str, max_length: int | None = None) -> bool:
        if max_length and len(name) > max_length:
            return False
        return self.allow_overwrite or not self.exists(name)

    def _save(self, name: str, content: File[Any]) -> str:
        return save_staged(self, file_name(name), content, overwrite=self.allow_overwrite)

    def upload(self, name: str, content: File[Any]) -> int:
        """Write the content in its place, where readers see it arrive; return how many bytes were sent."""
        self._make_folder(posixpath.dirname(file_name(name)))
        with measured(content) as told:
            try:
                with uploading(told) as body:
                    self._put(name, body)
            except ContentFailed as failed:
                failure = failed.error
            else:
                return told.size
        self._remove_aborted(name)
        raise failure

    def _put(self, name: str, body: Upload | bytes) -> None:
        response = self._send("PUT", name, (200, 201, 204, 404, 409), data=body)
        response.close()
        if response.status_code in (404, 409):
            self._require_root()
            raise HTTPFailure(response.status_code, "PUT", name)

    def _remove_aborted(self, name: str) -> None:
        """Remove what servers keep of an upload that ended too early, which they may notice a little later."""
        with suppress(OSError):
            for pause in _PAUSES:
                time.sleep(pause)
                if self._find(name) is not None:
                    self.delete(name)
                    return

    def rename(self, name: str, to: str, *, overwrite: bool = False) -> None:
        """Move a file to a name in a folder that exists; raise FileExistsError where that is taken.

        With ``overwrite`` it replaces what has the name. The protocol has servers delete that first, so some readers
        may miss it for a moment.
        """
        if overwrite and self._find(file_name(name)) is None:
            raise missing(name)  # or a server may delete what it cannot replace
        headers = {"Destination": self._address(file_name(to)), "Overwrite": "T" if overwrite else "F"}
        response = self._send("MOVE", name, (201, 204, 403, 404, 412), headers=headers)
        response.close()
        if response.status_code == 412 and not overwrite:
            raise FileExistsError(errno.EEXIST, "the name is taken", to)
        if response.status_code in (403, 404, 412):
            if self._find(name) is None:
                raise missing(name)
            raise HTTPFailure(response.status_code, "MOVE", name)

    def _make_folder(self, folder: str) -> None:
        if not folder:
            return
        # 405: it is there; 409: the folder above is not.
        response = self._send("MKCOL", f"{folder}/", (201, 405, 409))
        response.close()
        if response.status_code == 409:
            above = posixpath.dirname(folder)
            if not above:
                raise NoSuchFolder
            self._make_folder(above)
            self._send("MKCOL", f"{folder}/", (201, 405)).close()

    def delete(self, name: str) -> None:
        """Delete a file, but no folder: servers would delete all that is in it."""
        entry = self._find(file_name(name))
        if entry is None:
            return
        if entry.is_folder:
            raise IsADirectoryError(errno.EISDIR, "a folder is not deleted", name)
        response = self._send("DELETE", name, (200, 202, 204, 404))
        response.close()
        if response.status_code == 404:
            self._require_root()

    # ---- reading ----

    def _open(self, name: str, mode: str = "rb") -> File[bytes]:
        require_reading(mode)
        name = file_name(name)
        try:
            return opened(HTTPStream([self._address(name)], self._get), name)
        except FileNotFoundError as error:
            self._require_root()
            raise missing(name) from error
        except HTTPFailure:
            self._entry(name)  # which tells of folders
            raise

    def _get(self, address: str, headers: dict[str, str]) -> requests.Response:
        return self._sessions.session.get(
            address, headers=headers, timeout=self.timeout, stream=True, allow_redirects=False
        )

    def exists(self, name: str) -> bool:
        return self._find(relative(name)) is not None

    def size(self, name: str) -> int:
        entry = self._entry(name)
        if entry.size is None:
            raise OSError(errno.EPROTO, "the server does not say how long the file is", name)
        return entry.size

    def get_modified_time(self, name: str) -> datetime:
        entry = self._entry(name)
        if not entry.modified:
            raise NotImplementedError("The server does not tell when files were modified.")
        moment = parsedate_to_datetime(entry.modified)
        return moment if settings.USE_TZ else timezone.make_naive(moment)

    def url(self, name: str | None) -> str:
        if self.base_url is None:
            raise ValueError("This file is not accessible via a URL.")
        return self.base_url + quote(file_name(name or ""))

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        folder = relative(path)
        try:
            entries = list(self._entries(f"{folder}/" if folder else "", depth=1))
        except FileNotFoundError:
            self._require_root()
            raise
        shallowest = min((entry.depth for entry in entries), default=0)
        if not any(entry.is_folder for entry in entries if entry.depth == shallowest):
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", path)
        children = [entry for entry in entries if entry.depth > shallowest]
        return (
            [entry.name for entry in children if entry.is_folder],
            [entry.name for entry in children if not entry.is_folder],
        )

    # ---- requests ----

    def _entry(self, name: str) -> Entry:
        entry = self._find(file_name(name))
        if entry is None:
            raise missing(name)
        if entry.is_folder:
            raise IsADirectoryError(errno.EISDIR, "a folder", name)
        return entry

    def _find(self, name: str) -> Entry | None:
        try:
            return next(self._entries(name, depth=0), None)
        except FileNotFoundError:
            self._require_root()
            return None

    def _entries(self, name: str, depth: int) -> Iterator[Entry]:
        headers = {"Depth": str(depth), "Content-Type": "application/xml"}
        response = self._ask("PROPFIND", name, (207,), data=_ASKED, headers=headers, stream=True)
        with closing(response):
            try:
                for _, element in ET.iterparse(response.raw):  # noqa: S314 - expat bounds what entities grow to
                    if element.tag == f"{_DAV}response":
                        yield _entry(element)
                        element.clear()
            except urllib3.exceptions.HTTPError as error:
                raise_plainly(error)
            except ET.ParseError as error:
                raise OSError(errno.EPROTO, "the server's listing cannot be read") from error

    def _ask(self, method: str, name: str, expected: tuple[int, ...], **extra: Any) -> requests.Response:
        """Send a request about what should be there; raise FileNotFoundError where it is not."""
        response = self._send(method, name, (*expected, 404), **extra)
        if response.status_code == 404:
            response.close()
            raise missing(name)
        return response

    def _send(self, method: str, name: str, expected: tuple[int, ...], **extra: Any) -> requests.Response:
        try:
            response = self._sessions.session.request(
                method, self._address(name), timeout=self.timeout, allow_redirects=False, **extra
            )
        except requests.RequestException as error:
            raise_plainly(error)
        if response.status_code not in expected:
            response.close()
            raise HTTPFailure(response.status_code, method, name)
        return response

    def _address(self, name: str) -> str:
        return f"{self._root}/{quote(name)}"

    def _require_root(self) -> None:
        """Raise if not just a file, but the whole folder is not there: a wrong setting, or a disk that is gone.

        It is looked for at each miss: a disk may go at any time, and its files would count as deleted.
        """
        try:
            next(self._entries("", depth=0), None)
        except FileNotFoundError as error:
            raise NoSuchFolder from error


def _entry(response: ET.Element) -> Entry:
    path = unquote(urlsplit(response.findtext(f"{_DAV}href", "")).path).rstrip("/")
    told = [
        each for each in response.iter(f"{_DAV}propstat") if " 200 " in f"{each.findtext(f'{_DAV}status')} "
    ]
    length = _first_text(told, "getcontentlength")
    return Entry(
        name=posixpath.basename(path),
        depth=path.count("/"),
        is_folder=any(each.find(f".//{_DAV}collection") is not None for each in told),
        size=int(length) if length else None,
        modified=_first_text(told, "getlastmodified"),
    )


def _first_text(told: list[ET.Element], field: str) -> str:
    return next(filter(None, (each.findtext(f".//{_DAV}{field}") for each in told)), "")
