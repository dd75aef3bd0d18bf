"""A chain and its tiers: built when they are first used, once in each thread, as the settings say."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile, File
from django.core.files.storage import storages
from django.test import override_settings

from queued_storage import bounded, outage
from queued_storage.chain import chains
from queued_storage.exceptions import ChainUnavailable, ConfigurationError, ReadOnlyChain
from queued_storage.fields import QueuedFileField
from queued_storage.storage import TieredStorage, tiered_storages
from queued_storage.testing import run_owed_work

from tests.support import clock, recording, remote
from tests.support.waiting import wait_until, within

DISK = "django.core.files.storage.FileSystemStorage"
MEMORY = "django.core.files.storage.InMemoryStorage"
#: Longer than any of these tests, on however busy a machine.
PATIENCE = 30


@pytest.fixture(autouse=True)
def _fresh(settings: Any) -> Iterator[None]:
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH
    clock.forget_outages()
    yield
    clock.forget_outages()
    remote.RemoteStorage.servers.clear()


def far(**more: Any) -> dict[str, Any]:
    return {"BACKEND": remote.PATH, "OPTIONS": {"host": "far"}, **more}


def server() -> remote.Server:
    return remote.RemoteStorage.servers.setdefault("far", remote.Server())


def text(content: bytes = b"text") -> ContentFile[bytes]:
    return ContentFile(content)


def content(storage: Any, name: str) -> bytes:
    with storage.open(name) as file:
        return bytes(file.read())


def in_thread(function: Callable[[], Any]) -> Any:
    """Return what the function returns in another thread."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join(PATIENCE)
    return results[0]


class TestLaziness:
    @pytest.fixture
    def module(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        """A module of storages that nobody has imported yet."""
        name = f"storages_of_{tmp_path.name.replace('-', '_')}"
        source = "from django.core.files.storage import FileSystemStorage\n"
        source += "built = []\nclass Noted(FileSystemStorage):\n"
        source += "    def __init__(self, **options):\n"
        source += "        built.append(options)\n        super().__init__(**options)\n"
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.syspath_prepend(str(tmp_path))
        yield name
        sys.modules.pop(name, None)

    @pytest.fixture
    def lazy(self, module: str, make_chain: Any, tmp_path: Path) -> TieredStorage:
        def tier(name: str) -> dict[str, Any]:
            return {"BACKEND": f"{module}.Noted", "OPTIONS": {"location": str(tmp_path / name)}}

        storage: TieredStorage = make_chain({"top": tier("top"), "low": tier("low")}, policy=None)
        return storage

    def test_nothing_is_imported_for_a_storage_or_a_chain(self, lazy: TieredStorage, module: str) -> None:
        assert (lazy.chain.names, repr(lazy.chain.first)) == (("top", "low"), "<Tier 'top' of chain 'media'>")
        assert lazy.with_policy("transfer") == TieredStorage("media", "transfer")
        assert module not in sys.modules

    def test_a_tier_is_built_at_its_first_use(self, lazy: TieredStorage, module: str) -> None:
        lazy.chain.first.storage.exists("a.txt")
        assert [Path(made["location"]).name for made in sys.modules[module].built] == ["top"]

    def test_a_lower_tier_is_not_built_for_what_the_first_answers(
        self, lazy: TieredStorage, module: str, tmp_path: Path
    ) -> None:
        (tmp_path / "top").mkdir()
        (tmp_path / "top" / "a.txt").write_bytes(b"text")
        assert (content(lazy, "a.txt"), lazy.size("a.txt"), lazy.exists("a.txt")) == (b"text", 4, True)
        assert [Path(made["location"]).name for made in sys.modules[module].built] == ["top"]

    def test_a_storage_of_an_unknown_chain_is_told_at_its_use(self) -> None:
        storage = TieredStorage("later")
        with override_settings(QUEUED_STORAGE_TIERS={"later": {"TIERS": {"memory": {"BACKEND": MEMORY}}}}):
            assert not storage.exists("a.txt")
        with pytest.raises(ConfigurationError, match="no chain 'later'"):
            storage.exists("a.txt")

    def test_changed_settings_make_new_tiers(self, make_chain: Any) -> None:
        before = make_chain().chain.first.storage
        after = make_chain().chain.first.storage
        assert before is not after

    @pytest.mark.parametrize("changed", ["STORAGES", "QUEUED_STORAGE_POLICIES"])
    def test_settings_that_chains_depend_on_make_new_ones(self, settings: Any, changed: str) -> None:
        before = chains["media"]
        setattr(settings, changed, dict(getattr(settings, changed, {})))
        assert chains["media"] is not before

    def test_other_settings_leave_them(self, settings: Any) -> None:
        before = chains["media"]
        settings.MEDIA_URL = "/other/"
        assert chains["media"] is before


class TestThreads:
    def test_a_thread_has_one_instance(self, make_chain: Any) -> None:
        tier = make_chain().chain.first
        assert tier.storage is tier.storage

    def test_another_thread_has_its_own(self, make_chain: Any) -> None:
        tier = make_chain({"disk": "disk", "far": far()}).chain["far"]
        here, there = tier.storage, in_thread(lambda: tier.storage)
        assert here is not there
        assert here.made_in != there.made_in

    def test_a_thread_keeps_its_instance(self, make_chain: Any) -> None:
        tier = make_chain().chain.first
        assert in_thread(lambda: tier.storage is tier.storage)

    def test_an_alias_of_storages_gives_each_thread_its_own_too(self, make_chain: Any, settings: Any) -> None:
        settings.STORAGES = {**settings.STORAGES, "far": far()}
        tier = make_chain({"disk": "disk", "far": {"STORAGE": "far"}}).chain["far"]
        assert tier.storage is not in_thread(lambda: tier.storage)

    def test_memory_is_one_for_all_threads(self, make_chain: Any) -> None:
        storage = make_chain({"top": {"BACKEND": MEMORY}}, policy=None)
        storage.save("a.txt", text())
        assert in_thread(lambda: content(storage, "a.txt")) == b"text"
        in_thread(lambda: storage.save("b.txt", text()))
        assert storage.exists("b.txt")

    def test_memory_is_built_once_by_many_threads_at_once(self, make_chain: Any) -> None:
        tier = make_chain({"top": {"BACKEND": MEMORY}}, policy=None).chain.first
        barrier, found = threading.Barrier(8), set()

        def look() -> None:
            barrier.wait(PATIENCE)
            found.add(tier.storage)

        threads = [threading.Thread(target=look) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert len(found) == 1

    def test_memory_behind_an_alias_is_djangos_own(self, make_chain: Any, settings: Any) -> None:
        settings.STORAGES = {**settings.STORAGES, "memory": {"BACKEND": MEMORY}}
        storage = make_chain({"top": {"STORAGE": "memory"}}, policy=None)
        storage.save("a.txt", text())
        assert content(storages["memory"], "a.txt") == b"text"


def forked(function: Callable[[], bytes]) -> bytes:
    """Return what the function returns in a child process."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, function())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        told = pipe.read()
    os.waitpid(pid, 0)
    return told


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
class TestForks:
    def test_a_child_builds_its_own_instance(self, make_chain: Any) -> None:
        tier = make_chain({"disk": "disk", "far": far()}).chain["far"]
        before = tier.storage
        assert forked(lambda: b"same" if tier.storage is before else b"own") == b"own"
        assert tier.storage is before

    def test_a_child_of_a_process_that_used_deadlines_can_use_them(self) -> None:
        assert bounded.call(lambda: b"parent", PATIENCE) == b"parent"
        assert forked(lambda: bounded.call(lambda: b"child", PATIENCE)) == b"child"


class TestDeadlines:
    def test_a_file_that_comes_too_late_is_closed(self) -> None:
        goes_on, file = threading.Event(), File(io.BytesIO(b"late"))

        def open_late() -> File[bytes]:
            goes_on.wait(PATIENCE)
            return file

        with pytest.raises(TimeoutError):
            bounded.call(open_late, 0.01)
        goes_on.set()
        wait_until(lambda: file.closed, "its end")


class TestAliasOfStorages:
    def test_has_the_backend_and_options_of_the_alias(
        self, make_chain: Any, settings: Any, tmp_path: Path
    ) -> None:
        cellar = {"BACKEND": DISK, "OPTIONS": {"location": str(tmp_path / "cellar")}}
        settings.STORAGES = {**settings.STORAGES, "cellar": cellar}
        storage = make_chain({"top": {"STORAGE": "cellar"}}, policy=None)
        storage.save("a.txt", text())
        assert (tmp_path / "cellar" / "a.txt").read_bytes() == b"text"

    def test_may_be_another_chain(self, make_chain: Any, settings: Any, tmp_path: Path) -> None:
        settings.STORAGES = {
            **settings.STORAGES,
            "below": {"BACKEND": "queued_storage.storage.TieredStorage", "OPTIONS": {"alias": "below"}},
        }
        below = make_chain(("cellar",), policy=None, alias="below")
        storage = make_chain({"disk": "disk", "deep": {"STORAGE": "below"}}, policy=None)
        below.save("a.txt", text())
        assert content(storage, "a.txt") == b"text"
        assert storage.tier("a.txt") == "deep"


@pytest.mark.django_db(transaction=True)
class TestReadOnly:
    @pytest.fixture
    def storage(self, make_chain: Any) -> Any:
        old = far(READ_ONLY=True)
        server().files["old.txt"] = b"old"
        return make_chain({"disk": "disk", "old": old, "vault": "disk"}, policy="transfer-and-delete")

    def test_is_read_from(self, storage: Any) -> None:
        assert (content(storage, "old.txt"), storage.tier("old.txt")) == (b"old", "old")

    def test_is_never_written_to(self, storage: Any) -> None:
        storage.save("new.txt", text())
        run_owed_work()
        assert storage.tiers("new.txt") == ["vault"]
        assert "save" not in server().methods

    def test_is_never_deleted_from(self, storage: Any) -> None:
        storage.delete("old.txt")
        run_owed_work()
        assert server().files == {"old.txt": b"old"}
        assert "delete" not in server().methods
        assert not storage.exists("old.txt")

    def test_keeps_its_names_taken(self, storage: Any) -> None:
        assert storage.save("old.txt", text()) != "old.txt"

    def test_first_tier_refuses_saves(self, make_chain: Any) -> None:
        storage = make_chain({"old": far(READ_ONLY=True)}, policy=None)
        with pytest.raises(ReadOnlyChain, match="READ_ONLY"):
            storage.save("a.txt", text())
        with pytest.raises(ReadOnlyChain, match="READ_ONLY"), storage.open("a.txt", "wb") as file:
            file.write(b"text")
        assert server().files == {}

    def test_first_tier_is_not_deleted_from(self, make_chain: Any) -> None:
        storage = make_chain({"old": far(READ_ONLY=True), "disk": "disk"}, policy=None)
        server().files["old.txt"] = b"old"
        storage.delete("old.txt")
        assert server().files == {"old.txt": b"old"}


@pytest.mark.django_db(transaction=True)
class TestExclusive:
    def test_tier_is_not_asked_during_a_save(self, make_chain: Any) -> None:
        storage = make_chain({"disk": "disk", "far": far(EXCLUSIVE=True)})
        for _ in range(2):
            storage.save("a.txt", text())
        assert server().calls == []

    def test_other_tier_is_asked_for_the_name(self, make_chain: Any) -> None:
        storage = make_chain({"disk": "disk", "far": far()})
        storage.save("a.txt", text())
        assert server().calls == [("exists", "a.txt")]

    def test_first_tiers_answer_asks_no_other(self, make_chain: Any) -> None:
        storage = make_chain({"disk": "disk", "far": far()})
        name = storage.save("a.txt", text())
        server().calls.clear()
        storage.open(name).close()
        assert (storage.exists(name), storage.size(name), storage.tier(name)) == (True, 4, "disk")
        assert server().calls == []

    def test_name_that_only_the_catalog_knows_is_taken_all_the_same(self, make_chain: Any) -> None:
        storage = make_chain({"disk": "disk", "far": far(EXCLUSIVE=True)}, policy="transfer-and-delete")
        storage.save("a.txt", text(b"one"))
        run_owed_work()
        assert storage.tiers("a.txt") == ["far"]
        second = storage.save("a.txt", text(b"two"))
        run_owed_work()
        assert (content(storage, "a.txt"), content(storage, second)) == (b"one", b"two")


class TestTimeout:
    """A tier that does not answer is left alone for a while, by every process."""

    @pytest.fixture
    def make(self, make_chain: Any, settings: Any) -> Callable[[float], Any]:
        def make(timeout: float) -> Any:
            settings.QUEUED_STORAGE_DEADLINE = 20  # the cache of a busy machine is not dead
            storage = make_chain({"disk": "disk", "far": far(TIMEOUT=timeout), "vault": "disk"}, policy=None)
            storage.chain["vault"].storage.save("a.txt", text())
            return storage

        return make

    @pytest.fixture
    def storage(self, make: Callable[[float], Any]) -> Any:
        return make(0.2)

    @pytest.fixture
    def patient(self, make: Callable[[float], Any]) -> Any:
        """For tests in which the tier answers, on a machine that may be busy."""
        return make(PATIENCE)

    def test_next_tier_answers_within_the_deadline(self, storage: Any) -> None:
        with server().silent(), within(PATIENCE / 2):  # the server itself would keep silent for longer
            assert content(storage, "a.txt") == b"text"

    @pytest.mark.parametrize("question", ["exists", "size", "url", "path", "get_modified_time"])
    def test_every_question_is_answered_below(self, storage: Any, question: str) -> None:
        with server().silent():
            assert getattr(storage, question)("a.txt")

    def test_silent_tier_is_skipped_afterwards(self, storage: Any) -> None:
        with server().silent():
            storage.exists("a.txt")
            asked = len(server().calls)
            storage.exists("a.txt")
            storage.open("a.txt").close()
            assert len(server().calls) == asked

    def test_other_processes_skip_it_too(self, storage: Any) -> None:
        with server().silent():
            storage.exists("a.txt")
            asked = len(server().calls)
            outage.forget()  # as a process that has asked nobody yet
            assert storage.exists("a.txt")
            assert len(server().calls) == asked

    def test_other_tiers_are_not_skipped(self, storage: Any) -> None:
        with server().silent():
            storage.exists("a.txt")
        assert [outage.is_down(tier) for tier in storage.chain] == [False, True, False]

    def test_it_comes_back(self, patient: Any, settings: Any) -> None:
        settings.QUEUED_STORAGE_DOWN_FOR = 60
        server().files["b.txt"] = b"far"
        with clock.stopped() as now:
            server().error = TimeoutError("timed out")
            patient.exists("a.txt")
            server().error = None
            with pytest.raises(ChainUnavailable):
                patient.open("b.txt")
            now.shift(61)
            assert content(patient, "b.txt") == b"far"

    def test_flushed_cache_costs_one_more_question(self, storage: Any) -> None:
        with server().silent():
            storage.exists("a.txt")
            asked = len(server().calls)
            clock.forget_outages()
            assert storage.exists("a.txt")
            assert len(server().calls) == asked + 1

    def test_missing_file_is_not_told_while_a_tier_is_silent(self, storage: Any) -> None:
        with server().silent(), pytest.raises(ChainUnavailable) as caught:
            storage.open("b.txt")
        assert caught.value.reasons == {"far": "it did not answer in time"}

    def test_skipped_tier_is_told_with_its_cause(self, storage: Any) -> None:
        with server().silent():
            storage.exists("a.txt")
            with pytest.raises(ChainUnavailable) as caught:
                storage.open("b.txt")
        assert caught.value.reasons == {"far": "it did not answer a moment ago and is skipped for a while"}

    def test_missing_file_is_no_reason_to_skip_a_tier(self, patient: Any) -> None:
        for _ in range(2):
            with pytest.raises(FileNotFoundError):
                patient.open("b.txt")
        assert len(server().calls) == 2

    def test_refusing_tier_is_skipped_as_well(self, patient: Any) -> None:
        server().error = ConnectionRefusedError(111, "Connection refused")
        assert patient.exists("a.txt")
        asked = len(server().calls)
        assert patient.exists("a.txt")
        assert len(server().calls) == asked

    def test_tier_that_denies_one_file_is_not_skipped(self, patient: Any) -> None:
        server().error = PermissionError(13, "Permission denied")
        assert patient.exists("a.txt")
        asked = len(server().calls)
        assert patient.exists("a.txt")
        assert len(server().calls) > asked

    def test_without_a_timeout_every_read_asks_again(self, make_chain: Any) -> None:
        storage = make_chain({"disk": "disk", "far": far(), "vault": "disk"}, policy=None)
        storage.chain["vault"].storage.save("a.txt", text())
        server().error = ConnectionRefusedError(111, "Connection refused")
        assert storage.exists("a.txt")
        asked = len(server().calls)
        assert storage.exists("a.txt")
        assert len(server().calls) > asked


class TestPolicyNone:
    """A chain whose own policy is None has rows only where somebody names a policy on it."""

    def test_policy_of_ones_own_moves_files(self, make_chain: Any, db: None) -> None:
        storage = make_chain(policy=None).with_policy("transfer-and-delete")
        name = storage.save("a.txt", text(b"new"))
        assert run_owed_work() == 1
        assert storage.tiers(name) == ["vault"]

    def test_plain_use_does_not_give_away_the_name_of_a_moved_file(self, make_chain: Any, db: None) -> None:
        plain = make_chain(policy=None)
        name = plain.with_policy("transfer-and-delete").save("a.txt", text(b"Alice"))
        run_owed_work()
        assert plain.save("a.txt", text(b"Bob")) != name
        with plain.open(name) as file:
            assert file.read() == b"Alice"

    def test_g5_plain_delete_of_a_policys_file_is_a_delete(
        self, make_chain: Any, db: None, django_capture_on_commit_callbacks: Any
    ) -> None:
        plain = make_chain(policy=None)
        name = plain.with_policy("transfer").save("a.txt", text(b"Alice"))
        with django_capture_on_commit_callbacks(execute=True):
            plain.delete(name)
        run_owed_work()
        assert not plain.exists(name)
        assert plain.with_policy("transfer").state(name) is None

    def test_needs_no_query_where_no_policy_is_named(
        self, make_chain: Any, db: None, django_assert_num_queries: Any
    ) -> None:
        plain = make_chain(policy=None)
        with django_assert_num_queries(0):
            name = plain.save("a.txt", text(b"1"))
            plain.open(name).close()
            plain.delete(name)

    def test_is_not_asked_at_import(self, make_chain: Any) -> None:
        make_chain(policy=None)
        assert QueuedFileField(storage="media", policy="transfer").storage == TieredStorage(
            "media", "transfer"
        )


class TestManyTiers:
    NAMES = [f"tier{number}" for number in range(6)]

    def test_first_that_has_the_file_answers(self, make_chain: Any) -> None:
        storage = make_chain(self.NAMES, policy=None)
        for name in reversed(self.NAMES):
            storage.chain[name].storage.save("a.txt", text(name.encode()))
            assert (storage.tier("a.txt"), content(storage, "a.txt")) == (name, name.encode())

    def test_save_goes_to_the_first_alone(self, make_chain: Any) -> None:
        storage = make_chain(self.NAMES, policy=None)
        storage.save("a.txt", text())
        assert [tier.storage.exists("a.txt") for tier in storage.chain] == [True, *[False] * 5]

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize(("policy", "first"), [("transfer", 0), ("transfer-and-delete", 1)])
    def test_policy_reaches_all(self, make_chain: Any, policy: str, first: int) -> None:
        storage = make_chain(self.NAMES, policy=policy)
        storage.save("a.txt", text())
        run_owed_work()
        assert storage.tiers("a.txt") == self.NAMES[first:]
        assert storage.state("a.txt") == "settled"

    def test_one_tier_is_a_chain(self, make_chain: Any) -> None:
        storage = make_chain(("disk",), policy=None)
        name = storage.save("a.txt", text())
        assert (storage.tier(name), storage.get_storage(name)) == ("disk", storage.chain.first.storage)


@pytest.mark.django_db(transaction=True)
def test_g2_folders_that_became_one_keep_the_file(make_chain: Any, tmp_path: Path) -> None:
    storage = make_chain(["disk", "vault"], policy="transfer-and-delete")
    assert storage.chain.names == ("disk", "vault")  # whose settings are sound
    (tmp_path / "disk").mkdir()
    (tmp_path / "vault").symlink_to(tmp_path / "disk")
    storage.save("a.txt", text())
    run_owed_work()
    assert (content(storage, "a.txt"), storage.state("a.txt")) == (b"text", "failed")


class TestTieredStorages:
    def test_gives_the_storage_of_the_alias(self) -> None:
        assert tiered_storages["media"] == TieredStorage("media")

    def test_storages_of_one_chain_and_policy_are_equal(self) -> None:
        media = TieredStorage("media")
        assert media == TieredStorage("media") != media.with_policy("delayed")
        assert len({media, TieredStorage("media"), media.with_policy("delayed")}) == 2

    def test_unknown_alias_is_improperly_configured(self) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"has no chain 'meida'\. Did you mean 'media'\?"):
            tiered_storages["meida"]

    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            (lambda: TieredStorage("media"), "<TieredStorage 'media' policy=None>"),
            (lambda: TieredStorage("media", "delayed"), "<TieredStorage 'media' policy='delayed'>"),
            (lambda: chains["media"], "<Chain 'media': disk, vault>"),
            (lambda: chains["media"].first, "<Tier 'disk' of chain 'media'>"),
        ],
    )
    def test_repr_holds_names_alone(self, value: Callable[[], object], shown: str) -> None:
        assert repr(value()) == shown
