"""What every scene is painted with: gradients, cloudy noise, glows, ridges, grain.

Pillow alone: noise starts as a few random bytes and grows by bicubic scaling, which is quick at any size.
"""

from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import TypeAlias

from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFilter

Size: TypeAlias = tuple[int, int]
Colour: TypeAlias = tuple[int, int, int]
Point: TypeAlias = tuple[float, float]


def rgb(colour: str) -> Colour:
    """Turn "#rrggbb" into a tuple."""
    red, green, blue = ImageColor.getrgb(colour)[:3]
    return red, green, blue


def hex_colour(colour: Colour) -> str:
    """Turn a tuple into "#rrggbb"."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Blend two colours; share 0 is the first, 1 the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def shade(colours: Sequence[str], share: float) -> Colour:
    """Pick a colour along a list of evenly spaced ones."""
    position = min(max(share, 0.0), 1.0) * (len(colours) - 1)
    index = min(int(position), len(colours) - 2)
    return mix(rgb(colours[index]), rgb(colours[index + 1]), position - index)


def gradient(size: Size, colours: Sequence[str]) -> Image.Image:
    """Fill a picture from top to bottom."""
    column = Image.new("RGB", (1, 256))
    column.putdata([shade(colours, row / 255) for row in range(256)])
    tall = column.resize((1, size[1]), Image.Resampling.BICUBIC)
    return tall.resize(size, Image.Resampling.NEAREST)


def random_bytes(size: Size, rng: Random) -> Image.Image:
    """Make a grey picture of independent random pixels."""
    return Image.frombytes("L", size, rng.randbytes(size[0] * size[1]))


def clouds(size: Size, rng: Random, cells: int = 4, octaves: int = 5, stretch: float = 1.0) -> Image.Image:
    """Make soft grey noise; stretch above 1 draws it out sideways, as wind does."""
    width, height = size
    result = Image.new("L", size, 128)
    for octave in range(octaves):
        rows = max(2, min(height, cells * 2**octave))
        columns = max(2, min(width, round(rows * width / height / stretch)))
        layer = random_bytes((columns, rows), rng).resize(size, Image.Resampling.BICUBIC)
        result = Image.blend(result, layer, 0.5 if octave == 0 else 0.5 ** (octave + 0.3))
    return result


def contrast(grey: Image.Image, low: int, high: int, top: int = 255) -> Image.Image:
    """Stretch the band from low to high over 0 to top, for use as a mask."""
    span = high - low
    return grey.point([round(min(max((value - low) / span, 0), 1) * top) for value in range(256)])


def tint(picture: Image.Image, colour: Colour, mask: Image.Image) -> None:
    """Lay a plain colour over the picture where the mask is bright."""
    picture.paste(colour, (0, 0, *picture.size), mask)


def glow(
    picture: Image.Image, centre: Point, radius: float, colour: Colour, strength: float = 1.0
) -> Image.Image:
    """Add light round a point, falling off softly."""
    side = max(2, round(radius * 2))
    falloff = [round(255 * strength * max(0.0, 1 - value / 181) ** 2.2) for value in range(256)]
    light = Image.radial_gradient("L").point(falloff).resize((side, side), Image.Resampling.BICUBIC)
    mask = Image.new("L", picture.size)
    mask.paste(light, (round(centre[0] - radius), round(centre[1] - radius)))
    lit = Image.new("RGB", picture.size)
    lit.paste(colour, (0, 0, *picture.size), mask)
    return ImageChops.screen(picture, lit)


def disc(picture: Image.Image, centre: Point, radius: float, colour: Colour) -> None:
    """Draw a filled circle with a smooth edge."""
    scale = 4
    side = max(1, round(radius * 2))
    mask = Image.new("L", (side * scale, side * scale))
    ImageDraw.Draw(mask).ellipse((0, 0, side * scale - 1, side * scale - 1), fill=255)
    smooth = mask.resize((side, side), Image.Resampling.LANCZOS)
    picture.paste(colour, (round(centre[0] - radius), round(centre[1] - radius)), smooth)


def ridge(rng: Random, roughness: float, steps: int = 9) -> list[float]:
    """Make a mountain line of heights between 0 and 1 by midpoint displacement."""
    heights = [rng.random(), rng.random()]
    sway = 1.0
    for _ in range(steps):
        sway *= roughness
        middles = [(a + b) / 2 + rng.uniform(-sway, sway) for a, b in pairwise(heights)]
        heights = [value for pair in zip(heights, middles, strict=False) for value in pair] + heights[-1:]
    low, high = min(heights), max(heights)
    return [(height - low) / (high - low) for height in heights]


def land(picture: Image.Image, heights: Sequence[float], top: float, depth: float, fill: Image.Image) -> None:
    """Paste a fill below a line of heights; top and depth are pixels from the picture's upper edge."""
    width, height = picture.size
    line = [
        (width * index / (len(heights) - 1), top + depth * (1 - value)) for index, value in enumerate(heights)
    ]
    mask = Image.new("L", picture.size)
    ImageDraw.Draw(mask).polygon([(0, height), *line, (width, height)], fill=255)
    picture.paste(fill, (0, 0), mask)


def stars(picture: Image.Image, rng: Random, count: int, bottom: float) -> None:
    """Scatter stars above a line, most of them faint."""
    width, _ = picture.size
    unit = width / 1600
    draw = ImageDraw.Draw(picture)
    for _ in range(count):
        x, y = rng.uniform(0, width), rng.uniform(0, bottom)
        light = rng.random() ** 3
        colour = mix(rgb("#54648c"), rgb(rng.choice(["#ffffff", "#dfe8ff", "#fff0d8"])), light)
        size = unit * (0.4 + 1.1 * light)
        draw.ellipse((x - size, y - size, x + size, y + size), fill=colour)


def grain(picture: Image.Image, rng: Random, amount: float) -> Image.Image:
    """Add film grain: it hides the banding of smooth gradients and gives a photograph's size in bytes."""
    noise = random_bytes(picture.size, rng).convert("RGB")
    return Image.blend(picture, ImageChops.overlay(picture, noise), amount)


def soften(picture: Image.Image, radius: float) -> Image.Image:
    """Blur a large picture at a fraction of the cost: shrink, blur, grow."""
    factor = max(1, round(radius / 4))
    small = picture.reduce(factor).filter(ImageFilter.GaussianBlur(radius / factor))
    return small.resize(picture.size, Image.Resampling.BICUBIC)
