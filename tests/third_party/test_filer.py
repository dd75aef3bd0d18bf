"""django-filer: uploads, thumbnails, changes of folder and of privacy, downloads and deletes."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from django.core.files.base import File
from filer.models import Folder, Image

from tests.third_party.conftest import size_of
from tests.third_party.moments import Moment


@pytest.fixture
def image(moment: Moment, picture: Any) -> Image:
    content = picture()
    image = Image.objects.create(
        original_filename=content.name, file=File(content, content.name), is_public=True
    )
    moment.come(image.file.name)
    return Image.objects.get(pk=image.pk)


def test_upload_through_the_admin(moment: Moment, client: Any, picture: Any) -> None:
    folder = Folder.objects.create(name="holidays")
    answer = client.post(f"/admin/filer/clipboard/operations/upload/{folder.pk}/", {"file": picture()})
    assert answer.status_code == 200, answer.content
    assert "error" not in answer.json(), answer.json()
    image = Image.objects.get()
    moment.come(image.file.name)
    assert size_of(moment.storage, image.file.name) == (400, 300) == (image.width, image.height)


def test_facts_and_content(image: Image, moment: Moment) -> None:
    assert (image.width, image.height) == (400, 300)
    assert image.size == moment.storage.size(image.file.name)
    assert image.sha1 == hashlib.sha1(image.file.read()).hexdigest()
    assert image.url == image.file.url


def test_thumbnails(image: Image, moment: Moment) -> None:
    small = image.file.get_thumbnail({"size": (40, 40), "crop": True})
    assert size_of(moment.storage, small.name) == (40, 40)
    assert image.icons["32"]
    assert Image.objects.get().file.get_thumbnail({"size": (40, 40), "crop": True}).name == small.name
    assert small.name in moment.arrive()


def test_page_of_the_folder_and_of_the_file(image: Image, client: Any) -> None:
    assert client.get("/admin/filer/folder/unfiled_images/", follow=True).status_code == 200
    page = client.get(f"/admin/filer/image/{image.pk}/change/")
    assert page.status_code == 200


def test_made_private_it_moves_on_the_chain(image: Image, moment: Moment) -> None:
    public, content = image.file.name, image.file.read()
    image.is_public = False
    image.save()
    assert image.file.name.startswith("filer_private")
    assert moment.storage.open(image.file.name).read() == content
    assert set(moment.arrive()) == {image.file.name}
    assert not moment.storage.exists(public)


def test_replaced_in_the_admin(image: Image, moment: Moment, client: Any, picture: Any) -> None:
    old = image.file.name
    changed = {"file": picture("other.png", (200, 100)), "name": "", "description": "", "is_public": "on"}
    answer = client.post(f"/admin/filer/image/{image.pk}/change/", changed)
    assert answer.status_code == 302, answer.context["errors"]
    name = Image.objects.get().file.name
    assert size_of(moment.storage, name) == (200, 100)
    assert set(moment.arrive()) >= {old, name}  # filer itself deletes no file that a form replaced


def test_canonical_link_leads_to_where_it_is(image: Image, moment: Moment, client: Any) -> None:
    answer = client.get(image.canonical_url)
    assert answer.status_code == 302
    assert answer.url.partition("?")[0] == moment.storage.url(image.file.name).partition("?")[0]


def test_deleted_file_goes_everywhere(image: Image, moment: Moment) -> None:
    small = image.file.get_thumbnail({"size": (40, 40), "crop": True}).name
    image.delete()
    assert not moment.storage.exists(small)
    assert moment.arrive() == {}
