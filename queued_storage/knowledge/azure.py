"""Azure's blob storage: django-storages' AzureStorage on azure-storage-blob.

* It says that a file is missing where its whole container is: a wrong name in the settings, say.
* It leaves ``client_options`` aside where a ``connection_string`` is given.
* It fetches the whole blob before the first byte, into a temporary file that stays behind where the download fails.
* ``listdir`` knows no folders, and gives the full names of all that lies below.
"""

from __future__ import annotations

from typing import Any

from ..ranged import FIRST_BLOCK, BlockStream
from ..spooling import spooled
from .base import Backend, always, register
from .buckets import require

_PERMANENT = frozenset(
    {
        "AccountIsDisabled", "AuthorizationFailure", "AuthorizationPermissionMismatch", "ContainerDisabled",
        "ContainerNotFound", "InsufficientAccountPermissions", "InvalidAuthenticationInfo", "InvalidBlobType",
        "InvalidResourceName", "InvalidUri", "NoAuthenticationInformation", "OutOfRangeInput",
        "PublicAccessNotPermitted", "RequestBodyTooLarge",
    }
)  # fmt: skip


def _code(error: Any) -> str:
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code))


def _is_permanent(error: Any) -> bool:
    # One code for a wrong key, for a wrong clock and for a token that has run out: only the text tells them apart.
    if _code(error) == "AuthenticationFailed":
        return "MAC signature" in str(error)
    return _code(error) in _PERMANENT


def _exists(self: Any, name: str) -> bool:
    from storages.backends.azure_storage import AzureStorage

    if AzureStorage.exists(self, name):
        return True
    require(self.azure_container, self.client.primary_endpoint, lambda: _look(self))
    return False


def _look(storage: Any) -> None:
    from azure.core.exceptions import HttpResponseError

    try:
        storage.client.get_container_properties(timeout=storage.timeout)
    except HttpResponseError as error:
        if error.status_code not in (401, 403):  # a token for blobs alone
            raise


def _get_service_client(self: Any) -> Any:
    from azure.storage.blob import BlobServiceClient
    from storages.backends.azure_storage import AzureStorage

    if self.connection_string is None:
        return AzureStorage._get_service_client(self)
    return BlobServiceClient.from_connection_string(self.connection_string, **self.client_options)


def _open(self: Any, name: str, mode: str = "rb") -> Any:
    from storages.backends.azure_storage import AzureStorage

    file = AzureStorage._open(self, name, mode)
    if mode == "rb":
        file.file = spooled(self.client.download_blob(file._path, timeout=self.timeout).readinto)
    return file


def _listdir(self: Any, path: str = "") -> tuple[list[str], list[str]]:
    prefix = self._get_valid_path(path).strip("/") if path.strip("/.") else self.location.strip("/")
    prefix = f"{prefix}/" if prefix else ""
    folders: list[str] = []
    files: list[str] = []
    for blob in self.client.walk_blobs(name_starts_with=prefix, timeout=self.timeout):
        name = blob.name.removeprefix(prefix)
        (folders if name.endswith("/") else files).append(name.rstrip("/"))
    return folders, files


class AzureStream(BlockStream):
    """A blob in ranges of the one version that was opened."""

    def __init__(self, storage: Any, name: str) -> None:
        super().__init__()
        self._client = storage.client
        self._timeout = storage.timeout
        self._path = storage._get_valid_path(name)
        self._condition: dict[str, Any] = {}
        try:
            first = self._download(0, FIRST_BLOCK)
        except Exception as error:
            if getattr(error, "status_code", None) != 416:  # an empty blob has no byte 0 to start a range at
                raise
            self.size = 0
            return
        # "bytes 0-99/100"; its own size is that of the range.
        self.size = int(first.properties.content_range.rpartition("/")[2])
        self._condition = _if_unchanged(first.properties.etag)
        self._block = memoryview(first.readall())

    def _fetch(self, start: int, length: int) -> bytes:
        content: bytes = self._download(start, length).readall()
        return content

    def _download(self, start: int, length: int) -> Any:
        return self._client.download_blob(
            self._path, offset=start, length=length, timeout=self._timeout, **self._condition
        )


def _if_unchanged(etag: str) -> dict[str, Any]:
    from azure.core import MatchConditions

    return {"etag": etag, "match_condition": MatchConditions.IfNotModified}


register(
    Backend(
        path="storages.backends.azure_storage.AzureStorage",
        extra="azure",
        missing={"azure.core.exceptions.ResourceNotFoundError": lambda e: _code(e) != "ContainerNotFound"},
        outage={
            "azure.core.exceptions.ServiceRequestError": always,
            "azure.core.exceptions.ServiceResponseError": always,
        },
        permanent={"azure.core.exceptions.HttpResponseError": _is_permanent},
        stream=AzureStream,
        overwriting=("overwrite_files", True),
        publishes_at_once=True,
        keeps_content_type=True,
        amendments={
            "_get_service_client": _get_service_client,
            "_open": _open,
            "exists": _exists,
            "listdir": _listdir,
        },
    )
)
