"""LibCloudStorage for the tests: its provider given as options, and S3 through a driver class of our own."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from django.conf import settings
from libcloud.storage.drivers.minio import MinIOConnectionAWS4
from libcloud.storage.drivers.s3 import BaseS3StorageDriver
from libcloud.storage.providers import DRIVERS, set_driver
from libcloud.storage.types import Provider
from storages.backends.apache_libcloud import LibCloudStorage

HOST = "127.0.0.1"


class LoopbackS3Driver(BaseS3StorageDriver):  # type: ignore[misc]
    """S3 at a port of the loopback.

    LibCloudStorage hands on no more than a login, a project and a region: the region is the port.
    """

    name = "S3 on the loopback"
    connectionCls = MinIOConnectionAWS4  # noqa: N815 - Libcloud names it so
    region_name = "us-east-1"

    def __init__(self, key: str, secret: str, region: str) -> None:
        super().__init__(key=key, secret=secret, secure=False, host=HOST, port=int(region))


def register() -> None:
    """Make the driver known to Libcloud, in the way that its documentation shows."""
    Provider.LOOPBACK_S3 = "loopback_s3"
    if Provider.LOOPBACK_S3 not in DRIVERS:
        set_driver(Provider.LOOPBACK_S3, __name__, LoopbackS3Driver.__name__)


class GivenLibCloudStorage(LibCloudStorage):  # type: ignore[misc]
    """The stock storage; only its provider comes with the options, and not from the settings of the project."""

    def __init__(self, **provider: Any) -> None:
        register()
        name = hashlib.sha256(json.dumps(provider, sort_keys=True).encode()).hexdigest()
        if not hasattr(settings, "LIBCLOUD_PROVIDERS"):
            settings.LIBCLOUD_PROVIDERS = {}
        settings.LIBCLOUD_PROVIDERS.setdefault(name, provider)
        super().__init__(provider_name=name)
