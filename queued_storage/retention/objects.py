"""What S3 keeps of one exact key beside the object that readers get: versions, delete markers, unfinished uploads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from storages.utils import clean_name

#: What servers say that keep no versions, or know nothing of them.
_UNKNOWN = frozenset({"NotImplemented", "501", "MethodNotAllowed"})


def key_of(storage: Any, name: str) -> str:
    """Return the key by which the storage keeps the name."""
    key: str = storage._normalize_name(clean_name(name))
    return key


def remove_versions(storage: Any, key: str) -> int:
    """Remove every version and delete marker of the key, for good; return how many there were."""
    client = storage.connection.meta.client
    count = 0
    for version in list(_versions(client, storage.bucket_name, key)):
        client.delete_object(Bucket=storage.bucket_name, Key=key, VersionId=version)
        count += 1
    return count


def _versions(client: Any, bucket: str, key: str) -> Iterator[str]:
    try:
        for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key):
            found = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
            yield from (entry["VersionId"] for entry in found if entry["Key"] == key)
            if any(entry["Key"] > key for entry in found):
                return  # pages come in the order of keys: this one's are before those that it begins
    except client.exceptions.ClientError as error:
        if error.response.get("Error", {}).get("Code") not in _UNKNOWN:
            raise


def abort_uploads(storage: Any, key: str) -> int:
    """End the key's unfinished multipart uploads, whose parts are kept, and billed, unseen; return how many."""
    count = 0
    for upload in storage.bucket.multipart_uploads.filter(Prefix=key):
        if upload.object_key == key:
            upload.abort()
            count += 1
    return count


def names_in(storage: Any, folder: str) -> set[str]:
    """Return those names of files in the folder that begin with a dot."""
    prefix = key_of(storage, f"{folder}/." if folder else ".x")[: None if folder else -1]
    bases = (each.key.removeprefix(prefix) for each in storage.bucket.objects.filter(Prefix=prefix))
    return {f"{folder}/.{base}" if folder else f".{base}" for base in bases if "/" not in base}
