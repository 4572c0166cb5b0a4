"""Adapters for the tiny models of families.py, merged by diffusers' own load_lora_weights and fuse_lora."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import diffusers
import torch
from safetensors.torch import save_file

import deterministic_weights
import folders
from families import FAMILIES

RANK = 3
SAMPLES = 24
# Coprime to every count of elements here, so that the sample walks through the whole weight.
STRIDE = 7919
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
TEXT = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


@dataclass
class Case:
    name: str
    family: str
    # How a component's layer is called in the file: a function of the component and the layer's path.
    prefix: callable
    suffixes: tuple[str, str]
    # Ends of the UNet's layers that the adapter has.
    layers: tuple[str, ...]
    # diffusers loses alphas that differ between the attention layers of a UNet: all are the same.
    alpha: float | None = 2.0
    text: bool = True
    weight: float = 0.8
    metadata: dict[str, str] = field(default_factory=dict)


def underscored(path: str) -> str:
    return path.replace(".", "_")


def kohya_sd1(component: str, path: str) -> str:
    if component == "unet":
        return "lora_unet_" + underscored(path)
    return "lora_te_text_model_" + underscored(path.removeprefix("text_model."))


def kohya_sdxl(component: str, path: str) -> str:
    """The UNet by the names of generative-models, whose blocks for this tiny model are counted here: three levels of
    two layers, the last two with attention."""
    if component != "unet":
        number = 1 if component == "text_encoder" else 2
        return f"lora_te{number}_text_model_" + underscored(path.removeprefix("text_model."))
    ends = {
        "conv_in": "input_blocks_0_0", "conv_out": "out_2", "time_embedding.linear_1": "time_embed_0",
        "time_embedding.linear_2": "time_embed_2", "add_embedding.linear_1": "label_emb_0_0",
        "add_embedding.linear_2": "label_emb_0_2",
    }
    if path in ends:
        return "lora_unet_" + ends[path]
    side, *rest = path.split(".")
    if side == "mid_block":
        kind, index, *rest = rest
        block = "middle_block_1" if kind == "attentions" else f"middle_block_{2 * int(index)}"
    else:
        level, kind, index, *rest = rest
        level, index = int(level), int(index)
        if side == "down_blocks":
            number = {"downsamplers": 3}.get(kind, 1 + index) + 3 * level
            block = f"input_blocks_{number}_{1 if kind == 'attentions' else 0}"
            rest = ["op"] if kind == "downsamplers" else rest
        else:
            number = 3 * level + (2 if kind == "upsamplers" else index)
            place = {"resnets": 0, "attentions": 1, "upsamplers": 2}[kind]
            block = f"output_blocks_{number}_{place}"
    inner = {
        "conv1": "in_layers_2", "conv2": "out_layers_3", "time_emb_proj": "emb_layers_1",
        "conv_shortcut": "skip_connection",
    }
    return "_".join(["lora_unet", block] + [inner.get(part, part) for part in rest])


def peft(component: str, path: str) -> str:
    return f"{component}.{path if component == 'unet' else 'text_model.' + path.removeprefix('text_model.')}"


def processor(component: str, path: str) -> str:
    parent, _, end = path.rpartition(".")
    if path.endswith("to_out.0"):
        parent, end = path.removesuffix(".to_out.0"), "to_out"
    return f"{component}.{parent}.processor.{end}_lora"


KOHYA = (".lora_down.weight", ".lora_up.weight")
PEFT = (".lora_A.weight", ".lora_B.weight")
CONVOLUTIONS = ("conv1", "conv2", "conv_shortcut", "time_emb_proj", "downsamplers.0.conv", "upsamplers.0.conv")
OTHERS = ("proj_in", "proj_out", "ff.net.0.proj", "ff.net.2")
ENDS = ("conv_in", "conv_out", "time_embedding.linear_1", "add_embedding.linear_2")
CASES = [
    Case("sd15_kohya", "sd15", kohya_sd1, KOHYA, ATTENTION + OTHERS + CONVOLUTIONS + ENDS),
    Case("sdxl_kohya", "sdxl", kohya_sdxl, KOHYA, ATTENTION + OTHERS + CONVOLUTIONS + ENDS),
    Case("sdxl_kohya_diffusers", "sdxl", kohya_sd1, KOHYA, ATTENTION + OTHERS, text=False, weight=-0.5),
    Case(
        "sdxl_peft", "sdxl", peft, PEFT, ATTENTION + OTHERS + ("conv1",), alpha=None, weight=1.0,
        metadata={
            f"{component}.{key}": value
            for component, targets in (
                ("unet", ATTENTION + OTHERS + ("conv1",)), ("text_encoder", TEXT), ("text_encoder_2", TEXT))
            for key, value in {"r": RANK, "lora_alpha": 2 * RANK, "target_modules": targets}.items()
        }),
    Case(
        "sd15_processor", "sd15", processor, (".down.weight", ".up.weight"), ATTENTION, alpha=None,
        text=False),
]


def write(folder: Path, embedded_model: Path, temporary: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    merged = {}
    for case in CASES:
        model = temporary / case.family
        if not model.exists():
            family = next(family for family in FAMILIES if family.name == case.family)
            folders.write(family, embedded_model, model, temporary / "fixtures" / case.family)
        merged |= fuse(case, model, folder, temporary / f"{case.name}.safetensors")
    save_file(merged, folder / "merged.safetensors")


def fuse(case: Case, model: Path, folder: Path, file: Path) -> dict[str, torch.Tensor]:
    pipe = diffusers.DiffusionPipeline.from_pretrained(model, dtype=torch.float32, low_cpu_mem_usage=False)
    before = weights(pipe)
    manifest = adapter(case, before)
    tensors = {name: torch.from_numpy(value) for name, value in deterministic_weights.component(manifest).items()}
    metadata = {"lora_adapter_metadata": json.dumps(case.metadata, sort_keys=True)} if case.metadata else {}
    if case.alpha is not None:
        for name in manifest:
            if name.endswith(case.suffixes[0]):
                tensors[name.removesuffix(case.suffixes[0]) + ".alpha"] = torch.tensor(case.alpha)
    save_file(tensors, file, metadata=metadata or None)
    pipe.load_lora_weights(file.parent, weight_name=file.name)
    pipe.fuse_lora(lora_scale=case.weight, components=[name for name in components(pipe)])
    pipe.unload_lora_weights()
    result = {}
    for name, value in weights(pipe).items():
        if torch.equal(value, before[name]):
            continue
        flat = value.detach().flatten()
        places = [index * STRIDE % flat.numel() for index in range(SAMPLES)]
        component, _, weight = name.partition("/")
        stored = folders.name_on_the_hub(weight, component, False)
        result[f"{case.name}/{component}/{stored}"] = flat[places].clone()
    layers = sum(1 for name in manifest if name.endswith(case.suffixes[0]))
    if len(result) != layers:
        raise SystemExit(f"{case.name}: diffusers changed {len(result)} weights with an adapter of {layers} layers")
    manifest_file = folder / f"{case.name}.json"
    described = {
        "family": case.family, "weight": case.weight, "alpha": case.alpha, "metadata": metadata, "tensors": manifest}
    manifest_file.write_text(json.dumps(described, indent=1, sort_keys=True) + "\n")
    print(f"{case.name}: {layers} layers", flush=True)
    return result


def components(pipe) -> list[str]:
    return [name for name in ("unet", "text_encoder", "text_encoder_2") if getattr(pipe, name, None) is not None]


def weights(pipe) -> dict[str, torch.Tensor]:
    return {
        f"{component}/{name}": value.detach().clone()
        for component in components(pipe) for name, value in getattr(pipe, component).state_dict().items()}


def adapter(case: Case, base: dict[str, torch.Tensor]) -> dict[str, list[int]]:
    """The names and shapes of the case's tensors."""
    manifest = {}
    for key, value in base.items():
        component, _, name = key.partition("/")
        path = name.removesuffix(".weight")
        ends = case.layers if component == "unet" else (TEXT if case.text else ())
        if path == name or value.dim() < 2 or not any(path == end or path.endswith("." + end) for end in ends):
            continue
        layer = case.prefix(component, path)
        out, width, *kernel = value.shape
        manifest[layer + case.suffixes[0]] = [RANK, width, *kernel]
        manifest[layer + case.suffixes[1]] = [out, RANK, *[1] * len(kernel)]
    assert all(math.prod(shape) % STRIDE for shape in manifest.values())
    return manifest
