"""The catalog in the admin: to read, and to try failed files again."""

from __future__ import annotations

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

from queued_storage.admin import StoredFileAdmin
from queued_storage.models import StoredFile

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


@pytest.mark.parametrize("action", ["retry", "transfer", "verify"])
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


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"tier": "disk"}, ["a.txt", "full.txt"]), ({"tier": "vault"}, ["moved.txt"]), ({"tier": "dis"}, []),
        ({"cause": "full"}, ["full.txt"]), ({"cause": "denied"}, []),
    ],
)  # fmt: skip
def test_filters(
    catalog_db: str, admin_client: Any, make_chain: Any, query: dict[str, str], names: list[str]
) -> None:
    storage = make_chain(policy="transfer-and-delete")
    for name in ("a.txt", "full.txt", "moved.txt"):
        storage.save(name, ContentFile(b"1"))
    StoredFile.objects.filter(name="moved.txt").update(tiers=["vault"], state="settled")
    full = {"state": "failed", "last_error": "tier 'vault' is full: OSError", "due_at": None}
    StoredFile.objects.filter(name="full.txt").update(**full)
    found = admin_client.get(reverse(LIST), query).context["cl"].queryset
    assert sorted(row.name for row in found) == names
