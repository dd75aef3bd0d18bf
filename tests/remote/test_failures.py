"""What failures of the libraries mean, shown by their own error objects, from their own servers where one says it."""
# ruff: noqa: S321 - these are errors, and no connections

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from ftplib import error_perm, error_temp
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.core import exceptions as azure
from botocore import exceptions as boto
from django.core.files.base import ContentFile
from django.utils.module_loading import import_string
from google.api_core import exceptions as google
from google.auth import exceptions as google_auth
from paramiko import ssh_exception as ssh
from storages.backends.ftp import FTPStorageException

from queued_storage import traits
from queued_storage.amended import amended
from queued_storage.exceptions import ChainUnavailable

from tests.support.file_servers import Azurite, FakeGCS, FileServer
from tests.support.servers import S3Server


def s3_says(code: str, status: int) -> boto.ClientError:
    response = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return boto.ClientError(response, "PutObject")


def azure_says(code: str, text: str = "", status: int = 403) -> azure.HttpResponseError:
    kind = azure.ResourceNotFoundError if status == 404 else azure.HttpResponseError
    error = kind(text or code)
    error.error_code = code  # type: ignore[attr-defined] # as azure.storage.blob sets it
    error.status_code = status
    return error


def google_denies(reason: str) -> google.Forbidden:
    return google.Forbidden("no", errors=[{"reason": reason, "domain": "global"}])


def ftp_wrapped(cause: BaseException) -> FTPStorageException:
    """As FTPStorage raises it: what happened is to be had from the context alone."""
    try:
        try:
            raise cause
        except type(cause):
            raise FTPStorageException("Connection or login error using data {}")  # noqa: B904
    except FTPStorageException as error:
        return error


PERMANENT = [
    OSError(errno.ENAMETOOLONG, "File name too long"),
    s3_says("NoSuchBucket", 404),
    s3_says("InvalidAccessKeyId", 403),
    s3_says("SignatureDoesNotMatch", 403),
    s3_says("AccessDenied", 403),
    boto.ParamValidationError(report='Invalid bucket name "a b"'),
    azure_says("ContainerNotFound", status=404),
    azure_says("AccountIsDisabled"),
    azure_says("AuthorizationPermissionMismatch"),
    azure_says("AuthenticationFailed", "The MAC signature found in the HTTP request is not the same as …"),
    google.Forbidden("no"),
    google_denies("forbidden"),
    google.NotFound("404 GET https://…/b/x/o: The specified bucket does not exist."),
    google_auth.DefaultCredentialsError("no credentials"),
    ssh.AuthenticationException("Authentication failed."),
    ssh.BadAuthenticationType("Bad authentication type", ["publickey"]),
    error_perm("530 Login incorrect."),
    error_perm("553 Could not create file."),
    ftp_wrapped(error_perm("530 Authentication failed.")),
]
CAPACITY = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
    OSError("No space left on device"),  # as paramiko tells what an SFTP server said
    s3_says("QuotaExceeded", 403),
    s3_says("XMinioStorageFull", 507),
    s3_says("507", 507),
    azure_says("InsufficientStorage", status=507),
    google_denies("quotaExceeded"),
    error_temp("452 Insufficient storage space."),
    error_perm("552 Quota exceeded."),
    ftp_wrapped(error_perm("552 Quota exceeded.")),
]
OUTAGES = [
    socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    OSError(errno.EHOSTUNREACH, "No route to host"),
    OSError(errno.ENETUNREACH, "Network is unreachable"),
    OSError("Socket is closed"),  # paramiko
    EOFError(),
    ssh.NoValidConnectionsError({("127.0.0.1", 22): ConnectionRefusedError()}),
    ssh.SSHException("Error reading SSH protocol banner"),
    error_temp("421 Service not available, closing control connection."),
    ftp_wrapped(ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")),
    ftp_wrapped(TimeoutError("timed out")),
    ftp_wrapped(EOFError()),
    azure.ServiceRequestError("Connection refused"),
    google.RetryError("Timeout of 120.0s exceeded", cause=Exception()),
    google_auth.TransportError("no"),
]
#: What may heal by itself.
TRANSIENT = [
    PermissionError(errno.EACCES, "Permission denied"),
    OSError(errno.EROFS, "Read-only file system"),
    OSError(errno.EIO, "Input/output error"),
    OSError("Failure"),
    OSError("size mismatch in put!  0 != 1"),
    s3_says("SlowDown", 503),
    s3_says("InternalError", 500),
    s3_says("ExpiredToken", 400),
    s3_says("RequestTimeTooSkewed", 403),
    s3_says("403", 403),
    boto.NoCredentialsError(),
    azure_says("ServerBusy", status=503),
    azure_says("AuthenticationFailed", "Request date header too old: 'Mon, 01 Jan'"),
    azure_says("AuthenticationFailed", "Signature not valid in the specified time frame"),
    google.TooManyRequests("slow down"),
    google.ServiceUnavailable("later"),
    google.Unauthorized("token expired"),
    google_denies("rateLimitExceeded"),
    google_auth.RefreshError("invalid_grant: check your iat and exp"),
    ssh.AuthenticationException("Authentication timeout."),
    error_perm("530 Sorry, the maximum number of clients for this user are already connected."),
    error_perm("550 Permission denied."),
    error_temp("450 File busy."),
    ftp_wrapped(error_perm("550 Failed to open file.")),
    FTPStorageException("Error writing file"),
    requests.HTTPError("429 quota exceeded"),
    RuntimeError("no space left"),
]


def known_as(error: BaseException) -> str:
    behind = error.__context__
    return f"{type(error).__name__}-{error}-{behind}"[:70]


@pytest.mark.parametrize("error", PERMANENT, ids=known_as)
def test_permanent(error: Exception) -> None:
    assert (traits.is_permanent(error), traits.is_capacity(error)) == (True, False)
    assert not traits.is_missing(error)


@pytest.mark.parametrize("error", CAPACITY, ids=known_as)
def test_no_room(error: Exception) -> None:
    assert (traits.is_permanent(error), traits.is_capacity(error)) == (False, True)
    assert not traits.is_missing(error)
    assert not traits.is_outage(error)


@pytest.mark.parametrize("error", OUTAGES, ids=known_as)
def test_outage(error: Exception) -> None:
    assert traits.is_outage(error)
    assert (traits.is_permanent(error), traits.is_capacity(error)) == (False, False)
    assert not traits.is_missing(error)


@pytest.mark.parametrize("error", TRANSIENT, ids=known_as)
def test_transient(error: Exception) -> None:
    assert (traits.is_permanent(error), traits.is_capacity(error)) == (False, False)
    assert not traits.is_missing(error)


def test_status_is_found_wherever_a_client_puts_it() -> None:
    response = requests.Response()
    response.status_code = HTTPStatus.INSUFFICIENT_STORAGE
    assert traits.is_capacity(requests.HTTPError("full", response=response))


def save(tier: dict[str, Any], options: dict[str, Any] | None = None, name: str = "a.txt") -> Any:
    storage = amended(import_string(tier["BACKEND"]))(**tier["OPTIONS"] | (options or {}))
    return storage.save(name, ContentFile(b"content"))


def failure(call: Callable[[], Any]) -> Exception:
    with pytest.raises(Exception) as caught:
        call()
    return caught.value


@pytest.mark.servers
class TestServers:
    """The servers themselves say what the tables are about."""

    def test_sftp_login(self, sftp: FileServer) -> None:
        tier = sftp.tier(sftp.new_place())
        params = tier["OPTIONS"]["params"] | {"password": "wrong"}
        assert traits.is_permanent(failure(lambda: save(tier, {"params": params})))

    @pytest.mark.parametrize("call", ["exists", "open", "size"])
    def test_sftp_key_that_is_missing_is_no_missing_file(
        self, sftp: FileServer, make_chain: Any, tmp_path: Path, call: str
    ) -> None:
        params = sftp.tier("")["OPTIONS"]["params"] | {"key_filename": str(tmp_path / "no-such-key")}
        storage = make_chain({"far": sftp.tier(sftp.new_place(), params=params)}, policy=None)
        with pytest.raises(ChainUnavailable, match="tier 'far'"):
            getattr(storage, call)("a.txt")
        error = failure(lambda: save(sftp.tier(sftp.new_place(), params=params)))
        assert traits.is_permanent(error)

    def test_g4_sftp_file_does_not_end_where_its_connection_ends(self, sftp: FileServer) -> None:
        tier = sftp.tier(sftp.new_place())
        save(tier)
        storage = amended(import_string(tier["BACKEND"]))(**tier["OPTIONS"])
        with storage.open("a.txt") as file:
            assert file.read(1) == b"c"
            file.seek(0)
            storage.sftp.get_channel().eof_sent = True  # as it is while a connection is being closed
            assert traits.is_outage(failure(file.read))

    def test_sftp_denied_is_no_permanent_failure(self, sftp: FileServer) -> None:
        error = failure(lambda: save(sftp.tier(sftp.new_place("denied"))))
        assert isinstance(error, PermissionError)
        assert not traits.is_permanent(error)

    def test_ftp_login(self, ftp: FileServer) -> None:
        tier = ftp.tier(ftp.new_place())
        location = tier["OPTIONS"]["location"].replace(ftp.password, "wrong")
        assert traits.is_permanent(failure(lambda: save(tier, {"location": location})))

    def test_ftp_quota(self, ftp: FileServer) -> None:
        assert traits.is_capacity(failure(lambda: save(ftp.tier(ftp.new_place("full")))))

    def test_azure_key(self, azurite: Azurite) -> None:
        string = azurite.connection_string(key="d3Jvbmc=")
        tier = azurite.tier(azurite.new_place(), connection_string=string)
        assert traits.is_permanent(failure(lambda: save(tier)))

    def test_azure_container(self, azurite: Azurite) -> None:
        assert traits.is_permanent(failure(lambda: save(azurite.tier("nowhere"), {"overwrite_files": True})))

    def test_google_bucket(self, fake_gcs: FakeGCS, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{fake_gcs.port}")
        error = failure(lambda: save(fake_gcs.tier("nowhere")))
        assert traits.is_permanent(error)
        assert not traits.is_missing(error)

    @pytest.mark.parametrize("option", ["access_key", "secret_key"])
    def test_s3_keys(self, seaweedfs: S3Server, option: str) -> None:
        assert traits.is_permanent(failure(lambda: save(seaweedfs.tier(), {option: "wrong-one"})))

    def test_s3_bucket(self, moto_s3: S3Server) -> None:
        assert traits.is_permanent(failure(lambda: save(moto_s3.tier("no-such-bucket"))))
