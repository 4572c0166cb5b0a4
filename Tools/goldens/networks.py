"""Golden tensors of single networks that no tiny model folder has: an inpainting UNet, a UNet distilled with its guidance
scale, an autoencoder with means and deviations of its latents, a tiny autoencoder, a decoder that overflows fp16.

Writes Tests/CalderaModelsTests/Fixtures/networks/<name>/: golden.safetensors and, for each component, config.json and
weights.json (see models.py). `overflow` is the VAE of the family `sdxl` with some of its weights scaled: factors.json.

    Tools/goldens/networks.py [NAME ...]
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Siblings of this script carry names of standard modules, which they must not hide.
sys.path = [str(HERE / "support")] + [path for path in sys.path if Path(path or ".").resolve() != HERE]

import diffusers  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

import folders  # noqa: E402
from families import CROSS_DOWN, CROSS_UP, DOWN, FAMILIES, UP, text_time, unet, vae  # noqa: E402
from record import normal  # noqa: E402

FIXTURES = HERE.parent.parent / "Tests/CalderaModelsTests/Fixtures/networks"
LARGEST_GOLDEN = 300_000
WEIGHTS = "diffusion_pytorch_model.safetensors"
# Latents to be cleaned, the mask, and the latents of the picture without what the mask covers.
INPAINTING_CHANNELS = 4 + 1 + 4
# diffusers' LatentConsistencyModelPipeline at this guidance scale.
GUIDANCE_SCALE, CONDITION_CHANNELS = 8.5, 24
# Playground v2.5's, of which only the shape matters here.
MEAN, DEVIATION = [-1.6574, 1.886, -1.383, 2.5155], [8.4927, 5.9022, 6.5498, 5.2299]
# All within fp16, but together they make the decoder's first activations 2^18 times as large.
OVERFLOW_FACTORS = {
    "post_quant_conv.weight": 2.0**8, "post_quant_conv.bias": 2.0**8,
    "decoder.conv_in.weight": 2.0**10, "decoder.conv_in.bias": 2.0**18,
}


def opened(cls: type, config: dict, fixture: Path, component: str):
    """A model of formula weights, whose config and shapes go to the fixture."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        cls(**config).save_pretrained(folder)
        folders.write_manifest(folders.write_weights(folder / WEIGHTS), fixture / component / "weights.json")
        folders.copy(folder / "config.json", fixture / component / "config.json")
        return cls.from_pretrained(folder, low_cpu_mem_usage=False)


def unet_forward(model, group: str, height: int, width: int, **conditions: torch.Tensor) -> dict[str, torch.Tensor]:
    inputs = {
        "sample": normal(100, 2, model.config.in_channels, height, width),
        "timestep": torch.tensor([601], dtype=torch.float32),
        "context": normal(200, 2, 77, model.config.cross_attention_dim),
    } | conditions
    added = {key: inputs[key] for key in ("text_embeds", "time_ids") if key in inputs}
    output = model(
        inputs["sample"], inputs["timestep"], inputs["context"], timestep_cond=inputs.get("timestep_cond"),
        added_cond_kwargs=added).sample
    return {f"{group}.{key}": value for key, value in inputs.items()} | {f"{group}.output": output}


def inpainting(fixture: Path) -> dict[str, torch.Tensor]:
    config = unet([32, 64], 4, [CROSS_DOWN, DOWN], [UP, CROSS_UP], 32, in_channels=INPAINTING_CHANNELS)
    model = opened(diffusers.UNet2DConditionModel, config, fixture, "unet")
    return unet_forward(model, "unet", 8, 8) | unet_forward(model, "unet_odd", 5, 7)


def lcm(fixture: Path) -> dict[str, torch.Tensor]:
    """As LCM for SDXL: the guidance scale's embedding together with text and time ids."""
    config = unet(
        [32, 64], [2, 4], [DOWN, CROSS_DOWN], [CROSS_UP, UP], 48, transformer_layers_per_block=[1, 2],
        time_cond_proj_dim=CONDITION_CHANNELS, **text_time(40, 6))
    model = opened(diffusers.UNet2DConditionModel, config, fixture, "unet")
    embed = diffusers.LatentConsistencyModelPipeline.get_guidance_scale_embedding
    condition = embed(None, torch.tensor([GUIDANCE_SCALE - 1, 0.5]), embedding_dim=CONDITION_CHANNELS)
    rows = [[64, 48, 0, 8, 56, 72], [128, 96, 16, 0, 56, 72]]
    added = {"text_embeds": normal(300, 2, 40), "time_ids": torch.tensor(rows, dtype=torch.float32)}
    return (
        unet_forward(model, "unet", 8, 8, timestep_cond=condition, **added)
        | unet_forward(model, "unet_unconditioned", 8, 8, **added))


def lcm_sd15(fixture: Path) -> dict[str, torch.Tensor]:
    config = unet([32, 64], 4, [CROSS_DOWN, DOWN], [UP, CROSS_UP], 32, time_cond_proj_dim=CONDITION_CHANNELS)
    model = opened(diffusers.UNet2DConditionModel, config, fixture, "unet")
    return unet_forward(model, "unet", 8, 8, timestep_cond=normal(600, 2, CONDITION_CHANNELS))


def playground25(fixture: Path) -> dict[str, torch.Tensor]:
    """The UNet of SDXL; the latents as StableDiffusionXLPipeline gives them to the decoder, and the way back."""
    config = unet(
        [32, 64], [2, 4], [DOWN, CROSS_DOWN], [CROSS_UP, UP], 48, transformer_layers_per_block=[1, 2],
        **text_time(40, 6))
    rows = [[64, 48, 0, 8, 56, 72], [128, 96, 16, 0, 56, 72]]
    golden = unet_forward(
        opened(diffusers.UNet2DConditionModel, config, fixture, "unet"), "unet", 8, 8,
        text_embeds=normal(300, 2, 40), time_ids=torch.tensor(rows, dtype=torch.float32))

    model = opened(
        diffusers.AutoencoderKL, vae([16, 24, 32, 40], 0.5, latents_mean=MEAN, latents_std=DEVIATION), fixture, "vae")
    mean, deviation = (torch.tensor(values).view(1, 4, 1, 1) for values in (MEAN, DEVIATION))
    latents = normal(400, 1, 4, 4, 6)
    scaled = latents * deviation / model.config.scaling_factor + mean
    image = normal(500, 1, 3, 32, 48).clamp(-1, 1)
    posterior = model.encode(image).latent_dist
    return golden | {
        "scale.latents": latents, "vae.latents": scaled, "vae.decoded": model.decode(scaled).sample,
        "vae.image": image, "vae.moments": posterior.parameters, "scale.encoded": posterior.mode(),
        "scale.model_input": (posterior.mode() - mean) * model.config.scaling_factor / deviation,
    }


def taesd(fixture: Path) -> dict[str, torch.Tensor]:
    """A tiny autoencoder of its own kind: unlike numbers of blocks and channels in the two halves."""
    model = opened(
        diffusers.AutoencoderTiny,
        dict(
            encoder_block_out_channels=[24] * 3, decoder_block_out_channels=[16] * 3, num_encoder_blocks=[1, 2, 0],
            num_decoder_blocks=[2, 1, 1]),
        fixture, "vae")
    golden = {}
    for name, (height, width) in {"vae": (4, 6), "vae_odd": (5, 7)}.items():
        # Far beyond the clamp, as latents of early steps are.
        latents = 4 * normal(400, 2, 4, height, width)
        image = normal(500, 2, 3, 4 * height + (name == "vae_odd"), 4 * width).clamp(-1, 1)
        golden |= {
            f"{name}.latents": latents, f"{name}.decoded": model.decode(latents).sample,
            f"{name}.image": image, f"{name}.encoded": model.encode(image).latents,
        }
    return golden


def overflow(fixture: Path) -> dict[str, torch.Tensor]:
    """The fp32 picture of a decoder whose activations leave fp16's range far behind."""
    config = next(family for family in FAMILIES if family.name == "sdxl").vae
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        diffusers.AutoencoderKL(**config).save_pretrained(folder)
        folders.write_weights(folder / WEIGHTS)
        tensors = load_file(folder / WEIGHTS)
        scaled = {name: value * OVERFLOW_FACTORS.get(name, 1.0) for name, value in tensors.items()}
        save_file(scaled, folder / WEIGHTS, metadata={"format": "pt"})
        model = diffusers.AutoencoderKL.from_pretrained(folder, low_cpu_mem_usage=False)
    largest = []
    for module in model.decoder.modules():
        module.register_forward_hook(lambda _module, _inputs, output: largest.append(output.abs().max().item()))
    latents = normal(400, 1, 4, 6, 8)
    picture = model.decode(latents).sample
    weights = max(value.abs().max().item() for value in scaled.values())
    print(f"overflow: weights up to {weights:.0f}, activations up to {max(largest):.0f}, std {picture.std():.3f}")
    if not weights < 65504 < max(largest):
        raise SystemExit("overflow: the activations, and they alone, should exceed 65,504")
    folders.write_json(OVERFLOW_FACTORS, fixture / "factors.json")
    return {"vae.latents": latents, "vae.decoded": picture}


NETWORKS: dict[str, Callable[[Path], dict[str, torch.Tensor]]] = {
    make.__name__: make for make in (inpainting, lcm, lcm_sd15, playground25, taesd, overflow)}


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"among {', '.join(NETWORKS)}; all when none is given")
    names = parser.parse_args().names or list(NETWORKS)
    if unknown := set(names) - set(NETWORKS):
        parser.error(f"no such network: {', '.join(sorted(unknown))}")
    torch.set_num_threads(2)
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    for name in names:
        fixture = FIXTURES / name
        fixture.mkdir(parents=True, exist_ok=True)
        golden = {key: value.clone() for key, value in NETWORKS[name](fixture).items()}
        if broken := [key for key, value in golden.items() if not torch.isfinite(value).all()]:
            raise SystemExit(f"{name}: {', '.join(broken)} have values that are not finite")
        path = fixture / "golden.safetensors"
        save_file(golden, path)
        print(f"{name}: {len(golden)} tensors, {path.stat().st_size:,} bytes", flush=True)
        if path.stat().st_size > LARGEST_GOLDEN:
            raise SystemExit(f"{path} is larger than {LARGEST_GOLDEN:,} bytes; make its inputs smaller")


if __name__ == "__main__":
    main()
