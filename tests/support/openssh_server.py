"""OpenSSH's own sshd for the tests: a configuration, a host key and a login key of its own, and SFTP alone.

The login is this account's: sshd without privileges can serve no other.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.file_servers import FileServer, need_modules
from tests.support.processes import Process, free_ports
from tests.support.restartable import running
from tests.support.servers import temporary_folder
from tests.support.services import HOST, not_installed

#: Where sshd, run by root, locks its unprivileged half in. A boot makes it; a container may lack it.
PRIVILEGE_SEPARATION = Path("/run/sshd")

CONFIGURATION = """
ListenAddress {host}:{port}
HostKey {keys}/host
AuthorizedKeysFile {keys}/login.pub
AllowUsers {user}
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
UseDNS no
Subsystem sftp internal-sftp
# Tests log in many times at once, and break off many logins.
MaxStartups 200
"""
#: The version that came to punish addresses whose logins break off, and how it is told not to.
PUNISHES, FORGIVE = (9, 8), "PerSourcePenalties no\n"


def sshd_program() -> str | None:
    """The absolute path, which sshd needs to start itself anew for each connection."""
    return shutil.which(
        "sshd", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    )


@dataclass(eq=False)
class OpenSSH(FileServer):
    @property
    def keys(self) -> Path:
        return self.folder.with_name("keys")

    def make_keys(self) -> None:
        self.keys.mkdir()
        for name in ("host", "login"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self.keys / name)]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)

    def launch(self) -> list[Process]:
        if not self.keys.exists():
            self.make_keys()
        if os.geteuid() == 0:
            PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
        configuration = self.keys / "sshd_config"
        configuration.write_text(
            CONFIGURATION.format(host=HOST, port=self.port, keys=self.keys, user=self.user)
            + (FORGIVE if version_number(self.version()) >= PUNISHES else "")
        )
        return [Process([str(sshd_program()), "-D", "-e", "-f", str(configuration)])]

    def kill(self) -> None:
        """End it and its connections: each of those is a process with a session of its own."""
        for process in self._processes:
            if process.running:
                process.signal(signal.SIGSTOP)  # takes no further connection
                for connection in descendants(process.pid):
                    os.kill(connection, signal.SIGKILL)
        super().kill()

    def version(self) -> str:
        told = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr
        return told.split(",")[0].split()[0].replace("_", " ")

    def tier(self, place: str, port: int | None = None, **extra: Any) -> dict[str, Any]:
        login = {"username": self.user, "key_filename": str(self.keys / "login"), "timeout": 20}
        options = {
            "host": HOST,
            "root_path": str(self.path(place)),
            "params": {**login, "port": port or self.port, "allow_agent": False, "look_for_keys": False},
            # None: the one of the user's own account would be read, and written to.
            "known_host_file": str(self.keys / "no-such-file"),
            "base_url": "/sftp/",
        }
        return {"BACKEND": "storages.backends.sftpstorage.SFTPStorage", "OPTIONS": options | extra}


def version_number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def descendants(pid: int) -> list[int]:
    """The processes that this one started, and theirs."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (thread / "children").read_text().split()):
            found += [child, *descendants(child)]
    return found


@contextmanager
def openssh() -> Iterator[OpenSSH]:
    if sshd_program() is None:
        not_installed("sshd", "apt-get install openssh-server")
    need_modules("paramiko")
    user = pwd.getpwuid(os.geteuid()).pw_name
    with temporary_folder("openssh") as folder:

        def make() -> OpenSSH:
            port = free_ports(1)[0]
            files = folder / str(port) / "files"
            files.mkdir(parents=True)
            return OpenSSH("sftp", port, files, user)

        with running(make) as server:
            yield server
