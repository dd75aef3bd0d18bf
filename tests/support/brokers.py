"""Message brokers for real workers: each test has a queue of its own, gone when the test ends."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu import Connection, Exchange, Message, Queue

from tests import celery_app
from tests.support import services

NAMES = ("redis", "rabbitmq", "filesystem")


def mostly(name: str) -> pytest.MarkDecorator:
    """Run a test on this broker in ``make test``, and on the others in ``make test-storages``."""
    others = [pytest.param(other, marks=pytest.mark.storages) for other in NAMES if other != name]
    return pytest.mark.parametrize("broker", [name, *others], indirect=True)


@dataclass(frozen=True)
class Broker:
    """A broker that a test may use, and the one queue in it that is the test's own."""

    name: str
    url: str
    queue: str
    transport_options: dict[str, Any] = field(default_factory=dict)
    #: Path of kombu's transport, where it is not the one that the URL names.
    transport: str | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """The CELERY_… Django settings that make a process use this broker and queue."""
        return {
            "CELERY_BROKER_URL": self.url,
            "CELERY_BROKER_TRANSPORT": self.transport,
            "CELERY_BROKER_TRANSPORT_OPTIONS": self.transport_options,
            "CELERY_TASK_DEFAULT_QUEUE": self.queue,
            "CELERY_TASK_DEFAULT_EXCHANGE": self.queue,
            "CELERY_TASK_DEFAULT_ROUTING_KEY": self.queue,
        }

    def connection(self) -> Connection:
        return Connection(self.url, transport=self.transport, transport_options=self.transport_options)

    def declare(self) -> None:
        """Make the queue, just as a Celery app with these settings would."""
        with self.connection() as connection:
            Queue(self.queue, Exchange(self.queue), routing_key=self.queue)(
                connection.default_channel
            ).declare()

    def take_messages(self) -> list[Message]:
        """Take every message that waits in the queue, as it lies there: ``body``, ``headers``, ``properties``."""
        with self.connection() as connection, connection.channel() as channel:
            taken = iter(lambda: channel.basic_get(self.queue, no_ack=True), None)
            return [channel.message_to_python(raw) if not isinstance(raw, Message) else raw for raw in taken]


@contextmanager
def temporary(name: str, folder: Path) -> Iterator[Broker]:
    """Make a broker ready and clean up after it; the test is skipped, or fails, where it cannot be reached."""
    if name != "filesystem":
        services.need(name)
    broker = MAKERS[name](f"queued-storage-test-{uuid.uuid4().hex[:12]}", folder)
    try:
        broker.declare()
        yield broker
    finally:
        REMOVERS[name](broker)


def make_redis(queue: str, folder: Path) -> Broker:
    """The key prefix keeps bindings and replies of different tests apart too."""
    url = f"redis://{services.HOST}:{services.PORTS['redis']}/15"
    return Broker("redis", url, queue, {"global_keyprefix": f"{queue}:"})


def make_rabbitmq(queue: str, folder: Path) -> Broker:
    return Broker("rabbitmq", f"amqp://guest:guest@{services.HOST}:{services.PORTS['rabbitmq']}//", queue)


def make_filesystem(queue: str, folder: Path) -> Broker:
    messages, control = folder / "messages", folder / "control"
    messages.mkdir(parents=True)
    control.mkdir()
    options = {
        "data_folder_in": str(messages),
        "data_folder_out": str(messages),
        "control_folder": str(control),
        "polling_interval": 0.1,
    }
    transport = "tests.support.filesystem_broker:Transport"
    return Broker("filesystem", "filesystem://", queue, options, transport)


def remove_redis(broker: Broker) -> None:
    import redis

    with redis.Redis.from_url(broker.url) as client:
        for key in client.scan_iter(f"{broker.queue}:*"):
            client.delete(key)


def remove_rabbitmq(broker: Broker) -> None:
    with broker.connection() as connection, connection.channel() as channel:
        channel.queue_delete(broker.queue)
        channel.exchange_delete(broker.queue)


def remove_nothing(broker: Broker) -> None:
    """The folder goes with the test's own."""


MAKERS = {"redis": make_redis, "rabbitmq": make_rabbitmq, "filesystem": make_filesystem}
REMOVERS = {"redis": remove_redis, "rabbitmq": remove_rabbitmq, "filesystem": remove_nothing}


@contextmanager
def current_app(broker: Broker) -> Iterator[Celery]:
    """Let this process publish to the broker, in every thread, as a web process would."""
    app = Celery(f"tests-{broker.queue}", set_as_current=False)
    app.config_from_object(app_settings(broker))
    app.set_default()
    app.set_current()
    try:
        yield app
    finally:
        celery_app.app.set_default()
        celery_app.app.set_current()
        app.close()


def app_settings(broker: Broker) -> dict[str, Any]:
    """The settings in the spelling that an app without Django's configuration takes."""
    named = {name.removeprefix("CELERY_").lower(): value for name, value in broker.settings.items()}
    return named | {"task_ignore_result": True}
