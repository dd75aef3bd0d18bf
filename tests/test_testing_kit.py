"""What users' own test suites take from ``queued_storage.testing``; the examples of its page are run here, too."""

from __future__ import annotations

import errno
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.test import TestCase

from queued_storage.signals import file_saved
from queued_storage.testing import (
    FaultyStorage,
    assert_nothing_owed,
    assert_owed,
    faulty,
    owed,
    run_owed_work,
)

from tests.support import clock as clocks
from tests.support import recording

PAGE = Path(__file__).parent.parent / "docs" / "howto" / "testing.rst"


def examples(page: Path) -> dict[str, Any]:
    """Run the page's code, and return what it defines."""
    blocks: list[str] = []
    inside = False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line == ".. code-block:: python":
            inside = True
        elif line and not line.startswith(" "):
            inside = False
        elif inside:
            blocks.append(line)
    namespace: dict[str, Any] = {"__name__": __name__}
    exec(compile(textwrap.dedent("\n".join(blocks)), str(page), "exec"), namespace)  # noqa: S102
    return namespace


# Collected and run as tests of this module.
_on_the_page = examples(PAGE)
MovingTests: type[TestCase] = _on_the_page["MovingTests"]
FailingTests: type[TestCase] = _on_the_page["FailingTests"]


@pytest.fixture(autouse=True)
def _clean(settings: Any) -> Iterator[None]:
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH
    yield
    faulty.forget_all()


@pytest.fixture
def far() -> faulty.Bucket:
    return faulty.bucket("far")


@pytest.fixture
def chain(make_chain: Any) -> Any:
    return make_chain({"near": "disk", "far": faulty.tier("far")}, policy="transfer-and-delete")


def save(storage: Any, content: bytes = b"content", name: str = "a.txt") -> str:
    saved: str = storage.save(name, ContentFile(content))
    return saved


def read(storage: Any, name: str = "a.txt") -> bytes:
    with storage.open(name) as file:
        content: bytes = file.read()
    return content


class TestRunOwedWork:
    """Inside a test case's transaction, which never commits."""

    pytestmark = pytest.mark.django_db

    def test_says_for_how_many_files(self, chain: Any) -> None:
        for name in ("a", "b", "c"):
            save(chain, name=name)
        assert (run_owed_work(limit=2), run_owed_work(), run_owed_work()) == (2, 1, 0)

    def test_delete_clears_the_tiers(self, chain: Any, far: faulty.Bucket, tmp_path: Path) -> None:
        save(chain)
        run_owed_work()
        save(chain, name="b.txt")
        chain.delete("a.txt")
        chain.delete("b.txt")
        run_owed_work()
        assert far.files == {}
        assert not [path for path in (tmp_path / "near").rglob("*") if path.is_file()]
        assert_nothing_owed()

    def test_content_that_replaces_other_content_is_published(
        self, make_chain: Any, far: faulty.Bucket, tmp_path: Path
    ) -> None:
        near = {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(tmp_path / "near"), "allow_overwrite": True},
        }
        chain = make_chain({"near": near, "far": faulty.tier("far")})
        save(chain, b"old")
        run_owed_work()
        save(chain, b"newer")
        assert read(chain) == b"newer"
        run_owed_work()
        assert (read(chain), (tmp_path / "near" / "a.txt").read_bytes()) == (b"newer", b"newer")
        assert far.files == {"a.txt": b"newer"}
        assert_nothing_owed()

    def test_what_ran_may_run_again_at_the_commit(
        self, chain: Any, far: faulty.Bucket, django_capture_on_commit_callbacks: Any
    ) -> None:
        told: list[str] = []

        def receive(name: str, **_: Any) -> None:
            told.append(name)

        file_saved.connect(receive)
        try:
            with django_capture_on_commit_callbacks(execute=True):
                save(chain)
                run_owed_work()
                save(chain, name="gone.txt")
                chain.delete("gone.txt")
                run_owed_work()
                assert told == []
        finally:
            file_saved.disconnect(receive)
        assert told == ["a.txt", "gone.txt"]
        assert far.files == {"a.txt": b"content"}
        assert_nothing_owed()


class TestOwed:
    pytestmark = pytest.mark.django_db

    def test_says_what_the_policy_sees(self, chain: Any) -> None:
        save(chain)
        (each,) = owed()
        assert (each.chain, each.name, each.state, each.tiers) == ("media", "a.txt", "pending", ("near",))
        assert (each.missing, each.surplus, each.stale, each.reason) == (("far",), ("near",), (), "")
        assert owed("media") == [each]
        assert owed("other") == []

    def test_review_is_owed_once_its_time_has_come(self, make_chain: Any, settings: Any) -> None:
        settings.QUEUED_STORAGE_POLICIES = {
            "late": {"BACKEND": "queued_storage.policies.Transfer", "OPTIONS": {"after": 3600}}
        }
        chain = make_chain({"near": "disk", "far": faulty.tier("far")}, policy="late")
        with clocks.stopped() as clock:
            save(chain)
            assert_nothing_owed()
            clock.shift(3601)
            assert assert_owed("a.txt", state="settled", missing=["far"]).due_at is not None

    def test_deleted_file_is_owed_its_clearing(self, chain: Any, far: faulty.Bucket) -> None:
        save(chain)
        run_owed_work()
        far.go_down()
        chain.delete("a.txt")
        run_owed_work()
        each = assert_owed("a.txt", state="deleted")
        assert each.stale == ("far",)
        assert "clear 'far'" in str(each)
        assert "delete refused" in str(each)

    def test_nobody_is_told_to_do_what_another_attempt_is_doing(self, chain: Any, far: faulty.Bucket) -> None:
        save(chain)
        far.on("save", faulty.crash)
        with pytest.raises(faulty.Crash):
            run_owed_work()
        with pytest.raises(AssertionError, match="move the clock there"):
            assert_nothing_owed()


class TestAssertNothingOwed:
    pytestmark = pytest.mark.django_db

    def test_tells_each_file_why_and_what_to_do(self, chain: Any, far: faulty.Bucket, settings: Any) -> None:
        far.on("save", faulty.full)
        save(chain, name="late.txt")
        run_owed_work()
        settings.QUEUED_STORAGE_RETRIES = 0
        save(chain, name="failed.txt")
        run_owed_work()
        save(chain, name="due.txt")
        with pytest.raises(AssertionError) as caught:
            assert_nothing_owed()
        head, due, failed, late = str(caught.value).splitlines()
        assert head == "3 files are owed work:"
        assert due.strip().startswith(
            "media:due.txt is pending: copy to 'far', release from 'near'. It is due: run_owed_work()"
        )
        assert "failed.txt is failed" in failed
        assert "No space left" in failed
        assert "call_command('tiers', 'retry')" in failed
        assert "late.txt is pending" in late
        assert "move the clock there" in late

    def test_looks_at_one_chain(self, chain: Any) -> None:
        save(chain)
        assert_nothing_owed("other")
        with pytest.raises(AssertionError, match="1 file is owed work in chain 'media'"):
            assert_nothing_owed("media")


class TestAssertOwed:
    pytestmark = pytest.mark.django_db

    def test_says_what_differs(self, chain: Any) -> None:
        save(chain)
        assert_owed("a.txt", state="pending", missing=["far"], surplus=("near",))
        with pytest.raises(AssertionError, match=r"missing is \('far',\), not \(\): media:a.txt is pending"):
            assert_owed("a.txt", missing=[])

    def test_says_where_a_settled_file_lies(self, chain: Any) -> None:
        save(chain)
        run_owed_work()
        with pytest.raises(AssertionError, match=r"'a.txt' is owed nothing: it is settled on 'far'\."):
            assert_owed("a.txt")

    def test_says_that_a_file_is_gone(self, chain: Any) -> None:
        save(chain)
        chain.delete("a.txt")
        run_owed_work()
        with pytest.raises(AssertionError, match="it is deleted, and no tier has anything of it"):
            assert_owed("a.txt")

    def test_says_which_names_there_are(self, chain: Any) -> None:
        save(chain)
        with pytest.raises(AssertionError, match=r"does not know it \(it knows 'a.txt'\)"):
            assert_owed("b.txt")

    def test_asks_for_the_chain_where_two_know_the_name(self, chain: Any, make_chain: Any) -> None:
        other = make_chain({"top": "disk", "low": faulty.tier("low")}, alias="other")
        save(chain)
        save(other)
        with pytest.raises(AssertionError, match="say which with chain=: 'media', 'other'"):
            assert_owed("a.txt")
        assert assert_owed("a.txt", chain="other").missing == ("low",)


class TestFaultyStorage:
    def test_faults_end_with_their_block(self) -> None:
        storage, bucket = FaultyStorage(bucket="b"), faulty.bucket("b")
        bucket.on("save", faulty.deny)
        with bucket.failing("save", faulty.full), pytest.raises(OSError, match="No space left") as caught:
            storage.save("a", ContentFile(b"1"))
        assert caught.value.errno == errno.ENOSPC
        with pytest.raises(PermissionError):
            storage.save("a", ContentFile(b"1"))
        bucket.heal()
        assert storage.save("a", ContentFile(b"1")) == "a"

    def test_server_that_is_down_refuses_everything(self) -> None:
        storage = FaultyStorage(bucket="b")
        storage.save("a", ContentFile(b"1"))
        faulty.bucket("b").go_down()
        for call in (storage.open, storage.delete, storage.exists, storage.size, storage.listdir):
            with pytest.raises(ConnectionError):
                call("a")
        with pytest.raises(ConnectionError):
            storage.save("b", ContentFile(b"1"))

    def test_listing_knows_folders(self) -> None:
        storage = FaultyStorage(bucket="b")
        for name in ("a", "x/b", "x/y/c"):
            storage.save(name, ContentFile(b"1"))
        assert storage.listdir("") == (["x"], ["a"])
        assert storage.listdir("x/") == (["y"], ["b"])

    def test_further_options_are_those_of_the_storage_it_stands_for(self) -> None:
        assert FaultyStorage(bucket="b", bucket_name="media", secret_key="x").exists("a") is False

    def test_instance_that_outlives_forget_all_sees_the_new_bucket(self) -> None:
        storage = FaultyStorage(bucket="b")
        storage.save("a", ContentFile(b"1"))
        faulty.forget_all()
        assert faulty.bucket("b").files == {}
        storage.save("b", ContentFile(b"1"))
        assert faulty.bucket("b").files == {"b": b"1"}

    def test_slow_call_waits_as_it_is_told(self) -> None:
        waited: list[str] = []
        faulty.bucket("b").on("save", faulty.slow(lambda: waited.append("once")))
        FaultyStorage(bucket="b").save("a", ContentFile(b"1"))
        assert waited == ["once"]
