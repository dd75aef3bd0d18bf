"""Every public method of Django's Storage, on the Django that is installed."""

from __future__ import annotations

import inspect

import pytest
from django.core.files.storage import Storage

from queued_storage.storage import TieredStorage, tiered_storages

#: What the contract tests beside this file look at; a method that a new Django adds must be added, and tested.
KNOWN = {
    "delete", "exists", "generate_filename", "get_accessed_time", "get_alternative_name", "get_available_name",
    "get_created_time", "get_modified_time", "get_valid_name", "is_name_available", "listdir", "open", "path",
    "save", "size", "url",
}  # fmt: skip
#: What Django's base class does by calling other methods of the storage.
INHERITED = {"generate_filename", "open"}


def public_names(cls: type) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")}


def test_django_has_no_method_that_these_tests_do_not_know():
    assert public_names(Storage) == KNOWN


@pytest.mark.parametrize("name", sorted(KNOWN - INHERITED))
def test_method_is_the_chains_own(name):
    assert getattr(TieredStorage, name) is not getattr(Storage, name)


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_method_takes_djangos_arguments(name):
    theirs = inspect.signature(getattr(Storage, name)).parameters.values()
    ours = inspect.signature(getattr(TieredStorage, name)).parameters.values()
    assert [(each.name, each.default) for each in ours] == [(each.name, each.default) for each in theirs]


def test_chain_is_a_storage():
    assert isinstance(tiered_storages["media"], Storage)


def test_storages_of_one_alias_are_equal():
    assert tiered_storages["media"] == TieredStorage("media")
    assert hash(tiered_storages["media"]) == hash(TieredStorage("media"))


@pytest.mark.parametrize("other", [TieredStorage("other"), TieredStorage("media", "delayed"), "media"])
def test_storages_of_other_alias_or_policy_differ(other):
    assert tiered_storages["media"] != other


def test_storage_deconstructs_to_alias_and_policy():
    assert TieredStorage("media", "delayed").deconstruct() == (
        "queued_storage.storage.TieredStorage", ("media", "delayed"), {},
    )  # fmt: skip
