"""Draws sentences: pictures [128, 128, 3] of bytes."""

import random
from dataclasses import dataclass

import numpy

from . import backgrounds, shapes
from .backgrounds import SIDE, jittered
from .grammar import Sentence, Thing, sentence
from .words import COLOURS, PLACES, SCENES_WITH_GROUND, is_named

OUTLINE_COLOUR = 8
# How far below and above its middle an object's mass reaches, in radii, where that is not 0.93.
BOTTOMS = {"triangle": 0.82, "star": 0.8, "square": 0.86, "sphere": 0.95}
TOPS = {"cone": 0.9, "sphere": 0.95, "circle": 0.95, "triangle": 0.9, "heart": 0.75, "star": 0.85, "moon": 0.8}


@dataclass
class Spot:
    """Where an object is: its middle and its radius in pixels."""

    x: float
    y: float
    radius: float


@dataclass
class Picture:
    pixels: numpy.ndarray
    sentence: Sentence
    spots: list[Spot]


def sample(rng: random.Random, outline: int = 0, kinds: dict[str, float] | None = None) -> Picture:
    return render(sentence(rng, kinds), rng, outline)


def render(said: Sentence, rng: random.Random, outline: int = 0) -> Picture:
    """Draws a sentence; what it leaves open (size, place, shades) is random. `outline` is in pixels."""
    canvas = _background(said, rng)
    spots = _layout(said, rng)
    for thing, spot in reversed(list(zip(said.things, spots))):
        _place(canvas, thing, spot, rng, outline)
    return Picture(numpy.clip(canvas + 0.5, 0, 255).astype(numpy.uint8), said, spots)


def _background(said: Sentence, rng: random.Random) -> numpy.ndarray:
    background = said.background
    if background.kind == "plain":
        return backgrounds.plain(rng, *background.colours)
    if background.kind == "gradient":
        return backgrounds.gradient(rng, *background.colours)
    return backgrounds.scene(rng, background.kind).astype(numpy.float32)


def _layout(said: Sentence, rng: random.Random) -> list[Spot]:
    if said.kind == "two":
        return _related(said, rng)
    return _several(said, rng) if said.kind == "count" else [_alone(said, rng)]


def _alone(said: Sentence, rng: random.Random) -> Spot:
    low, high = {"": (27, 32), "small": (15, 18), "large": (41, 47)}[said.size]
    if said.place not in ("", "in the center") and said.size != "small":
        low, high = (24, 28) if said.size == "" else (30, 33)
    radius = rng.uniform(low, high) + (3 if is_named(said.things[0].name) and not said.place else 0)
    x, y = PLACES.get(said.place, (64, 64))
    jitter = 3 if said.place else 5
    x, y = x + rng.uniform(-jitter, jitter), y + rng.uniform(-jitter, jitter)
    if said.background.kind in SCENES_WITH_GROUND and not said.place:
        y = min(118 - radius, 96 + rng.uniform(-4, 4) - radius * 0.45)
    return Spot(x, y, radius)


def _several(said: Sentence, rng: random.Random) -> list[Spot]:
    points, low, high = {
        2: ([(34, 66), (94, 66)], 23, 26),
        3: ([(24, 66), (64, 66), (104, 66)], 16, 18.5),
        4: ([(36, 36), (92, 36), (36, 92), (92, 92)], 20, 23),
    }[said.count]
    radius = rng.uniform(low, high)
    return [Spot(x + rng.uniform(-2, 2), y + rng.uniform(-2, 2), radius) for x, y in points]


def _related(said: Sentence, rng: random.Random) -> list[Spot]:
    dx, dy = rng.uniform(-4, 4), rng.uniform(-4, 4)
    if said.relation == "on top":
        return _stacked(said, rng, dx)
    if said.relation in ("above", "below"):
        radius = rng.uniform(21, 24)
        spots = [Spot(64 + dx, 33 + dy / 2, radius), Spot(64 + dx, 95 + dy / 2, radius)]
        return spots if said.relation == "above" else spots[::-1]
    radius = rng.uniform(23, 27)
    spots = [Spot(34 + dx, 66 + dy, radius), Spot(94 + dx, 66 + dy, radius)]
    return spots[::-1] if said.relation == "right" else spots


def _stacked(said: Sentence, rng: random.Random, dx: float) -> list[Spot]:
    radius = rng.uniform(22, 26)
    upper, lower = (thing.name for thing in said.things)
    y = 118 - radius + rng.uniform(-3, 3)
    rise = radius * (TOPS.get(lower, 0.93) + BOTTOMS.get(upper, 0.93))
    return [Spot(64 + dx, y - rise, radius), Spot(64 + dx, y, radius)]


def _place(canvas: numpy.ndarray, thing: Thing, spot: Spot, rng: random.Random, outline: int) -> None:
    colour = None if thing.colour is None else jittered(rng, COLOURS[thing.colour], 9)
    colours, mask = shapes.draw(thing.name, colour, spot.radius)
    if outline:
        _blend(canvas, OUTLINE_COLOUR, shapes.outline(mask, outline), spot)
    _blend(canvas, colours, mask, spot)


def _blend(canvas: numpy.ndarray, colours, mask: numpy.ndarray, spot: Spot) -> None:
    """Lays an object over the canvas; what is outside is cut off."""
    height, width = mask.shape
    left, top = round(spot.x - width / 2), round(spot.y - height / 2)
    columns, rows = slice(max(0, left), min(SIDE, left + width)), slice(max(0, top), min(SIDE, top + height))
    if columns.stop <= columns.start or rows.stop <= rows.start:
        return
    inside = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
    coverage = mask[inside][..., None]
    front = colours[inside] if isinstance(colours, numpy.ndarray) else colours
    canvas[rows, columns] = canvas[rows, columns] * (1 - coverage) + front * coverage
