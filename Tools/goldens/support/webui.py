"""What AUTOMATIC1111's web UI (1.10) makes of a prompt, written anew from its documented grammar and by other means than
Caldera's parsers: attention from a list of bracket spans, schedules by reducing innermost brackets.

Where the web UI's own parser leaves the reading of an unpaired bracket beside a group to chance, a group is a group.
"""

import re
from dataclasses import dataclass

import torch

CHUNK = 75
COMMA_BACKTRACK = 20

PIECE = re.compile(r"\\([\\()\[\]]?)|([(\[])|(:\s*([+-]?[.\d]+)\s*\))|([)\]])|([^\\()\[\]:]+|:)")
BREAK = re.compile(r"\s*\bBREAK\b\s*")


def attention(prompt: str) -> list[tuple[str, float]]:
    """The runs of a prompt and their weights. Spans are multiplied in the order in which they are closed, those that
    never are at the end: round ones, then square ones."""
    runs: list[tuple[str, float]] = []
    spans: list[tuple[int, int, float]] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}
    factor = {"(": 1.1, "[": 1 / 1.1}
    for piece in PIECE.finditer(prompt):
        escaped, opening, weighted, weight, closing, _ = piece.groups()
        partner = "(" if weighted or closing == ")" else "["
        if escaped is not None:
            runs.append((escaped, 1.0))
        elif opening:
            opened[opening].append(len(runs))
        elif (weighted or closing) and opened[partner]:
            spans.append((opened[partner].pop(), len(runs), float(weight) if weighted else factor[partner]))
        else:
            for number, part in enumerate(BREAK.split(piece.group())):
                runs += ([("BREAK", -1.0)] if number else []) + [(part, 1.0)]
    for kind in "([":
        spans += [(start, len(runs), factor[kind]) for start in opened[kind]]
    joined: list[tuple[str, float]] = []
    for index, (text, weight) in enumerate(runs):
        for start, end, multiplier in spans:
            if start <= index < end:
                weight *= multiplier
        if joined and joined[-1][1] == weight:
            text = joined.pop()[0] + text
        joined.append((text, weight))
    return joined or [("", 1.0)]


# Schedules. Parts that are settled are kept in a table, and a character of a private plane stands for each.
FIRST, POISON = 0x100000, "\U0010fffd"
INNERMOST = re.compile(r"\[[^\[\]()]*\]|\([^\[\]()]*\)")
NUMBER = re.compile(r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*", re.A)


def schedule(prompt: str, steps: int) -> list[tuple[int, str]]:
    table: list = []

    def settled(value) -> str:
        table.append(value)
        return chr(FIRST + len(table) - 1)

    def group(match: re.Match) -> str:
        kind, content = match.group()[0], match.group()[1:-1]
        parts = content.split(":")
        if POISON not in content:
            if kind == "(" and len(parts) <= 2 and "|" not in content:
                return settled(("text", match.group()))
            if kind == "[" and len(parts) == 1:
                if "|" in content:
                    return settled(("alternate", content.split("|")))
                return settled(("text", match.group()))
            if kind == "[" and len(parts) <= 3 and "|" not in content and (when := change_step(parts[-1])) is not None:
                return settled(("change", parts[0] if len(parts) == 3 else "", parts[-2], when))
        brackets = {"(": "()", "[": "[]"}[kind]
        # No group: its brackets are text, and nothing that holds them is a group.
        return POISON + settled(("text", brackets[0])) + content + settled(("text", brackets[1]))

    def change_step(written: str) -> int | None:
        match = re.fullmatch(NUMBER, written)
        if not match:
            return None
        value = float(match[1]) * (steps if "." in match[1] else 1)
        return int(max(min(value, steps), -1))

    rest = re.sub(r"\\(.)", lambda match: settled(("text", "\x00" + match[1])), prompt)
    if "\\" in rest:
        return [(steps, prompt)]
    while (reduced := INNERMOST.sub(group, rest)) != rest:
        rest = reduced
    if "|" in rest:
        return [(steps, prompt)]

    changes = {steps}
    for kind, *values in table:
        if kind == "alternate":
            changes |= set(range(1, steps + 1))
        elif kind == "change" and values[2] >= 1:
            changes.add(values[2])

    def expand(text: str, step: int) -> str:
        out = ""
        for character in text:
            if character == POISON:
                continue
            if not FIRST <= ord(character) < FIRST + len(table):
                out += character
                continue
            kind, *values = table[ord(character) - FIRST]
            if kind == "text":
                out += "\\" + values[0][1:] if values[0][0] == "\x00" else expand(values[0], step)
            elif kind == "alternate":
                out += expand(values[0][(step - 1) % len(values[0])], step)
            else:
                out += expand(values[0] if step <= values[2] else values[1], step)
        return out

    return [(step, expand(rest, step)) for step in sorted(changes)]


def composition(prompt: str) -> tuple[str, float]:
    """The text of a prompt without AND, and the weight behind it."""
    match = re.match(r"(.*?)(?:\s*:\s*([-+]?(?:\d+\.?|\d*\.\d+)))?\s*\Z", prompt, re.S)
    return match[1], float(match[2] or 1)


@dataclass(frozen=True)
class Embedding:
    """A textual-inversion embedding: the word that calls it and its ids in the encoder's longer table."""

    trigger: str
    ids: tuple[int, ...]


class Chunker:
    def __init__(self, tokenizer, embeddings: list[Embedding] = ()):
        self.tokenize = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]
        self.start, self.end, self.pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
        self.comma = self.tokenize(",")[0]
        named = [(self.tokenize(embedding.trigger), embedding.ids) for embedding in embeddings]
        self.named = sorted(named, key=lambda pair: -len(pair[0]))

    def units(self, text: str) -> list[tuple[int, ...]]:
        tokens, units = self.tokenize(text), []
        while tokens:
            name, ids = next(((n, i) for n, i in self.named if tokens[: len(n)] == n), (tokens[:1], (tokens[0],)))
            units.append(tuple(ids))
            tokens = tokens[len(name):]
        return units

    def chunks(self, text: str) -> list[tuple[list[int], list[float]]]:
        """The ids and weights of each chunk of 77."""
        done: list[list[tuple[int, float]]] = []
        current: list[tuple[int, float]] = []
        # The comma behind which the current chunk may be cut: a position in it.
        comma = None

        def finish(chunk):
            nonlocal current, comma
            done.append(chunk)
            current, comma = [], None

        for run, weight in attention(text):
            if (run, weight) == ("BREAK", -1):
                finish(current)
                continue
            for unit in self.units(run):
                if unit == (self.comma,):
                    comma = len(current)
                elif len(current) == CHUNK and comma is not None and CHUNK - comma <= COMMA_BACKTRACK:
                    kept, moved = current[: comma + 1], current[comma + 1:]
                    finish(kept)
                    current = moved
                if len(current) + len(unit) > CHUNK:
                    finish(current)
                current += [(token, weight) for token in unit]
        if current or not done:
            finish(current)
        return [self.padded(chunk) for chunk in done]

    def padded(self, chunk: list[tuple[int, float]]) -> tuple[list[int], list[float]]:
        ids = [self.start] + [token for token, _ in chunk] + [self.end] * (CHUNK + 1 - len(chunk))
        first = ids.index(self.end)
        ids[first + 1:] = [self.pad] * (len(ids) - first - 1)
        return ids, [1.0] + [weight for _, weight in chunk] + [1.0] * (CHUNK + 1 - len(chunk))


def emphasized(states: torch.Tensor, weights: list[list[float]]) -> torch.Tensor:
    """[texts, T, C] under the emphasis "Original": the mean of the whole stays what it was."""
    weighted = states * torch.tensor(weights).unsqueeze(-1)
    return weighted * (states.mean() / weighted.mean())
