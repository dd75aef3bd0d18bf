"""``prefetch_tiers``: a page of files costs one query to the catalog, and nobody is told less than without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import FieldDoesNotExist, FieldError
from django.core.files.base import ContentFile
from django.core.files.storage import Storage
from django.core.paginator import Paginator
from django.db import models
from django.test.utils import isolate_apps

from queued_storage.fields import prefetch_tiers
from queued_storage.models import StoredFile
from queued_storage.storage import TieredStorage

from tests.support import faulty, recording
from tests.testapp.models import Document, Plain

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _work_when_told(settings: Any) -> None:
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH


@pytest.fixture
def chain(make_chain: Any) -> TieredStorage:
    storage: TieredStorage = make_chain(["near", "middle", "far"], policy="transfer-and-delete")
    return storage


@pytest.fixture
def documents(chain: TieredStorage) -> list[Document]:
    """Three documents whose files lie below the first tier."""
    made = [Document.objects.create(file=content(f"{number}.txt")) for number in range(3)]
    recording.work()
    return made


def content(name: str) -> ContentFile[bytes]:
    return ContentFile(name.encode(), name)


def read(file: Any) -> bytes:
    with file.storage.open(file.name) as opened:
        return bytes(opened.read())


QUESTIONS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "url": (lambda file: file.url, "/middle/documents/1.txt"),
    "size": (lambda file: file.size, 5),
    "tier": (lambda file: file.tier, "middle"),
    "tiers": (lambda file: file.tiers, ["middle", "far"]),
    "state": (lambda file: file.state, "settled"),
    "exists": (lambda file: file.storage.exists(file.name), True),
    "open": (read, b"1.txt"),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_page_costs_one_query(
    documents: list[Document], question: str, django_assert_num_queries: Any
) -> None:
    ask, expected = QUESTIONS[question]
    page = list(Document.objects.order_by("pk"))
    with django_assert_num_queries(1):
        told = [ask(document.file) for document in prefetch_tiers(page, "file")]
    assert told[1] == expected


class TestWhatIsGiven:
    def test_queryset_is_evaluated_and_returned(
        self, documents: list[Document], django_assert_num_queries: Any
    ) -> None:
        queryset = Document.objects.all()
        with django_assert_num_queries(2):
            assert prefetch_tiers(queryset, "file") is queryset
            assert len([document.file.url for document in queryset]) == 3

    def test_page_of_a_paginator(self, documents: list[Document], django_assert_num_queries: Any) -> None:
        page = Paginator(Document.objects.order_by("pk"), 2).page(1)
        prefetch_tiers(page, "file")
        with django_assert_num_queries(0):
            assert len([document.file.url for document in page]) == 2

    def test_iterator_becomes_a_list(self, documents: list[Document], django_assert_num_queries: Any) -> None:
        found = prefetch_tiers((document for document in documents), "file")
        with django_assert_num_queries(0):
            assert [document.file.tier for document in found] == ["middle"] * 3

    def test_nothing_costs_nothing(self, chain: TieredStorage, django_assert_num_queries: Any) -> None:
        with django_assert_num_queries(0):
            assert prefetch_tiers([], "file") == []
            assert not prefetch_tiers([Document()], "file")[0].file

    def test_django_own_file_fields(self, chain: TieredStorage, django_assert_num_queries: Any) -> None:
        made = [Plain.objects.create(file=content("p.txt"), lazy=content("l.txt")) for _ in range(2)]
        recording.work()
        with django_assert_num_queries(1):  # both fields are of one chain
            for each in prefetch_tiers(made, "file", "lazy"):
                assert each.file.url.startswith("/middle/plain/")
                assert each.lazy.url.startswith("/middle/lazy/")

    def test_relations_are_followed(self, documents: list[Document], django_assert_num_queries: Any) -> None:
        with isolate_apps("tests.testapp"):

            class Shelf(models.Model):  # noqa: DJ008
                document = models.ForeignKey(Document, models.CASCADE)

                class Meta:
                    app_label = "testapp"

        shelves = [Shelf(document_id=document.pk) for document in documents]
        with django_assert_num_queries(2):  # the documents, and their files
            prefetch_tiers(shelves, "document__file")
            assert [shelf.document.file.tier for shelf in shelves] == ["middle"] * 3

    def test_each_chain_costs_a_query(
        self, documents: list[Document], make_chain: Any, django_assert_num_queries: Any
    ) -> None:
        other = make_chain(["a", "b"], policy="transfer-and-delete", alias="other")
        other.save("o.txt", content("o.txt"))
        recording.work()
        documents[0].file = "o.txt"
        documents[0].file.storage = other
        with django_assert_num_queries(2):
            prefetch_tiers(documents, "file")
            assert [document.file.tier for document in documents] == ["b", "middle", "middle"]

    def test_other_storages_are_left_alone(self, django_assert_num_queries: Any) -> None:
        document = Document(file="a.txt")
        plain = document.file.storage = Storage()
        with django_assert_num_queries(0):
            prefetch_tiers([document], "file")
        assert document.file.storage is plain

    def test_deferred_field_is_not_loaded(
        self, documents: list[Document], django_assert_num_queries: Any
    ) -> None:
        with django_assert_num_queries(1):
            prefetch_tiers(Document.objects.defer("file"), "file")

    def test_field_that_is_none(self, documents: list[Document]) -> None:
        with pytest.raises(FieldDoesNotExist, match="fiel"):
            prefetch_tiers(documents, "fiel")
        with pytest.raises(FieldError, match="needs a file field"):
            prefetch_tiers(documents, "title")

    def test_hundreds_of_files(self, chain: TieredStorage, django_assert_num_queries: Any) -> None:
        many = [Document(file=f"{number}.txt") for number in range(1200)]
        with django_assert_num_queries(3):  # of 500 names at most
            prefetch_tiers(many, "file")


class TestFilesThatTheCatalogDoesNotKnow:
    @pytest.fixture
    def old(self, chain: TieredStorage) -> Document:
        chain.chain["far"].storage.save("old.txt", content("old.txt"))
        return Document.objects.create(file="old.txt")

    def test_are_probed_for_without_a_query(self, old: Document, django_assert_num_queries: Any) -> None:
        prefetch_tiers([old], "file")
        with django_assert_num_queries(0):
            assert (old.file.tier, read(old.file)) == ("far", b"old.txt")

    def test_are_looked_up_again_where_no_tier_has_them(
        self, chain: TieredStorage, django_assert_num_queries: Any
    ) -> None:
        [missing] = prefetch_tiers([Document(file="a.txt")], "file")
        with django_assert_num_queries(1):
            assert missing.file.tier is None
        chain.save("a.txt", content("a.txt"))
        recording.work()
        assert read(missing.file) == b"a.txt"


class TestStale:
    """What happened after the look-up."""

    @pytest.fixture
    def document(self, documents: list[Document]) -> Document:
        prefetch_tiers(documents, "file")
        return documents[0]

    def test_g1_file_that_moved_on_is_found(self, document: Document, chain: TieredStorage) -> None:
        chain.chain["middle"].storage.delete(document.file.name)
        StoredFile.objects.filter(name=document.file.name).update(tiers=["far"])
        assert read(document.file) == b"0.txt"
        assert (document.file.tier, document.file.tiers) == ("far", ["far"])

    def test_g1_first_tier_goes_first(self, document: Document, chain: TieredStorage) -> None:
        chain.chain.first.storage.save(document.file.name, content("newer"))
        assert read(document.file) == b"newer"

    def test_g1_broken_tier_leads_to_the_next(self, make_chain: Any) -> None:
        make_chain({"near": "disk", "middle": faulty.tier("middle"), "far": "disk"}, "transfer-and-delete")
        document = Document.objects.create(file=content("a.txt"))
        recording.work()
        prefetch_tiers([document], "file")
        faulty.bucket("middle").on("open", faulty.refuse)
        assert read(document.file) == b"a.txt"

    def test_delete_by_the_instance_is_seen(self, document: Document) -> None:
        name, storage = document.file.name, document.file.storage
        document.file.delete(save=False)
        assert (storage.exists(name), storage.tiers(name)) == (False, [])

    def test_save_by_the_instance_is_seen(self, document: Document) -> None:
        document.file.save("new.txt", content("new"), save=False)
        assert (document.file.tier, document.file.state) == ("near", "pending")

    def test_g6_replaced_content_is_seen(self, document: Document) -> None:
        with document.file.storage.open(document.file.name, "wb") as file:
            file.write(b"replaced")
        assert (read(document.file), document.file.state) == (b"replaced", "pending")

    def test_transfer_by_the_instance_is_seen(self, make_chain: Any) -> None:
        make_chain(policy="delayed")
        document = Document.objects.create(file=content("a.txt"))
        prefetch_tiers([document], "file")
        assert document.file.state == "settled"
        document.file.transfer()
        assert document.file.state == "pending"

    def test_file_that_is_assigned_knows_nothing(
        self, document: Document, django_assert_num_queries: Any
    ) -> None:
        document.file = document.file.name
        with django_assert_num_queries(1):
            assert document.file.tier == "middle"

    def test_instance_that_is_refreshed_knows_nothing(
        self, document: Document, django_assert_num_queries: Any
    ) -> None:
        document.refresh_from_db()
        with django_assert_num_queries(1):
            assert document.file.tier == "middle"

    def test_field_keeps_its_storage(self, document: Document) -> None:
        field = Document._meta.get_field("file")
        assert field.storage == document.file.storage
        assert field.storage is not document.file.storage
