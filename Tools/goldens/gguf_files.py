#!/usr/bin/env python3
"""Small GGUF files, and what they hold.

Writes Tests/CalderaFormatsTests/Fixtures/gguf/: blocks.gguf with one tensor of each element type and blocks.safetensors
with their fp32 values; model.gguf, a language model of formula weights whose query and key rows lie as llama.cpp has
them, with model.json (its config and shapes under transformers' names) for comparison, and a tokenizer whose
tokenizer.json transformers made from the same SentencePiece scores (tokenizer.json, texts.json).

    Tools/goldens/gguf_files.py
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Siblings of this script carry names of standard modules, which they must not hide.
sys.path = [str(HERE / "support")] + [path for path in sys.path if Path(path or ".").resolve() != HERE]

import gguf  # noqa: E402
import numpy as np  # noqa: E402
from gguf import GGMLQuantizationType as Type  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors  # noqa: E402

import deterministic_weights  # noqa: E402
import folders  # noqa: E402

FIXTURE = HERE.parent.parent / "Tests/CalderaFormatsTests/Fixtures/gguf"
# What gguf can make of fp32 values, and what it can only read: random blocks with small scales.
MADE = (Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1)
READ = (Type.Q4_K, Type.Q5_K, Type.Q6_K)
# Where a block keeps its fp16 scales.
SCALES = {Type.Q4_K: (0, 2), Type.Q5_K: (0, 2), Type.Q6_K: (208,)}
MARK = "\u2581"
CONFIG = {
    "vocab_size": 0, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
    "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False, "rope_theta": 10000.0, "model_type": "llama",
}
TEXTS = [
    "", "a", "the cat", " the  cat sat", "masterpiece, 1girl, solo", "Übergrößen & 日本語 🦊", "a\nb\tc", "<s>the</s>",
    "the<|long|>cat", "cathedral the theta", "   ", "that that that, hat",
]


def blocks() -> None:
    random = np.random.default_rng(5)
    writer = gguf.GGUFWriter(FIXTURE / "blocks.gguf", "llama")
    wanted = {}
    for kind in MADE:
        values = (random.standard_normal((3, 64)) * 3).astype(np.float32)
        data = values if kind == Type.F32 else gguf.quants.quantize(values, kind)
        writer.add_tensor(kind.name, data, raw_dtype=kind)
        wanted[kind.name] = gguf.quants.dequantize(data, kind).astype(np.float32).reshape(3, 64)
    for kind in READ:
        _, size = gguf.GGML_QUANT_SIZES[kind]
        data = random.integers(0, 256, (2, 2 * size), dtype=np.uint8)
        for place in SCALES[kind]:
            for block in range(2):
                data[:, block * size + place:block * size + place + 2] = (
                    random.uniform(-0.1, 0.1, (2, 1)).astype("<f2").view(np.uint8))
        writer.add_tensor(kind.name, data, raw_dtype=kind)
        wanted[kind.name] = gguf.quants.dequantize(data, kind).astype(np.float32).reshape(2, 512)
    finish(writer)
    save_file(wanted, FIXTURE / "blocks.safetensors")


def finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def vocabulary() -> tuple[list[str], list[float], list[int]]:
    """Special tokens, bytes, letters and pieces that overlap, with scores as SentencePiece's BPE gives them."""
    tokens, scores, kinds = ["<unk>", "<s>", "</s>"], [0.0] * 3, [2, 3, 3]
    tokens += [f"<0x{byte:02X}>" for byte in range(256)]
    scores += [0.0] * 256
    kinds += [6] * 256
    pieces = [MARK + "t", "he", MARK + "the", "at", MARK + "c", MARK + "cat", "in", "th", MARK + "th", "ir", "hat"]
    pieces += [MARK + "that", MARK + MARK, "ca", MARK + "s", "ol", "so", MARK + "sol", "cat", "dr", "al"]
    letters = sorted(set("abcdefghijklmnopqrstuvwxyz,1" + MARK))
    for number, piece in enumerate(pieces + letters):
        tokens.append(piece)
        scores.append(-float(number))
        kinds.append(1)
    tokens += ["<|long|>"]
    return tokens, scores + [0.0], kinds + [4]


def merges(tokens: list[str], scores: list[float], kinds: list[int]) -> list[tuple[str, str]]:
    """transformers' `generate_merges`."""
    ids = {token: number for number, token in enumerate(tokens)}
    found = []
    for token, score, kind in zip(tokens, scores, kinds):
        if kind not in (1, 4):
            continue
        splits = [(token[:place], token[place:]) for place in range(1, len(token))]
        own = [(left, right, score) for left, right in splits if left in ids and right in ids]
        found += sorted(own, key=lambda merge: (ids[merge[0]], ids[merge[1]]))
    found.sort(key=lambda merge: (merge[2], len(merge[0]), len(merge[1])), reverse=True)
    return [(left, right) for left, right, _ in found]


def tokenizer(tokens: list[str], scores: list[float], kinds: list[int]) -> Tokenizer:
    ids = {token: number for number, token in enumerate(tokens)}
    made = Tokenizer(models.BPE(ids, merges(tokens, scores, kinds), unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)])
    made.decoder = decoders.Sequence(
        [decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    made.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in tokens[:3]])
    made.add_tokens([AddedToken(tokens[-1], normalized=False)])
    made.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    return made


NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}


def shapes(config: dict) -> dict[str, list[int]]:
    width, inner = config["hidden_size"], config["intermediate_size"]
    queries = config["num_attention_heads"] * config["head_dim"]
    keys = config["num_key_value_heads"] * config["head_dim"]
    layer = {
        "self_attn.q_proj": [queries, width], "self_attn.k_proj": [keys, width], "self_attn.v_proj": [keys, width],
        "self_attn.o_proj": [width, queries], "mlp.gate_proj": [inner, width], "mlp.up_proj": [inner, width],
        "mlp.down_proj": [width, inner], "input_layernorm": [width], "post_attention_layernorm": [width],
    }
    found = {
        "model.embed_tokens.weight": [config["vocab_size"], width], "model.norm.weight": [width],
        "lm_head.weight": [config["vocab_size"], width],
    }
    for index in range(config["num_hidden_layers"]):
        found |= {f"model.layers.{index}.{name}.weight": shape for name, shape in layer.items()}
    return found


def stored_name(name: str) -> str:
    known = {
        "model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight"}
    if name in known:
        return known[name]
    _, _, index, rest = name.split(".", 3)
    return f"blk.{index}.{NAMES[rest.removesuffix('.weight')]}.weight"


def permuted(weights: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp's `LlamaModel.permute`."""
    return weights.reshape(heads, 2, weights.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(weights.shape)


def model() -> None:
    tokens, scores, kinds = vocabulary()
    config = CONFIG | {"vocab_size": len(tokens)}
    manifest = shapes(config)
    writer = gguf.GGUFWriter(FIXTURE / "model.gguf", "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for name, values in deterministic_weights.component(manifest).items():
        if ".q_proj." in name:
            values = permuted(values, config["num_attention_heads"])
        if ".k_proj." in name:
            values = permuted(values, config["num_key_value_heads"])
        is_half = values.ndim == 2 and "mlp" not in name
        writer.add_tensor(stored_name(name), values.astype(np.float16) if is_half else values)
    finish(writer)
    folders.write_json({"config": config, "shapes": manifest}, FIXTURE / "model.json")
    made = tokenizer(tokens, scores, kinds)
    texts = [
        {"text": text, "ids": made.encode(text).ids, "decoded": made.decode(made.encode(text).ids)} for text in TEXTS]
    folders.write_json(texts, FIXTURE / "texts.json")


if __name__ == "__main__":
    FIXTURE.mkdir(parents=True, exist_ok=True)
    blocks()
    model()
    for path in sorted(FIXTURE.iterdir()):
        print(f"{path.name}: {path.stat().st_size:,} bytes")
