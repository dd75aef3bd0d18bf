"""Make the small picture of a large one."""

from io import BytesIO
from typing import IO

from django.core.files.base import ContentFile
from PIL import Image, ImageOps

SIDE = 640


CONTENT_TYPE = "image/webp"


def make_thumbnail(picture: IO[bytes]) -> ContentFile:
    """Shrink a picture to WebP; of an animation, its first frame. Leaves the file at its start."""
    picture.seek(0)
    with Image.open(picture) as image:
        # A JPEG can be decoded at a fraction of its size, which saves most of the time.
        image.draft("RGB", (SIDE, SIDE))
        upright = ImageOps.exif_transpose(image)
        mode = "RGBA" if upright.has_transparency_data else "RGB"
        small = ImageOps.contain(upright.convert(mode), (SIDE, SIDE), Image.Resampling.LANCZOS)
    picture.seek(0)
    content = BytesIO()
    small.save(content, "WEBP", quality=80)
    thumbnail = ContentFile(content.getvalue())
    thumbnail.content_type = CONTENT_TYPE  # goes with the file to every tier
    return thumbnail
