"""A network that looks at a picture and tells its objects, their colours and places, and the background.

It divides the picture into 16 x 16 cells; the cell in which an object's middle lies tells the object. It is trained
on renders alone, every other batch with more named objects than the grammar has, blurred and noised so that it can
judge pictures from the autoencoder.

    python -m demo_model.judging.judge RUN --steps N
"""

import argparse
import random
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ..pictures import MOSTLY_OBJECTS, Picture, sample, words
from ..training.ahead import Ahead
from ..training.loop import Training, as_tensor, autocast, device, streams

SEED = 3
CELL, CELLS = 8, 16
COLOURS = list(words.COLOURS)
BACKGROUNDS = ["plain", "gradient", *words.SCENES]
NO_COLOUR = len(COLOURS)
# Middles of detections nearer than this many cells are one object.
LEAST_DISTANCE = 2.0


class Judge(nn.Module):
    """Pictures [n, 3, 128, 128] -> per cell: presence, shift of the middle (2), name, colour; background of the whole."""

    def __init__(self, width: int = 48):
        super().__init__()
        self.heads = [1, 2, len(words.NAMES), len(COLOURS) + 1]
        self.eyes = nn.Sequential(
            _layer(3, width // 2, 5, 2), _layer(width // 2, width, 3, 2), _layer(width, 2 * width, 3, 2),
            *(Residual(2 * width) for _ in range(3)))
        self.objects = nn.Conv2d(2 * width, sum(self.heads), 1)
        self.background = nn.Linear(2 * width * 5, len(BACKGROUNDS) + 2 * len(COLOURS))

    def forward(self, pictures):
        seen = self.eyes(pictures)
        objects = self.objects(seen).split(self.heads, 1)
        # The mean of the whole and of four quarters of the rim, top to bottom.
        rim = seen.mean(3)[:, :, [0, 5, 10, 15]].flatten(1)
        background = self.background(torch.cat([seen.mean((2, 3)), rim], 1))
        return objects, background.split([len(BACKGROUNDS), len(COLOURS), len(COLOURS)], 1)


class Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(_layer(width, width, 3, 1), nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x):
        return F.relu(x + self.layers(x))


def _layer(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


@dataclass
class Seen:
    """One object that the judge sees."""

    name: str
    colour: str | None
    x: float
    y: float


@dataclass
class Verdict:
    things: list[Seen]
    background: str
    background_colours: tuple[str, str]


@torch.no_grad()
def look(judge: Judge, pictures: torch.Tensor, counts: list[int]) -> list[Verdict]:
    """What the judge sees; `counts` are how many objects each picture should show: the likeliest ones are told."""
    (presence, shift, names, colours), backgrounds = judge(pictures)
    chosen = [part.argmax(1).tolist() for part in backgrounds]
    verdicts = []
    for index, count in enumerate(counts):
        things = []
        for row, column in _peaks(presence[index, 0], count):
            dx, dy = shift[index, :, row, column].tolist()
            colour = colours[index, :, row, column].argmax().item()
            things.append(Seen(words.NAMES[names[index, :, row, column].argmax().item()],
                               None if colour == NO_COLOUR else COLOURS[colour],
                               (column + 0.5 + dx) * CELL, (row + 0.5 + dy) * CELL))
        kind, top, bottom = (part[index] for part in chosen)
        verdicts.append(Verdict(things, BACKGROUNDS[kind], (COLOURS[top], COLOURS[bottom])))
    return verdicts


def _peaks(presence: torch.Tensor, count: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for cell in presence.flatten().argsort(descending=True).tolist():
        row, column = divmod(cell, CELLS)
        if all((row - r) ** 2 + (column - c) ** 2 > LEAST_DISTANCE**2 for r, c in found):
            found.append((row, column))
        if len(found) == count:
            break
    return found


def rendered(batch: int, step: int) -> list[Picture]:
    """A step's pictures."""
    rng, _ = streams(SEED, step)
    return [sample(rng, kinds=MOSTLY_OBJECTS if step % 2 else None) for _ in range(batch)]


class Loss:
    def __init__(self, judge: Judge, batch: int):
        self.judge, self.rendered = judge, Ahead(partial(rendered, batch))

    def __call__(self, step: int) -> torch.Tensor:
        # Another seed than the pictures', whose numbers would return.
        rng, generator = streams(SEED + 1, step)
        samples = self.rendered(step)
        pictures = worn(as_tensor([one.pixels for one in samples]), rng, generator)
        with autocast():
            (presence, shift, names, colours), backgrounds = self.judge(pictures)
        cells, where, name, colour = _targets(samples)
        at = (cells[:, 0], slice(None), cells[:, 1], cells[:, 2])
        present = torch.zeros_like(presence[:, 0])
        present[cells[:, 0], cells[:, 1], cells[:, 2]] = 1
        weight = torch.full_like(present, 1.0) + 10 * present
        loss = F.binary_cross_entropy_with_logits(presence[:, 0].float(), present.float(), weight.float())
        loss = loss + F.l1_loss(shift[at].float(), where) + F.cross_entropy(names[at].float(), name)
        loss = loss + F.cross_entropy(colours[at].float(), colour)
        for logits, target in zip(backgrounds, _background_targets(samples)):
            loss = loss + F.cross_entropy(logits.float(), target, ignore_index=-1)
        return loss


def worn(pictures: torch.Tensor, rng: random.Random, generator: torch.Generator) -> torch.Tensor:
    """Half of the batches lose their finest detail; all get a little noise."""
    if rng.random() < 0.5:
        size = rng.choice([72, 80, 96])
        small = F.interpolate(pictures, size=(size, size), mode="bilinear", antialias=True)
        pictures = F.interpolate(small, size=pictures.shape[2:], mode="bilinear")
    noise = torch.randn(pictures.shape, generator=generator).to(pictures)
    return (pictures + noise * rng.uniform(0, 0.06)).clamp(-1, 1).contiguous(memory_format=torch.channels_last)


def _targets(samples: list[Picture]):
    """Cells [n, 3] (picture, row, column), shifts [n, 2], names [n], colours [n] of all objects."""
    cells, shifts, names, colours = [], [], [], []
    for index, one in enumerate(samples):
        for thing, spot in zip(one.sentence.things, one.spots):
            column, row = (min(CELLS - 1, max(0, int(value // CELL))) for value in (spot.x, spot.y))
            cells.append((index, row, column))
            shifts.append((spot.x / CELL - column - 0.5, spot.y / CELL - row - 0.5))
            names.append(words.NAMES.index(thing.name))
            colours.append(COLOURS.index(thing.colour) if thing.colour else NO_COLOUR)
    return tuple(torch.tensor(values, device=device()) for values in (cells, shifts, names, colours))


def _background_targets(samples: list[Picture]):
    kinds, tops, bottoms = [], [], []
    for one in samples:
        background = one.sentence.background
        colours = [COLOURS.index(name) for name in background.colours] or [-1]
        kinds.append(BACKGROUNDS.index(background.kind))
        tops.append(colours[0])
        bottoms.append(colours[-1])
    return tuple(torch.tensor(values, device=device()) for values in (kinds, tops, bottoms))


def load_judge(path: Path) -> Judge:
    judge = Judge()
    judge.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["average"])
    return judge.to(device(), memory_format=torch.channels_last).eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch", type=int, default=48 if device().type == "cpu" else 256)
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    judge = Judge().to(device(), memory_format=torch.channels_last)
    Training(judge, arguments.run / "judge.pt", 2e-3, 0.995).run(Loss(judge, arguments.batch), arguments.steps)


if __name__ == "__main__":
    main()
