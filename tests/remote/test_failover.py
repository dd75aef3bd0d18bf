"""G8 with real clients and servers as a lower tier: whole transfers, and what readers are told when it is dead."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command

from queued_storage import outage
from queued_storage.exceptions import ChainUnavailable, QueuedStorageError
from queued_storage.models import StoredFile
from queued_storage.testing import run_owed_work

from tests.remote.conftest import KINDS, Far
from tests.support import clock, recording, waiting
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.servers, pytest.mark.django_db(transaction=True, available_apps=["queued_storage"])]

#: Seconds: the TIMEOUT of the tier, and what a busy machine may take on top of a bound, to build a client of S3 say.
#: The clients by themselves would wait for 15 of them and more.
TIMEOUT = 0.3
MARGIN = 10.0
DEADLINE = 1.0
LEASE = 100

CONTENT = bytes(range(256)) * 1200


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings.QUEUED_STORAGE_LEASE = LEASE
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH


@contextmanager
def within(seconds: float) -> Iterator[None]:
    with waiting.within(seconds + MARGIN):
        yield


def refuse(far: Far) -> None:
    far.relay.refuse()


def be_silent(far: Far) -> None:
    far.relay.be_silent()


def swallow(far: Far) -> None:
    """Connections stand, and are answered no more."""
    far.relay.swallow()


#: Where a connection stands for many requests, it may fall silent.
DEATHS = [*product(KINDS, [refuse, be_silent]), ("sftp", swallow), ("ftp", swallow)]


def save(storage: Any, name: str = "in/a.txt", content: bytes = CONTENT) -> str:
    saved: str = storage.save(name, ContentFile(content))
    return saved


def raises_unavailable(call: Callable[[], Any]) -> None:
    with pytest.raises(ChainUnavailable, match="tier 'far'"):
        call()


def read(storage: Any, name: str) -> bytes:
    with storage.open(name) as file:
        content: bytes = file.read()
    return content


def read_from(storage: Any, name: str, tier: str) -> None:
    """Read from the tier, however long a busy machine takes to answer."""
    storage.chain[tier].timeout = 20

    def answers() -> bool:
        clock.forget_outages()
        try:
            return read(storage, name) == CONTENT and outage.is_down(storage.chain[tier]) is False
        except ChainUnavailable:
            return False

    wait_until(answers, f"an answer of {tier!r}")
    storage.chain[tier].timeout = TIMEOUT


class TestAlive:
    @pytest.fixture(autouse=True)
    def _patient(self, settings: Any) -> None:
        """A server under load may need longer than a save or a delete waits."""
        settings.QUEUED_STORAGE_DEADLINE = 60

    @pytest.mark.parametrize("policy", ["transfer", "transfer-and-delete"])
    def test_file_arrives_whole_and_goes(self, far: Far, make_chain: Any, policy: str) -> None:
        storage = make_chain({"disk": "disk", "far": far.tier(TIMEOUT=10)}, policy=policy)
        name = storage.save("in/a b.txt", SimpleUploadedFile("a.txt", CONTENT, "text/x-own"))
        run_owed_work()
        assert storage.state(name) == "settled"
        assert storage.tier(name) == ("disk" if policy == "transfer" else "far")
        assert far.names == [name]
        assert far.read(name) == CONTENT
        if far.keeps_content_type:
            assert far.content_type(name) == "text/x-own"
        assert read(storage, name) == CONTENT
        assert storage.size(name) == len(CONTENT)
        storage.delete(name)
        run_owed_work()
        assert far.names == []
        assert not storage.exists(name)

    def test_missing_file_is_one_from_every_method(self, far: Far, make_chain: Any) -> None:
        storage = make_chain({"disk": "disk", "far": far.tier(TIMEOUT=10)})
        calls: list[Callable[[str], Any]] = [
            storage.open, storage.size, storage.url, storage.path, storage.get_modified_time,
            storage.get_created_time, storage.get_accessed_time, storage.get_storage, storage.transfer,
        ]  # fmt: skip
        for name in ("b.txt", "no/such/folder/b.txt"):
            assert not storage.exists(name)
            assert storage.tier(name) is None
            storage.delete(name)
            for call in calls:
                with pytest.raises(FileNotFoundError):
                    call(name)

    def test_file_that_was_there_before_is_found(self, far: Far, make_chain: Any) -> None:
        far.put("old/a b.txt", CONTENT)
        storage = make_chain({"disk": "disk", "far": far.tier(TIMEOUT=10)}, policy=None)
        assert storage.exists("old/a b.txt")
        assert storage.size("old/a b.txt") == len(CONTENT)
        assert read(storage, "old/a b.txt") == CONTENT
        storage.delete("old/a b.txt")
        assert far.names == []

    def test_g1_file_opened_on_a_server_as_first_tier_is_read_on_after_its_move(
        self, far: Far, make_chain: Any
    ) -> None:
        storage = make_chain({"far": far.tier(TIMEOUT=20), "vault": "disk"}, policy="transfer-and-delete")
        content = os.urandom(4 << 20)
        name = save(storage, content=content)
        with storage.open(name) as straight, storage.open(name) as sought:
            start = straight.read(1000)
            assert sought.read(1000) == start
            run_owed_work()
            assert storage.tiers(name) == ["vault"]
            assert start + straight.read() == content
            sought.seek(3 << 20)
            assert sought.read() == content[3 << 20 :]

    def test_g4_file_of_the_first_tier_is_not_mixed_with_the_one_that_replaced_it(
        self, far: Far, make_chain: Any
    ) -> None:
        storage = make_chain({"far": far.tier(TIMEOUT=20), "vault": "disk"}, policy="transfer-and-delete")
        old, new = os.urandom(4 << 20), os.urandom(4 << 20)
        name = save(storage, content=old)
        with storage.open(name) as file:
            start = file.read(1000)
            with storage.open(name, "wb") as newer:
                newer.write(new)
            run_owed_work()
            assert storage.tiers(name) == ["vault"]
            try:
                file.seek(0)
                again = file.read()
            except Exception:  # noqa: BLE001 - it may be gone, in each library's words
                again = old
        assert (start, again) == (old[:1000], old)

    def test_older_content_is_replaced(self, far: Far, make_chain: Any) -> None:
        storage = make_chain({"disk": "disk", "far": far.tier(TIMEOUT=10)})
        for content in (CONTENT, b"shorter"):
            with storage.open("a.txt", "wb") as file:
                file.write(content)
            run_owed_work()
            assert storage.state("a.txt") == "settled"
            assert far.names == ["a.txt"]
            assert far.read("a.txt") == content


class TestDead:
    @pytest.mark.parametrize(("far", "die"), DEATHS, indirect=["far"])
    def test_g8_readers_fail_over_within_the_deadline_and_skip_the_tier(
        self, far: Far, make_chain: Any, die: Any
    ) -> None:
        if die is swallow and far.kind not in ("sftp", "ftp"):
            pytest.skip(
                "its requests stand alone: the same as a server that says nothing to a new connection"
            )
        storage = make_chain({"disk": "disk", "far": far.tier(TIMEOUT=TIMEOUT), "vault": "disk"}, "transfer")
        name = save(storage)
        run_owed_work()
        storage.chain.first.storage.delete(name)
        read_from(storage, name, "far")  # leaves a connection that stands
        die(far)
        with within(TIMEOUT):
            assert read(storage, name) == CONTENT
        connections = far.relay.accepted
        with within(0):
            assert read(storage, name) == CONTENT
        outage.forget()  # as another process, which has the cache alone
        with within(0):
            assert read(storage, name) == CONTENT
        assert far.relay.accepted == connections

    @pytest.mark.parametrize("die", [refuse, be_silent])
    def test_g8_reader_goes_on_elsewhere_where_the_server_dies_midway(
        self, far: Far, make_chain: Any, die: Any
    ) -> None:
        content = os.urandom(20 << 20)  # more than what stands in the buffers of sockets
        with self._opened_on_far(far, make_chain, content) as (_, file):
            start = file.read(1000)
            die(far)
            assert start + file.read() == content
            file.seek(5 << 20)
            assert file.read(10) == content[5 << 20 :][:10]

    def test_g4_reader_gets_no_mix_where_the_server_dies_and_the_file_was_replaced(
        self, far: Far, make_chain: Any
    ) -> None:
        content = os.urandom(20 << 20)
        with self._opened_on_far(far, make_chain, content) as (storage, file):
            start = file.read(1000)
            with storage.open("in/a.txt", "wb") as newer:
                newer.write(os.urandom(20 << 20))
            refuse(far)
            try:
                rest = file.read()
            except (OSError, QueuedStorageError):
                return
            assert start + rest == content

    @contextmanager
    def _opened_on_far(self, far: Far, make_chain: Any, content: bytes) -> Iterator[Any]:
        """Yield a chain, and a file that is read from its middle tier though the last has it too."""
        tiers = {"disk": "disk", "far": far.tier(TIMEOUT=20), "vault": "disk"}
        storage = make_chain(tiers, "transfer")
        name = save(storage, content=content)
        run_owed_work()
        storage.chain.first.storage.delete(name)
        storage.chain["far"].timeout = 20
        with storage.open(name) as file:
            storage.chain["far"].timeout = TIMEOUT
            yield storage, file

    @pytest.mark.parametrize("die", [refuse, be_silent])
    def test_g8_broken_is_never_absent(self, far: Far, make_chain: Any, die: Any) -> None:
        storage = make_chain({"disk": "disk", "far": far.tier(TIMEOUT=TIMEOUT)}, policy="transfer-and-delete")
        name = save(storage)
        run_owed_work()
        die(far)
        with within(TIMEOUT):
            raises_unavailable(lambda: storage.open(name))
        with within(0):
            raises_unavailable(lambda: storage.open(name))
        for call in (storage.exists, storage.open, storage.size):
            clock.forget_outages()  # the tier is asked for it
            with within(TIMEOUT):
                raises_unavailable(lambda call=call: call("never-heard-of.txt"))
        far.relay.hand_on()
        read_from(storage, name, "far")

    @pytest.mark.parametrize("die", [refuse, be_silent])
    def test_g8_save_and_delete_are_not_held_up_and_done_when_the_server_is_back(
        self, far: Far, make_chain: Any, die: Any
    ) -> None:
        storage = make_chain({"disk": "disk", "far": far.tier(TIMEOUT=TIMEOUT)})
        with clock.stopped() as now:
            doomed = save(storage, "doomed.txt")
            run_owed_work()
            die(far)
            with within(DEADLINE):
                storage.delete(doomed)
            with within(DEADLINE):
                saved = save(storage, "saved.txt")
            assert not storage.exists(doomed)
            assert storage.state(saved) == "pending"
            assert far.names == [doomed]
            far.relay.hand_on()
            storage.chain["far"].timeout = 20  # a busy machine may answer late
            for _ in range(3):  # a back-off, a lease that runs out: not as long as S3 takes a wrong clock
                clock.forget_outages()
                now.shift(LEASE + 1)
                run_owed_work()
            assert storage.state(saved) == "settled"
            assert far.names == [saved]
            assert far.read(saved) == CONTENT


class TestWrongSettings:
    """A human has to change something: told at once, never taken for a missing file."""

    @pytest.mark.parametrize("far", ["s3", "sftp", "ftp", "azure", "swift", "dropbox"], indirect=True)
    def test_wrong_login_fails_at_once_and_is_retried_when_asked(self, far: Far, make_chain: Any) -> None:
        storage = make_chain({"disk": "disk", "far": far.tier_with_wrong_login("wrong")})
        name = save(storage)
        run_owed_work()
        row = StoredFile.objects.get()
        assert (row.state, row.attempts) == ("failed", 1)
        assert "tier 'far'" in row.last_error
        storage = make_chain({"disk": "disk", "far": far.tier()})
        clock.forget_outages()
        call_command("tiers", "retry", stdout=io.StringIO())
        run_owed_work()
        assert storage.state(name) == "settled"
        assert far.read(name) == CONTENT

    @pytest.mark.parametrize("far", ["s3", "ftp", "azure", "google", "swift", "libcloud-s3"], indirect=True)
    def test_g8_missing_bucket_is_no_missing_file(self, far: Far, make_chain: Any) -> None:
        storage = make_chain({"disk": "disk", "far": far.tier_without_place()}, policy=None)
        for call in (storage.exists, storage.open, storage.size):
            clock.forget_outages()
            raises_unavailable(lambda call=call: call("in/a.txt"))

    @pytest.mark.parametrize("far", ["ftp"], indirect=True)
    def test_full_tier_is_told_and_tried_again(self, far: Far, make_chain: Any) -> None:
        place = far.server.new_place("full")
        storage = make_chain({"disk": "disk", "far": far.server.tier(place)})
        name = save(storage)
        run_owed_work()
        assert storage.state(name) == "pending"
        assert "552 Quota exceeded" in StoredFile.objects.get().last_error
        assert far.server.names(place) == []
