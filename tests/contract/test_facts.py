"""Size, times, listings, paths and URLs: the same before and after a move, or said to be impossible."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.utils import timezone

from tests.contract.arrangements import CATALOGUED, FRESH, Moment, read, upload
from tests.support import recording

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["queued_storage"])

KINDS = ("accessed", "created", "modified")
MOVABLE = [case for case in FRESH if len(case.arrangement.kinds) > 1]


def times(life, name):
    """What the chain tells of a file's times; a first tier that keeps one of them not says so."""
    told = {}
    for kind in KINDS:
        try:
            told[kind] = getattr(life.storage, f"get_{kind}_time")(name)
        except NotImplementedError:
            told[kind] = None
    return told


class TestSizeAndTimes:
    def test_size_is_exact(self, life):
        assert life.storage.size(life.put("a.bin", b"x" * 12_345)) == 12_345

    @pytest.mark.parametrize("chain", MOVABLE, ids=str, indirect=True)
    def test_move_does_not_change_size_and_times(self, chain):
        name = chain.storage.save("a.txt", upload(b"content"))
        before = times(chain, name)
        recording.work()
        assert chain.storage.tier(name) != chain.tiers[0].name
        after = times(chain, name)
        assert after == {kind: before[kind] or after[kind] for kind in KINDS}
        assert after["modified"] == before["modified"]

    def test_modified_time_is_that_of_the_save(self, life):
        start = timezone.now()
        modified = life.storage.get_modified_time(life.put("a.txt"))
        # S3 servers tell whole seconds.
        assert start - timedelta(seconds=2) < modified < timezone.now() + timedelta(seconds=2)

    @pytest.mark.parametrize("use_tz", [True, False])
    def test_times_are_aware_as_the_settings_say(self, life, settings, use_tz):
        settings.USE_TZ = use_tz
        settings.TIME_ZONE = "Asia/Tokyo"
        modified = life.storage.get_modified_time(life.put("a.txt"))
        assert timezone.is_aware(modified) == use_tz
        now = datetime.now(UTC).astimezone(timezone.get_default_timezone())
        assert abs(modified - (now if use_tz else now.replace(tzinfo=None))) < timedelta(seconds=60)


class TestListing:
    def test_listing_has_folders_and_files_sorted(self, life):
        for name in ("b.txt", "a.txt", "folder/d.txt", "folder/c.txt", "other/e.txt"):
            life.put(name)
        assert life.storage.listdir("") == (["folder", "other"], ["a.txt", "b.txt"])
        assert life.storage.listdir("folder") == ([], ["c.txt", "d.txt"])

    def test_file_on_several_tiers_is_listed_once(self, life):
        life.put("folder/a.txt")
        assert life.storage.listdir("folder")[1] == ["a.txt"]

    def test_listing_merges_all_tiers(self, chain):
        for index, tier in enumerate(chain.tiers):
            tier.storage.save(f"folder/{index}.txt", ContentFile(b"1"))
        names = [f"{index}.txt" for index in range(len(chain.tiers))]
        assert chain.storage.listdir("folder") == ([], names)

    def test_deleted_file_is_not_listed(self, life):
        life.put("folder/a.txt")
        life.put("folder/b.txt")
        life.storage.delete("folder/a.txt")
        assert life.storage.listdir("folder")[1] == ["b.txt"]

    def test_unfinished_file_is_not_listed(self, first_tier):
        first_tier.put("folder/a.txt")
        staging = f".{'0123456789abcdef' * 2}.queued-storage"
        first_tier.tiers[0].storage.save(f"folder/{staging}", ContentFile(b"half"))
        assert first_tier.storage.listdir("folder")[1] == ["a.txt"]

    def test_root_of_an_empty_chain_is_empty(self, chain):
        chain.storage.delete(chain.put("a.txt"))
        assert chain.storage.listdir("") == ([], [])

    @pytest.mark.parametrize("path", ["", "folder", "folder/"])
    def test_path_may_end_with_a_slash(self, chain, path):
        chain.put("folder/a.txt")
        assert chain.storage.listdir(path) in [(["folder"], []), ([], ["a.txt"])]


class TestPathAndUrl:
    def test_path_leads_to_the_content_where_there_is_one(self, life):
        name = life.put("folder/a.txt", b"content")
        if any(name.startswith("disk") for name in life.expected_tiers):
            assert Path(life.storage.path(name)).read_bytes() == b"content"
        else:
            with pytest.raises(NotImplementedError):
                life.storage.path(name)

    def test_url_is_that_of_the_tier_that_answers(self, life):
        name = life.put("folder/a b.txt")
        answering = life.storage.get_storage(name)
        assert life.storage.url(name).partition("?")[0] == answering.url(name).partition("?")[0]

    @pytest.mark.parametrize("life", CATALOGUED, ids=str, indirect=True)
    def test_get_storage_is_the_storage_of_the_tier(self, life):
        name = life.put("a.txt")
        assert life.storage.get_storage(name) is life.storage.chain[life.storage.tier(name)].storage

    @pytest.mark.parametrize("life", CATALOGUED, ids=str, indirect=True)
    def test_local_and_remote_tell_first_from_lower_tiers(self, life):
        name = life.put("a.txt")
        is_first = life.storage.tier(name) == life.tiers[0].name
        assert (life.storage.using_local(name), life.storage.using_remote(name)) == (is_first, not is_first)


@pytest.mark.parametrize("method", ["exists", "size", "open", "path", "delete", "url", "get_modified_time"])
@pytest.mark.parametrize("chain", [FRESH[0]], ids=str, indirect=True)
def test_path_traversal_is_refused(chain, method, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    with pytest.raises(SuspiciousFileOperation):
        getattr(chain.storage, method)("../secret.txt")
    assert (tmp_path / "secret.txt").exists()


@pytest.mark.parametrize(
    "life", [case for case in CATALOGUED if case.moment is Moment.MOVED], ids=str, indirect=True
)
def test_settled_file_is_not_moved_again(life):
    name = life.put("a.txt")
    before = life.files()
    life.storage.transfer(name)
    assert recording.work() == 0
    assert life.files() == before
    assert read(life.storage, name) == b"content"
