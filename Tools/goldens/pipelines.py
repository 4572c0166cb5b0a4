"""Golden latents of whole pipelines: text to image, image to image, inpainting, base and refiner as an ensemble.

Writes Tests/CalderaModelsTests/Fixtures/pipelines/{cases.json, golden.safetensors} and the descriptions of the
families that only these runs need. Networks are the tiny ones of support/families.py and support/pipeline_runs.py; the
runs are those of the latter file. Everything is computed by diffusers' own pipelines in fp32 on the CPU.

    Tools/goldens/pipelines.py [--check]

What the pipelines of diffusers 0.42.1 do, as `--check` confirms by watching the draws
---------------------------------------------------------------------------------------
Each picture has a generator of its own, so that the order below is that of one picture whatever the batch. (Given one
image and several generators, the inpainting pipelines would sample the posterior with the first generator alone; here
every picture comes with its own copy of the image, as if it were made alone.)

    pipeline                     1st draw            2nd draw  3rd draw                 then
    text to image                noise                                                  steps
    image to image               image's posterior   noise                              steps
    inpainting, 4 channels       image's posterior   noise     masked image's posterior steps
    inpainting, 9, strength 1    noise               masked image's posterior           steps
    inpainting, 9, strength < 1  image's posterior   noise     masked image's posterior steps
    refiner of an ensemble       (none: the latents come from the base, no noise is added)  steps

- A posterior draw has the shape of the latents: latents = scaling_factor (mean + exp(clamp(logvar, -30, 20) / 2) draw).
  With 4 channels the masked image's posterior is drawn and thrown away; steps that draw noise come after it.
- The image is 2 x - 1. Image to image normalises by latents_mean and latents_std where the VAE has them
  ((latents - mean) scaling_factor / std); inpainting does not.
- The mask is binarised: x < 0.5 is 0 (keep), else 1 (paint). It goes to the size of the latents by
  torch.nn.functional.interpolate(mode="nearest"): the value of pixel (8 y, 8 x). The masked image is
  image (mask < 0.5) at full size, after the image went to -1...1: what is painted becomes grey (0).
- Strength s: the last min(int(steps s), steps) steps of the schedule, from index (steps - that) x order of its
  timesteps. Image to image starts from add_noise(image, noise, first timestep) even at strength 1. Inpainting starts so
  too, but from noise x init_noise_sigma at strength 1.
- Inpainting with 4 channels, after each step: latents = (1 - mask) kept + mask latents, kept being
  add_noise(image, noise, next timestep), or the image itself after the last step; noise is always the 2nd draw.
- With 9 channels the UNet's input is [scaled latents, mask, masked image's latents] and nothing is blended.
- Ensemble: the base keeps the timesteps >= round(1000 - 1000 denoising_end), the refiner those below
  round(1000 - 1000 denoising_start); with a scheduler of order 2 the refiner takes one more where the count is even.
- CLIP skip applies to the prompt alone; the negative prompt takes the usual layer.
- eta, 0 where it is not given, goes to every scheduler whose step takes one: TCD then adds no noise, in place of the
  0.3 that its own default is.
- The refiner's scores are 6.0 and, for the negative half, 2.5 where none are given.
- Guidance of 1 or less leaves the negative half of the batch out. A UNet with time_cond_proj_dim never has one: it
  takes guidance_scale - 1, times 1000, as an embedding (sines first, then cosines).
"""

import argparse
import dataclasses
import json
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

HERE = Path(__file__).resolve().parent
# Siblings of this script carry names of standard modules (random.py), which they must not hide.
sys.path = [str(HERE / "support")] + [path for path in sys.path if Path(path or ".").resolve() != HERE]

import diffusers  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

import folders  # noqa: E402
import soundness  # noqa: E402
from families import FAMILIES  # noqa: E402
from pipeline_runs import PIPELINE_FAMILIES, RUNS, Run  # noqa: E402

REPOSITORY = HERE.parent.parent
FIXTURES = REPOSITORY / "Tests/CalderaModelsTests/Fixtures"
EMBEDDED_MODEL = REPOSITORY / "Sources/Caldera/Resources/EmbeddedModel"
LARGEST_GOLDEN = 1_000_000

# For families of two text encoders the XL pipelines.
PIPELINES = {
    ("img2img", False): diffusers.StableDiffusionImg2ImgPipeline,
    ("img2img", True): diffusers.StableDiffusionXLImg2ImgPipeline,
    ("inpaint", False): diffusers.StableDiffusionInpaintPipeline,
    ("inpaint", True): diffusers.StableDiffusionXLInpaintPipeline,
}
# Fields of a run that are arguments of the same name where they are set.
ARGUMENTS = (
    "strength guidance_rescale clip_skip denoising_end denoising_start aesthetic_score negative_aesthetic_score "
    "original_size crops_coords_top_left target_size eta timesteps sigmas"
).split()
REFINER_ARGUMENTS = {"denoising_start", "aesthetic_score", "negative_aesthetic_score"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="also look for chaos and watch the draws (slow)")
    arguments = parser.parse_args()
    # One thread: the tensors are too small to share out.
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()

    # CLIP skip in diffusers looks for the norm where transformers had it before its version 5.
    transformers.CLIPTextModel.text_model = property(lambda encoder: encoder)
    golden = pictures()
    with tempfile.TemporaryDirectory() as temporary:
        models = Models(Path(temporary))
        for run in RUNS:
            latents = models.latents(run)
            if not torch.isfinite(latents).all():
                raise SystemExit(f"{run.name}: a latent is not finite")
            golden[f"{run.name}.latents"] = latents
            print(f"{run.name}: std {latents.std():.3f}", flush=True)
            if arguments.check:
                check(models, run, latents)
    save(golden)


def pictures() -> dict[str, torch.Tensor]:
    """Pictures [1, 3, height, width] in 0...1 with 8-bit levels; masks [1, 1, height, width] of 0 and 1, whose edges
    lie across the cells of 8 pixels."""
    def picture(height: int, width: int) -> torch.Tensor:
        y, x = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
        disc = ((y - 0.4) ** 2 + (x - 0.6) ** 2 < 0.06).float()
        channels = [0.8 * x + 0.2 * disc, 0.5 + 0.5 * torch.sin(9 * y + 4 * x), (1 - y) * (1 - disc)]
        return (torch.stack(channels)[None] * 255).round() / 255

    def mask(height: int, width: int) -> torch.Tensor:
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        box = (y >= 13) & (y < height - 11) & (x >= 21) & (x < width - 5)
        return (box | (x + 2 * y < 30)).float()[None, None]

    return {
        "image": picture(56, 72), "mask": mask(56, 72), "image_tall": picture(64, 40), "mask_tall": mask(64, 40)}


class Models:
    """The tiny families, each written and opened when a run needs it."""

    def __init__(self, temporary: Path):
        self.temporary = temporary
        self.opened: dict = {}
        # What the folders' files say; the pipelines' own schedulers change from run to run.
        self.scheduler_configs: dict = {}
        self.pictures = pictures()

    def latents(self, run: Run) -> torch.Tensor:
        generators = [torch.Generator().manual_seed(seed) for seed in run.seeds]
        if run.kind != "ensemble":
            return self.call(run.family, run, generators, ARGUMENTS)
        base = self.call(run.family, run, generators, [name for name in ARGUMENTS if name not in REFINER_ARGUMENTS])
        return self.call(
            run.refiner_family, run, generators, [name for name in ARGUMENTS if name != "denoising_end"], image=base)

    @torch.no_grad()
    def call(self, family: str, run: Run, generators: list, names: list[str], image=None) -> torch.Tensor:
        pipe = self.pipeline(family, "img2img" if image is not None else run.kind)
        pipe.scheduler = getattr(diffusers, run.scheduler).from_config(
            self.scheduler_configs[family], **run.scheduler_options or {})
        count = len(run.seeds)
        arguments = {name: getattr(run, name) for name in names if getattr(run, name) is not None}
        arguments |= {name: list(arguments[name]) for name in ("timesteps", "sigmas") if name in arguments}
        arguments |= dict(
            prompt=[run.prompt] * count, num_inference_steps=run.steps, guidance_scale=run.guidance_scale,
            generator=generators, output_type="latent")
        if run.negative_prompt is not None:
            arguments["negative_prompt"] = [run.negative_prompt] * count
        if run.image:
            image = self.pictures[run.image].repeat(count, 1, 1, 1)
        if image is not None:
            arguments["image"] = image
        if run.mask:
            arguments["mask_image"] = self.pictures[run.mask]
        if type(pipe) not in (PIPELINES["img2img", False], PIPELINES["img2img", True]):
            arguments |= dict(width=run.width, height=run.height)
        return pipe(**arguments).images

    def pipeline(self, name: str, kind: str):
        """The family's own pipeline, or one of the same networks for another kind of run."""
        family = next(family for family in FAMILIES + PIPELINE_FAMILIES if family.name == name)
        if name not in self.opened:
            folder = self.temporary / name
            # The descriptions of FAMILIES are models.py's to write.
            fixture = FIXTURES / "models" / name if family in PIPELINE_FAMILIES else self.temporary / "descriptions"
            folders.write(family, EMBEDDED_MODEL, folder, fixture)
            pipe = diffusers.DiffusionPipeline.from_pretrained(folder, dtype=torch.float32, low_cpu_mem_usage=False)
            soundness.check_loaded(pipe, folder)
            self.opened[name], self.scheduler_configs[name] = pipe, pipe.scheduler.config
        pipe = self.opened[name]
        wanted = PIPELINES.get((kind, family.text_encoder_2 is not None), type(pipe))
        pipe = pipe if wanted is type(pipe) else wanted.from_pipe(pipe)
        pipe.set_progress_bar_config(disable=True)
        return pipe


def check(models: Models, run: Run, reference: torch.Tensor) -> None:
    """Rounding must not grow beyond what a test of fp32 forgives; the draws are printed, one letter each."""
    with perturbed_networks(1e-6), watched_draws(run.seeds[0]) as draws:
        moved = soundness.relative_l2(models.latents(run), reference)
    print(f"    1e-6 in the UNet's outputs becomes {moved:.1e}; draws {' '.join(draws)}", flush=True)
    if not moved < 2e-4:
        raise SystemExit(f"{run.name}: noise of 1e-6 in the networks' outputs moves the latents by {moved:.1e}")


def perturbed_networks(size: float):
    """Relative noise on everything that a UNet returns."""
    original, generator = diffusers.UNet2DConditionModel.forward, torch.Generator().manual_seed(0)

    def forward(*arguments, **options):
        output = original(*arguments, **options)[0]
        return (output * (1 + size * torch.randn(output.shape, generator=generator)),)

    return mock.patch.object(diffusers.UNet2DConditionModel, "forward", forward)


@contextmanager
def watched_draws(seed: int) -> Iterator[list[str]]:
    """Lists who draws from the generator of that seed: p a posterior, n a pipeline's noise, s a scheduler's step."""
    draws: list[str] = []
    original = torch.randn

    def randn(*arguments, **options):
        if isinstance(options.get("generator"), torch.Generator) and options["generator"].initial_seed() == seed:
            draws.append(caller())
        return original(*arguments, **options)

    with mock.patch.object(torch, "randn", randn):
        yield draws


def caller() -> str:
    folders_of_diffusers = {"autoencoders": "p", "schedulers": "s", "pipelines": "n"}
    for frame in reversed(traceback.extract_stack()):
        for part in Path(frame.filename).parts:
            if part in folders_of_diffusers:
                return folders_of_diffusers[part]
    return "?"


def save(golden: dict[str, torch.Tensor]) -> None:
    folder = FIXTURES / "pipelines"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "golden.safetensors"
    save_file({name: value.contiguous() for name, value in golden.items()}, path)
    lines = [json.dumps(description(run)) for run in RUNS]
    (folder / "cases.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
    size = path.stat().st_size
    print(f"pipelines: {len(golden)} tensors, {size:,} bytes")
    if size > LARGEST_GOLDEN:
        raise SystemExit(f"{path} is larger than {LARGEST_GOLDEN:,} bytes; make its runs fewer or smaller")


def description(run: Run) -> dict:
    """What a test needs to repeat the run; what is not set is left out."""
    values = {key: value for key, value in dataclasses.asdict(run).items() if value is not None}
    return values | {"latents": f"{run.name}.latents", "pictures": []}


if __name__ == "__main__":
    main()
