"""Runs the parts of a pipeline in fp32 on fixed inputs and collects what goes in and what comes out."""

import diffusers
import torch

from families import PROMPT, Case

LONG_PROMPT = "Two café tables, 3 lamps & a naïve painting of the sea; " * 5
TRACED = ("time_embedding", "conv_in", "down_blocks.0", "mid_block", "up_blocks.0", "conv_norm_out")


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def text_encoder(pipe, suffix: str, golden: dict) -> None:
    """A prompt with much padding and one that is cut off at 77 tokens."""
    encoder = getattr(pipe, "text_encoder" + suffix)
    tokenizer = getattr(pipe, "tokenizer" + suffix)
    ids = tokenizer(
        [PROMPT, LONG_PROMPT], padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    output = encoder(ids, output_hidden_states=True)
    name = "text_encoder" + suffix
    golden[f"{name}.ids"] = ids.to(torch.int32)
    golden[f"{name}.last_hidden_state"] = output.last_hidden_state
    golden[f"{name}.penultimate"] = output.hidden_states[-2]
    if suffix == "_2":
        golden[f"{name}.text_embeds"] = output.text_embeds


@torch.no_grad()
def unet(pipe, timestep: float, sizes: dict[str, tuple[int, int]], golden: dict) -> None:
    """One forward per size; the outputs of some modules of the first size help to find a fault."""
    model = pipe.unet
    for number, (name, (height, width)) in enumerate(sizes.items()):
        inputs = {
            "sample": normal(100 + number, 2, model.config.in_channels, height, width),
            "timestep": torch.tensor([timestep], dtype=torch.float32),
            "context": normal(200 + number, 2, 77, model.config.cross_attention_dim),
        }
        added = {}
        if model.config.addition_embed_type == "text_time":
            added = added_conditions(pipe, 300 + number)
        trace = {}
        hooks = [] if number else [
            model.get_submodule(module).register_forward_hook(tracer(trace, module)) for module in TRACED]
        output = model(inputs["sample"], inputs["timestep"], inputs["context"], added_cond_kwargs=added).sample
        for hook in hooks:
            hook.remove()
        golden |= {f"{name}.{key}": value for key, value in (inputs | added).items()}
        golden |= {f"{name}.trace.{key}": value for key, value in trace.items()}
        golden[f"{name}.output"] = output


def added_conditions(pipe, seed: int) -> dict[str, torch.Tensor]:
    """A pooled text and the ids that SDXL takes (6) or its refiner (5), unlike in the two rows."""
    if getattr(pipe.config, "requires_aesthetics_score", False):
        rows = [[64, 48, 0, 8, 6], [64, 48, 0, 8, 2.5]]
    else:
        rows = [[64, 48, 0, 8, 56, 72], [128, 96, 16, 0, 56, 72]]
    pooled = normal(seed, 2, pipe.text_encoder_2.config.projection_dim)
    return {"text_embeds": pooled, "time_ids": torch.tensor(rows, dtype=torch.float32)}


def tracer(trace: dict, module: str):
    def hook(_module, _inputs, output):
        trace[module] = output[0] if isinstance(output, tuple) else output
    return hook


@torch.no_grad()
def vae(model, latent_sizes: dict[str, tuple[int, int]], golden: dict) -> None:
    for number, (name, (height, width)) in enumerate(latent_sizes.items()):
        latents = normal(400 + number, 1, model.config.latent_channels, height, width)
        image = normal(500 + number, 1, 3, height * 8, width * 8).clamp(-1, 1)
        golden[f"{name}.latents"] = latents
        golden[f"{name}.decoded"] = model.decode(latents).sample
        golden[f"{name}.image"] = image
        golden[f"{name}.moments"] = model.encode(image).latent_dist.parameters


def scheduler_of(pipe, name: str):
    """The scheduler of that class with the folder's config: what the file leaves out is the class's own default."""
    return getattr(diffusers, name).from_config(pipe.scheduler.config)


@torch.no_grad()
def latents(pipe, case: Case, prompt: str | None = None, given_noise: bool = False) -> torch.Tensor:
    """The last step's latents, as the pipeline returns them: not yet divided by the VAE's scaling factor.

    `given_noise` hands the pipeline the fp32 noise that it would draw in fp32 (torch draws other fp16 values).
    A refiner has no text-to-image pipeline in diffusers; its image-to-image one starts from noise when it is given
    the first latents itself, already scaled.
    """
    saved = pipe.scheduler
    pipe.scheduler = scheduler_of(pipe, case.scheduler)
    generators = [torch.Generator().manual_seed(seed) for seed in case.seeds]
    arguments = dict(
        prompt=[prompt or case.prompt] * len(case.seeds), num_inference_steps=case.steps, generator=generators,
        guidance_scale=case.guidance_scale, output_type="latent",
    )
    if case.negative_prompt is not None:
        arguments["negative_prompt"] = [case.negative_prompt] * len(case.seeds)
    if type(pipe).__name__ == "StableDiffusionXLImg2ImgPipeline":
        noise = first_noise(pipe, case, generators)
        pipe.scheduler.set_timesteps(case.steps)
        size = (case.height, case.width)
        arguments |= dict(
            image=torch.zeros_like(noise), latents=noise * pipe.scheduler.init_noise_sigma, strength=1.0,
            original_size=size, target_size=size)
    else:
        arguments |= dict(height=case.height, width=case.width)
        if given_noise:
            arguments["latents"] = first_noise(pipe, case, generators)
    result = pipe(**arguments).images
    pipe.scheduler = saved
    return result


def first_noise(pipe, case: Case, generators: list[torch.Generator]) -> torch.Tensor:
    shape = (1, pipe.unet.config.in_channels, case.height // 8, case.width // 8)
    return torch.cat([torch.randn(shape, generator=generator) for generator in generators]).to(pipe.dtype)


@torch.no_grad()
def pictures(pipe, final: torch.Tensor) -> list:
    """8-bit pictures of final latents, as the pipeline's own last lines make them."""
    decoded = pipe.vae.decode(final / pipe.vae.config.scaling_factor).sample
    return pipe.image_processor.postprocess(decoded, output_type="pil")
