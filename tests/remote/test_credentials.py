"""G10 with real clients: the secrets of a tier's options are in nothing that this package writes, says or raises."""

from __future__ import annotations

import base64
import copy
import io
import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.urls import reverse

from queued_storage.models import StoredFile
from queued_storage.signals import transfer_failed
from queued_storage.storage import TieredStorage
from queued_storage.testing import run_owed_work

from tests.remote.conftest import KINDS, Far
from tests.support import clock, recording

pytestmark = [pytest.mark.servers, pytest.mark.django_db(transaction=True)]

MARKER = "hunter2-marker"
AZURE_MARKER = base64.b64encode(MARKER.encode()).decode()


def secrets_of(far: Far) -> set[str]:
    """The server's own logins, which a tier on it holds."""
    server = getattr(far.server, "server", far.server)
    return {
        getattr(server, name) for name in ("secret_key", "password", "key", "token") if hasattr(server, name)
    } | {
        MARKER,
        AZURE_MARKER,
    }


def with_credentials(far: Far) -> dict[str, Any]:
    tier = copy.deepcopy(far.tier())
    if far.kind == "google":
        from google.oauth2.credentials import Credentials

        tier["OPTIONS"]["credentials"] = Credentials(token=MARKER)
    return tier


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What the package says, as it comes."""
    said: list[str] = []

    def receive(error: str, **_: Any) -> None:
        said.append(error)

    transfer_failed.connect(receive)
    yield said
    transfer_failed.disconnect(receive)


def attempt(told: list[str], call: Callable[[], Any]) -> None:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - what it tells is looked at below
        told += [*traceback.format_exception(error), repr(error), repr(error.args), repr(vars(error))]


def read(storage: TieredStorage, name: str) -> None:
    with storage.open(name) as file:
        file.read()


def use(storage: Any, told: list[str], *, transfers: bool = True) -> None:
    """Save, move, read and delete, and note what all that says."""
    name = storage.save("a.txt", ContentFile(b"content"))
    if transfers:
        run_owed_work()
    unknown = "never-heard-of.txt"
    for call, each in ((read, name), (read, unknown), (TieredStorage.exists, unknown)):
        clock.forget_outages()
        attempt(told, lambda call=call, each=each: call(storage, each))
    attempt(told, lambda: storage.listdir(""))
    attempt(told, lambda: storage.delete(name))
    attempt(told, lambda: storage.delete(unknown))


def look_everywhere(storage: Any, told: list[str], admin_client: Any) -> str:
    for row in StoredFile.objects.all():
        told.append(repr(vars(row)) + repr(row))
        told.append(
            admin_client.get(
                reverse("admin:queued_storage_storedfile_change", args=[row.pk])
            ).content.decode()
        )
    told.append(admin_client.get(reverse("admin:queued_storage_storedfile_changelist")).content.decode())
    rows = StoredFile.objects.values_list("name", flat=True)
    explained = [["explain", name, *how] for name in rows for how in ([], ["--json"])]
    for arguments in (["status"], ["status", "--json"], *explained):
        out = io.StringIO()
        with suppress(SystemExit):
            call_command("tiers", *arguments, stdout=out, stderr=out)
        told.append(out.getvalue())
    told += [repr(storage), repr(storage.chain), repr(list(storage.chain)), repr(storage.deconstruct())]
    return "\n".join(told)


@pytest.fixture
def check(far: Far, make_chain: Any, told: list[str], admin_client: Any, settings: Any, caplog: Any) -> Any:
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH

    def check(tier: dict[str, Any], **how: Any) -> str:
        storage = make_chain({"disk": "disk", "far": tier | {"TIMEOUT": 0.3}}, policy="transfer-and-delete")
        with caplog.at_level(logging.DEBUG):
            use(storage, told, **how)
        text = look_everywhere(storage, told, admin_client) + caplog.text
        assert [secret for secret in secrets_of(far) if secret in text] == []
        return text

    return check


def test_g10_server_that_refuses(far: Far, check: Any) -> None:
    far.relay.refuse()
    # Google's client tries for two minutes, whatever it is told; readers have the TIMEOUT of the tier.
    assert "tier 'far'" in check(with_credentials(far), transfers=far.kind != "google")


#: Their servers, emulators both, let everybody in.
WITHOUT_LOGIN = ("google", "libcloud-s3")


@pytest.mark.parametrize("far", [kind for kind in KINDS if kind not in WITHOUT_LOGIN], indirect=True)
def test_g10_login_that_is_wrong(far: Far, check: Any) -> None:
    assert "tier 'far'" in check(far.tier_with_wrong_login(MARKER))


@pytest.mark.parametrize("far", ["s3", "ftp", "azure", "google", "swift", "libcloud-s3"], indirect=True)
def test_g10_place_that_is_missing(far: Far, check: Any) -> None:
    check(far.tier_without_place())


@pytest.mark.parametrize("far", ["sftp", "ftp", "swift", "dropbox"], indirect=True)
def test_g10_server_that_says_nothing(far: Far, check: Any) -> None:
    far.relay.be_silent()
    check(with_credentials(far), transfers=False)
