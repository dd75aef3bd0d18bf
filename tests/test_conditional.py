"""A late write is refused by the S3 server itself: G6 without any clock."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from django.core.files.base import ContentFile, File

from queued_storage import conditional, copying, traits
from queued_storage.batch import drain
from queued_storage.chain import Chain, chains
from queued_storage.exceptions import LeaseLost
from queued_storage.storage import TieredStorage

from tests.support.servers import S3Server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.servers]

OLD, NEW = b"old " * 1000, b"new " * 1000
LARGE = 9 << 20  # sent in parts


@pytest.fixture
def bucket(s3: S3Server) -> str:
    return s3.make_bucket()


@pytest.fixture
def storage(s3: S3Server, bucket: str, make_chain: Callable[..., TieredStorage]) -> Any:
    make_chain({"near": "disk", "far": s3.tier(bucket)})
    return far().storage


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    conditional._without_conditions.clear()


def far() -> Any:
    chain: Chain = chains["media"]
    return chain["far"]


def upload(content: bytes = NEW) -> Callable[[], File[bytes]]:
    return lambda: File(io.BytesIO(content), name="a.txt")


@pytest.fixture(params=[True, False], ids=["fast", "slow"])
def fast(request: pytest.FixtureRequest, settings: Any) -> None:
    settings.QUEUED_STORAGE_FAST_PATHS = request.param


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("filling", [1, LARGE // len(NEW)], ids=["one-request", "in-parts"])
class TestSave:
    def test_free_name(self, storage, s3, bucket, filling):
        assert conditional.save(storage, "a.txt", upload(NEW * filling), None).name == "a.txt"
        assert s3.read(bucket, "a.txt") == NEW * filling

    def test_g6_name_that_was_free_is_taken_now(self, storage, s3, bucket, filling):
        storage.save("a.txt", ContentFile(OLD))
        with pytest.raises(conditional.Changed):
            conditional.save(storage, "a.txt", upload(NEW * filling), None)
        assert s3.read(bucket, "a.txt") == OLD

    def test_what_was_seen_is_replaced(self, storage, s3, bucket, filling):
        storage.save("a.txt", ContentFile(OLD))
        seen = conditional.look(storage, "a.txt")
        assert conditional.save(storage, "a.txt", upload(NEW * filling), seen).name == "a.txt"
        assert s3.read(bucket, "a.txt") == NEW * filling

    def test_g6_something_else_is_there_now(self, request, storage, s3, bucket, filling):
        if filling > 1 and "moto_s3" in request.node.callspec.id:
            pytest.skip("moto looks at If-Match for one request alone, not for an upload in parts")
        storage.save("a.txt", ContentFile(b"oldest"))
        seen = conditional.look(storage, "a.txt")
        traits.with_option(storage, "file_overwrite", True).save("a.txt", ContentFile(OLD))
        with pytest.raises(conditional.Changed):
            conditional.save(storage, "a.txt", upload(NEW * filling), seen)
        assert s3.read(bucket, "a.txt") == OLD
        assert not s3.client.list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_condition_ends_with_its_save(storage, s3, bucket):
    conditional.save(storage, "a.txt", upload(OLD), None)
    traits.with_option(storage, "file_overwrite", True).save("a.txt", ContentFile(NEW))
    assert s3.read(bucket, "a.txt") == NEW


def test_nothing_is_seen_where_nothing_is(storage):
    assert conditional.look(storage, "a.txt") is None


@pytest.mark.parametrize("code", ["NotImplemented", "InvalidArgument"])
def test_server_that_knows_no_conditions(storage, s3, bucket, code, settings):
    """Some S3-compatible servers refuse the header: they are written to without, and not asked again."""
    settings.QUEUED_STORAGE_FAST_PATHS = False  # the refusal is the client's to tell
    refused = []

    def refuse(http_response: Any, parsed: dict[str, Any], model: Any, **_: Any) -> None:
        if not refused:
            refused.append(model.name)
            parsed["Error"], parsed["ResponseMetadata"]["HTTPStatusCode"] = {"Code": code}, 501
            http_response.status_code = 501

    conditions = []

    def see(params: dict[str, Any], **_: Any) -> None:
        conditions.append("If-None-Match" in params["headers"])

    events = storage.bucket.meta.client.meta.events
    events.register("after-call.s3.PutObject", refuse)
    events.register_last("before-call.s3.PutObject", see)
    for name in ("a.txt", "b.txt"):
        assert conditional.save(storage, name, upload(), None).name == name
        assert s3.read(bucket, name) == NEW
    assert refused == ["PutObject"]
    # Other refusals may be about this one file, so the next is tried with a condition again.
    assert conditions == [True, False, code != "NotImplemented"]


@pytest.mark.parametrize("s3", ["moto_s3"], indirect=True)  # SeaweedFS makes the bucket
def test_other_errors_are_told(storage):
    missing = traits.with_option(storage, "bucket_name", "no-such-bucket")
    missing._bucket = None
    with pytest.raises(ClientError):
        conditional.save(missing, "a.txt", upload(), None)


class TestCopy:
    """The engine's copies use it."""

    @pytest.fixture
    def tiered(
        self, storage: Any, make_chain: Callable[..., TieredStorage], s3: S3Server, bucket: str
    ) -> Any:
        return make_chain({"near": "disk", "far": s3.tier(bucket)}, policy="transfer-and-delete")

    def test_unknown_object_of_the_name_is_replaced(self, tiered, s3, bucket, settings, tmp_path):
        media = settings.QUEUED_STORAGE_TIERS["media"]
        settings.QUEUED_STORAGE_TIERS = {
            "media": media | {"TIERS": media["TIERS"] | {"far": media["TIERS"]["far"] | {"EXCLUSIVE": True}}}
        }
        s3.client.put_object(Bucket=bucket, Key="a.txt", Body=OLD)
        assert tiered.save("a.txt", ContentFile(NEW)) == "a.txt"
        list(drain())
        assert s3.read(bucket, "a.txt") == NEW
        assert tiered.tiers("a.txt") == ["far"]

    @pytest.mark.parametrize("old_was_there", [False, True])
    def test_g6_worker_paused_before_its_request_comes_too_late_for_ever(
        self, tiered, s3, bucket, old_was_there
    ):
        """Not even the last look at the catalog saves who is paused right after it; the server does."""
        source, destination = chains["media"]["near"], chains["media"]["far"]
        source.storage.save("a.txt", ContentFile(OLD))
        if old_was_there:
            s3.client.put_object(Bucket=bucket, Key="a.txt", Body=b"older")
        looks = []

        def publishing() -> Any:
            looks.append(None)
            if len(looks) > 1:
                raise LeaseLost("it was replaced meanwhile")
            s3.client.put_object(Bucket=bucket, Key="a.txt", Body=NEW)  # by who took over, hours ago
            return io.BytesIO()

        with pytest.raises(LeaseLost):
            copying.copy(
                source, destination, copying.Content("a.txt"), replace=old_was_there, publishing=publishing
            )
        assert s3.read(bucket, "a.txt") == NEW
