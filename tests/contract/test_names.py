"""Free names, and names that are hard to handle."""

from __future__ import annotations

import itertools
import os

import pytest
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage

from tests.contract.arrangements import (
    FRESH,
    NUMBERING,
    OVERWRITING,
    Arrangement,
    Case,
    Moment,
    read,
    upload,
)
from tests.support import recording

numbering_first = pytest.mark.parametrize(
    "chain", [case for case in FRESH if not case.arrangement.overwrites], ids=str, indirect=True
)

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["queued_storage"])

HARD_NAMES = [
    "straße/übergröße.txt",
    "写真/写真.png",
    "emoji 🏔️ 👩‍👩‍👧.txt",
    "with  two spaces.txt",
    "100%25.txt",
    "a+b&c=d.txt",
    "hash#question?.txt",
    "quote'\"`.txt",
    "semi;colon,comma.txt",
    "[brackets]{braces}(parens).txt",
    "UPPER.TXT",
    ".hidden",
    "two.dots.tar.gz",
    "no-extension",
    "cafe\u0301.txt",
    "caf\u00e9.txt",
    "trailing space .txt",
    "-dash-first.txt",
]


#: Enough to show that a tier's own way of quoting is understood.
HARDEST = HARD_NAMES[:6]


def long_name(length: int) -> str:
    """A name of exactly this many characters, in directories that every file system takes."""
    folders = "/".join(["d" * 99] * ((length - 60) // 100))
    return folders + "/" + "f" * (length - len(folders) - 5) + ".txt"


class TestHardNames:
    def test_hard_names_are_kept_and_read_back(self, life):
        saved = [life.storage.save(name, upload(name.encode())) for name in HARDEST]
        for name in saved:
            life.arrive(name)
        assert saved == HARDEST
        assert [read(life.storage, name) for name in saved] == [name.encode() for name in HARDEST]

    @pytest.mark.parametrize("name", HARD_NAMES)
    def test_hard_name_is_kept_on_every_tier(self, build, name):
        life = build(Case(Arrangement(("disk", "memory", "disk")), Moment.COPIED))
        assert life.put(name, b"1") == name
        assert life.holders(name) == life.expected_tiers

    def test_names_that_differ_in_case_only_are_two_files(self, chain):
        names = ["Photo.txt", "photo.txt", "PHOTO.txt"]
        for name in names:
            assert chain.storage.save(name, upload(name.encode())) == name
        assert [read(chain.storage, name) for name in names] == [name.encode() for name in names]

    def test_name_of_1024_characters_is_kept(self, life):
        name = long_name(1024)
        assert life.put(name, b"long") == name
        assert read(life.storage, name) == b"long"

    def test_longer_name_is_cut_to_1024_characters(self, life):
        name = life.put(long_name(1040), b"long", max_length=2000)
        assert len(name) <= 1024
        assert read(life.storage, name) == b"long"


class TestMaxLength:
    def test_name_of_exactly_the_limit_is_kept(self, first_tier):
        assert first_tier.storage.save("a" * 46 + ".txt", upload(b"1"), max_length=50) == "a" * 46 + ".txt"

    def test_longer_name_is_cut(self, first_tier):
        name = first_tier.storage.save("a" * 47 + ".txt", upload(b"1"), max_length=50)
        assert len(name) <= 50
        assert name.endswith(".txt")

    @numbering_first
    def test_other_name_for_a_taken_one_respects_the_limit(self, chain):
        for _ in range(3):
            assert len(chain.storage.save("b" * 46 + ".txt", upload(b"1"), max_length=50)) <= 50

    def test_limit_without_room_for_a_name_is_refused(self, first_tier):
        with pytest.raises(SuspiciousFileOperation):
            first_tier.storage.save("a" * 20 + ".extension", upload(b"1"), max_length=10)


class TestFreeNames:
    @pytest.mark.parametrize("life", NUMBERING, ids=str, indirect=True)
    def test_second_save_gets_another_name(self, life):
        first, second = life.put("a.txt", b"first"), life.put("a.txt", b"second")
        assert first == "a.txt"
        assert second != first
        assert (read(life.storage, first), read(life.storage, second)) == (b"first", b"second")

    @numbering_first
    def test_name_taken_on_any_tier_unknown_to_the_catalog_gets_another(self, chain):
        for index, tier in enumerate(chain.tiers):
            taken = f"taken-{index}.txt"
            tier.storage.save(taken, ContentFile(b"old"))
            name = chain.storage.save(taken, upload(b"new"))
            assert name != taken
            assert (read(chain.storage, taken), read(chain.storage, name)) == (b"old", b"new")

    @numbering_first
    def test_is_name_available_knows_every_tier(self, chain):
        assert chain.storage.is_name_available("a.txt")
        for index, tier in enumerate(chain.tiers):
            tier.storage.save(f"{index}.txt", ContentFile(b"1"))
            assert not chain.storage.is_name_available(f"{index}.txt")

    def test_name_longer_than_the_limit_is_not_available(self, first_tier):
        assert not first_tier.storage.is_name_available("abcdef", max_length=5)

    @pytest.mark.parametrize("life", NUMBERING, ids=str, indirect=True)
    def test_name_of_a_moved_file_stays_taken(self, life):
        life.put("a.txt")
        assert not life.storage.is_name_available("a.txt")
        assert life.storage.get_available_name("a.txt") != "a.txt"

    def test_generate_filename_makes_a_valid_name(self, first_tier):
        assert first_tier.storage.generate_filename("a b/c d!.txt") == "a b/c_d.txt"

    @pytest.mark.parametrize("name", ["../a.txt", "a/../../b.txt"])
    def test_generate_filename_refuses_traversal(self, first_tier, name):
        with pytest.raises(SuspiciousFileOperation):
            first_tier.storage.generate_filename(name)

    def test_get_valid_name_is_the_first_tiers(self, first_tier):
        expected = first_tier.tiers[0].storage.get_valid_name("a b!.txt")
        assert first_tier.storage.get_valid_name("a b!.txt") == expected


@pytest.mark.parametrize("life", OVERWRITING, ids=str, indirect=True)
class TestOverwriting:
    """A first tier that overwrites: the name stays, and every tier ends with the new content."""

    def test_name_stays(self, life):
        assert [life.put("a.txt", b"old"), life.put("a.txt", b"new")] == ["a.txt", "a.txt"]

    def test_new_content_is_read_at_once(self, life):
        life.put("a.txt", b"old")
        life.storage.save("a.txt", upload(b"new, and longer"))
        assert read(life.storage, "a.txt") == b"new, and longer"
        assert life.storage.size("a.txt") == 15

    def test_g6_every_tier_ends_with_the_new_content(self, life):
        life.put("a.txt", b"old")
        life.put("a.txt", b"new, and longer")
        assert life.contents("a.txt") == {b"new, and longer"}
        assert life.files() == {
            tier.name: ["a.txt"] if tier.name in life.expected_tiers else [] for tier in life.tiers
        }


class NumberingDisk(FileSystemStorage):
    """Numbers its alternative names, as old Djangos and many servers do: a_1.txt, a_2.txt, …"""

    separator = "_"

    def get_available_name(self, name, max_length=None):
        root, extension = os.path.splitext(name)
        numbered = (f"{root}{self.separator}{number}{extension}" for number in itertools.count(1))
        return next(
            candidate for candidate in itertools.chain([name], numbered) if not self.exists(candidate)
        )


class DashingDisk(NumberingDisk):
    separator = "-"


@pytest.mark.parametrize("backend", [NumberingDisk, DashingDisk], ids=["a_1", "a-1"])
class TestNumberedNames:
    """Cases k1 and k2 of the ancestor, which compared names as texts: "a_10" came before "a_2"."""

    @pytest.fixture
    def chain(self, make_chain, settings, tmp_path, backend):
        settings.QUEUED_STORAGE_DISPATCHER = recording.PATH
        path = f"{__name__}.{backend.__name__}"
        tiers = {
            name: {"BACKEND": path, "OPTIONS": {"location": str(tmp_path / name)}} for name in ("near", "far")
        }
        return make_chain(tiers, policy="transfer")

    @pytest.fixture
    def taken(self, chain, backend):
        """Names that one tier or the other has, none of them known to the catalog."""
        names = {"near": ["a.txt"], "far": ["a.txt"]}
        names["near"] += [f"a{backend.separator}{number}.txt" for number in (1, 3, 12)]
        names["far"] += [f"a{backend.separator}{number}.txt" for number in range(2, 11)]
        for tier, files in names.items():
            for name in files:
                chain.chain[tier].storage.save(name, ContentFile(b"old"))
        return {*names["near"], *names["far"]}

    def test_new_name_is_free_on_both_tiers(self, chain, taken):
        assert chain.save("a.txt", ContentFile(b"new")) not in taken

    def test_file_keeps_its_name_on_the_lower_tier(self, chain, taken):
        name = chain.save("a.txt", ContentFile(b"new"))
        recording.work()
        assert [read(tier.storage, name) for tier in chain.chain] == [b"new", b"new"]

    def test_other_files_keep_their_content(self, chain, taken):
        chain.save("a.txt", ContentFile(b"new"))
        recording.work()
        assert {read(chain, name) for name in taken} == {b"old"}

    def test_name_taken_on_the_lower_tier_alone_is_not_used(self, chain):
        chain.chain["far"].storage.save("b.txt", ContentFile(b"old"))
        name = chain.save("b.txt", ContentFile(b"new"))
        assert name != "b.txt"
        assert (read(chain, "b.txt"), read(chain, name)) == (b"old", b"new")
