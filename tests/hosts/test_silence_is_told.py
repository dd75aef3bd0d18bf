"""A host gone silent while work waits for it: what is scraped, and what the health check says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone
from health_check.exceptions import ServiceWarning

from queued_storage.contrib.health import Tiers
from queued_storage.contrib.prometheus import collector
from queued_storage.models import Host, StoredFile

from tests.contrib.test_prometheus import sample, scrape
from tests.hosts.conftest import Hosts

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("queued_storage.contrib.prometheus.urls"),
]


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    yield
    collector._collector.forget()


@pytest.fixture
def silent(hosts: Hosts) -> Hosts:
    """web1 has saved, and nobody has heard of it since; web2 works."""
    hosts.save("web1", "a.txt")
    hosts.save("web2", "b.txt")
    hosts.work("web2")
    long_ago = timezone.now() - timedelta(minutes=10)
    Host.objects.create(name="web1", seen_at=long_ago)
    StoredFile.objects.filter(name="a.txt").update(due_at=long_ago)
    return hosts


def test_scrape_tells_who_is_silent(silent: Hosts) -> None:
    with silent.on("web2"):
        told = scrape()
    assert {host: sample(told, "host_silent", host=host) for host in ("web1", "web2")} == {
        "web1": 1,
        "web2": 0,
    }
    silent.work("web1")
    with silent.on("web2"):
        assert sample(scrape(), "host_silent", host="web1") == 0


def test_scrape_of_shared_disks_tells_of_no_host(hosts: Hosts, make_chain: object) -> None:
    Host.objects.create(name="web1")
    assert not [name for name, _ in scrape() if "host" in name]


def test_health_check_warns_of_a_silent_host(silent: Hosts) -> None:
    with silent.on("web2"):
        with pytest.raises(ServiceWarning) as told:
            Tiers().run()
        assert told.value.message == "host 'web1' gives no sign of life, and 1 wait for it alone"
        with pytest.raises(ServiceWarning):
            Tiers(chain="media").run()
    silent.work("web1")
    with silent.on("web2"):
        Tiers().run()
