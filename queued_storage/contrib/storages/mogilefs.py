"""MogileFS: names and places of files from its trackers, contents from and to its storage nodes.

A tracker takes a command as one line on a TCP connection, and answers with one line; nodes speak HTTP.
"""

from __future__ import annotations

import errno
import posixpath
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, quote, unquote_plus, urlencode

import requests
from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import Storage
from django.utils import timezone
from django.utils.deconstruct import deconstructible

from ...names import staging_name
from .objects import ATTEMPTS
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
    renamed,
    require_reading,
    uploading,
)

PORT = 7001
#: Of the longest answer: a thousand keys.
LONGEST_LINE = 1 << 22
#: The schema of trackers has room for so many bytes, and some databases cut off the rest.
LONGEST_KEY = 255
#: How many places to ask for; most files have two or three.
PATHS = 8
PAGE = 1000
#: Trackers take the prefix of keys for a pattern where a page is asked for that is not the first.
_PATTERN = frozenset("\\^$|()[]{}*+?")


class TrackerError(OSError):
    """What a tracker answered instead of doing what it was told; ``reason`` is the protocol's word for it."""

    def __init__(self, reason: str, text: str = "") -> None:
        self.reason = reason
        super().__init__(f"{reason}: {text}" if text and text != reason else reason)


class Trackers:
    """The trackers of one MogileFS: any of them will do."""

    def __init__(self, addresses: Sequence[str], timeout: float) -> None:
        self._addresses = [_address(each) for each in addresses]
        self._timeout = timeout

    def ask(self, command: str, *, repeatable: bool = True, **arguments: Any) -> dict[str, str]:
        """Return the answer of the first tracker that gives one; raise TrackerError where it says no.

        A command that is not repeatable is sent to one tracker: if it does not answer, nobody knows what it did.
        """
        line = f"{command} {urlencode(arguments)}\r\n".encode()
        failure: OSError = ConnectionError("there are no trackers to ask")
        for address in list(self._addresses):
            try:
                connection = socket.create_connection(address, self._timeout)
            except OSError as error:
                failure = self._passed_over(address, error)
                continue
            try:
                return _parsed(_exchanged(connection, line))
            except (TimeoutError, ConnectionError) as error:
                failure = self._passed_over(address, error)
                if not repeatable:
                    break
        raise failure

    def _passed_over(self, address: tuple[str, int], error: OSError) -> OSError:
        """Have the tracker asked last from now on."""
        self._addresses = [each for each in self._addresses if each != address] + [address]
        return error


def _address(tracker: str) -> tuple[str, int]:
    host, _, port = tracker.rpartition(":")
    return (host.strip("[]"), int(port)) if host else (tracker, PORT)


def _exchanged(connection: socket.socket, line: bytes) -> str:
    with connection, connection.makefile("rb") as answers:
        connection.sendall(line)
        answer: bytes = answers.readline(LONGEST_LINE)
    if not answer.endswith(b"\n"):
        raise ConnectionError("a tracker ended the connection before its answer")
    return answer.decode().rstrip("\r\n")


def _parsed(answer: str) -> dict[str, str]:
    verdict, _, rest = answer.partition(" ")
    if verdict == "OK":
        return dict(parse_qsl(rest, keep_blank_values=True))
    if verdict != "ERR":
        raise TrackerError("unknown_answer")
    reason, _, text = rest.partition(" ")
    raise TrackerError(reason, unquote_plus(text))


@deconstructible(path="queued_storage.contrib.storages.mogilefs.MogileFSStorage")
class MogileFSStorage(Storage):
    """Files of one domain; a name is a key, and its "/" make folders in listings alone.

    A file appears when its tracker was told that it is whole, and with ``allow_overwrite`` it replaces what had the
    name. ``timeout`` is for how many seconds a tracker or a node may be silent before the next one is asked.
    """

    def __init__(
        self,
        trackers: Sequence[str] = ("127.0.0.1:7001",),
        domain: str = "default",
        *,
        storage_class: str | None = None,
        base_url: str | None = None,
        timeout: float = TIMEOUT,
        allow_overwrite: bool = False,
    ) -> None:
        self.domain = domain
        self.storage_class = storage_class
        self.base_url = base_url if base_url is None or base_url.endswith("/") else f"{base_url}/"
        self.timeout = timeout
        self.allow_overwrite = allow_overwrite
        self._trackers = Trackers([trackers] if isinstance(trackers, str) else trackers, timeout)
        self._sessions = Sessions(_keep_inside)

    # ---- writing ----

    def is_name_available(self, name: str, max_length: int | None = None) -> bool:
        if max_length and len(name) > max_length:
            return False
        return self.allow_overwrite or not self.exists(name)

    def _save(self, name: str, content: File[Any]) -> str:
        with measured(content) as upload:
            return self._save_measured(file_name(name), upload)

    def _save_measured(self, name: str, content: File[Any]) -> str:
        if self.allow_overwrite:
            self._store(_key(name), content)
            return name
        # Closing a file replaces what has its key; renaming refuses a key that is taken.
        staged = posixpath.join(posixpath.dirname(name), staging_name())
        self._store(_key(staged), content)
        try:
            return renamed(self, name, lambda to: self.rename(staged, to))
        except BaseException:
            with suppress(Exception):  # the first error tells more
                self.delete(staged)
            raise

    def rename(self, name: str, to: str) -> None:
        """Give a file another name; raise FileExistsError where that is taken."""
        try:
            self._ask("RENAME", repeatable=False, from_key=_key(name), to_key=_key(to))
        except TrackerError as error:
            if error.reason == "key_exists":
                raise FileExistsError(errno.EEXIST, "the name is taken", to) from error
            raise _told(error, name) from error

    def _store(self, key: str, content: File[Any]) -> None:
        kind: dict[str, Any] = {"class": self.storage_class} if self.storage_class else {}
        place = self._ask("CREATE_OPEN", key=key, multi_dest=1, size=content.size, fid=0, **kind)
        devid, path = self._put(_destinations(place), content)
        self._ask(
            "CREATE_CLOSE",
            repeatable=False,
            key=key,
            fid=place["fid"],
            devid=devid,
            path=path,
            size=content.size,
        )

    def _put(self, destinations: list[tuple[str, str]], content: File[Any]) -> tuple[str, str]:
        """Send the content to the first node that takes it; return its device and address."""
        for left, (devid, path) in enumerate(destinations, 1 - len(destinations)):
            try:
                with uploading(content) as body:
                    self._put_at(path, body)
            except ContentFailed as failed:
                failure = failed.error
                break
            except OSError as error:
                if not left or not content.seekable():
                    raise_plainly(error)
            else:
                return devid, path
        else:
            raise TrackerError("no_devices", "the tracker names no device for the file")
        raise failure

    def _put_at(self, path: str, body: Upload | bytes) -> None:
        response = self._sessions.session.put(path, data=body, timeout=self.timeout, allow_redirects=False)
        if not response.ok:
            raise HTTPFailure(response.status_code, "PUT")

    def delete(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._ask_about(file_name(name), "DELETE")

    # ---- reading ----

    def _open(self, name: str, mode: str = "rb") -> File[bytes]:
        require_reading(mode)
        for _ in range(ATTEMPTS):
            info = self._info(name)
            try:
                return opened(HTTPStream(self._paths(name), self._get, int(info["length"])), name)
            except OSError as error:
                failure = error
                if self._info(name)["fid"] == info["fid"]:
                    break  # else the file was replaced in between
        raise failure

    def _get(self, path: str, headers: dict[str, str]) -> requests.Response:
        return self._sessions.session.get(
            path, headers=headers, timeout=self.timeout, stream=True, allow_redirects=False
        )

    def exists(self, name: str) -> bool:
        if not relative(name):
            return True
        try:
            self._info(name)
        except FileNotFoundError:
            return False
        return True

    def size(self, name: str) -> int:
        return int(self._info(name)["length"])

    def get_modified_time(self, name: str) -> datetime:
        """Return when a node stored the content, which may be when it was copied there from another."""
        moment = parsedate_to_datetime(self._modified(self._paths(name)))
        return moment if settings.USE_TZ else timezone.make_naive(moment)

    def _modified(self, paths: list[str]) -> str:
        for left, path in enumerate(paths, 1 - len(paths)):
            try:
                response = self._sessions.session.head(path, timeout=self.timeout, allow_redirects=False)
                if not response.ok:
                    raise HTTPFailure(response.status_code, "HEAD")
                return response.headers["Last-Modified"]
            except (requests.RequestException, HTTPFailure) as error:
                if not left:
                    raise_plainly(error)
        raise AssertionError("there are paths")

    def url(self, name: str | None) -> str:
        """Return the address below ``base_url``; without that the one of a storage node, for who reaches those."""
        if self.base_url is not None:
            return self.base_url + quote(file_name(name or ""))
        return self._paths(name or "")[0]

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        folder = relative(path)
        prefix = f"{folder}/" if folder else ""
        folders: dict[str, None] = {}
        files = []
        for key in self._keys(prefix):
            child, below, _ = key.removeprefix(prefix).partition("/")
            if below:
                folders[child] = None
            else:
                files.append(child)
        if folder and not folders and not files:
            raise missing(path)
        return list(folders), files

    def _keys(self, prefix: str) -> Iterator[str]:
        safe = prefix[: next((i for i, letter in enumerate(prefix) if letter in _PATTERN), None)]
        after = ""
        while True:
            try:
                page = self._ask("LIST_KEYS", prefix=safe, after=after, limit=PAGE)
            except TrackerError as error:
                if error.reason == "none_match":
                    return
                raise
            keys = [page[f"key_{number}"] for number in range(1, int(page["key_count"]) + 1)]
            yield from (key for key in keys if key.startswith(prefix))
            after = page["next_after"]

    # ---- trackers ----

    def _paths(self, name: str) -> list[str]:
        # Not "noverify": it lets trackers answer from their cache, which may know the file that was replaced.
        answer = self._ask_about(file_name(name), "GET_PATHS", pathcount=PATHS)
        paths = [answer[f"path{number}"] for number in range(1, int(answer["paths"]) + 1)]
        if not paths:
            raise TrackerError("no_devices", "no node that has the file is up")
        return paths

    def _info(self, name: str) -> dict[str, str]:
        return self._ask_about(file_name(name), "FILE_INFO")

    def _ask_about(self, name: str, command: str, **arguments: Any) -> dict[str, str]:
        try:
            return self._ask(command, key=_key(name), **arguments)
        except TrackerError as error:
            raise _told(error, name) from error

    def _ask(self, command: str, *, repeatable: bool = True, **arguments: Any) -> dict[str, str]:
        return self._trackers.ask(command, repeatable=repeatable, domain=self.domain, **arguments)


def _told(error: TrackerError, name: str) -> OSError:
    return missing(name) if error.reason == "unknown_key" else error


def _key(name: str) -> str:
    if len(name.encode()) > LONGEST_KEY:
        raise OSError(errno.ENAMETOOLONG, f"MogileFS takes names of {LONGEST_KEY} bytes", name)
    return name


def _destinations(place: dict[str, str]) -> list[tuple[str, str]]:
    if "dev_count" not in place:
        return [(place["devid"], place["path"])]
    numbers = range(1, int(place["dev_count"]) + 1)
    return [(place[f"devid_{number}"], place[f"path_{number}"]) for number in numbers]


def _keep_inside(session: requests.Session) -> None:
    session.trust_env = False  # nodes are of the house: neither proxies nor logins are for them
