"""easy-thumbnails, sorl-thumbnail and django-imagekit: thumbnails are made of, and kept on, the chain."""

from __future__ import annotations

from typing import Any

import sorl.thumbnail
from easy_thumbnails.files import get_thumbnailer

from tests.third_party.conftest import size_of
from tests.third_party.gallery.models import EasyPhoto, SorlPhoto, SpecPhoto
from tests.third_party.moments import Moment


class TestEasyThumbnails:
    def test_thumbnail_is_made_and_found_again(self, moment: Moment, picture: Any) -> None:
        photo = EasyPhoto.objects.create(image=picture())
        moment.come(photo.image.name)
        small = photo.image["small"]
        assert size_of(moment.storage, small.name) == (40, 40)
        assert moment.storage.url(small.name) == small.url
        again = EasyPhoto.objects.get().image["small"]
        assert again.name == small.name
        assert set(moment.arrive()) == {photo.image.name, small.name}

    def test_thumbnail_that_moved_is_found_and_not_made_anew(self, moment: Moment, picture: Any) -> None:
        photo = EasyPhoto.objects.create(image=picture())
        small = photo.image["small"].name
        moment.come(small)
        assert get_thumbnailer(EasyPhoto.objects.get().image).get_existing_thumbnail(
            {"size": (40, 40), "crop": True}
        )
        assert EasyPhoto.objects.get().image["small"].name == small
        assert set(moment.arrive()) == {photo.image.name, small}

    def test_source_is_resized_as_it_is_saved(self, moment: Moment, picture: Any) -> None:
        photo = EasyPhoto.objects.create(image=picture())
        moment.come(photo.image.name)
        assert size_of(moment.storage, photo.image.name) == (300, 225)

    def test_thumbnails_go_with_their_source(self, moment: Moment, picture: Any) -> None:
        photo = EasyPhoto.objects.create(image=picture())
        small = photo.image["small"].name
        moment.come(photo.image.name, small)
        photo.image.delete_thumbnails()
        photo.image.delete(save=False)
        assert not moment.storage.exists(small)
        assert moment.arrive() == {}


class TestSorlThumbnail:
    def test_thumbnail_is_made_and_found_again(self, moment: Moment, picture: Any) -> None:
        photo = SorlPhoto.objects.create(image=picture())
        moment.come(photo.image.name)
        small = sorl.thumbnail.get_thumbnail(photo.image, "40x40", crop="center")
        assert size_of(moment.storage, small.name) == (40, 40)
        assert moment.storage.url(small.name) == small.url
        again = sorl.thumbnail.get_thumbnail(SorlPhoto.objects.get().image, "40x40", crop="center")
        assert (again.name, again.read()) == (small.name, small.read())
        assert set(moment.arrive()) == {photo.image.name, small.name}

    def test_thumbnail_that_moved_is_found_and_not_made_anew(self, moment: Moment, picture: Any) -> None:
        photo = SorlPhoto.objects.create(image=picture())
        small = sorl.thumbnail.get_thumbnail(photo.image, "40x40", crop="center")
        moment.come(small.name)
        sorl.thumbnail.default.kvstore.clear()
        assert sorl.thumbnail.get_thumbnail(photo.image, "40x40", crop="center").name == small.name
        assert set(moment.arrive()) == {photo.image.name, small.name}

    def test_thumbnails_go_with_their_source(self, moment: Moment, picture: Any) -> None:
        photo = SorlPhoto.objects.create(image=picture())
        small = sorl.thumbnail.get_thumbnail(photo.image, "40x40").name
        moment.come(photo.image.name, small)
        sorl.thumbnail.delete(photo.image)
        assert not moment.storage.exists(photo.image.name)
        assert not moment.storage.exists(small)
        assert moment.arrive() == {}


class TestImagekit:
    def test_picture_is_processed_as_it_is_saved(self, moment: Moment, picture: Any) -> None:
        photo = SpecPhoto.objects.create(image=picture())
        moment.come(photo.image.name)
        assert size_of(moment.storage, photo.image.name) == (200, 200)

    def test_thumbnail_is_made_and_found_again(self, moment: Moment, picture: Any) -> None:
        photo = SpecPhoto.objects.create(image=picture())
        moment.come(photo.image.name)
        small = photo.small
        assert small.url == moment.storage.url(small.name)
        assert (small.width, small.height) == (40, 40)
        again = SpecPhoto.objects.get().small
        assert (again.url, again.name) == (small.url, small.name)
        assert set(moment.arrive()) == {photo.image.name, small.name}

    def test_thumbnail_that_moved_is_found_and_not_made_anew(self, moment: Moment, picture: Any) -> None:
        from django.core.cache import cache

        photo = SpecPhoto.objects.create(image=picture())
        photo.small.generate()
        name = photo.small.name
        moment.come(name)
        cache.clear()
        small = SpecPhoto.objects.get().small
        small.generate()
        assert small.read() == moment.storage.open(name).read()
        assert set(moment.arrive()) == {photo.image.name, name}
