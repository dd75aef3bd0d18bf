"""SFTP: django-storages' SFTPStorage on paramiko.

* Threads that share an instance wait for ever. It opens lazily.
* ``delete`` swallows every error, that of a dead server too.
* A file that is read when the connection ends is taken for one that ends there.
* It never connects again once a new connection was refused, and waits for ever for a server that falls silent.
* A private key that is missing on this disk is a missing file to whoever asks, and the connection stays open.
* Of two that make a folder at once, one fails.
* It writes in place; ``renaming.py`` publishes there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from .base import Backend, always, register

PATH = "storages.backends.sftpstorage.SFTPStorage"
#: Seconds for which a server may be silent while it is waited for.
SILENCE = 60.0


def _is_permanent(error: Any) -> bool:
    # The class is also that of a server which cut the connection, or fell silent, during the login.
    return str(error).startswith(
        ("Authentication failed.", "Bad authentication type", "Private key file is ")
    )


def _connect(self: Any) -> None:
    from paramiko import AuthenticationException
    from storages.backends.sftpstorage import SFTPStorage

    self._sftp = None  # or, while the server is down, it would hold on to the connection that it has lost
    try:
        SFTPStorage._connect(self)
    except BaseException as error:
        self._ssh.close()
        if isinstance(error, FileNotFoundError):
            raise AuthenticationException("Private key file is missing") from error
        raise
    channel, transport = self._sftp.get_channel(), self._ssh.get_transport()
    channel.settimeout(SILENCE)
    # After a late answer the connection cannot be used again, and the storage would go on using it.
    channel.recv = _ending(transport, channel.recv)
    channel.send = _ending(transport, channel.send)


def _ending(transport: Any, call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def call_or_end(argument: Any) -> Any:
        try:
            passed = call(argument)
        except TimeoutError:
            transport.close()
            raise
        if not passed:
            raise ConnectionResetError("the connection was closed")
        return passed

    return call_or_end


def _mkdir(self: Any, path: str) -> None:
    """Make the folder, unless somebody else does in the same moment."""
    from storages.backends.sftpstorage import SFTPStorage

    try:
        SFTPStorage._mkdir(self, path)
    except OSError:
        if not self._path_exists(path):
            raise


def _delete(self: Any, name: str) -> None:
    with suppress(FileNotFoundError):
        self.sftp.remove(self._remote_path(name))


register(
    Backend(
        path=PATH,
        extra="sftp",
        outage={
            "paramiko.ssh_exception.NoValidConnectionsError": always,
            "paramiko.ssh_exception.SSHException": always,
        },
        permanent={
            "paramiko.ssh_exception.AuthenticationException": _is_permanent,
            "paramiko.ssh_exception.BadHostKeyException": always,
        },
        amendments={"_connect": _connect, "_mkdir": _mkdir, "delete": _delete},
    )
)
