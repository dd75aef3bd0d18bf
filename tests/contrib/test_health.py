"""The check for django-health-check: what it finds, what it costs, and that it tells nothing that it should not."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.db import OperationalError, connections
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from health_check.exceptions import HealthCheckException, ServiceUnavailable, ServiceWarning
from health_check.views import HealthCheckView

from queued_storage import catalog, outage
from queued_storage.chain import chains
from queued_storage.contrib import health
from queued_storage.contrib.health import Tiers
from queued_storage.models import StoredFile
from queued_storage.storage import TieredStorage
from queued_storage.testing import faulty, run_owed_work

pytestmark = pytest.mark.django_db
PATH = "queued_storage.contrib.health.Tiers"
SECRET = "swordfish"


@pytest.fixture
def storage(make_chain: Any) -> Iterator[TieredStorage]:
    far = faulty.tier("far", TIMEOUT=5)
    far["OPTIONS"]["secret_key"] = SECRET
    yield make_chain({"disk": "disk", "far": far})
    faulty.forget_all()


@pytest.fixture
def name(storage: TieredStorage) -> str:
    return storage.save("secret-name.txt", ContentFile(b"content"))


def problem(**options: Any) -> HealthCheckException | None:
    try:
        Tiers(**options).run()
    except HealthCheckException as error:
        return error
    return None


def late_by(**time: float) -> None:
    StoredFile.objects.update(due_at=timezone.now() - timedelta(**time))


class TestAge:
    def test_work_that_is_due_since_a_moment_is_fine(self, name: str) -> None:
        assert problem() is None

    def test_work_that_nobody_takes_is_told(self, name: str) -> None:
        late_by(minutes=16)
        found = problem()
        assert isinstance(found, ServiceUnavailable)
        assert found.message.startswith("work has waited for 96")

    def test_age_that_is_allowed_is_an_option(self, name: str) -> None:
        late_by(minutes=16)
        assert problem(max_age=timedelta(minutes=20)) is None
        assert problem(max_age=None) is None
        assert problem(max_age=timedelta(minutes=1)) is not None

    def test_work_that_is_done_at_the_moment_is_fine(self, name: str) -> None:
        late_by(hours=1)
        catalog.claim(StoredFile.objects.get().pk)
        assert problem() is None

    def test_work_that_waits_for_its_next_attempt_is_fine(self, name: str) -> None:
        faulty.bucket("far").on("save", faulty.deny)
        late_by(hours=1)
        run_owed_work()
        assert StoredFile.objects.get().state == "pending"
        assert problem() is None

    def test_other_chains_may_be_left_out(self, name: str, make_chain: Any) -> None:
        make_chain(alias="papers")
        late_by(hours=1)
        assert problem(chain="papers") is None
        assert problem(chain="media") is not None


class TestFailed:
    def test_failed_file_is_a_warning(self, name: str) -> None:
        StoredFile.objects.update(state="failed", due_at=None, last_error=SECRET)
        found = problem()
        assert isinstance(found, ServiceWarning)
        assert found.message == "1 failed; `manage.py tiers status` tells more"
        assert problem(max_failed=1) is None
        assert problem(max_failed=None) is None

    def test_many_are_not_counted_to_the_end(self, storage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        for number in range(4):
            storage.save(f"{number}.txt", ContentFile(b"1"))
        StoredFile.objects.update(state="failed", due_at=None)
        monkeypatch.setattr(health, "COUNTED", 2)
        assert "at least 3 failed" in str(problem(max_failed=1))


class TestTiers:
    def test_tier_that_missed_its_timeout_is_a_warning(self, storage: TieredStorage) -> None:
        outage.mark_down(chains["media"]["far"])
        found = problem()
        assert isinstance(found, ServiceWarning)
        assert found.message == "chain 'media': far down"

    def test_chain_without_a_tier_that_answers_is_unavailable(self, make_chain: Any) -> None:
        make_chain({name: faulty.tier(name, TIMEOUT=5) for name in ("near", "far")})
        for tier in chains["media"]:
            outage.mark_down(tier)
        assert isinstance(problem(), ServiceUnavailable)

    def test_tiers_are_asked_where_that_is_wanted(self, storage: TieredStorage) -> None:
        faulty.bucket("far").go_down()
        assert problem() is None
        assert faulty.bucket("far").calls["exists"] == 0
        assert str(problem(chain="media", probe=True)) == "Warning: chain 'media': far down"
        outage.forget()
        cache.clear()
        faulty.bucket("far").heal()
        assert problem(chain="media", probe=True) is None

    def test_worst_problem_gives_the_kind_and_all_are_told(self, name: str, storage: TieredStorage) -> None:
        StoredFile.objects.update(state="failed", due_at=None)
        storage.save("b.txt", ContentFile(b"1"))
        StoredFile.objects.filter(state="pending").update(due_at=timezone.now() - timedelta(hours=1))
        outage.mark_down(chains["media"]["far"])
        found = problem()
        assert isinstance(found, ServiceUnavailable)
        assert [word in found.message for word in ("waited", "1 failed", "far down")] == [True] * 3


class TestDiscretion:
    @pytest.mark.parametrize("error", [OperationalError(SECRET), RuntimeError(SECRET)])
    def test_dead_database_is_unavailable_and_its_words_are_not_told(
        self,
        storage: Any,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        error: Exception,
    ) -> None:
        def refuse() -> list[str]:
            raise error

        monkeypatch.setattr(catalog, "aliases", refuse)
        with caplog.at_level(logging.DEBUG):
            result = asyncio.run(Tiers().get_result())
        assert isinstance(result.error, ServiceUnavailable)
        assert type(error).__name__ in result.error.message
        assert SECRET not in f"{result.error} {result.check!r} {caplog.text}"

    def test_settings_that_cannot_be_used_are_unavailable(self, settings: Any) -> None:
        settings.QUEUED_STORAGE_TIERS = {"media": {"TIERS": {"s3": {"BACKEND": 7, "OPTIONS": {"k": SECRET}}}}}
        found = problem()
        assert isinstance(found, ServiceUnavailable)
        assert "manage.py check" in found.message
        assert found.__cause__ is None
        assert SECRET not in str(found)

    def test_tier_that_refuses_its_options_is_down_and_they_are_not_told(self, make_chain: Any) -> None:
        make_chain(
            {
                "disk": "disk",
                "far": {"BACKEND": "tests.support.refusing.ValueRefused", "OPTIONS": {"url": SECRET}},
            }
        )
        found = problem(chain="media", probe=True)
        assert "far down" in str(found)
        assert SECRET not in str(found)


def test_it_costs_a_few_queries(name: str) -> None:
    StoredFile.objects.update(state="failed", due_at=None)
    with CaptureQueriesContext(connections[catalog.database()]) as queries:
        problem()
    assert len(queries) <= 4


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("age", "status"), [(0, 200), (20, 500)])
def test_it_is_served(name: str, age: int, status: int) -> None:
    late_by(minutes=age)
    view = HealthCheckView.as_view(checks=[(PATH, {"chain": "media"})])
    request = RequestFactory().get("/", headers={"accept": "application/json"})
    response = asyncio.run(view(request))
    assert response.status_code == status
    ((check, told),) = json.loads(response.content).items()
    assert check.startswith("Tiers(chain='media'")
    assert ("work has waited" in told) is (status == 500)
    assert "secret-name" not in told + check
