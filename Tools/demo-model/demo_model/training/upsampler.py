"""Trains, exports and evaluates the upsampler: `<s>red circle<sep>a large red circle on a white background</s>`.

    python -m demo_model.training.upsampler RUN FOLDER --steps N
"""

import argparse
import json
import random
from collections import defaultdict
from pathlib import Path

import torch
import torch.nn.functional as F

from ..networks.bpe import END, PAD, SEPARATOR, SPECIAL, START, BytePairs
from ..networks.llama import CONFIG, ROPE_THETA, Llama
from ..networks.weights import write
from ..pictures import Sentence, held_out_sentences, sentence, words
from .loop import Training, autocast, cores, device, share, streams

SEED, EVALUATION_SEED = 5, 21
CAPTIONS_FOR_TOKENS = 20_000
LONGEST_OUTPUT = 48
# The program's defaults; its top-k of 60 and top-p of 0.95 leave little that these cut.
TEMPERATURE, LEAST_SHARE = 0.35, 0.1
LINKS = {"left": "left of", "right": "right of", "on top": "on", "above": "above", "below": "below"}


def shortened(said: Sentence, rng: random.Random) -> tuple[str, list[str]]:
    """A short prompt for a sentence and the phrases of it that a good output repeats."""
    has_colour = rng.random() < 0.8
    thing = said.things[0]
    kept = [_name(thing, has_colour) for thing in said.things]
    if said.count > 1:
        plural = " ".join(part for part in (thing.colour if has_colour else "", words.plural(thing.word)) if part)
        number = "" if rng.random() < 0.2 else words.NUMBERS[said.count]
        # A colour may come between the number and the noun.
        return f"{number} {plural}".strip(), [phrase for phrase in (number, plural) if phrase]
    if len(kept) == 1 and said.size and rng.random() < 0.25:
        return f"{said.size} {kept[0]}", kept
    link = rng.choice([" and ", " ", ", ", f" {LINKS.get(said.relation, 'and')} "])
    short = link.join(kept)
    if rng.random() < 0.25 and said.background.kind in words.SCENES:
        short = f"{short} {said.background.kind}"
    elif rng.random() < 0.1 and said.background.phrase:
        short = f"{short} {said.background.phrase}"
    return (words.with_article(short) if said.count == 1 and rng.random() < 0.3 else short), kept


def _name(thing, has_colour: bool) -> str:
    return f"{thing.colour} {thing.word}" if thing.colour and has_colour else thing.word


class Loss:
    """Cross entropy of each next token, the short prompt's too, so that prompts without a separator go on as well."""

    def __init__(self, model: Llama, tokens: BytePairs, batch: int):
        self.model, self.tokens, self.batch = model, tokens, batch

    def __call__(self, step: int) -> torch.Tensor:
        rng, _ = streams(SEED, step)
        lines = [self._line(rng) for _ in range(self.batch)]
        length = max(len(line) for line in lines)
        ids = torch.tensor([line + [PAD] * (length - len(line)) for line in lines], device=device())
        with autocast():
            logits = self.model(ids[:, :-1])
        return F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten(), ignore_index=PAD)

    def _line(self, rng: random.Random) -> list[int]:
        said = sentence(rng)
        while len(said.caption.split()) < 6:
            said = sentence(rng)
        asked = [START, *self.tokens.encode(shortened(said, rng)[0]), SEPARATOR]
        return asked + self.tokens.encode(said.caption) + [END]


@torch.no_grad()
def written(model: Llama, tokens: BytePairs, asked: list[list[int]], generator: torch.Generator) -> list[str]:
    """What the model makes of prompts of the same number of ids, sampled about as Caldera does."""
    ids = torch.tensor(asked, device=device())
    for _ in range(LONGEST_OUTPUT):
        shares = (model(ids)[:, -1].float() / TEMPERATURE).softmax(1).cpu()
        shares[shares < LEAST_SHARE * shares.amax(1, keepdim=True)] = 0
        ids = torch.cat([ids, torch.multinomial(shares, 1, generator=generator).to(ids)], 1)
        if (ids == END).any(1).all():
            break
    outputs = [row[len(asked[0]) :] for row in ids.tolist()]
    return [tokens.decode(row[: row.index(END)] if END in row else row) for row in outputs]


def evaluate(model: Llama, tokens: BytePairs, count: int = 300) -> dict:
    """The shares of outputs that repeat subjects and colours of short prompts of held-out sentences, and are longer.

    Some prompts are whole sentences of the grammar already, which a good output need not make longer.
    """
    rng, generator = random.Random(EVALUATION_SEED), torch.Generator().manual_seed(EVALUATION_SEED)
    pairs = [shortened(said, rng) for said in held_out_sentences(EVALUATION_SEED, count)]
    by_length: dict[int, list] = defaultdict(list)
    for short, phrases in pairs:
        asked = [START, *tokens.encode(short), SEPARATOR]
        by_length[len(asked)].append((asked, short, phrases))
    kept, longer, examples = 0, 0, []
    for group in by_length.values():
        outputs = written(model, tokens, [asked for asked, _, _ in group], generator)
        for (_, short, phrases), long in zip(group, outputs):
            kept += all(phrase in long for phrase in phrases)
            longer += len(long) > len(short)
            examples.append(f"{short} -> {long}")
    shares = {"kept": round(100 * kept / count, 1), "longer": round(100 * longer / count, 1)}
    return {"prompts": count, **shares, "examples": examples[:: count // 12]}


def export(model: Llama, tokens: BytePairs, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "model.safetensors", {name: value.half() for name, value in model.state_dict().items()})
    ends = {"bos_token_id": START, "eos_token_id": END, "pad_token_id": PAD}
    _json(folder / "config.json", {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "float16", "hidden_act": "silu",
        "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": True, **model.config, **ends,
        "rope_parameters": {"rope_theta": ROPE_THETA, "rope_type": "default"}})
    _json(folder / "generation_config.json", {"_from_model_config": True, **ends})
    _json(folder / "tokenizer_config.json", {
        "bos_token": SPECIAL[START], "eos_token": SPECIAL[END], "pad_token": SPECIAL[PAD],
        "extra_special_tokens": [SPECIAL[SEPARATOR]], "model_max_length": CONFIG["max_position_embeddings"],
        "tokenizer_class": "PreTrainedTokenizerFast"})
    _json(folder / "tokenizer.json", tokens.description())


def _json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch", type=int, default=64 if device().type == "cpu" else 512)
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    rng = random.Random(SEED)
    tokens = BytePairs.trained([sentence(rng).caption for _ in range(CAPTIONS_FOR_TOKENS)], CONFIG["vocab_size"])
    model = Llama({"vocab_size": len(tokens.tokens)}).to(device())
    training = Training(model, arguments.run / "upsampler.pt", 3e-3, 0.99, cores())
    model.load_state_dict(training.run(Loss(model, tokens, share(arguments.batch)), arguments.steps))
    model.eval().half().float()  # Evaluated as it is written.
    export(model, tokens, arguments.folder)
    figures = evaluate(model, tokens)
    (arguments.run / "upsampler.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
