"""Copies by the project's own code: what it may do, and what the engine makes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import Storage

from queued_storage import catalog
from queued_storage.backends import QueuedStorage
from queued_storage.exceptions import ConfigurationError
from queued_storage.models import StoredFile
from queued_storage.policies import Delayed, Delegated, get_policy

from tests.compat import tasks

Make = Callable[..., QueuedStorage]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("inline")]


def saved(storage: QueuedStorage, content: bytes = b"content") -> StoredFile:
    row = catalog.find(storage.alias, storage.save("a.txt", ContentFile(content)))
    assert row is not None
    return row


def read(storage: Storage, name: str) -> bytes:
    with storage.open(name) as file:
        return file.read()


def label(value: object) -> str:
    """A test's id is the same in every process: no address of an object belongs in it."""
    if isinstance(value, str | list):
        return str(value)
    return getattr(value, "__name__", f"{type(value).__name__}()")


@pytest.mark.parametrize(
    ("task", "tiers"),
    [
        ("queued_storage.tasks.Transfer", ["local", "remote"]),
        ("queued_storage.tasks.TransferAndDelete", ["remote"]),
        ("tests.compat.tasks.copy", ["local", "remote"]),
        (tasks.copy, ["local", "remote"]),
        (tasks.Noting, ["remote"]),
        (tasks.Noting(), ["remote"]),
        (tasks.ByPath, ["local", "remote"]),
    ],
    ids=label,
)
def test_task_says_where_the_file_ends(
    make_queued: Make, tmp_path: Path, task: Any, tiers: list[str]
) -> None:
    row = saved(make_queued(task=task))
    assert (row.state, row.tiers) == ("settled", tiers)
    assert (tmp_path / "remote" / row.name).read_bytes() == b"content"
    assert (tmp_path / "local" / row.name).exists() == ("local" in tiers)


def test_result_of_the_extended_task_is_true(make_queued: Make) -> None:
    row = saved(make_queued(task=tasks.Noting))
    assert tasks.Noting.notes == [(row.name, True)]


def test_copy_by_task_is_digested_and_dated_like_any(make_queued: Make) -> None:
    row = saved(make_queued(task=tasks.Noting))
    assert len(row.digest) == 64
    assert row.modified_at is not None


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (tasks.Shortening, "tier 'remote' holds 6 of 7 bytes"),
        (tasks.Shouting, "tier 'remote' holds other content than was sent to it"),
        (tasks.DeletesFirst, "tier 'remote' does not hold the file"),
        (tasks.refuse, "tests.compat.tasks.refuse returned False for 'a.txt'"),
        ("tests.compat.tasks.missing", "task 'tests.compat.tasks.missing' cannot be imported"),
        ("django.VERSION", "neither a function (name, local, remote) nor a class with such a transfer()"),
    ],
    ids=label,
)
def test_g3_what_a_task_did_not_do_is_told_and_tried_again(make_queued: Make, task: Any, reason: str) -> None:
    row = saved(make_queued(task=task))
    assert row.state == "pending"
    assert reason in row.last_error
    assert row.tiers == ["local"]


def test_g2_task_that_deletes_before_it_copied_loses_nothing(make_queued: Make) -> None:
    storage = make_queued(task=tasks.DeletesFirst)
    row = saved(storage)
    assert read(storage, row.name) == b"content"


def test_g2_task_that_leaves_older_content_of_the_same_length_loses_nothing(make_queued: Make) -> None:
    storage = make_queued(task=tasks.OncePerName)
    row = saved(storage, b"version 1")
    assert row.tiers == ["remote"]
    with storage.open(row.name, "wb") as file:
        file.write(b"version 2")
    assert storage.state(row.name) == "pending"
    assert (storage.tiers(row.name), read(storage, row.name)) == (["local"], b"version 2")


def test_task_saves_over_what_an_unknown_hand_left_by_that_name(make_queued: Make, tmp_path: Path) -> None:
    storage = make_queued(task=tasks.copy, delayed=True)
    row = saved(storage)
    storage.remote.save(row.name, ContentFile(b"another"))
    storage.transfer(row.name)
    assert storage.state(row.name) == "settled"
    assert [path.name for path in (tmp_path / "remote").iterdir()] == ["a.txt"]
    assert read(storage.remote, row.name) == b"content"


def test_remote_that_renames_is_not_believed(make_queued: Make) -> None:
    row = saved(make_queued(task=tasks.copy, remote="tests.compat.storages.Renaming"))
    assert row.state == "failed"
    assert "saves under another name" in row.last_error


def test_g9_content_type_reaches_the_task(make_queued: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(
        tasks, "refuse", lambda name, local, remote: seen.append(local.open(name).content_type)
    )
    upload = ContentFile(b"content")
    upload.content_type = "image/png"  # type: ignore[attr-defined]
    make_queued(task="tests.compat.tasks.refuse").save("a", upload)
    assert seen == ["image/png"]


def test_settled_file_is_left_alone(make_queued: Make) -> None:
    storage = make_queued(task=tasks.Noting)
    row = saved(storage)
    storage.transfer(row.name)
    assert len(tasks.Noting.notes) == 1


@pytest.mark.parametrize(
    ("name", "kind", "copier"),
    [
        ("task:app.tasks.Move", Delegated, "app.tasks.Move"),
        ("delayed:transfer-and-delete", Delayed, None),
        ("delayed:task:app.tasks.Move", Delayed, "app.tasks.Move"),
    ],
)
def test_policy_name_holds_its_one_option(name: str, kind: type, copier: str | None) -> None:
    policy = get_policy(name)
    assert isinstance(policy, kind)
    assert policy.copier == copier


def test_task_that_no_worker_could_import_is_refused(make_queued: Make) -> None:
    with pytest.raises(ConfigurationError, match="Define it in a module"):
        make_queued(task=lambda name, local, remote: None)


class Configured(tasks.Noting):
    """Is given what to do when it is made."""

    def __init__(self, bucket: str = "") -> None:
        self.bucket = bucket


class Needing(tasks.Noting):
    def __init__(self, bucket: str) -> None:
        self.bucket = bucket


@pytest.mark.parametrize("task", [Configured("a"), Needing("a")], ids=label)
def test_task_with_arguments_that_a_worker_would_not_give_is_refused(make_queued: Make, task: Any) -> None:
    with pytest.raises(ConfigurationError, match="Write a subclass that has"):
        make_queued(task=task)


def test_instance_that_a_worker_makes_alike_is_taken(make_queued: Make) -> None:
    assert saved(make_queued(task=Configured())).tiers == ["remote"]


def test_g3_class_that_a_worker_cannot_make_is_told(make_queued: Make) -> None:
    row = saved(make_queued(task=Needing))
    assert (row.state, row.tiers) == ("pending", ["local"])
    assert "a worker cannot make Needing(), without arguments" in row.last_error
