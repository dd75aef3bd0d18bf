"""The way to one bucket: where it is, who asks, and the connections that lead there."""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable, Mapping
from typing import Any
from urllib.parse import urlsplit

from .. import conf
from ..stock import has_stock
from . import connections, sessions
from .connections import Connections, Exchange, Server
from .signing import EMPTY, Signer, Target

#: Of django-storages' class.
PATH = "storages.backends.s3.S3Storage"


class Line:
    """Sends signed requests for the objects of a bucket."""

    def __init__(
        self,
        base: str,
        credentials: Any,
        region: str,
        lines: Connections,
        *,
        service: Any,
        endpoint: str,
        checksums: bool,
    ) -> None:
        #: What botocore knows of S3's requests.
        self.service = service
        #: Of the server, which may have a host for each bucket.
        self.endpoint = endpoint
        self._base = base
        self._credentials = credentials
        self._signer = Signer(region)
        self._connections = lines
        self._region = region
        #: Whether a checksum goes with what is sent, as the client's settings say.
        self.checksums = checksums

    def leads_where(self, other: Line) -> bool:
        """Tell whether one server is behind both, which knows who asks as the same."""
        keys = (line._credentials.get_frozen_credentials().access_key for line in (self, other))
        return self.endpoint == other.endpoint and self._region == other._region and len(set(keys)) == 1

    def ask(
        self,
        method: str,
        key: str,
        headers: Mapping[str, str],
        body: Any = None,
        digest: str = EMPTY,
        **parameters: str,
    ) -> Exchange:
        """Send a request; ``digest`` is the body's SHA-256. Raise one of connections.BROKEN."""
        target = Target.of(self._base, key, **parameters)
        headers = {"Host": self._connections.host, **headers}
        credentials = self._credentials.get_frozen_credentials()
        signed = self._signer.signed(credentials, method, target, headers, digest)
        return self._connections.ask(method, str(target), body, signed)


def line_to(storage: Any) -> Line | None:
    """Return the way to the storage's bucket; None where only botocore knows it.

    Storages of the same settings share it in a process: a client of boto3, from which it is learnt, takes a file's time
    twenty times over, and a worker has one storage for each thread.
    """
    if not conf.get("FAST_PATHS") or storage.proxies:
        return None
    # Beside the thread's own client: no copy or pickle of the storage has it.
    known: dict[tuple[int, str], Line | None] = vars(storage._connections).setdefault(
        "queued_storage_lines", {}
    )
    key = (os.getpid(), storage.bucket_name)
    if key not in known:
        known[key] = _shared(storage)
    return known[key]


#: Lines that are kept at most: who has more settings than that builds some of them again.
_KEPT = 64
_lines: dict[Hashable, Line | None] = {}
#: By process: who forks while another thread holds its lock has a new one in the child.
_locks: dict[int, threading.Lock] = {}


def _shared(storage: Any) -> Line | None:
    if not sessions.is_ordinary(storage.__class__):
        return _line(storage, storage.bucket.meta.client)
    pid = os.getpid()
    key = (pid, sessions.identity(storage))
    with _locks.setdefault(pid, threading.Lock()):
        if key not in _lines:
            if len(_lines) >= _KEPT:
                _lines.clear()
            _lines[key] = _line(storage, storage.bucket.meta.client)
        return _lines[key]


def does_as_stock(storage: Any, *methods: str) -> bool:
    """Tell whether these methods of the storage, or class, are S3Storage's own: a subclass' own ways are respected."""
    return all(has_stock(storage, method, PATH) for method in methods)


def _line(storage: Any, client: Any) -> Line | None:
    signer = getattr(client, "_request_signer", None)
    credentials = getattr(signer, "_credentials", None)
    config = client.meta.config
    if not hasattr(credentials, "get_frozen_credentials") or config.signature_version not in (None, "s3v4"):
        return None
    # The address that the client would ask, which the kind of bucket and of endpoint decide.
    address = client.generate_presigned_url("put_object", Params={"Bucket": storage.bucket_name, "Key": "k"})
    base = urlsplit(address.partition("?")[0].removesuffix("k"))
    if _goes_through_proxy(base.geturl()) or config.client_cert:
        return None
    region = client.meta.region_name
    server = Server(
        base.scheme,
        base.netloc,
        _trust(storage) if base.scheme == "https" else "",
        config.connect_timeout,
        config.read_timeout,
    )
    return Line(
        base.path,
        credentials,
        "us-east-1" if region in (None, "aws-global") else region,
        connections.to(server),
        service=client.meta.service_model,
        endpoint=client.meta.endpoint_url,
        checksums=getattr(config, "request_checksum_calculation", "") == "when_supported",
    )


def _goes_through_proxy(url: str) -> bool:
    from botocore.utils import get_environ_proxies

    return bool(get_environ_proxies(url))


def _trust(storage: Any) -> str:
    from botocore.httpsession import get_cert_path

    verify = os.environ.get("AWS_CA_BUNDLE") or True if storage.verify is None else storage.verify
    return str(get_cert_path(verify)) if verify else ""
