"""The Celery message, raw, as it lies in each broker: small, and with ids as all that is of this package."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path

import amqp
import pytest
from celery import current_app
from celery.signals import before_task_publish, task_sent
from django.core.files.base import ContentFile
from django.db import transaction

from queued_storage import dispatch, tasks
from queued_storage.catalog import files
from queued_storage.dispatch import CeleryDispatcher

from tests.support.waiting import wait_until
from tests.worker.messages import take, take_ids

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.servers]

LIMIT = 600
#: Longer than any id that a catalog will reach.
LONG_ID = 10**12
#: What kombu needs to route and decode a message, and Celery to know its task.
HEADERS = {"lang", "task", "id", "ignore_result"}
PROPERTIES = {
    "redis": {"delivery_mode", "delivery_info", "priority", "body_encoding", "delivery_tag"},
    "rabbitmq": {"content_type", "content_encoding", "application_headers", "delivery_mode", "priority"},
}
PROPERTIES["filesystem"] = PROPERTIES["redis"]


def raw_messages(broker, count=1):
    """Every message in the broker's queue, byte for byte (of RabbitMQ: properties with headers, and body)."""
    return RAW[broker.name](broker, count)


def raw_from_redis(broker, count):
    import redis

    with redis.Redis.from_url(broker.url) as client:
        return client.lrange(f"{broker.queue}:{broker.queue}", 0, -1)


def raw_from_rabbitmq(broker, count):
    encoded = []
    for message in take(broker, count):
        encoder = amqp.Message(message.body, **message.properties)
        encoded.append(encoder._serialize_properties() + message.body.encode())
    return encoded


def raw_from_filesystem(broker, count):
    folder = Path(broker.transport_options["data_folder_out"])
    return [path.read_bytes() for path in sorted(folder.glob(f"*.{broker.queue}.msg"))]


def text_of(raw):
    """The message as text, also what kombu encodes."""
    text = raw.decode(errors="replace")
    return text + b64decode(json.loads(text)["body"]).decode() if text.startswith("{") else text


RAW = {"redis": raw_from_redis, "rabbitmq": raw_from_rabbitmq, "filesystem": raw_from_filesystem}


class TestSize:
    def test_message_of_a_saved_file_is_small(self, broker, make_chain, s3_tier):
        make_chain({"near": "disk", "far": s3_tier}).save("long/" + "name" * 40, ContentFile(b"1"))
        (raw,) = raw_messages(broker)
        assert len(raw) < LIMIT

    def test_message_of_the_longest_id_is_small(self, broker, capsys):
        CeleryDispatcher().dispatch([LONG_ID])
        (raw,) = raw_messages(broker)
        assert str(LONG_ID) in text_of(raw)
        assert len(raw) < LIMIT
        with capsys.disabled():
            print(f"\nmessage on {broker.name}: {len(raw)} bytes")

    def test_message_to_a_named_queue_is_small(self, broker, settings):
        settings.QUEUED_STORAGE_QUEUE = broker.queue
        CeleryDispatcher().dispatch([LONG_ID])
        (raw,) = raw_messages(broker)
        assert len(raw) < LIMIT

    def test_further_file_costs_its_id_alone(self, broker):
        CeleryDispatcher().dispatch([LONG_ID])
        CeleryDispatcher().dispatch([LONG_ID + number for number in range(6)])
        one, six = sorted(map(len, raw_messages(broker, 2)))
        assert six - one <= 5 * (len(f"{LONG_ID}, ") * 4 / 3 + 1)


@pytest.fixture
def s3_tier():
    """A tier on a server that nobody asks: it is exclusive, and no worker runs."""
    options = {
        "bucket_name": "secret-bucket", "access_key": "SECRETACCESSKEY", "secret_key": "SECRETSECRETKEY",
        "endpoint_url": "http://127.0.0.1:9",
    }  # fmt: skip
    return {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options, "EXCLUSIVE": True}


class TestContent:
    def test_g10_ids_are_all_that_is_ours(self, broker, make_chain):
        storage = make_chain()
        storage.save("a.txt", ContentFile(b"1"))
        (message,) = take(broker)
        pk = files().get().pk
        body = json.loads(message.body)
        assert body == [[pk], {}, {}]
        assert message.headers.keys() == HEADERS
        assert message.properties.keys() == PROPERTIES[broker.name]

    def test_g10_no_name_option_class_or_secret(self, broker, make_chain, s3_tier):
        storage = make_chain({"near": "disk", "far": s3_tier}, policy="transfer-and-delete")
        storage.save("holiday/beach.jpg", ContentFile(b"1"))
        (raw,) = raw_messages(broker)
        text = text_of(raw)
        for ours in ("beach", "media", "near", "far", "transfer", "storages", "Storage", "SECRET", "secret"):
            assert ours not in text

    def test_g10_host_of_the_sender_is_not_told(self, broker, make_chain):
        make_chain().save("a.txt", ContentFile(b"1"))
        (message,) = take(broker)
        assert "origin" not in message.headers

    def test_no_eta_whatever_the_back_off(self, broker, make_chain, settings):
        settings.QUEUED_STORAGE_RETRY_DELAY = 3600
        make_chain(policy="transfer").save("a.txt", ContentFile(b"1"))
        (message,) = take(broker)
        assert "eta" not in message.headers
        assert "expiration" not in message.properties


class TestBatching:
    def test_one_message_for_the_files_of_a_transaction(self, broker, make_chain):
        storage = make_chain()
        with transaction.atomic():
            for number in range(5):
                storage.save(f"{number}.txt", ContentFile(b"1"))
        (message,) = take(broker)
        assert message.payload[0] == list(files().order_by("pk").values_list("pk", flat=True))

    def test_g7_nothing_is_sent_before_commit_or_after_a_rollback(self, broker, make_chain):
        storage = make_chain()
        with transaction.atomic():
            storage.save("a.txt", ContentFile(b"1"))
            assert broker.take_messages() == []
            transaction.set_rollback(True)
        assert broker.take_messages() == []


class TestWorker:
    def test_worker_understands_the_slim_message(self, broker, make_chain, start_worker):
        storage = make_chain()
        with transaction.atomic():
            names = [storage.save(f"{number}.txt", ContentFile(b"1")) for number in range(3)]
        worker = start_worker()
        worker.wait_for_line(rf"{tasks.RECONCILE}\[.*succeeded")
        assert [storage.state(name) for name in names] == ["settled"] * 3

    def test_worker_with_events_and_time_limits_understands_it(self, broker, make_chain, start_worker_with):
        storage = make_chain()
        name = storage.save("a.txt", ContentFile(b"1"))
        start_worker_with("--task-events", pool="prefork", CELERY_TASK_TIME_LIMIT=60)
        wait_until(lambda: storage.state(name) == "settled", "the file is settled")

    @pytest.mark.parametrize("broker", ["filesystem"], indirect=True)
    def test_g10_forged_ids_do_no_harm(self, broker, make_chain, start_worker):
        storage = make_chain()
        tasks.reconcile.apply_async(args=(999, 1000))
        name = storage.save("a.txt", ContentFile(b"1"))
        start_worker()
        wait_until(lambda: storage.state(name) == "settled", "the file is settled")
        assert files().count() == 1


@pytest.mark.parametrize("broker", ["filesystem"], indirect=True)
class TestOthersStay:
    """What the project itself puts into messages is not ours to take out."""

    @pytest.fixture
    def own_headers(self):
        own = {"x-tenant": 0, "x-empty": None, "x-list": []}

        def add(headers, **kwargs):
            headers.update(own)

        before_task_publish.connect(add, sender=tasks.RECONCILE, weak=False)
        yield own
        before_task_publish.disconnect(add, sender=tasks.RECONCILE)

    def test_headers_of_the_project(self, broker, own_headers):
        tasks.reconcile.apply_async(args=(1,))
        (message,) = take(broker)
        assert own_headers.items() <= message.headers.items()

    def test_stamps(self, broker):
        signature = tasks.reconcile.s(1)
        signature.stamp(tenant="a")
        signature.apply_async()
        (message,) = take(broker)
        assert message.headers["stamps"] == {"tenant": "a"}
        assert message.headers["stamped_headers"] == ["tenant"]

    def test_priority_of_a_route(self, broker, make_chain):
        current_app.conf.task_routes = {"queued_storage.*": {"priority": 7}}
        make_chain().save("a.txt", ContentFile(b"1"))
        (message,) = take(broker)
        assert message.properties["priority"] == 7

    def test_queue_of_a_route(self, broker, make_chain):
        current_app.conf.task_routes = {"queued_storage.*": {"queue": "files"}}
        make_chain().save("a.txt", ContentFile(b"1"))
        assert broker.take_messages() == []
        with broker.connection() as connection, connection.SimpleQueue("files") as queue:
            assert queue.get(timeout=1).headers["task"] == tasks.RECONCILE

    def test_time_limit_of_an_annotation(self, broker):
        tasks.reconcile.apply_async(args=(1,), time_limit=60)
        (message,) = take(broker)
        assert message.headers["timelimit"] == [60, None]

    def test_parent_of_a_message_sent_inside_a_task(self, broker):
        tasks.reconcile.apply_async(args=(1,), root_id="root", parent_id="parent")
        (message,) = take(broker)
        assert (message.headers["root_id"], message.headers["parent_id"]) == ("root", "parent")

    def test_callback(self, broker):
        tasks.reconcile.apply_async(args=(1,), link=tasks.sweep.si())
        (message,) = take(broker)
        assert [callback["task"] for callback in message.payload[2]["callbacks"]] == [tasks.SWEEP]

    def test_receivers_of_the_old_signal_still_work(self, broker, make_chain):
        seen = []

        def note(**facts):
            seen.append(facts["eta"])

        task_sent.connect(note, weak=False)
        try:
            make_chain().save("a.txt", ContentFile(b"1"))
        finally:
            task_sent.disconnect(note)
        assert seen == [None]

    def test_other_tasks_are_left_alone(self, broker):
        current_app.send_task("some.task", [1])
        (message,) = take(broker)
        assert "argsrepr" in message.headers

    def test_message_of_protocol_one_is_understood(self, broker, make_chain, start_worker):
        current_app.conf.task_protocol = 1
        storage = make_chain()
        name = storage.save("a.txt", ContentFile(b"1"))
        start_worker()
        wait_until(lambda: storage.state(name) == "settled", "the file is settled")


@pytest.mark.parametrize("broker", ["filesystem"], indirect=True)
def test_sweep_sends_messages_of_a_bounded_length(broker, make_chain, settings):
    settings.QUEUED_STORAGE_BATCH = 2
    storage = make_chain()
    with transaction.atomic():
        for number in range(5):
            storage.save(f"{number}.txt", ContentFile(b"1"))
    # The filesystem transport names its messages by the millisecond: two of one millisecond come in any order.
    assert sorted(len(ids) for ids in take_ids(broker, 3)) == [1, 2, 2]
    assert dispatch.sweep() == 5
    assert sorted(len(ids) for ids in take_ids(broker, 3)) == [1, 2, 2]
