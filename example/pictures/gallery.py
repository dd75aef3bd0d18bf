"""The list of pictures, and the painting of it in several processes."""

import math
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from . import abstracts, landscapes, scenery
from .brushes import Size


@dataclass(frozen=True)
class Picture:
    """A file of the album: what is painted, how large, and how it is saved (options of Image.save)."""

    name: str
    size: Size
    paint: Callable[[Size, Random], Image.Image]
    save: dict[str, Any] = field(default_factory=dict)
    frames: int = 1


def scene(painter: Callable[..., Image.Image], **options: Any) -> Callable[[Size, Random], Image.Image]:
    """Bind a painter to its colours."""
    return partial(painter, **options)


FINE = {"quality": 95}
GOOD = {"quality": 88}
SMALL = {"quality": 78}
FAST_PNG = {"compress_level": 3}

DUSK = ["#1f2a52", "#6d4c7d", "#e0786c", "#f9c58d"]
BLUE_HOUR = ["#0d1b3e", "#27498a", "#7fa3cf", "#c9d6e8"]
ROSE = ["#5b6aa8", "#c08fb0", "#f3b7b0", "#fbe3cf"]
NIGHT = ["#04060f", "#0a1230", "#16254d"]

PICTURES = [
    Picture("ridges-at-dusk.jpg", (3600, 2400),
            scene(landscapes.ridges, sky=DUSK, near="#1b1630", sun="#ffd08a"), FINE),
    Picture("blue-hour.jpg", (1600, 1067),
            scene(landscapes.ridges, sky=BLUE_HOUR, near="#0a1428", sun="#dfe9ff"), GOOD),
    Picture("rose-morning.webp", (1200, 1600),
            scene(landscapes.ridges, sky=ROSE, near="#3c3a5e", sun="#fff0d0", layers=7), GOOD),
    Picture("green-valley.jpg", (2000, 1125),
            scene(landscapes.ridges, sky=["#5aa0c8", "#b8dbe0", "#eef3dc"], near="#173b2c", sun="#fff7cf"),
            GOOD),
    Picture("golden-dunes.jpg", (3600, 2400),
            scene(landscapes.dunes, sky=["#3f7cac", "#a9cbd8", "#f6dfb8"], light="#eab464", dark="#6b3a1e"),
            {"quality": 98}),
    Picture("dunes-by-moonlight.jpg", (1800, 1200),
            scene(landscapes.dunes, sky=["#060b1d", "#152449", "#34507c"], light="#7d93b8", dark="#0c1226",
                  night=True), GOOD),
    Picture("red-desert.png", (900, 1200),
            scene(landscapes.dunes, sky=["#f4c095", "#f7d9b5", "#fcebd2"], light="#d1603d", dark="#4a1a12"),
            FAST_PNG),
    Picture("milky-way.jpg", (4200, 2800),
            scene(landscapes.night_sky, sky=NIGHT, band="#7f8fd0"), {"quality": 98}),
    Picture("northern-lights.jpg", (2400, 1600),
            scene(landscapes.night_sky, sky=["#03060f", "#071a26", "#0d3038"], band=None, aurora=True), FINE),
    Picture("summer-night.webp", (1000, 1400),
            scene(landscapes.night_sky, sky=["#0a0f2a", "#2a2a5e", "#70507c"], band="#b08fd0"), GOOD),
    Picture("evening-sea.jpg", (3000, 2000),
            scene(landscapes.sea, sky=["#27406e", "#a45f79", "#f0a36b"],
                  water=["#d98b6a", "#5b4a72", "#1c2340"],
                  sun="#ffd79a"), FINE),
    Picture("silver-sea.jpg", (1500, 1000),
            scene(landscapes.sea, sky=["#3a4a5e", "#8fa2b3", "#d7dfe3"],
                  water=["#b8c4cb", "#67798a", "#2b3947"],
                  sun="#ffffff"), GOOD),
    Picture("lagoon.webp", (1400, 1050),
            scene(landscapes.sea, sky=["#3aa0d8", "#9fd8ec", "#f6f3df"],
                  water=["#8fe0d4", "#2fb0b8", "#0c6a8a"],
                  sun="#fff4c4"), GOOD),
    Picture("forest-in-fog.jpg", (1600, 2400),
            scene(scenery.forest, fog=["#8fa6a8", "#c3d0cc", "#e6ebe4"], near="#12261f"), FINE),
    Picture("winter-firs.png", (1200, 800),
            scene(scenery.forest, fog=["#8fb0d6", "#c9dcef", "#f2f6fb"], near="#20384c", snow=True),
            FAST_PNG),
    Picture("autumn-slope.jpg", (1600, 1200),
            scene(scenery.forest, fog=["#e9a05c", "#f4cf9a", "#fbeacb"], near="#5e2412"), GOOD),
    Picture("harbour-lights.png", (1600, 1000),
            scene(scenery.town, sky=["#070b1e", "#1c2450", "#5b4a7a"], wall="#0b0e1d", lamp="#ffd27d"),
            FAST_PNG),
    Picture("town-at-dawn.jpg", (2200, 1467),
            scene(scenery.town, sky=["#6f8fc0", "#e3b3b0", "#ffe0b5"], wall="#3c4a68", lamp="#ffeec2"),
            GOOD),
    Picture("balloons.jpg", (2800, 1867),
            scene(scenery.balloons, sky=["#4f9bd9", "#a6d3ee", "#fdf0d5"],
                  hills=["#9bb77e", "#6a994e", "#386641"]), FINE),
    Picture("balloons-at-sunset.webp", (1080, 1350),
            scene(scenery.balloons, sky=["#6a4c93", "#e07a8b", "#ffd6a5"],
                  hills=["#a56a78", "#74466b", "#412a52"]), SMALL),
    Picture("seahorse-valley.png", (1600, 1200),
            scene(abstracts.mandelbrot, extent=(-0.7506, 0.1016, -0.7442, 0.1064), steps=600, bend=0.75,
                  colours=["#02030f", "#123a6b", "#3fa7c9", "#f4e9c1", "#f08a4b", "#8c2f39", "#3b0d2e",
                           "#f4e9c1"])),
    Picture("the-whole-set.gif", (800, 600),
            scene(abstracts.mandelbrot, extent=(-2.3, -1.2, 0.9, 1.2),
                  colours=["#0b132b", "#1c2541", "#3a506b", "#5bc0be", "#f7fff7", "#0b132b"])),
    Picture("city-bokeh.jpg", (2400, 1600),
            scene(abstracts.bokeh, night=["#0a0a1a", "#1a1030", "#2a1a2e"],
                  lights=["#ff9f1c", "#ff4d6d", "#4cc9f0", "#ffe066"]), GOOD),
    Picture("garden-bokeh.webp", (900, 900),
            scene(abstracts.bokeh, night=["#0d2a1e", "#14532d", "#1f6f4a"],
                  lights=["#d9f99d", "#fef08a", "#86efac", "#ffffff"]), SMALL),
    Picture("paper-canyon.png", (1500, 1000),
            scene(abstracts.paper, colours=["#ffe8c8", "#fcc89b", "#f49d6e", "#d96c4f", "#a8433f", "#6d2a3b",
                                            "#3a1830"])),
    Picture("paper-bay.webp", (1200, 900),
            scene(abstracts.paper,
                  colours=["#e0fbfc", "#c2dfe3", "#9db4c0", "#5c8a9c", "#3d6478", "#253237"]),
            SMALL),
    Picture("rolling-waves.gif", (420, 280),
            scene(abstracts.paper,
                  colours=["#fdf0d5", "#a9d6e5", "#61a5c2", "#2c7da0", "#014f86", "#012a4a"]),
            {"duration": 90, "loop": 0}, frames=12),
    Picture("facets.png", (1280, 960),
            scene(abstracts.polygons, colours=["#ffb997", "#f67e7d", "#843b62", "#3b2a5c", "#0b032d"])),
    Picture("ice.jpg", (1100, 1500),
            scene(abstracts.polygons, colours=["#f1faee", "#a8dadc", "#457b9d", "#1d3557"], cells=10), GOOD),
    Picture("sunflower.png", (1000, 1000),
            scene(abstracts.sunflower, background="#fff8e7",
                  colours=["#4a2511", "#b5651d", "#f4a300", "#ffd54a"])),
    Picture("tiles.gif", (720, 480),
            scene(abstracts.tiles, background="#faf3e0",
                  colours=["#d1495b", "#edae49", "#00798c", "#30638e"])),
    Picture("ringed-planet.jpg", (2000, 1333),
            scene(abstracts.planet, colours=["#7a4f2b", "#d9a566", "#f2dcb3", "#b67c45"], ring="#e8d3a8"),
            FINE),
    Picture("ice-giant.webp", (1000, 1000),
            scene(abstracts.planet, colours=["#1b4f9c", "#3f8fd0", "#8fd3f0", "#2a6fb8"]), SMALL),
    Picture("little-sun.gif", (240, 160),
            scene(abstracts.badge, sky=["#8ecae6", "#fefae0"], sun="#ffb703")),
]  # fmt: skip


def make_pictures(folder: Path) -> list[Path]:
    """Paint every picture into a folder, the largest first; answer the paths in the album's order."""
    folder.mkdir(parents=True, exist_ok=True)
    largest_first = sorted(PICTURES, key=lambda picture: -picture.size[0] * picture.size[1])
    with ProcessPoolExecutor() as pool:
        list(pool.map(_paint, largest_first, [folder] * len(largest_first)))
    return [folder / picture.name for picture in PICTURES]


def _paint(picture: Picture, folder: Path) -> None:
    # The seed is the name: the same picture everywhere, whichever process paints it.
    path = folder / picture.name
    if picture.frames == 1:
        picture.paint(picture.size, Random(picture.name)).save(path, **picture.save)
        return
    turn = 2 * math.pi / picture.frames
    frames = [
        picture.paint(picture.size, Random(picture.name), phase=turn * index)  # type: ignore[call-arg]
        for index in range(picture.frames)
    ]
    frames[0].save(path, save_all=True, append_images=frames[1:], **picture.save)
