"""Guards against goldens that would prove nothing or could not be met."""

from pathlib import Path

import torch
from safetensors.torch import load_file

import folders
import record
from families import OTHER_PROMPT, Case


def relative_l2(value: torch.Tensor, reference: torch.Tensor) -> float:
    return ((value.double() - reference.double()).norm() / reference.double().norm()).item()


def check_loaded(pipe, folder: Path) -> None:
    """Nothing was left at its random initial value: the loaded tensors are those of the files, whatever their names."""
    for component, file in folders.MODEL_FILE.items():
        model = getattr(pipe, component, None)
        if model is None:
            continue
        written = sorted(value.double().sum().item() for value in load_file(folder / component / file).values())
        loaded = sorted(value.double().sum().item() for value in model.state_dict().values())
        if written != loaded:
            raise SystemExit(f"{component}: what diffusers loaded is not what the file holds")


def check_case(name: str, pipe, case: Case, reference: torch.Tensor) -> None:
    """The text must matter, ten times as much as the test of fp32 forgives, and the result must not be chaotic: a run
    in fp16 stays well within the 5e-2 that the test of fp16 forgives. Leaves the pipeline in fp16."""
    other = relative_l2(record.latents(pipe, case, prompt=OTHER_PROMPT), reference)
    half = relative_l2(record.latents(pipe.to(torch.float16), case, given_noise=True), reference)
    print(f"{name}: latents std {reference.std():.3f}; another prompt moves them by {other:.2e}, fp16 by {half:.2e}")
    if other < 1e-2:
        raise SystemExit(f"{name}: the prompt hardly matters to the latents ({other:.2e})")
    if not half < 2.5e-2:
        raise SystemExit(f"{name}: fp16 moves the latents by {half:.2e}")
