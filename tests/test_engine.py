"""The engine among storages that fail, lie, crash and come late."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from django.core.cache import caches
from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage
from django.db import connection

from queued_storage import catalog, copying
from queued_storage.exceptions import CustodyError
from queued_storage.models import StoredFile
from queued_storage.policies import Placement, Policy
from queued_storage.reconcile import reconcile

from tests.base_settings import DISK
from tests.support import clock as clocks
from tests.support import faulty, recording
from tests.support.faulty import Crash
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["queued_storage"])

CONTENT = bytes(range(256)) * 1000
HOUR = 3600


@pytest.fixture(autouse=True)
def _recording(settings):
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH
    recording.RecordingDispatcher.calls.clear()
    yield
    faulty.forget_all()


@pytest.fixture
def clock():
    with clocks.stopped() as clock:
        yield clock


@pytest.fixture
def far():
    """What lies behind the lower tier."""
    return faulty.bucket("far")


@pytest.fixture
def chain(make_chain):
    """A disk above a tier that can be made to fail; the file goes down."""
    return make_chain({"near": "disk", "far": faulty.tier("far")}, policy="transfer-and-delete")


def row_of(name="a.txt"):
    return StoredFile.objects.get(name=name)


def read(storage, name="a.txt"):
    with storage.open(name) as file:
        return file.read()


def save(storage, content=CONTENT, name="a.txt"):
    return storage.save(name, ContentFile(content))


def files_in(folder: Path):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


FAULTS = {
    "refused": ("save", faulty.refuse),
    "cut": ("save", faulty.cut),
    "broken off": ("save", faulty.cut_and_fail),
    "lost": ("save", faulty.lie),
    "answer lost": ("save", faulty.fail_afterwards),
    "not measurable": ("size", faulty.refuse),
    "said to be missing": ("size", faulty.miss),
    "saved nowhere": ("save", faulty.miss),
}


@pytest.mark.parametrize("fault", FAULTS)
class TestFailingDestination:
    """Whatever a destination does: the source stays until the copy is verified, and the next attempt is as good."""

    @pytest.fixture(autouse=True)
    def _failed_once(self, chain, far, fault, clock):
        far.on(*FAULTS[fault], calls=[1])
        save(chain)
        recording.work()

    def test_g1_content_stays_readable(self, chain, fault):
        assert read(chain) == CONTENT

    def test_g2_source_is_kept(self, chain, fault):
        assert chain.tiers("a.txt") == ["near"]

    def test_g3_failure_is_recorded_with_the_tier(self, chain, fault):
        row = row_of()
        assert (row.state, row.attempts, row.lease) == ("pending", 1, "")
        assert "'far'" in row.last_error

    def test_g10_reason_holds_no_option(self, chain, fault):
        assert "hunter2-secret" not in row_of().last_error

    def test_work_is_due_again_later(self, chain, fault, clock):
        assert recording.work() == 0
        clock.shift(HOUR)
        assert recording.work() == 1

    def test_next_attempt_ends_with_the_whole_file_alone(self, chain, far, fault, clock, tmp_path):
        clock.shift(HOUR)
        recording.work()
        assert far.files == {"a.txt": CONTENT}
        assert files_in(tmp_path / "near") == []
        row = row_of()
        assert (row.state, row.tiers, row.stale, row.attempts, row.last_error) == (
            "settled", ["far"], [], 0, "",
        )  # fmt: skip


class TestNames:
    def test_tier_that_renames_once_ends_under_the_right_name(self, chain, far):
        far.on("save", faulty.rename, calls=[1])
        save(chain)
        recording.work()
        assert far.files == {"a.txt": CONTENT}

    def test_tier_that_always_renames_fails_for_good_with_the_reason(self, chain, far):
        far.on("save", faulty.rename)
        save(chain)
        recording.work()
        assert chain.state("a.txt") == "failed"
        assert "another name" in row_of().last_error
        assert far.files == {}
        assert read(chain) == CONTENT

    def test_g6_torn_file_under_the_name_is_replaced(self, chain, far):
        save(chain)
        far.files["a.txt"] = b"torn"  # after the save, or the name would have been taken
        recording.work()
        assert far.files == {"a.txt": CONTENT}


class TestVerify:
    @pytest.fixture
    def chain(self, make_chain, settings):
        settings.QUEUED_STORAGE_POLICIES = {
            "careful": {"BACKEND": "transfer-and-delete", "OPTIONS": {"verify": "content"}}
        }
        return make_chain({"near": "disk", "far": faulty.tier("far")}, policy="careful")

    def test_g2_other_bytes_of_the_same_size_are_found(self, chain, far):
        far.on("save", faulty.corrupt, calls=[1])
        save(chain)
        recording.work()
        assert chain.tiers("a.txt") == ["near"]
        assert "other content" in row_of().last_error

    def test_content_is_read_back_before_the_source_goes(self, chain, far):
        save(chain)
        recording.work()
        assert far.calls["open"] == 1
        assert chain.tiers("a.txt") == ["far"]

    def test_digest_is_recorded(self, chain):
        import hashlib

        save(chain)
        recording.work()
        assert row_of().digest == hashlib.sha256(CONTENT).hexdigest()


class TestFailingSource:
    @pytest.fixture
    def near(self):
        return faulty.bucket("near")

    @pytest.fixture
    def chain(self, make_chain):
        tiers = {"near": faulty.tier("near"), "far": faulty.tier("far"), "vault": "disk"}
        return make_chain(tiers, policy="transfer-and-delete")

    @pytest.mark.parametrize("effect", [faulty.refuse, faulty.break_off], ids=["refuse", "break_off"])
    def test_g3_broken_source_is_named_and_tried_again(self, chain, near, far, clock, effect):
        save(chain)
        near.on("open", effect, calls=[1, 2])
        recording.work()
        assert "'near'" in row_of().last_error
        assert chain.tiers("a.txt") == ["near"]
        clock.shift(HOUR)
        recording.work()
        assert chain.tiers("a.txt") == ["far", "vault"]

    def test_g4_source_that_lost_its_end_is_not_copied(self, chain, near, far, tmp_path):
        save(chain)
        near.on("open", faulty.truncate)
        recording.work()
        assert chain.tiers("a.txt") == ["near"]
        assert "'near' holds 128000 bytes of the 256000" in row_of().last_error
        assert near.files == {"a.txt": CONTENT}

    def test_second_source_serves_where_the_first_lost_the_file(self, chain, near, far, clock):
        save(chain)
        faulty.bucket("vault")
        far_row = row_of()
        StoredFile.objects.filter(pk=far_row.pk).update(tiers=["near", "far"])
        far.files["a.txt"] = CONTENT
        near.files.clear()
        recording.work()
        assert read(chain) == CONTENT
        assert chain.state("a.txt") == "settled"

    def test_g3_file_that_no_tier_holds_fails_with_the_reason(self, chain, near):
        save(chain)
        near.files.clear()
        recording.work()
        row = row_of()
        assert (row.state, row.tiers) == ("failed", ["near"])
        assert "'near' does not hold the file any more" in row.last_error


class TestCustody:
    """G2: the last verified copy is never removed."""

    def test_g2_copy_that_vanished_keeps_the_source(self, make_chain, far, clock, settings):
        settings.QUEUED_STORAGE_POLICIES = {
            "grace": {"BACKEND": "transfer-and-delete", "OPTIONS": {"keep": 2 * HOUR}}
        }
        chain = make_chain({"near": "disk", "far": faulty.tier("far")}, policy="grace")
        save(chain)
        recording.work()
        far.files.clear()
        clock.shift(3 * HOUR)
        recording.work()
        assert read(chain) == CONTENT
        assert "near" in chain.tiers("a.txt")
        assert far.files == {"a.txt": CONTENT}

    def test_g2_copy_that_changed_keeps_the_source(self, make_chain, far, clock, settings):
        settings.QUEUED_STORAGE_POLICIES = {
            "grace": {"BACKEND": "transfer-and-delete", "OPTIONS": {"keep": 2 * HOUR}}
        }
        chain = make_chain({"near": "disk", "far": faulty.tier("far")}, policy="grace")
        save(chain)
        recording.work()
        far.files["a.txt"] = b"short"
        clock.shift(3 * HOUR)
        recording.work()
        assert read(chain) == CONTENT

    def test_g2_catalog_refuses_to_release_the_last_copy(self, chain):
        save(chain)
        row = catalog.claim(row_of().pk)
        with pytest.raises(CustodyError):
            catalog.record_release(row, "near", cleared=True)
        assert row_of().tiers == ["near"]

    @pytest.mark.parametrize("policy", ["Nowhere", "Unknown", "Raises"])
    def test_g2_policy_with_a_bug_loses_nothing(self, make_chain, settings, policy):
        settings.QUEUED_STORAGE_POLICIES = {"own": {"BACKEND": f"tests.test_engine.{policy}"}}
        chain = make_chain({"near": "disk", "far": faulty.tier("far")}, policy="own")
        save(chain)
        recording.work()
        assert read(chain) == CONTENT
        assert chain.state("a.txt") in ("pending", "failed")
        assert row_of().last_error


class Nowhere(Policy):
    def place(self, file, tiers, now):
        return Placement(())


class Unknown(Policy):
    def place(self, file, tiers, now):
        return Placement(("no-such-tier",))


class Raises(Policy):
    def place(self, file, tiers, now):
        raise RuntimeError("a bug")


class TestThreeTiers:
    """One tier that is down does not keep the others from theirs."""

    @pytest.fixture
    def chain(self, make_chain):
        tiers = {"near": "disk", "far": faulty.tier("far"), "vault": faulty.tier("vault")}
        return make_chain(tiers, policy="transfer-and-delete")

    @pytest.mark.parametrize(("down", "up"), [("far", "vault"), ("vault", "far")])
    def test_other_tier_gets_its_copy(self, chain, clock, down, up):
        faulty.bucket(down).on("save", faulty.refuse)
        save(chain)
        recording.work()
        assert chain.tiers("a.txt") == ["near", up]
        assert chain.state("a.txt") == "pending"
        assert f"'{down}'" in row_of().last_error

    @pytest.mark.parametrize("down", ["far", "vault"])
    def test_file_settles_when_the_tier_is_back(self, chain, clock, down):
        faulty.bucket(down).on("save", faulty.refuse, calls=[1])
        save(chain)
        recording.work()
        clock.shift(HOUR)
        recording.work()
        assert chain.tiers("a.txt") == ["far", "vault"]
        assert faulty.bucket("far").files == faulty.bucket("vault").files == {"a.txt": CONTENT}

    def test_copy_that_is_made_is_not_made_again(self, chain, far, clock):
        faulty.bucket("vault").on("save", faulty.refuse, calls=[1, 2])
        save(chain)
        for _ in range(3):
            recording.work()
            clock.shift(HOUR)
        assert far.calls["save"] == 1

    def test_every_tier_down_keeps_the_file_on_the_first(self, chain, clock):
        for name in ("far", "vault"):
            faulty.bucket(name).on("save", faulty.refuse)
        save(chain)
        recording.work()
        assert (chain.tiers("a.txt"), read(chain)) == (["near"], CONTENT)


class TestRetries:
    @pytest.fixture(autouse=True)
    def _two_retries(self, settings, far):
        settings.QUEUED_STORAGE_RETRIES = 2
        far.on("save", faulty.refuse)

    def exhaust(self, clock):
        for _ in range(5):
            recording.work()
            clock.shift(HOUR)

    def test_g3_file_fails_after_the_last_retry_with_the_reason(self, chain, far, clock):
        save(chain)
        self.exhaust(clock)
        row = row_of()
        assert (row.state, row.attempts, row.due_at) == ("failed", 3, None)
        assert "save refused" in row.last_error
        assert far.calls["save"] == 3

    def test_g2_failed_file_keeps_its_bytes(self, chain, clock):
        save(chain)
        self.exhaust(clock)
        assert (chain.tiers("a.txt"), read(chain)) == (["near"], CONTENT)

    def test_failed_file_is_brought_back_by_retry(self, chain, far, clock):
        save(chain)
        self.exhaust(clock)
        far.heal()
        assert catalog.retry(StoredFile.objects.all()) == 1
        recording.work()
        assert (chain.state("a.txt"), chain.tiers("a.txt")) == ("settled", ["far"])

    def test_failed_file_is_brought_back_by_transfer(self, chain, far, clock):
        save(chain)
        self.exhaust(clock)
        far.heal()
        chain.transfer("a.txt")
        recording.work()
        assert chain.state("a.txt") == "settled"

    def test_attempt_counts_before_its_work(self, chain, far):
        save(chain)
        far.on("save", faulty.crash)
        with pytest.raises(Crash):
            recording.work()
        assert row_of().attempts == 1

    def test_g3_file_that_kills_its_workers_fails_with_a_reason(self, chain, far, clock):
        save(chain)
        far.on("save", faulty.crash)
        for _ in range(3):
            with pytest.raises(Crash):
                recording.work()
            clock.shift(HOUR)
        recording.work()
        assert chain.state("a.txt") == "failed"
        assert "3 attempts" in row_of().last_error

    def test_g5_delete_is_never_given_up(self, chain, far, clock):
        far.heal()
        save(chain)
        recording.work()
        far.on("delete", faulty.refuse)
        chain.delete("a.txt")
        self.exhaust(clock)
        self.exhaust(clock)
        assert far.files
        far.heal()
        clock.shift(HOUR)
        recording.work()
        assert far.files == {}


class TestIdempotence:
    def test_settled_file_is_left_alone(self, chain, far):
        save(chain)
        recording.work()
        calls = dict(far.calls)
        assert not reconcile(row_of().pk)
        assert dict(far.calls) == calls

    def test_unknown_id_is_passed_over(self, chain):
        assert not reconcile(123_456)

    def test_second_worker_finds_nothing_to_do_during_the_first(self, chain, far):
        save(chain)
        pk, answers = row_of().pk, []

        def meanwhile(call):
            answers.append(reconcile(pk))
            return call.proceed()

        far.on("save", meanwhile)
        assert reconcile(pk)
        assert answers == [False]
        assert chain.state("a.txt") == "settled"

    def test_work_done_by_an_earlier_attempt_is_verified_and_kept(self, chain, far, clock):
        save(chain)
        far.on("size", faulty.refuse, calls=[1])
        recording.work()
        clock.shift(HOUR)
        recording.work()
        assert (far.files, chain.state("a.txt")) == ({"a.txt": CONTENT}, "settled")


STEPS = [
    (catalog, "note_writing"),
    (copying, "copy"),
    (copying, "check"),
    (catalog, "record_copy"),
    (catalog, "record_release"),
    (catalog, "settle"),
]


@dataclass(frozen=True)
class Death:
    """Where a worker dies: before or after a function of a module ran."""

    module: ModuleType
    function: str
    when: str

    def __str__(self):
        return f"{self.when}-{self.function}"

    @contextmanager
    def strikes(self):
        function = getattr(self.module, self.function)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.module, self.function, crashing(function, self.when))
            with suppress(Crash):
                yield


DEATHS = [Death(*step, when) for step in STEPS for when in ("before", "after")]
DEATHS_OF_A_DELETE = [
    Death(catalog, "record_cleared", "before"),
    Death(catalog, "record_cleared", "after"),
    Death(catalog, "bury", "before"),
]


def crashing(function, when):
    def crash(*args, **kwargs):
        if when == "after":
            function(*args, **kwargs)
        raise Crash

    return crash


@pytest.mark.parametrize("death", DEATHS, ids=str)
@pytest.mark.parametrize("lower", ["disk", "faulty"])
class TestCrash:
    """A worker that dies at any step: every reader has the whole file meanwhile, and the next worker ends the same."""

    @pytest.fixture
    def chain(self, make_chain, lower):
        tier = faulty.tier("far") if lower == "faulty" else "disk"
        return make_chain({"near": "disk", "far": tier}, policy="transfer-and-delete")

    def test_g1_moving(self, chain, death, lower, clock, tmp_path):
        save(chain)
        with death.strikes():
            recording.work()
        assert read(chain) == CONTENT
        clock.shift(HOUR)
        recording.work()
        row = row_of()
        assert (row.state, row.tiers, row.stale, row.attempts) == ("settled", ["far"], [], 0)
        assert read(chain) == CONTENT
        assert files_in(tmp_path / "near") == []
        if lower == "disk":
            assert files_in(tmp_path / "far") == ["a.txt"]


@pytest.mark.parametrize("death", DEATHS_OF_A_DELETE, ids=str)
def test_g5_delete_goes_on_after_a_crash(chain, far, death, clock, tmp_path):
    save(chain)
    recording.work()
    with death.strikes():
        chain.delete("a.txt")
    assert not chain.exists("a.txt")
    clock.shift(HOUR)
    recording.work()
    assert (far.files, files_in(tmp_path / "near")) == ({}, [])
    assert row_of().due_at is None


@pytest.mark.parametrize("effect", [faulty.crash, faulty.crash_afterwards], ids=["before", "after"])
def test_g1_crash_inside_the_destination(chain, far, effect, clock):
    save(chain)
    far.on("save", effect, calls=[1])
    with pytest.raises(Crash):
        recording.work()
    assert read(chain) == CONTENT
    clock.shift(HOUR)
    recording.work()
    assert (far.files, chain.tiers("a.txt")) == ({"a.txt": CONTENT}, ["far"])


class TestSettingsThatChanged:
    def test_tier_that_vanished_is_passed_over(self, make_chain, far):
        chain = make_chain({"near": "disk", "old": "disk", "far": faulty.tier("far")})
        save(chain)
        recording.work()
        chain = make_chain({"near": "disk", "far": faulty.tier("far")}, policy="transfer-and-delete")
        chain.transfer("a.txt")
        recording.work()
        assert read(chain) == CONTENT
        assert row_of().state == "settled"

    def test_g2_file_is_not_released_for_the_sake_of_a_tier_that_vanished(self, make_chain, far):
        chain = make_chain({"near": "disk", "old": "disk"})
        save(chain)
        recording.work()
        chain = make_chain({"near": "disk", "far": faulty.tier("far")}, policy="transfer-and-delete")
        far.on("save", faulty.refuse)
        chain.transfer("a.txt")
        StoredFile.objects.update(due_at=row_of().saved_at)
        recording.work()
        assert read(chain) == CONTENT

    def test_new_tier_gets_its_copy_when_asked(self, make_chain, far):
        save(make_chain({"near": "disk", "old": "disk"}))
        recording.work()
        chain = make_chain({"near": "disk", "old": "disk", "far": faulty.tier("far")})
        chain.transfer("a.txt")
        recording.work()
        assert far.files == {"a.txt": CONTENT}
        assert chain.tiers("a.txt") == ["near", "old", "far"]

    def test_g3_policy_that_vanished_is_told(self, make_chain, settings):
        settings.QUEUED_STORAGE_POLICIES = {"cold": {"BACKEND": "transfer"}}
        chain = make_chain({"near": "disk", "far": faulty.tier("far")})
        save(chain.with_policy("cold"))
        settings.QUEUED_STORAGE_POLICIES = {}
        recording.work()
        assert "'cold'" in row_of().last_error
        assert read(chain) == CONTENT

    def test_g3_chain_that_vanished_is_told(self, make_chain, settings):
        save(make_chain({"near": "disk", "far": "disk"}, alias="photos"))
        settings.QUEUED_STORAGE_TIERS = {}
        recording.work()
        row = row_of()
        assert row.state == "pending"
        assert "'photos'" in row.last_error


class Gate:
    """Holds the readers of a disk at the half of a file until the test lets them on."""

    def __init__(self):
        self.reached = threading.Event()
        self.open = threading.Event()


class GatedDisk(FileSystemStorage):
    """A disk whose first reader, once it is armed, waits at the gate; later ones pass."""

    gate: Gate | None = None

    def _open(self, name, mode="rb"):
        gate, type(self).gate = type(self).gate, None
        file = super()._open(name, mode)
        return file if gate is None else GatedFile(file.file, gate)


class GatedFile(File):
    def __init__(self, file, gate):
        super().__init__(file)
        self.gate = gate

    def read(self, *size):
        data = self.file.read(1000)
        if self.file.tell() > 1000 and not self.gate.reached.is_set():
            self.gate.reached.set()
            assert self.gate.open.wait(20)
        return data


@contextmanager
def slow_worker():
    """A worker in another thread that stopped in the middle of its copy; it goes on at the end of the block."""
    gate = GatedDisk.gate = Gate()
    pk, errors = row_of().pk, []

    def run():
        try:
            reconcile(pk)
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            errors.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert gate.reached.wait(20)
        yield
    finally:
        gate.open.set()
        thread.join(20)
    assert errors == []
    assert not thread.is_alive()


OLD, NEW = b"old " * 2000, b"new content " * 100


@pytest.mark.parametrize("lower", ["disk", "faulty"])
class TestLateWorker:
    """What happens to a file while a slow worker copies it; cases c2, d1, d2 and d3 of the ancestor."""

    @pytest.fixture(autouse=True)
    def _no_gate_left(self):
        yield
        GatedDisk.gate = None

    @pytest.fixture
    def chain(self, make_chain, tmp_path, lower):
        options = {"location": str(tmp_path / "near"), "allow_overwrite": True}
        near = {"BACKEND": "tests.test_engine.GatedDisk", "OPTIONS": options}
        far = faulty.tier("far") if lower == "faulty" else "disk"
        return make_chain({"near": near, "far": far}, policy="transfer-and-delete")

    def far_files(self, lower, folder):
        if lower == "faulty":
            return faulty.bucket("far").files
        return {name: (folder / "far" / name).read_bytes() for name in files_in(folder / "far")}

    def test_g5_deleted_file_is_not_resurrected(self, chain, lower, tmp_path):
        save(chain, OLD)
        with slow_worker():
            chain.delete("a.txt")
            assert not chain.exists("a.txt")
        assert not chain.exists("a.txt")
        recording.work()
        assert self.far_files(lower, tmp_path) == {}
        assert files_in(tmp_path / "near") == []

    def test_g6_new_content_after_a_delete_wins(self, chain, lower, tmp_path):
        save(chain, OLD)
        with slow_worker():
            chain.delete("a.txt")
            save(chain, NEW)
            assert read(chain) == NEW
        assert read(chain) == NEW
        recording.work()
        assert self.far_files(lower, tmp_path) == {"a.txt": NEW}
        assert read(chain) == NEW

    def test_g6_content_that_overwrites_wins(self, chain, lower, tmp_path):
        save(chain, OLD)
        with slow_worker():
            save(chain, NEW)
            assert read(chain) == NEW
        assert read(chain) == NEW
        recording.work()
        assert self.far_files(lower, tmp_path) == {"a.txt": NEW}
        assert (chain.tiers("a.txt"), files_in(tmp_path / "near")) == (["far"], [])

    def test_g6_fast_second_worker_wins_over_a_slow_first(self, chain, lower, clock, tmp_path):
        save(chain, OLD)
        with slow_worker():
            save(chain, NEW)
            clock.shift(HOUR)
            assert recording.work() == 1
            assert read(chain) == NEW
        assert read(chain) == NEW
        recording.work()
        assert self.far_files(lower, tmp_path) == {"a.txt": NEW}
        assert chain.state("a.txt") == "settled"

    def test_g4_reader_sees_old_or_new_and_never_a_part(self, chain, lower, tmp_path):
        save(chain, OLD)
        recording.work()
        save(chain, NEW)
        with slow_worker():
            assert read(chain) == NEW
            assert self.far_files(lower, tmp_path).get("a.txt") in (OLD, None)


class TestWorkerThatDied:
    """Cases e1, f1 and f3: nobody reads a part, and the work is done again."""

    @pytest.fixture
    def chain(self, make_chain):
        return make_chain({"near": faulty.tier("near"), "far": "disk"}, policy="transfer-and-delete")

    @pytest.fixture(autouse=True)
    def _dies_in_mid_copy(self, chain, clock):
        save(chain)
        faulty.bucket("near").on("open", dying, calls=[1])
        with pytest.raises(Crash):
            recording.work()

    def test_g4_no_part_is_seen(self, chain, tmp_path):
        assert not (tmp_path / "far" / "a.txt").exists()
        assert chain.listdir("")[1] == ["a.txt"]

    def test_g1_reader_gets_the_whole_file(self, chain):
        caches["default"].clear()
        assert read(chain) == CONTENT

    def test_row_is_not_taken_from_a_worker_that_may_live(self, chain):
        assert recording.work() == 0

    def test_g3_work_is_done_again_once_the_lease_ended(self, chain, clock, tmp_path):
        clock.shift(HOUR)
        assert recording.work() == 1
        assert read(chain) == CONTENT
        assert "a.txt" in files_in(tmp_path / "far")


def dying(call):
    class Dying(ContentFile):
        def read(self, *size):
            data = self.file.read(*size)
            if not data:
                raise Crash
            return data

    return Dying(call.proceed().read()[:1000], call.name)


class TestTwoHosts:
    """Case g: web heads with disks of their own above one common tier."""

    def chain_on(self, make_chain, tmp_path, host):
        near = {"BACKEND": DISK, "OPTIONS": {"location": str(tmp_path / host)}}
        return make_chain({"near": near, "far": faulty.tier("far")}, policy="transfer-and-delete")

    def test_same_name_on_two_hosts_is_two_files(self, make_chain, tmp_path, far):
        one = save(self.chain_on(make_chain, tmp_path, "one"), b"of one")
        chain = self.chain_on(make_chain, tmp_path, "two")
        two = save(chain, b"of two")
        assert one != two
        assert read(chain, two) == b"of two"

    def test_each_host_reads_the_others_file_after_its_move(self, make_chain, tmp_path, far):
        one = save(self.chain_on(make_chain, tmp_path, "one"), b"of one")
        recording.work()
        chain = self.chain_on(make_chain, tmp_path, "two")
        two = save(chain, b"of two")
        recording.work()
        assert (read(chain, one), read(chain, two)) == (b"of one", b"of two")

    def test_worker_without_the_bytes_fails_and_loses_nothing(self, make_chain, tmp_path, far):
        save(self.chain_on(make_chain, tmp_path, "one"), b"of one")
        self.chain_on(make_chain, tmp_path, "two")
        recording.work()
        assert "'near'" in row_of().last_error
        chain = self.chain_on(make_chain, tmp_path, "one")
        catalog.retry(StoredFile.objects.all())
        recording.work()
        assert (read(chain), far.files) == (b"of one", {"a.txt": b"of one"})


DUMMY_CACHE = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}


class TestCache:
    """Cases a1 and a2: no answer depends on what a cache remembers."""

    def test_g1_flushed_cache_changes_nothing(self, chain):
        save(chain)
        caches["default"].clear()
        recording.work()
        caches["default"].clear()
        assert (read(chain), chain.tier("a.txt")) == (CONTENT, "far")

    def test_g1_cache_per_process_changes_nothing(self, chain, settings):
        save(chain)
        assert chain.tier("a.txt") == "near"
        settings.CACHES = DUMMY_CACHE  # as a worker with a cache of its own
        recording.work()
        assert (read(chain), chain.exists("a.txt"), chain.size("a.txt")) == (CONTENT, True, len(CONTENT))


class TestTwoSavers:
    """Two processes that find the same name free, on a first tier that cannot create a file exclusively."""

    @pytest.fixture
    def chain(self, make_chain):
        return make_chain({"near": faulty.tier("near"), "far": "disk"})

    def test_g1_both_keep_their_bytes(self, chain):
        near, looking, names = faulty.bucket("near"), threading.Event(), {}

        def slowly(call):
            other = threading.Thread(target=saving, args=(b"second",))
            other.start()
            assert looking.wait(20)
            names[b"first"] = call.proceed()
            return names[b"first"]

        def saving(content):
            near.on("exists", announce, calls=[1])
            names[content] = save(chain, content)
            connection.close()

        def announce(call):
            looking.set()
            return call.proceed()

        near.on("save", slowly, calls=[1])
        save(chain, b"first")
        wait_until(lambda: b"second" in names, "the second save is done")
        assert {read(chain, name): name for name in names.values()} == names
