"""ImageStorage: the extension is that of the content, by itself and in a chain."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile, File
from django.core.files.storage import InMemoryStorage
from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image

from queued_storage.contrib.storages.image import ImageMixin, ImageStorage
from queued_storage.testing import run_owed_work

BACKEND = "queued_storage.contrib.storages.image.ImageStorage"


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def storage(tmp_path: Path) -> ImageStorage:
    return ImageStorage(tmp_path)


@pytest.mark.parametrize(
    ("kind", "name", "corrected"),
    [
        ("JPEG", "photo.PNG", "photo.jpg"),
        ("JPEG", "photo.jpeg", "photo.jpeg"),
        ("JPEG", "photo.JPG", "photo.JPG"),
        ("PNG", "in/photo.v2.jpg", "in/photo.v2.png"),
        ("PNG", "photo", "photo.png"),
        ("GIF", "photo.txt", "photo.gif"),
        ("BMP", "photo.png", "photo.bmp"),
        ("TIFF", "photo.png", "photo.tif"),
        ("WEBP", "photo.png", "photo.webp"),
        ("JPEG", "photo.pdf", "photo.jpg"),
        ("JPEG", "photo.heic", "photo.jpg"),
        ("JPEG", "photo.tar.gz", "photo.tar.jpg"),
        # What is behind a dot is no extension for that alone.
        ("JPEG", "scan 12.05.2024", "scan 12.05.2024.jpg"),
        ("JPEG", "scan 12.5", "scan 12.5.jpg"),
        ("JPEG", "v1.2 draft", "v1.2 draft.jpg"),
        ("PNG", "Mr. Smith", "Mr. Smith.png"),
        ("PNG", "no end.", "no end..png"),
        ("PNG", ".jpg", ".jpg.png"),
    ],
)
def test_extension_is_that_of_the_content(
    storage: ImageStorage, kind: str, name: str, corrected: str
) -> None:
    content = picture(kind)
    assert storage.save(name, ContentFile(content)) == corrected
    with storage.open(corrected) as file:
        assert file.read() == content


@pytest.mark.parametrize("content", [b"", b"text", b"<svg/>", b"\x89PNG\r\n\x1a\n broken", "text"])
def test_what_is_no_image_keeps_its_name(storage: ImageStorage, content: Any) -> None:
    assert storage.save("a.pdf", ContentFile(content)) == "a.pdf"
    assert storage.size("a.pdf") == len(content)


def test_name_of_the_content_is_corrected(storage: ImageStorage) -> None:
    assert storage.save(None, SimpleUploadedFile("photo.png", picture("GIF"))) == "photo.gif"


def test_taken_name_becomes_another_with_the_right_extension(storage: ImageStorage) -> None:
    storage.save("photo.jpg", ContentFile(b"text"))
    name = storage.save("photo.png", ContentFile(picture("JPEG")))
    assert (name != "photo.jpg", name.startswith("photo_"), name.endswith(".jpg")) == (True, True, True)


def test_name_is_no_longer_than_it_may_be(storage: ImageStorage) -> None:
    assert len(storage.save("x" * 15 + ".webp", ContentFile(picture("JPEG")), max_length=20)) <= 20
    assert len(storage.save("y" * 18, ContentFile(picture("WEBP")), max_length=20)) <= 20


def test_content_that_cannot_be_read_twice_keeps_its_name(storage: ImageStorage) -> None:
    class Once(File):  # type: ignore[type-arg]
        def seek(self, *_: Any) -> int:
            raise OSError("a pipe")

        def chunks(self, chunk_size: int | None = None) -> Any:
            yield self.read()

    content = picture("JPEG")
    assert storage.save("a.png", Once(io.BytesIO(content), name="a.png")) == "a.png"
    assert storage.size("a.png") == len(content)


def test_mixin_goes_in_front_of_any_storage() -> None:
    class Pictures(ImageMixin, InMemoryStorage):
        pass

    assert Pictures().save("a.png", ContentFile(picture("GIF"))) == "a.gif"


@pytest.fixture
def images(tmp_path: Path) -> dict[str, Any]:
    return {"BACKEND": BACKEND, "OPTIONS": {"location": str(tmp_path / "images"), "base_url": "/images/"}}


@pytest.mark.django_db(transaction=True)
def test_first_tier_corrects_the_name_for_all(make_chain: Any, images: dict[str, Any]) -> None:
    chain = make_chain({"images": images, "vault": "disk"})
    content = picture("JPEG")
    name = chain.save("photo.PNG", ContentFile(content))
    run_owed_work()
    assert (name, chain.tiers(name)) == ("photo.jpg", ["images", "vault"])
    assert chain.save("photo.png", ContentFile(content)) != name
    assert chain.listdir("")[1] == sorted(chain.listdir("")[1])
    with chain.open(name) as file:
        assert file.read() == content


@pytest.mark.django_db(transaction=True)
def test_lower_tier_keeps_the_name_of_the_first(make_chain: Any, images: dict[str, Any]) -> None:
    chain = make_chain({"near": "disk", "images": images}, policy="transfer-and-delete")
    name = chain.save("photo.png", ContentFile(picture("JPEG")))
    run_owed_work()
    assert (name, chain.tiers(name), chain.state(name)) == ("photo.png", ["images"], "settled")


@pytest.mark.django_db(transaction=True)
def test_chain_in_a_chain_corrects_the_name_once(make_chain: Any, images: dict[str, Any]) -> None:
    make_chain({"images": images, "vault": "disk"}, alias="inner")
    inner = {"BACKEND": "queued_storage.storage.TieredStorage", "OPTIONS": {"alias": "inner"}}
    chain = make_chain({"inner": inner, "far": "disk"}, alias="outer")
    assert chain.save("photo.PNG", ContentFile(picture("JPEG"))) == "photo.jpg"


class RemoteImages(ImageMixin, InMemoryStorage):
    """A storage in front of which the mixin goes, and that a chain cannot stage on."""

    def _save(self, name: str, content: Any) -> str:
        saved: str = super()._save(name, content)  # type: ignore[misc]
        return saved


@pytest.mark.django_db(transaction=True)
def test_lower_tier_of_any_kind_keeps_the_name_of_the_first(make_chain: Any) -> None:
    chain = make_chain(
        {"near": "disk", "far": {"BACKEND": f"{__name__}.RemoteImages"}}, "transfer-and-delete"
    )
    name = chain.save("photo.png", ContentFile(picture("JPEG")))
    run_owed_work()
    assert (chain.tiers(name), chain.state(name)) == (["far"], "settled")
