"""Wagtail: images with their renditions, and documents."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from django.core.files.images import ImageFile
from django.core.files.uploadedfile import SimpleUploadedFile
from wagtail.documents.models import Document
from wagtail.images.models import Image
from wagtail.models import Collection

from tests.third_party.conftest import size_of
from tests.third_party.moments import Moment

LETTER = b"%PDF-1.7 " + b"a letter " * 9000


@pytest.fixture(autouse=True)
def collection(transactional_db: None) -> Collection:
    """What Wagtail's migrations write, and a flush between tests removes."""
    return Collection.objects.first() or Collection.add_root(name="Root")


@pytest.fixture
def image(moment: Moment, picture: Any, collection: Collection) -> Image:
    image = Image.objects.create(title="A", file=ImageFile(picture(), "photo.png"), collection=collection)
    moment.come(image.file.name)
    return Image.objects.get(pk=image.pk)


@pytest.fixture
def document(moment: Moment, collection: Collection) -> Document:
    content = SimpleUploadedFile("letter.pdf", LETTER, "application/pdf")
    document = Document.objects.create(title="L", file=content, collection=collection)
    moment.come(document.file.name)
    return Document.objects.get(pk=document.pk)


class TestImages:
    def test_upload_through_the_admin(self, moment: Moment, client: Any, picture: Any) -> None:
        answer = client.post("/cms/images/add/", {"title": "A", "file": picture()})
        assert answer.status_code == 302, answer.content
        image = Image.objects.get()
        moment.come(image.file.name)
        assert size_of(moment.storage, image.file.name) == (400, 300) == (image.width, image.height)

    def test_rendition_is_made_and_found_again(self, image: Image, moment: Moment) -> None:
        rendition = image.get_rendition("fill-40x40")
        assert size_of(moment.storage, rendition.file.name) == (40, 40)
        assert rendition.url == moment.storage.url(rendition.file.name)
        assert Image.objects.get().get_rendition("fill-40x40").file.name == rendition.file.name
        assert set(moment.arrive()) == {image.file.name, rendition.file.name}

    def test_facts(self, image: Image, moment: Moment) -> None:
        assert image.get_file_size() == moment.storage.size(image.file.name)
        assert image.get_file_hash() == hashlib.sha1(moment.storage.open(image.file.name).read()).hexdigest()
        assert image.is_stored_locally() == (moment.name != "after")

    def test_pages_of_the_admin(self, image: Image, client: Any) -> None:
        assert client.get("/cms/images/").status_code == 200
        assert client.get(f"/cms/images/{image.pk}/").status_code == 200

    def test_replaced_in_the_admin(self, image: Image, moment: Moment, client: Any, picture: Any) -> None:
        old = image.file.name, image.get_rendition("fill-40x40").file.name
        new = {"title": "B", "file": picture("b.png", (200, 100))}
        assert client.post(f"/cms/images/{image.pk}/", new).status_code == 302
        image = Image.objects.get()
        assert size_of(moment.storage, image.file.name) == (200, 100)
        left = moment.arrive()
        assert image.file.name in left
        assert not set(old) & set(left)

    def test_deleted_in_the_admin(self, image: Image, moment: Moment, client: Any) -> None:
        image.get_rendition("fill-40x40")
        assert client.post(f"/cms/images/{image.pk}/delete/").status_code == 302
        assert moment.arrive() == {}


class TestDocuments:
    def test_upload_through_the_admin(self, moment: Moment, client: Any) -> None:
        content = SimpleUploadedFile("letter.pdf", LETTER, "application/pdf")
        answer = client.post("/cms/documents/add/", {"title": "L", "file": content})
        assert answer.status_code == 302, answer.content
        document = Document.objects.get()
        moment.come(document.file.name)
        assert moment.storage.open(document.file.name).read() == LETTER

    def test_facts(self, document: Document) -> None:
        assert document.get_file_size() == len(LETTER)
        assert document.get_file_hash() == hashlib.sha1(LETTER).hexdigest()

    @pytest.mark.parametrize("method", [None, "serve_view", "redirect", "direct"])
    def test_download(
        self, document: Document, moment: Moment, client: Any, settings: Any, method: str | None
    ) -> None:
        if method:
            settings.WAGTAILDOCS_SERVE_METHOD = method
        answer = client.get(document.url if method != "direct" else f"/documents/{document.pk}/letter.pdf")
        redirects = method in {"redirect", "direct"} or (method is None and moment.name == "after")
        if redirects:
            assert (answer.status_code, answer.url.partition("?")[0]) == (
                302,
                moment.storage.url(document.file.name).partition("?")[0],
            )
        else:
            assert (answer.status_code, b"".join(answer)) == (200, LETTER)

    def test_replaced_in_the_admin(self, document: Document, moment: Moment, client: Any) -> None:
        old, new = (
            document.file.name,
            SimpleUploadedFile("answer.pdf", b"%PDF-1.7 an answer", "application/pdf"),
        )
        answer = client.post(f"/cms/documents/edit/{document.pk}/", {"title": "A", "file": new})
        assert answer.status_code == 302, answer.content
        name = Document.objects.get().file.name
        assert moment.storage.open(name).read() == b"%PDF-1.7 an answer"
        assert not moment.storage.exists(old)
        assert set(moment.arrive()) == {name}

    def test_deleted_in_the_admin(self, document: Document, moment: Moment, client: Any) -> None:
        assert client.post(f"/cms/documents/delete/{document.pk}/").status_code == 302
        assert moment.arrive() == {}
