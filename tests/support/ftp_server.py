"""An FTP server as a process of its own: pyftpdlib's.

Below a folder "strict" it refuses to rename to a taken name, as some servers do; below "full" no file can be stored,
and below "denied" none can be listed or deleted.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
from typing import Any

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.filesystems import AbstractedFS
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import ThreadedFTPServer


class Files(AbstractedFS):
    def rename(self, src: str, dst: str) -> None:
        if "/strict/" in dst and os.path.exists(dst):
            raise FileExistsError(errno.EEXIST, "File exists")
        super().rename(src, dst)

    def listdir(self, path: str) -> Any:
        _deny(path)
        return super().listdir(path)

    def remove(self, path: str) -> None:
        _deny(path)
        super().remove(path)

    def getsize(self, path: str) -> Any:
        _deny(path)
        return super().getsize(path)


def _deny(path: str) -> None:
    if "denied" in path.split("/"):
        raise PermissionError(errno.EACCES, "Permission denied")


class Handler(FTPHandler):  # type: ignore[misc]
    abstracted_fs = Files
    banner = "ready"
    auth_failed_timeout = 0.01

    def ftp_STOR(self, file: str, mode: str = "w") -> Any:  # noqa: N802 - pyftpdlib's name
        if "/full/" in file:
            self.respond("552 Quota exceeded.")
            return None
        return super().ftp_STOR(file, mode)


parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("user")
parser.add_argument("port", type=int)
arguments = parser.parse_args()
logging.basicConfig(level=logging.WARNING)
users = DummyAuthorizer()
users.add_user(arguments.user, os.environ["FTP_PASSWORD"], arguments.folder, perm="elradfmwMT")
Handler.authorizer = users
server = ThreadedFTPServer(("127.0.0.1", arguments.port), Handler)
server.serve_forever()
