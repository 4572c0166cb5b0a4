"""Writes the model folder of a family, with formula weights, and the description of it that the repository keeps."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import diffusers
import transformers
from safetensors import safe_open
from safetensors.numpy import save_file

import deterministic_weights
from families import Family

MODEL_FILE = {
    "text_encoder": "model.safetensors",
    "text_encoder_2": "model.safetensors",
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
}

# The keys of the config files in the hub's repository of SD1.5, of the year 2022.
KEYS_OF_2022 = {
    "text_encoder": (
        "architectures attention_dropout bos_token_id dropout eos_token_id hidden_act hidden_size initializer_factor "
        "initializer_range intermediate_size layer_norm_eps max_position_embeddings model_type num_attention_heads "
        "num_hidden_layers pad_token_id projection_dim vocab_size"
    ).split(),
    "unet": (
        "_class_name act_fn attention_head_dim block_out_channels center_input_sample cross_attention_dim "
        "down_block_types downsample_padding flip_sin_to_cos freq_shift in_channels layers_per_block "
        "mid_block_scale_factor norm_eps norm_num_groups out_channels sample_size up_block_types"
    ).split(),
    # scaling_factor came later: 0.18215 is the default of AutoencoderKL.
    "vae": (
        "_class_name act_fn block_out_channels down_block_types in_channels latent_channels layers_per_block "
        "norm_num_groups out_channels sample_size up_block_types"
    ).split(),
}
# The names of the VAE's attention in those files.
ATTENTION_OF_2022 = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}


def write(family: Family, embedded_model: Path, folder: Path, fixture: Path) -> None:
    """Fills `folder` with a model that diffusers can open, and `fixture` with its configs and weight manifests."""
    for component in components(family):
        write_component(family, component, folder / component)
        copy(folder / component / "config.json", fixture / component / "config.json")
        manifest = write_weights(folder / component / MODEL_FILE[component])
        write_manifest(manifest, fixture / component / "weights.json")
    for name, source in family.tokenizers.items():
        shutil.copytree(embedded_model / source, folder / name)
    write_json(model_index(family), folder / "model_index.json")
    write_json(family.scheduler, folder / "scheduler" / "scheduler_config.json")
    for name in ("model_index.json", "scheduler/scheduler_config.json"):
        copy(folder / name, fixture / name)
    write_json(family.tokenizers, fixture / "tokenizers.json")


def components(family: Family) -> list[str]:
    return [name for name in MODEL_FILE if getattr(family, name)]


def component_class(name: str) -> type:
    return {
        "text_encoder": transformers.CLIPTextModel,
        "text_encoder_2": transformers.CLIPTextModelWithProjection,
        "unet": diffusers.UNet2DConditionModel,
        "vae": diffusers.AutoencoderKL,
    }[name]


def write_component(family: Family, name: str, folder: Path) -> None:
    """Saves the component as its library does, then ages it if the family's files are old ones."""
    config = getattr(family, name)
    if name.startswith("text_encoder"):
        model = component_class(name)(transformers.CLIPTextConfig(**config))
    else:
        model = component_class(name)(**config)
    model.save_pretrained(folder)
    rename_tensors(folder / MODEL_FILE[name], lambda tensor: name_on_the_hub(tensor, name, family.files_of_2022))
    saved = json.loads((folder / "config.json").read_text())
    if family.files_of_2022:
        saved = {key: saved[key] for key in KEYS_OF_2022[name] if key in saved}
    saved.pop("_name_or_path", None)
    write_json(saved, folder / "config.json")


def name_on_the_hub(tensor: str, component: str, of_2022: bool) -> str:
    """Every CLIPTextModel on the hub has `text_model.` before its names; transformers 5 saves them without."""
    if component == "text_encoder":
        return tensor if tensor.startswith("text_model.") else "text_model." + tensor
    if of_2022 and component == "vae" and ".attentions." in tensor:
        for new, old in ATTENTION_OF_2022.items():
            tensor = tensor.replace(new, old)
    return tensor


def rename_tensors(path: Path, renamed: Callable[[str], str]) -> None:
    with safe_open(path, "np") as file:
        tensors = {renamed(name): file.get_tensor(name) for name in file.keys()}
    save_file(tensors, path)


def write_weights(path: Path) -> dict[str, list[int]]:
    """Replaces the values of a weight file by the formula's; returns the shapes."""
    with safe_open(path, "np") as file:
        manifest = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}
    save_file(deterministic_weights.component(manifest), path, metadata={"format": "pt"})
    return manifest


def model_index(family: Family) -> dict:
    index = {"_class_name": family.pipeline, "_diffusers_version": diffusers.__version__}
    index |= {key: [None, None] for key in optional_components(family)}
    index |= {name: ["transformers", "CLIPTokenizer"] for name in family.tokenizers}
    for name in components(family):
        library = "transformers" if name.startswith("text_encoder") else "diffusers"
        index[name] = [library, component_class(name).__name__]
    index["scheduler"] = ["diffusers", family.scheduler["_class_name"]]
    return index | family.pipeline_values


def optional_components(family: Family) -> list[str]:
    if family.text_encoder_2 is None:
        return ["safety_checker", "feature_extractor", "image_encoder"]
    missing = [] if family.text_encoder else ["text_encoder", "tokenizer"]
    return missing + ["feature_extractor", "image_encoder"]


def write_json(value: object, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_manifest(manifest: dict[str, list[int]], path: Path) -> None:
    """One line a tensor, so that a difference can be read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{json.dumps(name)}: {json.dumps(manifest[name])}" for name in sorted(manifest, key=str.encode)]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
