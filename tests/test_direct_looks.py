"""Whether an object is there, and its size: what the storage itself says, without its client."""

from __future__ import annotations

import pytest
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError
from django.core.files.base import ContentFile
from django.core.files.storage import InMemoryStorage
from storages.backends.s3 import S3Storage

from queued_storage import direct

from tests.support.servers import S3Server

pytestmark = pytest.mark.servers

#: Of a storage that nobody asks, or that finds no server.
OPTIONS = {
    "bucket_name": "nowhere",
    "access_key": "key",
    "secret_key": "secret",
    "region_name": "us-east-1",
    "client_config": Config(retries={"max_attempts": 0}),
}


@pytest.fixture
def storage(moto_s3: S3Server) -> S3Storage:
    bucket = moto_s3.make_bucket()
    moto_s3.put(bucket, "in/ü 1%.txt", b"content")
    moto_s3.put(bucket, "in/empty", b"")
    return S3Storage(**moto_s3.storage_options(bucket, location="in"))


@pytest.fixture
def asked(storage: S3Storage) -> list[str]:
    """What the storage's own client is asked for."""
    told: list[str] = []
    events = storage.bucket.meta.client.meta.events
    events.register("before-call.s3.*", lambda model, **_: told.append(model.name))
    return told


@pytest.mark.parametrize(("name", "length"), [("ü 1%.txt", 7), ("empty", 0)])
def test_object_that_is_there(storage: S3Storage, asked: list[str], name: str, length: int) -> None:
    assert (direct.exists(storage, name), direct.size(storage, name)) == (True, length)
    assert asked == []
    assert (storage.exists(name), storage.size(name)) == (True, length)


def test_object_that_is_not_there(storage: S3Storage, asked: list[str]) -> None:
    assert direct.exists(storage, "missing") is False
    assert asked == []
    with pytest.raises(FileNotFoundError):
        direct.size(storage, "missing")


def test_answer_that_is_neither_is_the_storages_own(storage: S3Storage) -> None:
    storage.bucket_name = "no-such-bucket"
    assert direct.exists(storage, "a") is storage.exists("a") is False
    refused = S3Storage(**(OPTIONS | {"endpoint_url": "http://127.0.0.1:1"}))
    for ask in (direct.exists, direct.size):
        with pytest.raises(EndpointConnectionError):
            ask(refused, "a")


class Own(S3Storage):
    def exists(self, name: str) -> bool:
        return name == "mine"

    def size(self, name: str) -> int:
        return 42


def test_own_way_of_a_storage_is_respected() -> None:
    own = Own(**OPTIONS)
    assert (direct.exists(own, "mine"), direct.exists(own, "other"), direct.size(own, "mine")) == (
        True,
        False,
        42,
    )


def test_storage_that_has_parameters_asks_itself(moto_s3: S3Server) -> None:
    bucket = moto_s3.make_bucket()
    moto_s3.put(bucket, "a", b"content")
    options = moto_s3.storage_options(bucket, object_parameters={"RequestPayer": "requester"})
    storage = S3Storage(**options)
    told: list[str] = []
    events = storage.bucket.meta.client.meta.events
    events.register("before-call.s3.*", lambda model, **_: told.append(model.name))
    assert (direct.exists(storage, "a"), direct.size(storage, "a")) == (True, 7)
    assert told == ["HeadObject", "HeadObject"]


def test_other_storages_are_asked_themselves() -> None:
    memory = InMemoryStorage()
    memory.save("a", ContentFile(b"content"))
    assert (direct.exists(memory, "a"), direct.exists(memory, "b"), direct.size(memory, "a")) == (
        True,
        False,
        7,
    )
