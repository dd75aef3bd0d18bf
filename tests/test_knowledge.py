"""What is known of backends: found by their class, without their libraries; a project can tell of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, InMemoryStorage, Storage

from queued_storage import knowledge, traits
from queued_storage.amended import amended
from queued_storage.knowledge import Backend
from queued_storage.knowledge.base import forget
from queued_storage.testing import run_owed_work

PATH = f"{__name__}.OwnStorage"


class NothingThere(Exception):
    """How the project's storage says that a file is missing."""


class Away(Exception):
    pass


class Full(Exception):
    pass


class Forbidden(Exception):
    pass


class OwnStorage(InMemoryStorage):
    def size(self, name: str) -> int:
        if not super().exists(name):
            raise NothingThere(name)
        return super().size(name)

    def deleted(self) -> str:
        return "by the class"


class Subclass(OwnStorage):
    def size(self, name: str) -> int:
        return -1


@pytest.fixture
def own() -> Iterator[Backend]:
    """A backend that a project registers."""
    known = knowledge.register(
        Backend(
            path=PATH,
            missing={f"{__name__}.NothingThere": knowledge.always},
            outage={f"{__name__}.Away": knowledge.always},
            permanent={f"{__name__}.Forbidden": lambda error: "for good" in str(error)},
            capacity={f"{__name__}.Full": knowledge.always},
            is_one_store=True,
            overwriting=("overwrite", True),
            amendments={"size": lambda self, name: 42},
        )
    )
    yield known
    forget(known)


def test_class_that_nobody_knows_gets_what_is_safe() -> None:
    known = knowledge.known(OwnStorage)
    assert known.path.endswith("InMemoryStorage")  # by its base
    stranger = knowledge.known(Storage)
    assert stranger == Backend(path="")
    assert not any([stranger.opens_eagerly, stranger.publishes_at_once, stranger.is_one_store])
    assert stranger.overwriting is None


def test_subclass_is_known_by_the_nearest_of_its_bases(own: Backend) -> None:
    assert knowledge.known(Subclass) is own
    assert knowledge.known(Subclass()) is own


def test_errors_mean_what_the_project_says(own: Backend) -> None:
    assert traits.is_missing(NothingThere())
    assert traits.is_outage(Away())
    assert traits.is_capacity(Full())
    assert traits.is_permanent(Forbidden("for good"))
    assert not traits.is_permanent(Forbidden("for now"))


def test_errors_mean_nothing_once_nobody_tells(own: Backend) -> None:
    knowledge.register(Backend(path=PATH))
    assert not traits.is_missing(NothingThere())


def test_amendment_is_used_in_place_of_the_class_s_own_method(own: Backend) -> None:
    assert amended(OwnStorage)().size("a.txt") == 42
    assert amended(OwnStorage)().deleted() == "by the class"


def test_subclass_with_a_method_of_its_own_is_respected(own: Backend) -> None:
    assert amended(Subclass)().size("a.txt") == -1


@pytest.mark.django_db(transaction=True)
def test_tier_of_the_project_s_own_backend_is_used_as_it_says(own: Backend, make_chain: Any) -> None:
    knowledge.register(Backend(path=PATH, missing=own.missing, is_one_store=True))
    storage = make_chain({"disk": "disk", "own": {"BACKEND": PATH}}, policy="transfer-and-delete")
    name = storage.save("a.txt", ContentFile(b"content"))
    run_owed_work()
    assert storage.tiers(name) == ["own"]
    storage.chain["own"].storage.delete(name)
    with pytest.raises(FileNotFoundError):
        storage.chain["own"].storage.open(name)
    with pytest.raises(FileNotFoundError):
        make_chain({"disk": "disk", "own": {"BACKEND": PATH}}, policy=None, alias="plain").size("b.txt")


def test_library_of_no_backend_is_imported_for_its_facts() -> None:
    code = (
        "import sys; from queued_storage import knowledge;"
        "loaded = {each.partition('.')[0] for each in sys.modules};"
        "print(sorted(loaded & {'azure', 'boto3', 'botocore', 'dropbox', 'google', 'libcloud', 'paramiko', 'pymongo',"
        " 'requests', 'swiftclient', 'swift', 'opendal'}))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("storage", [FileSystemStorage, InMemoryStorage])
def test_django_s_own_are_known_by_the_paths_that_settings_hold(storage: type[Storage]) -> None:
    assert knowledge.known_by_path(f"django.core.files.storage.{storage.__name__}") is knowledge.known(
        storage
    )


def test_every_backend_s_facts_are_whole() -> None:
    for backend in knowledge.registered():
        for paths in (backend.missing, backend.outage, backend.permanent, backend.capacity):
            assert all("." in path for path in paths), backend.path
