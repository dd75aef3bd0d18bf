"""What projects write, for mypy and pyright alone: ``make lint`` has both look at it, and nobody runs it.

``assert_type`` says what each public name gives. A ``type: ignore`` that is not needed is an error too, so what has one
is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, assert_type

from django.core.files.base import ContentFile, File
from django.core.files.storage import Storage
from django.db import models
from django.db.models.fields.files import FileDescriptor

from queued_storage import signals
from queued_storage.dispatch import CeleryDispatcher, ImmediateDispatcher, TasksDispatcher
from queued_storage.exceptions import ChainUnavailable, NoPath, QueuedStorageError, TierUnavailable
from queued_storage.fields import (
    QueuedFieldFile,
    QueuedFileField,
    QueuedImageField,
    QueuedImageFieldFile,
    prefetch_tiers,
)
from queued_storage.models import StoredFile
from queued_storage.policies import Placement, Policy, Transfer
from queued_storage.storage import TieredStorage, tiered_storages
from queued_storage.testing import run_owed_work

from tests.testapp.models import Document


def media() -> Storage:
    return tiered_storages["media"]


def named_for(instance: models.Model, filename: str) -> str:
    return f"{instance.pk}/{filename}"


class Report(models.Model):
    """Fields as the documentation shows them."""

    pdf = QueuedFileField(storage="media", upload_to="reports")
    photo = QueuedImageField("photograph", storage="media", policy="cold", height_field="height")
    maybe = QueuedFileField(storage=media, upload_to=named_for, null=True, blank=True)
    plain = models.FileField(storage=tiered_storages["media"])
    height = models.PositiveIntegerField(null=True)

    def __str__(self) -> str:
        return self.pdf.name or ""


QueuedFileField(storage=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
QueuedFileField(storage="media", policy=["cold"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def instances_have_field_files(report: Report) -> None:
    assert_type(report.pdf, QueuedFieldFile)
    assert_type(report.photo, QueuedImageFieldFile)
    # A nullable field has a file that is false, never None, as Django's has.
    assert_type(report.maybe, QueuedFieldFile)
    assert_type(report.pdf.tier, str | None)
    assert_type(report.pdf.tiers, list[str])
    assert_type(report.pdf.state, str | None)
    assert_type(report.pdf.name, str | None)
    assert_type(report.photo.width, int)
    report.pdf.save("a.pdf", ContentFile(b"1"))
    report.pdf.transfer()
    report.pdf.tier = "disk"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def classes_have_descriptors() -> None:
    assert_type(Report.pdf, FileDescriptor)
    assert_type(Report.pdf.field.storage, Storage)


def storages() -> None:
    storage = tiered_storages["media"]
    assert_type(storage, TieredStorage)
    assert_type(TieredStorage("media", "cold"), TieredStorage)
    assert_type(storage.save("a.txt", ContentFile(b"1")), str)
    assert_type(storage.open("a.txt"), File[Any])
    assert_type(storage.exists("a.txt"), bool)
    assert_type(storage.tier("a.txt"), str | None)
    assert_type(storage.tiers("a.txt"), list[str])
    assert_type(storage.state("a.txt"), str | None)
    assert_type(storage.get_storage("a.txt"), Storage)
    assert_type(storage.using_local("a.txt"), bool)
    assert_type(storage.with_policy("cold"), TieredStorage)
    assert_type(storage.stable_url("a.txt", timedelta(hours=1)), str)
    assert_type(storage.get_modified_time("a.txt"), datetime)
    storage.tier(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    tiered_storages[1]  # type: ignore[index]  # pyright: ignore[reportArgumentType]


class Weekend(Policy):
    """A policy of one's own."""

    to: tuple[str, ...] = ("vault",)

    def place(self, file: Any, tiers: Sequence[str], now: datetime) -> Placement:
        return Placement(tiers=self.to, review_at=now + timedelta(days=1))


def policies() -> None:
    placement = Placement(tiers=("disk",))
    assert_type(placement.tiers, tuple[str, ...])
    assert_type(placement.review_at, datetime | None)
    policy: Policy = Transfer(to=("vault",))
    _ = policy, Weekend()


def catalog(row: StoredFile, documents: models.QuerySet[Document]) -> None:
    # pyright knows no types of Django's columns: mypy's plugin for Django does.
    assert_type(row.name, str)  # pyright: ignore[reportAssertTypeFailure]
    assert_type(row.is_live, bool)
    for document in prefetch_tiers(documents, "file"):
        assert_type(document, Document)
    assert_type(prefetch_tiers([Document()], "file"), list[Document])
    assert_type(prefetch_tiers(iter(documents), "file"), list[Document])


def errors(error: QueuedStorageError) -> None:
    if isinstance(error, ChainUnavailable):
        assert_type(error.reasons, dict[str, str])
    oserrors: tuple[type[OSError], ...] = (TierUnavailable, ChainUnavailable, NoPath)
    not_implemented: type[NotImplementedError] = NoPath
    _ = oserrors, not_implemented


def after_moves(sender: type, file: StoredFile, source: str, destination: str, **_: Any) -> None: ...


def work() -> None:
    signals.file_transferred.connect(after_moves)
    assert_type(run_owed_work(), int)
    assert_type(run_owed_work(limit=1), int)
    _ = CeleryDispatcher, ImmediateDispatcher, TasksDispatcher
