"""Large objects to S3 in parts that go side by side, in bounded memory."""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from .. import logs
from .answers import Refused, Sent, code_of, etag_of
from .checksums import crc32
from .connections import BROKEN, Exchange
from .signing import EMPTY

if TYPE_CHECKING:
    from .copies import Object
    from .line import Line

#: Parts of one object that go at a time, and parts (and large bodies) of all objects that a process has in memory.
AT_A_TIME = 4
IN_MEMORY = 8
#: Bytes that a server copies as one part, and how many parts an object may have.
COPIED_AT_ONCE = 1 << 28
MOST_PARTS = 10_000
#: How often a part is sent, and seconds before the second time, which double.
TRIES = 4
DELAY = 0.2
#: What is asked for with every request about the object.
_WITH_EACH = {"RequestPayer": "x-amz-request-payer", "ExpectedBucketOwner": "x-amz-expected-bucket-owner"}


class _Broken(Exception):
    """A part could not be sent."""


def put(
    storage: Any,
    line: Line,
    content: Any,
    headers: Mapping[str, str],
    *,
    key: str,
    parameters: Mapping[str, Any],
) -> Sent | None:
    """Send the object as ``uploads.put`` does.

    The requests before and after the parts are botocore's: they are few, and it knows best what they have to say.
    """
    upload = _Upload(storage, line, key, parameters, checksums=line.checksums)
    try:
        with upload.begun():
            upload.send(content)
            upload.complete(headers)
    except _Broken as error:
        logs.info("parts_refused", key=key, by="upload", error=error)
        return None
    return Sent(is_proven=False)


def copy(
    storage: Any,
    line: Line,
    found: Object,
    headers: Mapping[str, str],
    *,
    key: str,
    parameters: Mapping[str, Any],
) -> Sent | None:
    """Have the server copy the object as ``copies.copy`` does, in parts."""
    upload = _Upload(storage, line, key, parameters, checksums=False)
    try:
        with upload.begun():
            upload.copy(found)
            upload.complete(headers)
    except (_Broken, Refused) as error:
        logs.info("parts_refused", key=key, by="copy", error=error)
        return None
    return Sent(is_proven=False)


class _Upload:
    """One object on its way."""

    def __init__(
        self, storage: Any, line: Line, key: str, parameters: Mapping[str, Any], *, checksums: bool
    ) -> None:
        self._client = storage.bucket.meta.client
        self._config = storage.transfer_config
        self._line = line
        self._checksums = checksums
        self._parameters = dict(parameters)
        self._common = {name: self._parameters[name] for name in _WITH_EACH if name in self._parameters}
        self._of_part = {_WITH_EACH[name]: str(value) for name, value in self._common.items()}
        self._object = {"Bucket": storage.bucket_name, "Key": key}
        self._key = key
        self._id = ""
        self._parts: dict[int, dict[str, Any]] = {}
        self._failed = threading.Event()

    @contextmanager
    def begun(self) -> Iterator[None]:
        """Have the upload open; what was sent is dropped by the server where it is not completed."""
        algorithm = {"ChecksumAlgorithm": "CRC32"} if self._checksums else {}
        answer = self._client.create_multipart_upload(**self._object, **algorithm, **self._parameters)
        self._id = answer["UploadId"]
        try:
            yield
        except BaseException:
            # What came first is told; buckets have a rule for uploads that were left.
            with suppress(Exception):
                self._client.abort_multipart_upload(**self._object, **self._common, UploadId=self._id)
            raise

    def send(self, content: Any) -> None:
        """Send the content, of which a few parts are in memory at a time."""
        size, left = self._size_of_parts(content.size), content.size
        with self._pool() as begin:
            while left:
                begin(self._sent, partial(_read, content, min(size, left)))
                left -= min(size, left)

    def copy(self, found: Object) -> None:
        """Have the server copy the object's ranges."""
        size = max(COPIED_AT_ONCE, -(-found.size // MOST_PARTS))
        with self._pool() as begin:
            for start in range(0, found.size, size):
                extent = f"bytes={start}-{min(start + size, found.size) - 1}"
                begin(partial(self._copied, found), lambda extent=extent: extent)

    @contextmanager
    def _pool(self) -> Iterator[Callable[..., None]]:
        """Give what waits for room, takes the next part and begins it; wait for all at the end."""
        at_a_time = min(AT_A_TIME, self._config.max_request_concurrency) if self._config.use_threads else 1
        rooms = (threading.BoundedSemaphore(at_a_time), room())
        numbers = itertools.count(1)

        def begin(make: Callable[[int, Any], dict[str, Any]], take: Callable[[], Any]) -> None:
            entered = ExitStack()
            try:
                for room in rooms:
                    entered.enter_context(room)
                self._refuse_if_failed()
                future = pool.submit(self._make, next(numbers), make, take())
            except BaseException:
                entered.close()
                raise
            future.add_done_callback(lambda _: entered.close())

        with ThreadPoolExecutor(at_a_time, "queued-storage-part") as pool:
            try:
                yield begin
            except BaseException:
                self._failed.set()
                raise
        self._refuse_if_failed()

    def _refuse_if_failed(self) -> None:
        if self._failed.is_set():
            raise _Broken("a part failed")

    def _size_of_parts(self, size: int) -> int:
        from s3transfer.utils import ChunksizeAdjuster

        adjusted: int = ChunksizeAdjuster().adjust_chunksize(self._config.multipart_chunksize, size)
        return adjusted

    def _make(self, number: int, make: Callable[[int, Any], dict[str, Any]], taken: Any) -> None:
        try:
            self._parts[number] = make(number, taken)
        except BaseException:
            self._failed.set()
            raise

    def _sent(self, number: int, body: bytes) -> dict[str, Any]:
        headers = dict(self._of_part)
        if self._checksums:
            headers |= {"x-amz-checksum-crc32": crc32(body), "x-amz-sdk-checksum-algorithm": "CRC32"}
        exchange, _ = self._ask(number, headers, body, hashlib.sha256(body).hexdigest())
        told = {"ETag": exchange.headers.get("ETag"), "PartNumber": number}
        if kept := exchange.headers.get("x-amz-checksum-crc32"):
            told["ChecksumCRC32"] = kept
        return told

    def _copied(self, found: Object, number: int, extent: str) -> dict[str, Any]:
        headers = {**self._of_part, **found.as_source, "x-amz-copy-source-range": extent}
        _, answer = self._ask(number, headers)
        if code_of(answer) or not (etag := etag_of(answer)):
            raise _Broken(f"part {number}")
        return {"ETag": f'"{etag}"', "PartNumber": number}

    def _ask(
        self, number: int, headers: dict[str, str], body: Any = None, digest: str = EMPTY
    ) -> tuple[Exchange, bytes]:
        of_part = {"partNumber": str(number), "uploadId": self._id}
        for again in range(TRIES):
            if self._failed.wait(DELAY * 2**again if again else 0):
                break
            try:
                exchange = self._line.ask("PUT", self._key, headers, body, digest, **of_part)
                answer = exchange.read()
            except BROKEN:
                continue
            if exchange.status == HTTPStatus.OK:
                return exchange, answer
            if exchange.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                break
        raise _Broken(f"part {number}")

    def complete(self, headers: Mapping[str, str]) -> None:
        from botocore.exceptions import ClientError

        condition = {_CONDITIONS[name]: value for name, value in headers.items()}
        parts = [self._parts[number] for number in sorted(self._parts)]
        try:
            self._client.complete_multipart_upload(
                **self._object,
                **self._common,
                **condition,
                UploadId=self._id,
                MultipartUpload={"Parts": parts},
            )
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if status in (HTTPStatus.PRECONDITION_FAILED, HTTPStatus.CONFLICT):
                raise Refused(error.response.get("Error", {}).get("Code") or str(status)) from error
            raise _Broken("it was not completed") from error  # some know no conditions here


def _read(content: Any, size: int) -> bytes:
    body: bytes = content.read(size)
    if len(body) < size:
        raise _Broken("the content ended before its size")
    return body


_rooms: dict[int, threading.BoundedSemaphore] = {}
_lock = threading.Lock()


def room() -> threading.BoundedSemaphore:
    """Return the room for what this process has in memory; a forked one has its own."""
    with _lock:
        return _rooms.setdefault(os.getpid(), threading.BoundedSemaphore(IN_MEMORY))


_CONDITIONS = {"If-Match": "IfMatch", "If-None-Match": "IfNoneMatch"}
