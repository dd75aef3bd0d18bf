"""Every storage that this package answers for, and what proves it: one entry each, a column of the docs' matrix."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from django.utils.module_loading import import_string


@dataclass(frozen=True)
class Kind:
    #: In ids of tests and in the matrix.
    name: str
    #: What it is called in the docs.
    title: str
    #: Dotted path of the context manager that starts its server (or makes its folder) and yields the face of it.
    starter: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    #: OPTIONS of a tier, beside those by which the server is found.
    options: Mapping[str, Any] = field(default_factory=dict)
    #: Distributions of the client's side, whose versions the matrix tells.
    clients: tuple[str, ...] = ()
    #: The alias of the database that holds its files, and the catalog's rows in its tests.
    database: str = ""
    #: Whether processes of their own serve it, which a test can kill.
    has_server: bool = True
    #: Whether another process, a worker, sees its files.
    is_shared: bool = True
    #: Whether it takes writes fast enough for a first tier.
    is_first: bool = True
    #: Whether files have a URL.
    has_url: bool = True
    #: Which behaviours of the conformance kit it cannot have, by id, and why.
    cannot: Mapping[str, str] = field(default_factory=dict)
    #: Warnings of its libraries that say nothing of ours, as filters of pytest.
    warnings: tuple[str, ...] = ()

    def start(self) -> AbstractContextManager[Any]:
        starter: Any = import_string(self.starter)
        server: AbstractContextManager[Any] = starter(**self.arguments)
        return server


#: django-storages' AzureStorage's, on every construction, from Python 3.12 on.
UTCNOW = "ignore:datetime.datetime.utcnow:DeprecationWarning"

KINDS = (
    Kind(
        "filesystem", "Filesystem", "tests.support.in_process.disk", has_server=False, clients=("Django",)
    ),
    Kind(
        "in-memory", "In memory", "tests.support.in_process.memory",
        has_server=False, is_shared=False, clients=("Django",),
    ),
    Kind(
        "s3-seaweedfs", "S3 on SeaweedFS", "tests.support.servers.seaweedfs",
        options={"file_overwrite": False}, clients=("django-storages", "boto3"),
    ),
    Kind(
        "s3-moto", "S3 on moto", "tests.support.servers.moto",
        arguments={"journal": True}, options={"file_overwrite": False}, clients=("django-storages", "boto3"),
    ),
    Kind(
        "azure", "Azure", "tests.support.file_servers.azurite",
        arguments={"durable": True}, clients=("django-storages", "azure-storage-blob"), warnings=(UTCNOW,),
    ),
    Kind(
        "google", "Google Cloud", "tests.support.file_servers.fake_gcs",
        options={"file_overwrite": False}, clients=("django-storages", "google-cloud-storage"),
    ),
    Kind(
        "sftp-openssh", "SFTP", "tests.support.openssh_server.openssh", clients=("django-storages", "paramiko")
    ),
    Kind(
        "ftp", "FTP", "tests.support.file_servers.file_server",
        arguments={"kind": "ftp"}, clients=("django-storages",),
    ),
    Kind(
        "swift", "OpenStack Swift", "tests.support.swift_server.swift",
        clients=("django-storage-swift", "python-swiftclient"),
    ),
    Kind("dropbox", "Dropbox (a stub)", "tests.support.dropbox_stub.dropbox", clients=("django-storages", "dropbox")),
    Kind(
        "libcloud-local", "Libcloud, local", "tests.support.libcloud_servers.local",
        has_server=False, clients=("django-storages", "apache-libcloud"),
    ),
    Kind(
        "libcloud-s3", "Libcloud, S3 on moto", "tests.support.libcloud_servers.s3",
        arguments={"journal": True}, clients=("django-storages", "apache-libcloud"),
    ),
    Kind(
        "gridfs", "GridFS", "tests.support.document_servers.mongoeco", clients=("pymongo",),
    ),
    Kind(
        "couchdb", "CouchDB", "tests.support.document_servers.pouchdb", clients=("requests",),
    ),
    Kind("mogilefs", "MogileFS (a stub)", "tests.support.wire_servers.mogilefs", clients=("requests",)),
    Kind("webdav", "WebDAV", "tests.support.wire_servers.webdav", clients=("requests",)),
    *(
        Kind(
            f"database-{engine}", f"Database, {title}", "tests.support.in_process.database",
            arguments={"alias": alias}, database=alias, has_server=False, clients=("Django",),
        )
        for engine, title, alias in (
            ("sqlite", "SQLite", "default"),
            ("postgresql", "PostgreSQL", "postgresql"),
            ("mariadb", "MariaDB", "mysql"),
        )
    ),
    *(
        Kind(
            name, title, "tests.support.in_process.disk",
            arguments={"backend": f"queued_storage.contrib.storages.{path}"}, has_server=False, clients=("Django",),
        )
        for name, title, path in (
            ("image", "Image", "image.ImageStorage"),
            ("overwrite", "Overwrite", "overwrite.OverwriteStorage"),
            ("symlink-or-copy", "Symlink or copy", "symlink.SymlinkOrCopyStorage"),
        )
    ),
)  # fmt: skip

SERVERS = tuple(kind for kind in KINDS if kind.has_server)
