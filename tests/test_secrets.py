"""G10: a backend that prints its credentials prints them nowhere that this package reaches."""

from __future__ import annotations

import errno
import logging
import socket
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import OperationalError
from django.test import override_settings

from queued_storage import credentials, traits
from queued_storage.exceptions import ChainUnavailable, OldContentNotRestored, TierUnavailable
from queued_storage.models import StoredFile
from queued_storage.signals import transfer_failed
from queued_storage.testing import run_owed_work

from tests.support import clock, faulty, recording
from tests.support.faulty import Call

#: The password in the options of every faulty tier.
SECRET = "hunter2-secret"

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["queued_storage"])


@pytest.fixture(autouse=True)
def _recording(settings: Any) -> Iterator[None]:
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH
    yield
    faulty.forget_all()


@pytest.fixture
def reasons() -> Iterator[list[str]]:
    """What the signal of a failure tells."""
    told: list[str] = []

    def receive(error: str, **_: Any) -> None:
        told.append(error)

    transfer_failed.connect(receive)
    yield told
    transfer_failed.disconnect(receive)


def blab(call: Call) -> Any:
    """Fail as FTPStorage does: with the whole configuration in the text."""
    raise RuntimeError(f"{call.method} failed using data {{'user': 'me', 'passwd': '{SECRET}'}}")


def misuse(call: Call) -> Any:
    """Fail as a client does that was called wrongly, with an error whose cause tells the secret."""
    try:
        blab(call)
    except Exception as error:
        raise ValueError(f"{call.method}: bad request") from error


def full_text(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error)


def save(storage: Any, name: str = "a.txt", content: bytes = b"text") -> str:
    saved: str = storage.save(name, ContentFile(content))
    return saved


def fail_at(bucket: str, method: str, effect: Callable[[Call], Any] = blab) -> None:
    faulty.bucket(bucket).on(method, effect)


#: What the caller gets instead: the error itself where only what it was raised from tells.
TOLD: dict[Any, tuple[type[Exception], ...]] = {blab: (TierUnavailable,), misuse: (ValueError,)}

ENGINE = [
    pytest.param("far", "save", id="copy"),
    pytest.param("far", "exists", id="look-for-a-taken-name"),
    pytest.param("far", "size", id="verify"),
    pytest.param("near", "open", id="read-the-source"),
    pytest.param("near", "delete", id="release"),
]


class TestEngine:
    @pytest.fixture
    def storage(self, make_chain: Any) -> Any:
        return make_chain(
            {"near": faulty.tier("near"), "far": faulty.tier("far")}, policy="transfer-and-delete"
        )

    @pytest.mark.parametrize("effect", [blab, misuse])
    @pytest.mark.parametrize(("tier", "method"), ENGINE)
    def test_g10_failed_step_names_the_tier_and_no_option(
        self, storage: Any, reasons: list[str], caplog: Any, tier: str, method: str, effect: Any
    ) -> None:
        save(storage)
        fail_at(tier, method, effect)
        run_owed_work()
        error = StoredFile.objects.get().last_error
        assert f"ier '{tier}'" in error or (effect, method) == (misuse, "open")
        assert reasons == [error]
        assert SECRET not in error + caplog.text

    def test_g10_check_of_a_copy_that_stays(self, make_chain: Any, settings: Any, reasons: list[str]) -> None:
        options = {"keep": "PT1H"}
        settings.QUEUED_STORAGE_POLICIES = {"slow": {"BACKEND": "transfer-and-delete", "OPTIONS": options}}
        storage = make_chain({"disk": "disk", "far": faulty.tier("far")}, policy="slow")
        with clock.stopped() as now:
            save(storage)
            run_owed_work()
            fail_at("far", "size")
            now.shift(3601)
            run_owed_work()
        (error,) = reasons
        assert error.startswith("tier 'far': RuntimeError: size failed")
        assert SECRET not in error
        assert storage.tiers("a.txt") == ["disk", "far"]

    @pytest.mark.parametrize("effect", [blab, misuse])
    @pytest.mark.parametrize("tier", ["near", "far"])
    def test_g10_delete(self, storage: Any, reasons: list[str], caplog: Any, tier: str, effect: Any) -> None:
        save(storage)
        fail_at(tier, "delete", effect)
        storage.delete("a.txt")
        run_owed_work()
        error = StoredFile.objects.get().last_error
        assert f"ier '{tier}'" in error
        assert SECRET not in error + "".join(reasons) + caplog.text

    @pytest.mark.parametrize("effect", [blab, misuse])
    def test_g10_rest_of_an_earlier_generation(
        self, make_chain: Any, reasons: list[str], effect: Any
    ) -> None:
        storage = make_chain({"disk": "disk", "far": faulty.tier("far")}, policy="delayed")
        save(storage)
        StoredFile.objects.update(stale=["far"], state="pending", due_at="2020-01-01T00:00Z")
        fail_at("far", "delete", effect)
        run_owed_work()
        (error,) = reasons
        assert "ier 'far'" in error
        assert SECRET not in error

    def test_g10_hook_that_runs_out_of_time(self, storage: Any, settings: Any, caplog: Any) -> None:
        save(storage)
        fail_at("near", "delete")
        settings.QUEUED_STORAGE_DEADLINE = 1e-9
        with caplog.at_level(logging.DEBUG):
            storage.delete("a.txt")
        assert "Tier 'near' is unavailable" in caplog.text
        assert SECRET not in caplog.text


class TestCaller:
    """What the user of a storage is told by its first tier."""

    @pytest.fixture
    def storage(self, make_chain: Any) -> Any:
        return make_chain({"near": faulty.tier("near"), "far": faulty.tier("far")})

    @pytest.mark.parametrize("policy", ["transfer", None])
    @pytest.mark.parametrize("effect", [blab, misuse])
    @pytest.mark.parametrize("method", ["exists", "save"])
    def test_g10_save(self, make_chain: Any, policy: Any, method: str, effect: Any) -> None:
        storage = make_chain({"near": faulty.tier("near"), "far": faulty.tier("far")}, policy=policy)
        fail_at("near", method, effect)
        with pytest.raises(TOLD[effect], match=method) as caught:
            save(storage)
        assert SECRET not in full_text(caught.value)

    @pytest.mark.parametrize("effect", [blab, misuse])
    @pytest.mark.parametrize("method", ["exists", "save", "delete"])
    def test_g10_written_file(self, storage: Any, method: str, effect: Any) -> None:
        save(storage)
        fail_at("near", method, effect)
        file = storage.open("a.txt", "wb")
        file.write(b"new")
        with pytest.raises((*TOLD[effect], OldContentNotRestored)) as caught:
            file.close()
        assert SECRET not in full_text(caught.value)
        if isinstance(caught.value, OldContentNotRestored):
            caught.value.kept.unlink()

    @pytest.mark.parametrize("effect", [blab, misuse])
    @pytest.mark.parametrize("use", ["exists", "is_name_available", "get_available_name"])
    def test_g10_question(self, storage: Any, use: str, effect: Any) -> None:
        fail_at("near", "exists", effect)
        with pytest.raises((*TOLD[effect], ChainUnavailable)) as caught:
            getattr(storage, use)("a.txt")
        assert SECRET not in full_text(caught.value)

    @pytest.mark.parametrize("effect", [blab, misuse])
    def test_g10_read(self, storage: Any, effect: Any) -> None:
        save(storage)
        fail_at("near", "open", effect)
        with pytest.raises((*TOLD[effect], ChainUnavailable), match="open") as caught:
            storage.open("a.txt")
        assert SECRET not in full_text(caught.value)

    @pytest.mark.parametrize("effect", [blab, misuse])
    def test_g10_delete_without_a_catalog(self, make_chain: Any, effect: Any) -> None:
        storage = make_chain({"near": faulty.tier("near")}, policy=None)
        save(storage)
        fail_at("near", "delete", effect)
        with pytest.raises(TOLD[effect], match="delete") as caught:
            storage.delete("a.txt")
        assert SECRET not in full_text(caught.value)

    def test_g10_missing_file_stays_one(self, make_chain: Any) -> None:
        def miss(call: Call) -> Any:
            raise FileNotFoundError(f"sftp://me:{SECRET}@host/{call.name}")

        storage = make_chain({"near": faulty.tier("near")}, policy=None)
        fail_at("near", "delete", miss)
        storage.delete("a.txt")
        fail_at("near", "save", miss)
        with pytest.raises(FileNotFoundError) as caught:
            save(storage)
        assert SECRET not in full_text(caught.value)

    @pytest.mark.parametrize(
        "error",
        [
            OSError(errno.ENOSPC, "No space left on device", "/srv/media/a.txt"),
            PermissionError(errno.EACCES, "Permission denied"),
            ValueError("bad name"),
            RuntimeError("quota exceeded"),
            OperationalError("server closed the connection"),
        ],
        ids=lambda error: type(error).__name__,
    )
    @pytest.mark.parametrize("method", ["exists", "save"])
    def test_error_that_tells_nothing_is_the_callers_own(
        self, storage: Any, method: str, error: Exception
    ) -> None:
        def fail(call: Call) -> Any:
            raise error

        fail_at("near", method, fail)
        with pytest.raises(type(error)) as caught:
            save(storage)
        assert caught.value is error

    def test_full_disk_is_told_with_its_path(self, make_chain: Any, tmp_path: Path) -> None:
        """A location is no credential: the caller sees what Django's storage says."""
        storage = make_chain(["disk"], policy=None)
        (tmp_path / "disk").write_text("a file where the folder should be")
        with pytest.raises(OSError, match=str(tmp_path)) as caught:
            save(storage)
        assert not isinstance(caught.value, TierUnavailable)
        assert storage.chain.first.storage.location in str(caught.value)


FTP = {"BACKEND": "storages.backends.ftp.FTPStorage"}


class TestStockFTP:
    """django-storages' FTPStorage, whose errors hold its password, on a port where nobody answers."""

    @pytest.fixture(params=["setting", "option"])
    def tier(self, request: Any, settings: Any) -> dict[str, Any]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"ftp://user:{SECRET}@127.0.0.1:{free.getsockname()[1]}/"
        if request.param == "option":
            return FTP | {"OPTIONS": {"location": url}}
        settings.FTP_STORAGE_LOCATION = url
        return FTP

    def test_g10_as_a_lower_tier(self, make_chain: Any, tier: Any, reasons: list[str]) -> None:
        storage = make_chain({"disk": "disk", "ftp": tier | {"EXCLUSIVE": True}})
        save(storage)
        run_owed_work()
        assert reasons == [
            "tier 'ftp': FTPStorageException: ConnectionRefusedError: [Errno 111] Connection refused"
        ]
        with pytest.raises(ChainUnavailable, match="tier 'ftp': FTPStorageException") as caught:
            storage.open("b.txt")
        assert SECRET not in full_text(caught.value)

    def test_g10_as_the_first_tier(self, make_chain: Any, tier: Any) -> None:
        storage = make_chain({"ftp": tier, "disk": "disk"})
        with pytest.raises(TierUnavailable, match="Tier 'ftp' is unavailable: FTPStorageException") as caught:
            save(storage)
        assert SECRET not in full_text(caught.value)


class FTPStorageException(Exception):
    """As django-storages names it; known by its path."""


FTPStorageException.__module__ = "storages.backends.ftp"


class TestErrorsThatAreNeverPrinted:
    @pytest.mark.parametrize("secrets", [(), (SECRET,)])
    def test_text_is_left_out_even_where_no_secret_is_known(self, secrets: Any) -> None:
        assert traits.describe(FTPStorageException("using data {}"), secrets) == "FTPStorageException"

    def test_what_it_was_raised_from_is_told(self) -> None:
        error = FTPStorageException("using data {}")
        error.__context__ = OSError(f"login as {SECRET} refused")
        assert traits.describe(error, {SECRET}) == "FTPStorageException: OSError: login as *** refused"

    def test_is_no_cause_to_show(self) -> None:
        error = RuntimeError("failed")
        error.__cause__ = FTPStorageException("using data {}")
        assert traits.tells(error, ())


SETTINGS = [
    pytest.param("FTP_STORAGE_LOCATION", f"ftp://user:{SECRET}@host:21/", {SECRET}, id="url"),
    pytest.param(
        "FTP_STORAGE_LOCATION", "ftp://user:pa/ss@wd@host:21/", {"pa/ss@wd"}, id="unquoted-password"
    ),
    pytest.param("BROKER", "redis://:pa%40ss1@host/0", {"pa%40ss1", "pa@ss1"}, id="quoted-password"),
    pytest.param("DSN", "https://0123456789abcdef@sentry/1", {"0123456789abcdef"}, id="token-for-a-user"),
    pytest.param(
        "NODES", ["redis://a:first@x", ("redis://b:second@y",)], {"first", "second"}, id="urls-in-lists"
    ),
    pytest.param("SENTINEL", "sentinel://:one1@x;sentinel://:two2@y", {"one1", "two2"}, id="urls-in-one"),
    pytest.param("PROXY", {"a": {"b": f"http://me:{SECRET}@proxy"}}, {SECRET}, id="nested-url"),
    pytest.param("URL", f"sftp://me:{SECRET}@host".encode(), {SECRET}, id="bytes"),
    pytest.param("SFTP_STORAGE_PARAMS", {"username": "me", "password": SECRET}, {SECRET}, id="nested-name"),
    pytest.param(
        "CLIENT", {"auth": {"me": ["pass-1", SECRET]}}, {"pass-1", SECRET}, id="below-a-nested-name"
    ),
    pytest.param("AWS_SECRET_ACCESS_KEY", SECRET, {SECRET}, id="name"),
    pytest.param(
        "AZURE_CONNECTION_STRING", f"AccountKey={SECRET}", {f"AccountKey={SECRET}"}, id="connection"
    ),
    pytest.param("GS_CREDENTIALS", SECRET, {SECRET}, id="credentials"),
    pytest.param(
        "SERVERS", {"api": {"ENGINE": "some.engine", "PASSWORD": SECRET}}, {SECRET}, id="alias-like-a-name"
    ),
]
HARMLESS = [
    pytest.param("MEDIA_HOST", "https://media.example/files", "https://media.example/files", id="url"),
    pytest.param("BROKER", f"redis://long-user:{SECRET}@host/0", "long-user", id="user"),
    pytest.param("SERVERS", {"api": {"ENGINE": "some.engine"}}, "some.engine", id="definition"),
    pytest.param("STORES", {"x": {"BACKEND": "b", "KEY_PREFIX": "media"}}, "media", id="key-prefix"),
    pytest.param("ADDRESS", "http://[fe80::1", "http://[fe80::1", id="broken-url"),
]


class TestSettings:
    @pytest.mark.parametrize(("name", "value", "secrets"), SETTINGS)
    def test_secret_is_found(self, name: str, value: Any, secrets: set[str]) -> None:
        with override_settings(**{name: value}):
            assert secrets <= credentials.in_settings()

    @pytest.mark.parametrize(("name", "value", "text"), HARMLESS)
    def test_what_is_none_is_left(self, name: str, value: Any, text: str) -> None:
        with override_settings(**{name: value}):
            assert text not in credentials.in_settings()


class TestTierCredentials:
    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"location": "/srv/media"}, False),
            ({"location": f"sftp://me:{SECRET}@host/srv/media"}, True),
            ({"bucket_name": "/srv/media"}, False),
            ({"object_parameters": {"SSECustomerKey": SECRET}}, True),
            ({"object_parameters": {"StorageClass": "GLACIER"}}, False),
            ({"pw": SECRET}, True),
        ],
    )
    def test_place_of_the_files_is_none(self, options: Any, told: bool) -> None:
        error = RuntimeError(f"cannot write to /srv/media on GLACIER with {SECRET}")
        assert traits.tells(error, credentials.untellable(options)) is told
