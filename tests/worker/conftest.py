"""Fixtures of the tests that use real brokers and workers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from celery import current_app

from queued_storage import tasks

from tests.conftest import shared_settings
from tests.support import brokers
from tests.support.relay import Relay, relay_to

if TYPE_CHECKING:
    from tests.support.brokers import Broker
    from tests.support.projects import Project
    from tests.support.workers import Worker


@pytest.fixture
def trust_broker() -> Callable[[], None]:
    """Ask a broker that has just failed again at once, as if DOWN_FOR had passed."""

    def trust() -> None:
        tasks._Broker.rests_until = 0.0

    return trust


@pytest.fixture
def start_worker_with(broker: Broker, _new_project: Callable[..., Project]) -> Callable[..., Worker]:
    """Start a worker as ``start_worker`` does, with further arguments of its command line and settings of its own."""

    def start(*arguments: str, pool: str = "solo", concurrency: int = 1, **changed: Any) -> Worker:
        project = _new_project(**shared_settings() | broker.settings | changed)
        worker: Worker = project.start_worker(pool=pool, concurrency=concurrency, arguments=arguments)
        return worker

    return start


@pytest.fixture
def beat() -> tuple[str, ...]:
    """The arguments that make a worker run Celery beat too.

    With its schedule in memory: the default one keeps it in a file, which Python 3.13 opens as an SQLite database, and
    that does not always survive the fork of the worker ("locking protocol").
    """
    return ("--beat", "--scheduler", "celery.beat:Scheduler")


@pytest.fixture
def relayed(broker: Broker) -> Iterator[Relay]:
    """Put a relay between this process and the broker; workers that are started go to the broker itself."""
    url = urlsplit(broker.url)
    with relay_to(url.port or 0) as relay:
        here = dataclasses.replace(broker, url=broker.url.replace(f":{url.port}", f":{relay.port}"))
        with brokers.current_app(here):
            assert str(relay.port) in current_app.conf.broker_url
            yield relay
