"""The admin's file widgets, Django REST framework and django-cleanup."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from tests.third_party.conftest import size_of
from tests.third_party.gallery.models import CleanPhoto, Photo
from tests.third_party.moments import Moment


def note(content: bytes = b"a note") -> SimpleUploadedFile:
    return SimpleUploadedFile("note.txt", content, "text/plain")


@pytest.fixture
def photo(moment: Moment, client: Any, picture: Any) -> Photo:
    """A photo that was uploaded through the admin, with its files at the moment."""
    answer = client.post("/admin/gallery/photo/add/", {"title": "One", "image": picture(), "note": note()})
    assert answer.status_code == 302, answer.content
    photo = Photo.objects.get()
    moment.come(photo.image.name, photo.note.name)
    return photo


class TestAdmin:
    def test_upload_is_there(self, photo: Photo, moment: Moment) -> None:
        assert size_of(moment.storage, photo.image.name) == (400, 300) == (photo.width, photo.height)
        assert moment.storage.open(photo.note.name).read() == b"a note"

    def test_form_links_the_file_where_it_is(self, photo: Photo, moment: Moment, client: Any) -> None:
        page = client.get(f"/admin/gallery/photo/{photo.pk}/change/").content.decode()
        url = moment.storage.url(photo.note.name).replace("&", "&amp;").partition("?")[0]
        assert f'href="{url}' in page
        assert ("/media/" in url) == (moment.name != "after")

    def test_form_that_leaves_the_files_alone(self, photo: Photo, client: Any) -> None:
        answer = client.post(f"/admin/gallery/photo/{photo.pk}/change/", {"title": "Two"})
        assert answer.status_code == 302
        after = Photo.objects.get()
        assert (after.title, after.image.name, after.width) == ("Two", photo.image.name, 400)

    def test_form_that_replaces_one_and_clears_another(
        self, photo: Photo, moment: Moment, client: Any, picture: Any
    ) -> None:
        changed = {"title": "Two", "image": picture(size=(200, 100)), "note-clear": "on"}
        assert client.post(f"/admin/gallery/photo/{photo.pk}/change/", changed).status_code == 302
        after = Photo.objects.get()
        assert after.image.name != photo.image.name
        assert (size_of(moment.storage, after.image.name), bool(after.note)) == ((200, 100), False)
        # Django itself deletes no file that a form replaced.
        assert set(moment.arrive()) == {photo.image.name, photo.note.name, after.image.name}

    def test_file_deleted_in_code_is_gone(self, photo: Photo, moment: Moment) -> None:
        photo.note.delete()
        assert set(moment.arrive()) == {photo.image.name}


class TestRestFramework:
    @pytest.fixture
    def api(self) -> APIClient:
        return APIClient()

    def test_upload_is_there(self, moment: Moment, api: APIClient, picture: Any) -> None:
        answer = api.post(
            "/api/photos/", {"title": "One", "image": picture(), "note": note()}, format="multipart"
        )
        assert answer.status_code == 201, answer.content
        photo = Photo.objects.get()
        moment.come(photo.image.name)
        assert size_of(moment.storage, photo.image.name) == (400, 300)

    def test_answers_link_the_file_where_it_is(self, photo: Photo, moment: Moment, api: APIClient) -> None:
        (told,) = api.get("/api/photos/").json()
        before = "http://testserver/media/"
        after = f"{moment.s3.endpoint}/{moment.bucket}/"
        assert told["image"].startswith(after if moment.name == "after" else before)
        assert photo.image.name in told["image"]

    def test_files_are_replaced(self, photo: Photo, moment: Moment, api: APIClient) -> None:
        answer = api.patch(f"/api/photos/{photo.pk}/", {"note": note(b"another")}, format="multipart")
        assert answer.status_code == 200, answer.content
        assert Photo.objects.get().note.read() == b"another"

    def test_picture_is_validated_and_not_kept(self, photo: Photo, moment: Moment, api: APIClient) -> None:
        answer = api.patch(f"/api/photos/{photo.pk}/", {"image": note()}, format="multipart")
        assert answer.status_code == 400
        assert set(moment.arrive()) == {photo.image.name, photo.note.name}


class TestCleanup:
    def test_replaced_file_goes_everywhere(self, moment: Moment, picture: Any) -> None:
        photo = CleanPhoto.objects.create(image=picture())
        old = photo.image.name
        moment.come(old)
        photo.image = picture("new.png")
        photo.save()
        assert not moment.storage.exists(old)
        assert set(moment.arrive()) == {photo.image.name}

    def test_deleted_rows_file_goes_everywhere(self, moment: Moment, picture: Any) -> None:
        photo = CleanPhoto.objects.create(image=picture())
        moment.come(photo.image.name)
        photo.delete()
        assert moment.arrive() == {}
