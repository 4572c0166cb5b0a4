"""Writes a model as a diffusers folder."""

import json
import math
import shutil
from pathlib import Path

import numpy as np

import configs
from shapes import Shapes
from weights import Normals, TensorFile, components, values

POSITION_IDS = "text_model.embeddings.position_ids"


def write(arch: str, folder: Path, normals: Normals, shards: int, tokenizers: Path) -> None:
    for name, (config, shapes, stem) in components(arch).items():
        write_json(folder / name / "config.json", config)
        position_ids = arch.startswith("sd15") and name == "text_encoder"
        write_component(folder / name, stem, shapes, normals, shards if name == "unet" else 1, position_ids)
    write_json(folder / "scheduler/scheduler_config.json", configs.SCHEDULERS[arch])
    write_json(folder / "model_index.json", configs.model_index(arch))
    for name in configs.TEXT_ENCODERS[arch]:
        # SD2.x pads with "!", as tokenizer_2 does.
        source = "tokenizer_2" if name == "text_encoder_2" or arch.startswith("sd21") else "tokenizer"
        shutil.copytree(tokenizers / source, folder / name.replace("text_encoder", "tokenizer"))


def write_component(folder: Path, stem: str, shapes: Shapes, normals: Normals, shards: int, position_ids: bool) -> None:
    shapes = {name: shapes[name] for name in sorted(shapes)}
    if shards == 1:
        write_tensors(folder / f"{stem}.safetensors", shapes, normals, position_ids)
        return
    weight_map, total = {}, 0
    for number, part in enumerate(split(shapes, shards), start=1):
        file = f"{stem}-{number:05}-of-{shards:05}.safetensors"
        total += write_tensors(folder / file, part, normals)
        weight_map |= {name: file for name in part}
    write_json(
        folder / f"{stem}.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})


def write_tensors(path: Path, shapes: Shapes, normals: Normals, position_ids: bool = False) -> int:
    """Returns the size of the tensors in bytes."""
    tensors = {POSITION_IDS: ("int64", [1, 77])} if position_ids else {}
    tensors |= {name: (normals.dtype.name, shape) for name, shape in shapes.items()}
    with TensorFile(path, tensors) as file:
        if position_ids:
            file.fill(POSITION_IDS, [np.arange(77, dtype="<i8").tobytes()])
        for name, shape in shapes.items():
            file.fill(name, values(name, shape, normals))
    return file.size


def split(shapes: Shapes, shards: int) -> list[Shapes]:
    """Consecutive parts of about equal size."""
    total = sum(math.prod(shape) for shape in shapes.values())
    parts: list[Shapes] = [{} for _ in range(shards)]
    done = 0
    for name, shape in shapes.items():
        parts[min(done * shards // total, shards - 1)][name] = shape
        done += math.prod(shape)
    return parts


def write_json(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")
