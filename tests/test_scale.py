"""What is asked of the catalog all day costs the same however many files are settled: it goes by an index."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.admin import SimpleListFilter, site
from django.core.management import call_command
from django.db import connections
from django.db.models import F, QuerySet
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from queued_storage import catalog, census, operations, vitals
from queued_storage.admin import StoredFileAdmin, filters, listing
from queued_storage.catalog import asking, finding
from queued_storage.models import StoredFile

MANY = 2_000
HOUR = timedelta(hours=1)


def rows(state: str, count: int, chain: str = "media", **facts: Any) -> None:
    named = (f"photos/2025/{state}-{number}.jpg" for number in range(count))
    common = {
        "chain": chain,
        "state": state,
        "saved_at": timezone.now(),
        "size": 10,
        "tiers": ["vault"],
    } | facts
    files = [StoredFile(name=name, key=StoredFile.key_of(name), **common) for name in named]
    catalog.files().bulk_create(files, batch_size=500)


@pytest.fixture
def many(catalog_db: str, make_chain: Any) -> str:
    """Thousands of files that are settled, and a few that are not."""
    make_chain()
    rows("settled", MANY)
    rows("pending", 20, due_at=timezone.now() - HOUR, tiers=["disk"])
    rows("failed", 5, tiers=["disk"])
    rows("deleted", 30, tiers=[])
    connection = connections[catalog_db]
    with connection.cursor() as cursor:
        table = connection.ops.quote_name(StoredFile._meta.db_table)
        cursor.execute({"mysql": f"ANALYZE TABLE {table}"}.get(connection.vendor, f"ANALYZE {table}"))
    return catalog_db


def queries(now: Any) -> Iterator[tuple[str, QuerySet[Any]]]:
    files = catalog.files()
    of_chain = files.filter(chain="media")
    yield "due", catalog.due(now, "media").values("pk")[:100]
    yield "due", catalog.due(now, "media").order_by("due_at").values("due_at")[:1]
    yield "due", catalog.in_hand(now, "media").values("pk")
    yield "unsettled", of_chain.filter(state="pending").values("tiers")
    yield "unsettled", of_chain.filter(state="deleted", due_at__isnull=False).values("tiers")
    yield "unsettled", operations.failed("media")
    yield "unsettled", operations.failed(None)
    yield "unsettled", vitals.latest_failed("media").values("last_error")[:100]
    yield "unsettled", of_chain.filter(finding._gone(), saved_at__lt=now).values("pk")[:100]
    yield "staged", files.filter(staged="abc", staged__gt="").values("pk")
    yield "one_row_per_name", files.filter(StoredFile.named("media", "photos/2025/settled-7.jpg"))
    yield "one_row_per_name", of_chain.filter(key__lt="01").values("tiers")
    for state in ("pending", "failed", "deleted"):
        yield "unsettled", chosen(filters.StateFilter, state)
    yield "due", chosen(filters.WaitingFilter, "minutes")
    yield "unsettled", chosen(filters.CauseFilter, "other")


def chosen(kind: type[SimpleListFilter], value: str) -> QuerySet[Any]:
    """What the admin's list asks for its first page with this filter."""
    admin = StoredFileAdmin(StoredFile, site)
    asked = kind(RequestFactory().get("/"), {kind.parameter_name: [value]}, StoredFile, admin)
    found = asked.queryset(RequestFactory().get("/"), catalog.files())
    assert found is not None
    return found.order_by("-pk")[:100]


def test_hot_queries_go_by_their_indexes(many: str) -> None:
    for index, query in queries(timezone.now()):
        plan = query.explain().replace("queued_storage_storedfile", "")
        assert index in plan.replace("sqlite_autoindex_", "one_row_per_name"), plan


def test_latest_rows_are_found_by_their_keys(many: str) -> None:
    """A bound that is a query itself has MariaDB look through all rows."""
    plan = f" {catalog.latest(100).filter(state='settled').values('tiers').explain()} "
    whole = {"postgresql": "Seq Scan", "mysql": " ALL ", "sqlite": "SCAN"}[connections[many].vendor]
    assert whole not in plan, plan


def test_no_settled_file_is_in_an_index_of_what_is_owed(catalog_db: str) -> None:
    """But where the database has no partial indexes."""
    connection = connections[catalog_db]
    if not connection.features.supports_partial_indexes:
        pytest.skip("MariaDB indexes every row")
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, StoredFile._meta.db_table)
        schema = {
            "postgresql": "SELECT indexdef FROM pg_indexes WHERE indexname = %s",
            "sqlite": "SELECT sql FROM sqlite_master WHERE name = %s",
        }[connection.vendor]
        for index in ("queued_storage_due", "queued_storage_unsettled", "queued_storage_staged"):
            assert found[index]["index"]
            cursor.execute(schema, [index])
            assert " WHERE " in cursor.fetchone()[0]


def test_database_without_partial_indexes_is_not_warned_of(catalog_db: str) -> None:
    assert StoredFile.check(databases=[catalog_db]) == []


class TestStatus:
    @pytest.fixture
    def few_are_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(census, "COUNTED", 1_000)

    def test_few_files_are_counted(self, many: str) -> None:
        rows("settled", 100, chain="few")
        rows("failed", 1, chain="few")
        status = operations.status("few")
        assert (status.is_estimate, status.files, status.bytes) == (False, 101, 1010)

    def test_many_settled_files_are_estimated(self, many: str, few_are_many: None) -> None:
        status = operations.status("media")
        assert status.is_estimate
        assert status.settled == pytest.approx(MANY, rel=0.1)
        assert status.bytes == pytest.approx(10 * MANY, rel=0.1)
        assert {tier.tier: tier.files for tier in status.tiers} == {"disk": 25, "vault": status.settled}

    def test_what_is_owed_is_counted_all_the_same(self, many: str, few_are_many: None) -> None:
        rows("deleted", 7, chain="media2", due_at=timezone.now(), tiers=[])
        catalog.files().filter(chain="media2").update(chain="media", key=F("name"))
        some = list(catalog.due(timezone.now()).values_list("pk", flat=True)[:3])
        busy = catalog.claim_each(some, lambda row: "vault")
        status = operations.status("media")
        assert (status.pending, status.failed, status.deleting, status.running) == (20, 5, 7, len(busy))
        assert status.first_tier_only == operations.TierStatus("disk", 25, 250)
        assert status.owed_since == operations.status("media", exact=True).owed_since is not None

    def test_all_are_counted_where_that_is_asked_for(self, many: str, few_are_many: None) -> None:
        status = operations.status("media", exact=True)
        assert (status.is_estimate, status.settled) == (False, MANY)

    def test_few_files_among_those_of_another_chain_are_counted(self, many: str, few_are_many: None) -> None:
        rows("settled", 8, chain="small", tiers=["disk"])
        status = operations.status("small")
        assert (status.is_estimate, status.settled) == (False, 8)
        assert operations.strays() == ["small"]

    def test_it_says_that_it_is_an_estimate(self, many: str, few_are_many: None) -> None:
        printed, exact, document = StringIO(), StringIO(), StringIO()
        for arguments, out in ((), printed), (("--exact",), exact), (("--json",), document):
            with pytest.raises(SystemExit):  # some have failed: a finding
                call_command("tiers", "status", "--chain", "media", *arguments, stdout=out)
        assert printed.getvalue().startswith("media: about ")
        assert "settled about" in printed.getvalue()
        assert "pending 20" in printed.getvalue()
        assert "about" not in exact.getvalue()
        assert json.loads(document.getvalue())["chains"][0]["is_estimate"] is True

    def test_it_takes_a_few_queries(
        self, many: str, few_are_many: None, django_assert_num_queries: Callable[..., Any]
    ) -> None:
        """Three more than for few: why files failed, which rows are new, and what was copied of those."""
        with django_assert_num_queries(7, using=many):
            operations.status("media")

    def test_new_files_that_were_copied_lately_are_counted(self, many: str, few_are_many: None) -> None:
        """Of all files so few were copied lately that the sample may have none."""
        new = catalog.files().filter(chain="media", state="settled").order_by("-pk")[:3]
        catalog.files().filter(pk__in=[row.pk for row in new]).update(copied_at=timezone.now(), size=7)
        lately = operations.status("media").throughput
        assert (lately.files >= 3, lately.bytes >= 21) == (True, True)


class TestPruning:
    @pytest.fixture(autouse=True)
    def _few_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(asking, "PRUNED_AT_ONCE", 4)

    def test_all_old_ones_go(self, catalog_db: str) -> None:
        rows("deleted", 10, saved_at=timezone.now() - 800 * HOUR)
        rows("settled", 1)
        assert catalog.prune(timezone.now(), ["other", "media"]) == 10
        assert [row.state for row in catalog.files()] == ["settled"]

    def test_few_go_with_each_statement(self, catalog_db: str) -> None:
        rows("deleted", 10, saved_at=timezone.now() - 800 * HOUR)
        with CaptureQueriesContext(connections[catalog_db]) as told:
            catalog.prune(timezone.now(), ["media"])
        assert len([query for query in told if query["sql"].startswith("DELETE")]) == 3

    def test_name_that_is_taken_again_meanwhile_stays(
        self, catalog_db: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows("deleted", 3, saved_at=timezone.now() - 800 * HOUR)
        first = catalog.files().order_by("pk")[0]
        delete = QuerySet.delete

        def late(query: QuerySet[StoredFile]) -> Any:
            catalog.files().filter(pk=first.pk).update(state="pending", due_at=timezone.now())
            return delete(query)

        monkeypatch.setattr(QuerySet, "delete", late)
        assert catalog.prune(timezone.now(), ["media"]) == 2
        assert [row.pk for row in catalog.files()] == [first.pk]


@pytest.mark.django_db
class TestAdmin:
    LIST = "admin:queued_storage_storedfile_changelist"

    def test_list_says_that_there_are_more(self, admin_client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(listing, "LISTED", 5)
        rows("settled", 5)
        assert "search or filter" not in admin_client.get(reverse(self.LIST)).content.decode().casefold()
        rows("failed", 3)
        page = admin_client.get(reverse(self.LIST)).content.decode()
        assert "The latest 5 stored files" in page
        assert admin_client.get(reverse(self.LIST), {"state": "failed"}).context["cl"].result_count == 3

    def test_chains_that_have_files_are_filters(self, admin_client: Any) -> None:
        rows("settled", 2)
        rows("settled", 1, chain="pictures")
        assert "?chain=pictures" in admin_client.get(reverse(self.LIST)).content.decode()
        assert admin_client.get(reverse(self.LIST), {"chain": "pictures"}).context["cl"].result_count == 1
