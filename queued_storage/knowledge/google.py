"""Google Cloud Storage: django-storages' GoogleCloudStorage on google-cloud-storage.

* It says that a file is missing where its whole bucket is: a wrong name in the settings, say.
* Its files hold the whole object in memory before their first byte (``max_memory_size`` is 0 by default).
* It guesses a content type from the name, whatever the upload says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..ranged import BlockStream
from .base import Backend, always, register
from .buckets import require

_LIMITS = frozenset({"quotaExceeded", "rateLimitExceeded", "userRateLimitExceeded"})


def _bucket_is_missing(error: Any) -> bool:
    # An upload names no object that could be missing.
    return "bucket does not exist" in str(error) or "/upload/storage/" in str(error)


def _reasons(error: Any) -> set[str]:
    return {str(each.get("reason")) for each in error.errors if isinstance(each, Mapping)}


def _exists(self: Any, name: str) -> bool:
    from storages.backends.gcloud import GoogleCloudStorage

    if GoogleCloudStorage.exists(self, name):
        return True
    _require_bucket(self)
    return False


def _require_bucket(storage: Any) -> None:
    require(storage.bucket_name, storage.client._connection.API_BASE_URL, lambda: _look(storage))


def _look(storage: Any) -> None:
    from google.api_core.exceptions import Forbidden, NotFound, Unauthorized

    try:
        storage.client.get_bucket(storage.bucket_name)
    except (Forbidden, Unauthorized):
        pass  # an account for objects alone
    except NotFound as error:
        raise NotFound("The specified bucket does not exist.") from error  # type: ignore[no-untyped-call]


def _open(self: Any, name: str, mode: str = "rb") -> Any:
    from storages.backends.gcloud import GoogleCloudStorage

    try:
        return GoogleCloudStorage._open(self, name, mode)
    except FileNotFoundError:
        _require_bucket(self)
        raise


def _save(self: Any, name: str, content: Any) -> str:
    from storages.backends.gcloud import GoogleCloudStorage

    told = getattr(content, "content_type", None)
    if not told or "content_type" in self.get_object_parameters(name):
        return str(GoogleCloudStorage._save(self, name, content))
    _ = self.bucket  # built now, or the twin would build a client of its own
    twin = object.__new__(type(self))
    vars(twin).update(vars(self))
    twin.get_object_parameters = lambda name: self.get_object_parameters(name) | {"content_type": told}
    return str(GoogleCloudStorage._save(twin, name, content))


class GoogleStream(BlockStream):
    """An object in ranges of the one generation that was opened."""

    def __init__(self, blob: Any) -> None:
        super().__init__()
        self.size = blob.size
        self._blob = blob.bucket.blob(blob.name, generation=blob.generation)

    def _fetch(self, start: int, length: int) -> bytes:
        content: bytes = self._blob.download_as_bytes(
            start=start, end=start + length - 1, raw_download=True, checksum=None
        )
        return content


def _stream(storage: Any, name: str) -> GoogleStream | None:
    from storages.utils import clean_name

    blob = storage.bucket.get_blob(storage._normalize_name(clean_name(name)))
    if blob is None:
        _require_bucket(storage)
        raise FileNotFoundError(name)
    return None if blob.content_encoding == "gzip" else GoogleStream(blob)


register(
    Backend(
        path="storages.backends.gcloud.GoogleCloudStorage",
        extra="google",
        missing={"google.api_core.exceptions.NotFound": lambda e: not _bucket_is_missing(e)},
        outage={
            "google.api_core.exceptions.RetryError": always,
            "google.auth.exceptions.TransportError": always,
        },
        permanent={
            "google.api_core.exceptions.Forbidden": lambda e: not (_LIMITS & _reasons(e)),
            "google.api_core.exceptions.NotFound": _bucket_is_missing,
            "google.auth.exceptions.DefaultCredentialsError": always,
        },
        capacity={"google.api_core.exceptions.Forbidden": lambda e: "quotaExceeded" in _reasons(e)},
        opens_eagerly=True,
        stream=_stream,
        overwriting=("file_overwrite", True),
        publishes_at_once=True,
        keeps_content_type=True,
        amendments={"_open": _open, "_save": _save, "exists": _exists},
        place=("gcs", (("bucket_name", "GS_BUCKET_NAME"), ("location", "GS_LOCATION"))),
    )
)
