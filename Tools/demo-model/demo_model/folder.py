"""Writes and reads the diffusers folder (StableDiffusionXLPipeline, fp16).

    python -m demo_model.folder RUN FOLDER      exports RUN's vae.pt and diffusion.pt
"""

import argparse
import json
import shutil
from pathlib import Path

import torch

from .networks import autoencoder, clip, diffusion, unet
from .networks.autoencoder import Autoencoder
from .networks.diffusion import Diffusion
from .networks.tokenizer import END, START, Vocabulary, tokenizer_folder
from .networks.weights import read, write
from .training.loop import device

MAXIMAL_BYTES = 24_000_000
TEXT_PREFIX = "text_model."
PARTS = {"vae": ["diffusers", "AutoencoderKL"], "unet": ["diffusers", "UNet2DConditionModel"],
         "scheduler": ["diffusers", "EulerDiscreteScheduler"], "tokenizer": ["transformers", "CLIPTokenizer"],
         "tokenizer_2": ["transformers", "CLIPTokenizer"], "text_encoder": ["transformers", "CLIPTextModel"],
         "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"], "image_encoder": [None, None],
         "feature_extractor": [None, None]}


def export(vae: Autoencoder, model: Diffusion, vocabulary: Vocabulary, folder: Path) -> int:
    """Writes all of the folder; gives the bytes of its weights."""
    _write_configs(vae, folder)
    write(folder / "vae/diffusion_pytorch_model.safetensors", _half(vae.state_dict()))
    write(folder / "unet/diffusion_pytorch_model.safetensors", _half(model.unet.state_dict()))
    for name, encoder in (("text_encoder", model.text.first), ("text_encoder_2", model.text.second)):
        state = encoder.state_dict()
        embedding = TEXT_PREFIX + "embeddings.token_embedding.weight"
        state[embedding] = vocabulary.expand(state[embedding].cpu())
        write(folder / name / "model.safetensors", _half(state))
    for name in ("tokenizer", "tokenizer_2"):
        source = tokenizer_folder(name)
        if source.resolve() != (folder / name).resolve():
            shutil.copytree(source, folder / name, dirs_exist_ok=True)
    size = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    if size > MAXIMAL_BYTES:
        raise SystemExit(f"The weights have {size:,} bytes, more than {MAXIMAL_BYTES:,}: make the networks narrower.")
    return size


def load(folder: Path) -> tuple[Autoencoder, Diffusion]:
    """An exported folder's networks on the device, with all of CLIP's vocabulary."""
    config = json.loads((folder / "vae/config.json").read_text())
    vae = Autoencoder({"block_out_channels": config["block_out_channels"]})
    vae.load_state_dict(read(folder / "vae/diffusion_pytorch_model.safetensors"))
    model = Diffusion(END + 1, END)
    model.unet.load_state_dict(read(folder / "unet/diffusion_pytorch_model.safetensors"))
    for name, encoder in (("text_encoder", model.text.first), ("text_encoder_2", model.text.second)):
        encoder.load_state_dict(_prefixed(read(folder / name / "model.safetensors")))
    vae, model = (part.to(device(), memory_format=torch.channels_last).eval() for part in (vae, model))
    return vae, model


def _prefixed(state: dict) -> dict:
    """Text encoders' names with the prefix that transformers 5 leaves away, without its constant position ids."""
    named = {name if name.startswith("text_") else TEXT_PREFIX + name: value for name, value in state.items()}
    return {name: value for name, value in named.items() if not name.endswith("position_ids")}


def _half(state: dict) -> dict:
    return {name: value.half() for name, value in state.items()}


def _write_configs(vae: Autoencoder, folder: Path) -> None:
    _json(folder / "model_index.json", {
        "_class_name": "StableDiffusionXLPipeline", "_diffusers_version": "0.42.1",
        "force_zeros_for_empty_prompt": True, **PARTS})
    _json(folder / "caldera.json", {"guidance_scale": diffusion.GUIDANCE, "steps": diffusion.STEPS})
    _json(folder / "scheduler/scheduler_config.json", {
        "_class_name": "EulerDiscreteScheduler", "beta_end": diffusion.BETA_END, "beta_schedule": "scaled_linear",
        "beta_start": diffusion.BETA_START, "interpolation_type": "linear", "num_train_timesteps": diffusion.TIMES,
        "prediction_type": "epsilon", "steps_offset": 1, "timestep_spacing": "leading", "use_karras_sigmas": False})
    levels = len(vae.config["block_out_channels"])
    _json(folder / "vae/config.json", {
        "_class_name": "AutoencoderKL", "act_fn": "silu", "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels, "sample_size": diffusion.PICTURE, "force_upcast": False,
        **vae.config})
    _json(folder / "unet/config.json", {
        "_class_name": "UNet2DConditionModel", "act_fn": "silu", "addition_embed_type": "text_time",
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "mid_block_type": "UNetMidBlock2DCrossAttn", "flip_sin_to_cos": True, "freq_shift": 0,
        "transformer_layers_per_block": [1, 1, 1], "use_linear_projection": True,
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], **unet.CONFIG})
    _json(folder / "text_encoder/config.json", _text_config("CLIPTextModel", clip.FIRST))
    _json(folder / "text_encoder_2/config.json", _text_config("CLIPTextModelWithProjection", clip.SECOND))


def _text_config(name: str, config: dict) -> dict:
    width = config["hidden_size"]
    return {"architectures": [name], "model_type": "clip_text_model", "dtype": "float16", "vocab_size": END + 1,
            "intermediate_size": 4 * width, "num_hidden_layers": clip.LAYERS, "layer_norm_eps": 1e-5,
            "max_position_embeddings": clip.LENGTH, "bos_token_id": 0, "pad_token_id": 1,
            # 2 stands in CLIP's configs for the highest id, not for token 2.
            "eos_token_id": 2, **config, "projection_dim": config["projection_dim"] or clip.SECOND["projection_dim"]}


def _json(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(sorted(value.items())), indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    vae, model, vocabulary = networks(arguments.run)
    print(f"{export(vae, model, vocabulary, arguments.folder):,} bytes of weights in {arguments.folder}")


def networks(run: Path) -> tuple[Autoencoder, Diffusion, Vocabulary]:
    """The averaged networks of a run's checkpoints, with the grammar's vocabulary alone."""
    states = {name: torch.load(run / f"{name}.pt", map_location="cpu", weights_only=True)
              for name in ("vae", "diffusion")}
    vae = Autoencoder(states["vae"].get("config"))
    vae.load_state_dict(states["vae"]["average"])
    vocabulary = Vocabulary(states["diffusion"]["clip_ids"])
    model = Diffusion(vocabulary.size, vocabulary.end)
    model.load_state_dict(states["diffusion"]["average"])
    return vae, model, vocabulary


if __name__ == "__main__":
    main()
