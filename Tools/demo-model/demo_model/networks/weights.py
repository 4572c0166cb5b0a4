"""Safetensors files, read and written without the package: 8 bytes of length, a JSON header, the tensors."""

import json
from pathlib import Path

import numpy
import torch

TYPES = {"F16": (numpy.float16, torch.float16), "F32": (numpy.float32, torch.float32)}
NAMES = {torch_type: name for name, (_, torch_type) in TYPES.items()}


def read(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a file of F16 and F32 tensors, as float32."""
    data = Path(path).read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        values = numpy.frombuffer(data[start:end], TYPES[entry["dtype"]][0]).reshape(entry["shape"])
        tensors[name] = torch.from_numpy(values.astype(numpy.float32))
    return tensors


def write(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    """Writes tensors in the order of their names; the header is padded with blanks to a multiple of 8 bytes."""
    header: dict = {"__metadata__": metadata or {"format": "pt"}}
    offset, parts = 0, []
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        part = tensor.numpy().tobytes()
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape),
                        "data_offsets": [offset, offset + len(part)]}
        offset += len(part)
        parts.append(part)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))
