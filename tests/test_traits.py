"""What is known of other libraries' errors, and what of an error may be shown."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from botocore import exceptions as boto
from django.core.exceptions import ObjectDoesNotExist, SuspiciousFileOperation
from django.core.files.storage import FileSystemStorage, InMemoryStorage
from django.db import OperationalError
from django.test import override_settings
from requests import exceptions as web
from storages.backends.s3 import S3Storage

from queued_storage import credentials, traits

from tests.support.remote import RemoteStorage
from tests.support.storages import SharedMemoryStorage


def s3_says(code: str, status: int) -> boto.ClientError:
    response = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return boto.ClientError(response, "HeadObject")


MISSING = [
    FileNotFoundError("a.txt"),
    FileNotFoundError(errno.ENOENT, "No such file or directory"),
    NotADirectoryError(errno.ENOTDIR, "Not a directory"),  # a/b.txt where a is a file
    IsADirectoryError(errno.EISDIR, "Is a directory"),  # a where a/b.txt is a file: no file of that name
    ObjectDoesNotExist("no row"),  # storages that keep files in a database
    s3_says("404", 404),  # HEAD has no body, so its code is the status
    s3_says("NoSuchKey", 404),
    s3_says("NotFound", 404),
    s3_says("NoSuchVersion", 404),
]
OUTAGES = [
    TimeoutError(),
    TimeoutError("timed out"),
    ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
    ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    BrokenPipeError(errno.EPIPE, "Broken pipe"),
    boto.EndpointConnectionError(endpoint_url="http://127.0.0.1:1/"),
    boto.ConnectTimeoutError(endpoint_url="http://127.0.0.1:1/"),
    boto.ReadTimeoutError(endpoint_url="http://127.0.0.1:1/"),
    boto.ConnectionClosedError(endpoint_url="http://127.0.0.1:1/"),
    boto.ProxyConnectionError(proxy_url="http://127.0.0.1:1/"),
    boto.SSLError(endpoint_url="https://127.0.0.1:1/", error="bad"),
    boto.HTTPClientError(error="gone"),
    web.ConnectionError("refused"),
    web.ConnectTimeout("slow"),
    web.ReadTimeout("slow"),
    OperationalError("server closed the connection unexpectedly"),
]
NEITHER = [
    PermissionError(errno.EACCES, "Permission denied"),
    OSError(errno.ENOSPC, "No space left on device"),
    s3_says("NoSuchBucket", 404),  # everything is missing: that is a broken tier, not a missing file
    s3_says("AccessDenied", 403),
    s3_says("403", 403),
    s3_says("InvalidAccessKeyId", 403),
    s3_says("InternalError", 500),
    boto.NoCredentialsError(),
    boto.ParamValidationError(report="Bucket"),
    web.HTTPError("500"),
    RuntimeError("no idea"),
    Exception("404 not found"),
]


def known_as(error: BaseException) -> str:
    return f"{type(error).__name__}-{error}"[:60]


@pytest.mark.parametrize("error", MISSING, ids=known_as)
def test_missing_file_is_no_outage(error: Exception) -> None:
    assert (traits.is_missing(error), traits.is_outage(error)) == (True, False)


@pytest.mark.parametrize("error", OUTAGES, ids=known_as)
def test_outage_is_no_missing_file(error: Exception) -> None:
    assert (traits.is_missing(error), traits.is_outage(error)) == (False, True)


@pytest.mark.parametrize("error", NEITHER, ids=known_as)
def test_other_failure_is_neither(error: Exception) -> None:
    assert (traits.is_missing(error), traits.is_outage(error)) == (False, False)


def test_subclass_of_a_known_error_is_known() -> None:
    class OwnMissing(FileNotFoundError): ...

    class OwnTimeout(boto.ReadTimeoutError): ...

    assert traits.is_missing(OwnMissing("a.txt"))
    assert traits.is_outage(OwnTimeout(endpoint_url="http://127.0.0.1:1/"))


def library_error(path: str, **facts: Any) -> Exception:
    """An error of a library that is not installed here, as its class path shows it."""
    module, _, name = path.rpartition(".")
    error: Exception = type(name, (Exception,), {"__module__": module, **facts})("said")
    return error


class DropboxCause:
    """As the SDK has it: a tag, and what that is about."""

    def __init__(self, tag: str, *inner: str) -> None:
        self._tag = tag
        self._value = DropboxCause(*inner) if inner else None


@pytest.mark.parametrize(
    ("error", "missing"),
    [
        (library_error("azure.core.exceptions.ResourceNotFoundError"), True),
        (library_error("azure.core.exceptions.ResourceNotFoundError", error_code="BlobNotFound"), True),
        (library_error("azure.core.exceptions.ResourceNotFoundError", error_code="ContainerNotFound"), False),
        (library_error("google.api_core.exceptions.NotFound"), True),
        (library_error("google.api_core.exceptions.Forbidden"), False),
        (library_error("libcloud.storage.types.ObjectDoesNotExistError"), True),
        (library_error("libcloud.storage.types.ContainerDoesNotExistError"), False),
        (library_error("gridfs.errors.NoFile"), True),
        (library_error("opendal.exceptions.NotFound"), True),
        (library_error("swiftclient.exceptions.ClientException", http_status=404), True),
        (library_error("swiftclient.exceptions.ClientException", http_status=401), False),
        (library_error("dropbox.exceptions.ApiError", error=DropboxCause("path", "not_found")), True),
        (library_error("dropbox.exceptions.ApiError", error=DropboxCause("path_lookup", "not_found")), True),
        (library_error("dropbox.exceptions.ApiError", error=DropboxCause("path", "malformed_path")), False),
        (
            library_error("dropbox.exceptions.ApiError", error=DropboxCause("lookup_failed", "not_found")),
            False,
        ),
        (library_error("somewhere.else.NotFound"), False),
    ],
)
def test_missing_file_of_a_library_that_is_not_imported(error: Exception, missing: bool) -> None:
    assert traits.is_missing(error) is missing


@pytest.mark.parametrize(
    "path",
    [
        "azure.core.exceptions.ServiceRequestError",
        "azure.core.exceptions.ServiceResponseError",
        "google.api_core.exceptions.RetryError",
        "google.auth.exceptions.TransportError",
        "paramiko.ssh_exception.SSHException",
        "pymongo.errors.ConnectionFailure",
    ],
)
def test_outage_of_a_library_that_is_not_imported(path: str) -> None:
    assert traits.is_outage(library_error(path))


@pytest.mark.parametrize(
    ("error", "programming"),
    [
        (TypeError("x"), True), (ValueError("x"), True), (KeyError("x"), True), (AttributeError("x"), True),
        (ImportError("x"), True), (NotImplementedError("x"), True), (SuspiciousFileOperation("x"), True),
        (ZeroDivisionError("x"), True), (MemoryError("x"), True), (AssertionError("x"), True),
        (OSError("x"), False), (TimeoutError("x"), False), (PermissionError("x"), False),
        (RuntimeError("x"), False), (Exception("x"), False), (s3_says("403", 403), False),
    ],
)  # fmt: skip
def test_error_that_speaks_of_the_code(error: Exception, programming: bool) -> None:
    assert traits.is_programming_error(error) is programming


class TestDescribe:
    @pytest.mark.parametrize(
        ("error", "told"),
        [
            (RuntimeError("it is broken"), "RuntimeError: it is broken"),
            (RuntimeError(), "RuntimeError"),
            (RuntimeError("two\n   lines"), "RuntimeError: two lines"),
            (RuntimeError("x" * 600), "RuntimeError: " + "x" * 500),
            # The system's own words, never the path: that is an option.
            (
                FileNotFoundError(errno.ENOENT, "gone", "/srv/media/a"),
                "FileNotFoundError: [Errno 2] No such file or",
            ),
            (
                PermissionError(errno.EACCES, "no", "/srv/media"),
                "PermissionError: [Errno 13] Permission denied",
            ),
            (OSError("no number"), "OSError: no number"),
        ],
    )
    def test_says_class_and_text(self, error: Exception, told: str) -> None:
        assert traits.describe(error).startswith(told)

    def test_real_error_of_a_client_is_told_without_its_endpoint(self) -> None:
        error = boto.EndpointConnectionError(endpoint_url="http://s3.internal:9000/media")
        secrets = credentials.in_options({"endpoint_url": "http://s3.internal:9000/media"})
        assert traits.describe(error, secrets) == (
            'EndpointConnectionError: Could not connect to the endpoint URL: "***"'
        )

    def test_cut_does_not_bare_a_secret(self) -> None:
        error = RuntimeError("x" * 495 + "hunter2hunter2")
        assert "hunter" not in traits.describe(error, {"hunter2hunter2"})

    def test_secret_over_several_lines_is_hidden(self) -> None:
        key = "-----BEGIN KEY-----\nMIIabc123\n-----END KEY-----"
        secrets = credentials.in_options({"key": key})
        assert "MIIabc123" not in traits.describe(RuntimeError(f"bad key {key}"), secrets)
        assert "MIIabc123" not in traits.describe(RuntimeError(f"bad key {key!r}"), secrets)
        assert "MIIabc123" not in traits.describe(RuntimeError("bad line MIIabc123"), secrets)


class TestSecrets:
    @pytest.mark.parametrize(
        ("options", "hidden"),
        [
            ({"password": "hunter22"}, {"hunter22"}),
            ({"password": b"hunter22"}, {"hunter22"}),
            (
                {"keys": ["first-key", ("second-key", {"third": "third-key"})]},
                {"first-key", "second-key", "third-key"},
            ),
            ({"keys": frozenset({"frozen-key"})}, {"frozen-key"}),
            ({"a": {"b": {"c": "deep-key"}}}, {"deep-key"}),
            ({"url": "redis://me:pa%40ss1@host/0"}, {"redis://me:pa%40ss1@host/0", "pa%40ss1", "pa@ss1"}),
            (
                {"url": "sftp://long-user:hunter22@host"},
                {"sftp://long-user:hunter22@host", "long-user", "hunter22"},
            ),
            ({"url": "https://host/path"}, {"https://host/path"}),
            ({"port": 9000, "ssl": True, "none": None}, set()),
            ({"short": "abc"}, set()),  # three letters would be found in every other word
            ("bare-text", {"bare-text"}),
            ({}, set()),
        ],
    )
    def test_in_options(self, options: Any, hidden: set[str]) -> None:
        assert credentials.in_options(options) == hidden

    def test_text_is_hidden_as_repr_shows_it_too(self) -> None:
        assert {"back\\slash", "back\\\\slash"} <= credentials.in_options({"key": "back\\slash"})

    @override_settings(AWS_SECRET_ACCESS_KEY="from-settings", MY_API_TOKEN="from-token", MY_COLOUR="blue-ish")
    def test_in_settings_are_what_django_hides(self) -> None:
        found = credentials.in_settings()
        assert {"from-settings", "from-token", "only-for-tests"} <= found
        assert "blue-ish" not in found

    def test_longer_secret_is_hidden_whole(self) -> None:
        assert traits.redact("key=abcd-efgh", {"abcd", "abcd-efgh"}) == "key=***"

    def test_every_place_is_hidden(self) -> None:
        assert traits.redact("abcd and abcd", ["abcd"]) == "*** and ***"

    def test_nothing_to_hide(self) -> None:
        assert traits.redact("plain", ()) == "plain"


class TestTells:
    def chained(self, *, context: bool) -> Exception:
        try:
            try:
                raise ValueError("bad key hunter22")
            except ValueError as inner:
                if context:
                    raise RuntimeError("refused")  # noqa: B904 - the context is what is tested
                raise RuntimeError("refused") from inner
        except RuntimeError as error:
            return error

    @pytest.mark.parametrize(
        "error",
        [
            RuntimeError("bad key hunter22"),
            RuntimeError("bad", {"key": "hunter22"}),
            OSError(2, "gone", "hunter22"),
            KeyError("hunter22"),
        ],
    )
    def test_by_its_text_or_arguments(self, error: Exception) -> None:
        assert traits.tells(error, ["hunter22"])

    @pytest.mark.parametrize("context", [True, False])
    def test_by_what_it_was_raised_from(self, context: bool) -> None:
        assert traits.tells(self.chained(context=context), ["hunter22"])

    @pytest.mark.parametrize("error", [RuntimeError("fine"), None, RuntimeError("hunter23")])
    def test_not_otherwise(self, error: Exception | None) -> None:
        assert not traits.tells(error, ["hunter22"])

    def test_circle_of_errors_has_an_end(self) -> None:
        one, two = RuntimeError("one"), RuntimeError("two")
        one.__cause__, two.__cause__ = two, one
        assert not traits.tells(one, ["hunter22"])

    def test_by_one_of_a_group(self) -> None:
        group = ExceptionGroup("several", [ValueError("bad key hunter22")])
        assert traits.tells(group, ["hunter22"])

    def test_by_a_note(self) -> None:
        error = RuntimeError("refused")
        error.add_note("while using hunter22")
        assert traits.tells(error, ["hunter22"])


class TestStorages:
    @pytest.mark.parametrize(
        ("storage", "local"),
        [
            (FileSystemStorage("/nowhere"), True),
            (InMemoryStorage(), True),
            (SharedMemoryStorage(), True),
            (RemoteStorage("host"), False),
            (S3Storage(bucket_name="media"), False),
        ],
    )
    def test_local_ones_answer_at_once(self, storage: Any, local: bool) -> None:
        assert traits.is_local(storage) is local

    @pytest.mark.parametrize(
        ("storage", "overwrites"),
        [
            (FileSystemStorage("/nowhere"), False),
            (FileSystemStorage("/nowhere", allow_overwrite=True), True),
            (S3Storage(bucket_name="media"), True),
            (S3Storage(bucket_name="media", file_overwrite=False), False),
            (InMemoryStorage(), False),
        ],
    )
    def test_overwriting_is_an_option(self, storage: Any, overwrites: bool) -> None:
        assert traits.overwrites(storage) is overwrites

    @pytest.mark.parametrize(
        ("backend", "shared"), [(InMemoryStorage, True), (FileSystemStorage, False), (S3Storage, False)]
    )
    def test_memory_must_be_shared_by_threads(self, backend: type, shared: bool) -> None:
        assert traits.keeps_content_in_instance(backend) is shared

    @pytest.mark.parametrize(("gzip", "changes"), [(True, True), (False, False)])
    def test_compressing_changes_sizes(self, gzip: bool, changes: bool) -> None:
        assert traits.changes_content(S3Storage(bucket_name="media", gzip=gzip)) is changes
