"""Backgrounds [128, 128, 3] in 0...255: plain colours, gradients, scenes."""

import random

import numpy
from PIL import Image, ImageDraw

from .words import COLOURS

SIDE = 128
Y, X = numpy.mgrid[0:SIDE, 0:SIDE].astype(numpy.float32)


def jittered(rng: random.Random, colour: tuple, amount: float = 10) -> numpy.ndarray:
    return numpy.array([min(255, max(0, value + rng.uniform(-amount, amount))) for value in colour], numpy.float32)


def plain(rng: random.Random, name: str) -> numpy.ndarray:
    return numpy.zeros((SIDE, SIDE, 3), numpy.float32) + jittered(rng, COLOURS[name], 6)


def gradient(rng: random.Random, top: str, bottom: str) -> numpy.ndarray:
    return _fade(jittered(rng, COLOURS[top], 6), jittered(rng, COLOURS[bottom], 6), 8, SIDE - 8)


def scene(rng: random.Random, name: str) -> numpy.ndarray:
    return SCENE_PAINTERS[name](rng)


def _fade(top, bottom, start: float = 0, end: float = SIDE) -> numpy.ndarray:
    share = numpy.clip((Y - start) / max(1, end - start), 0, 1)[..., None]
    return top * (1 - share) + bottom * share


def _colours(rng, *pairs) -> list[numpy.ndarray]:
    return [jittered(rng, colour, amount) for colour, amount in pairs]


def _over(back, front, coverage) -> numpy.ndarray:
    coverage = numpy.clip(coverage, 0, 1)[..., None]
    return back * (1 - coverage) + front * coverage


def _waves(rng, low: float, high: float) -> numpy.ndarray:
    return numpy.sin(X / rng.uniform(low, high) + rng.uniform(0, 6))


def _stars(rng, canvas, count: int, dimmest: float) -> numpy.ndarray:
    for _ in range(count):
        x, y = rng.uniform(2, SIDE - 3), rng.uniform(2, SIDE - 3)
        size, brightness = rng.uniform(0.7, 1.4), rng.uniform(dimmest, 255)
        coverage = numpy.exp(-((X - x) ** 2 + (Y - y) ** 2) / size**2)
        canvas = _over(canvas, brightness, coverage)
    return canvas


def _sky(rng) -> tuple[numpy.ndarray, float]:
    """A daylight sky and the height of the horizon under it."""
    horizon = rng.uniform(64, 78)
    return _fade(*_colours(rng, ((110, 175, 240), 8), ((205, 230, 250), 6)), 0, horizon), horizon


def _ground(rng, back, top: tuple, bottom: tuple, horizon: float, edge=0, jitter: float = 10) -> numpy.ndarray:
    """Ground below the horizon, whose line `edge` bends."""
    colours = _fade(jittered(rng, top, jitter), jittered(rng, bottom, jitter), horizon, SIDE)
    return _over(back, colours, Y - horizon - edge + 0.5)


def _field(rng):
    sky, horizon = _sky(rng)
    return _ground(rng, sky, (125, 195, 80), (60, 145, 50), horizon, 2.5 * _waves(rng, 14, 22))


def _sea(rng):
    sky, horizon = _sky(rng)
    water = _fade(*_colours(rng, ((40, 120, 195), 10), ((15, 65, 140), 10)), horizon, SIDE)
    crests = numpy.sin(Y * rng.uniform(0.55, 0.7) + 1.6 * _waves(rng, 9, 9))
    return _over(sky, water + 20 * numpy.clip(crests, 0, 1)[..., None], Y - horizon + 0.5)


def _night(rng):
    return _stars(rng, _fade(*_colours(rng, ((10, 14, 50), 5), ((40, 46, 105), 8))), 26, 150)


def _space(rng):
    return _stars(rng, numpy.zeros((SIDE, SIDE, 3), numpy.float32) + jittered(rng, (7, 6, 13), 4), 40, 120)


def _desert(rng):
    sky, horizon = _sky(rng)
    return _ground(rng, sky, (240, 205, 130), (205, 155, 80), horizon, 6 * _waves(rng, 18, 30))


def _snow(rng):
    sky, horizon = _sky(rng)
    picture = _ground(rng, sky, (232, 238, 246), (250, 252, 255), horizon, 3 * _waves(rng, 20, 20), 4)
    return _stars(rng, numpy.where((Y < horizon)[..., None], picture * 0.8 + 30, picture), 22, 235)


def _sunset(rng):
    high, middle, low = _colours(rng, ((95, 45, 120), 10), ((240, 110, 60), 10), ((255, 205, 95), 10))
    half = SIDE // 2
    return numpy.where((Y < half)[..., None], _fade(high, middle, 0, half), _fade(middle, low, half, 112))


def _forest(rng):
    sky, horizon = _sky(rng)
    picture = _ground(rng, sky, (95, 150, 65), (50, 105, 40), horizon)
    image = Image.new("L", (SIDE * 3, SIDE * 3), 0)
    draw, x = ImageDraw.Draw(image), rng.uniform(-12, 0)
    while x < SIDE + 10:
        top = horizon - rng.uniform(38, 56)
        draw.polygon([(x * 3, top * 3), (x * 3 + 33, horizon * 3 + 6), (x * 3 - 33, horizon * 3 + 6)], fill=255)
        x += rng.uniform(13, 18)
    return _over(picture, jittered(rng, (28, 88, 48), 8), numpy.asarray(image.reduce(3), numpy.float32) / 255)


def _mountains(rng):
    picture, horizon = _sky(rng)
    for middle in (24, 100, 62):
        peak = middle + rng.uniform(-8, 8)
        height, width = rng.uniform(34, 52), rng.uniform(38, 50)
        top = horizon - height
        rock = jittered(rng, (120, 122, 138), 6) * numpy.where(X < peak, 1.08, 0.85)[..., None]
        rock = _over(rock, 245, top + height * 0.3 - Y + 1.5 * numpy.sin(X / 2.2))
        picture = _over(picture, rock, Y - top - numpy.abs(X - peak) * height / width + 0.5)
    return _ground(rng, picture, (115, 180, 90), (70, 140, 60), horizon)


def _beach(rng):
    sky, horizon = _sky(rng)
    shore = horizon + rng.uniform(12, 18)
    water = _fade(*_colours(rng, ((30, 130, 195), 10), ((80, 190, 215), 10)), horizon, shore)
    picture = _over(sky, water, Y - horizon + 0.5)
    return _ground(rng, picture, (245, 222, 165), (225, 190, 125), shore, 2 * _waves(rng, 12, 12))


def _table(rng):
    horizon = rng.uniform(64, 78)
    wall = _fade(*_colours(rng, ((235, 222, 200), 10), ((222, 205, 180), 10)), 0, horizon)
    wood = _fade(*_colours(rng, ((165, 105, 58), 10), ((120, 70, 35), 10)), horizon, SIDE)
    grain = numpy.sin((Y + 2 * numpy.sin(X / 25)) * 0.9) > 0.6
    return _over(wall, wood * (1 - 0.1 * grain)[..., None], Y - horizon + 0.5)


SCENE_PAINTERS = {
    "field": _field, "sea": _sea, "night": _night, "space": _space, "desert": _desert, "snow": _snow,
    "sunset": _sunset, "forest": _forest, "mountains": _mountains, "beach": _beach, "table": _table,
}
