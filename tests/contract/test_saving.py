"""What ``save()`` promises: whole content under the name that it returns, the upload left as it was."""

from __future__ import annotations

import hashlib
import io
import os

import pytest
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile, File
from django.core.files.uploadedfile import InMemoryUploadedFile, SimpleUploadedFile, TemporaryUploadedFile

from tests.contract.arrangements import CATALOGUED, TYPED, Unseekable, read, upload

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["queued_storage"])

CONTENT = bytes(range(256)) * 40


def in_memory(folder):
    return InMemoryUploadedFile(io.BytesIO(CONTENT), "f", "up.bin", "image/png", len(CONTENT), None)


def temporary(folder):
    file = TemporaryUploadedFile("up.bin", "image/png", len(CONTENT), None)
    file.write(CONTENT)
    file.flush()
    return file


def opened(folder):
    (folder / "up.bin").write_bytes(CONTENT)
    return (folder / "up.bin").open("rb")


UPLOADS = {
    "SimpleUploadedFile": lambda folder: SimpleUploadedFile("up.bin", CONTENT),
    "InMemoryUploadedFile": in_memory,
    "TemporaryUploadedFile": temporary,
    "ContentFile": lambda folder: ContentFile(CONTENT, "up.bin"),
    "File": lambda folder: File(opened(folder), "up.bin"),
    "open()": opened,
    "BytesIO": lambda folder: io.BytesIO(CONTENT),
}


class TestContent:
    def test_saved_file_reads_back_by_the_returned_name(self, life):
        name = life.put("album/photo.bin", CONTENT)
        assert read(life.storage, name) == CONTENT

    def test_file_lies_on_the_tiers_of_its_policy(self, life):
        name = life.put("album/photo.bin", CONTENT)
        assert life.holders(name) == life.expected_tiers

    @pytest.mark.parametrize("life", CATALOGUED, ids=str, indirect=True)
    def test_catalog_names_the_tiers_that_hold_the_file(self, life):
        assert life.storage.tiers(life.put("photo.bin")) == life.expected_tiers

    @pytest.mark.parametrize("life", CATALOGUED, ids=str, indirect=True)
    def test_state_tells_whether_work_is_owed(self, life):
        expected = "pending" if life.case.moment == "saved" and len(life.tiers) > 1 else "settled"
        assert life.storage.state(life.put("photo.bin")) == expected

    def test_every_tier_holds_the_same_bytes(self, life):
        assert life.contents(life.put("photo.bin", CONTENT)) == {CONTENT}

    def test_empty_file_is_a_file(self, life):
        name = life.put("empty.txt", b"")
        assert life.storage.exists(name)
        assert life.storage.size(name) == 0
        assert read(life.storage, name) == b""

    def test_three_megabytes_arrive_whole(self, life):
        content = os.urandom(3 << 20)
        name = life.put("large.bin", content)
        assert hashlib.sha256(read(life.storage, name)).digest() == hashlib.sha256(content).digest()

    @pytest.mark.parametrize("text", [ContentFile("naïve ☃\n"), File(io.StringIO("naïve ☃\n"), "t")], ids=str)
    def test_text_is_saved_as_utf8(self, life, text):
        text.seek(0)
        name = life.put("note.txt", text)
        assert life.contents(name) == {"naïve ☃\n".encode()}
        assert life.storage.size(name) == len("naïve ☃\n".encode())

    def test_stream_that_cannot_seek_is_saved_whole(self, life):
        stream = File(io.BufferedReader(Unseekable(CONTENT)), "stream")
        stream.size = len(CONTENT)
        assert life.contents(life.put("stream.bin", stream)) == {CONTENT}


@pytest.fixture
def content(kind, tmp_path):
    """An upload of the kind, open."""
    folder = tmp_path / "uploads"
    folder.mkdir()
    with UPLOADS[kind](folder) as content:
        yield content


@pytest.mark.parametrize("kind", UPLOADS)
class TestUpload:
    """On every kind of first tier: an upload of any kind is read whole, and left open at its start."""

    def test_content_is_saved_whole_from_any_position(self, first_tier, content):
        content.seek(100)
        assert read(first_tier.storage, first_tier.storage.save("a.bin", content)) == CONTENT

    def test_content_is_left_open_at_its_start(self, first_tier, content):
        content.read(10)
        first_tier.storage.save("a.bin", content)
        assert not content.closed
        assert content.tell() == 0
        assert content.read() == CONTENT


# Django's own storages take a temporary file away: of that kind there is nothing left to save.
@pytest.mark.parametrize("kind", sorted(UPLOADS.keys() - {"TemporaryUploadedFile"}))
def test_content_can_be_saved_twice(first_tier, content):
    first = first_tier.storage.save("a.bin", content)
    second = first_tier.storage.save("b.bin", content)
    assert (read(first_tier.storage, first), read(first_tier.storage, second)) == (CONTENT, CONTENT)


class TestNameOfContent:
    def test_name_is_the_contents_own_if_none_is_given(self, first_tier):
        assert first_tier.storage.save(None, ContentFile(b"1", "own.txt")) == "own.txt"

    @pytest.mark.parametrize("name", ["", ".", "..", "a/..", "dir/"])
    def test_name_without_file_is_refused(self, first_tier, name):
        with pytest.raises(SuspiciousFileOperation):
            first_tier.storage.save(name, ContentFile(b"1"))

    @pytest.mark.parametrize("name", ["../up.txt", "a/../../up.txt", "/etc/up.txt", "a\\..\\..\\up.txt"])
    def test_path_traversal_is_refused(self, first_tier, name):
        with pytest.raises(SuspiciousFileOperation):
            first_tier.storage.save(name, ContentFile(b"1"))
        assert not any(first_tier.files().values())


TYPES = {
    ("photo.png", "image/png"): "image/png",
    ("photo", "image/png"): "image/png",
    ("own.png", "image/x-own"): "image/x-own",
    ("guessed.jpg", ""): "image/jpeg",
    ("unknown-type", ""): "application/octet-stream",
}


@pytest.mark.parametrize("life", TYPED, ids=str, indirect=True)
def test_g9_content_type_arrives_on_every_tier(life):
    for (name, given), expected in TYPES.items():
        saved = life.put(name, upload(b"x", given))
        keepers = [tier for tier in life.expected_tiers if tier.startswith("s3")]
        assert life.content_types(saved) == dict.fromkeys(keepers, expected)
