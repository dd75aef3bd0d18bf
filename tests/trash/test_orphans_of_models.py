"""A file that a model names is nobody's orphan, though the catalog was never told of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from queued_storage.retention import Orphans

from tests.testapp.models import Document


@pytest.mark.django_db
def test_file_that_a_model_names_is_no_orphan(make, tmp_path):
    storage = make()
    (tmp_path / "disk").mkdir()
    for name in ("named.txt", "nobodys.txt"):
        (tmp_path / "disk" / name).write_bytes(b"1")
    field = next(field.name for field in Document._meta.fields if hasattr(field, "upload_to"))
    Document.objects.bulk_create([Document(**{field: "named.txt"})])
    orphans = Orphans(storage.chain, timezone.now() + timedelta(days=1))
    assert [orphan.name for orphan in orphans.find()] == ["nobodys.txt"]
    assert orphans.named == {"disk": 1}
