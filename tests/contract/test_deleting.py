"""``delete()``: gone from every tier, hidden at once, and the name free again."""

from __future__ import annotations

import pytest
from django.core.files.base import ContentFile

from tests.contract.arrangements import CATALOGUED, read, upload
from tests.support import recording

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["queued_storage"])


class TestDelete:
    def test_g5_no_tier_keeps_the_file(self, life):
        name = life.put("folder/a.txt")
        life.storage.delete(name)
        recording.work()
        assert not any(life.files().values())

    def test_file_is_gone_for_readers_at_once(self, life):
        name = life.put("folder/a.txt")
        life.storage.delete(name)
        assert not life.storage.exists(name)
        assert (life.storage.tier(name), life.storage.tiers(name)) == (None, [])
        assert life.storage.state(name) is None

    def test_deleting_twice_is_fine(self, life):
        name = life.put("a.txt")
        life.storage.delete(name)
        life.storage.delete(name)
        assert not life.storage.exists(name)

    def test_deleting_an_unknown_name_is_fine(self, chain):
        chain.storage.delete("folder/unknown.txt")
        assert recording.RecordingDispatcher.calls == []

    @pytest.mark.parametrize("name", ["", None])
    def test_empty_name_is_refused(self, first_tier, name):
        first_tier.put("a.txt")
        with pytest.raises(ValueError, match="name"):
            first_tier.storage.delete(name)
        assert first_tier.storage.exists("a.txt")

    def test_other_files_stay(self, life):
        life.put("a.txt", b"1")
        other = life.put("b.txt", b"2")
        life.storage.delete("a.txt")
        assert read(life.storage, other) == b"2"

    def test_name_is_free_again(self, life):
        name = life.put("a.txt", b"old")
        life.storage.delete(name)
        assert life.put(name, b"new") == name
        assert read(life.storage, name) == b"new"
        assert life.contents(name) == {b"new"}

    def test_file_unknown_to_the_catalog_is_deleted(self, chain):
        for tier in chain.tiers:
            tier.storage.save("found.txt", ContentFile(b"old"))
        chain.storage.delete("found.txt")
        recording.work()
        assert not chain.storage.exists("found.txt")
        assert chain.holders("found.txt") == [tier.name for tier in chain.tiers if tier.read_only]

    def test_read_only_tier_keeps_its_bytes_but_shows_them_no_more(self, chain):
        for tier in chain.tiers:
            if tier.read_only:
                tier.storage.save("archived.txt", ContentFile(b"old"))
        chain.storage.delete("archived.txt")
        assert not chain.storage.exists("archived.txt")
        assert chain.storage.listdir("")[1] == []

    @pytest.mark.parametrize("life", CATALOGUED, ids=str, indirect=True)
    def test_g5_save_and_delete_before_the_worker_leave_nothing(self, life):
        name = life.storage.save("a.txt", upload(b"1"))
        life.storage.delete(name)
        recording.work()
        assert not any(life.files().values())
