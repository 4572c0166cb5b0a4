"""A byte-level byte-pair tokenizer: trained on captions, written as the tokenizers package's tokenizer.json."""

import re
from collections import Counter
from functools import cache

SPECIAL = ["<pad>", "<s>", "</s>", "<sep>"]
PAD, START, END, SEPARATOR = range(4)


@cache
def letters() -> list[str]:
    """GPT-2's printable letter for each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def pieces(text: str) -> list[str]:
    """Words with the blank before them, as byte letters; GPT-2's pattern for plain English."""
    found = re.findall(r" ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+", text)
    return ["".join(letters()[byte] for byte in piece.encode()) for piece in found]


class BytePairs:
    """Tokens are the special ones, the 256 byte letters, and merges in the order in which they were learned."""

    def __init__(self, merges: list[tuple[str, str]]):
        self.merges = merges
        self.tokens = SPECIAL + sorted(letters()) + ["".join(pair) for pair in merges]
        self.ids = {token: id for id, token in enumerate(self.tokens)}
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        self.piece = cache(self.piece)

    @classmethod
    def trained(cls, captions: list[str], size: int) -> "BytePairs":
        """Merges the most frequent pair until there are `size` tokens or no pair occurs twice."""
        counts = Counter(piece for caption in captions for piece in pieces(caption))
        split = {piece: list(piece) for piece in counts}
        merges: list[tuple[str, str]] = []
        known = set(letters())
        while len(SPECIAL) + len(known) < size:
            pairs: Counter = Counter()
            for piece, parts in split.items():
                for pair in zip(parts, parts[1:]):
                    pairs[pair] += counts[piece]
            best = min(pairs, key=lambda pair: (-pairs[pair], pair), default=None)
            if best is None or pairs[best] < 2:
                break
            merges.append(best)
            known.add("".join(best))
            for parts in split.values():
                _merge(parts, best)
        return cls(merges)

    def encode(self, text: str) -> list[int]:
        return [id for piece in pieces(text) for id in self.piece(piece)]

    def piece(self, piece: str) -> list[int]:
        parts = list(piece)
        while pairs := [pair for pair in zip(parts, parts[1:]) if pair in self.ranks]:
            _merge(parts, min(pairs, key=self.ranks.__getitem__))
        return [self.ids[part] for part in parts]

    def decode(self, ids: list[int]) -> str:
        values = {letter: byte for byte, letter in enumerate(letters())}
        text = "".join(self.tokens[id] for id in ids if id >= len(SPECIAL))
        return bytes(values[letter] for letter in text).decode(errors="replace")

    def description(self) -> dict:
        """The content of tokenizer.json."""
        plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        start = {"SpecialToken": {"id": SPECIAL[START], "type_id": 0}}
        bytes_ = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
        return {
            "version": "1.0", "truncation": None, "padding": None,
            "added_tokens": [{"id": id, "content": token, **plain} for id, token in enumerate(SPECIAL)],
            "normalizer": None, "pre_tokenizer": bytes_, "decoder": bytes_,
            "post_processor": {
                "type": "TemplateProcessing", "single": [start, {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {SPECIAL[START]: {"id": SPECIAL[START], "ids": [START], "tokens": [SPECIAL[START]]}}},
            "model": {
                "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                "vocab": self.ids, "merges": [list(pair) for pair in self.merges]}}


def _merge(parts: list[str], pair: tuple[str, str]) -> None:
    index = 0
    while index < len(parts) - 1:
        if (parts[index], parts[index + 1]) == pair:
            parts[index : index + 2] = ["".join(pair)]
        index += 1
