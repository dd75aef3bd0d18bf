"""What the storages on servers have in common: names, uploads that are counted, and files that HTTP servers send."""

from __future__ import annotations

import errno
import io
import os
import posixpath
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import requests
import urllib3
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import File

from ...names import staging_name
from ...ranged import RangedStream
from .objects import ATTEMPTS, GONE

CHUNK = 1 << 18
#: Seconds for which a server may be silent.
TIMEOUT = 20.0

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SENT = re.compile(r"bytes (\d+)-\d+/(\d+)")


def relative(name: str) -> str:
    """Return the name's one spelling, "" for the storage's own folder; refuse what leads out of that."""
    text = str(name).replace("\\", "/")
    path = posixpath.normpath(text.rstrip("/") or ".")
    if path.startswith(("/", "../")) or path == ".." or _CONTROL.search(path):
        raise SuspiciousFileOperation(f"{name!r} is not a name of a file in this storage.")
    return "" if path == "." else path


def file_name(name: str) -> str:
    """Return the one spelling of a file's name; an empty one is refused."""
    path = relative(name)
    if not path:
        raise ValueError("The name of a file must not be empty.")
    return path


def opened(stream: RangedStream, name: str) -> File[bytes]:
    """Return the stream as the file that a storage opens."""
    file = File(io.BufferedReader(stream, CHUNK), name)
    file.size = stream.size
    return file


def require_reading(mode: str) -> None:
    if mode != "rb":
        raise ValueError(f"Files are opened in the mode 'rb', not {mode!r}; use save() to write.")


def missing(name: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)


class HTTPFailure(OSError):
    """An answer that a server should not have given; ``status_code`` tells which."""

    def __init__(self, status_code: int, request: str, name: str = "") -> None:
        self.status_code = status_code
        super().__init__(f"{request} {name}".rstrip() + f" was answered with HTTP status {status_code}")


class Upload:
    """What is to be sent of a file, from its start, as requests takes it; it ends at its size, or raises."""

    def __init__(self, content: File[Any]) -> None:
        self.size: int = content.size
        #: What went wrong with the content itself: clients report it as if the server had failed.
        self.failure: BaseException | None = None
        self._chunks = _bytes(content)
        self._left = memoryview(b"")
        self._sent = 0

    def __len__(self) -> int:
        return self.size

    def read(self, most: int = -1) -> bytes:
        try:
            if not self._left:
                self._left = memoryview(next(self._chunks, b""))
            data = bytes(self._left[: most if most > 0 else None])
            self._left = self._left[len(data) :]
            self._sent += len(data)
            if self._sent > self.size or (not data and self._sent < self.size):
                raise OSError(errno.EIO, "the content is not as long as it says")
        except BaseException as error:
            self.failure = error
            raise
        return data

    def require_end(self) -> None:
        """Raise if there is more than was said."""
        while self.read():
            pass


@contextmanager
def measured(content: File[Any]) -> Iterator[File[Any]]:
    """Yield the content as one whose ``size`` is the count of its bytes: what cannot tell is read into a file."""
    if _tells_its_size(content):
        yield content
        return
    with tempfile.SpooledTemporaryFile(max_size=CHUNK) as spool:
        spool.writelines(_bytes(content))
        yield File(spool, content.name)


def _tells_its_size(content: File[Any]) -> bool:
    if isinstance(getattr(content, "file", None), io.TextIOBase):
        return False  # which counts letters
    with suppress(AttributeError, OSError):
        content.seek(0)  # what is in its buffer would not count: the size is asked of the disk
    try:
        return content.size is not None
    except (AttributeError, OSError):
        return False


def _bytes(content: File[Any]) -> Iterator[bytes]:
    for chunk in content.chunks(CHUNK):
        yield chunk.encode() if isinstance(chunk, str) else chunk


class ContentFailed(Exception):
    """The content of an upload failed, and not the server; ``error`` tells how."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        super().__init__("the content could not be read")


@contextmanager
def uploading(content: File[Any]) -> Iterator[Upload | bytes]:
    """Yield the body of a request; raise ContentFailed where not the server is to blame for its end."""
    upload = Upload(content)
    try:
        # requests would send an empty file in chunks, of which there are none.
        yield upload if upload.size else b""
        upload.require_end()
    except Exception as error:
        if upload.failure is not None:
            raise ContentFailed(upload.failure) from error
        raise


class Sessions(threading.local):
    """A session of requests for each thread and process: connections are shared by neither."""

    def __init__(self, configure: Callable[[requests.Session], None]) -> None:
        self._configure = configure
        self._pid = 0

    @property
    def session(self) -> requests.Session:
        if self._pid != os.getpid():
            self._session = requests.Session()
            # Lengths and ranges count what is stored, so nothing may be packed on its way.
            self._session.headers["Accept-Encoding"] = "identity"
            self._configure(self._session)
            self._pid = os.getpid()
        return self._session


#: Sends a GET request with these headers to an address, and returns the response with its content still to come.
Get = Callable[[str, dict[str, str]], requests.Response]


@dataclass(frozen=True)
class Validator:
    """What a server says of a content, by which it is told from another one."""

    etag: str
    modified: str

    @classmethod
    def of(cls, response: requests.Response) -> Validator:
        return cls(response.headers.get("ETag", ""), response.headers.get("Last-Modified", ""))

    @property
    def is_strong(self) -> bool:
        return self.etag.startswith('"')

    def agrees(self, later: Validator) -> bool:
        """Tell whether the later answer speaks of this content; without any word of either, it may."""
        if self.etag.removeprefix("W/") != later.etag.removeprefix("W/"):
            return False
        return (self.is_strong and later.is_strong) or self.modified == later.modified


class HTTPStream(RangedStream):
    """A file as a response that is read on; a seek costs a new request.

    All addresses have the same content, of the ``size`` if that is known before: where one fails, or has another, the
    next is asked for the rest.
    """

    def __init__(self, addresses: Sequence[str], get: Get, size: int | None = None) -> None:
        super().__init__()
        self._addresses = list(addresses)
        self._get = get
        self._response: requests.Response | None = None
        self._validators: dict[str, Validator] = {}
        if size is not None:
            self.size = size
        self._request()

    def _request(self) -> None:
        while True:
            address = self._addresses[0]
            try:
                self._response = self._ask(address)
            except (OSError, urllib3.exceptions.HTTPError) as error:
                self._give_up(address, error)
            else:
                return

    def _ask(self, address: str) -> requests.Response | None:
        headers = {"Range": f"bytes={self._position}-"}
        if address in self._validators and self._validators[address].is_strong:  # a weak one never matches
            headers["If-Match"] = self._validators[address].etag
        response = self._get(address, headers)
        try:
            return self._begun(address, response)
        except BaseException:
            response.close()
            raise

    def _begun(self, address: str, response: requests.Response) -> requests.Response | None:
        status = response.status_code
        if status == 416 and not self._position and not getattr(self, "size", 0):  # it has no byte 0
            self.size = 0
            response.close()
            return None
        if status == 404 and not hasattr(self, "size"):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if status in (404, 412, 416):
            raise OSError(errno.ESTALE, GONE)
        if status not in (200, 206):
            raise HTTPFailure(status, "GET")
        self._require_same_content(address, response)
        if status == 200:  # the server knows no ranges
            _skip(response, self._position)
        return response

    def _require_same_content(self, address: str, response: requests.Response) -> None:
        """Keep what the first answer says of its content; raise if this one speaks of another."""
        size, validator = _size(response, self._position), Validator.of(response)
        first = self._validators.setdefault(address, validator)
        if getattr(self, "size", size) != size or not first.agrees(validator):
            raise OSError(errno.ESTALE, GONE)
        self.size = size

    def _read(self, most: int) -> bytes:
        while True:
            if self._response is None:
                self._request()
            assert self._response is not None
            try:
                data: bytes = self._response.raw.read(most)
                if not data:
                    raise ConnectionError("the connection ended before the file did")
            except (OSError, urllib3.exceptions.HTTPError) as error:
                self._drop()
                self._give_up(self._addresses[0], error)
            else:
                return data

    def _give_up(self, address: str, error: Exception) -> None:
        """Go on with the next address; raise if there is none."""
        if len(self._addresses) == 1:
            raise_plainly(error)
        self._addresses.remove(address)

    def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None


def raise_plainly(error: Exception) -> NoReturn:
    """Raise what the error of an HTTP client means where it is about the connection, else the error itself."""
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        raise TimeoutError(errno.ETIMEDOUT, "the server does not answer") from error
    if isinstance(error, requests.ConnectionError | urllib3.exceptions.HTTPError):
        raise ConnectionError("the connection to the server was refused, or ended") from error
    raise error


def _size(response: requests.Response, position: int) -> int:
    """Return how long the whole file is; raise if the answer does not begin at its start or at the position."""
    if response.status_code == 206:
        if sent := _SENT.match(response.headers.get("Content-Range", "")):
            if int(sent[1]) != position:
                raise OSError(errno.EPROTO, "the server sends another range than it was asked for")
            return int(sent[2])
    elif (length := response.headers.get("Content-Length", "")).isdecimal():
        return int(length)
    raise OSError(errno.EPROTO, "the server does not say how long the file is")


def _skip(response: requests.Response, count: int) -> None:
    while count:
        data = response.raw.read(min(count, CHUNK))
        if not data:
            raise ConnectionError("the connection ended before the file did")
        count -= len(data)


class Naming(Protocol):
    """A storage that finds other names for those that are taken."""

    def get_available_name(self, name: str) -> str: ...

    def get_alternative_name(self, file_root: str, file_ext: str) -> str: ...


class Staging(Naming, Protocol):
    """A storage that writes in place, but can rename."""

    def upload(self, name: str, content: File[Any]) -> int: ...

    def rename(self, name: str, to: str, *, overwrite: bool) -> None: ...

    def size(self, name: str) -> int: ...

    def delete(self, name: str) -> None: ...


def renamed(storage: Naming, name: str, rename: Callable[[str], None]) -> str:
    """Rename to the name, or to another one where ``rename`` says that it is taken; return the one that it got."""
    for _ in range(ATTEMPTS):
        try:
            rename(name)
        except FileExistsError:
            name = _another(storage, name)
        else:
            return name
    raise FileExistsError(errno.EEXIST, "the name and all others that were tried are taken", name)


def _another(storage: Naming, name: str) -> str:
    found = storage.get_available_name(name)
    if found != name:
        return found
    # It is taken, and nobody sees by what: a lock, a file that the login may not see.
    folder, base = posixpath.split(name)
    return posixpath.join(folder, storage.get_alternative_name(*posixpath.splitext(base)))


def save_staged(storage: Staging, name: str, content: File[Any], *, overwrite: bool) -> str:
    """Write the content beside its place and rename it when it is whole; return the name that it got."""
    staged = posixpath.join(posixpath.dirname(name), staging_name())
    try:
        sent = storage.upload(staged, content)
        if (arrived := storage.size(staged)) != sent:
            raise OSError(errno.EIO, f"{arrived} of {sent} bytes arrived")
        return renamed(storage, name, lambda to: storage.rename(staged, to, overwrite=overwrite))
    except BaseException:
        with suppress(Exception):  # the first error tells more
            storage.delete(staged)
        raise
