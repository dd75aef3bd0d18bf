"""Scenes of wide places: ridges, dunes, night skies, seas."""

import math
from collections.abc import Sequence
from itertools import pairwise
from random import Random

from PIL import Image, ImageChops, ImageDraw

from .brushes import (
    Colour,
    Size,
    clouds,
    contrast,
    disc,
    glow,
    gradient,
    grain,
    hex_colour,
    land,
    mix,
    rgb,
    ridge,
    shade,
    soften,
    stars,
    tint,
)


def ridges(
    size: Size, rng: Random, *, sky: Sequence[str], near: str, sun: str, layers: int = 6
) -> Image.Image:
    """Paint mountain ranges that pale into a glowing sky."""
    width, height = size
    picture = gradient(size, sky)
    tint(
        picture, mix(rgb(sky[-1]), (255, 255, 255), 0.35), contrast(clouds(size, rng, 3, 5, 5), 128, 215, 120)
    )
    sun_at = (width * rng.uniform(0.3, 0.7), height * rng.uniform(0.4, 0.48))
    picture = glow(picture, sun_at, width * 0.5, rgb(sun), 0.75)
    disc(picture, sun_at, width * 0.022, mix(rgb(sun), (255, 255, 255), 0.7))
    for layer in range(layers):
        share = (layer + 1) / layers
        colour = mix(rgb(sky[-1]), rgb(near), share**0.8)
        haze = mix(colour, rgb(sky[-1]), 0.45 * (1.1 - share))
        fill = gradient(size, [hex_colour(colour), hex_colour(haze)])
        land(picture, ridge(rng, 0.5), height * (0.34 + 0.1 * layer), height * (0.26 - 0.02 * layer), fill)
    return grain(picture, rng, 0.07)


def dunes(
    size: Size, rng: Random, *, sky: Sequence[str], light: str, dark: str, night: bool = False
) -> Image.Image:
    """Paint wind-drawn dunes, each crest lit on one side."""
    width, height = size
    picture = gradient(size, sky)
    if night:
        stars(picture, rng, 700, height * 0.6)
        picture = glow(picture, (width * 0.78, height * 0.2), width * 0.22, rgb("#cdd8ff"), 0.6)
        disc(picture, (width * 0.78, height * 0.2), width * 0.026, rgb("#f3f1e4"))
    sand = contrast(clouds(size, rng, 6, 6, 14), 96, 190, 130)
    for layer in range(5):
        share = layer / 4
        crest = dune_line(rng, 2 + rng.random() * (2.2 - share))
        lit = mix(shade([sky[-1], light], 0.35 + 0.65 * share), (255, 255, 255), 0.06)
        shadow = mix(rgb(dark), rgb(sky[-1]), 0.55 * (1 - share))
        fill = gradient(size, [hex_colour(lit), hex_colour(mix(lit, shadow, 0.75))])
        tint(fill, shadow, sand)
        top, depth = height * (0.44 + 0.1 * layer), height * 0.17
        land(picture, crest, top, depth, fill)
        _shadow_side(picture, crest, top, depth, shadow)
    return grain(picture, rng, 0.1)


def dune_line(rng: Random, waves: float) -> list[float]:
    """Make a rolling line of heights, steeper on one side of each crest."""
    start, lean = rng.uniform(0, 6.3), rng.uniform(0.4, 0.8)
    line = []
    for step in range(401):
        angle = start + waves * 2 * math.pi * step / 400
        line.append(0.5 + 0.32 * math.sin(angle + lean * math.sin(angle)) + 0.12 * math.sin(angle * 0.43 + 1))
    return line


def _shadow_side(
    picture: Image.Image, crest: Sequence[float], top: float, depth: float, colour: Colour
) -> None:
    """Darken the falling side of each crest, out to a curved edge; soft, so a quarter of the size will do."""
    width, height = (side // 4 for side in picture.size)
    top, depth = top / 4, depth / 4
    line = [(width * i / (len(crest) - 1), top + depth * (1 - value)) for i, value in enumerate(crest)]
    falling, under = Image.new("L", (width, height)), Image.new("L", (width, height))
    draw = ImageDraw.Draw(falling)
    for (x0, y0), (x1, y1) in pairwise(line):
        if y1 > y0:
            out = x1 + depth * 0.9
            draw.polygon([(x0, y0 - 1), (x1, y1), (out, height), (out, height)], fill=150)
    ImageDraw.Draw(under).polygon([(0, height), *line, (width, height)], fill=255)
    fade = gradient((width, height), ["#ffffff", "#ffffff", "#555555"]).convert("L")
    mask = ImageChops.multiply(ImageChops.multiply(soften(falling, width / 250), fade), under)
    tint(picture, colour, mask.resize(picture.size, Image.Resampling.BICUBIC))


def night_sky(
    size: Size, rng: Random, sky: Sequence[str], band: str | None, aurora: bool = False
) -> Image.Image:
    """Paint stars above a dark ridge, with the galaxy's band or an aurora."""
    height = size[1]
    picture = gradient(size, sky)
    if band:
        picture = _galaxy(picture, rng, band)
    stars(picture, rng, 2600, height)
    if aurora:
        picture = _aurora(picture, rng)
    for layer, colour in enumerate(["#0b1020", "#05070e"]):
        fill = Image.new("RGB", size, rgb(colour))
        land(picture, ridge(rng, 0.52, 10), height * (0.74 + 0.08 * layer), height * 0.18, fill)
    return grain(picture, rng, 0.16)


def _galaxy(picture: Image.Image, rng: Random, colour: str) -> Image.Image:
    """Lay the galaxy's band across the sky; it is all softness, so it is painted small and grown."""
    small = picture.reduce(4)
    width, height = small.size
    for step in range(9):
        share = step / 8
        centre = (width * (0.1 + 0.8 * share), height * (0.85 - 0.85 * share))
        small = glow(small, centre, height * 0.36, shade([colour, "#ffd9b0", colour], share), 0.34)
    dust = contrast(clouds(small.size, rng, 4, 7), 60, 160)
    small = Image.blend(small, ImageChops.multiply(small, Image.merge("RGB", [dust] * 3)), 0.6)
    picture = small.resize(picture.size, Image.Resampling.BICUBIC)
    stars(picture, rng, 1800, picture.height)
    return picture


def _aurora(picture: Image.Image, rng: Random) -> Image.Image:
    width, height = picture.size
    for colour, base in (("#2fe08c", 0.56), ("#37c6b4", 0.48), ("#9b5de5", 0.4)):
        curtain = Image.new("L", (320, 200))
        draw = ImageDraw.Draw(curtain)
        start, speed = rng.uniform(0, 6.3), rng.uniform(0.012, 0.02)
        for x in range(320):
            foot = 200 * base + 18 * math.sin(start + x * speed) + 9 * math.sin(start * 2 + x * speed * 2.7)
            ray = 55 + 45 * (0.5 + 0.5 * math.sin(x * 0.21 + start)) * rng.uniform(0.7, 1.1)
            for y in range(int(foot - ray), int(foot)):
                draw.point((x, y), fill=round(165 * max(0.0, (y - foot + ray) / ray) ** 1.6))
        mask = soften(curtain.resize(picture.size, Image.Resampling.BICUBIC), width / 130)
        lit = Image.new("RGB", picture.size)
        lit.paste(rgb(colour), (0, 0, width, height), mask)
        picture = ImageChops.screen(picture, lit)
    return picture


def sea(size: Size, rng: Random, sky: Sequence[str], water: Sequence[str], sun: str) -> Image.Image:
    """Paint a low sun over water, its light broken by waves."""
    width, height = size
    horizon = round(height * 0.52)
    sun_at = (width * rng.uniform(0.35, 0.65), horizon - height * 0.09)
    upper = gradient((width, horizon), sky)
    tint(
        upper,
        mix(rgb(sky[-1]), (255, 255, 255), 0.4),
        contrast(clouds(upper.size, rng, 3, 6, 7), 125, 210, 150),
    )
    upper = glow(upper, sun_at, width * 0.45, rgb(sun), 0.8)
    disc(upper, sun_at, width * 0.035, mix(rgb(sun), (255, 255, 255), 0.75))
    lower = gradient((width, height - horizon), water)
    waves = clouds(lower.size, rng, 26, 4, 12)
    tint(lower, rgb(water[-1]), contrast(waves, 110, 175, 190))
    tint(lower, mix(rgb(sky[-1]), rgb(sun), 0.4), contrast(waves.rotate(180), 140, 185, 110))
    _glitter(lower, rng, sun_at[0], rgb(sun))
    picture = Image.new("RGB", size)
    picture.paste(upper, (0, 0))
    picture.paste(lower, (0, horizon))
    return grain(picture, rng, 0.08)


def _glitter(water: Image.Image, rng: Random, centre: float, colour: Colour) -> None:
    """Draw the sun's path: short bright strokes, wider and sparser towards the viewer."""
    width, height = water.size
    draw = ImageDraw.Draw(water)
    for _ in range(900):
        depth = rng.random() ** 1.6
        x = centre + rng.gauss(0, width * (0.012 + 0.06 * depth))
        length, thick = (
            width * (0.004 + 0.02 * depth) * rng.uniform(0.5, 1.4),
            height * (0.001 + 0.007 * depth),
        )
        stroke = mix(colour, (255, 255, 255), rng.uniform(0.1, 0.8))
        y = depth * height
        draw.ellipse((x - length, y - thick / 2, x + length, y + thick / 2), fill=stroke)
