"""Random sentences of the grammar, with all that is needed to draw them and to judge a drawing."""

import random
import zlib
from dataclasses import dataclass, field

from . import words
from .words import COLOURS, PLACES, RELATIONS, SCENES, is_named, with_article

KINDS = {"shape": 0.27, "solid": 0.12, "object": 0.25, "two": 0.28, "count": 0.08}
# For trainings: named objects, which are hardest to learn, get more than their share.
MOSTLY_OBJECTS = {"shape": 0.16, "solid": 0.03, "object": 0.53, "two": 0.12, "two objects": 0.12, "count": 0.04}
# What two things in relation are, each of a pair chosen from one of these lists.
PAIRS = {
    "two": [["shape"], ["shape"], ["solid"], ["solid"], ["solid"], ["shape", "solid"], ["object"],
            ["object", "shape", "solid"]],
    "two objects": [["object"], ["object", "shape", "solid"]],
}
HELD_OUT = 40


@dataclass
class Thing:
    """One object: its name, the word for it in the caption, its colour (none for named objects)."""

    name: str
    word: str
    colour: str | None = None

    def phrase(self, size: str = "") -> str:
        described = " ".join(part for part in (size, self.colour, self.word) if part)
        return described if self.word in words.ALREADY_PLURAL and not size else with_article(described)


@dataclass
class Background:
    """`kind` is plain, gradient or a scene's name; `colours` has one, two or no names."""

    kind: str
    colours: tuple[str, ...]
    phrase: str


@dataclass
class Sentence:
    """A caption and its meaning. `relation` holds between the first and the second thing."""

    kind: str
    things: list[Thing]
    background: Background
    size: str = ""
    place: str = ""
    relation: str = ""
    count: int = 1
    body: str = ""
    caption: str = field(default="", init=False)

    def write(self, rng: random.Random) -> "Sentence":
        parts = [self.background.phrase, self._place_phrase(rng)]
        if rng.random() < 0.5:
            parts.reverse()
        caption = " ".join(part for part in [self.body, *parts] if part).replace(" a orange", " an orange")
        prefix = rng.choice(words.PREFIXES) if rng.random() < 0.2 else ""
        suffix = rng.choice(words.SUFFIXES) if rng.random() < 0.12 else ""
        self.caption = prefix + caption + suffix
        return self

    def _place_phrase(self, rng: random.Random) -> str:
        return words.MIDDLE if self.place == "in the center" and rng.random() < 0.3 else self.place


def sentence(rng: random.Random, kinds: dict[str, float] | None = None) -> Sentence:
    """A sentence that no held-out one is equal to. `kinds` overrides the shares of the kinds."""
    while True:
        made = _sentence(rng, kinds or KINDS)
        if not is_held_out(made.caption):
            return made


def held_out_sentences(seed: int, count: int) -> list[Sentence]:
    """Sentences for the evaluation, which no training shows: those whose checksum is a multiple of 40."""
    rng, found, captions = random.Random(seed), [], set()
    while len(found) < count:
        made = _sentence(rng, KINDS)
        if is_held_out(made.caption) and made.caption not in captions:
            captions.add(made.caption)
            found.append(made)
    return found


def is_held_out(caption: str) -> bool:
    return zlib.crc32(caption.encode()) % HELD_OUT == 0


def _sentence(rng: random.Random, kinds: dict[str, float]) -> Sentence:
    kind = rng.choices(list(kinds), list(kinds.values()))[0]
    if kind in PAIRS:
        return _two(rng, PAIRS[kind]).write(rng)
    return (_count(rng) if kind == "count" else _one(rng, kind)).write(rng)


def _one(rng: random.Random, kind: str) -> Sentence:
    thing = _thing(rng, kind)
    size = rng.choice(["", "", "", "small", "large"])
    place = rng.choice(list(PLACES)) if rng.random() < 0.45 else ""
    if place not in ("", "in the center") and size == "large" and rng.random() < 0.8:
        size = ""  # Little of a large object would fit there.
    body = thing.phrase(rng.choice(words.SIZES[size]) if size else "")
    return Sentence(kind, [thing], _background(rng, [thing]), size=size, place=place, body=body)


def _two(rng: random.Random, pairs: list[list[str]]) -> Sentence:
    kinds = rng.choice(pairs)
    first = _thing(rng, rng.choice(kinds))
    second = _thing(rng, rng.choice(kinds), first)
    relation = rng.choice(["left", "right", "on top", "on top", "above", "below", "next", "and"])
    body = f"{first.phrase()} {rng.choice(RELATIONS[relation])} {second.phrase()}"
    things = [first, second]
    return Sentence("two", things, _background(rng, things), relation=relation, body=body)


def _count(rng: random.Random) -> Sentence:
    thing = _thing(rng, rng.choice(["shape", "shape", "solid", "object"]))
    count = rng.choice(list(words.NUMBERS))
    colour = thing.colour + " " if thing.colour else ""
    body = f"{words.NUMBERS[count]} {colour}{words.plural(thing.word)}"
    return Sentence("count", [thing] * count, _background(rng, [thing]), count=count, body=body)


def _thing(rng: random.Random, kind: str, other: Thing | None = None) -> Thing:
    """An object that differs from the other one in name where it has no colour, in colour where it has one."""
    names = {"shape": words.SHAPES, "solid": words.SOLIDS, "object": list(words.OBJECTS)}[kind]
    name = rng.choice([name for name in names if kind != "object" or other is None or name != other.name])
    synonyms = words.SYNONYMS.get(name)
    word = rng.choice(synonyms) if synonyms and rng.random() < 0.25 else name
    if is_named(name):
        return Thing(name, word)
    return Thing(name, word, rng.choice([colour for colour in COLOURS if other is None or colour != other.colour]))


def _background(rng: random.Random, things: list[Thing]) -> Background:
    """A background that no object of the sentence vanishes in."""
    free = [colour for colour in COLOURS if colour not in {thing.colour for thing in things}]
    kind = rng.random()
    if kind < 0.42:
        common = [colour for colour in ("white", "black", "gray", "yellow", "blue") if colour in free]
        colour = rng.choice(free if rng.random() < 0.6 else common)
        unsaid = colour == "white" and rng.random() < 0.3
        return Background("plain", (colour,), "" if unsaid else rng.choice(words.PLAIN) % colour)
    if kind < 0.55:
        pair = tuple(rng.sample(free, 2))
        return Background("gradient", pair, rng.choice(words.GRADIENTS) % pair)
    scene = rng.choice(list(SCENES))
    return Background(scene, (), rng.choice(SCENES[scene]))
