"""Random values that keep activations near unit scale, and safetensors files written tensor by tensor."""

import json
import math
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

import configs
from shapes import Shapes, clip_shapes, unet_shapes, vae_shapes

# The last matrix of a residual branch: what it adds stays a fraction of what it is added to.
BRANCH_ENDS = (
    ".conv2.weight", ".to_out.0.weight", ".ff.net.2.weight", ".proj_out.weight", ".proj_attn.weight",
    ".out_proj.weight", ".fc2.weight",
)
BRANCH_SCALE = 0.3
STORED = {"float16": "F16", "float32": "F32", "int32": "I32", "int64": "I64"}


class Normals:
    """Normal numbers from one block that is drawn once and then read again and again, each time from another place."""

    LENGTH = (1 << 22) + 15

    def __init__(self, seed: int, dtype: str):
        self.generator = np.random.default_rng(seed)
        self.block = self.generator.standard_normal(self.LENGTH, dtype=np.float32)
        self.dtype = np.dtype(dtype)

    def chunks(self, count: int, deviation: float) -> Iterator[bytes]:
        start = int(self.generator.integers(self.LENGTH))
        while count > 0:
            piece = self.block[start:start + count]
            yield (piece * np.float32(deviation)).astype(self.dtype).tobytes()
            count -= len(piece)
            start = 0


def values(name: str, shape: list[int], normals: Normals) -> Iterator[bytes]:
    """The bytes of the tensor that diffusers or transformers call `name`. Tensors must be asked for in one order, that
    of `components` and then of the names, for the same seed to give the same weights."""
    count = math.prod(shape)
    if len(shape) == 1:
        yield np.full(count, 1 if name.endswith("weight") else 0, normals.dtype).tobytes()
    elif "embedding." in name and name.startswith("text_model."):
        yield from normals.chunks(count, 0.5)
    else:
        scale = BRANCH_SCALE if name.endswith(BRANCH_ENDS) else 1
        yield from normals.chunks(count, scale / math.sqrt(math.prod(shape[1:])))


def components(arch: str) -> dict[str, tuple[dict, Shapes, str]]:
    """Config, tensor shapes and file stem of every component; stops when a parameter count is not the original's."""
    parts = {
        name: (config, clip_shapes(config), "model") for name, config in configs.TEXT_ENCODERS[arch].items()}
    unet, vae = configs.UNETS[arch], configs.vae_config(arch)
    parts["unet"] = (unet, unet_shapes(unet), "diffusion_pytorch_model")
    parts["vae"] = (vae, vae_shapes(vae, arch in configs.FIRST_GENERATION), "diffusion_pytorch_model")
    for name, (_, shapes, _) in parts.items():
        count, expected = sum(math.prod(shape) for shape in shapes.values()), configs.PARAMETERS[arch][name]
        if count != expected:
            raise SystemExit(f"{arch} {name}: {count:,} parameters where the original has {expected:,}")
    return parts


class TensorFile:
    """A safetensors file that is laid out first and then filled in any order, with little in memory."""

    def __init__(self, path: Path, tensors: dict[str, tuple[str, list[int]]]):
        """`tensors` maps each name to NumPy's name of its type, and its shape, in the order of the file."""
        header: dict = {"__metadata__": {"format": "pt"}}
        self.begins: dict[str, int] = {}
        end = 0
        for name, (dtype, shape) in tensors.items():
            begin, end = end, end + math.prod(shape) * np.dtype(dtype).itemsize
            self.begins[name] = begin
            header[name] = {"dtype": STORED[dtype], "shape": shape, "data_offsets": [begin, end]}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self.size = end
        self.start = 8 + len(text)
        self.file = path.open("wb")
        self.file.write(struct.pack("<Q", len(text)) + text)
        self.file.truncate(self.start + end)

    def __enter__(self) -> "TensorFile":
        return self

    def __exit__(self, *error) -> None:
        self.file.close()

    def fill(self, name: str, chunks: Iterable[bytes], offset: int = 0) -> None:
        """Writes the bytes of a tensor, or a part of them from byte `offset` on."""
        self.file.seek(self.start + self.begins[name] + offset)
        for chunk in chunks:
            self.file.write(chunk)
