"""Shapes, shaded solids and named objects, each as colours [side, side, 3] in 0...255 and coverage [side, side]."""

import math
from functools import cache
from pathlib import Path

import numpy
from PIL import Image, ImageDraw, ImageFilter

from .words import SHAPES, SOLIDS

OVERSAMPLING = 4
SPRITES = Path(__file__).with_name("sprites.npz")
# The darkest colour that still shows its shading.
DARKEST_SOLID = 26


def draw(name: str, colour: numpy.ndarray | None, radius: float) -> tuple[numpy.ndarray, numpy.ndarray]:
    """One object of a radius in pixels; named objects have their own colours and take none."""
    if name in SHAPES:
        mask = Mask(radius).shape(name)
        return numpy.broadcast_to(colour, (*mask.shape, 3)).copy(), mask
    return solid(name, colour, radius) if name in SOLIDS else named(name, radius)


def outline(mask: numpy.ndarray, width: int) -> numpy.ndarray:
    """A mask larger by `width` pixels on all sides of a canvas that has grown by width + 1."""
    grown = Image.fromarray((numpy.pad(mask, width + 1) * 255).astype(numpy.uint8))
    grown = grown.filter(ImageFilter.MaxFilter(2 * width + 1)).filter(ImageFilter.GaussianBlur(0.6))
    return numpy.asarray(grown, numpy.float32) / 255


class Mask:
    """Draws masks in coordinates whose unit is the radius and whose origin is the middle, y downwards."""

    def __init__(self, radius: float):
        self.half = math.ceil(radius) + 2
        self.unit, self.middle = radius * OVERSAMPLING, self.half * OVERSAMPLING
        self.image = Image.new("L", (2 * self.middle, 2 * self.middle), 0)
        self.draw = ImageDraw.Draw(self.image)

    def polygon(self, points) -> "Mask":
        self.draw.polygon([(self.middle + x * self.unit, self.middle + y * self.unit) for x, y in points], fill=255)
        return self

    def ellipse(self, x: float, y: float, width: float, height: float, value: int = 255) -> "Mask":
        corners = (x - width, y - height, x + width, y + height)
        self.draw.ellipse([self.middle + corner * self.unit for corner in corners], fill=value)
        return self

    def coverage(self) -> numpy.ndarray:
        return numpy.asarray(self.image.reduce(OVERSAMPLING), numpy.float32) / 255

    def shape(self, name: str) -> numpy.ndarray:
        if name == "circle":
            self.ellipse(0, 0, 0.95, 0.95)
        elif name == "ring":
            self.ellipse(0, 0, 0.98, 0.98).ellipse(0, 0, 0.55, 0.55, 0)
        elif name == "moon":
            self.ellipse(0, 0, 0.97, 0.97).ellipse(0.42, -0.12, 0.78, 0.78, 0)
        else:
            self.polygon(corners(name))
        return self.coverage()


@cache
def corners(name: str) -> list[tuple[float, float]]:
    if name == "square":
        return [(-0.86, -0.86), (0.86, -0.86), (0.86, 0.86), (-0.86, 0.86)]
    if name == "triangle":
        return [(0, -0.98), (0.98, 0.82), (-0.98, 0.82)]
    if name == "diamond":
        return [(0, -1), (0.68, 0), (0, 1), (-0.68, 0)]
    if name == "hexagon":
        return [(math.cos(i * math.pi / 3), math.sin(i * math.pi / 3)) for i in range(6)]
    if name == "star":
        lengths = [1 if i % 2 == 0 else 0.42 for i in range(10)]
        return [(r * math.sin(i * math.pi / 5), -r * math.cos(i * math.pi / 5)) for i, r in enumerate(lengths)]
    if name == "cross":
        a, b = 0.32, 0.95
        quarter = [(-a, -b), (a, -b), (a, -a)]
        turned = [quarter]
        for _ in range(3):
            turned.append([(-y, x) for x, y in turned[-1]])
        return [point for part in turned for point in part]
    angles = [i * math.pi / 24 for i in range(48)]
    heights = [13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t) + 2.2 for t in angles]
    return [(16 * math.sin(t) ** 3 / 17, -height / 16) for t, height in zip(angles, heights)]


def solid(name: str, colour: numpy.ndarray, radius: float) -> tuple[numpy.ndarray, numpy.ndarray]:
    """A solid lit from the upper left."""
    colour = numpy.maximum(colour, DARKEST_SOLID)
    half = math.ceil(radius) + 2
    line = (numpy.arange(2 * half, dtype=numpy.float32) + 0.5 - half) / radius
    x, y = numpy.meshgrid(line, line)
    rgb, mask = {"sphere": _sphere, "cube": _cube, "cylinder": _cylinder, "cone": _cone}[name](x, y, colour, radius)
    return numpy.clip(rgb, 0, 255).astype(numpy.float32), mask


def _sphere(x, y, colour, radius):
    x, y = x / 0.95, y / 0.95
    z = numpy.sqrt(numpy.clip(1 - x * x - y * y, 0, 1))
    light = numpy.clip(-0.45 * x - 0.6 * y + 0.66 * z, 0, 1)[..., None]
    gloss = numpy.clip((light - 0.9) / 0.1, 0, 1) ** 1.5 * 150
    return colour * (0.35 + 0.75 * light) + gloss, Mask(radius).ellipse(0, 0, 0.95, 0.95).coverage()


def _cube(x, y, colour, radius):
    a = 0.87
    top = Mask(radius).polygon([(0, -1), (a, -0.5), (0, 0), (-a, -0.5)]).coverage()[..., None]
    whole = Mask(radius).polygon([(0, -1), (a, -0.5), (a, 0.5), (0, 1), (-a, 0.5), (-a, -0.5)]).coverage()
    right = numpy.clip(x * radius + 0.5, 0, 1)[..., None]
    return colour * (0.82 - 0.32 * right) * (1 - top) + _lit(colour) * top, whole


def _cylinder(x, y, colour, radius):
    body = Mask(radius).polygon([(-0.7, -0.72), (0.7, -0.72), (0.7, 0.72), (-0.7, 0.72)])
    whole = body.ellipse(0, 0.72, 0.7, 0.22).ellipse(0, -0.72, 0.7, 0.22).coverage()
    top = Mask(radius).ellipse(0, -0.72, 0.7, 0.22).coverage()[..., None]
    shade = _rounded(x / 0.7)[..., None]
    return colour * (0.45 + 0.6 * shade) * (1 - top) + _lit(colour) * top, whole


def _cone(x, y, colour, radius):
    whole = Mask(radius).polygon([(0, -1), (0.8, 0.72), (-0.8, 0.72)]).ellipse(0, 0.72, 0.8, 0.22).coverage()
    width = numpy.maximum((y + 1) / 1.72 * 0.8, 0.05)
    return colour * (0.42 + 0.65 * _rounded(x / width))[..., None], whole


def _rounded(across: numpy.ndarray) -> numpy.ndarray:
    """How much light falls on a round body, -1...1 being its left and right edge."""
    return numpy.clip(1 - numpy.abs(across + 0.35) / 1.35, 0, 1)


def _lit(colour: numpy.ndarray) -> numpy.ndarray:
    return numpy.minimum(colour * 1.1 + 30, 255)


@cache
def sprites() -> dict[str, Image.Image]:
    with numpy.load(SPRITES) as file:
        return {name: Image.fromarray(file[name]) for name in file.files}


def named(name: str, radius: float) -> tuple[numpy.ndarray, numpy.ndarray]:
    side = 2 * max(4, round(radius))
    picture = sprites()[name].resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2)
    values = numpy.asarray(picture, numpy.float32)
    return values[..., :3], values[..., 3] / 255
