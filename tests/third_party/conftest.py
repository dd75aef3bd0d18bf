"""A chain as the default storage of a project with third-party apps, and its files at each moment of their move."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image

from tests.support.servers import S3Server
from tests.third_party.moments import MOMENTS, Moment

GATED_DISK = "tests.third_party.moments.GatedDisk"
PLAIN_DISK = "django.core.files.storage.FileSystemStorage"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Their warnings are theirs; and a worker in another thread sees only what was committed."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("default"))
            item.add_marker(pytest.mark.django_db(transaction=True))


@pytest.fixture(params=MOMENTS)
def moment(
    request: pytest.FixtureRequest, settings: Any, tmp_path: Path, moto_s3: S3Server, transactional_db: None
) -> Iterator[Moment]:
    """Run the test before the move of its files, in the middle of it, and after it."""
    folder, bucket = tmp_path / "disk", moto_s3.make_bucket()
    folder.mkdir()
    disk = GATED_DISK if request.param == "during" else PLAIN_DISK
    settings.QUEUED_STORAGE_TIERS = {
        "media": {
            "TIERS": {
                "disk": {"BACKEND": disk, "OPTIONS": {"location": str(folder), "base_url": "/media/"}},
                "s3": moto_s3.tier(bucket, file_overwrite=False),
            },
            "POLICY": "transfer-and-delete",
        }
    }
    moment = Moment(request.param, folder, moto_s3, bucket)
    yield moment
    moment.arrive()


@pytest.fixture
def picture() -> Callable[..., SimpleUploadedFile]:
    """Make an upload of a picture, of 400 by 300 pixels that no two pictures share."""

    def make(name: str = "photo.png", size: tuple[int, int] = (400, 300)) -> SimpleUploadedFile:
        noise = Image.effect_noise((size[0] // 4, size[1] // 4), 90).convert("RGB").resize(size, 0)
        content = io.BytesIO()
        noise.save(content, "PNG")
        return SimpleUploadedFile(name, content.getvalue(), "image/png")

    return make


@pytest.fixture
def staff(transactional_db: None) -> User:
    return User.objects.create_superuser("staff", "staff@example.com", "only-for-tests")


@pytest.fixture
def client(client: Any, staff: User) -> Any:
    client.force_login(staff)
    return client


def size_of(storage: Any, name: str) -> tuple[int, int]:
    """The width and height of the picture, read through the storage."""
    with storage.open(name) as file, Image.open(file) as image:
        width, height = image.size
        return width, height
