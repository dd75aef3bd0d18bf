"""The catalog in the admin: to read, file by file, and what can be done to files there."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin import site
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.core.exceptions import PermissionDenied
from django.core.files.base import ContentFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from queued_storage import batch, catalog, operations
from queued_storage.admin import StoredFileAdmin, listing
from queued_storage.chain import chains
from queued_storage.models import StoredFile
from queued_storage.testing import faulty, run_owed_work

pytestmark = pytest.mark.django_db

LIST = "admin:queued_storage_storedfile_changelist"
DETAIL = "admin:queued_storage_storedfile_change"


@pytest.fixture
def row(make_chain: Any) -> StoredFile:
    make_chain(policy="transfer-and-delete").save("a.txt", ContentFile(b"x" * 2048))
    return StoredFile.objects.get()


def test_list_tells_tiers_state_and_size(admin_client: Any, row: StoredFile) -> None:
    page = admin_client.get(reverse(LIST)).content.decode()
    assert "a.txt" in page
    assert "2.0\xa0KB" in page
    assert 'class="field-where">disk' in page


def test_search_finds_by_name(admin_client: Any, row: StoredFile) -> None:
    assert "a.txt" in admin_client.get(reverse(LIST), {"q": "a.t"}).content.decode()
    assert "a.txt" not in admin_client.get(reverse(LIST), {"q": "other"}).content.decode()


def test_row_can_be_read_but_not_changed(admin_client: Any, row: StoredFile) -> None:
    page = admin_client.get(reverse(DETAIL, args=[row.pk])).content.decode()
    assert "transfer-and-delete" in page
    assert 'name="_save"' not in page
    answer = admin_client.post(reverse(DETAIL, args=[row.pk]), {"state": "settled", "name": "b.txt"})
    assert answer.status_code == 403
    row.refresh_from_db()
    assert (row.name, row.state) == ("a.txt", "pending")


def test_form_that_is_sent_writes_nothing(admin_client: Any, row: StoredFile) -> None:
    """The row as it was read would undo what a worker has written meanwhile."""
    with CaptureQueriesContext(connection) as asked:
        admin_client.post(reverse(DETAIL, args=[row.pk]), {})
    assert not [each["sql"] for each in asked if each["sql"].startswith(("UPDATE", "INSERT"))]


def test_admin_writes_no_row(row: StoredFile, rf: Any) -> None:
    admin = StoredFileAdmin(StoredFile, site)
    row.state = "settled"
    with pytest.raises(PermissionDenied):
        admin.save_model(rf.post("/"), row, None, change=True)
    row.refresh_from_db()
    assert row.state == "pending"


@pytest.mark.parametrize("permission", ["view", "change"])
def test_row_can_be_read_by_permission(
    client: Any, django_user_model: Any, row: StoredFile, permission: str
) -> None:
    user = django_user_model.objects.create_user("reader", is_staff=True)
    client.force_login(user)
    assert client.get(reverse(DETAIL, args=[row.pk])).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename=f"{permission}_storedfile"))
    assert "transfer-and-delete" in client.get(reverse(DETAIL, args=[row.pk])).content.decode()
    assert client.post(reverse(DETAIL, args=[row.pk]), {}).status_code == 403


def test_rows_can_neither_be_added_nor_deleted(admin_client: Any, row: StoredFile) -> None:
    assert admin_client.get(reverse("admin:queued_storage_storedfile_add")).status_code == 403
    delete = reverse("admin:queued_storage_storedfile_delete", args=[row.pk])
    assert admin_client.post(delete, {"post": "yes"}).status_code == 403


def test_failed_files_are_tried_again(admin_client: Any, row: StoredFile) -> None:
    StoredFile.objects.update(state="failed", due_at=None, attempts=6)
    answer = admin_client.post(reverse(LIST), {"action": "retry", "_selected_action": [row.pk]}, follow=True)
    assert "1 file will be tried again." in answer.content.decode()
    row.refresh_from_db()
    assert (row.state, row.attempts) == ("pending", 0)
    assert row.due_at is not None


def act(client: Any, action: str, *rows: StoredFile) -> str:
    """Have the action done to the rows; return the page that follows."""
    chosen = {"action": action, "_selected_action": [row.pk for row in rows]}
    return str(client.post(reverse(LIST), chosen, follow=True).content.decode())


def logged() -> list[str]:
    return [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")]


def test_files_are_transferred_now(admin_client: Any, make_chain: Any) -> None:
    make_chain(policy="delayed").save("a.txt", ContentFile(b"1"))
    row = StoredFile.objects.get()
    assert "The transfer of 1 file was asked for." in act(admin_client, "transfer", row)
    row.refresh_from_db()
    assert (row.requested, row.state, logged()) == (True, "pending", ["Transfer asked for."])


def test_file_of_a_chain_that_is_not_known_is_told(admin_client: Any, row: StoredFile) -> None:
    StoredFile.objects.update(chain="elsewhere")
    for action in ("transfer", "verify"):
        assert "has no chain &#x27;elsewhere&#x27;" in act(admin_client, action, row)
    assert logged() == []


def test_copies_are_verified(admin_client: Any, row: StoredFile, tmp_path: Path) -> None:
    assert "1 file was looked at." in act(admin_client, "verify", row)
    (tmp_path / "disk/a.txt").write_bytes(b"short")
    assert "5 bytes instead of 2048" in act(admin_client, "verify", row)
    assert logged() == ["Verified: no flaw found.", "Verified: disk: size (5 bytes instead of 2048)"]


def test_tier_that_could_not_be_checked_is_told(admin_client: Any, row: StoredFile, tmp_path: Path) -> None:
    (tmp_path / "disk").rename(tmp_path / "away")
    page = act(admin_client, "verify", row)
    assert "Tier disk of chain media could not be checked: its folder" in page
    assert logged() == ["Verified: no flaw found. Could not be checked: disk."]


def test_what_was_tried_again_is_logged(admin_client: Any, row: StoredFile) -> None:
    StoredFile.objects.update(state="failed", due_at=None)
    act(admin_client, "retry", row)
    assert logged() == ["Tried again."]


@pytest.mark.parametrize("action", ["retry", "transfer", "cancel", "verify"])
def test_each_action_has_a_permission(
    client: Any, django_user_model: Any, row: StoredFile, action: str
) -> None:
    user = django_user_model.objects.create_user("operator", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_storedfile"))
    client.force_login(user)
    assert f'value="{action}"' not in client.get(reverse(LIST)).content.decode()
    act(client, action, row)
    assert logged() == []
    user.user_permissions.add(Permission.objects.get(codename=f"{action}_storedfile"))
    assert f'value="{action}"' in client.get(reverse(LIST)).content.decode()


FILTERED: list[tuple[dict[str, str], list[str]]] = [
    ({"tier": "disk"}, ["a.txt", "full.txt"]), ({"tier": "vault"}, ["moved.txt"]), ({"tier": "dis"}, []),
    ({"cause": "full"}, ["full.txt"]), ({"cause": "denied"}, []),
    ({"state": "pending"}, ["a.txt"]), ({"state": "settled"}, ["moved.txt"]), ({"state": "deleted"}, []),
    ({"age": "hour"}, ["a.txt", "full.txt"]), ({"age": "old"}, ["moved.txt"]), ({"age": "older"}, []),
    ({"age": "nonsense"}, ["a.txt", "full.txt", "moved.txt"]), ({"age": "hour", "state": "failed"}, ["full.txt"]),
    ({"waiting": "now"}, ["a.txt"]), ({"waiting": "hour"}, []), ({"waiting": "?", "tier": "vault"}, ["moved.txt"]),
]  # fmt: skip


def test_filters(catalog_db: str, admin_client: Any, make_chain: Any) -> None:
    storage = make_chain(policy="transfer-and-delete")
    for name in ("a.txt", "full.txt", "moved.txt"):
        storage.save(name, ContentFile(b"1"))
    StoredFile.objects.filter(name="moved.txt").update(
        tiers=["vault"], state="settled", due_at=None, saved_at=timezone.now() - timedelta(days=40)
    )
    full = {"state": "failed", "last_error": "tier 'vault' is full: OSError", "due_at": None}
    StoredFile.objects.filter(name="full.txt").update(**full)
    for query, names in FILTERED:
        found = admin_client.get(reverse(LIST), query).context["cl"].queryset
        assert sorted(row.name for row in found) == names, query


def test_page_shows_every_field_once(row: StoredFile, rf: Any) -> None:
    sections = StoredFileAdmin(StoredFile, site).get_fieldsets(rf.get("/"), row)
    shown = [name for _, options in sections for name in options["fields"]]
    assert len(shown) == len(set(shown))
    assert set(shown) == {field.name for field in StoredFile._meta.fields} - {"id"}


def test_choices_of_filters_are_not_counted(admin_client: Any, row: StoredFile) -> None:
    with CaptureQueriesContext(connection) as asked:
        page = admin_client.get(reverse(LIST), {"_facets": "True"}).content.decode()
    assert "Show counts" not in page
    assert not [each["sql"] for each in asked if "COUNT(" in each["sql"] and "CASE" in each["sql"]]


def test_list_that_leads_to_all_files_is_sorted(
    admin_client: Any, make_chain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of more, those that were saved last are shown: to sort them all would take a look at each."""
    storage = make_chain()
    for name in ("b.txt", "c.txt", "a.txt"):
        storage.save(name, ContentFile(b"1"))

    def listed() -> list[str]:
        return [row.name for row in admin_client.get(reverse(LIST), {"o": "1"}).context["cl"].result_list]

    assert listed() == ["a.txt", "b.txt", "c.txt"]
    monkeypatch.setattr(listing, "LISTED", 2)
    assert listed() == ["a.txt", "c.txt", "b.txt"]


class TestCancel:
    """What was asked for is taken back: the file stays where it is, and nothing of it is lost."""

    @pytest.fixture
    def asked(self, make_chain: Any) -> StoredFile:
        storage = make_chain({"disk": "disk", "far": faulty.tier("far")}, policy="delayed")
        name = storage.save("a.txt", ContentFile(b"content"))
        storage.transfer(name)
        row = StoredFile.objects.get()
        assert (row.requested, row.state) == (True, "pending")
        return row

    @pytest.fixture(autouse=True)
    def _forgotten(self) -> Any:
        yield
        faulty.forget_all()

    def test_transfer_is_cancelled(self, admin_client: Any, asked: StoredFile) -> None:
        assert "The transfer of 1 file was cancelled" in act(admin_client, "cancel", asked)
        run_owed_work()
        asked.refresh_from_db()
        assert (asked.requested, asked.state, asked.tiers) == (False, "settled", ["disk"])
        assert logged() == ["Transfer cancelled."]

    def test_failed_one_is_settled_where_it_is(self, admin_client: Any, asked: StoredFile) -> None:
        StoredFile.objects.update(state="failed", due_at=None, attempts=6, last_error="no room")
        act(admin_client, "cancel", asked)
        run_owed_work()
        asked.refresh_from_db()
        assert (asked.state, asked.tiers, asked.last_error) == ("settled", ["disk"], "")

    def test_one_that_waits_for_its_time_is_not_looked_at_again(
        self, admin_client: Any, asked: StoredFile
    ) -> None:
        StoredFile.objects.update(state="settled", due_at=timezone.now() + timedelta(days=9))
        act(admin_client, "cancel", asked)
        run_owed_work()
        asked.refresh_from_db()
        assert (asked.requested, asked.state, asked.due_at) == (False, "settled", None)

    def test_copy_that_was_made_stays(self, admin_client: Any, asked: StoredFile) -> None:
        """It has a copy below and one to come, or to release: what is there stays, on every tier."""
        catalog.files().update(tiers=["disk", "far"])
        chains["media"]["far"].storage.save("a.txt", ContentFile(b"content"))
        act(admin_client, "cancel", asked)
        run_owed_work()
        asked.refresh_from_db()
        assert (asked.state, asked.tiers) == ("settled", ["disk", "far"])
        assert all(tier.storage.exists("a.txt") for tier in chains["media"])

    def test_what_was_begun_is_cleared(self, admin_client: Any, asked: StoredFile) -> None:
        catalog.files().update(stale=["far"])
        chains["media"]["far"].storage.save("a.txt", ContentFile(b"con"))
        act(admin_client, "cancel", asked)
        run_owed_work()
        asked.refresh_from_db()
        assert (asked.state, asked.tiers, asked.stale) == ("settled", ["disk"], [])
        assert not chains["media"]["far"].storage.exists("a.txt")

    def test_file_in_the_hand_of_a_worker_is_not_cancelled(
        self, admin_client: Any, asked: StoredFile
    ) -> None:
        told: list[str] = []

        def amidst(call: faulty.Call) -> Any:
            told.append(act(admin_client, "cancel", asked))
            return call.proceed()

        faulty.bucket("far").on("save", amidst)
        list(batch.work([asked.pk]))
        assert "Not cancelled, 1: a worker has the file in hand." in told[0]
        asked.refresh_from_db()
        assert (asked.requested, asked.state, asked.tiers) == (True, "settled", ["disk", "far"])
        assert "Not cancelled, 1: it is done." in act(admin_client, "cancel", asked)
        assert logged() == []

    def test_claim_that_comes_in_between_wins(self, asked: StoredFile) -> None:
        seen = StoredFile.objects.get()
        assert catalog.claim(asked.pk) is not None
        assert operations.withdraw(seen) == "in hand"
        assert StoredFile.objects.get().requested

    def test_what_the_policy_wants_by_itself_is_not_cancelled(
        self, admin_client: Any, row: StoredFile
    ) -> None:
        assert "nobody asked for it." in act(admin_client, "cancel", row)
        StoredFile.objects.update(requested=True)
        assert "the policy moves the file whether or not" in act(admin_client, "cancel", row)
        row.refresh_from_db()
        assert (row.requested, row.state) == (True, "pending")
        assert logged() == []

    def test_chain_that_is_not_known_is_told(self, admin_client: Any, asked: StoredFile) -> None:
        StoredFile.objects.update(chain="elsewhere")
        assert "has no chain &#x27;elsewhere&#x27;" in act(admin_client, "cancel", asked)

    def test_file_whose_copies_were_all_bad_is_not_settled_by_that(
        self, admin_client: Any, asked: StoredFile
    ) -> None:
        (chains["media"].first.storage).delete("a.txt")
        assert catalog.condemn(StoredFile.objects.get(), f"{catalog.NO_GOOD_COPY}: disk: missing")
        act(admin_client, "cancel", asked)
        run_owed_work()
        asked.refresh_from_db()
        assert asked.state != "settled"


class TestStory:
    """What ``tiers explain`` tells, on the file's page."""

    def test_page_tells_what_happens_next_and_why(self, admin_client: Any, row: StoredFile) -> None:
        page = admin_client.get(reverse(DETAIL, args=[row.pk]))
        story = page.context["story"]
        assert story.next.startswith("Copy to vault, then release from disk; due ")
        assert story.why == "policy transfer-and-delete, the chain's own"
        disk, vault = story.tiers
        assert (disk.name, disk.is_recorded, disk.found, disk.is_wanted) == ("disk", True, "yes", False)
        assert (vault.name, vault.is_recorded, vault.found, vault.is_wanted) == ("vault", False, "no", True)
        assert vault.way
        assert "Copy to vault, then release from disk" in page.content.decode()

    def test_copy_that_is_not_there_stands_out(
        self, admin_client: Any, row: StoredFile, tmp_path: Path
    ) -> None:
        (tmp_path / "disk/a.txt").unlink()
        page = admin_client.get(reverse(DETAIL, args=[row.pk]))
        assert page.context["story"].tiers[0].contradicts

    def test_tier_that_does_not_answer_holds_nobody_up(
        self, admin_client: Any, make_chain: Any, request: pytest.FixtureRequest
    ) -> None:
        make_chain({"disk": "disk", "far": faulty.tier("far")}).save("a.txt", ContentFile(b"1"))
        faulty.bucket("far").go_down()
        request.addfinalizer(faulty.forget_all)
        page = admin_client.get(reverse(DETAIL, args=[StoredFile.objects.get().pk]))
        assert page.status_code == 200
        assert page.context["story"].tiers[1].is_silent

    def test_file_of_a_chain_that_is_not_known_has_a_page(self, admin_client: Any, row: StoredFile) -> None:
        StoredFile.objects.update(chain="elsewhere")
        page = admin_client.get(reverse(DETAIL, args=[row.pk]))
        assert "has no chain" in page.context["story"].next

    def test_deleted_file_has_a_page(self, admin_client: Any, row: StoredFile) -> None:
        catalog.tombstone(chains["media"], "a.txt")
        page = admin_client.get(reverse(DETAIL, args=[row.pk]))
        assert page.context["story"].next == "Deleted; to be cleared from: disk, vault."

    def test_who_may_not_see_files_has_no_tier_asked(
        self, client: Any, django_user_model: Any, row: StoredFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(operations, "explain", lambda *_: pytest.fail("a tier was asked"))
        client.force_login(django_user_model.objects.create_user("nobody", is_staff=True))
        assert client.get(reverse(DETAIL, args=[row.pk])).status_code == 403
