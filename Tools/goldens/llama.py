#!/usr/bin/env python3
"""Golden logits and generated tokens of language models: small ones with formula weights, and the embedded upsampler.

Writes Tests/CalderaLanguageTests/Fixtures/models/<name>/: config.json and weights.json (see models.py) of the small
ones, golden.safetensors (`ids` [1, N], `logits` [N, V]) and tokens.json (what transformers' `generate` makes of some
prompts, greedily and with seeds).

    Tools/goldens/llama.py [NAME ...]
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Siblings of this script carry names of standard modules, which they must not hide.
sys.path = [str(HERE / "support")] + [path for path in sys.path if Path(path or ".").resolve() != HERE]

import tokenizers  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

import folders  # noqa: E402

ROOT = HERE.parent.parent
FIXTURES = ROOT / "Tests/CalderaLanguageTests/Fixtures/models"
EMBEDDED = ROOT / "Sources/Caldera/Resources/EmbeddedUpsampler"
LARGEST_GOLDEN = 300_000

BASE = {
    "vocab_size": 97, "hidden_size": 48, "intermediate_size": 72, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 4, "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "bos_token_id": 1,
    "eos_token_id": 2, "tie_word_embeddings": False,
}
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64, "rope_theta": 500000.0,
}
CONFIGS = {
    "plain": {},
    # As files from before transformers 5 have it, and weights [V, C] used twice.
    "grouped": {"num_attention_heads": 6, "num_key_value_heads": 2, "tie_word_embeddings": True, "old": True},
    "biased": {"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 1},
    "llama3": {"rope_parameters": LLAMA3, "num_key_value_heads": 2},
    "linear": {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}},
    "dynamic": {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}},
    # Heads whose channels together are not the model's, odd sizes.
    "wide_heads": {"hidden_size": 42, "num_attention_heads": 3, "num_key_value_heads": 3, "head_dim": 22},
}
SAMPLINGS = [
    {"temperature": 1.0, "seed": 0},
    {"temperature": 0.35, "top_p": 0.95, "top_k": 60, "min_p": 0.1, "repetition_penalty": 1.17, "min_new_tokens": 2,
     "seed": 1234},
    {"temperature": 1.3, "top_k": 7, "seed": 42},
    {"temperature": 0.9, "top_p": 0.6, "seed": 2**32 - 1},
    {"temperature": 1.1, "min_p": 0.3, "repetition_penalty": 0.8, "seed": 7},
]


def opened(name: str, fixture: Path) -> transformers.LlamaForCausalLM:
    if name == "upsampler":
        return transformers.LlamaForCausalLM.from_pretrained(EMBEDDED, dtype=torch.float32)
    config = BASE | CONFIGS[name]
    is_old = config.pop("old", False)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        transformers.LlamaForCausalLM(transformers.LlamaConfig(**config)).save_pretrained(folder)
        folders.write_manifest(folders.write_weights(folder / "model.safetensors"), fixture / "weights.json")
        if is_old:
            age(folder / "config.json")
        folders.copy(folder / "config.json", fixture / "config.json")
        return transformers.LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)


def age(path: Path) -> None:
    """Writes the rotary settings as transformers 4 does."""
    config = json.loads(path.read_text())
    config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
    config |= {"rope_scaling": None, "pretraining_tp": 1, "torch_dtype": config.pop("dtype")}
    folders.write_json(config, path)


def prompt(seed: int, length: int, vocabulary: int) -> list[int]:
    ids = torch.randint(3, vocabulary, (length - 1,), generator=torch.Generator().manual_seed(seed))
    return [1] + ids.tolist()


def judged_ids(name: str, vocabulary: int) -> list[int]:
    """The 24 ids whose logits are golden.

    The trained model's are a text of its kind: between random words its logits hang on the last bit, and bf16 is up to
    5 % away from fp32 in transformers itself, where it is 0.5 % on captions.
    """
    if name != "upsampler":
        return prompt(100, 24, vocabulary)
    tokenizer = tokenizers.Tokenizer.from_file(str(EMBEDDED / "tokenizer.json"))
    asked = tokenizer.encode("a red cube on a blue sphere").ids + [tokenizer.token_to_id("<sep>")]
    answer = "a red cube on top of a blue sphere with a plain white background, high quality"
    return (asked + tokenizer.encode(answer, add_special_tokens=False).ids)[:24]


@torch.no_grad()
def generated(model, ids: list[int], new_tokens: int, sampling: dict) -> dict:
    settings = {key: value for key, value in sampling.items() if key != "seed"}
    # Without these, the defaults of transformers' GenerationConfig hold.
    arguments = {"do_sample": bool(sampling), "top_k": 0, "top_p": 1.0} | settings
    if sampling:
        transformers.set_seed(sampling["seed"])
    else:
        arguments = {"do_sample": False, "min_new_tokens": new_tokens}
    result = model.generate(
        torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), max_new_tokens=new_tokens,
        pad_token_id=0, **arguments)
    return {"prompt": ids, "new_tokens": new_tokens, "sampling": sampling, "ids": result[0, len(ids):].tolist()}


def runs(model) -> list[dict]:
    vocabulary, room = model.config.vocab_size, model.config.max_position_embeddings
    lengths = (1, 5, 40)
    prompts = [prompt(seed, length, vocabulary) for seed, length in enumerate(lengths)]
    greedy = [generated(model, ids, min(200, room - len(ids)), {}) for ids in prompts]
    return greedy + [
        generated(model, prompts[number % 3], 40, sampling) for number, sampling in enumerate(SAMPLINGS)]


@torch.no_grad()
def make(name: str) -> None:
    fixture = FIXTURES / name
    fixture.mkdir(parents=True, exist_ok=True)
    model = opened(name, fixture).eval()
    ids = torch.tensor([judged_ids(name, model.config.vocab_size)])
    logits = model(ids).logits[0]
    path = fixture / "golden.safetensors"
    save_file({"ids": ids.to(torch.int32), "logits": logits.contiguous()}, path)
    lines = ",\n".join(json.dumps(run) for run in runs(model))
    (fixture / "tokens.json").write_text(f'{{"runs": [\n{lines}\n]}}\n')
    print(f"{name}: {path.stat().st_size:,} bytes", flush=True)
    if path.stat().st_size > LARGEST_GOLDEN:
        raise SystemExit(f"{path} is larger than {LARGEST_GOLDEN:,} bytes; make its inputs smaller")


def main() -> None:
    known = list(CONFIGS) + ["upsampler"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"among {', '.join(known)}; all when none is given")
    names = parser.parse_args().names or known
    if unknown := set(names) - set(known):
        parser.error(f"no such model: {', '.join(sorted(unknown))}")
    torch.set_num_threads(2)
    for name in names:
        make(name)


if __name__ == "__main__":
    main()
