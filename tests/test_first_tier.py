"""First tiers that are no plain folder: replacing content, content that comes in odd shapes, headers of clients."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from storages.backends.s3 import S3Storage

from queued_storage import replacing, traits, uploads, writing
from queued_storage.batch import drain
from queued_storage.catalog import keeping
from queued_storage.exceptions import NameTaken, OldContentNotRestored
from queued_storage.models import StoredFile
from queued_storage.storage import TieredStorage

from tests.support import faulty

NAME = "dir/a.txt"
OLD, NEW = b"old content, acknowledged", b"new"


class Refused(OSError):
    """What a test's tier says of a save."""


class Cupboard(FileSystemStorage):
    """A folder with a way of saving of its own: half of the content, then an error, when it is told."""

    #: Whether the next saves fail, one after the other.
    failing: ClassVar[list[bool]] = []
    tells_sizes: ClassVar[bool] = True

    def _save(self, name: str, content: File[Any]) -> str:
        if Cupboard.failing and Cupboard.failing.pop(0):
            super()._save(name, ContentFile(b"ne"))
            raise Refused("no space left")
        saved: str = super()._save(name, content)
        return saved

    def size(self, name: str) -> int:
        if not Cupboard.tells_sizes:
            raise Refused("no sizes today")
        size: int = super().size(name)
        return size


class ClosingStorage(faulty.FaultyStorage):
    """Closes what it is given, as django-storages' Dropbox does."""

    def _save(self, name: str, content: File[Any]) -> str:
        saved = super()._save(name, content)
        content.close()
        return saved


class OverwritingStorage(faulty.FaultyStorage):
    """Keeps the name of what it replaces, as object stores do."""

    file_overwrite = True

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return name


def of_this_module(kind: type, **options: Any) -> dict[str, Any]:
    return {"BACKEND": f"{__name__}.{kind.__name__}", "OPTIONS": options}


@pytest.fixture(autouse=True)
def _whole_world() -> Iterator[None]:
    Cupboard.failing, Cupboard.tells_sizes = [], True
    yield
    faulty.forget_all()


@pytest.fixture
def settings_of(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], Any]:
    def settings(kind: str) -> Any:
        if kind == "s3":
            return request.getfixturevalue("moto_s3").tier(file_overwrite=False)
        return {
            "disk": "disk",
            "memory": "memory",
            "cupboard": of_this_module(Cupboard, location=str(tmp_path / "first")),
            "cupboard that overwrites": of_this_module(
                Cupboard, location=str(tmp_path / "first"), allow_overwrite=True
            ),
            "remote": faulty.tier("first"),
            "closing": of_this_module(ClosingStorage, bucket="first"),
            "overwriting": of_this_module(OverwritingStorage, bucket="first"),
        }[kind]

    return settings


@pytest.fixture
def on(settings_of: Callable[[str], Any], make_chain: Any) -> Callable[..., TieredStorage]:
    """Make a chain on a first tier of this kind."""

    def make(kind: str, policy: str | None = "transfer") -> TieredStorage:
        storage: TieredStorage = make_chain({"first": settings_of(kind), "far": "disk"}, policy=policy)
        return storage

    return make


def read(storage: Any, name: str = NAME) -> bytes:
    with storage.open(name) as file:
        data: bytes = file.read()
        return data


def write(storage: TieredStorage, data: bytes, name: str = NAME) -> None:
    with storage.open(name, "wb") as file:
        file.write(data)


# ---- replacing content ----

#: The tier takes the new content neither beside its place nor in it, or only in one of them.
FULL, IN_PLACE = [True] * 9, [False, True]


@pytest.mark.parametrize("failing", [FULL, IN_PLACE])
@pytest.mark.parametrize("policy", ["transfer", None])
@pytest.mark.parametrize("kind", ["cupboard", "cupboard that overwrites"])
@pytest.mark.django_db(transaction=True)
def test_g1_failed_replacement_leaves_the_old_content(
    on: Any, kind: str, policy: str | None, failing: list[bool]
) -> None:
    storage = on(kind, policy)
    storage.save(NAME, ContentFile(OLD))
    Cupboard.failing = [*failing]
    with pytest.raises(Refused):
        write(storage, NEW)
    assert read(storage) == OLD
    assert storage.chain.first.storage.listdir("dir") == ([], ["a.txt"])


@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize("end", [faulty.refuse, faulty.cut_and_fail, faulty.fail_afterwards])
@pytest.mark.django_db(transaction=True)
def test_g1_replacement_that_a_remote_tier_fails_leaves_the_old_content(
    on: Any, end: faulty.Effect, call: int
) -> None:
    storage = on("remote")
    storage.save(NAME, ContentFile(OLD))
    faulty.bucket("first").on("save", end, calls=[call])
    with pytest.raises(OSError, match="save"):
        write(storage, NEW)
    assert faulty.bucket("first").files == {NAME: OLD}


@pytest.mark.django_db(transaction=True)
def test_g1_lost_answer_to_the_delete_before_a_replacement_loses_nothing(on: Any) -> None:
    storage = on("remote")
    storage.save(NAME, ContentFile(OLD))
    faulty.bucket("first").on("delete", faulty.fail_afterwards, calls=[1])
    with pytest.raises(OSError, match="delete"):
        write(storage, NEW)
    assert faulty.bucket("first").files == {NAME: OLD}


@pytest.mark.django_db(transaction=True)
def test_g1_refused_delete_before_a_replacement_leaves_the_old_content(
    on: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replacing.tempfile, "tempdir", str(tmp_path))
    storage = on("remote")
    storage.save(NAME, ContentFile(OLD))
    faulty.bucket("first").on("delete", faulty.refuse)
    with pytest.raises(OSError, match="delete refused"):
        write(storage, NEW)
    assert read(storage) == OLD
    assert not list(tmp_path.glob("queued-storage-*"))


@pytest.mark.django_db(transaction=True)
def test_old_content_that_cannot_be_put_back_is_kept_where_the_error_says(on: Any) -> None:
    storage = on("cupboard")
    storage.save(NAME, ContentFile(OLD))
    Cupboard.failing = [False, True, True]
    with pytest.raises(OldContentNotRestored, match=r"'dir/a\.txt'") as caught:
        write(storage, NEW)
    assert str(caught.value.kept) in str(caught.value)
    assert caught.value.kept.read_bytes() == OLD
    caught.value.kept.unlink()


@pytest.mark.parametrize("failing", [[], FULL, IN_PLACE])
@pytest.mark.django_db(transaction=True)
def test_content_kept_aside_is_removed(
    on: Any, failing: list[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replacing.tempfile, "tempdir", str(tmp_path))
    storage = on("cupboard")
    storage.save(NAME, ContentFile(OLD))
    Cupboard.failing = [*failing]
    with pytest.raises(Refused) if failing else nullcontext():
        write(storage, NEW)
    assert read(storage) == (OLD if failing else NEW)
    assert not list(tmp_path.glob("queued-storage-*"))


@pytest.mark.django_db(transaction=True)
def test_g4_first_content_that_fails_half_way_leaves_nothing_to_read(on: Any) -> None:
    storage = on("cupboard")
    Cupboard.failing = [*FULL]
    with pytest.raises(Refused):
        write(storage, NEW)
    assert not storage.exists(NAME)


@pytest.mark.django_db(transaction=True)
def test_g4_s3_that_numbers_names_never_deletes_what_is_replaced(on: Any) -> None:
    storage = on("s3")
    storage.save(NAME, ContentFile(OLD))
    first = storage.chain.first.storage
    deleted: list[Any] = []
    first.connection.meta.client.meta.events.register(
        "before-call.s3.DeleteObject", lambda **call: deleted.append(call)
    )
    write(storage, NEW)
    assert read(storage) == NEW
    assert (deleted, first.listdir("dir")) == ([], ([], ["a.txt"]))


@pytest.mark.django_db(transaction=True)
def test_g1_refused_put_leaves_the_old_object(on: Any) -> None:
    storage = on("s3")
    storage.save(NAME, ContentFile(OLD))

    def refuse(**call: Any) -> None:
        raise Refused("slow down")

    events = storage.chain.first.storage.connection.meta.client.meta.events
    events.register("before-call.s3.PutObject", refuse)
    with pytest.raises(Refused):
        write(storage, NEW)
    assert read(storage) == OLD


@pytest.mark.django_db(transaction=True)
def test_replacing_an_object_builds_no_second_client(on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = on("s3")
    storage.save(NAME, ContentFile(OLD))
    monkeypatch.delattr(S3Storage, "_create_session")
    write(storage, NEW)
    assert read(storage) == NEW
    assert storage.chain.first.storage.file_overwrite is False


@pytest.mark.parametrize(("option", "value"), [("file_overwrite", True), ("overwrite_files", True)])
def test_storage_that_replaces_is_a_copy_with_the_option_set(option: str, value: Any) -> None:
    storage = S3Storage(bucket_name="media", file_overwrite=False)
    twin = traits.with_option(storage, option, value)
    assert getattr(twin, option) is value
    assert twin._connections is storage._connections
    assert storage.file_overwrite is False


# ---- memory ----


class Breaking(io.BytesIO):
    """Ends in an error at the second read."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() and size:
            raise Refused("the source is gone")
        return super().read(3 if size else 0)


@pytest.mark.django_db(transaction=True)
def test_g4_memory_shows_nothing_of_content_that_breaks_off(on: Any) -> None:
    storage = on("memory")
    with pytest.raises(Refused):
        storage.save(NAME, File(Breaking(NEW * 3), "a.txt"))
    assert not storage.exists(NAME)


@pytest.mark.django_db(transaction=True)
def test_g4_memory_replaces_content_without_a_moment_without_it(
    on: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = on("memory")
    storage.save(NAME, ContentFile(OLD))
    monkeypatch.setattr(type(storage.chain.first.storage), "delete", None)
    write(storage, NEW)
    assert read(storage) == NEW


@pytest.mark.django_db(transaction=True)
def test_g1_memory_gives_a_name_to_one_of_two_savers(on: Any) -> None:
    storage = on("memory")
    first = storage.chain.first.storage
    with prepared(first, OLD) as one, prepared(first, NEW) as other:
        one.publish(NAME, overwrite=False)
        with pytest.raises(NameTaken):
            other.publish(NAME, overwrite=False)
    assert read(storage) == OLD


def prepared(storage: Any, data: bytes) -> Any:
    return writing.prepared(storage, NAME, ContentFile(data))


@pytest.mark.django_db(transaction=True)
def test_memory_refuses_a_directory_as_a_file(on: Any) -> None:
    storage = on("memory")
    storage.save(NAME, ContentFile(OLD))
    with pytest.raises(IsADirectoryError):
        write(storage, NEW, "dir")
    assert read(storage) == OLD


# ---- shapes of content ----


class Stream(io.RawIOBase):
    """What a socket gives: bytes, once."""

    def __init__(self, data: bytes) -> None:
        self._rest = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._rest.readinto(buffer)


class Readable:
    """As little of a file as there can be."""

    def __init__(self, data: bytes) -> None:
        self.read = io.BytesIO(data).read


def pipe(data: bytes) -> Any:
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    return open(reading, "rb")


def zip_member(data: bytes) -> Any:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("member", data)
    return zipfile.ZipFile(packed).open("member")


def temporary_upload(data: bytes) -> TemporaryUploadedFile:
    upload = TemporaryUploadedFile("a.txt", "text/plain", len(data), None)
    upload.write(data)
    return upload


SHAPES: dict[str, Callable[[bytes], Any]] = {
    "stream": lambda data: File(Stream(data)),
    "read alone": lambda data: File(Readable(data)),
    "pipe": pipe,
    "zip member": zip_member,
    "text": lambda data: ContentFile(data.decode()),
    "bytes": io.BytesIO,
    "upload": lambda data: SimpleUploadedFile("a.txt", data),
    "big upload": temporary_upload,
}
KINDS = ["disk", "memory", "cupboard", "remote", "closing", "overwriting", "s3"]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.django_db(transaction=True)
def test_any_content_is_saved_whole_on_any_first_tier(on: Any, kind: str, shape: str) -> None:
    storage, content = on(kind), SHAPES[shape]("Grüße".encode())
    name = storage.save(NAME, content)
    with suppress(AttributeError):  # there is one that has no close()
        content.close()
    assert read(storage, name) == "Grüße".encode()
    assert StoredFile.objects.get().size == 7


@pytest.mark.django_db(transaction=True)
def test_g1_stream_replaces_what_an_overwriting_tier_held(on: Any) -> None:
    storage = on("overwriting")
    storage.save(NAME, ContentFile(OLD))
    storage.save(NAME, File(Stream(NEW)))
    assert read(storage) == NEW


@pytest.mark.parametrize("kind", ["remote", "closing"])
@pytest.mark.django_db(transaction=True)
def test_g1_stream_is_saved_whole_under_another_name_if_the_first_is_taken_meanwhile(
    on: Any, kind: str
) -> None:
    storage = on(kind)
    faulty.bucket("first").on("save", faulty.rename, calls=[1])
    name = storage.save(NAME, File(Stream(NEW)))
    assert name != NAME
    assert faulty.bucket("first").files == {name: NEW}


@pytest.mark.parametrize("shape", ["bytes", "upload"])
@pytest.mark.parametrize("kind", ["closing", "s3"])
@pytest.mark.django_db(transaction=True)
def test_content_is_left_open_and_rewound(on: Any, kind: str, shape: str) -> None:
    content = SHAPES[shape](NEW)
    on(kind).save(NAME, content)
    assert content.read() == NEW


@pytest.mark.parametrize("kind", ["disk", "cupboard", "remote"])
@pytest.mark.parametrize(
    "save", [lambda storage: storage.save(NAME, ContentFile(NEW)), lambda s: write(s, NEW)]
)
@pytest.mark.django_db(transaction=True)
def test_g3_content_whose_row_cannot_be_written_is_taken_back(
    on: Any, kind: str, save: Callable[[TieredStorage], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = on(kind)

    def fail(*args: Any) -> Any:
        raise Refused("the row")

    monkeypatch.setattr(keeping, "_new_row", fail)
    with pytest.raises(Refused, match="the row"):
        save(storage)
    assert not storage.chain.first.storage.exists(NAME)
    assert not StoredFile.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_g3_size_that_cannot_be_told_neither_fails_the_save_nor_the_move(on: Any) -> None:
    storage = on("cupboard")
    Cupboard.tells_sizes = False
    storage.save(NAME, ContentFile(NEW))
    assert StoredFile.objects.get().size is None
    Cupboard.tells_sizes = True
    assert len(list(drain(own_process=False))) == 1
    assert (storage.state(NAME), StoredFile.objects.get().size) == ("settled", 3)


def test_storage_sees_the_attributes_of_the_upload(db: None) -> None:
    content = SimpleUploadedFile("a.txt", NEW, "text/plain")
    content.album = "summer"  # type: ignore[attr-defined]
    with uploads.repeatable(content) as upload:
        sent: Any = upload.file()
    assert (sent.album, sent.name, sent.size) == ("summer", "a.txt", 3)
    assert not hasattr(sent, "temporary_file_path")


# ---- headers of clients ----


def uploaded(content_type: Any, charset: Any = None, extra: Any = None) -> SimpleUploadedFile:
    upload = SimpleUploadedFile("a.txt", NEW, content_type)
    upload.charset, upload.content_type_extra = charset, extra
    return upload


HEADERS: dict[str, tuple[dict[str, Any], tuple[str, dict[str, Any]]]] = {
    "usual": ({"content_type": "text/plain", "charset": "utf-8"}, ("text/plain", {"charset": "utf-8"})),
    "spaces": ({"content_type": " text/plain "}, ("text/plain", {})),
    "longest": ({"content_type": "a/" + "b" * 253}, ("a/" + "b" * 253, {})),
    "too long": ({"content_type": "a/" + "b" * 254}, ("", {})),
    "nul": ({"content_type": "a/\0b"}, ("", {})),
    "line end": ({"content_type": "a/b\r\nX-Evil: 1"}, ("", {})),
    "delete": ({"content_type": "a/\x7f"}, ("", {})),
    "surrogate": ({"content_type": "a/\udc80"}, ("", {})),
    "no text": ({"content_type": 7}, ("", {})),
    "nul in charset": ({"content_type": "a/b", "charset": "utf\0-8"}, ("a/b", {"charset": "utf-8"})),
    "bytes": ({"content_type": "a/b", "extra": {"x": b"\xff\0y"}}, ("a/b", {"extra": {"x": "\ufffdy"}})),
    "nul in extra": ({"content_type": "a/b", "extra": {"x\0": ["a\0b"]}}, ("a/b", {"extra": {"x": ["ab"]}})),
    "surrogate in extra": ({"content_type": "a/b", "extra": {"x": "\udc80"}}, ("a/b", {"extra": {"x": "?"}})),
    "not in JSON": (
        {"content_type": "a/b", "extra": {"x": float("nan"), 1: None}},
        ("a/b", {"extra": {"x": "nan", "1": None}}),
    ),
}


@pytest.mark.parametrize(("headers", "kept"), HEADERS.values(), ids=HEADERS)
def test_headers_of_an_upload_never_fail_its_save(
    catalog_db: str, on: Any, headers: dict[str, Any], kept: Any
) -> None:
    storage = on("disk")
    storage.save(NAME, uploaded(**headers))
    row = StoredFile.objects.get()
    assert (row.content_type, row.metadata) == kept


@pytest.mark.parametrize("content_type", ["a/\0b", "text/plain\n", "text/plain"])
@pytest.mark.django_db(transaction=True)
def test_g9_object_store_gets_the_content_type_only_if_it_is_one(on: Any, content_type: str) -> None:
    storage = on("s3")
    storage.save("a.bin", uploaded(content_type))
    first = storage.chain.first.storage
    told = first.connection.meta.client.head_object(Bucket=first.bucket_name, Key="a.bin")["ContentType"]
    assert told == ("text/plain" if content_type == "text/plain" else "application/octet-stream")
