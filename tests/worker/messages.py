"""The messages that lie in a broker's queue."""

from __future__ import annotations

from kombu import Message

from tests.support.brokers import Broker
from tests.support.waiting import wait_until


def take(broker: Broker, count: int = 1) -> list[Message]:
    """Take the messages, once so many have come: RabbitMQ does not say when it has one that was sent."""
    taken: list[Message] = []

    def arrived() -> bool:
        taken.extend(broker.take_messages())
        return len(taken) >= count

    wait_until(arrived, f"{count} messages on {broker.name}", timeout=10)
    return taken


def take_ids(broker: Broker, count: int = 1) -> list[list[int]]:
    """Take the messages, and return the ids that each carries."""
    return [list(message.payload[0]) for message in take(broker, count)]
