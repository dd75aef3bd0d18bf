"""A dead server in the middle of three tiers: what lies above and below it is read within the tier's deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage

from queued_storage import outage
from queued_storage.testing import run_owed_work

from tests.storages import kinds
from tests.storages.conftest import TIMES, Place
from tests.support import clock, recording
from tests.support.relay import Relay, relay_to
from tests.support.waiting import wait_until

KINDS = kinds.SERVERS

pytestmark = [
    pytest.mark.servers,
    pytest.mark.django_db(transaction=True, available_apps=["queued_storage"]),
]

#: Seconds: the TIMEOUT of the tier, and what a busy machine may take on top of it.
TIMEOUT = 0.5
MARGIN = 10.0
CONTENT = bytes(range(256)) * 400

DEATHS: dict[str, Callable[[Relay], None]] = {"refuses": Relay.refuse, "is silent": Relay.be_silent}
#: Where a file lies: on the first tier too; on the dead one and below; below alone, and the catalog does not know it.
PLACES = ("above", "below", "unknown")


@pytest.fixture
def relay(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    with relay_to(place.server.port) as relay:
        for name, value in place.server.environment(relay.port).items():
            monkeypatch.setenv(name, value)
        yield relay


def read(storage: Any, name: str) -> float:
    """Read the file and return the seconds that it took."""
    started = time.monotonic()
    with storage.open(name) as file:
        assert file.read() == CONTENT
    return time.monotonic() - started


def leave_a_connection(storage: Any, name: str) -> None:
    """Read from the middle tier, however long a busy machine takes to answer."""
    storage.chain["far"].timeout = 20

    def answers() -> bool:
        clock.forget_outages()
        return read(storage, name) > 0 and not outage.is_down(storage.chain["far"])

    wait_until(answers, "an answer of the server")
    storage.chain["far"].timeout = TIMEOUT


@pytest.mark.parametrize("death", DEATHS)
def test_g8_what_lies_above_and_below_is_read_within_the_deadline(
    place: Place,
    relay: Relay,
    make_chain: Any,
    settings: Any,
    tmp_path: Any,
    death: str,
    record_property: Callable[[str, object], None],
) -> None:
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH
    settings.QUEUED_STORAGE_DEADLINE = 60
    storage = make_chain({"disk": "disk", "far": place.tier(relay.port, TIMEOUT=20), "vault": "disk"})
    names = {where: storage.save(f"in/{where}.bin", ContentFile(CONTENT)) for where in PLACES[:2]}
    run_owed_work()
    assert storage.tiers(names["below"]) == ["disk", "far", "vault"]
    storage.chain.first.storage.delete(names["below"])  # past the chain: what the disk had is lost
    FileSystemStorage(tmp_path / "vault").save("in/unknown.bin", ContentFile(CONTENT))
    names["unknown"] = "in/unknown.bin"
    leave_a_connection(storage, names["below"])

    DEATHS[death](relay)
    times = {}
    for where, name in names.items():
        clock.forget_outages()  # each is the first that meets the dead server
        times[where] = [read(storage, name), read(storage, name)]
    record_property(TIMES, [place.kind.title, death, times])
    for first, afterwards in times.values():
        assert first < TIMEOUT + MARGIN, "not within the bound"
        assert afterwards < MARGIN, "not within the bound"
