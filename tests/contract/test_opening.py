"""Files opened through the chain: read from every tier, written in every mode."""

from __future__ import annotations

import contextlib
import os

import pytest

from tests.contract.arrangements import CATALOGUED, read, upload
from tests.support import recording

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["queued_storage"])

LINES = b"first line\nsecond line\n\nlast without end"


def write_half(storage, name):
    """Open, write, and fail before the end of the with block."""
    with contextlib.suppress(RuntimeError), storage.open(name, "wb") as file:
        file.write(b"half")
        raise RuntimeError


class TestReading:
    @pytest.mark.parametrize("mode", ["rb", "br"])
    def test_binary_mode_gives_bytes(self, life, mode):
        with life.storage.open(life.put("a.txt", LINES), mode) as file:
            assert file.read() == LINES

    @pytest.mark.parametrize("mode", ["r", "rt"])
    def test_text_mode_gives_text(self, first_tier, mode):
        with first_tier.storage.open(first_tier.put("a.txt", "naïve ☃".encode()), mode) as file:
            assert file.read() == "naïve ☃"

    def test_text_is_read_from_every_tier(self, life):
        with life.storage.open(life.put("a.txt", "naïve ☃\nzwei\n".encode()), "r") as file:
            assert [file.readline(), file.read()] == ["naïve ☃\n", "zwei\n"]

    def test_file_can_be_sought_in(self, life):
        with life.storage.open(life.put("a.txt", LINES)) as file:
            file.seek(6)
            assert (file.read(4), file.tell()) == (b"line", 10)
            file.seek(-3, os.SEEK_END)
            assert file.read() == b"end"
            file.seek(0)
            assert file.read(5) == b"first"

    def test_lines_are_read_one_by_one(self, life):
        with life.storage.open(life.put("a.txt", LINES)) as file:
            assert file.readline() == b"first line\n"
            assert file.readlines() == [b"second line\n", b"\n", b"last without end"]

    def test_iteration_gives_lines(self, life):
        with life.storage.open(life.put("a.txt", LINES)) as file:
            assert list(file) == LINES.splitlines(keepends=True)

    def test_chunks_give_the_whole_from_the_start(self, life):
        with life.storage.open(life.put("a.txt", LINES)) as file:
            file.seek(5)
            chunks = list(file.chunks(10))
        assert b"".join(chunks) == LINES
        assert [len(chunk) for chunk in chunks] == [10, 10, 10, 10]

    def test_file_tells_name_and_size(self, life):
        name = life.put("folder/a.txt", LINES)
        with life.storage.open(name) as file:
            assert file.name.endswith("a.txt")
            assert file.size == len(LINES)

    def test_closed_file_is_closed(self, life):
        file = life.storage.open(life.put("a.txt", LINES))
        file.close()
        assert file.closed
        with pytest.raises(ValueError):
            file.read()
        file.close()

    def test_closed_file_can_be_opened_again(self, life):
        """As Django's FieldFile does with the file that it keeps."""
        file = life.storage.open(life.put("a.txt"))
        file.close()
        with file.open("rb") as again:
            assert (again.read(), again.size) == (b"content", 7)

    def test_opened_file_that_is_opened_again_is_at_its_start(self, life):
        with life.storage.open(life.put("a.txt")) as file:
            file.read()
            assert file.open().read() == b"content"

    def test_two_readers_do_not_share_a_position(self, life):
        name = life.put("a.txt", LINES)
        with life.storage.open(name) as one, life.storage.open(name) as other:
            assert (one.read(5), other.read(5), one.read(5)) == (b"first", b"first", b" line")


class TestReadingDuringAMove:
    """A file that was opened before a move reads on to its end after it."""

    CONTENT = os.urandom(3 << 20)

    @pytest.fixture
    def opened(self, chain):
        """Opened, and read from by the test before the move."""
        name = chain.storage.save("a.bin", upload(self.CONTENT))
        with chain.storage.open(name) as file:
            yield file

    def test_g1_opened_file_reads_on(self, chain, opened):
        start = opened.read(1000)
        recording.work()
        assert start + opened.read() == self.CONTENT

    def test_g1_opened_file_can_still_seek(self, chain, opened):
        opened.read(1000)
        recording.work()
        opened.seek(2 << 20)
        assert opened.read() == self.CONTENT[2 << 20 :]


class TestFieldFile:
    def test_file_that_was_read_before_its_move_is_read_after_it(self, chain):
        file = chain.storage.open(chain.storage.save("a.txt", upload(b"content")))
        file.close()
        recording.work()
        with file.open() as again:
            assert again.read() == b"content"

    @pytest.mark.parametrize("mode", ["wb", "ab"])
    def test_g4_closed_file_that_is_opened_to_write_is_written_through_the_chain(self, first_tier, mode):
        """Django's own File would write into the tier's file in place."""
        name = first_tier.storage.save("a.txt", upload(b"old"))
        file = first_tier.storage.open(name)
        file.close()
        with file.open(mode) as again:
            again.write(b"new")
            assert read(first_tier.storage, name) == b"old"
        assert read(first_tier.storage, name) == (b"new" if mode == "wb" else b"oldnew")


class TestWriting:
    """What is written through ``open()`` is saved as a whole when the file is closed, and owed as any other."""

    @pytest.mark.parametrize(
        ("mode", "written", "expected"),
        [
            ("wb", b"new", b"new"),
            ("w", "nëw", "nëw".encode()),
            ("wt", "new", b"new"),
            ("w+b", b"new", b"new"),
            ("ab", b"new", b"new"),
            ("a", "new", b"new"),
            ("xb", b"new", b"new"),
            ("x", "new", b"new"),
        ],
    )
    def test_new_file_is_made(self, first_tier, mode, written, expected):
        with first_tier.storage.open("folder/a.txt", mode) as file:
            file.write(written)
        assert first_tier.contents("folder/a.txt") == {expected}

    @pytest.mark.parametrize(
        ("mode", "written", "expected"),
        [
            ("wb", b"new", b"new"),
            ("w", "new", b"new"),
            ("ab", b" and new", b"old content and new"),
            ("a", " and new", b"old content and new"),
            ("r+b", b"NEW", b"NEW content"),
            ("rb+", b"NEW", b"NEW content"),
            ("r+", "NEW", b"NEW content"),
        ],
    )
    def test_existing_file_is_changed(self, first_tier, mode, written, expected):
        name = first_tier.put("a.txt", b"old content")
        with first_tier.storage.open(name, mode) as file:
            file.write(written)
        assert read(first_tier.storage, name) == expected

    @pytest.mark.parametrize("life", CATALOGUED, ids=str, indirect=True)
    def test_new_file_comes_where_its_policy_wants_it(self, life):
        with life.storage.open("a.txt", "wb") as file:
            file.write(b"written")
        life.arrive("a.txt")
        assert life.holders("a.txt") == life.expected_tiers
        assert life.contents("a.txt") == {b"written"}

    @pytest.mark.parametrize("life", CATALOGUED, ids=str, indirect=True)
    def test_g6_changed_file_replaces_the_old_one_on_every_tier(self, life):
        name = life.put("a.txt", b"old content")
        with life.storage.open(name, "ab") as file:
            file.write(b", and new")
        assert read(life.storage, name) == b"old content, and new"
        life.arrive(name)
        assert life.contents(name) == {b"old content, and new"}
        assert life.files() == {
            tier.name: [name] if tier.name in life.expected_tiers else [] for tier in life.tiers
        }

    def test_file_opened_to_update_reads_the_old_content(self, first_tier):
        name = first_tier.put("a.txt", b"old content")
        with first_tier.storage.open(name, "r+b") as file:
            assert file.read(4) == b"old "
            file.write(b"CONTENT")
        assert read(first_tier.storage, name) == b"old CONTENT"

    def test_g4_nothing_is_seen_before_the_close(self, first_tier):
        name = first_tier.put("a.txt", b"old content")
        with first_tier.storage.open(name, "wb") as file:
            file.write(b"new")
            file.flush()
            assert read(first_tier.storage, name) == b"old content"

    def test_with_block_that_raises_leaves_everything_as_it_was(self, life):
        name = life.put("a.txt", b"old content")
        before = life.files()
        write_half(life.storage, name)
        assert read(life.storage, name) == b"old content"
        assert life.files() == before

    def test_with_block_that_raises_makes_no_file(self, life):
        write_half(life.storage, "new.txt")
        assert not life.storage.exists("new.txt")
        assert not any(life.files().values())

    def test_closing_twice_saves_once(self, first_tier):
        file = first_tier.storage.open("a.txt", "wb")
        file.write(b"1")
        file.close()
        file.close()
        assert len(recording.RecordingDispatcher.calls) == (len(first_tier.tiers) > 1)

    def test_large_file_is_written_whole(self, first_tier):
        content = os.urandom(3 << 20)
        with first_tier.storage.open("a.bin", "wb") as file:
            for start in range(0, len(content), 1 << 16):
                file.write(content[start : start + (1 << 16)])
        assert read(first_tier.storage, "a.bin") == content

    def test_exclusive_mode_refuses_an_existing_file(self, life):
        name = life.put("a.txt", b"old")
        with pytest.raises(FileExistsError):
            life.storage.open(name, "xb")
        assert read(life.storage, name) == b"old"

    def test_update_mode_needs_a_file(self, life):
        with pytest.raises(FileNotFoundError):
            life.storage.open("missing.txt", "r+b")

    @pytest.mark.parametrize("name", ["../a.txt", "/etc/a.txt"])
    def test_path_traversal_is_refused(self, first_tier, name):
        from django.core.exceptions import SuspiciousFileOperation

        with pytest.raises(SuspiciousFileOperation):
            first_tier.storage.open(name, "wb")


@pytest.mark.parametrize("mode", ["", "b", "rw", "rr", "rbt", "U", "z", "wx", "a+r", "r b"])
def test_invalid_mode_is_refused(first_tier, mode):
    name = first_tier.put("a.txt")
    with pytest.raises(ValueError, match="mode"):
        first_tier.storage.open(name, mode)
