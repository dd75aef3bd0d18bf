"""The catalog in the admin: to read, and to try failed files again."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.urls import reverse

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
    admin_client.post(reverse(DETAIL, args=[row.pk]), {"state": "settled", "name": "b.txt"})
    row.refresh_from_db()
    assert (row.name, row.state) == ("a.txt", "pending")


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
