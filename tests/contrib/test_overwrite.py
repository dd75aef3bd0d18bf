"""OverwriteStorage and OverwriteMixin: the name stays, and a save that fails loses nothing."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage, Storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction

from queued_storage.contrib.storages.overwrite import OverwriteMixin, OverwriteStorage
from queued_storage.exceptions import OldContentNotRestored
from queued_storage.testing import run_owed_work

from tests.contrib.test_database import Breaking
from tests.support.storages import SharedMemoryStorage

PATH = "queued_storage.contrib.storages.overwrite.OverwriteStorage"


class Overwriting(OverwriteMixin, SharedMemoryStorage):
    """A storage that has no option for it."""


@pytest.fixture(params=["disk", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return OverwriteStorage(tmp_path) if request.param == "disk" else Overwriting()


def save(storage: Storage, content: bytes) -> str:
    return storage.save("in/a.txt", ContentFile(content))


def read(storage: Storage) -> bytes:
    with storage.open("in/a.txt") as file:
        content: bytes = file.read()
    return content


def test_name_stays_and_the_content_is_replaced(storage: Any) -> None:
    for content in (b"1" * 5000, b"2", b""):
        assert save(storage, content) == "in/a.txt"
        assert read(storage) == content
    assert storage.listdir("in") == ([], ["a.txt"])


def test_name_is_no_longer_than_it_may_be(storage: Any) -> None:
    assert storage.save("a" * 30, ContentFile(b""), max_length=20) == "a" * 20


def test_save_that_fails_puts_the_old_content_back() -> None:
    storage = Overwriting()
    save(storage, b"old")
    with pytest.raises(RuntimeError, match="gone"):
        storage.save("in/a.txt", File(Breaking(150_000, RuntimeError("gone")), name="a.txt"))
    assert read(storage) == b"old"


def test_content_that_breaks_off_takes_nothing_back_from_another_save() -> None:
    storage = Overwriting()
    save(storage, b"old")

    class SavedOver(ContentFile):  # type: ignore[type-arg]
        def chunks(self, chunk_size: int | None = None) -> Any:
            yield b"half"
            save(storage, b"another's")
            raise OSError("the client has gone")

    with pytest.raises(OSError, match="gone"):
        storage.save("in/a.txt", SavedOver(b"half of it"))
    assert read(storage) == b"another's"


class Breakable(SharedMemoryStorage):
    """Stores a part of the content and fails, as often as ``failures`` says; ``meanwhile`` is done in between."""

    failures = 0
    part = 3
    meanwhile: Any = None

    def _save(self, name: str, content: File[Any]) -> str:
        if not self.failures:
            return str(super()._save(name, content))
        self.failures -= 1
        if self.part:
            super()._save(name, ContentFile(content.read(self.part)))
        content.close()  # as some clients do
        if self.meanwhile is not None:
            self.meanwhile()
        raise OSError("the server has failed")


class OverwritingBreakable(OverwriteMixin, Breakable):
    """One that fails on its way."""


@pytest.mark.parametrize("part", [0, 3])
def test_failed_storage_gets_the_old_content_back(part: int) -> None:
    storage = OverwritingBreakable()
    save(storage, b"old")
    storage.failures, storage.part = 1, part
    with pytest.raises(OSError, match="has failed"):
        save(storage, b"new content")
    assert read(storage) == b"old"


def test_what_another_save_has_stored_is_not_taken_back() -> None:
    storage = OverwritingBreakable()
    save(storage, b"old")
    storage.failures, storage.meanwhile = 1, lambda: save(storage, b"another's")
    with pytest.raises(OSError, match="has failed"):
        save(storage, b"new content")
    assert read(storage) == b"another's"


def test_delete_that_fails_leaves_the_old_content(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = OverwritingBreakable()
    save(storage, b"old")

    def refuse(self: Any, name: str) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(Breakable, "delete", refuse)
    with pytest.raises(PermissionError):
        save(storage, b"new")
    assert read(storage) == b"old"


def test_old_content_that_cannot_be_put_back_is_kept_where_the_error_says() -> None:
    storage = OverwritingBreakable()
    save(storage, b"old")
    storage.failures = 2
    with pytest.raises(OldContentNotRestored) as caught:
        save(storage, b"new content")
    assert caught.value.kept.read_bytes() == b"old"
    caught.value.kept.unlink()


@pytest.mark.parametrize("content", [ContentFile("Grüße"), File(io.BytesIO("Grüße".encode()), name="a.txt")])
def test_content_of_any_kind_replaces(content: File[Any]) -> None:
    storage = Overwriting()
    save(storage, b"old")
    storage.save("in/a.txt", content)
    assert read(storage) == "Grüße".encode()


def test_content_type_goes_with_the_content() -> None:
    class Typed(SharedMemoryStorage):
        def _save(self, name: str, content: Any) -> str:
            self.told = content.content_type
            return str(super()._save(name, content))

    class OverwritingTyped(OverwriteMixin, Typed):
        pass

    storage = OverwritingTyped()
    for content_type in ("text/x-old", "text/x-new"):
        storage.save("a.txt", SimpleUploadedFile("a.txt", b"x", content_type))
        assert storage.told == content_type


def test_storage_is_written_into_migrations_as_it_was_made() -> None:
    path, arguments, options = OverwriteStorage("/srv/media").deconstruct()  # type: ignore[attr-defined]
    assert path == PATH
    assert (arguments, options) == (("/srv/media",), {})


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_first_tier_that_overwrites(make_chain: Any, tmp_path: Path, kind: str) -> None:
    near = {
        "disk": {"BACKEND": PATH, "OPTIONS": {"location": str(tmp_path / "near")}},
        "memory": {"BACKEND": f"{__name__}.Overwriting"},
    }[kind]
    chain = make_chain({"near": near, "vault": "disk"})
    save(chain, b"old")
    run_owed_work()
    assert save(chain, b"new") == "in/a.txt"
    run_owed_work()
    assert read(chain) == b"new"
    assert [read(tier.storage) for tier in chain.chain] == [b"new", b"new"]


@pytest.mark.django_db(transaction=True)
def test_rolled_back_replacement_in_a_chain_leaves_the_old_content(make_chain: Any, tmp_path: Path) -> None:
    near = {"BACKEND": PATH, "OPTIONS": {"location": str(tmp_path / "near")}}
    chain = make_chain({"near": near, "vault": "disk"})
    save(chain, b"old")
    with transaction.atomic():
        save(chain, b"new")
        transaction.set_rollback(True)
    assert read(chain) == b"old"


def test_mixin_is_not_for_disks() -> None:
    with pytest.raises(TypeError, match="Derive it from OverwriteStorage"):
        type("Mixed", (OverwriteMixin, FileSystemStorage), {})
