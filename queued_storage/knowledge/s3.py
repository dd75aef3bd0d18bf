"""S3 and what speaks its protocol: django-storages' S3Storage on boto3.

* It says that a file is missing where its whole bucket is: a wrong name in the settings, say.
* Its files hold the whole object in memory before their first byte (``max_memory_size`` is 0 by default).
"""

from __future__ import annotations

import errno
from typing import Any

from .. import direct
from ..direct import sessions
from ..direct.line import PATH
from ..ranged import RangedStream
from .base import Backend, always, register
from .buckets import require

#: Not "403": the code of a HEAD request, which stands for a wrong clock and an expired token as well.
_PERMANENT = frozenset(
    {
        "AccessDenied", "AccountProblem", "AllAccessDisabled", "AuthorizationHeaderMalformed", "EntityTooLarge",
        "InvalidAccessKeyId", "InvalidBucketName", "InvalidObjectName", "InvalidStorageClass", "KeyTooLongError",
        "MethodNotAllowed", "NoSuchBucket", "NotImplemented", "NotSignedUp", "PermanentRedirect",
        "SignatureDoesNotMatch", "XMinioInvalidObjectName",
    }
)  # fmt: skip
_NO_ROOM = frozenset(
    {"InsufficientStorage", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull"}
)


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code"))


def _status(error: Any) -> Any:
    response = getattr(error, "response", None) or {}  # None in errors of the connection
    return response.get("ResponseMetadata", {}).get("HTTPStatusCode")


def _is_missing(error: Any) -> bool:
    code = _code(error)
    return code != "NoSuchBucket" and (_status(error) == 404 or code in ("404", "NoSuchKey", "NotFound"))


def _exists(self: Any, name: str) -> bool:
    from storages.backends.s3 import S3Storage

    if S3Storage.exists(self, name):
        return True
    client = self.connection.meta.client
    require(self.bucket_name, client.meta.endpoint_url, lambda: _look(client, self.bucket_name))
    return False


def _look(client: Any, bucket: str) -> None:
    from botocore.exceptions import ClientError

    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        # 403 comes from a bucket that is there, and may not be looked at. The answer to a HEAD request has no text.
        if _status(error) == 404:
            error.response["Error"]["Code"] = "NoSuchBucket"
            raise


class S3Stream(RangedStream):
    """An object as one response that is read on; a seek costs a new request."""

    def __init__(self, storage: Any, name: str) -> None:
        from storages.utils import clean_name

        super().__init__()
        self._storage = storage
        self._key = storage._normalize_name(clean_name(name))
        self._answer: Any = None
        self._etag = ""
        self.encoding = ""
        # The first request tells the size, so that opening costs no request beside the one for the bytes.
        try:
            self._request()
        except Exception as error:
            if _status(error) != 416:  # an empty object has no byte 0 to start a range at
                raise
            self.size = 0

    def _request(self) -> None:
        asked = (self._storage, self._key, self._position, self._etag)
        self._answer = direct.get(*asked) or _Answer(*asked)
        self._etag = self._answer.etag
        self.encoding = self._answer.encoding
        if self._position and not self._answer.range:
            raise OSError(errno.EIO, "the server sends no parts of objects")
        total = self._answer.range.rpartition("/")[2]
        self.size = int(total) if total.isdigit() else self._position + self._answer.length

    def _read_into(self, view: memoryview) -> int:
        if self._answer is None:
            self._request()
        count: int = self._answer.readinto(view)
        return count

    def _drop(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None


class _Answer:
    """The same by the storage's own client."""

    def __init__(self, storage: Any, key: str, position: int, etag: str) -> None:
        condition = {"IfMatch": etag} if etag else {}
        response = storage.bucket.Object(key).get(Range=f"bytes={position}-", **condition)
        self._body = response["Body"]
        self.etag = response["ETag"]
        self.encoding = response.get("ContentEncoding", "")
        self.length = response["ContentLength"]
        self.range = response.get("ContentRange", "")

    def readinto(self, view: memoryview) -> int:
        data = self._body.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._body.close()


def _stream(storage: Any, name: str) -> S3Stream | None:
    if storage.gzip or any("SSECustomer" in key for key in storage.object_parameters):
        return None
    stream = S3Stream(storage, name)
    if stream.encoding != "gzip":
        return stream
    stream.close()
    return None


__all__ = ["PATH", "S3Stream"]

_PLACE = (
    "s3",
    (
        ("bucket_name", "AWS_STORAGE_BUCKET_NAME"),
        ("location", "AWS_LOCATION"),
        ("endpoint_url", "AWS_S3_ENDPOINT_URL"),
    ),
)

register(
    Backend(
        path=PATH,
        extra="s3",
        spelled=frozenset(
            f"storages.backends.{each}"
            for each in ("s3.S3StaticStorage", "s3boto3.S3Boto3Storage", "s3boto3.S3StaticStorage")
        ),
        missing={"botocore.exceptions.ClientError": _is_missing},
        outage={"botocore.exceptions.ConnectionError": always, "botocore.exceptions.HTTPClientError": always},
        permanent={
            "botocore.exceptions.ClientError": lambda e: _code(e) in _PERMANENT,
            "botocore.exceptions.ParamValidationError": always,
        },
        capacity={"botocore.exceptions.ClientError": lambda e: _code(e) in _NO_ROOM},
        opens_eagerly=True,
        stream=_stream,
        stream_goes_on=True,
        overwriting=("file_overwrite", True),
        publishes_at_once=True,
        keeps_content_type=True,
        amendments={"exists": _exists, "_create_session": sessions.create},
        place=_PLACE,
    )
)
