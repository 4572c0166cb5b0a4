"""One measurement by llama.cpp, in a process of its own: takes a job as JSON, prints an answer as JSON.

Tools/bench-peers starts it, with an interpreter that has xllamacpp (llama.cpp built as a Python package) and gguf.
"""

import json
import sys
from pathlib import Path

import gguf
import numpy
import xllamacpp

PROMPT_TOKENS = 64
# Enough random numbers to cut every weight from.
DRAWN = 1 << 22


def main() -> None:
    job = json.loads(sys.argv[1])
    model = Path(job["scratch"]) / "language.gguf"
    if not model.exists():
        write_model(job["config"], model)
    print(json.dumps(written(job, model)))


def write_model(config: dict, path: Path) -> None:
    """A LLaMA of random weights in f16, with norms of one; its vocabulary's words are numbers."""
    hidden, inner, vocabulary = (config[key] for key in ("hidden_size", "intermediate_size", "vocab_size"))
    layers, heads = config["num_hidden_layers"], config["num_attention_heads"]
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(layers)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_rope_dimension_count(hidden // heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_tokenizer_model("llama")
    special = {0: (b"<unk>", gguf.TokenType.UNKNOWN), 1: (b"<s>", gguf.TokenType.CONTROL),
               2: (b"</s>", gguf.TokenType.CONTROL)}
    special |= {3 + byte: (b"<0x%02X>" % byte, gguf.TokenType.BYTE) for byte in range(256)}
    tokens = [special.get(i, (b"%d " % i, gguf.TokenType.NORMAL)) for i in range(vocabulary)]
    writer.add_token_list([word for word, _ in tokens])
    writer.add_token_scores([-float(i) for i in range(vocabulary)])
    writer.add_token_types([kind for _, kind in tokens])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    drawn = numpy.random.default_rng(0).standard_normal(DRAWN, dtype=numpy.float32)

    def add(name: str, rows: int, columns: int) -> None:
        weight = numpy.resize(drawn, rows * columns) * columns**-0.5
        writer.add_tensor(name + ".weight", weight.astype(numpy.float16).reshape(rows, columns))

    def add_norm(name: str) -> None:
        writer.add_tensor(name + ".weight", numpy.ones(hidden, numpy.float32))

    add("token_embd", vocabulary, hidden)
    add("output", vocabulary, hidden)
    add_norm("output_norm")
    for layer in range(layers):
        for norm in ("attn_norm", "ffn_norm"):
            add_norm(f"blk.{layer}.{norm}")
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{layer}.{part}", hidden, hidden)
        for part in ("ffn_gate", "ffn_up"):
            add(f"blk.{layer}.{part}", inner, hidden)
        add(f"blk.{layer}.ffn_down", hidden, inner)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def written(job: dict, model: Path) -> dict:
    """Seconds of one more token: the mean of each of `runs` texts, as llama.cpp itself reports it."""
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_ctx = job["config"]["max_position_embeddings"]
    params.n_gpu_layers = 0
    params.n_parallel = 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = job["threads"]
    params.warmup = True
    server = xllamacpp.Server(params)
    request = {
        "prompt": [(131 * i + 3) % job["config"]["vocab_size"] for i in range(PROMPT_TOKENS)],
        "n_predict": job["side"] + 1, "ignore_eos": True, "cache_prompt": False, "seed": 1, "temperature": 0.35,
        "top_p": 0.95, "top_k": 60, "min_p": 0.1, "repeat_penalty": 1.17}
    answers = [server.handle_completions(request) for _ in range(job["runs"] + 1)][1:]
    timings = [(answer if isinstance(answer, dict) else json.loads(answer))["timings"] for answer in answers]
    return {"seconds": [timing["predicted_per_token_ms"] / 1000 for timing in timings],
            "details": {"prompt_seconds": min(timing["prompt_ms"] for timing in timings) / 1000}}


if __name__ == "__main__":
    main()
