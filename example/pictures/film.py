"""Half a minute of film, painted: a day ends behind the mountains. python -m pictures.film FILE."""

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

from PIL import Image, ImageDraw, ImageFont

from .brushes import Size, disc, glow, gradient, hex_colour, mix, ridge, shade, stars
from .webm import webm

SIZE: Size = (640, 360)
SECONDS = 30
RATE = 12
DESCRIPTION = (
    "The sun goes down behind six ranges of mountains that pass by from right to left. The sky turns from blue over "
    "orange to violet, and the stars come out. A clock in the corner counts the seconds from 00 to 29. No sound."
)
#: The sky at the top, in the middle and at the horizon, from afternoon to night.
TOP = ["#3f7cc4", "#39599c", "#2b3568", "#121736", "#070a1c"]
MIDDLE = ["#9cc7e6", "#d9a58c", "#b0627a", "#3c3166", "#141a3c"]
HORIZON = ["#e9f1ea", "#ffd494", "#f08a5a", "#6b4674", "#26274f"]
NEAR = ["#31503f", "#3a3440", "#2a1f36", "#12132a", "#080a18"]


def paint(seconds: int = SECONDS) -> bytes:
    """Paint the film, and put it into a WebM file."""
    return webm(frames(seconds), RATE)


def frames(seconds: int = SECONDS) -> Iterator[Image.Image]:
    rng = Random("nightfall")
    ranges = [_outline(ridge(rng, 0.5)) for _ in range(6)]
    night = Image.new("RGB", SIZE)
    stars(night, rng, 260, SIZE[1] * 0.6)
    veil = night.convert("L")
    font = ImageFont.load_default(22)
    for number in range(seconds * RATE):
        share = number / (seconds * RATE - 1)
        picture = gradient(SIZE, [hex_colour(shade(colours, share)) for colours in (TOP, MIDDLE, HORIZON)])
        picture.paste(
            night, (0, 0), veil.point([round(value * max(0.0, share - 0.5) * 2) for value in range(256)])
        )
        picture = _sun(picture, share)
        for layer, outline in enumerate(ranges):
            _range(picture, outline, layer, share)
        draw = ImageDraw.Draw(picture)
        draw.text((SIZE[0] - 16, 12), f"{number // RATE:02d}", (255, 255, 255), font, anchor="ra")
        yield picture


def _outline(heights: list[float]) -> list[float]:
    """Make the line meet its own beginning, so that it can pass by for ever."""
    return [*heights, *reversed(heights)]


def _sun(picture: Image.Image, share: float) -> Image.Image:
    centre = (SIZE[0] * (0.36 + 0.12 * share), SIZE[1] * (0.2 + 0.62 * share))
    colour = shade(["#fff6d8", "#ffd08a", "#ff8a5a", "#ff8a5a"], share)
    lit = glow(picture, centre, SIZE[0] * 0.34, colour, max(0.0, 0.85 - share * 0.8))
    disc(lit, centre, 17, mix(colour, (255, 255, 255), 0.5))
    return lit


def _range(picture: Image.Image, outline: list[float], layer: int, share: float) -> None:
    width, height = picture.size
    depth = (layer + 1) / 6
    colour = mix(shade(HORIZON, share), shade(NEAR, share), depth**0.8)
    top, tall = height * (0.4 + 0.085 * layer), height * (0.27 - 0.02 * layer)
    start = share * len(outline) * 0.22 * depth**2
    points = []
    for x in range(0, width + 8, 8):
        position = start + x / width * len(outline) * 0.45
        index = math.floor(position)
        left, right = outline[index % len(outline)], outline[(index + 1) % len(outline)]
        points.append((x, top + tall * (1 - left - (right - left) * (position - index))))
    ImageDraw.Draw(picture).polygon([(0, height), *points, (width, height)], fill=colour)


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(paint())
