"""Scenes of nothing in particular: fractals, bokeh, paper, polygons, spirals, planets."""

import math
from collections.abc import Sequence
from random import Random
from typing import TypeAlias

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from .brushes import Size, clouds, contrast, disc, glow, gradient, grain, mix, rgb, shade, soften, stars

Extent: TypeAlias = tuple[float, float, float, float]


def mandelbrot(
    size: Size, rng: Random, *, extent: Extent, colours: Sequence[str], steps: int = 100, bend: float = 0.6
) -> Image.Image:
    """Paint a piece of the Mandelbrot set through a palette."""
    scale = 2 if size[0] < 1000 else 1
    depth = Image.effect_mandelbrot((size[0] * scale, size[1] * scale), extent, steps)
    depth.putpalette([channel for value in range(256) for channel in shade(colours, (value / 255) ** bend)])
    return depth.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def bokeh(size: Size, rng: Random, night: Sequence[str], lights: Sequence[str]) -> Image.Image:
    """Paint out-of-focus lights in the dark."""
    width, height = size
    picture = gradient(size, night)
    for blur, count, radius in ((14, 40, 0.09), (6, 32, 0.06), (2, 22, 0.04)):
        layer = Image.new("RGB", size)
        for _ in range(count):
            x, y = rng.uniform(0, width), height * min(1, max(0, rng.gauss(0.58, 0.2)))
            r = width * radius * rng.uniform(0.35, 1)
            colour = mix((0, 0, 0), rgb(rng.choice(lights)), rng.uniform(0.2, 0.62))
            draw = ImageDraw.Draw(layer)
            draw.ellipse((x - r, y - r, x + r, y + r), fill=mix(colour, (0, 0, 0), 0.25), outline=colour,
                         width=max(1, round(r / 12)))  # fmt: skip
        picture = ImageChops.screen(picture, soften(layer, blur * width / 1600))
    return grain(picture, rng, 0.08)


def paper(size: Size, rng: Random, colours: Sequence[str], phase: float = 0.0) -> Image.Image:
    """Paint layers of cut paper, each with its shadow on the one behind."""
    width, height = size
    scale = 2 if width < 1600 else 1
    large = (width * scale, height * scale)
    picture = Image.new("RGB", large, rgb(colours[0]))
    for index, colour in enumerate(colours[1:]):
        mask = Image.new("L", large)
        ImageDraw.Draw(mask).polygon(
            _paper_edge(large, rng, index / len(colours), phase * (1 + index)), fill=255
        )
        shadow = ImageChops.offset(soften(mask, width / 70), 0, -round(height / 50))
        picture.paste(
            mix(rgb(colours[index]), (0, 0, 0), 0.45), (0, 0), shadow.point(lambda value: value * 0.6)
        )
        picture.paste(rgb(colour), (0, 0), mask)
    return picture.resize(size, Image.Resampling.LANCZOS)


def _paper_edge(size: Size, rng: Random, share: float, phase: float) -> list[tuple[float, float]]:
    width, height = size
    waves, start, swing = rng.uniform(0.8, 1.7), rng.uniform(0, 6.3), height * rng.uniform(0.05, 0.1)
    edge = []
    for step in range(201):
        angle = start + phase + waves * 2 * math.pi * step / 200
        middle = height * (0.2 + 0.8 * share)
        edge.append((width * step / 200, middle + swing * (math.sin(angle) + 0.4 * math.sin(2.3 * angle))))
    return [(0, height), *edge, (width, height)]


def polygons(size: Size, rng: Random, colours: Sequence[str], cells: int = 14) -> Image.Image:
    """Paint a faceted surface of triangles."""
    width, height = size
    rows = max(3, round(cells * height / width))
    grid = {
        (column, row): (
            width * (column + rng.uniform(-0.38, 0.38)) / cells,
            height * (row + rng.uniform(-0.38, 0.38)) / rows,
        )
        for column in range(-1, cells + 2)
        for row in range(-1, rows + 2)
    }
    picture = Image.new("RGB", size)
    draw = ImageDraw.Draw(picture)
    for column in range(-1, cells + 1):
        for row in range(-1, rows + 1):
            a, b = grid[column, row], grid[column + 1, row]
            c, d = grid[column, row + 1], grid[column + 1, row + 1]
            for corners in ([a, b, d], [a, d, c]):
                x, y = (sum(point[axis] for point in corners) / 3 for axis in (0, 1))
                tone = 0.55 * y / height + 0.45 * x / width + rng.uniform(-0.07, 0.07)
                draw.polygon(corners, fill=shade(colours, tone))
    return picture.filter(ImageFilter.SMOOTH)


def sunflower(
    size: Size, rng: Random, background: str, colours: Sequence[str], count: int = 900
) -> Image.Image:
    """Paint seeds on the golden angle."""
    scale = 2
    width, height = size[0] * scale, size[1] * scale
    picture = Image.new("RGB", (width, height), rgb(background))
    draw = ImageDraw.Draw(picture)
    reach = 0.47 * min(width, height)
    for index in range(count):
        share = index / count
        angle, away = index * math.pi * (3 - math.sqrt(5)), reach * math.sqrt(share)
        x, y = width / 2 + away * math.cos(angle), height / 2 + away * math.sin(angle)
        r = reach / math.sqrt(count) * (0.35 + 0.5 * share)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=shade(colours, share))
    return picture.resize(size, Image.Resampling.LANCZOS)


def tiles(size: Size, rng: Random, background: str, colours: Sequence[str], cell: int = 40) -> Image.Image:
    """Paint Truchet tiles: quarter arcs that meet wherever they fall."""
    scale = 3
    step = cell * scale
    picture = Image.new("RGB", (size[0] * scale, size[1] * scale), rgb(background))
    draw = ImageDraw.Draw(picture)
    for left in range(0, picture.width, step):
        for top in range(0, picture.height, step):
            colour = shade(colours, (left + top) / (picture.width + picture.height))
            corners = ((0, 0), (1, 1)) if rng.random() < 0.5 else ((1, 0), (0, 1))
            for across, down in corners:
                x, y = left + across * step, top + down * step
                for r in (step * 0.67, step * 0.36):
                    start = {(0, 0): 0, (1, 0): 90, (1, 1): 180, (0, 1): 270}[across, down]
                    box = (x - r, y - r, x + r, y + r)
                    draw.arc(box, start, start + 90, fill=colour, width=step // 8)
    return picture.resize(size, Image.Resampling.LANCZOS)


def planet(size: Size, rng: Random, colours: Sequence[str], ring: str | None = None) -> Image.Image:
    """Paint a banded planet lit from one side."""
    width, height = size
    picture = gradient(size, ["#05060d", "#0b0d1c"])
    stars(picture, rng, 900, height)
    radius, centre = 0.3 * min(size), (width * 0.5, height * 0.5)
    picture = glow(picture, centre, radius * 1.9, shade(colours, 0.5), 0.35)
    if ring:
        _ring(picture, centre, radius, ring, front=False)
    _globe(picture, rng, centre, radius, colours)
    if ring:
        _ring(picture, centre, radius, ring, front=True)
    return grain(picture, rng, 0.06)


def _globe(
    picture: Image.Image, rng: Random, centre: tuple[float, float], radius: float, colours: Sequence[str]
) -> None:
    side = round(radius * 2)
    bands = contrast(clouds((side, side), rng, 8, 5, 9), 60, 200)
    bands.putpalette([channel for value in range(256) for channel in shade(colours, value / 255)])
    surface = bands.convert("RGB")
    falloff = [round(255 * max(0.0, 1 - (value / 200) ** 1.7)) for value in range(256)]
    light = Image.radial_gradient("L").point(falloff).resize((side * 2, side * 2), Image.Resampling.BICUBIC)
    light = light.crop((round(side * 0.72), round(side * 0.68), round(side * 1.72), round(side * 1.68)))
    surface = ImageChops.multiply(surface, Image.merge("RGB", [light] * 3))
    mask = Image.new("L", (side * 2, side * 2))
    ImageDraw.Draw(mask).ellipse((0, 0, side * 2 - 1, side * 2 - 1), fill=255)
    place = (round(centre[0] - radius), round(centre[1] - radius))
    picture.paste(surface, place, mask.resize((side, side), Image.Resampling.LANCZOS))


def _ring(picture: Image.Image, centre: tuple[float, float], radius: float, colour: str, front: bool) -> None:
    """Draw the half of a tilted ring that lies behind or before the planet."""
    side = round(radius * 4.6)
    layer = Image.new("RGBA", (side, side))
    draw = ImageDraw.Draw(layer)
    start = 0 if front else 180
    for step in range(24):
        r = radius * (1.45 + 0.033 * step)
        box = (side / 2 - r, side / 2 - r * 0.26, side / 2 + r, side / 2 + r * 0.26)
        strength = 60 + 120 * abs(math.sin(step * 0.9))
        draw.arc(
            box, start, start + 180, fill=(*rgb(colour), round(strength)), width=max(2, round(radius / 34))
        )
    tilted = layer.rotate(16, Image.Resampling.BICUBIC)
    picture.paste(tilted, (round(centre[0] - side / 2), round(centre[1] - side / 2)), tilted)


def badge(size: Size, rng: Random, sky: Sequence[str], sun: str) -> Image.Image:
    """Paint a very small picture: a sun and two hills."""
    width, height = size
    picture = gradient(size, sky)
    disc(picture, (width * 0.68, height * 0.38), height * 0.2, rgb(sun))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((-width * 0.3, height * 0.62, width * 0.75, height * 1.9), fill=rgb("#2a9d8f"))
    draw.ellipse((width * 0.3, height * 0.72, width * 1.4, height * 2), fill=rgb("#1f7a70"))
    return picture
