"""Judges an exported model on held-out prompts of the grammar.

Writes figures.json (what the judge finds in the model's pictures, what it finds in renders of the same prompts,
which is its own accuracy, and the autoencoder's figures) and sheet.png, the first 64 pictures.

    python -m demo_model.judging.evaluate FOLDER OUT --judge RUN/judge.pt [--prompts 300]
"""

import argparse
import itertools
import json
import random
from collections import defaultdict
from pathlib import Path

import torch

from ..folder import load
from ..networks.diffusion import GUIDANCE, STEPS, draw, padded
from ..networks.tokenizer import END, Tokenizer
from ..pictures import Sentence, held_out_sentences, render
from ..pictures.words import PLACES, is_named
from ..training import vae as vae_training
from ..training.loop import as_tensor, device
from .judge import Seen, Verdict, load_judge, look
from .sheet import write_sheet

SEED = 20
BATCH = 50
SHEET = 64
# Pixels by which one object has to lie beyond another, or away from the middle of the place that was asked for.
LEAST_STEP, NEAR = 12, 24


def judged(said: Sentence, verdict: Verdict) -> dict[str, list[bool]]:
    """What of a sentence is right in a picture, by attribute; attributes that it does not have are missing."""
    order = best_order(said, verdict.things)
    marks: dict[str, list[bool]] = defaultdict(list)
    for thing, seen in zip(said.things, order):
        marks["named object" if is_named(thing.name) else "shape"].append(seen is not None and seen.name == thing.name)
        if thing.colour:
            marks["colour"].append(seen is not None and seen.colour == thing.colour)
    if said.background.phrase:
        marks["background"].append(background_is_right(said, verdict))
    if said.place:
        marks["place"].append(order[0] is not None and is_at(order[0], said.place))
    if said.relation:
        marks["relation"].append(None not in order and holds(said.relation, *order))
    return marks


def best_order(said: Sentence, things: list[Seen]) -> list[Seen | None]:
    """The seen objects in the order of the sentence's, so that as much as possible is right."""
    padded_things = things + [None] * (len(said.things) - len(things))
    if said.relation == "" and len({thing.name for thing in said.things}) == 1:
        return padded_things

    def right(order) -> int:
        return sum((seen.name == thing.name) + (seen.colour == thing.colour)
                   for thing, seen in zip(said.things, order) if seen)

    return list(max(itertools.permutations(padded_things), key=right))


def background_is_right(said: Sentence, verdict: Verdict) -> bool:
    background = said.background
    if background.kind != verdict.background:
        return False
    return not background.colours or verdict.background_colours == (background.colours[0], background.colours[-1])


def is_at(seen: Seen, place: str) -> bool:
    x, y = PLACES[place]
    return abs(seen.x - x) < NEAR and abs(seen.y - y) < NEAR


def holds(relation: str, first: Seen, second: Seen) -> bool:
    right, down = second.x - first.x, second.y - first.y
    if relation == "left":
        return right > LEAST_STEP
    if relation == "right":
        return -right > LEAST_STEP
    if relation in ("on top", "above"):
        return down > LEAST_STEP
    return -down > LEAST_STEP if relation == "below" else abs(right) > LEAST_STEP


def shares(sentences: list[Sentence], verdicts: list[Verdict]) -> dict:
    """Percentages of what is right, with how often it was asked for."""
    marks = defaultdict(list)
    for said, verdict in zip(sentences, verdicts):
        for name, values in judged(said, verdict).items():
            marks[name] += values
    marks["shape or object"] = marks["shape"] + marks["named object"]
    marks["place or relation"] = marks["place"] + marks["relation"]
    return {name: {"right": round(100 * sum(values) / len(values), 1), "of": len(values)}
            for name, values in sorted(marks.items())}


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--prompts", type=int, default=300)
    arguments = parser.parse_args()
    vae, model = load(arguments.folder)
    judge, tokenizer = load_judge(arguments.judge), Tokenizer()
    sentences = held_out_sentences(SEED, arguments.prompts)
    drawn, seen, true_seen = [], [], []
    for start in range(0, len(sentences), BATCH):
        part = sentences[start : start + BATCH]
        counts = [len(said.things) for said in part]
        rows = padded([tokenizer(said.caption) for said in part], END).to(device())
        drawn.append(draw(model, vae, rows, SEED * 1000 + start))
        seen += look(judge, drawn[-1], counts)
        renders = [render(said, random.Random(f"{SEED}/{said.caption}")).pixels for said in part]
        true_seen += look(judge, as_tensor(renders), counts)
    figures = {
        "prompts": len(sentences), "steps": STEPS, "guidance": GUIDANCE, "model": shares(sentences, seen),
        "judge_on_renders": shares(sentences, true_seen), "autoencoder": vae_training.evaluate(vae)}
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    write_sheet(arguments.out / "sheet.png", torch.cat(drawn)[:SHEET], [s.caption for s in sentences[:SHEET]])
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
