"""Goldens of single-file checkpoints: names, shapes and values before and after diffusers' own conversion.

For each architecture the names and shapes that the original code gives a checkpoint, at true size and with narrow
layers, and what diffusers' converters make of them: names and true shapes, and a CRC-32 of each narrow tensor whose
values the formula of deterministic_weights.py gives. The converted names and shapes are compared with diffusers' models
under the configs that Caldera ships, and those configs with the ones that diffusers derives from the original ones.
"""

import json
import sys
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import diffusers
import numpy as np
import torch
import transformers
from diffusers.loaders import single_file_utils

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))

import deterministic_weights  # noqa: E402
from original_names import Autoencoder, Checkpoint, TextEncoder, UNet  # noqa: E402

FIXTURES = ROOT / "Tests/CalderaFormatsTests/Fixtures/checkpoints"
CONFIGS = ROOT / "Sources/CalderaFormats/Resources/Checkpoints"
LARGEST_GOLDEN = 1_000_000

CLIP_L = TextEncoder("cond_stage_model.transformer.", "transformers", 768, 12)
CLIP_H = TextEncoder("cond_stage_model.model.", "open_clip", 1024, 24, projection=1024)
CLIP_G = TextEncoder("conditioner.embedders.1.model.", "open_clip", 1280, 32, projection=1280)
FOUR = (1, 2, 4, 4)


@dataclass
class Architecture:
    """`config` is the part of the original repository's config file that diffusers reads."""

    name: str
    checkpoint: Checkpoint
    config: dict
    network_key: str
    scale_factor: float
    image_size: int | None = None


SD1 = {
    "in_channels": 4, "out_channels": 4, "model_channels": 320, "attention_resolutions": [4, 2, 1],
    "num_res_blocks": 2, "channel_mult": [1, 2, 4, 4], "num_heads": 8, "transformer_depth": 1, "context_dim": 768,
}
SD2 = {key: value for key, value in SD1.items() if key != "num_heads"} | {
    "num_head_channels": 64, "use_linear_in_transformer": True, "context_dim": 1024,
}
SDXL = {
    "adm_in_channels": 2816, "num_classes": "sequential", "in_channels": 4, "out_channels": 4, "model_channels": 320,
    "attention_resolutions": [4, 2], "num_res_blocks": 2, "channel_mult": [1, 2, 4], "num_head_channels": 64,
    "use_linear_in_transformer": True, "transformer_depth": [1, 2, 10], "context_dim": 2048,
}
REFINER = SDXL | {
    "adm_in_channels": 2560, "model_channels": 384, "channel_mult": [1, 2, 4, 4], "transformer_depth": 4,
    "context_dim": [1280, 1280, 1280, 1280],
}
UNET_1 = UNet(320, FOUR, (1, 1, 1, 0), 1, 768, linear=False)
UNET_2 = replace(UNET_1, context=1024, linear=True)
UNET_XL = UNet(320, (1, 2, 4), (0, 2, 10), 10, 2048, linear=True, labels=2816)
UNET_REFINER = UNet(384, FOUR, (0, 4, 4, 0), 4, 1280, linear=True, labels=2560)
AUTOENCODER = Autoencoder(128)

ARCHITECTURES = [
    Architecture("sd1", Checkpoint(UNET_1, AUTOENCODER, {"text_encoder": CLIP_L}), SD1, "unet_config", 0.18215),
    Architecture("sd2", Checkpoint(UNET_2, AUTOENCODER, {"text_encoder": CLIP_H}), SD2, "unet_config", 0.18215),
    Architecture(
        "sdxl",
        Checkpoint(
            UNET_XL, AUTOENCODER, {
                "text_encoder": replace(CLIP_L, prefix="conditioner.embedders.0.transformer."),
                "text_encoder_2": CLIP_G,
            }),
        SDXL, "network_config", 0.13025),
    Architecture(
        "sdxl-refiner",
        Checkpoint(
            UNET_REFINER, AUTOENCODER,
            {"text_encoder_2": replace(CLIP_G, prefix="conditioner.embedders.0.model.")}),
        REFINER, "network_config", 0.13025),
]


def main() -> None:
    torch.set_num_threads(2)
    FIXTURES.mkdir(parents=True, exist_ok=True)
    configs = {}
    for architecture in ARCHITECTURES:
        true = architecture.checkpoint.shapes()
        meta = {name: torch.empty(shape, device="meta") for name, shape in true.items()}
        write_table(architecture, true, meta)
        configs[architecture.name] = derived_configs(architecture, meta)
        inpainting = CONFIGS / f"{architecture.name}-inpainting"
        if inpainting.exists():
            changed = replace(
                architecture, config=architecture.config | {"in_channels": 9},
                image_size=512 if architecture.name == "sd2" else None)
            nine = meta | {
                "model.diffusion_model.input_blocks.0.0.weight": torch.empty([320, 9, 3, 3], device="meta")}
            configs[inpainting.name] = derived_configs(changed, nine)
    configs["sd2-base"] = derived_configs(replace(ARCHITECTURES[1], image_size=512), {})
    text = json.dumps(configs, indent=1, sort_keys=True) + "\n"
    (FIXTURES / "configs.json").write_text(text)


def write_table(architecture: Architecture, true: dict, meta: dict) -> None:
    """One line a tensor: of the file [true shape, narrow shape], of the components [true shape, CRC-32]."""
    narrow = architecture.checkpoint.tiny().shapes()
    values = deterministic_weights.component(narrow)
    tensors = {name: torch.from_numpy(value) for name, value in values.items()}
    at_size, at_narrow = convert(architecture, meta), convert(architecture, tensors)
    check_models(architecture.name, at_size)
    lines = [f'"original": {{\n{table((name, true[name], narrow[name]) for name in true)}\n}}']
    for component, state in at_size.items():
        rows = ((name, list(state[name].shape), checksum(at_narrow[component][name])) for name in state)
        lines.append(f'"{component}": {{\n{table(rows)}\n}}')
    kind = json.dumps(single_file_utils.infer_diffusers_model_type(meta))
    text = f'{{"type": {kind},\n' + ",\n".join(lines) + "\n}\n"
    path = FIXTURES / f"{architecture.name}.json"
    path.write_text(text)
    print(f"{path.name}: {len(true)} tensors, {len(text):,} bytes", flush=True)
    if len(text) > LARGEST_GOLDEN:
        raise SystemExit(f"{path} is too large to be committed")


def table(rows) -> str:
    compact = {"separators": (",", ":")}
    return ",\n".join(f"{json.dumps(name)}:{json.dumps([first, second], **compact)}" for name, first, second in rows)


def checksum(tensor: torch.Tensor) -> int:
    return zlib.crc32(np.ascontiguousarray(tensor.numpy()).tobytes())


def convert(architecture: Architecture, checkpoint: dict) -> dict[str, dict[str, torch.Tensor]]:
    """What diffusers' converters make of a checkpoint."""
    unet, vae = published(architecture.name, "unet"), published(architecture.name, "vae")
    components = {
        "unet": single_file_utils.convert_ldm_unet_checkpoint(dict(checkpoint), unet),
        "vae": single_file_utils.convert_ldm_vae_checkpoint(dict(checkpoint), vae),
    }
    for name, encoder in architecture.checkpoint.text_encoders.items():
        if encoder.form == "open_clip":
            state = single_file_utils.convert_open_clip_checkpoint(None, dict(checkpoint), prefix=encoder.prefix)
        else:
            state = single_file_utils.convert_ldm_clip_checkpoint(dict(checkpoint))
        if name == "text_encoder":
            # CLIPTextModel has no projection; diffusers drops it when it loads.
            state.pop("text_projection.weight", None)
        components[name] = state
    return components


def published(architecture: str, component: str) -> dict:
    return json.loads((CONFIGS / architecture / f"{component}.json").read_text())


def check_models(name: str, components: dict) -> None:
    """The converted tensors are exactly those of the models under the configs that Caldera ships."""
    for component, state in components.items():
        config = published(name, component)
        with torch.device("meta"):
            if component.startswith("text_encoder"):
                model_class = getattr(transformers, config["architectures"][0])
                model = model_class(transformers.CLIPTextConfig(**config))
            else:
                model = getattr(diffusers, config["_class_name"]).from_config(config)
        own = {strip(key): list(value.shape) for key, value in model.state_dict().items()}
        got = {strip(key): list(value.shape) for key, value in state.items()}
        if own != got:
            different = sorted(key for key in own.keys() | got.keys() if own.get(key) != got.get(key))
            raise SystemExit(f"{name} {component}: differs from diffusers' model in {different[:5]}")


def strip(key: str) -> str:
    """transformers 5 calls the tensors of CLIPTextModel without the prefix that files have."""
    return key.removeprefix("text_model.")


def derived_configs(architecture: Architecture, checkpoint: dict) -> dict:
    """The configs that diffusers derives from the original ones, with the defaults of its classes."""
    autoencoder = {
        "z_channels": 4, "in_channels": 3, "out_ch": 3, "ch": 128, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2}
    parameters = {
        architecture.network_key: {"params": architecture.config}, "scale_factor": architecture.scale_factor,
        "first_stage_config": {"params": {"ddconfig": autoencoder}},
    }
    original = {"model": {"params": parameters}}
    unet = single_file_utils.create_unet_diffusers_config_from_ldm(
        original, checkpoint, image_size=architecture.image_size)
    vae = single_file_utils.create_vae_diffusers_config_from_ldm(
        original, checkpoint, image_size=architecture.image_size)
    with torch.device("meta"):
        models = {"unet": diffusers.UNet2DConditionModel(**unet), "vae": diffusers.AutoencoderKL(**vae)}
    return {
        name: {key: value for key, value in model.config.items() if not key.startswith("_") and value is not None}
        for name, model in models.items()
    }


if __name__ == "__main__":
    main()
