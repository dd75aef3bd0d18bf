"""A dead or silent broker never fails a save and never holds it up longer than a second (G8)."""

from __future__ import annotations

import threading

import pytest
from celery import current_app
from django.core.files.base import ContentFile

from queued_storage import dispatch
from queued_storage.catalog import files

from tests.support.waiting import wait_until, within
from tests.worker.messages import take_ids

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("broker", ["redis", "rabbitmq"], indirect=True),
    pytest.mark.servers,
]

STATES = ("refuse", "be_silent")


@pytest.fixture(params=STATES)
def dead_broker(request, relayed, default_deadline):
    getattr(relayed, request.param)()
    return relayed


@pytest.fixture
def bring_back(dead_broker, trust_broker, settings):
    """Have the broker answer again; it may take seconds for that, on a busy machine."""

    def bring_back():
        dead_broker.hand_on()
        trust_broker()
        settings.QUEUED_STORAGE_DEADLINE = 20

    return bring_back


class TestSave:
    def test_g8_save_returns_within_a_second(self, dead_broker, make_chain):
        storage = make_chain()
        with within(1, "save() with a dead broker"):
            name = storage.save("a.txt", ContentFile(b"1"))
        with storage.open(name) as file:
            assert file.read() == b"1"
        assert storage.state(name) == "pending"

    def test_g8_later_saves_do_not_wait_again(self, dead_broker, make_chain):
        storage = make_chain()
        storage.save("a.txt", ContentFile(b"1"))
        with within(1, "20 saves with a broker that is known to be dead"):
            for number in range(20):
                storage.save(f"{number}.txt", ContentFile(b"1"))

    def test_g8_delete_returns_within_a_second(self, dead_broker, make_chain):
        storage = make_chain()
        name = storage.save("a.txt", ContentFile(b"1"))
        with within(1, "delete() with a dead broker"):
            storage.delete(name)
        assert not storage.exists(name)

    def test_g8_outage_is_told_without_the_broker_url(self, dead_broker, make_chain, caplog):
        make_chain().save("a.txt", ContentFile(b"1"))
        (record,) = [record for record in caplog.records if "broker_unavailable" in record.getMessage()]
        assert str(dead_broker.port) not in record.getMessage()
        assert "guest" not in record.getMessage()

    def test_g8_broker_that_dies_between_two_saves(self, relayed, make_chain, default_deadline):
        storage = make_chain()
        storage.save("a.txt", ContentFile(b"1"))
        relayed.be_silent()
        with within(1, "save() with a broker that has just died"):
            storage.save("b.txt", ContentFile(b"1"))


class TestReturn:
    def test_g3_sweep_settles_what_a_dead_broker_missed(self, make_chain, start_worker, bring_back):
        storage = make_chain()
        names = [storage.save(f"{number}.txt", ContentFile(b"1")) for number in range(3)]
        bring_back()
        # Without a worker: a line that was silent, not cut, may bring what was written on it once it is back.
        assert dispatch.sweep() == len(names)
        start_worker()
        wait_until(lambda: all(storage.state(name) == "settled" for name in names), "all are settled")

    def test_save_after_the_return_is_sent_at_once(self, broker, make_chain, bring_back):
        storage = make_chain()
        storage.save("a.txt", ContentFile(b"1"))
        bring_back()
        storage.save("b.txt", ContentFile(b"1"))
        ids = [row.pk for row in files().filter(name="b.txt")]
        assert ids in take_ids(broker)

    def test_restarted_broker_costs_no_message(self, relayed, broker, make_chain):
        """A connection that was cut while nobody used it is made anew."""
        storage = make_chain()
        storage.save("a.txt", ContentFile(b"1"))
        assert len(take_ids(broker)) == 1
        relayed.cut()
        storage.save("b.txt", ContentFile(b"1"))
        assert take_ids(broker) == [[files().get(name="b.txt").pk]]

    def test_silence_leaves_no_thread_behind(self, relayed, make_chain, trust_broker, default_deadline):
        storage = make_chain()
        before = calls_under_way()
        relayed.be_silent()
        for number in range(3):
            storage.save(f"{number}.txt", ContentFile(b"1"))
            trust_broker()
        wait_until(lambda: len(calls_under_way() - before) <= 1, "the calls have ended", timeout=10)

    def test_silence_leaves_the_connections_of_the_project_alone(self, relayed, make_chain, default_deadline):
        relayed.be_silent()
        make_chain().save("a.txt", ContentFile(b"1"))
        assert not current_app.pool._dirty


def calls_under_way():
    return {thread for thread in threading.enumerate() if thread.name == "queued-storage-call"}
