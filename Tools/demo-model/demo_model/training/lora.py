"""Trains a LoRA that draws everything with thick black outlines, and writes it in kohya's form.

    python -m demo_model.training.lora RUN FOLDER OUT.safetensors --steps N

It is trained against the exported FOLDER on RUN's outlined latents, on the UNet's attention alone.
"""

import argparse
from pathlib import Path

import torch
from torch import nn

from ..folder import load as load_folder
from ..networks.diffusion import Diffusion
from ..networks.tokenizer import END, START
from ..networks.weights import write
from .diffusion import Latents, Loss
from .loop import Training, cores, device, share

RANK = 8
PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")


class Adapted(nn.Module):
    """A frozen linear layer plus a product of rank 8."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.down = nn.Linear(linear.in_features, RANK, bias=False)
        self.up = nn.Linear(RANK, linear.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x):
        return self.linear(x) + self.up(self.down(x))


def adapt(model: Diffusion) -> nn.ModuleDict:
    """Puts adapters into the UNet and gives them by kohya's names."""
    model.requires_grad_(False)
    adapters = {}
    names = [name for name, part in model.unet.named_modules() if isinstance(part, nn.Linear)]
    for name in names:
        if "attentions" in name and name.endswith(PROJECTIONS):
            parent, _, child = name.rpartition(".")
            adapter = Adapted(model.unet.get_submodule(name))
            model.unet.get_submodule(parent).register_module(child, adapter)
            adapters["lora_unet_" + name.replace(".", "_")] = adapter
    return nn.ModuleDict(adapters)


class ClipRows:
    """Stands in for a vocabulary where rows are CLIP's own ids. Unknown words are the asterisk's."""

    UNKNOWN, start, end = 9, START, END


class ClipLatents(Latents):
    """Latents whose rows of the grammar's vocabulary are turned back into CLIP's ids."""

    def __init__(self, run: Path):
        super().__init__(run, "outlined")
        ids = torch.tensor([0, ClipRows.UNKNOWN, *self.clip_ids, START, END])
        self.rows = ids[self.rows.long()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch", type=int, default=16 if device().type == "cpu" else 256)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    _, model = load_folder(arguments.folder)
    adapters = adapt(model).to(device())
    loss = Loss(model, ClipRows(), ClipLatents(arguments.run), share(arguments.batch))
    # The frozen layers are parts of the adapters, so that the checkpoint holds them too; only the rest is written.
    Training(adapters, arguments.run / "lora.pt", 2e-3, 0.99, cores()).run(loss, arguments.steps)
    write(arguments.out, kohya(adapters), {
        "ss_network_module": "networks.lora", "ss_network_dim": str(RANK), "ss_network_alpha": str(RANK),
        "ss_base_model_version": "sdxl_base_v1-0", "ss_output_name": arguments.out.stem})
    print(f"{arguments.out}: {arguments.out.stat().st_size:,} bytes")


def kohya(adapters: nn.ModuleDict) -> dict[str, torch.Tensor]:
    tensors = {}
    for name, adapter in adapters.items():
        tensors[f"{name}.lora_down.weight"] = adapter.down.weight.half()
        tensors[f"{name}.lora_up.weight"] = adapter.up.weight.half()
        tensors[f"{name}.alpha"] = torch.tensor(float(RANK)).half()
    return tensors


if __name__ == "__main__":
    main()
