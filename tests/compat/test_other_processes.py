"""Processes that know a declared storage, and those that do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile

from queued_storage import catalog
from queued_storage.backends import QueuedStorage
from queued_storage.batch import drain
from queued_storage.chain import chains
from queued_storage.exceptions import UnknownChain
from queued_storage.storage import TieredStorage

from tests.support.projects import Project

Make = Callable[..., QueuedStorage]


class TestUnknownHere:
    def test_error_says_what_is_missing(self) -> None:
        with pytest.raises(UnknownChain, match="No code that is loaded here declares the storage 'queued-0'"):
            TieredStorage("queued-0").exists("a.txt")

    @pytest.mark.django_db(transaction=True)
    def test_g3_file_of_an_unknown_declaration_stays_pending_however_often_it_is_tried(
        self, make_queued: Make, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.QUEUED_STORAGE_RETRY_DELAY = settings.QUEUED_STORAGE_RETRIES = 0
        storage = make_queued()
        name = storage.save("a.txt", ContentFile(b"1"))
        with monkeypatch.context() as patch:
            patch.setattr(chains, "_declared", {})
            list(drain(limit=5))
        row = catalog.find(storage.alias, name)
        assert row is not None
        assert (row.state, row.attempts) == ("pending", 0)
        assert "No code that is loaded here declares the storage" in row.last_error
        list(drain())
        assert storage.state(name) == "settled"


@pytest.mark.servers
class TestOtherProcesses:
    """A project that saves in one process and moves in another."""

    SAVE = (
        "from django.core.files.base import ContentFile\n"
        "from tests.compat.declared_app.models import Letter\n"
        "print(Letter._meta.get_field('file').storage.save('a.txt', ContentFile(b'1')))"
    )

    @pytest.fixture
    def project(self, make_project: Callable[..., Project], settings: Any, tmp_path: Path) -> Project:
        apps = [*settings.INSTALLED_APPS, "tests.compat.declared_app"]
        media = str(tmp_path / "media")
        return make_project(
            INSTALLED_APPS=apps, MEDIA_ROOT=media, QUEUED_STORAGE_DISPATCHER="tests.compat.tasks.Nobody"
        )

    def test_another_process_finds_the_storage_by_the_loaded_models(
        self, project: Project, tmp_path: Path
    ) -> None:
        project.python(self.SAVE)
        project.manage("tiers", "drain")
        assert (tmp_path / "media/remote/a.txt").read_bytes() == b"1"
        assert not (tmp_path / "media/local/a.txt").exists()

    def test_process_without_the_app_leaves_the_file_and_says_why(
        self, project: Project, settings: Any, tmp_path: Path
    ) -> None:
        project.python(self.SAVE)
        project.configure(INSTALLED_APPS=settings.INSTALLED_APPS)
        project.manage("tiers", "drain", check=False)
        told = project.python(
            "from queued_storage.models import StoredFile; row = StoredFile.objects.get()\n"
            "print(row.state, row.attempts, row.last_error)"
        )
        assert told.startswith("pending 0 ")
        assert "No code that is loaded here declares the storage" in told
        assert (tmp_path / "media/local/a.txt").exists()


@pytest.mark.servers
class TestDefaultStorage:
    """A storage of 0.8 that STORAGES alone names: a process knows its chain that never saved by it."""

    SAVE = (
        "from django.core.files.base import ContentFile\n"
        "from django.core.files.storage import default_storage\n"
        "default_storage.save('a.txt', ContentFile(b'1'))"
    )

    @pytest.fixture
    def project(self, make_project: Callable[..., Project], tmp_path: Path) -> Project:
        options = {
            "remote": "django.core.files.storage.FileSystemStorage",
            "remote_options": {"location": str(tmp_path / "bucket")},
            "task": "queued_storage.tasks.TransferAndDelete",
        }
        backend = "queued_storage.backends.QueuedFileSystemStorage"
        project = make_project(
            MEDIA_ROOT=str(tmp_path / "media"),
            QUEUED_STORAGE_DISPATCHER="tests.compat.tasks.Nobody",
            QUEUED_STORAGE_RETRY_DELAY=0,
            STORAGES={"default": {"BACKEND": backend, "OPTIONS": options}},
        )
        project.python(self.SAVE)
        return project

    def test_is_drained(self, project: Project, tmp_path: Path) -> None:
        assert "worked on: 1, settled: 1" in project.manage("tiers", "drain").stdout
        assert (tmp_path / "bucket/a.txt").read_bytes() == b"1"

    def test_is_counted_and_checked(self, project: Project) -> None:
        assert ": 1 files, 1\xa0byte; policy transfer-and-delete" in project.manage("tiers", "status").stdout
        assert "no issues" in project.manage("check").stdout

    def test_one_that_cannot_be_built_is_left_to_who_uses_it(self, project: Project) -> None:
        broken = {"BACKEND": "queued_storage.backends.QueuedStorage", "OPTIONS": {"nothing": 1}}
        project.configure(STORAGES={**project.settings["STORAGES"], "broken": broken})
        assert "worked on: 1, settled: 1" in project.manage("tiers", "drain").stdout
