"""The cause of a failure, read from its reason: what the engine writes, and what libraries say."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.base import ContentFile

from queued_storage import causes
from queued_storage.models import StoredFile
from queued_storage.testing import faulty, run_owed_work

SAID = {
    "tier 's3' is full: OSError: [Errno 28] No space left on device": ("s3", "full"),
    "tier 's3': HTTPError: 507 Server Error: Insufficient Storage for url": ("s3", "full"),
    "tier 's3': PermissionError: [Errno 13] Permission denied": ("s3", "denied"),
    "tier 's3': ClientError: An error occurred (403) when calling HeadObject: Forbidden": ("s3", "denied"),
    "tier 's3': NoCredentialsError: Unable to locate credentials": ("s3", "denied"),
    "tier 's3': ConnectionRefusedError: [Errno 111] Connection refused": ("s3", "unreachable"),
    "tier 's3': EndpointConnectionError: Could not connect to the endpoint URL": ("s3", "unreachable"),
    "tier 's3' is outside of its WINDOW, 22:00-06:00: copies begin when that opens": ("s3", "window"),
    "Tier 's3' is unavailable: its identity file .queued-storage-identity is not there.": ("s3", "identity"),
    "Tier 's3' is unavailable: it did not answer in time": ("s3", "timeout"),
    "Tier 's3' is unavailable: OSError: [Errno 113] No route to host": ("s3", "unreachable"),
    "tier 's3': ReadTimeoutError: Read timeout on endpoint URL": ("s3", "timeout"),
    "the copy was not done within ATTEMPT_LIMIT (86400 s)": ("", "timeout"),
    "tier 's3': ClientError: An error occurred (NoSuchBucket) when calling PutObject": ("s3", "missing"),
    "tier 'disk' does not hold the file any more": ("disk", "missing"),
    "no tier holds a verified copy of it": ("", "missing"),
    "no good copy is left: tier 'disk': no such file; tier 's3': 3 bytes instead of 10": ("disk", "missing"),
    "tier 'disk' holds 3 bytes of the 10 that were saved": ("disk", "mismatch"),
    "tier 's3' holds 3 of 10 bytes": ("s3", "mismatch"),
    "tier 's3' holds other content than was sent to it": ("s3", "mismatch"),
    "copies that were verified are not there when they are needed": ("", "mismatch"),
    "the storage saves under another name than the one that it is given": ("", "name"),
    "tier 'disk': OSError: [Errno 36] File name too long": ("disk", "name"),
    "policy 'cold' places 'a.pdf' on no tier at all": ("", "policy"),
    "policy 'cold' places \"tier 'a'.pdf\" on no tier at all": ("", "policy"),
    "tier 'disk' holds the last verified copy": ("disk", "policy"),
    "project.tasks.Mine returned False for 'a.pdf'": ("", "refused"),
    "this process does not know its chain: QUEUED_STORAGE_TIERS has no chain 'x'.": ("", "settings"),
    "QUEUED_STORAGE_TIERS['media']['TIERS']['s3']: the storage refuses its OPTIONS: TypeError": ("", "settings"),
    "given up after 6 attempts: its workers died, or were killed, before they could say why": ("", "killed"),
    "given up after 6 attempts: tier 's3' holds 3 of 10 bytes": ("s3", "mismatch"),
    "tier 's3': ZeroDivisionError: division by zero": ("s3", "other"),
    "": ("", "other"),
}  # fmt: skip


@pytest.mark.parametrize("reason", SAID)
def test_reason_is_read(reason: str) -> None:
    assert causes.read(reason) == SAID[reason]


def test_every_cause_is_tried() -> None:
    assert {cause for _, cause in SAID.values()} == set(causes.ALL)


#: How a save ends, and what the engine makes of that.
ENDS = {
    "unreachable": faulty.refuse,
    "denied": faulty.deny,
    "full": faulty.full,
    "mismatch": faulty.cut,
}


@pytest.mark.django_db
@pytest.mark.parametrize("cause", ENDS)
def test_what_the_engine_writes_is_read(make_chain: Any, cause: str) -> None:
    storage = make_chain({"disk": "disk", "far": faulty.tier("causes")})
    try:
        faulty.bucket("causes").on("save", ENDS[cause])
        storage.save("a.txt", ContentFile(b"content"))
        run_owed_work()
    finally:
        faulty.forget_all()
    assert causes.read(StoredFile.objects.get().last_error) == ("far", cause)
