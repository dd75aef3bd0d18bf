"""FTP: django-storages' FTPStorage on ftplib, and what the protocol can tell for certain.

* Threads that share an instance hang, or write into each other's folders. It opens lazily.
* It takes errors for "not there", gives a missing file the size 0, and with ``allow_overwrite`` neither finds nor
  deletes anything. After an error it writes into the wrong folder. It waits for ever for a silent server.
* It tells no modified time, and does not know the folder "a/".
* It writes in place; ``renaming.py`` publishes there.
* Its exceptions print the configuration, password included.

The protocol has one reply, 550, for "no such file" and for "permission denied", and some servers say 450 or 550 of an
empty directory. A name is missing where its directory can be listed without it, or is missing itself; every other
failure, and every cut connection, is an error and never an answer.
"""

from __future__ import annotations

import ftplib
import posixpath
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from ..spooling import spooled
from .base import Backend, class_paths, register

PATH = "storages.backends.ftp.FTPStorage"
#: Seconds for which a server may be silent while it is waited for.
SILENCE = 60.0

#: What servers reply to commands that they do not know.
_UNKNOWN_COMMAND = ("500", "502", "504")
_NOT_THERE = ("450", "550")
#: What servers say that take an empty directory for an error.
_NOTHING_LISTED = re.compile(r"no (such )?files?\b|not found", re.IGNORECASE)


@contextmanager
def connected(storage: Any) -> Iterator[ftplib.FTP]:
    """Yield the storage's connection; after an error it is dropped.

    FTPStorage changes the directory for each file, and after an error it would write the next one where it stands.
    """
    storage._start_connection()
    connection = storage._connection
    try:
        yield connection
    except BaseException:
        if storage._connection is connection:
            storage._connection = None
        connection.close()
        raise


def holds(storage: Any, name: str) -> bool:
    """Tell whether the name is there, be it a file or a directory."""
    folder, base = posixpath.split(name)
    with connected(storage) as connection:
        try:
            listed = connection.nlst(folder)
        except ftplib.Error as error:
            if not says(error, *_NOT_THERE):
                raise
            if folder and not holds(storage, folder):
                return False
            if _size(connection, name) is not None:
                return True
            if not _NOTHING_LISTED.search(str(error)):
                raise
            return False
    return name in listed or base in listed


def size(storage: Any, name: str) -> int | None:
    """Return the size in bytes; None where there is no such file, or the server does not know the command."""
    with connected(storage) as connection:
        return _size(connection, name)


def _size(connection: ftplib.FTP, name: str) -> int | None:
    connection.voidcmd("TYPE I")  # in text mode some servers refuse, and some count line ends twice
    try:
        return connection.size(name)
    except ftplib.error_perm as error:
        if not says(error, "550", *_UNKNOWN_COMMAND):
            raise
        return None


def knows_no_such_command(error: ftplib.Error) -> bool:
    return says(error, *_UNKNOWN_COMMAND)


def says(error: BaseException, *codes: str) -> bool:
    """Tell whether the server's reply had one of the codes."""
    return str(error).startswith(codes)


# ---- what FTPStorage does otherwise ----


def _start_connection(self: Any) -> None:
    from storages.backends.ftp import FTPStorageException

    if self._connection is not None:
        try:
            self._connection.pwd()
        except ftplib.all_errors:
            self._connection.close()
            self._connection = None
        else:
            return
    config = self._config
    connection = (ftplib.FTP_TLS if config["secure"] else ftplib.FTP)(timeout=SILENCE)
    connection.encoding = self.encoding
    try:
        connection.connect(config["host"], config["port"])
        connection.login(config["user"], config["passwd"])
        if isinstance(connection, ftplib.FTP_TLS):
            connection.prot_p()
        connection.set_pasv(not config["active"])
        if config["path"]:
            connection.cwd(config["path"])
    except ftplib.all_errors as error:
        connection.close()
        raise FTPStorageException("Connection or login error") from error
    self._connection = connection


def _put_file(self: Any, name: str, content: Any) -> None:
    from storages.backends.ftp import FTPStorageException

    folder, base = posixpath.split(name)
    with connected(self) as connection:
        self._mkremdirs(folder)
        here = connection.pwd()
        try:
            connection.cwd(folder)
            connection.storbinary(f"STOR {base}", content.file, content.DEFAULT_CHUNK_SIZE)
            connection.cwd(here)
        except (ftplib.Error, EOFError) as error:
            raise FTPStorageException(f"Error writing file {name}") from error


def _mkremdirs(self: Any, path: str) -> None:
    """Make the folders, and be where one was; somebody else may make any of them in the same moment."""
    connection = self._connection
    before = connection.pwd()
    for part in path.split("/"):
        try:
            connection.cwd(part)
        except ftplib.error_perm:
            with suppress(ftplib.error_perm):
                connection.mkd(part)
            connection.cwd(part)
    connection.cwd(before)


def _read(self: Any, name: str) -> Any:
    from storages.backends.ftp import FTPStorageException

    def download(into: Any) -> None:
        with connected(self) as connection:
            connection.retrbinary(f"RETR {name}", into.write, 1 << 16)

    try:
        return spooled(download)
    except ftplib.all_errors as error:
        if says(error, "550") and not holds(self, name):
            raise FileNotFoundError(name) from error
        raise FTPStorageException(f"Error reading file {name}") from error


def _exists(self: Any, name: str) -> bool:
    return holds(self, name)


def _is_name_available(self: Any, name: str, max_length: int | None = None) -> bool:
    if max_length and len(name) > max_length:
        return False
    return bool(self.allow_overwrite) or not self.exists(name)


def _delete(self: Any, name: str) -> None:
    try:
        with connected(self) as connection:
            connection.delete(name)
    except ftplib.error_perm:
        if holds(self, name):
            raise


def _size_or_missing(self: Any, name: str) -> int:
    if (known := size(self, name)) is not None:
        return known
    if not holds(self, name):
        raise FileNotFoundError(name)
    with connected(self):
        _, files = self._get_dir_details(posixpath.dirname(name))
    return int(files[posixpath.basename(name)])


def _get_modified_time(self: Any, name: str) -> datetime:
    try:
        with connected(self) as connection:
            told = connection.voidcmd(f"MDTM {name}")
    except ftplib.error_perm as error:
        if knows_no_such_command(error):
            raise NotImplementedError("This FTP server tells no modified times.") from error
        if not says(error, *_NOT_THERE) or holds(self, name):
            raise
        raise FileNotFoundError(name) from error
    return datetime.strptime(told.split()[1][:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)


def _listdir(self: Any, path: str) -> tuple[list[str], list[str]]:
    path = path.rstrip("/")
    if path and not holds(self, path):
        raise FileNotFoundError(path)
    with connected(self) as connection:
        try:
            entries = [(name, facts["type"]) for name, facts in connection.mlsd(path, ["type"])]
        except ftplib.error_perm as error:
            if not knows_no_such_command(error):
                raise
            dirs, files = self._get_dir_details(path)  # which cuts names at blanks
            return list(dirs), list(files)
    return [name for name, kind in entries if kind == "dir"], [
        name for name, kind in entries if kind == "file"
    ]


def reply(error: BaseException) -> str:
    """Return the code of the server's reply, three digits; "" of any other error."""
    return str(error)[:3] if "ftplib.Error" in class_paths(type(error)) else ""


def _is_permanent(error: Any) -> bool:
    # 550 is not among them: it stands for nearly everything, a busy file too.
    if reply(error) == "530":  # not logged in; some say so as well when too many others are
        return not _TOO_MANY.search(str(error))
    return reply(error) in ("532", "553")


_TOO_MANY = re.compile("too many|maximum|limit|later", re.IGNORECASE)

register(
    Backend(
        path=PATH,
        outage={"ftplib.Error": lambda e: reply(e) == "421"},
        permanent={"ftplib.Error": _is_permanent},
        capacity={"ftplib.Error": lambda e: reply(e) in ("452", "552")},
        unprintable=frozenset({"storages.backends.ftp.FTPStorageException"}),
        amendments={
            "_mkremdirs": _mkremdirs,
            "_put_file": _put_file,
            "_read": _read,
            "_start_connection": _start_connection,
            "delete": _delete,
            "exists": _exists,
            "get_modified_time": _get_modified_time,
            "is_name_available": _is_name_available,
            "listdir": _listdir,
            "size": _size_or_missing,
        },
    )
)
