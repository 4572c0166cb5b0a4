"""Reference latents of a model of true size: a few steps of a small picture, by diffusers in fp32 on the CPU.

    Tools/goldens/true_sizes.py MODEL_FOLDER OUT.safetensors [--steps 3] [--side 256] [--scheduler CLASS]
        [--threads 2] [--refiner REFINER_FOLDER --refiner-start 0.8]

MODEL_FOLDER is one that Tools/make-full-size-model has written (whose seed says what the weights are); OUT holds
`latents` [1, 4, SIDE / 8, SIDE / 8], not yet divided by the VAE's scaling factor, and its metadata the run's values
as JSON under `run` (keys as in Fixtures/pipelines/cases.json), the seconds of each stage and the peak of the
resident set.
A refiner goes on from a picture, which OUT then holds as `image` [1, 3, SIDE, SIDE] in 0...1 with 8-bit levels.
With --refiner the base stops at that fraction of the schedule, and the refiner does the rest (ensemble of experts).
These files belong to no fixture (the models are too large), so Tools/goldens/regenerate leaves this script out.

Text encoders are dropped before the UNet is read: the UNet and its file, mapped, then need 16 GB for
SDXL in fp32, 6.5 GB for SD1.5.
"""

import argparse
import gc
import itertools
import json
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import diffusers
import torch
import transformers
from safetensors.torch import save_file

PROMPT = "a lighthouse at dusk"
SEED = 1
STRENGTH = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="MODEL_FOLDER")
    parser.add_argument("output", type=Path, metavar="OUT.safetensors")
    parser.add_argument("--steps", type=int, default=3, help="steps that are computed")
    parser.add_argument("--side", type=int, default=256, help="of the square picture, in pixels")
    parser.add_argument("--scheduler", help="class in diffusers, in place of the model's own")
    parser.add_argument("--refiner", type=Path, metavar="REFINER_FOLDER", help="does the end of the schedule")
    parser.add_argument("--refiner-start", type=float, default=0.8, help="fraction of the schedule that is the base's")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    transformers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.disable_progress_bar()

    seconds: dict[str, float] = {}
    index = json.loads((arguments.model / "model_index.json").read_text())
    with timed("encode the prompt", seconds):
        embeddings = prompt_embeddings(arguments.model, index)
    gc.collect()
    with timed("read the UNet", seconds):
        pipe = opened(arguments.model, index, without=("text_encoder", "tokenizer"))
    if arguments.scheduler:
        pipe.scheduler = getattr(diffusers, arguments.scheduler).from_config(pipe.scheduler.config)
    run = described(arguments, pipe)
    tensors = {"image": picture(run["height"])} if run["kind"] == "img2img" else {}
    with timed("sample", seconds):
        tensors["latents"] = sampled(pipe, run, embeddings, tensors.get("image"))
    if arguments.refiner:
        del pipe, embeddings
        gc.collect()
        with timed("refine", seconds):
            tensors["latents"] = refined(arguments.refiner, run, tensors["latents"])
    if not torch.isfinite(tensors["latents"]).all():
        raise SystemExit("a latent is not finite")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    metadata = {"run": json.dumps(run), "seconds": json.dumps(seconds), "peak_resident_bytes": str(peak)}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, arguments.output, metadata)
    print(f"{run['name']}: std {tensors['latents'].std():.3f}, {seconds}, peak resident {peak / 1e9:.2f} GB")


@contextmanager
def timed(stage: str, seconds: dict[str, float]) -> Iterator[None]:
    start = time.monotonic()
    yield
    seconds[stage] = round(time.monotonic() - start, 1)


def opened(model: Path, index: dict, without: tuple[str, ...]):
    """The pipeline in fp32, without the components whose names start so."""
    left_out = {name: None for name in index if name.startswith(without)}
    pipe = diffusers.DiffusionPipeline.from_pretrained(model, dtype=torch.float32, **left_out)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@torch.no_grad()
def prompt_embeddings(model: Path, index: dict) -> dict[str, torch.Tensor]:
    """With guidance, and no negative prompt given."""
    pipe = opened(model, index, without=("unet", "vae"))
    options = dict(device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=True)
    values = pipe.encode_prompt(PROMPT, **options)
    names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    # Pipelines of one text encoder return the first two.
    return {name: value.clone() for name, value in zip(names, values)}


def described(arguments: argparse.Namespace, pipe) -> dict:
    image_to_image = "Img2Img" in type(pipe).__name__
    two_encoders = "XL" in type(pipe).__name__
    # Playground v2 is SDXL with an ancestral scheduler, and asks for less guidance.
    is_playground = two_encoders and isinstance(pipe.scheduler, diffusers.EulerAncestralDiscreteScheduler)
    run = {
        "name": arguments.output.stem, "kind": "img2img" if image_to_image else "text2img", "prompt": PROMPT,
        "scheduler": type(pipe.scheduler).__name__, "seeds": [SEED], "steps": arguments.steps,
        "guidance_scale": (3.0 if is_playground else 5.0) if two_encoders else 7.5,
        "width": arguments.side, "height": arguments.side,
        "latents": "latents", "pictures": [],
    }
    if image_to_image:
        # Of so many steps the last part, STRENGTH, is as long as was asked for.
        total = next(total for total in itertools.count(1) if int(total * STRENGTH) == arguments.steps)
        run |= {"image": "image", "strength": STRENGTH, "steps": total}
    if arguments.refiner:
        run |= {"refiner_start": arguments.refiner_start}
    return run


@torch.no_grad()
def sampled(pipe, run: dict, embeddings: dict[str, torch.Tensor], image: torch.Tensor | None) -> torch.Tensor:
    place = {name: run[name] for name in ("width", "height")}
    if image is not None:
        place = {"image": image, "strength": run["strength"]}
    if "refiner_start" in run:
        place["denoising_end"] = run["refiner_start"]
    return pipe(
        **embeddings, **place, num_inference_steps=run["steps"], guidance_scale=run["guidance_scale"],
        generator=torch.Generator().manual_seed(SEED), output_type="latent").images


@torch.no_grad()
def refined(model: Path, run: dict, latents: torch.Tensor) -> torch.Tensor:
    index = json.loads((model / "model_index.json").read_text())
    embeddings = prompt_embeddings(model, index)
    gc.collect()
    pipe = opened(model, index, without=("text_encoder", "tokenizer"))
    return pipe(
        **embeddings, image=latents, denoising_start=run["refiner_start"], num_inference_steps=run["steps"],
        guidance_scale=run["guidance_scale"], generator=torch.Generator().manual_seed(SEED),
        output_type="latent").images


def picture(side: int) -> torch.Tensor:
    """A dark shore, a tower and a sky; [1, 3, side, side]."""
    y, x = torch.meshgrid(torch.arange(side) / side, torch.arange(side) / side, indexing="ij")
    tower = ((x - 0.5).abs() < 0.03 + 0.05 * y) & (y > 0.2) & (y < 0.8)
    shore = y > 0.75 + 0.05 * torch.sin(12 * x)
    sky = torch.stack([0.3 + 0.6 * y, 0.3 + 0.3 * y, 0.6 - 0.2 * y])
    scene = torch.where(shore, torch.tensor(0.1), torch.where(tower, torch.tensor(0.9), sky))
    return (scene[None] * 255).round() / 255


if __name__ == "__main__":
    main()
