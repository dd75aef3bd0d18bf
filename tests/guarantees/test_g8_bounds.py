"""G8 where everything that a save or delete waits for is silent at once: together the waits keep to one DEADLINE."""

from __future__ import annotations

import pytest
from django.core.files.base import ContentFile

from tests.support import remote
from tests.support.waiting import within

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.servers,
    pytest.mark.parametrize("broker", ["redis"], indirect=True),
]
#: Longer than the default, so that what a busy machine adds is small beside it: added up, the waits would be 2 s.
DEADLINE = 1.5
BOUND = DEADLINE + 0.3


@pytest.fixture
def all_silent(relayed, make_chain, trust_broker, settings):
    """A chain whose three lower tiers, and whose broker, take calls and never answer."""
    settings.QUEUED_STORAGE_DEADLINE = DEADLINE
    hosts = ["one", "two", "three"]
    lower = {host: {"BACKEND": remote.PATH, "OPTIONS": {"host": host}} for host in hosts}
    chain = make_chain({"near": "disk", **lower}, policy="transfer-and-delete")
    servers = [remote.RemoteStorage.servers.setdefault(host, remote.Server()) for host in hosts]
    chain.save("before.txt", ContentFile(b"content"))
    for server in servers:
        server.answers.clear()
    relayed.be_silent()
    trust_broker()
    yield chain
    for server in servers:
        server.answers.set()
    remote.RemoteStorage.servers.clear()


def test_g8_save(all_silent):
    with within(BOUND, "save()"):
        all_silent.save("a.txt", ContentFile(b"content"))


def test_g8_delete_of_a_known_file(all_silent):
    with within(BOUND, "delete()"):
        all_silent.delete("before.txt")
    assert not all_silent.exists("before.txt")


def test_g8_delete_of_a_name_that_nobody_knows(all_silent):
    with within(BOUND, "delete()"):
        all_silent.delete("unknown.txt")


def test_g8_read_of_the_first_tier(all_silent):
    with within(DEADLINE / 5, "size()"):
        all_silent.size("before.txt")
