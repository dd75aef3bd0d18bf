"""What a transaction of the caller's holds back, and what its rollback takes away."""

from __future__ import annotations

import itertools
from contextlib import suppress

import pytest
from django.core.files.base import ContentFile
from django.db import transaction

from queued_storage import signals
from queued_storage.models import StoredFile

from tests.support import faulty, recording
from tests.support.recording import RecordingDispatcher
from tests.testapp.models import Document

pytestmark = pytest.mark.django_db(transaction=True)


class RollBack(Exception):
    """Ends a transaction without a commit."""


@pytest.fixture(autouse=True)
def _recording(settings):
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH
    RecordingDispatcher.calls.clear()
    yield
    faulty.forget_all()


@pytest.fixture
def chain(make_chain):
    return make_chain({"near": "disk", "far": "disk"}, policy="transfer-and-delete")


def save(storage, name="a.txt", content=b"content"):
    return storage.save(name, ContentFile(content))


def read(storage, name="a.txt"):
    with storage.open(name) as file:
        return file.read()


def rolled_back(function, *arguments):
    """Run the function in a transaction, or a savepoint, that rolls back."""
    with suppress(RollBack), transaction.atomic():
        function(*arguments)
        raise RollBack


def ids():
    return list(StoredFile.objects.order_by("pk").values_list("pk", flat=True))


def chain_calls():
    return itertools.chain.from_iterable(RecordingDispatcher.calls)


class TestHints:
    def test_g7_hint_waits_for_the_commit(self, chain):
        with transaction.atomic():
            save(chain)
            assert RecordingDispatcher.calls == []
        assert RecordingDispatcher.calls == [ids()]

    def test_g7_nothing_is_sent_after_a_rollback(self, chain):
        rolled_back(save, chain)
        assert RecordingDispatcher.calls == []
        assert ids() == []

    def test_g7_nothing_is_sent_for_a_savepoint_that_rolled_back(self, chain):
        with transaction.atomic():
            rolled_back(save, chain, "dropped.txt")
        assert RecordingDispatcher.calls == []

    def test_g7_files_around_a_lost_savepoint_are_sent_without_it(self, chain):
        with transaction.atomic():
            save(chain, "before.txt")
            rolled_back(save, chain, "dropped.txt")
            save(chain, "after.txt")
        assert sorted(chain_calls()) == ids()
        assert StoredFile.objects.count() == 2

    def test_first_file_of_a_lost_savepoint_does_not_take_the_others_along(self, chain):
        with transaction.atomic():
            rolled_back(save, chain, "dropped.txt")
            save(chain, "after.txt")
        assert RecordingDispatcher.calls == [ids()]

    def test_files_of_a_kept_savepoint_are_sent(self, chain):
        with transaction.atomic():
            save(chain, "outer.txt")
            with transaction.atomic():
                save(chain, "inner.txt")
        assert RecordingDispatcher.calls == [ids()]

    def test_files_of_one_transaction_are_one_dispatch(self, chain):
        with transaction.atomic():
            for number in range(20):
                save(chain, f"{number}.txt")
        assert RecordingDispatcher.calls == [ids()]

    def test_files_of_two_transactions_are_two(self, chain):
        for name in ("a.txt", "b.txt"):
            with transaction.atomic():
                save(chain, name)
        assert RecordingDispatcher.calls == [[pk] for pk in ids()]

    def test_large_transaction_is_sent_in_batches(self, chain, settings):
        settings.QUEUED_STORAGE_BATCH = 3
        with transaction.atomic():
            for number in range(7):
                save(chain, f"{number}.txt")
        assert [len(call) for call in RecordingDispatcher.calls] == [3, 3, 1]

    def test_file_saved_and_asked_for_is_told_once(self, chain):
        with transaction.atomic():
            save(chain)
            chain.transfer("a.txt")
        assert RecordingDispatcher.calls == [ids()]

    def test_save_outside_a_transaction_is_sent_at_once(self, chain):
        save(chain)
        assert RecordingDispatcher.calls == [ids()]

    def test_written_file_is_sent_after_commit(self, chain):
        with transaction.atomic():
            with chain.open("a.txt", "wb") as file:
                file.write(b"1")
            assert RecordingDispatcher.calls == []
        assert RecordingDispatcher.calls == [ids()]

    def test_settled_file_sends_nothing(self, make_chain):
        save(make_chain(["only"], policy="transfer"))
        assert RecordingDispatcher.calls == []

    def test_failing_dispatcher_does_not_fail_the_save(self, chain, settings):
        settings.QUEUED_STORAGE_DISPATCHER = "tests.test_transactions.FailingDispatcher"
        assert read(chain, save(chain)) == b"content"


class FailingDispatcher:
    def dispatch(self, ids):
        raise ConnectionError


class TestDelete:
    @pytest.fixture
    def name(self, chain):
        return save(chain)

    @pytest.fixture(params=["near", "far"])
    def tier(self, request, chain, name):
        """The tier that holds the file."""
        if request.param == "far":
            recording.work()
        assert chain.tier(name) == request.param
        return request.param

    def test_g7_delete_that_rolls_back_loses_nothing(self, chain, name, tier):
        rolled_back(chain.delete, name)
        assert (read(chain), chain.tier(name)) == (b"content", tier)
        recording.work()
        assert read(chain) == b"content"

    def test_g7_bytes_stay_until_the_commit(self, chain, name, tier):
        with transaction.atomic():
            chain.delete(name)
            assert chain.chain[tier].storage.exists(name)
        assert not chain.chain[tier].storage.exists(name)

    def test_deleted_name_is_gone_for_this_connection_at_once(self, chain, name, tier):
        with transaction.atomic():
            chain.delete(name)
            assert not chain.exists(name)
            assert chain.listdir("")[1] == []
            assert (chain.tier(name), chain.state(name)) == (None, None)
            with pytest.raises(FileNotFoundError):
                chain.open(name)

    def test_name_comes_back_with_the_savepoint(self, chain, name, tier):
        with transaction.atomic():
            rolled_back(chain.delete, name)
            assert chain.exists(name)
            assert read(chain) == b"content"
        assert read(chain) == b"content"

    def test_name_stays_taken_until_the_bytes_are_gone(self, chain, name, tier):
        with transaction.atomic():
            chain.delete(name)
            other = save(chain, name, b"new")
        assert other != name
        assert (read(chain, other), chain.exists(name)) == (b"new", False)

    def test_file_saved_and_deleted_in_one_transaction_leaves_nothing(self, chain, tmp_path):
        with transaction.atomic():
            chain.delete(save(chain, "brief.txt"))
        recording.work()
        assert not chain.exists("brief.txt")
        assert not list(tmp_path.rglob("brief.txt"))

    def test_delete_of_a_model_that_rolls_back_keeps_its_file(self, chain):
        document = Document.objects.create(file=ContentFile(b"content", "a.txt"))
        rolled_back(document.file.delete)
        document = Document.objects.get()
        assert document.file.read() == b"content"
        document.file.close()


class TestOtherDatabase:
    """The transaction that counts is that of the database with the catalog."""

    def test_g7_commit_of_the_catalogs_database_counts(self, catalog_db, chain):
        with transaction.atomic(using=catalog_db):
            save(chain)
            assert RecordingDispatcher.calls == []
        assert len(RecordingDispatcher.calls) == 1

    def test_g7_rollback_of_the_catalogs_database_counts(self, catalog_db, chain):
        with pytest.raises(RollBack), transaction.atomic(using=catalog_db):
            save_and_roll_back(chain)
        assert (RecordingDispatcher.calls, StoredFile.objects.count()) == ([], 0)

    def test_g7_delete_that_rolls_back_loses_nothing(self, catalog_db, chain):
        save(chain)
        with pytest.raises(RollBack), transaction.atomic(using=catalog_db):
            delete_and_roll_back(chain)
        assert read(chain) == b"content"


def save_and_roll_back(chain):
    save(chain)
    raise RollBack


def delete_and_roll_back(chain):
    chain.delete("a.txt")
    raise RollBack


SIGNALS = {
    "file_saved": signals.file_saved,
    "file_transferred": signals.file_transferred,
    "file_released": signals.file_released,
    "file_deleted": signals.file_deleted,
    "transfer_failed": signals.transfer_failed,
}


@pytest.fixture
def heard():
    """The signals that were sent, by name, with their facts."""
    heard = []
    receivers = {signal: Receiver(kind, heard) for kind, signal in SIGNALS.items()}
    for signal, receiver in receivers.items():
        signal.connect(receiver)
    yield heard
    for signal, receiver in receivers.items():
        signal.disconnect(receiver)


class Receiver:
    def __init__(self, kind, heard):
        self.kind = kind
        self.heard = heard

    def __call__(self, signal, sender, **facts):
        self.heard.append((self.kind, facts))


def kinds(heard):
    return [kind for kind, _ in heard]


class TestSignals:
    @pytest.fixture
    def document(self, chain):
        return Document.objects.create(title="report", file=ContentFile(b"content", "a.txt"))

    def test_save_and_move_are_told_in_order(self, chain, heard):
        save(chain)
        recording.work()
        assert kinds(heard) == ["file_saved", "file_transferred", "file_released"]

    def test_delete_is_told(self, chain, heard):
        save(chain)
        recording.work()
        heard.clear()
        chain.delete("a.txt")
        assert kinds(heard) == ["file_deleted"]

    def test_failure_is_told_with_its_reason(self, make_chain, heard):
        faulty.bucket("far").on("save", faulty.refuse)
        save(make_chain({"near": "disk", "far": faulty.tier("far")}))
        recording.work()
        kind, facts = heard[-1]
        assert (kind, facts["final"]) == ("transfer_failed", False)
        assert "'far'" in facts["error"]

    def test_transfer_tells_both_tiers_and_storages(self, chain, heard):
        save(chain)
        recording.work()
        facts = dict(heard)["file_transferred"]
        assert (facts["source"], facts["destination"]) == ("near", "far")
        assert facts["local"] is chain.chain["near"].storage
        assert facts["remote"] is chain.chain["far"].storage

    def test_release_tells_the_tier(self, chain, heard):
        save(chain)
        recording.work()
        assert dict(heard)["file_released"]["tier"] == "near"

    def test_g7_signal_waits_for_the_commit(self, chain, heard):
        with transaction.atomic():
            save(chain)
            assert heard == []
        assert kinds(heard) == ["file_saved"]

    def test_g7_nothing_is_told_after_a_rollback(self, chain, heard):
        rolled_back(save, chain)
        assert heard == []

    def test_receiver_that_fails_does_not_stop_the_move(self, chain):
        def broken(**facts):
            raise RuntimeError

        signals.file_transferred.connect(broken)
        try:
            save(chain)
            recording.work()
        finally:
            signals.file_transferred.disconnect(broken)
        assert chain.tiers("a.txt") == ["far"]

    @pytest.mark.parametrize("kind", ["file_saved", "file_transferred", "file_released"])
    def test_signal_names_model_field_and_instance(self, heard, document, kind):
        recording.work()
        facts = dict(heard)[kind]
        assert (facts["model"], facts["field"]) == (Document, "file")
        assert facts["instance"]() == document
        assert (facts["name"], facts["chain"]) == (document.file.name, "media")
        assert facts["file"] == StoredFile.objects.get()

    def test_delete_names_model_and_field(self, heard, document):
        document.file.delete()
        facts = dict(heard)["file_deleted"]
        assert (facts["model"], facts["field"]) == (Document, "file")

    def test_failure_names_model_field_and_instance(self, make_chain, heard):
        faulty.bucket("far").on("save", faulty.refuse)
        make_chain({"near": "disk", "far": faulty.tier("far")})
        document = Document.objects.create(file=ContentFile(b"content", "a.txt"))
        recording.work()
        facts = dict(heard)["transfer_failed"]
        assert (facts["model"], facts["field"], facts["instance"]()) == (Document, "file", document)

    def test_file_without_field_has_no_owner(self, chain, heard):
        save(chain)
        facts = dict(heard)["file_saved"]
        assert (facts["model"], facts["field"], facts["instance"]) == (None, None, None)

    def test_receiver_sees_the_row_of_the_model(self, chain):
        """Case h2 of the ancestor: it ran before the commit, and found no row."""
        seen = []

        def look(instance, **facts):
            seen.append(instance())

        signals.file_saved.connect(look)
        try:
            with transaction.atomic():
                document = Document.objects.create(file=ContentFile(b"content", "a.txt"))
        finally:
            signals.file_saved.disconnect(look)
        assert seen == [document]
