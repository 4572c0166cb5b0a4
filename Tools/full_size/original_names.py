"""Where each tensor of a diffusers folder lies in a single file of the original repositories.

The names are those of CompVis' and Stability AI's code (latent-diffusion, generative-models, open_clip), whose modules
are numbered where diffusers' are named.
"""

import math
from dataclasses import dataclass

import configs
from shapes import Shapes

UNET, VAE = "model.diffusion_model.", "first_stage_model."
# Prefix of each text encoder, and whether open_clip's names follow it.
TEXT_PREFIXES = {
    "sd15": {"text_encoder": ("cond_stage_model.transformer.", False)},
    "sd21": {"text_encoder": ("cond_stage_model.model.", True)},
    "sdxl": {
        "text_encoder": ("conditioner.embedders.0.transformer.", False),
        "text_encoder_2": ("conditioner.embedders.1.model.", True)},
    "refiner": {"text_encoder_2": ("conditioner.embedders.0.model.", True)},
}
TEXT_PREFIXES |= {"sd15-inpaint": TEXT_PREFIXES["sd15"], "sd21-base": TEXT_PREFIXES["sd21"]}
TEXT_PREFIXES |= dict.fromkeys(("playground", "playground-512", "playground-256"), TEXT_PREFIXES["sdxl"])


@dataclass
class Place:
    """A tensor of the single file, or a part of its rows."""

    name: str
    shape: list[int]
    # Elements of the tensor before the part.
    offset: int = 0
    transposed: bool = False


def places(arch: str, part: str, shapes: Shapes) -> dict[str, Place]:
    """Where the tensors of a component lie; `shape` of a place is that of the whole tensor there."""
    return {name: place(arch, part, name, shape) for name, shape in shapes.items()}


def place(arch: str, part: str, name: str, shape: list[int]) -> Place:
    if part == "unet":
        return Place(UNET + unet_name(name, configs.UNETS[arch]), shape)
    if part == "vae":
        # The attention's projections are convolutions of size 1 there.
        is_projection = ".attentions." in name and len(shape) == 2
        return Place(VAE + vae_name(name), shape + [1, 1] if is_projection else shape)
    prefix, is_open_clip = TEXT_PREFIXES[arch][part]
    return open_clip_place(prefix, name, shape) if is_open_clip else Place(prefix + name, shape)


# ---------------------------------------------------------------------------------------------------------------------
# UNet.

UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
}
RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}


def unet_name(name: str, config: dict) -> str:
    module, _, parameter = name.rpartition(".")
    if module in UNET_ENDS:
        return f"{UNET_ENDS[module]}.{parameter}"
    words = name.split(".")
    if words[0] == "mid_block":
        block, inner = "middle_block", words[3:]
        number = {"resnets": 2 * int(words[2]), "attentions": 1}[words[1]]
    else:
        block, number, inner = numbered_block(words, config)
    if "resnets" in words:
        inner = [RESNET[inner[0]], *inner[1:]]
    return ".".join([block, str(number), *inner])


def numbered_block(words: list[str], config: dict) -> tuple[str, int, list[str]]:
    """The block, the number of the module in it, and what follows."""
    level, kind, layer = int(words[1]), words[2], int(words[3])
    layers = config["layers_per_block"]
    if words[0] == "down_blocks":
        # Block 0 is conv_in; each level has one block a layer and one for the way down.
        first, name = 1 + level * (layers + 1), "input_blocks"
    else:
        first, name = level * (layers + 1), "output_blocks"
    if kind == "downsamplers":
        return f"{name}.{first + layers}", 0, ["op", *words[5:]]
    if kind == "upsamplers":
        has_attention = config["up_block_types"][level] == configs.CROSS_UP
        return f"{name}.{first + layers}", 2 if has_attention else 1, words[4:]
    return f"{name}.{first + layer}", {"resnets": 0, "attentions": 1}[kind], words[4:]


# ---------------------------------------------------------------------------------------------------------------------
# VAE.

VAE_LEVELS = 4
ATTENTION = {"group_norm": "norm"} | {
    name: original
    for names in (("query", "key", "value", "proj_attn"), ("to_q", "to_k", "to_v", "to_out.0"))
    for name, original in zip(names, ("q", "k", "v", "proj_out"))
}


def vae_name(name: str) -> str:
    words = name.split(".")
    half, block, parameter = words[0], words[1], words[-1]
    if block == "mid_block":
        kind, number, module = words[2], int(words[3]), ".".join(words[4:-1])
        place = f"block_{number + 1}" if kind == "resnets" else "attn_1"
        return f"{half}.mid.{place}.{ATTENTION.get(module, module)}.{parameter}"
    if block not in ("down_blocks", "up_blocks"):
        return name.replace("conv_norm_out", "norm_out")
    level, kind = int(words[2]), words[3]
    # The decoder of the originals counts its levels from the finest.
    place = f"down.{level}" if block == "down_blocks" else f"up.{VAE_LEVELS - 1 - level}"
    if kind != "resnets":
        return f"{half}.{place}.{kind.removesuffix('rs')}.conv.{parameter}"
    module = words[5].replace("conv_shortcut", "nin_shortcut")
    return f"{half}.{place}.block.{words[4]}.{module}.{parameter}"


# ---------------------------------------------------------------------------------------------------------------------
# open_clip.

OPEN_CLIP = {
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
}
OPEN_CLIP_LAYER = {
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
IN_PROJECTION = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")


def open_clip_place(prefix: str, name: str, shape: list[int]) -> Place:
    if name in OPEN_CLIP:
        return Place(prefix + OPEN_CLIP[name], shape)
    if name == "text_projection.weight":
        return Place(prefix + "text_projection", shape[::-1], transposed=True)
    number, _, rest = name.removeprefix("text_model.encoder.layers.").partition(".")
    module, _, parameter = rest.rpartition(".")
    block = f"{prefix}transformer.resblocks.{number}"
    if module not in IN_PROJECTION:
        return Place(f"{block}.{OPEN_CLIP_LAYER[module]}.{parameter}", shape)
    whole = [3 * shape[0], *shape[1:]]
    offset = IN_PROJECTION.index(module) * math.prod(shape)
    return Place(f"{block}.attn.in_proj_{parameter}", whole, offset)
