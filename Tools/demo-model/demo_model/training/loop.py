"""The loop of every training: a schedule, an average of the weights, checkpoints that can be resumed at any moment."""

import os
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
import torch
from torch import nn

from .muon import optimizers

WARM_UP = 50
COOL_DOWN = 0.4
SECONDS_BETWEEN_SAVES = 120
SECONDS_BETWEEN_LINES = 30


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def cores() -> int:
    """Parts that a batch is trained in at the same time."""
    return 1 if device().type == "cuda" else os.cpu_count() or 1


def share(batch: int) -> int:
    """Samples of each part; together a little more than `batch` where it does not divide evenly."""
    return -(-batch // cores())


def autocast():
    """bfloat16 on a GPU alone: on a CPU without matrix units its convolutions' gradients take several times as long."""
    return torch.autocast(device().type, torch.bfloat16, enabled=device().type == "cuda")


def save(path: Path, value: object) -> None:
    """Writes beside the file and renames, so that an interruption leaves the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    torch.save(value, unfinished)
    os.replace(unfinished, path)


def load(path: Path) -> dict:
    return torch.load(path, map_location="cpu", weights_only=True)


def streams(seed: int, step: int) -> tuple[random.Random, torch.Generator]:
    """Random numbers of one step. They depend on nothing else, so a resumed training sees what it would have seen."""
    return random.Random(f"{seed}/{step}"), torch.Generator().manual_seed(seed * 1_000_003 + step)


class Training:
    """Trains `model` for `steps` steps; `loss` maps a step's number to a scalar tensor.

    With several `parts`, a step is as many calls of `loss`, numbered on, at the same time, each on one thread: on a CPU
    these networks are too small for the threads of single operators to pay.

    The checkpoint holds the weights, their exponential average (the result), the optimizers' state and the step.
    The rate rises for 50 steps, stays, and falls to zero over the last two fifths; the end may lie wherever a
    resumed training wants it.
    """

    def __init__(self, model: nn.Module, checkpoint: Path, rate: float, averaged: float = 0.999, parts: int = 1):
        self.model, self.checkpoint, self.rate, self.averaged = model, checkpoint, rate, averaged
        self.step, self.parts = 0, parts
        self.pool = ThreadPoolExecutor(parts)
        self.average = {name: value.detach().clone() for name, value in model.state_dict().items()}
        self.optimizers = optimizers(dict(model.named_parameters()), rate, self.pool)
        if checkpoint.exists():
            self._resume(load(checkpoint))

    def run(self, loss: Callable[[int], torch.Tensor], steps: int) -> dict:
        """Trains up to step `steps` and gives the averaged weights."""
        saved = said = time.monotonic()
        losses: list[torch.Tensor] = []
        if self.parts > 1:
            torch.set_num_threads(1)
        while self.step < steps:
            losses.append(self._advance(loss, steps))
            now = time.monotonic()
            if now - said > SECONDS_BETWEEN_LINES:
                said = now
                mean = torch.stack(losses).mean().item()
                print(f"{time.strftime('%H:%M:%S')} {self.checkpoint.stem} step {self.step} loss {mean:.5f}", flush=True)
                losses.clear()
            if now - saved > SECONDS_BETWEEN_SAVES:
                saved = now
                save(self.checkpoint, self.state())
        save(self.checkpoint, self.state())
        return self.average

    def _advance(self, loss, steps: int) -> torch.Tensor:
        rate = self.rate * schedule(self.step, steps)
        value = sum(self.pool.map(lambda part: self._backward(loss, part), range(self.parts)))
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._update_average()
        return value

    def _backward(self, loss, part: int) -> torch.Tensor:
        value = loss(self.step * self.parts + part) / self.parts
        value.backward()
        return value.detach()

    @torch.no_grad()
    def _update_average(self) -> None:
        share = 1 - min(self.averaged, (self.step + 1) / (self.step + 20))
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, share)

    def state(self) -> dict:
        return {"step": self.step, "model": self.model.state_dict(), "average": self.average,
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers]}

    def _resume(self, state: dict) -> None:
        self.model.load_state_dict(state["model"])
        self.step = state["step"]
        for name, value in state["average"].items():
            self.average[name].copy_(value)
        for optimizer, old in zip(self.optimizers, state.get("optimizers", [])):
            optimizer.load_state_dict(old)
        print(f"{self.checkpoint.stem} resumes at step {self.step}", flush=True)


def schedule(step: int, steps: int) -> float:
    """The share of the full learning rate at a step."""
    left = (steps - step) / max(1, COOL_DOWN * steps)
    return min(1.0, (step + 1) / WARM_UP, left)


def psnr(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Signal-to-noise ratio of each picture of two batches in -1...1, in dB."""
    error = ((a.float().clamp(-1, 1) - b.float()) ** 2).flatten(1).mean(1)
    return 10 * torch.log10(4 / error.clamp_min(1e-10))


def as_tensor(pictures: list[numpy.ndarray]) -> torch.Tensor:
    """Pictures [height, width, 3] of bytes as one batch [batch, 3, height, width] in -1...1."""
    batch = torch.from_numpy(numpy.stack(pictures)).to(device())
    return (batch.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
