"""How work starts: what is handed to the dispatcher, when, and what happens if the dispatcher fails."""

from __future__ import annotations

import logging
from datetime import timedelta

import django
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.db import transaction
from django.utils import timezone

from queued_storage import batch, catalog, conf, dispatch
from queued_storage.dispatch import CeleryDispatcher, ImmediateDispatcher, TasksDispatcher
from queued_storage.reconcile import reconcile

from tests.support import recording

pytestmark = pytest.mark.django_db(transaction=True)


class FailingDispatcher:
    def dispatch(self, ids):
        raise RuntimeError("the queue is full")


@pytest.fixture
def calls(settings):
    """The ids of each call of the dispatcher; nothing is done about them."""
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH
    recording.RecordingDispatcher.calls.clear()
    return recording.RecordingDispatcher.calls


@pytest.fixture
def storage(make_chain):
    return make_chain()


def save(storage, *names):
    """Save the files; return the ids of their rows."""
    saved = [storage.save(name, ContentFile(b"1")) for name in names]
    return [catalog.find(storage.alias, name).pk for name in saved]


def row_of(storage, name, **changes):
    (pk,) = save(storage, name)
    catalog.files().filter(pk=pk).update(**changes)
    return pk


class TestBatching:
    def test_save_is_one_call(self, storage, calls):
        ids = save(storage, "a.txt")
        assert calls == [ids]

    def test_files_of_a_transaction_are_one_call(self, storage, calls):
        with transaction.atomic():
            ids = save(storage, "a.txt", "b.txt", "c.txt")
            assert calls == []
        assert calls == [ids]

    def test_files_of_two_chains_in_a_transaction_are_one_call(self, storage, make_chain, calls):
        other = make_chain(["here", "there"], alias="other")
        with transaction.atomic():
            ids = save(storage, "a.txt") + save(other, "a.txt")
        assert calls == [ids]

    def test_file_saved_and_asked_for_in_one_transaction_is_named_once(self, make_chain, calls):
        storage = make_chain(policy="delayed")
        with transaction.atomic():
            (pk,) = save(storage, "a.txt")
            storage.transfer("a.txt")
            storage.transfer("a.txt")
        assert calls == [[pk]]

    def test_call_has_no_more_ids_than_a_batch(self, storage, calls, settings):
        settings.QUEUED_STORAGE_BATCH = 2
        with transaction.atomic():
            ids = save(storage, *"abcde")
        assert calls == [ids[0:2], ids[2:4], ids[4:5]]

    def test_next_transaction_is_a_call_of_its_own(self, storage, calls):
        first, second = (save(storage, name) for name in "ab")
        assert calls == [first, second]

    def test_settled_file_is_no_call(self, make_chain, calls):
        save(make_chain(policy="delayed"), "a.txt")
        assert calls == []

    def test_chain_without_policy_is_no_call(self, make_chain, calls):
        make_chain(policy=None).save("a.txt", ContentFile(b"1"))
        assert calls == []


class TestRollback:
    def test_g7_nothing_is_dispatched(self, storage, calls):
        with transaction.atomic():
            save(storage, "a.txt")
            transaction.set_rollback(True)
        assert calls == []

    def test_g7_file_of_a_savepoint_that_was_rolled_back_is_left_out(self, storage, calls):
        with transaction.atomic():
            kept = save(storage, "a.txt")
            with transaction.atomic():
                save(storage, "b.txt")
                transaction.set_rollback(True)
            kept += save(storage, "c.txt")
        assert calls == [kept]

    def test_g7_first_savepoint_rolled_back(self, storage, calls):
        with transaction.atomic():
            with transaction.atomic():
                save(storage, "a.txt")
                transaction.set_rollback(True)
            kept = save(storage, "b.txt")
        assert calls == [kept]

    def test_file_of_a_kept_savepoint_is_dispatched(self, storage, calls):
        with transaction.atomic():
            ids = save(storage, "a.txt")
            with transaction.atomic():
                ids += save(storage, "b.txt")
        assert calls == [ids]

    def test_nothing_of_a_rollback_is_sent_with_the_next_transaction(self, storage, calls):
        with transaction.atomic():
            save(storage, "a.txt")
            transaction.set_rollback(True)
        ids = save(storage, "b.txt")
        assert calls == [ids]


class TestSetting:
    def test_default_is_celery(self):
        assert conf.get("DISPATCHER") == "queued_storage.dispatch.CeleryDispatcher"
        assert isinstance(dispatch._dispatcher(conf.get("DISPATCHER")), CeleryDispatcher)

    def test_change_takes_effect_at_once(self, storage, calls, settings):
        save(storage, "a.txt")
        settings.QUEUED_STORAGE_DISPATCHER = "queued_storage.dispatch.ImmediateDispatcher"
        save(storage, "b.txt")
        assert storage.state("b.txt") == "settled"
        assert len(calls) == 1

    def test_unknown_path_is_an_error_of_the_checks(self, settings):
        from queued_storage.checks import check_settings

        settings.QUEUED_STORAGE_DISPATCHER = "no.such.Dispatcher"
        assert any("no.such.Dispatcher" in message.msg for message in check_settings())

    def test_unknown_path_does_not_fail_a_save(self, storage, settings):
        settings.QUEUED_STORAGE_DISPATCHER = "no.such.Dispatcher"
        save(storage, "a.txt")
        assert storage.state("a.txt") == "pending"


class TestFailure:
    @pytest.fixture(autouse=True)
    def _failing(self, settings):
        settings.QUEUED_STORAGE_DISPATCHER = "tests.test_dispatch.FailingDispatcher"

    def test_g8_save_returns(self, storage):
        save(storage, "a.txt")
        with storage.open("a.txt") as file:
            assert file.read() == b"1"

    def test_g8_save_inside_a_transaction_returns(self, storage):
        with transaction.atomic():
            save(storage, "a.txt", "b.txt")
        assert storage.state("b.txt") == "pending"

    def test_g8_delete_and_transfer_return(self, storage):
        save(storage, "a.txt", "b.txt")
        storage.transfer("a.txt")
        storage.delete("b.txt")
        assert not storage.exists("b.txt")

    def test_failure_is_logged(self, storage, caplog):
        with caplog.at_level(logging.ERROR):
            save(storage, "a.txt")
        assert "the queue is full" in caplog.text

    def test_other_callbacks_of_the_transaction_run(self, storage):
        ran = []
        with transaction.atomic():
            save(storage, "a.txt")
            transaction.on_commit(lambda: ran.append(True))
        assert ran == [True]

    def test_g3_work_stays_owed(self, storage, settings):
        ids = save(storage, "a.txt")
        settings.QUEUED_STORAGE_DISPATCHER = "queued_storage.dispatch.ImmediateDispatcher"
        assert dispatch.sweep() == len(ids)
        assert storage.state("a.txt") == "settled"


HOUR = timedelta(hours=1)


class TestSweep:
    """What the sweep hands out: all that is due, and nothing that somebody is at."""

    @pytest.mark.parametrize(
        ("due", "lease", "found"),
        [
            (-HOUR, None, True),
            (HOUR, None, False),
            (None, None, False),
            (-HOUR, HOUR, False),
            (-HOUR, -HOUR, True),
            (HOUR, -HOUR, False),
        ],
        ids=[
            "due",
            "later",
            "owed-nothing",
            "in-other-hands",
            "its-worker-died",
            "later-and-its-worker-died",
        ],
    )
    def test_g3_what_is_found(self, storage, calls, due, lease, found):
        now = timezone.now()
        leased = {} if lease is None else {"lease": "x" * 32, "lease_until": now + lease}
        pk = row_of(storage, "a.txt", due_at=None if due is None else now + due, **leased)
        calls.clear()
        assert dispatch.sweep() == int(found)
        assert calls == ([[pk]] if found else [])

    @pytest.mark.parametrize(("state", "found"), [("pending", 1), ("settled", 1), ("deleted", 1)])
    def test_due_work_is_found_in_every_state(self, storage, calls, state, found):
        """A settled file is due for a review, a deleted one for its clearing."""
        row_of(storage, "a.txt", state=state)
        assert dispatch.sweep() == found

    def test_failed_file_is_left_alone(self, storage, calls):
        row_of(storage, "a.txt", state="failed", due_at=None)
        assert dispatch.sweep() == 0

    def test_longest_owed_comes_first(self, storage, calls):
        now = timezone.now()
        late = row_of(storage, "a.txt", due_at=now - HOUR)
        later = row_of(storage, "b.txt", due_at=now - 2 * HOUR)
        calls.clear()
        dispatch.sweep()
        assert calls == [[later, late]]

    def test_batches(self, storage, calls, settings):
        settings.QUEUED_STORAGE_BATCH = 2
        save(storage, *"abcde")
        calls.clear()
        assert dispatch.sweep() == 5
        assert [len(call) for call in calls] == [2, 2, 1]

    def test_chain_with_few_files_does_not_wait_for_one_with_many(
        self, storage, make_chain, calls, settings, monkeypatch
    ):
        monkeypatch.setattr(dispatch, "MAX_SWEPT", 12)
        settings.QUEUED_STORAGE_BATCH = 10
        save(storage, *(f"{number}.txt" for number in range(30)))
        few = save(make_chain(["here", "there"], alias="other"), *"abcde")
        calls.clear()
        assert dispatch.sweep() == 12
        assert set(few) < set(calls[0])

    def test_chains_of_a_transaction_take_turns(self, storage, make_chain, calls, settings):
        settings.QUEUED_STORAGE_BATCH = 4
        other = make_chain(["here", "there"], alias="other")
        with transaction.atomic():
            many = save(storage, *"abcdef")
            few = save(other, *"ab")
        assert calls == [[many[0], few[0], many[1], few[1]], many[2:]]

    def test_one_chain(self, storage, make_chain, calls):
        other = make_chain(["here", "there"], alias="other")
        save(storage, "a.txt")
        ids = save(other, "a.txt")
        calls.clear()
        assert dispatch.sweep("other") == 1
        assert calls == [ids]

    def test_nothing_due_is_no_call(self, storage, calls):
        assert dispatch.sweep() == 0
        assert calls == []

    def test_sweep_changes_no_row(self, storage, calls):
        save(storage, "a.txt")
        before = list(catalog.files().values())
        dispatch.sweep()
        assert list(catalog.files().values()) == before


class TestBackOff:
    """Due times live in the catalog: nothing with a delay is handed out."""

    @pytest.fixture
    def failed(self, make_chain, calls, tmp_path, settings):
        """A file whose first attempt failed."""
        settings.QUEUED_STORAGE_RETRY_DELAY = 3600
        (tmp_path / "vault").write_bytes(b"a file where a folder should be")
        (pk,) = save(make_chain(), "a.txt")
        calls.clear()
        assert reconcile(pk)
        return pk

    def test_failed_attempt_hands_nothing_out(self, failed, calls):
        assert calls == []

    def test_g3_due_time_is_in_the_catalog(self, failed):
        due_in = catalog.files().get(pk=failed).due_at - timezone.now()
        assert timedelta(seconds=3500) < due_in < timedelta(seconds=4600)

    def test_sweep_before_the_due_time_finds_nothing(self, failed):
        assert dispatch.sweep() == 0

    def test_sweep_after_the_due_time_finds_it(self, failed, calls):
        catalog.files().filter(pk=failed).update(due_at=timezone.now())
        assert dispatch.sweep() == 1
        assert calls == [[failed]]

    def test_file_that_waits_for_its_policy_is_found_then(self, make_chain, calls, settings):
        settings.QUEUED_STORAGE_POLICIES = {"later": {"BACKEND": "transfer", "OPTIONS": {"after": "P30D"}}}
        storage = make_chain(policy="later")
        (pk,) = save(storage, "a.txt")
        assert calls == []
        catalog.files().filter(pk=pk).update(due_at=timezone.now())
        assert dispatch.sweep() == 1


class TestImmediate:
    @pytest.fixture(autouse=True)
    def _immediate(self, settings):
        settings.QUEUED_STORAGE_DISPATCHER = "queued_storage.dispatch.ImmediateDispatcher"

    def test_file_is_settled_when_save_returns(self, storage):
        save(storage, "a.txt")
        assert storage.state("a.txt") == "settled"
        assert storage.tiers("a.txt") == ["disk", "vault"]

    def test_g7_work_begins_after_commit(self, storage):
        with transaction.atomic():
            save(storage, "a.txt")
            assert storage.tiers("a.txt") == ["disk"]
        assert storage.tiers("a.txt") == ["disk", "vault"]

    def test_id_that_nobody_knows_is_passed_over(self, storage):
        ImmediateDispatcher().dispatch([999])

    def test_g8_tier_that_fails_does_not_fail_the_save(self, storage, tmp_path):
        (tmp_path / "vault").write_bytes(b"a file where a folder should be")
        save(storage, "a.txt")
        assert storage.state("a.txt") == "pending"


class TestDjangoTasks:
    needs_tasks = pytest.mark.skipif(django.VERSION < (6, 0), reason="django.tasks came with Django 6.0")

    @pytest.fixture
    def backend(self, settings):
        """Use a backend of Django's tasks framework by its short name."""
        settings.QUEUED_STORAGE_DISPATCHER = "queued_storage.dispatch.TasksDispatcher"

        def use(name):
            path = f"django.tasks.backends.{name.lower()}.{name}Backend"
            settings.TASKS = {"default": {"BACKEND": path, "QUEUES": ["default", "files"]}}

        return use

    @needs_tasks
    def test_immediate_backend_settles_the_file(self, storage, backend):
        backend("Immediate")
        save(storage, "a.txt")
        assert storage.state("a.txt") == "settled"

    @needs_tasks
    def test_immediate_backend_hands_nothing_on(self, storage, backend, settings, monkeypatch):
        """It would do it at once, inside of what hands it on, and so on to the end of the stack."""
        settings.QUEUED_STORAGE_FAST_PATHS = False
        backend("Immediate")
        monkeypatch.setattr(batch, "SHIFT", 0)
        with transaction.atomic():
            save(storage, "a.txt", "b.txt")
        assert {storage.state("a.txt"), storage.state("b.txt")} == {"settled"}

    @needs_tasks
    def test_worker_hands_on_what_it_did_not_come_to(self, storage, backend, monkeypatch):
        from django.tasks import default_task_backend

        backend("Dummy")
        ids = save(storage, "a.txt")
        monkeypatch.setattr(batch, "SHIFT", 0)
        default_task_backend.results[0].task.call(ids)
        assert [result.args for result in default_task_backend.results] == [[ids], [ids]]

    @needs_tasks
    def test_g10_task_carries_ids_alone(self, storage, backend):
        from django.tasks import default_task_backend

        backend("Dummy")
        with transaction.atomic():
            ids = save(storage, "a.txt", "b.txt")
        (result,) = default_task_backend.results
        assert (result.args, result.kwargs) == ([ids], {})

    @needs_tasks
    def test_queue_is_a_setting(self, storage, backend, settings):
        from django.tasks import default_task_backend

        settings.QUEUED_STORAGE_QUEUE = "files"
        backend("Dummy")
        save(storage, "a.txt")
        assert [result.task.queue_name for result in default_task_backend.results] == ["files"]

    @needs_tasks
    def test_each_host_has_a_queue_of_its_own(self, storage, backend, settings):
        from django.tasks import default_task_backend

        backend("Dummy")
        settings.TASKS["default"]["QUEUES"] = ["default", "default.web1", "files.web1"]
        dispatch.TasksDispatcher().dispatch_to("web1", [1])
        settings.QUEUED_STORAGE_QUEUE = "files"
        dispatch.TasksDispatcher().tend("web1")
        sent = [(result.task.queue_name, result.args) for result in default_task_backend.results]
        assert sent == [("default.web1", [[1]]), ("files.web1", ["web1"])]

    @needs_tasks
    def test_g8_backend_that_fails_does_not_fail_the_save(self, storage, backend, settings):
        settings.QUEUED_STORAGE_QUEUE = "no-such-queue"
        backend("Immediate")
        save(storage, "a.txt")
        assert storage.state("a.txt") == "pending"

    @pytest.mark.skipif(django.VERSION >= (6, 0), reason="this Django has django.tasks")
    def test_older_django_says_what_is_missing(self):
        with pytest.raises((ImportError, ImproperlyConfigured), match=r"django\.tasks|Django 6"):
            TasksDispatcher().dispatch([1])
