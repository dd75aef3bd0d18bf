"""The names of the contract are there, spelled so; and the migrations say what the models say."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module, resources
from inspect import signature
from typing import Any

import pytest
from django.core.files.storage import Storage
from django.core.management import call_command
from django.dispatch import Signal

from queued_storage.fields import QueuedFieldFile, QueuedFileField, QueuedImageField, QueuedImageFieldFile
from queued_storage.policies import Policy
from queued_storage.storage import TieredStorage

PUBLIC = {
    "queued_storage.storage": ["TieredStorage", "tiered_storages"],
    "queued_storage.fields": [
        "QueuedFileField",
        "QueuedImageField",
        "QueuedFieldFile",
        "QueuedImageFieldFile",
    ],
    "queued_storage.policies": ["Policy", "Placement", "Transfer", "TransferAndDelete", "Delayed"],
    "queued_storage.models": ["StoredFile"],
    "queued_storage.signals": [
        "file_saved",
        "file_transferred",
        "transfer_failed",
        "file_released",
        "file_deleted",
    ],
    "queued_storage.dispatch": ["CeleryDispatcher", "ImmediateDispatcher", "TasksDispatcher"],
    "queued_storage.tasks": ["Transfer", "TransferAndDelete"],
    "queued_storage.backends": ["QueuedStorage", "FallbackStorage"],
    "queued_storage.exceptions": ["QueuedStorageError"],
    "queued_storage.testing": ["run_owed_work"],
}
BEYOND_DJANGO = [
    "transfer", "tier", "tiers", "state", "get_storage", "using_local", "using_remote", "with_policy",
]  # fmt: skip


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in PUBLIC.items() for name in names]
)
def test_public_name_can_be_imported(module: str, name: str) -> None:
    assert hasattr(import_module(module), name)


@pytest.mark.parametrize("name", PUBLIC["queued_storage.signals"])
def test_signals_are_signals(name: str) -> None:
    assert isinstance(getattr(import_module("queued_storage.signals"), name), Signal)


@pytest.mark.parametrize("name", BEYOND_DJANGO)
def test_storage_has_more_than_djangos(name: str) -> None:
    assert callable(getattr(TieredStorage, name))
    assert not hasattr(Storage, name)


@pytest.mark.parametrize("name", ["tier", "tiers", "state"])
@pytest.mark.parametrize("kind", [QueuedFieldFile, QueuedImageFieldFile])
def test_field_files_tell_where_they_lie(kind: type, name: str) -> None:
    assert isinstance(getattr(kind, name), property)
    assert callable(kind.transfer)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (TieredStorage.__init__, ["self", "alias", "policy"]),
        (TieredStorage.transfer, ["self", "name"]),
        (Policy.place, ["self", "file", "tiers", "now"]),
    ],
)
def test_public_parameters(function: Any, parameters: list[str]) -> None:
    assert list(signature(function).parameters) == parameters


@pytest.mark.parametrize("field", [QueuedFileField, QueuedImageField])
def test_fields_take_storage_and_policy(field: Any) -> None:
    assert field(storage="media", policy="delayed").storage == TieredStorage("media", "delayed")


@pytest.mark.parametrize("name", ["queued_storage.reconcile", "queued_storage.sweep"])
def test_tasks_have_their_names(name: str) -> None:
    from celery import current_app

    import_module("queued_storage.tasks")
    assert name in current_app.tasks


def test_placement_needs_tiers_alone() -> None:
    from queued_storage.policies import Placement

    placement = Placement(tiers=("disk",))
    assert (placement.tiers, placement.review_at) == (("disk",), None)


def test_package_is_typed() -> None:
    assert resources.files("queued_storage").joinpath("py.typed").is_file()


@pytest.mark.django_db(databases="__all__")
def test_migrations_say_what_the_models_say() -> None:
    call_command("makemigrations", "queued_storage", check=True, dry_run=True, verbosity=0)


#: What may import Celery, as it is nothing without.
CELERY = {"queued_storage.tasks", "queued_storage.backends"}


@pytest.mark.parametrize("module", sorted(PUBLIC))
def test_module_can_be_imported_first_and_without_celery(module: str) -> None:
    """Whatever the order of imports in a project, none of ours is a circle, or brings what it does not need."""
    program = f"import django; django.setup(); import {module}, sys; print('celery' in sys.modules)"
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.base_settings",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    told = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        env=environment,
        timeout=60,
        capture_output=True,
        text=True,
    ).stdout
    assert module in CELERY or told == "False\n"
