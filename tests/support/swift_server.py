"""OpenStack Swift for the tests: Debian's own servers, one of each, on the loopback and on one folder.

They run under the system's Python: the package of their clients, django-storage-swift, has the same name as theirs.
"""

from __future__ import annotations

import functools
import http.client
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import Process, free_ports
from tests.support.restartable import Running, running
from tests.support.services import not_installed

PARTS = ("account", "container", "object")
PACKAGES = ("swift-proxy", *(f"swift-{part}" for part in PARTS), "memcached")
PROGRAMS = (
    "swift-ring-builder",
    "swift-proxy-server",
    *(f"swift-{part}-server" for part in PARTS),
    "memcached",
)
MEMCACHED_MEGABYTES = 16


class Swift(Running):
    """An account of a Swift cluster of one node; each ``place`` is a container."""

    kind = "swift"
    user = "test:tester"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self._memcached, *ports = free_ports(2 + len(PARTS))
        self._ports = dict(zip(PARTS, ports, strict=True))
        self.password = f"secret-{uuid.uuid4().hex}"
        (folder / "devices" / "d1").mkdir(parents=True, exist_ok=True)
        self._write_configuration()

    @property
    def auth_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/auth/v1.0"

    # ---- its life ----

    def launch(self) -> list[Process]:
        memcached = [
            "memcached",
            "-l",
            "127.0.0.1",
            "-p",
            str(self._memcached),
            "-m",
            str(MEMCACHED_MEGABYTES),
        ]
        if os.geteuid() == 0:
            memcached += ["-u", "root"]  # which it refuses unless it is said
        commands = [memcached]
        commands += [[f"swift-{part}-server", f"{part}.conf"] for part in (*PARTS, "proxy")]
        # The checkout's Python must not be theirs, nor its packages.
        environment = {"PYTHONPATH": "", "PYTHONHOME": ""}
        return [Process(command, cwd=self.folder, env=environment) for command in commands]

    def answers(self) -> bool:
        """Tell whether all four servers take requests: the proxy answers before the others do."""
        for port in (self.port, *self._ports.values()):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
                connection.request("GET", "/healthcheck")
                if connection.getresponse().status != http.HTTPStatus.OK:
                    return False
            except (OSError, http.client.HTTPException):
                return False
            finally:
                connection.close()
        return True

    def kill_part(self, part: str) -> None:
        """Kill one of the servers behind the proxy: "account", "container" or "object"."""
        self._processes[1 + PARTS.index(part)].kill()

    def version(self) -> str:
        told = subprocess.run(
            ["/usr/bin/python3", "-c", "import swift; print(swift.__version__)"],
            capture_output=True, text=True, check=True, cwd=self.folder, env={"PATH": os.environ["PATH"]},
        )  # fmt: skip
        return f"OpenStack Swift {told.stdout.strip()}"

    # ---- its face ----

    @functools.cached_property
    def client(self) -> Any:
        import swiftclient

        return swiftclient.Connection(
            authurl=self.auth_url,
            user=self.user,
            key=self.password,
            retries=3,
            starting_backoff=0.1,
            timeout=20,
        )

    def new_place(self, name: str = "") -> str:
        place = f"place-{uuid.uuid4().hex[:12]}"
        self.client.put_container(place)
        return place

    def read(self, place: str, name: str) -> bytes:
        content: bytes = self.client.get_object(place, name)[1]
        return content

    def content_type(self, place: str, name: str) -> str:
        return str(self.client.head_object(place, name)["content-type"])

    def names(self, place: str) -> list[str]:
        return sorted(each["name"] for each in self.client.get_container(place, full_listing=True)[1])

    def put(self, place: str, name: str, content: bytes) -> None:
        self.client.put_object(place, name, content)

    def tier(self, place: str, port: int | None = None, **extra: Any) -> dict[str, Any]:
        """A whole tier for QUEUED_STORAGE_TIERS; through a relay if its port is given."""
        options = {
            "api_auth_url": f"http://127.0.0.1:{port or self.port}/auth/v1.0",
            "api_username": self.user,
            "api_key": self.password,
            "container_name": place,
        }
        if port is not None:  # the server tells the port that it knows itself, and the client would go there
            options["os_extra_options"] = {"object_storage_url": f"http://127.0.0.1:{port}/v1/AUTH_test"}
        return {"BACKEND": "swift.storage.SwiftStorage", "OPTIONS": options | extra}

    # ---- its configuration ----

    def _write_configuration(self) -> None:
        self._write("swift.conf", SWIFT_CONF.format(suffix=uuid.uuid4().hex))
        for part, port in self._ports.items():
            self._build_ring(part, port)
            own = {"folder": self.folder, "part": part, "port": port}
            self._write(f"{part}.conf", PART_CONF.format(**own))
        user = self.user.replace(":", "_")
        own = {"port": self.port, "memcached": self._memcached, "user": user, "password": self.password}
        self._write("proxy.conf", PROXY_CONF.format(folder=self.folder, **own))

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def _build_ring(self, part: str, port: int) -> None:
        device = f"r1z1-127.0.0.1:{port}/d1"
        for arguments in (["create", "4", "1", "0"], ["add", device, "1"], ["rebalance"]):
            subprocess.run(
                ["swift-ring-builder", f"{part}.builder", *arguments],
                cwd=self.folder, check=True, capture_output=True, env={"PATH": os.environ["PATH"]},
            )  # fmt: skip


#: One for all: what is told to the log goes to the standard output, and no system log is needed.
LOG = """
log_address = {folder}/no-such-socket
log_level = WARNING
"""
SWIFT_CONF = """
[swift-hash]
swift_hash_path_suffix = {suffix}

[storage-policy:0]
name = only
default = yes
"""
PART_CONF = (
    """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
swift_dir = {folder}
devices = {folder}/devices
recon_cache_path = {folder}
mount_check = false
fallocate_reserve = 0
"""
    + LOG
    + """
[pipeline:main]
pipeline = healthcheck {part}-server

[filter:healthcheck]
use = egg:swift#healthcheck

[app:{part}-server]
use = egg:swift#{part}
"""
)
PROXY_CONF = (
    """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
swift_dir = {folder}
"""
    + LOG
    + """
[pipeline:main]
pipeline = catch_errors healthcheck cache tempauth slo dlo proxy-server

[filter:catch_errors]
use = egg:swift#catch_errors

[filter:healthcheck]
use = egg:swift#healthcheck

[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}

[filter:tempauth]
use = egg:swift#tempauth
user_{user} = {password} .admin

[filter:slo]
use = egg:swift#slo

[filter:dlo]
use = egg:swift#dlo

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
"""
)


def folder_with_attributes() -> Path | None:
    """A folder whose file system keeps extended attributes, where Swift writes what it knows of an object."""
    for folder in dict.fromkeys((tempfile.gettempdir(), "/var/tmp", os.getcwd())):  # noqa: S108
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            try:
                os.setxattr(file.fileno(), "user.swift.metadata", b"x" * 1000)
            except OSError:
                continue
        return Path(folder)
    return None


@contextmanager
def swift() -> Iterator[Swift]:
    """A Swift cluster, its data in a folder that goes with it."""
    for program in PROGRAMS:
        if shutil.which(program) is None:
            not_installed(program, f"apt-get install {' '.join(PACKAGES)}")
    for module in ("swiftclient", "swift.storage", "magic"):
        try:
            import_module(module)
        except ImportError:  # "magic" is a wrapper around a library of the system
            not_installed(
                module, "pip install django-storage-swift python-swiftclient, apt-get install libmagic1"
            )
    if (parent := folder_with_attributes()) is None:
        pytest.skip("no file system here keeps extended attributes, which Swift needs")
    with (
        tempfile.TemporaryDirectory(
            prefix="queued-storage-swift-", dir=parent, ignore_cleanup_errors=True
        ) as folder,
        running(lambda: Swift(Path(tempfile.mkdtemp(dir=folder)))) as server,
    ):
        yield server
