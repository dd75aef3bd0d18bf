"""An SFTP server as a process of its own: asyncssh's, with OpenSSH's two kinds of rename.

Below a folder "plain" it knows no ``posix-rename``, as servers of other makers; below "full" no byte can be written,
and below "denied" nothing at all.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import os
from typing import Any

import asyncssh


class Login(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (arguments.user, os.environ["SFTP_PASSWORD"])


class Files(asyncssh.SFTPServer):
    def __init__(self, channel: Any) -> None:
        super().__init__(channel, chroot=os.fsencode(arguments.folder))

    def open(self, path: bytes, pflags: int, attrs: Any) -> Any:
        if b"/denied/" in path:
            raise PermissionError(errno.EACCES, "Permission denied")
        file = super().open(path, pflags, attrs)
        return Full(file) if b"/full/" in path and pflags & asyncssh.FXF_WRITE else file

    def write(self, file_obj: Any, offset: int, data: bytes) -> int:
        if isinstance(file_obj, Full):
            raise asyncssh.SFTPError(asyncssh.FX_FAILURE, "No space left on device")
        return super().write(file_obj, offset, data)  # type: ignore[return-value]

    def remove(self, path: bytes) -> None:
        if b"/denied/" in path:
            raise PermissionError(errno.EACCES, "Permission denied")
        super().remove(path)

    def rename(self, oldpath: bytes, newpath: bytes) -> None:
        """As OpenSSH does: a hard link at the new name, in one step, then the old name goes."""
        old, new = self.map_path(oldpath), self.map_path(newpath)
        try:
            os.link(old, new)
        except FileExistsError:
            raise asyncssh.SFTPError(asyncssh.FX_FAILURE, "Failure") from None
        os.unlink(old)

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        if b"/plain/" in newpath:
            raise asyncssh.SFTPOpUnsupported("Operation unsupported")
        super().posix_rename(oldpath, newpath)


class Full:
    """A file on a full disk."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


async def serve() -> None:
    server = await asyncssh.listen(
        "127.0.0.1",
        arguments.port,
        server_factory=Login,
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        sftp_factory=Files,
        allow_scp=False,
    )
    await server.wait_closed()


parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("user")
parser.add_argument("port", type=int)
arguments = parser.parse_args()
asyncio.run(serve())
