"""CLIP's byte-pair tokenizer for plain English, and the few of its ids that the grammar uses."""

import json
import re
from functools import cache
from pathlib import Path

import torch

from ..pictures import words
from .clip import LENGTH

START, END = 49406, 49407
HERE = Path(__file__).resolve().parents[2]
# Beside the project where it stands alone, else in the model that Caldera ships.
FOLDERS = [HERE / "tokenizers", HERE.parents[1] / "Sources/Caldera/Resources/EmbeddedModel"]


def tokenizer_folder(name: str = "tokenizer") -> Path:
    for folder in FOLDERS:
        if (folder / name / "vocab.json").exists():
            return folder / name
    raise SystemExit(f"There is no {name}/vocab.json in {FOLDERS[0]} or {FOLDERS[1]}: copy the tokenizer folders of a "
                     "model with CLIP's vocabulary there.")


class Tokenizer:
    """Splits lower-case words of letters and punctuation; other scripts are not needed here."""

    def __init__(self, folder: Path | None = None):
        folder = folder or tokenizer_folder()
        self.ids = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
        self.ranks = {tuple(line.split()): rank for rank, line in enumerate(lines)}
        self.word = cache(self.word)

    def __call__(self, text: str) -> list[int]:
        """The ids of a prompt, start and end token with them, at most 77."""
        ids = [id for word in re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]+", text.lower()) for id in self.word(word)]
        return [START, *ids[: LENGTH - 2], END]

    def word(self, word: str) -> list[int]:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            pairs = list(zip(parts, parts[1:]))
            best = min(pairs, key=lambda pair: self.ranks.get(pair, len(self.ranks)))
            if best not in self.ranks:
                break
            at = pairs.index(best)
            parts[at : at + 2] = ["".join(best)]
        return [self.ids[part] for part in parts]


class Vocabulary:
    """Rows of the embeddings in training: `!`, one for every unknown word, the grammar's ids, start, end.

    On export the rows spread over CLIP's 49,408; ids outside the grammar get the unknown row.
    """

    UNKNOWN = 1

    def __init__(self, ids: list[int]):
        self.clip_ids = sorted(set(ids) - {0, START, END})
        self.rows = {0: 0} | {id: row + 2 for row, id in enumerate(self.clip_ids)}
        self.start, self.end = len(self.clip_ids) + 2, len(self.clip_ids) + 3
        self.rows |= {START: self.start, END: self.end}

    @property
    def size(self) -> int:
        return len(self.clip_ids) + 4

    def encode(self, tokenizer: Tokenizer, captions: list[str]) -> torch.Tensor:
        """Rows [captions, 77], padded with the end token's."""
        table = torch.full((len(captions), LENGTH), self.end, dtype=torch.int16)
        for line, caption in zip(table, captions):
            rows = [self.rows.get(id, self.UNKNOWN) for id in tokenizer(caption)]
            line[: len(rows)] = torch.tensor(rows, dtype=torch.int16)
        return table

    def expand(self, rows: torch.Tensor) -> torch.Tensor:
        """An embedding of CLIP's 49,408 tokens."""
        full = rows[self.UNKNOWN].repeat(END + 1, 1)
        full[list(self.rows)] = rows[list(self.rows.values())]
        return full


def grammar_words() -> list[str]:
    """All that captions are made of."""
    lists = [words.COLOURS, words.NAMES, words.PLACES, words.PREFIXES, words.SUFFIXES, words.PLAIN, words.GRADIENTS,
             [words.plural(name) for name in words.NAMES], list(words.NUMBERS.values()), [words.MIDDLE, "a", "an"]]
    for table in (words.SYNONYMS, words.SCENES, words.RELATIONS, words.SIZES):
        lists += table.values()
    lists.append([words.plural(word) for group in words.SYNONYMS.values() for word in group])
    return sorted({word for phrases in lists for phrase in phrases for word in phrase.replace("%s", "").split()})


def grammar_vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    return Vocabulary([id for word in grammar_words() for id in tokenizer(word)])
