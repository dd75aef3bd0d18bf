"""Attempts that lost their file and wake up late: nothing that they still write may win, or come back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.core.files.base import ContentFile
from django.db import OperationalError, transaction
from django.utils import timezone

from queued_storage import catalog, committed, disk, outage
from queued_storage.attempt import Attempt
from queued_storage.batch import drain
from queued_storage.catalog import attempts
from queued_storage.policies import Placement, Policy
from queued_storage.policies.base import FileFacts
from queued_storage.reconcile import Reconciliation, reconcile
from queued_storage.storage import TieredStorage
from queued_storage.testing import faulty
from queued_storage.testing.faulty import Call, Crash

from tests.base_settings import DISK
from tests.support import clock as clocks
from tests.support.clock import Clock

pytestmark = pytest.mark.django_db(transaction=True)

LEASE = 300.0
OBJECT_STORE = {"BACKEND": "tests.support.storages.ObjectStore", "OPTIONS": {"bucket": "far"}}
OLD, NEW = b"old " * 100, b"newer " * 100


@pytest.fixture
def clock() -> Iterator[Clock]:
    with clocks.stopped() as clock:
        yield clock


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    faulty.forget_all()


@pytest.fixture
def make(make_chain: Callable[..., TieredStorage], tmp_path: Path) -> Callable[..., TieredStorage]:
    """A chain whose first tier overwrites, above an object store that fails as told, or another disk."""

    def make(far: Any = None, policy: str = "transfer-and-delete") -> TieredStorage:
        near = {"BACKEND": DISK, "OPTIONS": {"location": str(tmp_path / "near"), "allow_overwrite": True}}
        return make_chain({"near": near, "far": far or faulty.tier("far")}, policy=policy)

    return make


def row() -> Any:
    return catalog.files().get()


def row_of(name: str) -> Any:
    return catalog.files().get(name=name)


def work() -> None:
    list(drain())


def rest(clock: Clock) -> None:
    """Let all leases end, and do all work."""
    for _ in range(4):
        clock.shift(LEASE + 1)
        work()


def held_up(meanwhile: Callable[[], None]) -> Callable[[Call], Any]:
    """An effect: the request of this save reaches the server after all that happens meanwhile."""

    def effect(call: Call) -> Any:
        call.bucket.on("save", lambda later: later.proceed())
        meanwhile()
        return call.proceed()

    return effect


def content_of(storage: TieredStorage) -> bytes:
    with storage.open("a.txt") as file:
        content: bytes = file.read()
        return content


class Home(Policy):
    """Wants every file on the first tier alone."""

    def place(self, file: FileFacts, tiers: Sequence[str], now: datetime) -> Placement:
        return Placement((tiers[0],))


class TestOneThatIsReplaced:
    def test_g6_source_of_the_newer_generation_stays_until_it_cannot_write(self, make, clock, tmp_path):
        storage, far = make(), faulty.bucket("far")
        storage.save("a.txt", ContentFile(OLD))

        def meanwhile() -> None:
            storage.save("a.txt", ContentFile(NEW))
            clock.shift(LEASE + 1)
            work()
            assert far.files == {"a.txt": NEW}
            assert (storage.state("a.txt"), storage.tiers("a.txt")) == ("pending", ["near", "far"])

        far.on("save", held_up(meanwhile))
        reconcile(
            row().pk
        )  # which sees, when its request is done, that it has lost the file, and what it did
        assert content_of(storage) == NEW
        assert far.files == {"a.txt": NEW}
        assert (storage.state("a.txt"), storage.tiers("a.txt")) == ("settled", ["far"])
        assert row().lost == []

    def test_g6_one_that_writes_and_dies_is_found_out(self, make, clock):
        storage, far = make(), faulty.bucket("far")
        storage.save("a.txt", ContentFile(OLD))

        def meanwhile() -> None:
            storage.save("a.txt", ContentFile(NEW))
            clock.shift(LEASE + 1)
            work()

        def write_and_die(call: Call) -> Any:
            held_up(meanwhile)(call)
            raise Crash

        far.on("save", write_and_die)
        with pytest.raises(Crash):
            reconcile(row().pk)
        assert far.files == {"a.txt": OLD}
        assert content_of(storage) == NEW
        rest(clock)
        assert far.files == {"a.txt": NEW}
        assert (storage.state("a.txt"), storage.tiers("a.txt")) == ("settled", ["far"])
        assert content_of(storage) == NEW

    def test_g6_plain_transfer_is_looked_at_again_too(self, make, clock):
        storage, far = make(policy="transfer"), faulty.bucket("far")
        storage.save("a.txt", ContentFile(OLD))

        def meanwhile() -> None:
            storage.save("a.txt", ContentFile(NEW))
            clock.shift(LEASE + 1)
            work()
            assert storage.state("a.txt") == "settled"

        def write_and_die(call: Call) -> Any:
            held_up(meanwhile)(call)
            raise Crash

        far.on("save", write_and_die)
        with pytest.raises(Crash):
            reconcile(row().pk)
        rest(clock)
        assert far.files == {"a.txt": NEW}
        assert row().due_at is None

    def test_g6_on_a_disk_it_cannot_publish_any_more(self, make, clock, tmp_path, monkeypatch):
        """Not after hours either, and nobody waits for it."""
        far_path = tmp_path / "far"
        storage = make({"BACKEND": DISK, "OPTIONS": {"location": str(far_path)}})
        storage.save("a.txt", ContentFile(OLD))
        publish = disk.Staged.publish

        def paused(staged: disk.Staged, name: str, *, overwrite: bool) -> None:
            monkeypatch.setattr(disk.Staged, "publish", publish)
            storage.save("a.txt", ContentFile(NEW))
            clock.shift(10 * LEASE)
            work()
            assert (storage.state("a.txt"), storage.tiers("a.txt")) == ("settled", ["far"])
            publish(staged, name, overwrite=overwrite)

        monkeypatch.setattr(disk.Staged, "publish", paused)
        reconcile(row().pk)
        assert (far_path / "a.txt").read_bytes() == NEW
        assert [path.name for path in far_path.iterdir()] == ["a.txt"]
        assert (storage.state("a.txt"), storage.tiers("a.txt")) == ("settled", ["far"])

    def test_one_that_ends_by_itself_is_not_waited_for(self, make, clock):
        storage, far = make(), faulty.bucket("far")
        storage.save("a.txt", ContentFile(OLD))
        far.on("save", held_up(lambda: storage.save("a.txt", ContentFile(NEW)) and None))
        reconcile(row().pk)
        assert (storage.state("a.txt"), storage.tiers("a.txt")) == ("settled", ["far"])
        assert far.files == {"a.txt": NEW}
        assert row().lost == []


class TestOneOfTheSameGeneration:
    def test_nobody_waits_for_a_worker_that_died(self, make, clock):
        """Where content is replaced at once, it writes the same again, if it writes at all."""
        storage, far = make(OBJECT_STORE), faulty.bucket("far")
        storage.save("a.txt", ContentFile(NEW))
        far.on("save", faulty.crash, calls=[1])
        with pytest.raises(Crash):
            reconcile(row().pk)
        clock.shift(LEASE + 1)
        work()
        assert (storage.state("a.txt"), storage.tiers("a.txt")) == ("settled", ["far"])

    def test_g2_one_that_writes_in_place_is_waited_for(self, make, clock):
        """It may delete, or cut off, what the next one has copied."""
        storage, far = make(), faulty.bucket("far")
        storage.save("a.txt", ContentFile(NEW))
        far.on("save", faulty.crash, calls=[1])
        with pytest.raises(Crash):
            reconcile(row().pk)
        clock.shift(LEASE + 1)
        work()
        assert (storage.state("a.txt"), storage.tiers("a.txt")) == ("pending", ["near", "far"])
        clock.shift(LEASE)
        work()
        assert (storage.state("a.txt"), storage.tiers("a.txt")) == ("settled", ["far"])

    def test_g6_it_is_remembered_for_generations_to_come(self, make, clock):
        storage, far = make(), faulty.bucket("far")
        storage.save("a.txt", ContentFile(OLD))

        def meanwhile() -> None:
            clock.shift(LEASE + 1)
            work()  # by another, of the same generation
            storage.save("a.txt", ContentFile(NEW))
            work()
            assert storage.tiers("a.txt") == ["near", "far"]

        def write_and_die(call: Call) -> Any:
            held_up(meanwhile)(call)
            raise Crash

        far.on("save", write_and_die)
        with pytest.raises(Crash):
            reconcile(row().pk)
        rest(clock)
        assert far.files == {"a.txt": NEW}
        assert content_of(storage) == NEW


class TestOneWhoseFileIsDeleted:
    def test_g5_what_it_wrote_goes_although_it_died(self, make, clock):
        storage, far = make(), faulty.bucket("far")
        storage.save("a.txt", ContentFile(OLD))

        def meanwhile() -> None:
            storage.delete("a.txt")
            clock.shift(LEASE + 1)
            work()

        def write_and_die(call: Call) -> Any:
            held_up(meanwhile)(call)
            raise Crash

        far.on("save", write_and_die)
        with pytest.raises(Crash):
            reconcile(row().pk)
        assert not storage.exists("a.txt")
        rest(clock)
        assert far.files == {}
        assert row().is_gone
        assert not storage.exists("a.txt")


class TestDeletesThatLinger:
    def test_g2_delete_that_comes_late_does_not_hit_the_next_file_of_the_name(self, make, clock):
        """The request of a delete was given up after its deadline, and reached the server later."""
        storage, far = make(faulty.tier("far", TIMEOUT=5)), faulty.bucket("far")
        storage.save("a.txt", ContentFile(OLD))
        work()
        assert far.files == {"a.txt": OLD}
        far.on("delete", _time_out, calls=[1])
        storage.delete("a.txt")
        assert not storage.exists("a.txt")
        clock.shift(61)  # the back-off is over
        storage.save("a.txt", ContentFile(NEW))
        work()
        assert storage.tiers("a.txt") == ["near", "far"]
        del far.files["a.txt"]  # by the late delete
        assert content_of(storage) == NEW
        rest(clock)
        assert far.files == {"a.txt": NEW}
        assert (storage.state("a.txt"), storage.tiers("a.txt")) == ("settled", ["far"])


def _time_out(call: Call) -> Any:
    raise TimeoutError


def _refuse(call: Call) -> Any:
    raise ConnectionRefusedError


class TestDeletesOfAWorkerThatWakesUp:
    def test_g2_late_delete_of_the_same_generation_is_waited_for(self, make, clock, settings):
        """A worker clears what an older generation left; meanwhile the policy wants the newer one there."""
        settings.QUEUED_STORAGE_POLICIES = {
            "later": {"BACKEND": "queued_storage.policies.TransferAndDelete", "OPTIONS": {"after": "PT1H"}}
        }
        storage, far = make(policy="later"), faulty.bucket("far")
        storage.save("a.txt", ContentFile(OLD))
        clock.shift(3601)
        work()
        assert far.files == {"a.txt": OLD}
        storage.save("a.txt", ContentFile(NEW))

        def meanwhile(call: Call) -> Any:
            call.bucket.on("delete", lambda later: later.proceed())
            clock.shift(3601)
            work()
            assert storage.tiers("a.txt") == ["near", "far"]
            return call.proceed()

        far.on("delete", meanwhile)
        work()
        assert content_of(storage) == NEW
        rest(clock)
        assert far.files == {"a.txt": NEW}
        assert (storage.state("a.txt"), storage.tiers("a.txt")) == ("settled", ["far"])

    @pytest.mark.parametrize("verb", ["note_clearing", "record_release"])
    def test_g2_one_that_slept_after_it_said_so_does_not_delete(
        self, make, clock, monkeypatch, settings, verb
    ):
        """The newer file of the name has moved, and its only copy is there, when the worker wakes up."""
        storage, far = make(policy="transfer"), faulty.bucket("far")
        storage.save("a.txt", ContentFile(OLD))
        work()
        say = getattr(catalog, verb)

        def say_and_sleep(*args: Any, **kwargs: Any) -> None:
            say(*args, **kwargs)
            monkeypatch.setattr(catalog, verb, say)
            clock.shift(2 * LEASE + 1)
            work()
            make(policy="transfer-and-delete").save("a.txt", ContentFile(NEW))
            rest(clock)
            assert row().tiers == ["far"]

        monkeypatch.setattr(catalog, verb, say_and_sleep)
        if verb == "note_clearing":
            storage.delete("a.txt")
        else:
            settings.QUEUED_STORAGE_POLICIES = {"home": {"BACKEND": f"{__name__}.Home"}}
            catalog.files().update(policy="home", state="pending", due_at=timezone.now())
        work()
        assert far.files == {"a.txt": NEW}
        rest(clock)
        assert (content_of(storage), row().tiers, row().state) == (NEW, ["far"], "settled")

    def test_g2_one_that_takes_back_what_it_wrote_under_an_unknown_name(self, make, clock, monkeypatch):
        """It wrote, slept until the catalog knew the name no more, and sleeps again once it has seen that."""
        storage, far = make(), faulty.bucket("far")
        storage.save("a.txt", ContentFile(OLD))
        find = catalog.find

        def find_and_sleep(*args: Any) -> Any:
            found = find(*args)
            assert found is None
            monkeypatch.setattr(catalog, "find", find)
            storage.save("a.txt", ContentFile(NEW))
            rest(clock)
            assert row().tiers == ["far"]
            return found

        def replaced(call: Call) -> Any:
            answer = call.proceed()
            storage.delete("a.txt")
            catalog.files().delete()
            monkeypatch.setattr(catalog, "find", find_and_sleep)
            return answer

        far.on("save", replaced, calls=[1])
        work()
        assert far.files == {"a.txt": NEW}
        rest(clock)
        assert (content_of(storage), row().tiers, row().state) == (NEW, ["far"], "settled")

    def test_g5_what_is_taken_back_under_an_unknown_name_is_owed(self, make, clock):
        storage, far = make(), faulty.bucket("far")
        storage.save("a.txt", ContentFile(OLD))

        def forgotten(call: Call) -> Any:
            answer = call.proceed()
            catalog.files().delete()
            return answer

        far.on("save", forgotten, calls=[1])
        far.on("delete", _time_out, calls=[1])
        work()
        rest(clock)
        assert far.files == {}

    @pytest.mark.parametrize("is_known", [False, True])
    def test_g5_what_a_tier_saved_by_another_name_and_does_not_delete_is_owed(self, make, clock, is_known):
        storage, far = make(), faulty.bucket("far")
        other = "a.txt_1"
        if is_known:
            storage.save(other, ContentFile(NEW))
        far.on("save", faulty.rename, calls=[1])
        far.on("delete", _refuse, calls=[1])
        storage.save("a.txt", ContentFile(OLD))
        reconcile(row_of("a.txt").pk)
        assert set(far.files) == {other}
        rest(clock)
        assert far.files == ({"a.txt": OLD, other: NEW} if is_known else {"a.txt": OLD})
        assert storage.tiers("a.txt") == ["far"]

    def test_g2_delete_on_a_disk_happens_while_nobody_can_take_the_file_over(
        self, make, tmp_path, monkeypatch
    ):
        from django.core.files.storage import FileSystemStorage
        from django.db import connection

        storage = make({"BACKEND": DISK, "OPTIONS": {"location": str(tmp_path / "far")}})
        storage.save("a.txt", ContentFile(OLD))
        work()
        delete, inside = FileSystemStorage.delete, []

        def note(self: FileSystemStorage, name: str) -> None:
            inside.append(connection.in_atomic_block)
            delete(self, name)

        monkeypatch.setattr(FileSystemStorage, "delete", note)
        storage.delete("a.txt")
        work()
        assert len(inside) >= 2
        assert all(inside)

    def test_g5_tier_that_cannot_be_cleared_stays_owed(self, make, clock, monkeypatch):
        """One tier fails and the other is cleared: the first is not forgotten with it."""
        from django.core.files.storage import FileSystemStorage

        storage = make(policy="transfer")
        storage.save("a.txt", ContentFile(OLD))
        work()
        delete, calls = FileSystemStorage.delete, []

        def refuse(self: FileSystemStorage, name: str) -> None:
            calls.append(name)
            if len(calls) < 3:
                raise PermissionError(name)
            delete(self, name)

        monkeypatch.setattr(FileSystemStorage, "delete", refuse)
        storage.delete("a.txt")
        assert row().stale == ["near"]
        rest(clock)
        assert not storage.exists("a.txt")
        assert row().is_gone

    def test_g3_copy_that_vanished_is_made_again_before_another_is_released(
        self, make_chain, clock, settings
    ):
        settings.QUEUED_STORAGE_POLICIES = {
            "later": {"BACKEND": "queued_storage.policies.TransferAndDelete", "OPTIONS": {"keep": "PT1H"}}
        }
        storage, far = (
            make_chain({"near": "disk", "far": faulty.tier("far")}, policy="later"),
            faulty.bucket("far"),
        )
        storage.save("a.txt", ContentFile(NEW))
        work()
        del far.files["a.txt"]
        clock.shift(3601)
        work()
        assert far.files == {"a.txt": NEW}
        assert storage.tiers("a.txt") == ["near", "far"]  # its grace begins anew
        clock.shift(3601)
        work()
        assert (storage.state("a.txt"), storage.tiers("a.txt")) == ("settled", ["far"])


class TestSecondDelete:
    def test_g5_delete_clears_what_a_crashed_one_left(self, make, monkeypatch, clock):
        storage = make()
        storage.save("a.txt", ContentFile(OLD))
        monkeypatch.setattr(
            committed._Clearing, "run", lambda self: None
        )  # the process died after its commit
        storage.delete("a.txt")
        monkeypatch.undo()
        storage.delete("a.txt")
        assert not storage.exists("a.txt")

    def test_g5_it_is_gone_inside_a_transaction_as_well(self, make, monkeypatch, clock):
        storage = make()
        storage.save("a.txt", ContentFile(OLD))
        monkeypatch.setattr(committed._Clearing, "run", lambda self: None)
        storage.delete("a.txt")
        monkeypatch.undo()
        with transaction.atomic():
            storage.delete("a.txt")
            assert not storage.exists("a.txt")

    def test_transfer_of_a_deleted_file_that_is_not_cleared(self, make, monkeypatch):
        storage = make()
        storage.save("a.txt", ContentFile(OLD))
        monkeypatch.setattr(committed._Clearing, "run", lambda self: None)
        storage.delete("a.txt")
        with pytest.raises(FileNotFoundError):
            storage.transfer("a.txt")


class TestReplacingOutsideATransaction:
    def test_g4_content_appears_after_the_commit(self, make, monkeypatch, tmp_path):
        storage = make()
        storage.save("a.txt", ContentFile(OLD))
        seen = []
        begin = catalog.replace

        def replace(*arguments: Any) -> Any:
            result = begin(*arguments)
            seen.append((tmp_path / "near" / "a.txt").read_bytes())
            return result

        monkeypatch.setattr(catalog, "replace", replace)
        storage.save("a.txt", ContentFile(NEW))
        assert seen == [OLD]
        assert content_of(storage) == NEW

    def test_g1_failure_to_publish_reaches_the_user_and_is_made_good(self, make, monkeypatch):
        storage = make(policy="transfer")
        storage.save("a.txt", ContentFile(OLD))

        def fail(*_: Any, **__: Any) -> None:
            raise OSError("the disk is gone")

        monkeypatch.setattr(disk, "publish_kept", fail)
        with pytest.raises(OSError, match="the disk is gone"):
            storage.save("a.txt", ContentFile(NEW))
        assert content_of(storage) == OLD
        monkeypatch.undo()
        work()
        assert content_of(storage) == NEW
        assert storage.state("a.txt") == "settled"
        assert faulty.bucket("far").files == {"a.txt": NEW}


class TestFailedSaveOnATierThatWritesInPlace:
    @pytest.mark.parametrize("fault", [faulty.cut_and_fail, faulty.fail_afterwards, faulty.refuse])
    @pytest.mark.parametrize("overwrites", [False, True])
    def test_g4_nothing_of_a_new_file_is_left(self, make_chain, fault, overwrites):
        storage = make_chain({"near": faulty.tier("near"), "far": "disk"})
        near = faulty.bucket("near")
        storage.chain.first.storage.file_overwrite = overwrites
        near.on("save", fault, calls=[1])
        with pytest.raises(ConnectionError):
            storage.save("a.txt", ContentFile(NEW))
        assert near.files == {}
        assert not storage.exists("a.txt")
        assert storage.save("a.txt", ContentFile(NEW)) == "a.txt"
        assert content_of(storage) == NEW


class TestWhatTheReviewerFound:
    def test_g6_answer_that_is_lost_with_the_file(self, make, clock):
        """An attempt that ends with another error has lost its file all the same, and written to it."""
        storage, far = make(), faulty.bucket("far")
        storage.save("a.txt", ContentFile(OLD))

        def meanwhile() -> None:
            storage.save("a.txt", ContentFile(OLD[::-1]))  # as long
            clock.shift(LEASE + 1)
            work()

        def lose_the_answer(call: Call) -> Any:
            held_up(meanwhile)(call)
            raise ConnectionError("the answer was lost")

        far.on("save", lose_the_answer)
        reconcile(row().pk)
        rest(clock)
        assert content_of(storage) == OLD[::-1]
        assert far.files == {"a.txt": OLD[::-1]}

    def test_g2_delete_that_lingers_while_the_name_is_saved_anew(self, make, clock):
        storage, far = make(faulty.tier("far", TIMEOUT=5)), faulty.bucket("far")
        storage.save("a.txt", ContentFile(OLD))
        work()

        def saved_meanwhile(call: Call) -> Any:
            storage.save("a.txt", ContentFile(NEW))
            raise TimeoutError

        far.on("delete", saved_meanwhile, calls=[1])
        storage.delete("a.txt")
        work()
        clock.shift(LEASE - 100)
        work()
        assert "near" in storage.tiers("a.txt")
        far.files.pop("a.txt", None)  # by the delete, at last
        rest(clock)
        assert content_of(storage) == NEW
        assert far.files == {"a.txt": NEW}

    def test_lingering_deletes_do_not_pile_up(self, make, clock):
        storage, far = make(faulty.tier("far", TIMEOUT=5)), faulty.bucket("far")
        storage.save("a.txt", ContentFile(OLD))
        work()
        far.on("delete", _time_out)
        storage.delete("a.txt")
        for _ in range(10):
            clock.shift(3 * 3600)
            work()
        assert len(row().lost) == 1

    def test_g3_staged_content_that_is_gone_is_not_taken_for_published(self, make, monkeypatch, tmp_path):
        storage = make(policy="transfer")
        storage.save("a.txt", ContentFile(OLD))
        monkeypatch.setattr(committed._Publication, "run", lambda self: None)
        storage.save("a.txt", ContentFile(OLD[::-1]))
        monkeypatch.undo()
        (tmp_path / "near" / row().staged).unlink()
        work()
        assert row().staged
        assert "FileNotFoundError" in row().last_error

    def test_g4_worker_that_publishes_before_the_saver_does(self, make, monkeypatch):
        """It moved the file on as well: the saver finds nothing to publish, and nothing wrong."""
        storage = make(OBJECT_STORE)
        storage.save("a.txt", ContentFile(OLD))
        publish = committed._Publication.run

        def late(self: committed._Publication) -> None:
            work()
            publish(self)

        monkeypatch.setattr(committed._Publication, "run", late)
        storage.save("a.txt", ContentFile(NEW))
        assert storage.tiers("a.txt") == ["far"]
        assert content_of(storage) == NEW

    def test_g1_reader_between_commit_and_publication(self, make, monkeypatch, tmp_path):
        """The catalog tells it of staged content, which is in its place when it looks."""
        storage = make(OBJECT_STORE)
        storage.save("a.txt", ContentFile(OLD))
        work()
        publish, read = committed._Publication.run, []
        find = catalog.find

        def overtaken(chain: str, name: str) -> Any:
            found = find(chain, name)
            monkeypatch.setattr(catalog, "find", find)
            publish(waiting[0])
            return found

        waiting: list[committed._Publication] = []

        def hold(self: committed._Publication) -> None:
            waiting.append(self)
            monkeypatch.setattr(catalog, "find", overtaken)
            read.append(content_of(storage))

        monkeypatch.setattr(committed._Publication, "run", hold)
        storage.save("a.txt", ContentFile(NEW))
        assert read == [NEW]

    def test_folder_by_the_name_of_a_file_that_has_moved(self, make):
        """A disk cannot hold "report" beside "report/1"; once the one is on an object store, both exist."""
        storage = make(OBJECT_STORE)
        storage.save("report", ContentFile(OLD))
        work()
        storage.save("report/1", ContentFile(NEW))
        assert (storage.tier("report"), storage.size("report")) == ("far", len(OLD))
        with storage.open("report") as file:
            assert file.read() == OLD
        storage.delete("report")
        assert catalog.find("media", "report").is_gone
        assert not storage.exists("report")
        with storage.open("report/1") as file:
            assert file.read() == NEW

    def test_g2_who_sleeps_between_looking_and_telling_tells_nothing(self, make, clock, monkeypatch):
        """Meanwhile another has put the right content there, and released the source."""
        storage, far = make(OBJECT_STORE), faulty.bucket("far")
        storage.save("a.txt", ContentFile(OLD))
        far.on("save", held_up(lambda: storage.save("a.txt", ContentFile(NEW)) and None))
        distrust, slept = catalog.distrust, []

        def sleepy(seen: Any, tier: str) -> bool:
            if not slept:
                slept.append(seen.pk)
                rest(clock)
                assert (storage.state("a.txt"), storage.tiers("a.txt")) == ("settled", ["far"])
            return distrust(seen, tier)

        monkeypatch.setattr(catalog, "distrust", sleepy)
        reconcile(row().pk)
        assert slept
        assert far.files == {"a.txt": NEW}
        assert content_of(storage) == NEW
        rest(clock)
        assert (storage.state("a.txt"), storage.tiers("a.txt")) == ("settled", ["far"])

    def test_g6_sign_of_life_between_a_look_at_the_lease_and_its_taking(self, make, clock, monkeypatch):
        """Who would take the file over has seen an old lease, and would wait too short a time for the other."""
        make().save("a.txt", ContentFile(OLD))
        first = catalog.claim(row().pk)
        clock.shift(LEASE + 1)
        losers = attempts.with_loser

        def renewed(seen: Any) -> Any:
            catalog.renew(first)
            return losers(seen)

        monkeypatch.setattr(attempts, "with_loser", renewed)
        assert catalog.claim(row().pk) is None
        assert row().lease == first.lease

    def test_g3_request_keeps_the_second_look(self, make, clock):
        """A settled file is asked for; that an attempt may still write over it is not forgotten."""
        storage, far = make(OBJECT_STORE, policy="transfer"), faulty.bucket("far")
        storage.save("a.txt", ContentFile(OLD))

        def write_and_die(call: Call) -> Any:
            def meanwhile() -> None:
                storage.save("a.txt", ContentFile(OLD[::-1]))
                clock.shift(LEASE + 1)
                work()
                assert storage.state("a.txt") == "settled"
                storage.transfer("a.txt")

            held_up(meanwhile)(call)
            raise Crash

        far.on("save", write_and_die)
        with pytest.raises(Crash):
            reconcile(row().pk)
        rest(clock)
        assert far.files == {"a.txt": OLD[::-1]}

    def test_g3_request_looks_at_the_row_as_it_is(self, make, monkeypatch):
        """Another process says in the same moment that a copy is not to be trusted."""
        storage = make(policy="transfer")
        storage.save("a.txt", ContentFile(OLD))
        work()
        find = catalog.find

        def overtaken(chain: str, name: str) -> Any:
            monkeypatch.setattr(catalog, "find", find)
            found = find(chain, name)
            catalog.distrust(found, "far")
            return found

        monkeypatch.setattr(catalog, "find", overtaken)
        storage.transfer("a.txt")
        assert storage.state("a.txt") == "pending"
        work()
        assert storage.tiers("a.txt") == ["near", "far"]

    def test_g5_unpublished_content_goes_with_its_file(self, make, monkeypatch, tmp_path, clock):
        storage = make()
        storage.save("a.txt", ContentFile(OLD))
        monkeypatch.setattr(committed._Publication, "run", lambda self: None)
        storage.save("a.txt", ContentFile(NEW))
        monkeypatch.undo()
        storage.delete("a.txt")
        rest(clock)
        assert row().is_gone
        assert list((tmp_path / "near").iterdir()) == []

    def test_g3_saver_publishes_between_a_workers_claim_and_its_lock(self, make, monkeypatch):
        storage = make(OBJECT_STORE)
        storage.save("a.txt", ContentFile(OLD))
        publish, waiting = committed._Publication.run, []
        monkeypatch.setattr(committed._Publication, "run", lambda self: waiting.append(self))  # noqa: PLW0108 - append is no method
        storage.save("a.txt", ContentFile(NEW))
        claim = catalog.claim

        def overtaken(pk: int) -> Any:
            claimed = claim(pk)
            if waiting:
                publish(waiting.pop())
            return claimed

        monkeypatch.setattr(catalog, "claim", overtaken)
        work()
        assert (storage.state("a.txt"), storage.tiers("a.txt")) == ("settled", ["far"])
        assert content_of(storage) == NEW
        assert row().attempts == 0

    def test_g5_delete_whose_hook_meets_a_database_error(self, make, monkeypatch):
        storage = make()
        storage.save("a.txt", ContentFile(OLD))

        def fail(pk: int) -> Any:
            raise OperationalError("deadlock")

        monkeypatch.setattr(catalog, "claim", fail)
        storage.delete("a.txt")
        assert not storage.exists("a.txt")

    def test_g2_one_folder_by_two_names_is_not_cleared(self, make_chain, settings, tmp_path):
        """The older copy is to be cleared from what turns out to be the folder of the newer one."""
        near = {"BACKEND": DISK, "OPTIONS": {"location": str(tmp_path / "near"), "allow_overwrite": True}}
        storage = make_chain({"near": near, "far": "disk"}, policy="transfer")
        storage.save("a.txt", ContentFile(OLD))
        work()
        (tmp_path / "far" / "a.txt").unlink()
        (tmp_path / "far").rmdir()
        (tmp_path / "far").symlink_to(tmp_path / "near")
        storage.with_policy("delayed").save("a.txt", ContentFile(NEW))
        work()
        assert content_of(storage) == NEW
        assert storage.state("a.txt") == "settled"

    def test_delete_is_tried_again_for_years(self, make, settings, clock):
        settings.QUEUED_STORAGE_RETRY_DELAY = 60.0
        make().save("a.txt", ContentFile(OLD))
        claimed = catalog.claim(row().pk)
        claimed.attempts = 5000
        catalog.postpone(claimed, "down")
        assert row().due_at is not None

    @pytest.mark.parametrize("name", [f".{'0' * 32}.queued-storage", f"a/.{'f' * 32}.queued-storage.jpg"])
    @pytest.mark.parametrize("overwrites", [False, True])
    def test_name_of_an_unfinished_file_is_not_given_to_a_file(self, make_chain, make, name, overwrites):
        storage = make() if overwrites else make_chain(["near", "far"])
        given = storage.save(name, ContentFile(OLD))
        assert given != name
        assert given.rpartition("/")[2] in storage.listdir(name.rpartition("/")[0])[1]
        with pytest.raises(ValueError, match="unfinished"):
            storage.open(name, "wb")

    def test_g5_delete_by_a_process_that_never_used_the_policy(self, settings, make_chain):
        from queued_storage.chain import chains

        make_chain(["near", "far"], policy=None)
        TieredStorage("media", policy="transfer")  # as a field does when its model is loaded
        chains.reset()
        storage = TieredStorage("media")
        TieredStorage("media", policy="transfer").save("a.txt", ContentFile(OLD))
        storage.delete("a.txt")
        assert not row().is_live

    def test_time_that_a_delete_may_take_is_for_all_tiers_together(self, make_chain, settings):
        settings.QUEUED_STORAGE_DEADLINE = 30
        tiers = {f"far{number}": faulty.tier(f"far{number}") for number in range(3)}
        storage = make_chain({"near": "disk"} | tiers, policy="transfer")
        storage.save("a.txt", ContentFile(OLD))
        work()
        left: list[float] = []
        attempt = Attempt(catalog.claim(catalog.tombstone(storage.chain, "a.txt").pk), 30, own_process=False)
        ask = outage.ask

        def note(tier: Any, question: Any, deadline: float | None = None) -> Any:
            left.append(deadline or 0)
            attempt.ends_at -= 10
            return ask(tier, question, deadline)

        with mock.patch.object(outage, "ask", note):
            Reconciliation(attempt).run()
        assert left == sorted(left, reverse=True)
        assert left[-1] < 11
        assert row().due_at is not None
