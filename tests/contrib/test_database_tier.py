"""DatabaseStorage in a chain: as the first tier, in the caller's transaction, and as a lower one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile, File
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connections, transaction
from django.utils import timezone

from queued_storage import failures, knowledge
from queued_storage.checks import check_chains
from queued_storage.contrib.storages.database import DatabaseStorage
from queued_storage.contrib.storages.models import DatabaseContent
from queued_storage.knowledge import Backend
from queued_storage.knowledge.base import _backends
from queued_storage.models import StoredFile
from queued_storage.testing import run_owed_work

from tests.conftest import tier_settings
from tests.contrib.test_database import Breaking
from tests.support import databases, recording
from tests.support.servers import S3Server

BACKEND = "queued_storage.contrib.storages.database.DatabaseStorage"
CONTENT = bytes(number % 251 for number in range(700_000))


def tier(**options: Any) -> dict[str, Any]:
    return {"BACKEND": BACKEND, "OPTIONS": options}


@pytest.fixture
def recorded(settings: Any) -> None:
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH


@pytest.fixture
def chain(recorded: None, catalog_db: str, make_chain: Any, moto_s3: S3Server) -> Any:
    """The database in front of S3."""
    return make_chain(
        {"database": tier(), "s3": moto_s3.tier(file_overwrite=False)}, policy="transfer-and-delete"
    )


def read(storage: Any, name: str) -> bytes:
    with storage.open(name) as file:
        content: bytes = file.read()
    return content


@pytest.mark.servers
@pytest.mark.parametrize("size", [0, 10, len(CONTENT)])
def test_file_goes_from_the_database_to_s3(chain: Any, size: int) -> None:
    name = chain.save("in/ä b.bin", ContentFile(CONTENT[:size]))
    assert chain.tiers(name) == ["database"]
    assert read(chain, name) == CONTENT[:size]
    assert run_owed_work() == 1
    assert (chain.tiers(name), chain.state(name)) == (["s3"], "settled")
    assert DatabaseContent.objects.filter(expires_at__isnull=True).count() == 0
    with chain.open(name) as file:
        file.seek(size // 2)
        assert file.read() == CONTENT[size // 2 : size]
    chain.delete(name)
    run_owed_work()
    assert not chain.exists(name)


@pytest.mark.servers
@pytest.mark.django_db(transaction=False)
def test_chain_works_inside_a_test_cases_transaction(chain: Any, catalog_db: str) -> None:
    """Threads of S3's client could not see what this transaction wrote."""
    name = chain.save("a.bin", ContentFile(CONTENT))
    assert run_owed_work() == 1
    assert chain.tiers(name) == ["s3"]
    assert read(chain, name) == CONTENT


@pytest.mark.servers
def test_reader_goes_on_while_the_file_moves_on(chain: Any) -> None:
    name = chain.save("a.bin", ContentFile(CONTENT))
    with chain.open(name) as file:
        begun = file.read(10)
        run_owed_work()
        assert chain.tiers(name) == ["s3"]
        assert begun + file.read() == CONTENT


@pytest.mark.servers
def test_content_type_goes_along(recorded: None, catalog_db: str, make_chain: Any, moto_s3: S3Server) -> None:
    bucket = moto_s3.make_bucket()
    chain = make_chain({"database": tier(), "s3": moto_s3.tier(bucket)})
    name = chain.save("a.bin", SimpleUploadedFile("a.bin", b"content", content_type="text/x-own"))
    run_owed_work()
    assert moto_s3.client.head_object(Bucket=bucket, Key=name)["ContentType"] == "text/x-own"


@pytest.fixture
def first(recorded: None, catalog_db: str, make_chain: Any) -> Any:
    return make_chain({"database": tier(), "disk": "disk"})


def test_g7_rolled_back_save_leaves_neither_file_nor_row(first: Any, catalog_db: str) -> None:
    with transaction.atomic(using=catalog_db):
        name = first.save("a.txt", ContentFile(b"content"))
        assert read(first, name) == b"content"
        transaction.set_rollback(True, using=catalog_db)
    assert not first.exists("a.txt")
    assert (StoredFile.objects.count(), DatabaseContent.objects.count()) == (0, 0)


def test_g7_rolled_back_delete_loses_nothing(first: Any, catalog_db: str) -> None:
    first.save("a.txt", ContentFile(b"content"))
    with transaction.atomic(using=catalog_db):
        first.delete("a.txt")
        assert not first.exists("a.txt")
        transaction.set_rollback(True, using=catalog_db)
    assert read(first, "a.txt") == b"content"


def test_g4_upload_that_breaks_off_leaves_nothing(first: Any) -> None:
    with pytest.raises(RuntimeError, match="gone"):
        first.save("a.txt", File(Breaking(700_000, RuntimeError("gone")), name="a.txt"))
    assert not first.exists("a.txt")
    assert (StoredFile.objects.count(), DatabaseContent.objects.count()) == (0, 0)


def test_g4_replacement_is_the_old_or_the_new_content(first: Any, catalog_db: str) -> None:
    first.save("a.txt", ContentFile(b"old"))
    run_owed_work()
    with transaction.atomic(using=catalog_db):
        with first.open("a.txt", "wb") as file:
            file.write(b"new")
        assert read(first, "a.txt") == b"new"
        transaction.set_rollback(True, using=catalog_db)
    assert read(first, "a.txt") == b"old"
    with first.open("a.txt", "wb") as file:
        file.write(b"new")
    run_owed_work()
    assert read(first, "a.txt") == b"new"
    assert first.tiers("a.txt") == ["database", "disk"]
    assert read(first.chain["disk"].storage, "a.txt") == b"new"


def test_taken_name_becomes_another_in_the_callers_transaction(first: Any, catalog_db: str) -> None:
    with transaction.atomic(using=catalog_db):
        names = [first.save("a.txt", ContentFile(content)) for content in (b"1", b"2")]
    assert len(set(names)) == 2
    assert [read(first, name) for name in names] == [b"1", b"2"]


def test_deleted_file_is_gone_at_commit(first: Any, catalog_db: str) -> None:
    first.save("a.txt", ContentFile(b"content"))
    first.delete("a.txt")
    assert not DatabaseStorage().exists("a.txt")
    assert first.save("a.txt", ContentFile(b"again")) == "a.txt"


@pytest.fixture
def lower(recorded: None, catalog_db: str, make_chain: Any) -> Any:
    return make_chain({"disk": "disk", "database": tier() | {"TIMEOUT": 2}}, policy="transfer-and-delete")


def test_file_goes_from_disk_to_the_database_and_back_to_its_reader(lower: Any) -> None:
    name = lower.save("in/a.bin", ContentFile(CONTENT))
    run_owed_work()
    assert (lower.tiers(name), lower.state(name)) == (["database"], "settled")
    with lower.open(name) as file:
        file.seek(600_000)
        assert file.read() == CONTENT[600_000:]
    assert lower.size(name) == len(CONTENT)
    assert lower.listdir("") == (["in"], [])
    lower.delete(name)
    run_owed_work()
    assert not DatabaseStorage().exists(name)


def test_replaced_file_is_replaced_in_the_database(lower: Any) -> None:
    lower.save("a.txt", ContentFile(b"old"))
    run_owed_work()
    with lower.open("a.txt", "wb") as file:
        file.write(b"new")
    run_owed_work()
    assert read(DatabaseStorage(), "a.txt") == b"new"
    assert DatabaseStorage().listdir("") == ([], ["a.txt"])


def test_name_that_the_database_has_is_not_free(lower: Any) -> None:
    DatabaseStorage().save("a.txt", ContentFile(b"theirs"))
    assert lower.save("a.txt", ContentFile(b"ours")) != "a.txt"


def test_lower_tier_sees_what_the_callers_transaction_wrote(lower: Any, catalog_db: str) -> None:
    with transaction.atomic(using=catalog_db):
        DatabaseStorage().save("a.txt", ContentFile(b"theirs"))
        assert lower.exists("a.txt")
        assert read(lower, "a.txt") == b"theirs"
        assert lower.save("a.txt", ContentFile(b"ours")) != "a.txt"


# ---- errors ----


@pytest.fixture
def hidden_table(catalog_db: str) -> Iterator[None]:
    """The tables as they are before ``migrate``."""
    table, aside = DatabaseContent._meta.db_table, "put_aside"
    with connections[catalog_db].schema_editor() as editor:
        editor.alter_db_table(DatabaseContent, table, aside)
    yield
    with connections[catalog_db].schema_editor() as editor:
        editor.alter_db_table(DatabaseContent, aside, table)


def test_missing_table_is_no_missing_file(hidden_table: None, catalog_db: str) -> None:
    with pytest.raises(Exception, match=r"(?i)content") as raised:
        DatabaseStorage().size("a.txt")
    assert not failures.is_missing(raised.value)
    assert failures.is_permanent(raised.value) is (connections[catalog_db].vendor != "sqlite")


@pytest.mark.parametrize(
    "text",
    [
        "database or disk is full",
        'could not extend file "base/1/2": No space left on device',
        "(1114, \"The table 'queued_storage_storages_databasechunk' is full\")",
    ],
)
def test_full_database_is_told_from_one_that_is_down(text: str) -> None:
    from django.db import OperationalError

    assert failures.is_capacity(OperationalError(text))
    assert not failures.is_outage(OperationalError(text))
    assert failures.is_outage(OperationalError("server closed the connection unexpectedly"))


def test_database_that_cannot_be_reached_is_down_and_not_empty(
    settings: Any, make_chain: Any, db: None
) -> None:
    from queued_storage.exceptions import ChainUnavailable

    from tests.support.databases import server
    from tests.support.processes import free_ports

    (port,) = free_ports(1)
    dead = server("postgresql", "postgres") | {"PORT": str(port)}
    connections.settings["dead"] = connections.configure_settings({"default": {}, "dead": dead})["dead"]
    try:
        chain = make_chain({"disk": "disk", "database": tier(using="dead")}, policy=None)
        with pytest.raises(ChainUnavailable, match="database"):
            chain.open("a.txt")
    finally:
        connections["dead"].close()
        del connections["dead"]
        del connections.settings["dead"]


# ---- in another database than the catalog's ----


@pytest.fixture(params=databases.ENGINES)
def archive(
    request: pytest.FixtureRequest, recorded: None, tmp_path: Path, transactional_db: None
) -> Iterator[str]:
    """An alias of a database of its own, which holds files; the catalog is on "default".

    Each thread connects to it in so many words: Django's test case lets no other alias be used by the way.
    """
    with databases.temporary(request.param, tmp_path) as settings:
        configured = connections.configure_settings({"default": {}, "archive": settings})
        connections.settings["archive"] = configured["archive"]
        connections["archive"].connect()
        call_command("migrate", "queued_storage_storages", database="archive", verbosity=0)
        yield "archive"
        connections["archive"].close()
        del connections["archive"], connections.settings["archive"]


@pytest.fixture
def below(archive: str, make_chain: Any) -> Any:
    """The other database below a disk."""
    return make_chain({"disk": "disk", "database": tier(using=archive)}, policy="transfer-and-delete")


@pytest.fixture
def above(archive: str, make_chain: Any) -> Any:
    """The other database above a disk."""
    return make_chain({"database": tier(using=archive), "disk": "disk"})


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    calls: list[list[int]] = []
    monkeypatch.setattr(recording.RecordingDispatcher, "calls", calls)
    return calls


@pytest.fixture
def inline(settings: Any, archive: str) -> None:
    settings.QUEUED_STORAGE_DISPATCHER = "queued_storage.dispatch.ImmediateDispatcher"


def roll_back(using: str) -> None:
    transaction.set_rollback(True, using=using)


def elsewhere(work: Callable[[], Any]) -> Any:
    """Return what the work comes to in a worker, which sees what is committed."""

    def working() -> Any:
        connections["archive"].connect()
        try:
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(working).result()


def row_of(name: str) -> StoredFile:
    return StoredFile.objects.get(name=name)


def test_g2_copy_is_not_made_in_a_transaction_that_may_roll_back(
    inline: None, below: Any, archive: str
) -> None:
    with transaction.atomic(using=archive):
        below.save("a.txt", ContentFile(b"content"))
        roll_back(archive)
    assert (below.tiers("a.txt"), below.state("a.txt")) == (["disk"], "pending")
    assert (read(below, "a.txt"), row_of("a.txt").attempts) == (b"content", 0)
    assert run_owed_work() == 1
    assert (below.tiers("a.txt"), read(below, "a.txt")) == (["database"], b"content")


def test_inline_work_is_done_once_the_other_database_has_committed(
    inline: None, below: Any, archive: str
) -> None:
    with transaction.atomic(using=archive):
        below.save("a.txt", ContentFile(b"content"))
        assert below.tiers("a.txt") == ["disk"]
    assert (below.tiers("a.txt"), below.state("a.txt")) == (["database"], "settled")


def test_g2_work_on_anybodys_file_waits(below: Any, archive: str) -> None:
    below.save("a.txt", ContentFile(b"content"))
    with transaction.atomic(using=archive):
        assert run_owed_work() == 0
        roll_back(archive)
    assert (below.tiers("a.txt"), row_of("a.txt").attempts) == (["disk"], 0)
    assert run_owed_work() == 1


def test_g5_clearing_is_not_done_in_a_transaction_that_may_roll_back(below: Any, archive: str) -> None:
    below.save("a.txt", ContentFile(b"content"))
    run_owed_work()
    with transaction.atomic(using=archive):
        below.delete("a.txt")
        assert not below.exists("a.txt")
        roll_back(archive)
    assert not below.exists("a.txt")
    assert not row_of("a.txt").is_gone
    assert run_owed_work() == 1
    assert not DatabaseStorage(archive).exists("a.txt")
    assert row_of("a.txt").is_gone


def test_deleted_files_are_cleared_once_the_other_database_has_committed(below: Any, archive: str) -> None:
    for name in ("a.txt", "b.txt"):
        below.save(name, ContentFile(b"content"))
    run_owed_work()
    with transaction.atomic(using=archive):
        below.delete("a.txt")
        with transaction.atomic():
            below.delete("b.txt")
        assert DatabaseStorage(archive).exists("a.txt")
    assert DatabaseStorage(archive).listdir("") == ([], [])
    assert row_of("a.txt").is_gone
    assert row_of("b.txt").is_gone


def test_name_that_is_saved_again_keeps_its_file(above: Any, archive: str) -> None:
    above.save("a.txt", ContentFile(b"old"))
    with transaction.atomic(using=archive):
        above.delete("a.txt")
        with above.open("a.txt", "wb") as file:
            file.write(b"new")
    run_owed_work()
    assert read(above, "a.txt") == b"new"
    assert above.tiers("a.txt") == ["database", "disk"]


def test_deleted_file_of_the_first_tier_is_gone_with_both_commits(above: Any, archive: str) -> None:
    above.save("a.txt", ContentFile(b"content"))
    with transaction.atomic(using=archive):
        above.delete("a.txt")
        assert not above.exists("a.txt")
    assert not elsewhere(lambda: above.exists("a.txt"))
    assert row_of("a.txt").is_gone


def test_g5_rollback_of_the_first_tier_leaves_the_delete_owed(above: Any, archive: str) -> None:
    above.save("a.txt", ContentFile(b"content"))
    with transaction.atomic(using=archive):
        above.delete("a.txt")
        roll_back(archive)
    assert run_owed_work() == 1
    assert not above.exists("a.txt")


@pytest.mark.parametrize("outer", ["default", "archive"])
def test_g7_hint_is_sent_once_both_have_committed(
    above: Any, archive: str, sent: list[list[int]], outer: str
) -> None:
    (inner,) = {"default", archive} - {outer}
    with transaction.atomic(using=outer):
        with transaction.atomic(using=inner):
            for name in ("a.txt", "b.txt"):
                above.save(name, ContentFile(b"content"))
        assert sent == []
    assert sent == [[row_of("a.txt").pk, row_of("b.txt").pk]]


def test_one_hint_for_all_saves_of_the_other_transaction(
    above: Any, archive: str, sent: list[list[int]]
) -> None:
    with transaction.atomic(using=archive):
        for name in ("a.txt", "b.txt"):
            above.save(name, ContentFile(b"content"))
        assert sent == []
    assert sent == [[row_of("a.txt").pk, row_of("b.txt").pk]]


def test_chain_that_has_no_part_in_the_other_transaction_does_not_wait(
    archive: str, make_chain: Any, sent: list[list[int]]
) -> None:
    chain = make_chain({"disk": "disk", "vault": "disk"})
    with transaction.atomic(using=archive):
        chain.save("a.txt", ContentFile(b"content"))
        assert sent == [[row_of("a.txt").pk]]
        assert run_owed_work() == 1


def test_g4_worker_does_not_take_what_is_replaced_for_the_new_content(archive: str, make_chain: Any) -> None:
    """A sweep in the middle of the caller's transaction; a copy is verified by its size."""
    overwriting = tier(using=archive, allow_overwrite=True)
    chain = make_chain({"database": overwriting, "disk": "disk"}, policy="transfer-and-delete")
    chain.save("a.txt", ContentFile(b"old"))
    with transaction.atomic(using=archive):
        chain.save("a.txt", ContentFile(b"new"))
        assert elsewhere(run_owed_work) == 0
    assert run_owed_work() == 1
    assert (chain.tiers("a.txt"), read(chain, "a.txt")) == (["disk"], b"new")


@pytest.mark.parametrize("outer", ["default", "archive"])
def test_file_is_due_once_both_have_committed(above: Any, archive: str, outer: str) -> None:
    (inner,) = {"default", archive} - {outer}
    with transaction.atomic(using=outer), transaction.atomic(using=inner):
        above.save("a.txt", ContentFile(b"content"))
    assert run_owed_work() == 1


def test_g3_file_whose_content_is_not_committed_yet_is_tried_again(above: Any, archive: str) -> None:
    """The caller's transaction takes so long that a sweep has a worker look for the file."""
    with transaction.atomic(using=archive):
        above.save("a.txt", ContentFile(b"content"))
        StoredFile.objects.update(due_at=timezone.now())
        assert elsewhere(run_owed_work) == 1
        assert above.state("a.txt") == "pending"
        assert row_of("a.txt").last_error == "tier 'database' does not hold the file any more"
    assert run_owed_work() == 1
    assert (above.tiers("a.txt"), above.state("a.txt")) == (["database", "disk"], "settled")


def test_g3_file_whose_content_never_comes_fails_at_last(above: Any, archive: str, settings: Any) -> None:
    settings.QUEUED_STORAGE_RETRIES = 1
    with transaction.atomic(using=archive):
        above.save("a.txt", ContentFile(b"content"))
        roll_back(archive)
    for state in ("pending", "failed"):
        StoredFile.objects.update(due_at=timezone.now())
        run_owed_work()
        assert above.state("a.txt") == state
    assert not above.exists("a.txt")
    above.delete("a.txt")
    assert above.save("a.txt", ContentFile(b"again")) == "a.txt"


def test_missing_file_of_the_catalogs_own_database_fails_at_once(first: Any) -> None:
    first.save("a.txt", ContentFile(b"content"))
    DatabaseStorage().delete("a.txt")
    run_owed_work()
    assert first.state("a.txt") == "failed"


def test_test_cases_transaction_is_not_waited_for(below: Any, archive: str) -> None:
    below.save("a.txt", ContentFile(b"content"))
    of_test_case = transaction.atomic(using=archive)
    of_test_case._from_testcase = True
    with of_test_case:
        assert run_owed_work() == 1
        with transaction.atomic(using=archive):
            below.delete("a.txt")
            assert DatabaseStorage(archive).exists("a.txt")
        run_owed_work()
        assert not DatabaseStorage(archive).exists("a.txt")


def test_transaction_without_atomic_counts(below: Any, archive: str, sent: list[list[int]]) -> None:
    """Nobody can wait for its end; but other processes can begin."""
    transaction.set_autocommit(False, using=archive)
    try:
        below.save("a.txt", ContentFile(b"content"))
        assert sent == [[row_of("a.txt").pk]]
        assert run_owed_work() == 0
        below.delete("a.txt")
        assert len(sent) == 2
        transaction.rollback(using=archive)
    finally:
        transaction.set_autocommit(True, using=archive)
    assert run_owed_work() == 1


def test_chain_as_a_tier_waits_for_the_databases_of_its_own(
    below: Any, archive: str, make_chain: Any
) -> None:
    chained = {"BACKEND": "queued_storage.storage.TieredStorage", "OPTIONS": {"alias": "media"}}
    outer = make_chain({"front": "disk", "media": chained}, alias="outer", policy="transfer-and-delete")
    name = outer.save("a.txt", ContentFile(b"content"))
    with transaction.atomic(using=archive):
        assert run_owed_work() == 0
    run_owed_work()
    assert outer.tiers(name) == ["media"]


class OwnDatabaseStorage(DatabaseStorage):
    """Registered by a project that does not say whose transactions it joins."""


def test_own_storage_that_names_no_database_waits_for_any(archive: str, make_chain: Any) -> None:
    path = f"{__name__}.OwnDatabaseStorage"
    knowledge.register(Backend(path=path, joins_transactions=True))
    try:
        own = {"BACKEND": path, "OPTIONS": {"using": archive}}
        chain = make_chain({"disk": "disk", "own": own})
        chain.save("a.txt", ContentFile(b"content"))
        with transaction.atomic(using=archive):
            assert run_owed_work() == 0
        assert run_owed_work() == 1
    finally:
        del _backends[path]


def warnings() -> list[tuple[str, str]]:
    return [(message.id or "", message.msg) for message in check_chains()]


def test_w007_first_tier_in_another_database(above: Any) -> None:
    ((identifier, message),) = warnings()
    assert identifier == "queued_storage.W007"
    assert message == (
        "QUEUED_STORAGE_TIERS['media']['TIERS']['database']: files are saved in database 'archive', their rows in "
        "'default'; a rollback of one leaves the other."
    )


def test_w007_tier_that_saves_may_spill_to(archive: str, settings: Any, tmp_path: Path) -> None:
    tiers = {"disk": tier_settings("disk", "disk", tmp_path), "database": tier(using=archive)}
    chain = {"TIERS": tiers, "POLICY": "transfer", "SPILL": True}
    settings.QUEUED_STORAGE_TIERS = {"media": chain}
    assert [identifier for identifier, _ in warnings()] == ["queued_storage.W007"]


def test_lower_tier_in_another_database_is_no_mistake(below: Any) -> None:
    assert warnings() == []


def test_chain_as_first_tier_speaks_for_itself(below: Any, make_chain: Any) -> None:
    chained = {"BACKEND": "queued_storage.storage.TieredStorage", "OPTIONS": {"alias": "media"}}
    make_chain({"media": chained, "vault": "disk"}, alias="outer")
    assert warnings() == []


def test_first_tier_in_the_catalogs_database_is_no_mistake(first: Any) -> None:
    assert warnings() == []


def test_chain_without_policy_has_no_rows_to_disagree_with(archive: str, make_chain: Any) -> None:
    make_chain({"database": tier(using=archive), "disk": "disk"}, policy=None)
    assert warnings() == []
