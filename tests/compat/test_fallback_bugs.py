"""FallbackStorage without what was measured to be wrong with the original."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage

from queued_storage.backends import FallbackStorage
from queued_storage.exceptions import ChainUnavailable, IncompleteListing

from tests.compat.folders import put, read

if TYPE_CHECKING:
    pass

Make = Callable[..., FallbackStorage]


def test_url_is_served_past_a_storage_that_is_down(make_fallback: Make, tmp_path: Path) -> None:
    put(tmp_path / "far/a.txt")
    assert make_fallback("down", "far").url("a.txt") == "/far/a.txt"


@pytest.mark.parametrize("method", ["exists", "size", "url", "open"])
def test_outage_is_not_told_as_a_missing_file(make_fallback: Make, method: str) -> None:
    storage = make_fallback("near", "down")
    with pytest.raises(ChainUnavailable, match="tier 'down': ConnectionError: connection refused"):
        getattr(storage, method)("a.txt")


def test_one_failure_is_told_as_what_it_was(make_fallback: Make) -> None:
    with pytest.raises(ChainUnavailable, match="connection refused"):
        make_fallback("down").size("a.txt")


@pytest.mark.parametrize("method", ["open", "size", "url", "path", "modified_time", "get_modified_time"])
def test_missing_file_is_file_not_found(make_fallback: Make, method: str) -> None:
    with pytest.raises(FileNotFoundError):
        getattr(make_fallback("near", "far"), method)("a.txt")


def test_exists_asks_no_further_than_the_answer(make_fallback: Make, tmp_path: Path) -> None:
    put(tmp_path / "near/a.txt")
    assert make_fallback("near", "down").exists("a.txt")


def test_name_in_two_storages_is_listed_once(make_fallback: Make, tmp_path: Path) -> None:
    put(tmp_path / "near/a.txt")
    put(tmp_path / "far/a.txt")
    assert make_fallback("near", "far").listdir("") == ([], ["a.txt"])


@pytest.mark.parametrize("names", [("near",), ("near", "far")])
def test_directory_that_is_nowhere_is_file_not_found(make_fallback: Make, names: tuple[str, ...]) -> None:
    with pytest.raises(FileNotFoundError):
        make_fallback(*names).listdir("dir")


def test_directory_that_is_empty_in_one_and_missing_in_the_other_is_empty(
    make_fallback: Make, tmp_path: Path
) -> None:
    (tmp_path / "near/dir").mkdir(parents=True)
    assert make_fallback("near", "far").listdir("dir") == ([], [])


def test_listing_without_a_storage_that_is_down_says_so(make_fallback: Make, tmp_path: Path) -> None:
    put(tmp_path / "near/a.txt")
    with pytest.raises(IncompleteListing, match="down") as caught:
        make_fallback("near", "down").listdir("")
    assert caught.value.partial == ([], ["a.txt"])


def test_write_that_fails_goes_nowhere_else(make_fallback: Make, tmp_path: Path) -> None:
    storage = make_fallback("down", "far")
    with pytest.raises(OSError, match="connection refused"):
        storage.save("a.txt", ContentFile(b"1"))
    assert not (tmp_path / "far").exists()


def test_open_for_write_leaves_the_lower_copy_alone(make_fallback: Make, tmp_path: Path) -> None:
    put(tmp_path / "far/dir/a.txt", b"old")
    storage = make_fallback("near", "far")
    with storage.open("dir/a.txt", "wb") as file:
        file.write(b"new")
    assert read(storage, "dir/a.txt") == b"new"
    assert (tmp_path / "far/dir/a.txt").read_bytes() == b"old"


@pytest.mark.parametrize("where", [("far",), ("near", "far")])
def test_delete_of_what_a_lower_storage_goes_on_to_show_is_an_error(
    make_fallback: Make, tmp_path: Path, where: tuple[str, ...]
) -> None:
    storage = make_fallback("near", "far")
    for name in where:
        put(tmp_path / name / "a.txt")
    with pytest.raises(OSError, match="far holds the file") as caught:
        storage.delete("a.txt")
    assert caught.value.errno == errno.EROFS
    assert (tmp_path / "far/a.txt").exists()


def test_delete_of_a_missing_file_is_none(make_fallback: Make) -> None:
    make_fallback("near", "far").delete("a.txt")


def test_storages_are_kept_from_call_to_call(make_fallback: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = make_fallback("near", "far")
    storage.exists("a.txt")
    monkeypatch.setattr(FileSystemStorage, "__init__", None)
    assert not storage.exists("a.txt")
