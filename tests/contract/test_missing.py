"""A missing file is FileNotFoundError from every method, whatever the tiers' backends raise."""

from __future__ import annotations

import pytest

from queued_storage.exceptions import NoPath

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["queued_storage"])

METHODS = [
    "open", "size", "url", "path", "get_storage", "get_accessed_time", "get_created_time", "get_modified_time",
]  # fmt: skip


#: What they raise: ``path()`` is asked of any name by apps that want to know whether there are paths at all.
MISSING = dict.fromkeys(METHODS, FileNotFoundError) | {"path": NoPath}


def raised(storage, name):
    """What each method raises for the name."""
    errors = {}
    for method in METHODS:
        with pytest.raises(Exception) as caught:
            getattr(storage, method)(name)
        errors[method] = caught.type
    return errors


class TestMissing:
    def test_every_method_raises_file_not_found(self, chain):
        assert raised(chain.storage, "folder/missing.txt") == MISSING

    def test_path_says_too_that_there_is_none(self, chain):
        for kind in (FileNotFoundError, NotImplementedError):
            with pytest.raises(kind):
                chain.storage.path("missing.txt")

    @pytest.mark.parametrize("mode", ["r", "rb", "r+", "r+b"])
    def test_open_raises_file_not_found(self, chain, mode):
        with pytest.raises(FileNotFoundError):
            chain.storage.open("missing.txt", mode)

    def test_deleted_file_is_missing_from_every_method(self, life):
        name = life.put("folder/a.txt")
        life.storage.delete(name)
        assert raised(life.storage, name) == MISSING

    def test_transfer_raises_file_not_found(self, chain):
        with pytest.raises(FileNotFoundError):
            chain.storage.transfer("missing.txt")

    def test_nobody_knows_it(self, chain):
        storage = chain.storage
        assert not storage.exists("missing.txt")
        assert (storage.tier("missing.txt"), storage.tiers("missing.txt")) == (None, [])
        assert storage.state("missing.txt") is None
        assert not storage.using_local("missing.txt")
        assert not storage.using_remote("missing.txt")

    def test_name_below_a_file_is_missing(self, life):
        name = life.put("a.txt")
        assert not life.storage.exists(f"{name}/b.txt")
        with pytest.raises(FileNotFoundError):
            life.storage.open(f"{name}/b.txt")

    def test_folder_that_no_tier_has_is_missing_or_empty(self, chain):
        # Object stores have no folders: a tier that is one answers with an empty listing.
        try:
            assert chain.storage.listdir("no-such-folder") == ([], [])
            assert chain.case.arrangement.uses_s3
        except FileNotFoundError:
            assert not chain.case.arrangement.uses_s3

    def test_message_tells_chain_and_name(self, first_tier):
        with pytest.raises(FileNotFoundError, match=r"'media'.*'missing\.txt'"):
            first_tier.storage.open("missing.txt")
