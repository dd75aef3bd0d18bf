"""What was measured to go wrong with django-fallback-storage, case by case; the docstrings say what it did."""

from __future__ import annotations

import errno
from datetime import datetime

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage

from queued_storage.exceptions import ChainUnavailable, IncompleteListing

from tests.compat.folders import put, read

#: The rows of the report, each the beginning of a test's name.
CASES = [
    "first_tier_raises", "only_tier_that_holds_the_file_is_down", "one_tier_failed_in_total",
    "missing_file_on_healthy_tiers", "exists_asks_in_order", "listdir_dir_missing_in_one_tier",
    "listdir_name_in_both_tiers", "listdir_missing_everywhere", "listdir_empty_in_one_and_missing_in_the_other",
    "listdir_a_tier_down", "url_of_a_missing_file", "write_that_fails", "write_through_open",
    "delete_with_copies_in_two_tiers", "delete_of_a_file_in_the_second_tier", "cost", "get_modified_time",
]  # fmt: skip


@pytest.fixture
def plain(make_chain):
    """The same without the old class: a chain of two writable tiers, without policy."""
    return make_chain(["near", "far"], policy=None)


def test_first_tier_raises_and_the_second_answers(make_fallback, tmp_path):
    """url() raised the ConnectionError: its probe was outside of the guard."""
    put(tmp_path / "far/a.txt")
    storage = make_fallback("down", "far")
    assert (read(storage, "a.txt"), storage.exists("a.txt"), storage.size("a.txt")) == (b"content", True, 7)
    assert storage.url("a.txt") == "/far/a.txt"


@pytest.mark.parametrize("method", ["exists", "url", "open", "size"])
def test_only_tier_that_holds_the_file_is_down(make_fallback, method):
    """exists() answered False: an outage was told as "no such file"."""
    with pytest.raises(ChainUnavailable, match="tier 'down': ConnectionError: connection refused"):
        getattr(make_fallback("near", "down"), method)("a.txt")


def test_one_tier_failed_in_total(make_fallback):
    """KeyError: 0, in place of the error."""
    with pytest.raises(ChainUnavailable, match="connection refused"):
        make_fallback("down").open("a.txt")


@pytest.mark.parametrize("method", ["open", "size", "url", "path"])
def test_missing_file_on_healthy_tiers_is_file_not_found(make_fallback, method):
    """A bare Exception with joined texts, which no caller's handler caught."""
    with pytest.raises(FileNotFoundError):
        getattr(make_fallback("near", "far"), method)("a.txt")


def test_exists_asks_in_order_and_no_further_than_the_answer(make_fallback, tmp_path):
    """Every tier was asked, even when the first said yes; errors were swallowed."""
    put(tmp_path / "near/a.txt")
    storage = make_fallback("near", "down")
    assert storage.exists("a.txt")
    with pytest.raises(ChainUnavailable):
        storage.exists("b.txt")


def test_listdir_dir_missing_in_one_tier(make_fallback, tmp_path):
    """This was fine."""
    put(tmp_path / "far/dir/a.txt")
    assert make_fallback("near", "far").listdir("dir") == ([], ["a.txt"])


def test_listdir_name_in_both_tiers_is_listed_once(make_fallback, tmp_path):
    """It was listed twice."""
    put(tmp_path / "near/dir/a.txt")
    put(tmp_path / "far/dir/a.txt")
    assert make_fallback("near", "far").listdir("dir") == ([], ["a.txt"])
    assert make_fallback("near", "far").listdir("") == (["dir"], [])


@pytest.mark.parametrize("names", [("near", "far"), ("near",)])
def test_listdir_missing_everywhere_is_file_not_found(make_fallback, names):
    """A bare Exception with two tiers, KeyError: 0 with one."""
    with pytest.raises(FileNotFoundError):
        make_fallback(*names).listdir("dir")


def test_listdir_empty_in_one_and_missing_in_the_other(make_fallback, tmp_path):
    """KeyError: 0 in place of an empty listing."""
    (tmp_path / "near/dir").mkdir(parents=True)
    assert make_fallback("near", "far").listdir("dir") == ([], [])


def test_listdir_a_tier_down_says_that_it_is_incomplete(make_fallback, tmp_path):
    """Silently a part."""
    put(tmp_path / "near/a.txt")
    with pytest.raises(IncompleteListing, match="'down'") as caught:
        make_fallback("near", "down").listdir("")
    assert caught.value.partial == ([], ["a.txt"])


def test_url_of_a_missing_file_is_file_not_found(make_fallback):
    """The last tier's URL."""
    with pytest.raises(FileNotFoundError):
        make_fallback("near", "far").url("a.txt")


def test_write_that_fails_is_told_and_goes_nowhere_else(make_fallback, tmp_path):
    """It went to the next tier, and the caller could not tell."""
    with pytest.raises(OSError, match="connection refused"):
        make_fallback("down", "far").save("a.txt", ContentFile(b"new"))
    assert not (tmp_path / "far").exists()


def test_write_through_open_leaves_the_second_tier_alone(make_fallback, tmp_path):
    """Where the directory was missing in the first tier, the copy in the second was overwritten."""
    put(tmp_path / "far/dir/a.txt", b"old")
    storage = make_fallback("near", "far")
    with storage.open("dir/a.txt", "w") as file:
        file.write("new")
    assert (tmp_path / "far/dir/a.txt").read_bytes() == b"old"
    assert read(storage, "dir/a.txt") == b"new"


def test_delete_with_copies_in_two_tiers_is_no_half_delete(make_fallback, tmp_path):
    """The first tier's copy alone went: exists() was still True, and the old bytes of the second read back."""
    for tier in ("near", "far"):
        put(tmp_path / tier / "a.txt")
    with pytest.raises(OSError, match="far holds the file") as caught:
        make_fallback("near", "far").delete("a.txt")
    assert caught.value.errno == errno.EROFS


def test_delete_with_copies_in_two_tiers_takes_both_where_both_are_writable(plain, tmp_path):
    """The same, on a chain of today."""
    for tier in ("near", "far"):
        put(tmp_path / tier / "a.txt")
    plain.delete("a.txt")
    assert not plain.exists("a.txt")
    assert not (tmp_path / "far/a.txt").exists()


def test_delete_of_a_file_in_the_second_tier_is_no_silence(make_fallback, tmp_path):
    """Nothing happened, without an error."""
    put(tmp_path / "far/a.txt")
    with pytest.raises(OSError, match="far holds the file"):
        make_fallback("near", "far").delete("a.txt")


def test_delete_of_a_file_in_the_second_tier_takes_it_where_that_is_writable(plain, tmp_path):
    """The same, on a chain of today."""
    put(tmp_path / "far/a.txt")
    plain.delete("a.txt")
    assert not (tmp_path / "far/a.txt").exists()


def test_cost_is_no_new_storage_for_each_call(make_fallback, monkeypatch):
    """Every call built a storage for each tier."""
    storage, built = make_fallback("near", "far"), []
    original = FileSystemStorage.__init__

    def counting(self, *args, **kwargs):
        built.append(self)
        original(self, *args, **kwargs)

    monkeypatch.setattr(FileSystemStorage, "__init__", counting)
    for _ in range(10):
        storage.exists("a.txt")
    assert len(built) <= 2


@pytest.mark.parametrize("method", ["get_modified_time", "get_accessed_time", "get_created_time"])
def test_get_modified_time_is_told(make_fallback, tmp_path, method):
    """NotImplementedError since Django 2.0: the names of 1.9 alone were passed on."""
    put(tmp_path / "far/a.txt")
    assert isinstance(getattr(make_fallback("near", "far"), method)("a.txt"), datetime)


def test_no_case_of_the_report_is_missing():
    here = [name for name in globals() if name.startswith("test_")]
    assert [case for case in CASES if not any(name.startswith(f"test_{case}") for name in here)] == []
    undocumented = [name for name in here if globals()[name].__doc__ is None]
    assert undocumented == ["test_no_case_of_the_report_is_missing"]
