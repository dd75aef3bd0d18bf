"""ACK: a save returns once so many tiers hold the file; else it fails, and nothing of the file is left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.files.base import ContentFile
from django.db import transaction

from queued_storage.batch import drain
from queued_storage.chain import find_problems
from queued_storage.exceptions import NotAcknowledged, NotReplaceable
from queued_storage.models import StoredFile
from queued_storage.signals import file_saved
from queued_storage.storage import TieredStorage
from queued_storage.testing import faulty

from tests.base_settings import DISK
from tests.support import clock, recording

pytestmark = pytest.mark.django_db(transaction=True)

TIERS = ("disk", "near", "far")


@pytest.fixture
def make(make_chain: Any, settings: Any) -> Callable[..., TieredStorage]:
    """Make a chain of a disk, and two tiers that fail as told, of which two have to hold a file."""

    def make(policy: Any = "mirror", ack: int = 2, first: Any = "disk", **options: Any) -> TieredStorage:
        lower = {name: {"BACKEND": faulty.PATH, "OPTIONS": {"bucket": name}} for name in TIERS[1:]}
        storage: TieredStorage = make_chain({"disk": first, **lower}, policy=policy)
        chain = settings.QUEUED_STORAGE_TIERS["media"] | {"ACK": ack, **options}
        settings.QUEUED_STORAGE_TIERS = {"media": chain}
        return storage

    return make


@pytest.fixture
def storage(make: Any, settings: Any) -> Iterator[TieredStorage]:
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH
    recording.RecordingDispatcher.calls.clear()
    faulty.forget_all()
    yield make()
    faulty.forget_all()


def go_down(*names: str) -> None:
    for name in names:
        faulty.bucket(name).go_down()


def heal() -> None:
    for name in TIERS[1:]:
        faulty.bucket(name).heal()


def is_nowhere(storage: TieredStorage) -> bool:
    """Tell whether no tier has any file."""
    on_disk = storage.chain.first.storage.listdir("")[1] if storage.chain.first.name == "disk" else []
    return not on_disk and not any(faulty.bucket(each).files for each in TIERS[1:])


class TestEnough:
    def test_save_returns_when_so_many_tiers_hold_the_file(self, storage: TieredStorage) -> None:
        name = storage.save("a.txt", ContentFile(b"12345"))
        assert storage.tiers(name) == ["disk", "near"]
        assert faulty.bucket("near").files[name] == b"12345"

    def test_rest_is_a_workers(self, storage: TieredStorage) -> None:
        name = storage.save("a.txt", ContentFile(b"12345"))
        row = StoredFile.objects.get()
        assert (row.state, row.lease, row.attempts) == ("pending", "", 0)
        assert recording.RecordingDispatcher.calls == [[row.pk]]
        list(drain())
        assert (storage.tiers(name), storage.state(name)) == (list(TIERS), "settled")

    def test_file_that_lies_where_it_should_is_settled(self, storage: TieredStorage, make: Any) -> None:
        storage = make(ack=3)
        name = storage.save("a.txt", ContentFile(b"12345"))
        assert (storage.tiers(name), storage.state(name)) == (list(TIERS), "settled")
        assert recording.RecordingDispatcher.calls == []

    def test_tier_that_is_down_is_passed_over(self, storage: TieredStorage) -> None:
        go_down("near")
        name = storage.save("a.txt", ContentFile(b"12345"))
        assert storage.tiers(name) == ["disk", "far"]
        heal()
        list(drain())
        assert storage.tiers(name) == list(TIERS)

    def test_nobody_works_on_the_file_meanwhile(self, storage: TieredStorage) -> None:
        worked_on: list[int] = []

        def look(call: faulty.Call) -> Any:
            thread = threading.Thread(target=lambda: worked_on.extend(drain()))
            thread.start()
            thread.join()
            return call.proceed()

        faulty.bucket("near").on("save", look, calls=[1])
        storage.save("a.txt", ContentFile(b"12345"))
        assert worked_on == []
        assert recording.RecordingDispatcher.calls == [[StoredFile.objects.get().pk]]

    def test_policy_goes_on_to_release_what_it_does_not_want(self, storage: TieredStorage, make: Any) -> None:
        storage = make(policy="transfer-and-delete")
        name = storage.save("a.txt", ContentFile(b"12345"))
        assert storage.tiers(name) == ["disk", "near"]
        list(drain())
        assert storage.tiers(name) == ["near", "far"]

    def test_one_is_what_a_save_is_without_it(self, storage: TieredStorage, make: Any) -> None:
        storage = make(ack=1)
        go_down("near", "far")
        assert storage.tiers(storage.save("a.txt", ContentFile(b"1"))) == ["disk"]

    def test_spilled_file_has_its_copies_too(self, storage: TieredStorage, make: Any) -> None:
        storage = make(first={"BACKEND": faulty.PATH, "OPTIONS": {"bucket": "disk"}}, SPILL=True)
        go_down("disk")
        name = storage.save("a.txt", ContentFile(b"1"))
        assert storage.tiers(name) == ["near", "far"]


class TestTooFew:
    def test_save_fails_and_says_why(self, storage: TieredStorage) -> None:
        go_down("near", "far")
        with pytest.raises(
            NotAcknowledged, match=r"once 2 tiers hold it \(ACK\), which 1 did: .*'far'"
        ) as caught:
            storage.save("a.txt", ContentFile(b"12345"))
        error = caught.value
        assert (error.chain, error.wanted, error.held) == ("media", 2, 1)
        assert isinstance(error, OSError)

    def test_nothing_is_left(self, storage: TieredStorage) -> None:
        for name in ("near", "far"):
            faulty.bucket(name).on("save", faulty.refuse)
        with pytest.raises(NotAcknowledged):
            storage.save("a.txt", ContentFile(b"12345"))
        assert is_nowhere(storage)
        assert not storage.exists("a.txt")

    def test_name_is_free_again_when_no_tier_can_come_back_to_it(self, storage: TieredStorage) -> None:
        with clock.stopped() as now:
            for name in ("near", "far"):
                faulty.bucket(name).on("save", faulty.refuse)  # it may have been taken all the same
            with pytest.raises(NotAcknowledged):
                storage.save("a.txt", ContentFile(b"12345"))
            heal()
            now.shift(601)
            list(drain())
            assert storage.save("a.txt", ContentFile(b"67890")) == "a.txt"

    def test_copies_that_were_made_are_taken_back(self, storage: TieredStorage, make: Any) -> None:
        storage = make(ack=3)
        faulty.bucket("far").on("save", faulty.refuse)
        with pytest.raises(NotAcknowledged, match="which 2 did"):
            storage.save("a.txt", ContentFile(b"12345"))
        assert is_nowhere(storage)

    def test_what_cannot_be_reached_is_cleared_later(self, storage: TieredStorage, settings: Any) -> None:
        settings.QUEUED_STORAGE_RETRY_DELAY = 0
        faulty.bucket("far").on("save", faulty.refuse)
        faulty.bucket("near").on("save", faulty.cut)  # a part of it is there
        faulty.bucket("near").on("delete", faulty.refuse)
        with pytest.raises(NotAcknowledged):
            storage.save("a.txt", ContentFile(b"12345"))
        assert not storage.exists("a.txt")
        assert faulty.bucket("near").files
        heal()
        list(drain())
        assert is_nowhere(storage)

    def test_nobody_is_told_of_a_save(self, storage: TieredStorage) -> None:
        told: list[str] = []

        def receive(*, name: str, **_: Any) -> None:
            told.append(name)

        file_saved.connect(receive)
        try:
            with (
                faulty.bucket("near").failing("save", faulty.refuse),
                faulty.bucket("far").failing("save", faulty.refuse),
                pytest.raises(NotAcknowledged),
            ):
                storage.save("a.txt", ContentFile(b"12345"))
            storage.save("b.txt", ContentFile(b"12345"))
        finally:
            file_saved.disconnect(receive)
        assert told == ["b.txt"]

    @pytest.mark.parametrize("policy", ["delayed", {"BACKEND": "transfer", "OPTIONS": {"after": "P1D"}}])
    def test_policy_that_wants_too_few_is_told(self, policy: Any, storage: TieredStorage, make: Any) -> None:
        storage = make(policy=policy)
        with pytest.raises(
            NotAcknowledged, match="its policy wants it on fewer than 2 tiers when it is saved"
        ):
            storage.save("a.txt", ContentFile(b"12345"))
        assert is_nowhere(storage)

    def test_policy_that_wants_some_but_too_few_is_told(self, storage: TieredStorage, make: Any) -> None:
        storage = make(policy={"BACKEND": "mirror", "OPTIONS": {"to": ["near"]}}, ack=3)
        with pytest.raises(NotAcknowledged, match="which 2 did: its policy wants it on fewer than 3 tiers"):
            storage.save("a.txt", ContentFile(b"12345"))
        assert is_nowhere(storage)

    def test_crash_leaves_the_file_to_a_worker(self, storage: TieredStorage) -> None:
        with clock.stopped() as now:
            with faulty.bucket("near").failing("save", faulty.crash), pytest.raises(faulty.Crash):
                storage.save("a.txt", ContentFile(b"12345"))
            list(drain())
            assert storage.tiers("a.txt") == ["disk"]  # the attempt may live, for all that others know
            now.shift(301)
            list(drain())
            now.shift(601)
            list(drain())
        assert storage.tiers("a.txt") == list(TIERS)

    def test_file_that_others_replaced_meanwhile_is_theirs(self, storage: TieredStorage) -> None:
        def replace(call: faulty.Call) -> Any:
            def others() -> None:
                storage.delete("a.txt")
                StoredFile.objects.update(lease="", lease_until=None)
                list(drain())

            thread = threading.Thread(target=others)
            thread.start()
            thread.join()
            raise ConnectionRefusedError("no")

        faulty.bucket("near").on("save", replace, calls=[1])
        faulty.bucket("far").on("save", faulty.refuse)
        with pytest.raises(NotAcknowledged):
            storage.save("a.txt", ContentFile(b"12345"))
        assert StoredFile.objects.get().generation == 2  # the delete's


class TestInsideATransaction:
    @pytest.fixture
    def storage(self, catalog_db: str, storage: TieredStorage) -> TieredStorage:
        self.using = catalog_db
        return storage

    def test_copies_are_there_before_the_save_returns(self, storage: TieredStorage) -> None:
        with transaction.atomic(using=self.using):
            name = storage.save("a.txt", ContentFile(b"12345"))
            assert faulty.bucket("near").files[name] == b"12345"
            assert recording.RecordingDispatcher.calls == []
        assert storage.tiers(name) == ["disk", "near"]
        assert len(recording.RecordingDispatcher.calls) == 1

    def test_save_that_fails_leaves_nothing_after_a_rollback(self, storage: TieredStorage) -> None:
        for name in ("near", "far"):
            faulty.bucket(name).on("save", faulty.refuse)
        with pytest.raises(NotAcknowledged), transaction.atomic(using=self.using):
            storage.save("a.txt", ContentFile(b"12345"))
        assert is_nowhere(storage)
        assert not StoredFile.objects.using(self.using).exists()

    def test_save_that_fails_leaves_the_transaction_usable(self, storage: TieredStorage) -> None:
        for name in ("near", "far"):
            faulty.bucket(name).on("save", faulty.refuse)
        with transaction.atomic(using=self.using):
            with pytest.raises(NotAcknowledged):
                storage.save("a.txt", ContentFile(b"12345"))
            heal()
            name = storage.save("b.txt", ContentFile(b"12345"))
        assert storage.tiers(name) == ["disk", "near"]
        assert not storage.exists("a.txt")


class TestReplacing:
    def test_open_to_write_is_refused(self, storage: TieredStorage) -> None:
        name = storage.save("a.txt", ContentFile(b"12345"))
        with pytest.raises(NotReplaceable, match="save under another name"), storage.open(name, "wb") as file:
            file.write(b"6")
        with storage.open(name) as file:
            assert file.read() == b"12345"

    def test_first_tier_that_overwrites_is_refused(
        self, storage: TieredStorage, make: Any, tmp_path: Any
    ) -> None:
        options = {"location": str(tmp_path / "over"), "allow_overwrite": True}
        storage = make(first={"BACKEND": DISK, "OPTIONS": options})
        with pytest.raises(NotReplaceable):
            storage.save("a.txt", ContentFile(b"12345"))
        (message,) = [each for each in run_checks(tags=["queued_storage"]) if "ACK" in each.msg]
        assert message.id == "queued_storage.E001"
        assert message.msg.startswith(
            "QUEUED_STORAGE_TIERS['media']['ACK']: does not go with a first tier that"
        )

    def test_chain_with_it_is_refused_below_another(self, storage: TieredStorage, settings: Any) -> None:
        inner = {"BACKEND": "queued_storage.storage.TieredStorage", "OPTIONS": {"alias": "media"}}
        tiers = {"front": {"BACKEND": faulty.PATH, "OPTIONS": {"bucket": "front"}}, "in": inner}
        outer = {"TIERS": tiers, "POLICY": "transfer"}
        settings.QUEUED_STORAGE_TIERS = settings.QUEUED_STORAGE_TIERS | {"outer": outer}
        (message,) = run_checks(tags=["queued_storage"])
        path = "QUEUED_STORAGE_TIERS['outer']['TIERS']['in']"
        assert (message.id, message.msg, message.hint) == (
            "queued_storage.E001",
            f"{path}: chain 'media' takes no copies: it has ACK, and so replaces no content.",
            "Leave ACK out of QUEUED_STORAGE_TIERS['media'], or write its tiers, and ACK, into this chain.",
        )
        outer["TIERS"]["in"] = inner | {"READ_ONLY": True}
        settings.QUEUED_STORAGE_TIERS = settings.QUEUED_STORAGE_TIERS | {"outer": outer}
        assert run_checks(tags=["queued_storage"]) == []

    def test_free_name_is_given_to_the_second_of_a_name(self, storage: TieredStorage) -> None:
        names = [storage.save("a.txt", ContentFile(b"12345")) for _ in range(2)]
        assert len(set(names)) == 2
        assert all(storage.tiers(name) == ["disk", "near"] for name in names)


@pytest.mark.parametrize(
    ("chain", "told"),
    [
        (
            {"ACK": 0},
            "['ACK']: should be greater than or equal to 1. Write a whole number of tiers, 1 or more.",
        ),
        ({"ACK": "2"}, "['ACK']: is not a whole number. Write a whole number of tiers, 1 or more."),
        ({"ACK": 4}, ": ACK is 4, and 3 of the tiers can be written to. Lower ACK, or add a tier."),
        (
            {"ACK": 2, "POLICY": None},
            ': ACK needs a POLICY that wants the copies. Write "POLICY": "mirror", an',
        ),
    ],
)
def test_mistake_is_told(chain: dict[str, Any], told: str, storage: Any, settings: Any) -> None:
    settings.QUEUED_STORAGE_TIERS = {"media": settings.QUEUED_STORAGE_TIERS["media"] | chain}
    (problem,) = find_problems()
    assert str(problem).startswith(f"QUEUED_STORAGE_TIERS['media']{told}")
