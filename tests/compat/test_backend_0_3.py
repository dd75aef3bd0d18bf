"""The names of 0.3: each warns, says what to write, and does what its successor does."""

from __future__ import annotations

import importlib
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage

from queued_storage import backend
from queued_storage import storage as storage_module
from queued_storage.backends import FILE_SYSTEM, QueuedStorage
from queued_storage.fields import QueuedFieldFile, QueuedFileField
from queued_storage.tasks import Transfer, TransferAndDelete


def folders(tmp_path: Path) -> dict[str, Any]:
    return {
        "local_kwargs": {"location": str(tmp_path / "a")},
        "remote_kwargs": {"location": str(tmp_path / "b")},
    }


@pytest.mark.parametrize(
    ("name", "given", "instead"),
    [
        ("QueuedRemoteStorage", (FILE_SYSTEM, FILE_SYSTEM), "QueuedStorage"),
        ("DoubleFilesystemStorage", (), "QueuedFileSystemStorage"),
        ("S3Storage", (), "QueuedS3BotoStorage"),
        ("DelayedStorage", (FILE_SYSTEM, FILE_SYSTEM), r"QueuedStorage\(delayed=True\)"),
    ],
)
def test_class_warns_of_its_successor(name: str, given: tuple[str, ...], instead: str) -> None:
    with pytest.warns(
        DeprecationWarning, match=rf"queued_storage\.backends\.{instead}.* instead of {name}"
    ) as told:
        storage = getattr(backend, name)(*given)
    assert isinstance(storage, QueuedStorage)
    assert told[0].filename == __file__


class Mine(backend.DoubleFilesystemStorage):
    """A project's own class on a deprecated one."""


def test_own_subclass_is_told_of_the_class_that_it_extends() -> None:
    with pytest.warns(DeprecationWarning, match="instead of DoubleFilesystemStorage") as told:
        Mine()
    assert told[0].filename == __file__


@pytest.mark.parametrize(
    "name", ["QueuedRemoteStorage", "DoubleFilesystemStorage", "S3Storage", "DelayedStorage"]
)
def test_storage_module_has_the_names_of_the_documentation(name: str) -> None:
    with pytest.warns(
        DeprecationWarning, match=r"Import queued_storage\.backends\.Queued\w+ instead"
    ) as told:
        assert getattr(storage_module, name) is getattr(backend, name)
    assert told[0].filename == __file__


@pytest.mark.parametrize(
    "line",
    [
        "from queued_storage.storage import QueuedRemoteStorage",
        "from queued_storage.backend import Transfer",
        "from queued_storage.fields import RemoteFileField",
        "import queued_storage.backend; queued_storage.backend.S3Storage()",
    ],
)
def test_warning_points_at_the_line_of_the_project(line: str, tmp_path: Path) -> None:
    module = tmp_path / "project.py"
    module.write_text(f"import os\n{line}\n")
    with pytest.warns(DeprecationWarning, match="queued_storage") as told:
        runpy.run_path(str(module))
    assert [(each.filename, each.lineno) for each in told] == [(str(module), 2)]


@pytest.mark.parametrize(
    ("module", "name", "now"),
    [
        ("queued_storage.fields", "RemoteFieldFile", QueuedFieldFile),
        ("queued_storage.backend", "Transfer", Transfer),
        ("queued_storage.backend", "RemoteFileField", QueuedFileField),
        ("queued_storage.fields", "RemoteFileField", QueuedFileField),
        ("queued_storage.backend", "TransferAndDelete", TransferAndDelete),
    ],
)
def test_name_that_moved_warns(module: str, name: str, now: type) -> None:
    with pytest.deprecated_call():
        assert getattr(importlib.import_module(module), name) is now


@pytest.mark.parametrize(
    "module", ["queued_storage.backend", "queued_storage.fields", "queued_storage.storage"]
)
def test_unknown_name_is_none(module: str) -> None:
    assert not hasattr(importlib.import_module(module), "Nothing")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
class TestStorage:
    @pytest.mark.parametrize(
        "given",
        [
            {"local": FILE_SYSTEM, "remote": FILE_SYSTEM},
            {"local_class": FILE_SYSTEM, "remote_class": FILE_SYSTEM},
            {"local_class": FileSystemStorage, "remote_class": FileSystemStorage},
        ],
    )
    def test_both_spellings_of_arguments(self, given: dict[str, Any], tmp_path: Path) -> None:
        storage = backend.QueuedRemoteStorage(**given, **folders(tmp_path))
        assert (storage.local.location, storage.remote.location) == (str(tmp_path / "a"), str(tmp_path / "b"))

    @pytest.mark.parametrize("disk", [FILE_SYSTEM, FileSystemStorage])
    def test_positional_options_of_the_storages(self, disk: Any, tmp_path: Path) -> None:
        storage = backend.QueuedRemoteStorage(
            disk, disk, local_args=(str(tmp_path / "a"), "/a/"), remote_args=[str(tmp_path / "b")]
        )
        assert (storage.local.location, storage.local.base_url) == (str(tmp_path / "a"), "/a/")
        assert storage.remote.location == str(tmp_path / "b")

    def test_positional_options_are_those_by_name(self, tmp_path: Path) -> None:
        by_place = backend.DoubleFilesystemStorage(local_args=(str(tmp_path / "a"),), remote_args=("/b",))
        by_name = backend.DoubleFilesystemStorage(
            local_kwargs={"location": str(tmp_path / "a")}, remote_kwargs={"location": "/b"}
        )
        assert by_place.alias == by_name.alias

    def test_positional_options_of_a_storage_that_takes_none(self) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"S3Storage takes 0 positional .* local_options"):
            backend.S3Storage(remote_args=("bucket",))

    def test_positional_options_of_a_class_that_is_gone(self) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"S3Storage takes 0 positional .* local_options"):
            backend.QueuedRemoteStorage(
                FILE_SYSTEM, "storages.backends.s3boto.S3BotoStorage", remote_args=("private", "media")
            )
        with pytest.raises(ImproperlyConfigured, match=r"HashPathStorage' cannot be imported: .* upload_to"):
            backend.QueuedRemoteStorage(
                FILE_SYSTEM, "storages.backends.hashpath.HashPathStorage", remote_args=("media",)
            )

    def test_every_argument_by_its_place(self, tmp_path: Path) -> None:
        a, b = (str(tmp_path / name) for name in "ab")
        storage = backend.QueuedRemoteStorage(
            FILE_SYSTEM,
            FILE_SYSTEM,
            "prefix_",
            TransferAndDelete,
            (a,),
            {"base_url": "/a/"},
            (),
            {"location": b},
        )
        assert storage.get_cache_key("a b.txt") == "prefix_a%20b.txt"
        assert storage.task is TransferAndDelete
        assert (storage.local.location, storage.local.base_url, storage.remote.location) == (a, "/a/", b)

    def test_migration_does_not_depend_on_it(self) -> None:
        assert backend.S3Storage().deconstruct()[0] == "queued_storage.storage.TieredStorage"

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.usefixtures("inline")
    @pytest.mark.parametrize("task", [TransferAndDelete, TransferAndDelete()], ids=["class", "instance"])
    def test_task_class_and_instance(self, task: Any, tmp_path: Path) -> None:
        storage = backend.DoubleFilesystemStorage(task=task, **folders(tmp_path))
        assert storage.tiers(storage.save("a.txt", ContentFile(b"1"))) == ["remote"]

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.usefixtures("inline")
    @pytest.mark.parametrize("method", ["transfer", "upload"])
    def test_delayed_storage_moves_when_asked(self, method: str, tmp_path: Path) -> None:
        storage = backend.DelayedStorage(FILE_SYSTEM, FILE_SYSTEM, **folders(tmp_path))
        name = storage.save("a.txt", ContentFile(b"1"))
        assert storage.tiers(name) == ["local"]
        ask: Callable[[str], Any] = getattr(storage, method)
        ask(name)
        assert storage.tiers(name) == ["local", "remote"]
