"""One measurement by PyTorch and diffusers, in a process of its own: takes a job as JSON, prints an answer as JSON.

Tools/bench-peers starts it, with the interpreter that has torch.
"""

import json
import math
import sys
import time

import diffusers
import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# The pooled embedding of SDXL's second text encoder.
POOLED_CHANNELS = 1280
# Random numbers that all weights are cut from: drawing billions takes longer than everything else.
DRAWN = 1 << 22


def main() -> None:
    job = json.loads(sys.argv[1])
    torch.set_num_threads(job["threads"])
    torch.manual_seed(0)
    with torch.inference_mode():
        answer = {"load": loaded, "token": written}.get(job["kind"], measured)(job)
    print(json.dumps(answer))


def measured(job: dict) -> dict:
    work = {"unet": unet_work, "decoder": decoder_work}[job["kind"]](job)
    # The first run makes what is made once; a compiled model takes its second to settle.
    first, result = timed(work, job)
    if job["compiled"]:
        timed(work, job)
    seconds = [timed(work, job)[0] for _ in range(job["runs"])]
    if not torch.isfinite(result.float()).all():
        sys.exit("the random weights gave numbers that are not finite")
    return {"seconds": seconds, "details": {"first_run_seconds": round(first, 4)}}


def timed(work, job: dict) -> tuple[float, torch.Tensor]:
    synchronize(job)
    start = time.perf_counter()
    result = work()
    synchronize(job)
    return time.perf_counter() - start, result


def synchronize(job: dict) -> None:
    if job["device"] == "cuda":
        torch.cuda.synchronize()


def unet_work(job: dict):
    config, batch, latent = job["config"], job["batch"], job["side"] // 8
    model = prepared(diffusers.UNet2DConditionModel, job)
    sample = unit(job, batch, config["in_channels"], latent, latent)
    states = unit(job, batch, 77, config["cross_attention_dim"])
    added = None
    if config.get("addition_embed_type") == "text_time":
        ids = (config["projection_class_embeddings_input_dim"] - POOLED_CHANNELS) // config["addition_time_embed_dim"]
        added = {"text_embeds": unit(job, batch, POOLED_CHANNELS), "time_ids": unit(job, batch, ids) + 512}
    timestep = torch.tensor(500, device=job["device"])
    return lambda: model(sample, timestep, states, added_cond_kwargs=added, return_dict=False)[0]


def decoder_work(job: dict):
    model = prepared(diffusers.AutoencoderKL, job)
    latent = job["side"] // 8
    latents = unit(job, job["batch"], job["config"]["latent_channels"], latent, latent)
    if job["compiled"]:
        decoder = torch.compile(model.decoder)
        return lambda: decoder(model.post_quant_conv(latents))
    return lambda: model.decode(latents, return_dict=False)[0]


def prepared(kind, job: dict):
    """A model of random weights at its place; attention is PyTorch's scaled_dot_product_attention."""
    with torch.device("meta"):
        model = kind.from_config(job["config"])
    model = model.to(DTYPES[job["precision"]]).to_empty(device=job["device"]).eval().requires_grad_(False)
    fill(model)
    model.set_attn_processor(diffusers.models.attention_processor.AttnProcessor2_0())
    if job["channels_last"]:
        model = model.to(memory_format=torch.channels_last)
    if job["compiled"] and job["kind"] == "unet":
        model = torch.compile(model)
    return model


def fill(model: torch.nn.Module) -> None:
    """Gains 1, biases 0, matrices of variance 1 / fan-in, which keeps activations near unit scale."""
    drawn = None
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            parameter.fill_(1 if name.endswith("weight") else 0)
            continue
        if drawn is None:
            drawn = (torch.rand(DRAWN, device=parameter.device) * 2 - 1).to(parameter.dtype)
        bound = math.sqrt(3 / parameter[0].numel())
        flat = parameter.view(-1)
        for start in range(0, flat.numel(), DRAWN):
            piece = flat[start:start + DRAWN]
            torch.mul(drawn[:piece.numel()], bound, out=piece)


def unit(job: dict, *shape: int) -> torch.Tensor:
    tensor = torch.randn(shape, device=job["device"]).to(DTYPES[job["precision"]])
    is_picture = len(shape) == 4 and job["channels_last"]
    return tensor.to(memory_format=torch.channels_last) if is_picture else tensor


def written(job: dict) -> dict:
    """Seconds of each token but the first, as transformers' own loop writes them, with tipo-kgen's sampling."""
    import transformers

    config = transformers.LlamaConfig(**job["config"])
    model = transformers.LlamaForCausalLM(config).to(job["device"], DTYPES[job["precision"]]).eval()
    ids = torch.arange(64, device=job["device"])[None] * 131 % config.vocab_size
    times = []

    def note(*_) -> bool:
        synchronize(job)
        times.append(time.perf_counter())
        return False

    for tokens in (2, job["side"] + 1):
        times.clear()
        model.generate(
            ids, min_new_tokens=tokens, max_new_tokens=tokens, do_sample=True, temperature=0.35, top_p=0.95, top_k=60,
            min_p=0.1, repetition_penalty=1.17, pad_token_id=config.eos_token_id,
            stopping_criteria=transformers.StoppingCriteriaList([note]))
    return {"seconds": [after - before for before, after in zip(times, times[1:])],
            "details": {"transformers": transformers.__version__}}


def loaded(job: dict) -> dict:
    imported = time.monotonic()
    pipeline = diffusers.DiffusionPipeline.from_pretrained(
        job["folder"], torch_dtype=DTYPES[job["precision"]], local_files_only=True).to(job["device"])
    pipeline.set_progress_bar_config(disable=True)
    read = time.monotonic()
    first_step = []
    pipeline.unet.register_forward_pre_hook(lambda *_: first_step.append(time.monotonic()))
    pipeline(job["prompt"], num_inference_steps=1, width=job["side"], height=job["side"], output_type="latent")
    synchronize(job)
    ended = time.monotonic()
    began = first_step[0]
    return {"began": began, "ended": ended,
            "details": {"read_seconds": round(read - imported, 4), "encode_seconds": round(began - read, 4),
                        "step_seconds": round(ended - began, 4)}}


if __name__ == "__main__":
    main()
