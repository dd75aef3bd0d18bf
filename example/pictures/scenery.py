"""Scenes with things in them: firs, towers, balloons."""

from collections.abc import Sequence
from random import Random

from PIL import Image, ImageDraw

from .brushes import (
    Colour,
    Point,
    Size,
    clouds,
    contrast,
    gradient,
    grain,
    hex_colour,
    land,
    mix,
    rgb,
    ridge,
    soften,
    stars,
    tint,
)
from .landscapes import dune_line


def forest(size: Size, rng: Random, fog: Sequence[str], near: str, snow: bool = False) -> Image.Image:
    """Paint rows of firs that fade into fog."""
    width, height = size
    picture = gradient(size, fog)
    layers = 6
    for layer in range(layers):
        share = (layer + 1) / layers
        colour = mix(rgb(fog[-1]), rgb(near), share**1.3)
        line = ridge(rng, 0.45, 6)
        base, tall = height * (0.38 + 0.11 * layer), height * (0.1 + 0.2 * share)
        land(picture, line, base, height * 0.12, Image.new("RGB", size, colour))
        draw = ImageDraw.Draw(picture)
        for _ in range(round(46 - 5 * layer)):
            x = rng.uniform(-0.02, 1.02)
            ground = base + height * 0.12 * (1 - line[round(min(max(x, 0), 1) * (len(line) - 1))])
            foot = (x * width, ground + height * 0.02)
            _fir(draw, rng, foot, tall * rng.uniform(0.6, 1.15), colour=colour, snow=snow)
        mist = contrast(clouds(size, rng, 3, 4, 4), 110, 220, round(150 * (1 - share) + 25))
        tint(picture, rgb(fog[-1]), mist)
    return grain(picture, rng, 0.09)


def _fir(
    draw: ImageDraw.ImageDraw, rng: Random, foot: Point, tall: float, *, colour: Colour, snow: bool
) -> None:
    x, ground = foot
    branches = 9
    for step in range(branches):
        share = step / (branches - 1)
        half = tall * (0.025 + 0.17 * share) * rng.uniform(0.85, 1.1)
        top, bottom = ground - tall * (1 - share * 0.84), ground - tall * (1 - share * 0.84 - 0.15)
        draw.polygon([(x, top), (x - half, bottom), (x + half, bottom)], fill=colour)
        if snow:
            white = mix(colour, (255, 255, 255), 0.55)
            draw.polygon([(x, top), (x - half, bottom), (x - half * 0.2, bottom - tall * 0.04)], fill=white)


def town(size: Size, rng: Random, sky: Sequence[str], wall: str, lamp: str) -> Image.Image:
    """Paint a skyline with lit windows, mirrored in water."""
    width, height = size
    shore = round(height * 0.72)
    picture = gradient((width, shore), sky)
    stars(picture, rng, 160, shore * 0.4)
    for row in range(3):
        colour = mix(rgb(sky[-1]), rgb(wall), 0.35 + 0.3 * row)
        x = -width * 0.02
        while x < width:
            across = width * rng.uniform(0.025, 0.07)
            _tower(
                picture,
                rng,
                (x, shore * rng.uniform(0.3 + 0.12 * row, 0.75 + 0.06 * row), across),
                colour,
                lamp,
            )
            x += across * rng.uniform(0.9, 1.25)
    whole = Image.new("RGB", size)
    whole.paste(picture, (0, 0))
    mirror = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM).resize((width, height - shore))
    whole.paste(
        Image.blend(soften(mirror, width / 300), Image.new("RGB", mirror.size, rgb(wall)), 0.35), (0, shore)
    )
    return grain(whole, rng, 0.05)


def _tower(
    picture: Image.Image, rng: Random, place: tuple[float, float, float], colour: Colour, lamp: str
) -> None:
    left, top, across = place
    draw = ImageDraw.Draw(picture)
    draw.rectangle((left, top, left + across, picture.height), fill=colour)
    columns = rng.randint(3, 6)
    cell = across / (columns * 2 + 1)
    y = top + cell * 1.5
    while y < picture.height - cell * 2:
        for column in range(columns):
            if rng.random() < 0.42:
                x = left + cell * (1 + 2 * column)
                lit = mix(colour, rgb(lamp), rng.uniform(0.35, 1))
                draw.rectangle((x, y, x + cell, y + cell * 1.2), fill=lit)
        y += cell * 2.4


def balloons(size: Size, rng: Random, sky: Sequence[str], hills: Sequence[str]) -> Image.Image:
    """Paint hot-air balloons over rolling hills."""
    width, height = size
    picture = gradient(size, sky)
    tint(picture, (255, 255, 255), contrast(clouds(size, rng, 3, 6, 3), 128, 215, 170))
    for layer, colour in enumerate(hills):
        fill = gradient(size, [hex_colour(mix(rgb(colour), (255, 255, 255), 0.2)), colour])
        land(picture, dune_line(rng, 1.2 + 0.5 * layer), height * (0.66 + 0.08 * layer), height * 0.14, fill)
    palettes = [
        ("#d1495b", "#edae49"),
        ("#00798c", "#f4f1de"),
        ("#f2cc8f", "#e07a5f"),
        ("#3d405b", "#81b29a"),
    ]
    for index, stripes in enumerate(palettes * 2):
        radius = width * rng.uniform(0.02, 0.07) * (1 if index < 4 else 0.5)
        x, y = width * (0.08 + 0.84 * ((index * 0.382) % 1)), height * rng.uniform(0.12, 0.5)
        _balloon(picture, x, y, radius, stripes)
    return grain(picture, rng, 0.05)


def _balloon(picture: Image.Image, x: float, y: float, radius: float, stripes: tuple[str, str]) -> None:
    scale = 3
    side = round(radius * 3) * scale
    balloon = Image.new("RGBA", (side, side))
    draw = ImageDraw.Draw(balloon)
    middle, r = side / 2, radius * scale
    draw.polygon(
        [(middle - r * 0.86, r * 1.5), (middle + r * 0.86, r * 1.5), (middle, r * 2.6)], fill=stripes[0]
    )
    for step in range(7):
        half = r * (1 - step / 7)
        draw.ellipse((middle - half, 0, middle + half, r * 2), fill=stripes[step % 2])
    draw.rectangle((middle - r * 0.16, r * 2.62, middle + r * 0.16, r * 2.9), fill="#6b4226")
    small = balloon.resize((side // scale, side // scale), Image.Resampling.LANCZOS)
    picture.paste(small, (round(x - side / scale / 2), round(y - radius)), small)
