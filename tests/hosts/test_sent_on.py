"""Stable URLs of files that have not left their host yet, and what is checked of the settings."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core import checks
from django.test import Client
from django.urls import include, path

from tests.hosts.conftest import Hosts
from tests.support import recording

pytestmark = pytest.mark.django_db(transaction=True)

urlpatterns = [path("files/", include("queued_storage.urls"))]
BASES = {"web1": "http://web1.internal:8000", "web2": "http://web2.internal:8000/site/"}


@pytest.fixture
def served(hosts: Hosts, settings: Any) -> Hosts:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = []
    hosts.chain = {"URLS": "stable", "SERVE": "stream"}
    hosts.settings = {"QUEUED_STORAGE_HOSTS": BASES}
    return hosts


def get(hosts: Hosts, host: str, url: str) -> Any:
    with hosts.on(host):
        return Client().get(url)


def test_reader_is_sent_to_the_host_that_has_the_file(served: Hosts) -> None:
    served.save("web1", "a b.txt", b"of web1")
    with served.on("web2") as storage:
        url = storage.url("a b.txt")
    sent_on = get(served, "web2", url)
    assert (sent_on.status_code, sent_on["Cache-Control"]) == (302, "no-store")
    assert sent_on["Location"] == f"http://web1.internal:8000{url}?sent_by=web2"
    there = urlsplit(sent_on["Location"])
    answer = get(served, "web1", f"{there.path}?{there.query}")
    assert (answer.status_code, b"".join(answer)) == (200, b"of web1")


def test_link_keeps_its_signature(served: Hosts) -> None:
    served.chain |= {"PRIVATE": True}
    served.save("web1", "a.txt", b"secret")
    with served.on("web2") as storage:
        url = storage.url("a.txt")
    assert get(served, "web2", url.partition("?")[0]).status_code == 403
    there = urlsplit(get(served, "web2", url)["Location"])
    answer = get(served, "web1", f"{there.path}?{there.query}")
    assert (answer.status_code, b"".join(answer)) == (200, b"secret")


def test_nobody_is_sent_on_twice(served: Hosts) -> None:
    served.save("web1", "a.txt")
    answer = get(served, "web2", "/files/media/a.txt?sent_by=web3")
    assert (answer.status_code, answer["Retry-After"]) == (503, "30")


def test_host_without_a_url_has_to_be_waited_for(served: Hosts) -> None:
    served.save("web3", "a.txt")
    assert get(served, "web2", "/files/media/a.txt").status_code == 503
    served.work("web3")
    answer = get(served, "web2", "/files/media/a.txt")
    assert (answer.status_code, b"".join(answer)) == (200, b"content")


def test_redirecting_chain_sends_on_too(served: Hosts) -> None:
    served.chain |= {"SERVE": "redirect"}
    served.save("web2", "a.txt")
    assert get(served, "web1", "/files/media/a.txt")["Location"] == (
        "http://web2.internal:8000/site/files/media/a.txt?sent_by=web1"
    )
    assert get(served, "web2", "/files/media/a.txt")["Location"] == "/media/a.txt"


# ---- checks ----


def found(hosts: Hosts, host: str = "web1") -> list[str]:
    with hosts.on(host):
        return [
            str(each.msg) for each in checks.run_checks(tags=["queued_storage"]) if each.id.endswith("W008")
        ]


@pytest.mark.parametrize(
    ("name", "is_told"),
    [
        ("web1", False),
        ("4f1c0b2d9a7e", True),
        ("web-5d4f8c7b9d-x2x9z", True),
        ("web-0", False),
        ("localhost", True),
    ],
)
def test_name_that_does_not_last_is_told(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, name: str, is_told: bool
) -> None:
    hosts.settings = {"QUEUED_STORAGE_DISPATCHER": "queued_storage.dispatch.CeleryDispatcher"}
    monkeypatch.setattr("socket.gethostname", lambda: name)
    with hosts.on("web1"):
        from django.conf import settings

        settings.QUEUED_STORAGE_HOST = None
        told = [each.msg for each in checks.run_checks(tags=["queued_storage"]) if each.id.endswith("W008")]
    assert [name in each for each in told] == [True] * is_told


def test_dispatcher_that_knows_no_hosts_is_told(hosts: Hosts) -> None:
    assert ["dispatch_to" in each for each in found(hosts)] == [True]
    assert recording.PATH


def test_storage_that_is_no_disk_is_told(hosts: Hosts) -> None:
    hosts.settings = {"QUEUED_STORAGE_DISPATCHER": "queued_storage.dispatch.CeleryDispatcher"}
    hosts.disk = {"BACKEND": "tests.support.storages.SharedMemoryStorage", "OPTIONS": {}}
    assert ["no" in each and "disk" in each for each in found(hosts)] == [True]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("HOST", "web 1"),
        ("HOSTS", {"web1": "web1.internal"}),
        ("HOSTS", {"web 1": "http://a"}),
        ("HOST_SILENT", 0),
    ],
)
def test_setting_that_cannot_be_used_is_told(settings: Any, setting: str, value: Any) -> None:
    setattr(settings, f"QUEUED_STORAGE_{setting}", value)
    (error,) = (each for each in checks.run_checks(tags=["queued_storage"]) if each.id.endswith("E006"))
    assert str(error.msg).startswith(f"QUEUED_STORAGE_{setting}")
