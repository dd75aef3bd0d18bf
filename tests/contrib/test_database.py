"""DatabaseStorage on SQLite, PostgreSQL and MariaDB: whole or not at all, in the caller's transaction."""

from __future__ import annotations

import errno
import io
import posixpath
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.core.files.base import ContentFile, File
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import OperationalError, connections, transaction
from django.db.models.signals import post_delete
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from queued_storage.contrib.storages.database import DatabaseStorage
from queued_storage.contrib.storages.models import DatabaseChunk, DatabaseContent, DatabaseFile

from tests import routers
from tests.support import clock

MB = 1 << 20
NAMES = [
    "a.txt",
    "in a/b c.txt",
    "ünïcode/日本語/🙂.txt",
    "x" * 200 + "/" + "y" * 700 + "/" + "z" * 120,
    "日" * 340 + "/" + "本" * 340 + "/" + "語" * 340,
    "-- %s ' \" ; *.txt",
    "./a//b/./c.txt",
]


@pytest.fixture
def storage(catalog_db: str) -> DatabaseStorage:
    return DatabaseStorage(chunk_size=1000)


def in_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Run it in threads that start together and close their connections."""
    start = threading.Barrier(count)

    def run(number: int) -> Any:
        try:
            start.wait(10)
            return work(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def save(storage: DatabaseStorage, content: bytes, name: str = "a.txt") -> str:
    return storage.save(name, ContentFile(content))


def read(storage: DatabaseStorage, name: str = "a.txt") -> bytes:
    with storage.open(name) as file:
        content: bytes = file.read()
    return content


class Breaking(io.RawIOBase):
    """Bytes that end with an error."""

    def __init__(self, size: int, error: BaseException) -> None:
        self._left, self._error = size, error

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return 0

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            raise self._error
        count = min(self._left, len(buffer))
        buffer[:count] = bytes(count)
        self._left -= count
        return count


# ---- content ----


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 3000, 250_123])
def test_content_comes_back_whole(storage: DatabaseStorage, size: int) -> None:
    content = bytes(number % 251 for number in range(size))
    name = save(storage, content)
    assert (name, storage.size(name), read(storage, name)) == ("a.txt", size, content)
    assert DatabaseChunk.objects.count() == -(-size // 1000)


@pytest.mark.parametrize("name", NAMES)
def test_name_is_kept_as_it_is(storage: DatabaseStorage, name: str) -> None:
    saved = save(storage, b"content", name)
    assert saved == posixpath.normpath(name)
    assert storage.exists(name)
    assert read(storage, saved) == b"content"


def test_names_are_told_apart_by_case_accents_and_blanks(storage: DatabaseStorage) -> None:
    names = ["a.txt", "A.txt", "ä.txt", "a.txt ", "\uff41.txt", "a\u0308.txt"]
    for name in names:
        assert save(storage, name.encode(), name) == name
    assert [read(storage, name).decode() for name in names] == names
    assert storage.listdir("")[1] == sorted(names)


@pytest.mark.parametrize("name", ["../a.txt", "/a.txt", "a/../../b.txt"])
def test_name_outside_is_refused(storage: DatabaseStorage, name: str) -> None:
    for method in (storage.open, storage.exists, storage.size, storage.delete):
        with pytest.raises(SuspiciousFileOperation):
            method(name)


def test_name_with_a_nul_is_refused(storage: DatabaseStorage) -> None:
    with pytest.raises(SuspiciousFileOperation, match="NUL"):
        save(storage, b"content", "a\0.txt")


def test_ranges_are_read_without_the_rest(storage: DatabaseStorage, catalog_db: str) -> None:
    content = bytes(number % 251 for number in range(100_000))
    save(storage, content)
    with storage.open("a.txt") as file, CaptureQueriesContext(connections[catalog_db]) as queries:
        file.seek(50_500)
        assert file.read(10) == content[50_500:50_510]
        file.seek(-5, io.SEEK_END)
        assert file.read() == content[-5:]
        assert file.read() == b""
        assert file.tell() == file.size == 100_000
    assert len(queries) <= 2 * (io.DEFAULT_BUFFER_SIZE // 1000 + 2)


def test_content_is_saved_from_its_start_and_left_open(storage: DatabaseStorage) -> None:
    content = ContentFile(b"content")
    content.read(3)
    assert read(storage, storage.save("a.txt", content)) == b"content"
    assert not content.closed


def test_text_is_saved_in_utf_8_and_read_as_text(storage: DatabaseStorage) -> None:
    storage.save("a.txt", ContentFile("grün\nblau"))
    with storage.open("a.txt", "r") as file:
        assert file.read() == "grün\nblau"


@pytest.mark.parametrize("mode", ["wb", "ab", "r+b", "x"])
def test_files_are_opened_for_reading_only(storage: DatabaseStorage, mode: str) -> None:
    with pytest.raises(io.UnsupportedOperation, match=r"save\(\)"):
        storage.open("a.txt", mode)


@pytest.mark.parametrize("method", ["open", "size", "get_modified_time", "get_created_time", "content_type"])
def test_missing_file(storage: DatabaseStorage, method: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.txt"):
        getattr(storage, method)("missing.txt")


def test_exists_knows_files_alone(storage: DatabaseStorage) -> None:
    save(storage, b"content", "in/a.txt")
    assert [storage.exists(name) for name in ("in/a.txt", "in", "in/", "", "in/b.txt")] == [True] + [
        False
    ] * 4


@pytest.mark.parametrize(
    ("told", "name", "kept"),
    [
        ("text/x-own; charset=utf-8", "a.bin", "text/x-own; charset=utf-8"),
        ("", "a.png", "image/png"),
        ("text/html\r\nX-Evil: 1", "a.png", "image/png"),
        ("x" * 256, "a", ""),
    ],
)
def test_content_type_is_kept(storage: DatabaseStorage, told: str, name: str, kept: str) -> None:
    storage.save(name, SimpleUploadedFile(name, b"content", content_type=told))
    assert storage.content_type(name) == kept


@pytest.mark.parametrize("use_tz", [True, False])
def test_times_are_as_the_settings_say(storage: DatabaseStorage, settings: Any, use_tz: bool) -> None:
    settings.USE_TZ = use_tz
    before = timezone.now()
    save(storage, b"content")
    assert before <= storage.get_modified_time("a.txt") <= timezone.now()
    assert storage.get_created_time("a.txt") == storage.get_modified_time("a.txt")
    with pytest.raises(NotImplementedError):
        storage.get_accessed_time("a.txt")


def test_url_needs_a_base(storage: DatabaseStorage) -> None:
    with pytest.raises(ValueError, match="not accessible via a URL"):
        storage.url("a.txt")
    assert DatabaseStorage(base_url="/files").url("in/ä b.txt") == "/files/in/%C3%A4%20b.txt"


def test_memory_does_not_grow_with_the_file(catalog_db: str) -> None:
    storage = DatabaseStorage()
    block = bytes(MB)

    class Long(File):  # type: ignore[type-arg]
        def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
            yield from (block for _ in range(64))

    tracemalloc.start()
    try:
        storage.save("a.bin", Long(io.BytesIO(b""), name="a.bin"))
        with storage.open("a.bin") as file:
            read = sum(len(chunk) for chunk in file.chunks())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read == 64 * MB
    assert peak < 6 * MB


# ---- taken names ----


def test_taken_name_becomes_another(storage: DatabaseStorage) -> None:
    save(storage, b"first")
    other = save(storage, b"second")
    assert other != "a.txt"
    assert (read(storage), read(storage, other)) == (b"first", b"second")


def test_two_savers_of_one_name_get_two_files(
    storage: DatabaseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        DatabaseStorage, "is_name_available", lambda *_, **__: True
    )  # as each sees it before the other
    names = in_threads(2, lambda number: save(storage, bytes([number]) * 5000))
    assert "a.txt" in names
    assert [read(storage, name) for name in names] == [bytes([number]) * 5000 for number in range(2)]


def test_overwriting_replaces_at_once(catalog_db: str) -> None:
    storage = DatabaseStorage(allow_overwrite=True, chunk_size=1000)
    for content in (b"1" * 5000, b"2", b""):
        assert save(storage, content) == "a.txt"
        assert read(storage) == content
    assert storage.listdir("") == ([], ["a.txt"])


def test_savers_that_overwrite_one_name_end_with_one_of_them(catalog_db: str) -> None:
    storage = DatabaseStorage(allow_overwrite=True, chunk_size=100, linger=0)
    contents = [bytes([number]) * 1000 for number in range(4)]

    def save_often(number: int) -> set[str]:
        return {save(storage, contents[number]) for _ in range(5)}

    assert in_threads(4, save_often) == [{"a.txt"}] * 4
    assert read(storage) in contents
    storage.collect(100)
    assert (DatabaseContent.objects.count(), DatabaseChunk.objects.count()) == (1, 10)


@pytest.mark.parametrize("statement", ["INSERT", "UPDATE", "DELETE"])
def test_save_begins_again_where_the_database_ends_it_in_a_deadlock(catalog_db: str, statement: str) -> None:
    storage = DatabaseStorage(allow_overwrite=True, chunk_size=100, linger=0)
    save(storage, b"1" * 500)
    ended: set[str] = set()

    def end_first(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith(statement) and sql not in ended:
            ended.add(sql)
            raise OperationalError(1213, "Deadlock found when trying to get lock; try restarting transaction")
        return execute(sql, params, many, context)

    with connections[catalog_db].execute_wrapper(end_first):
        save(storage, b"2" * 500)
    assert ended
    assert read(storage) == b"2" * 500
    storage.collect(100)
    assert (DatabaseContent.objects.count(), DatabaseChunk.objects.count()) == (1, 5)


def test_deadlock_in_a_transaction_of_the_caller_is_the_callers(catalog_db: str) -> None:
    def end(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("INSERT"):
            raise OperationalError(1213, "Deadlock found when trying to get lock; try restarting transaction")
        return execute(sql, params, many, context)

    storage = DatabaseStorage(chunk_size=100)
    with (
        pytest.raises(OperationalError),
        transaction.atomic(using=catalog_db),
        connections[catalog_db].execute_wrapper(end),
    ):
        save(storage, b"1" * 500)
    assert not storage.exists("a.txt")


def test_reader_of_replaced_content_goes_on_to_its_end(catalog_db: str) -> None:
    storage = DatabaseStorage(allow_overwrite=True, chunk_size=100)
    save(storage, b"1" * 20_000)
    with storage.open("a.txt") as file:
        begun = file.read(10)
        save(storage, b"2" * 50)
        assert begun + file.read() == b"1" * 20_000
    assert read(storage) == b"2" * 50


def test_reader_polling_during_replacements_sees_old_or_new(catalog_db: str) -> None:
    storage = DatabaseStorage(allow_overwrite=True, chunk_size=1000)
    contents = [bytes([letter]) * 20_000 for letter in b"abc"]
    save(storage, contents[0])
    ended = threading.Event()

    def work(number: int) -> set[bytes]:
        seen: set[bytes] = set()
        if number:
            try:
                for turn in range(30):
                    save(storage, contents[turn % 3])
            finally:
                ended.set()
        while not ended.is_set():
            seen.add(read(storage))
        return seen

    seen = in_threads(2, work)[0]
    assert seen
    assert seen <= set(contents)


# ---- failures ----


@pytest.mark.parametrize("inside", [False, True])
def test_source_that_breaks_off_leaves_nothing(
    storage: DatabaseStorage, catalog_db: str, inside: bool
) -> None:
    def save_broken() -> None:
        with pytest.raises(RuntimeError, match="gone"):
            storage.save("a.txt", File(Breaking(150_000, RuntimeError("gone")), name="a.txt"))

    if inside:
        with transaction.atomic(using=catalog_db):
            save_broken()
    else:
        save_broken()
    assert not storage.exists("a.txt")
    assert (DatabaseContent.objects.count(), DatabaseChunk.objects.count()) == (0, 0)


def test_source_that_breaks_off_leaves_the_old_content(catalog_db: str) -> None:
    storage = DatabaseStorage(allow_overwrite=True)
    save(storage, b"old")
    with pytest.raises(RuntimeError, match="gone"):
        storage.save("a.txt", File(Breaking(150_000, RuntimeError("gone")), name="a.txt"))
    assert read(storage) == b"old"


def test_content_of_a_save_that_was_collected_is_not_published(
    storage: DatabaseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = ContentFile(b"1" * 5000)
    content.size = None  # type: ignore[assignment] # not short, as far as it is known

    def lose(*_: Any, **__: Any) -> Iterator[bytes]:
        yield b"1" * 1000
        DatabaseContent.objects.update(expires_at=timezone.now())
        storage.collect()

    monkeypatch.setattr(content, "chunks", lose)
    with pytest.raises(OSError, match="left behind") as raised:
        storage.save("a.txt", content)
    assert raised.value.errno == errno.ESTALE
    assert not storage.exists("a.txt")


# ---- transactions ----


def test_rolled_back_save_leaves_nothing(storage: DatabaseStorage, catalog_db: str) -> None:
    with transaction.atomic(using=catalog_db):
        save(storage, b"1" * 5000)
        assert read(storage) == b"1" * 5000
        transaction.set_rollback(True, using=catalog_db)
    assert not storage.exists("a.txt")
    assert (DatabaseContent.objects.count(), DatabaseChunk.objects.count()) == (0, 0)


def test_rolled_back_replacement_and_delete_leave_the_old_content(catalog_db: str) -> None:
    storage = DatabaseStorage(allow_overwrite=True, linger=0)
    save(storage, b"old")
    for change in (lambda: save(storage, b"new"), lambda: storage.delete("a.txt")):
        with transaction.atomic(using=catalog_db):
            change()
            transaction.set_rollback(True, using=catalog_db)
        assert read(storage) == b"old"


def test_uncommitted_save_is_nobody_elses(storage: DatabaseStorage, catalog_db: str) -> None:
    if catalog_db == "default":
        pytest.skip("SQLite: the other connection would wait for the transaction")
    with transaction.atomic(using=catalog_db):
        save(storage, b"content")
        assert in_threads(1, lambda _: storage.exists("a.txt")) == [False]
    assert in_threads(1, lambda _: storage.exists("a.txt")) == [True]


def test_taken_name_does_not_break_the_callers_transaction(
    storage: DatabaseStorage, catalog_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(storage, b"first")
    monkeypatch.setattr(DatabaseStorage, "is_name_available", lambda *_, **__: True)
    with transaction.atomic(using=catalog_db):
        name = save(storage, b"second")
        assert read(storage, name) == b"second"
    assert (read(storage), read(storage, name)) == (b"first", b"second")


# ---- deleting, and what stays for a while ----


def test_deleted_file_is_gone_and_deleting_again_does_nothing(storage: DatabaseStorage) -> None:
    save(storage, b"content")
    for _ in range(2):
        storage.delete("a.txt")
        assert not storage.exists("a.txt")
    assert storage.listdir("") == ([], [])
    assert save(storage, b"again") == "a.txt"
    with pytest.raises(ValueError, match="name"):
        storage.delete("")


def test_reader_of_a_deleted_file_goes_on_to_its_end(storage: DatabaseStorage) -> None:
    save(storage, b"1" * 100_000)
    with storage.open("a.txt") as file:
        storage.delete("a.txt")
        assert file.read() == b"1" * 100_000


def test_content_that_does_not_linger_is_removed_at_once(catalog_db: str) -> None:
    storage = DatabaseStorage(chunk_size=1000, linger=0)
    save(storage, b"1" * 100_000)
    with storage.open("a.txt") as file:
        file.read(1)
        storage.delete("a.txt")
        assert (DatabaseContent.objects.count(), DatabaseChunk.objects.count()) == (0, 0)
        with pytest.raises(OSError, match="Replaced or deleted") as raised:
            file.read()
    assert raised.value.errno == errno.ESTALE


def test_what_has_lingered_long_enough_goes_with_a_later_save(storage: DatabaseStorage) -> None:
    save(storage, b"1" * 5000)
    storage.delete("a.txt")
    save(storage, b"2", "b.txt")
    assert DatabaseContent.objects.count() == 2
    DatabaseContent.objects.filter(expires_at__isnull=False).update(expires_at=timezone.now())
    save(storage, b"3", "c.txt")
    assert (DatabaseContent.objects.count(), DatabaseChunk.objects.count()) == (2, 2)


def test_half_written_content_of_a_crash_is_collected_after_a_day(storage: DatabaseStorage) -> None:
    with clock.stopped() as time:
        left = storage.rows.new_content(1000, "")
        storage.rows.add_chunk(left, 0, b"1" * 1000)
        time.shift(86_399)
        assert storage.collect() == 0
        time.shift(1)
        assert storage.collect() == 1
    assert DatabaseChunk.objects.count() == 0


def test_collecting_loads_no_chunk_for_those_who_listen_to_all_signals(catalog_db: str) -> None:
    storage = DatabaseStorage(linger=0, chunk_size=1000)
    heard: list[type] = []

    def listen(sender: type, **_: Any) -> None:
        heard.append(sender)

    save(storage, b"1" * 5000)
    post_delete.connect(listen)
    try:
        storage.delete("a.txt")
    finally:
        post_delete.disconnect(listen)
    assert heard == [DatabaseFile]
    assert DatabaseChunk.objects.count() == 0


# ---- listing ----

TREE = [
    "a.txt", "b/1.txt", "b/c/2.txt", "b/c/d/3.txt", "b-c/4.txt", "b0/5.txt", "b /6.txt", "b\x01/7.txt", "ü/8.txt",
    "B/9.txt", "b/c-d/10.txt", "%/11.txt", "_/12.txt", "🙂/13.txt",
]  # fmt: skip


def children(names: list[str], folder: str) -> tuple[list[str], list[str]]:
    below = [name.removeprefix(folder) for name in names if name.startswith(folder)]
    return (
        sorted({name.partition("/")[0] for name in below if "/" in name}),
        sorted(name for name in below if "/" not in name),
    )


@pytest.mark.parametrize("folder", ["", "b", "b/c", "b/", "ü", "B", "b-c", "missing", ".", "/"])
def test_listdir_tells_children_alone(storage: DatabaseStorage, folder: str) -> None:
    for name in TREE:
        save(storage, b"", name)
    path = f"{folder.strip('/.')}/".lstrip("/")
    assert storage.listdir(folder) == children(TREE, path)


def test_listdir_of_folders_whose_paths_are_longer_than_the_index(storage: DatabaseStorage) -> None:
    ends = ["日" * 340, "日" * 341, "日" * 345 + "a", "日" * 345 + "b", "x" * 1024, "x" * 1023, "x" * 1025]
    names = [f"{end}/{rest}" for end in ends for rest in ("1.txt", "deep/2.txt", "deeper/and/3.txt")]
    for name in names:
        save(storage, b"", name)
    for folder in ["", *(f"{end}/" for end in ends), *(f"{end}/deep/" for end in ends)]:
        assert storage.listdir(folder) == children(names, folder)


def test_listdir_costs_a_query_for_each_folder_not_for_each_file(
    storage: DatabaseStorage, catalog_db: str
) -> None:
    for folder in "abc":
        for number in range(20):
            save(storage, b"", f"{folder}/{number // 5}/{number}.txt")
    with CaptureQueriesContext(connections[catalog_db]) as queries:
        assert storage.listdir("") == (["a", "b", "c"], [])
    assert len(queries) == 3 + 1 + 1


def test_listdir_searches_an_index(storage: DatabaseStorage, catalog_db: str) -> None:
    if catalog_db != "default" or connections[catalog_db].vendor != "sqlite":
        pytest.skip("the plans of servers depend on how much there is")
    with CaptureQueriesContext(connections[catalog_db]) as queries:
        storage.listdir("in")
    with connections[catalog_db].cursor() as cursor:
        for query in queries:
            cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
            (plan,) = cursor.fetchall()
            assert plan[-1].startswith("SEARCH"), plan
            assert "folder" in plan[-1], plan


def test_locations_are_apart(catalog_db: str) -> None:
    one, two = DatabaseStorage(location="one"), DatabaseStorage(location="one/two/")
    assert save(one, b"1", "in/a.txt") == "in/a.txt"
    assert save(two, b"2", "in/a.txt") == "in/a.txt"
    assert (read(one, "in/a.txt"), read(two, "in/a.txt")) == (b"1", b"2")
    assert two.listdir("") == (["in"], [])
    assert two.listdir("in") == ([], ["a.txt"])
    assert one.listdir("") == (["in", "two"], [])
    two.delete("in/a.txt")
    assert one.exists("in/a.txt")


# ---- settings ----


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"using": "other"}, "DATABASES has no 'other'; it has default"),
        ({"chunk_size": 0}, "chunk_size from 1 to"),
        ({"chunk_size": 100 * MB}, "chunk_size from 1 to"),
    ],
)
def test_mistakes_in_the_options_are_told(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=told):
        DatabaseStorage(**options)


def test_app_that_is_not_installed_is_told(settings: Any) -> None:
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if "contrib.storages" not in app]
    with pytest.raises(
        ImproperlyConfigured, match=r"Add 'queued_storage\.contrib\.storages' to INSTALLED_APPS"
    ):
        DatabaseStorage()


def test_storage_is_written_into_migrations_by_its_path() -> None:
    storage = DatabaseStorage("default", location="in")
    path, arguments, options = storage.deconstruct()  # type: ignore[attr-defined]
    assert path == "queued_storage.contrib.storages.database.DatabaseStorage"
    assert (arguments, options) == (("default",), {"location": "in"})


def test_routers_choose_the_database_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routers.CatalogRouter, "alias", "elsewhere")
    assert DatabaseStorage().rows.using == "elsewhere"
    assert DatabaseStorage("default").rows.using == "default"


@pytest.mark.django_db(databases="__all__")
def test_migrations_say_what_the_models_say() -> None:
    call_command("makemigrations", "queued_storage_storages", check=True, dry_run=True, verbosity=0)
