"""Muon (Jordan et al., 2024): momentum whose matrices are made orthogonal before they are applied.

Convolutions count as matrices [outputs, inputs x kernel]. Updates have Adam's usual size (0.2 a weight), so one
learning rate serves both kinds of weights. Everything that is no matrix goes to AdamW.
"""

from concurrent.futures import ThreadPoolExecutor

import torch

MOMENTUM = 0.95
WEIGHT_SIZE = 0.2


def optimizers(parameters: dict[str, torch.nn.Parameter], rate: float,
               pool: ThreadPoolExecutor) -> list[torch.optim.Optimizer]:
    """Muon, on the threads of `pool`, for the hidden matrices of named parameters; AdamW for all others."""
    trained = {name: p for name, p in parameters.items() if p.requires_grad}
    matrices = [p for name, p in trained.items() if p.dim() > 1 and "embedding." not in name]
    chosen = {id(p) for p in matrices}
    others = [p for p in trained.values() if id(p) not in chosen]
    chosen_optimizers = [Muon(matrices, rate, pool)]
    if others:  # A LoRA has matrices alone.
        chosen_optimizers.append(torch.optim.AdamW(others, rate, betas=(0.9, 0.99), weight_decay=0))
    return chosen_optimizers


class Muon(torch.optim.Optimizer):
    def __init__(self, parameters, lr: float, pool: ThreadPoolExecutor):
        super().__init__(parameters, {"lr": lr})
        self.pool = pool

    def step(self):
        for group in self.param_groups:
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            for parameter in moved:
                self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
            # The list makes the threads' errors ours.
            list(self.pool.map(lambda parameter: self._move(parameter, group["lr"]), moved))

    @torch.no_grad()
    def _move(self, parameter: torch.nn.Parameter, rate: float) -> None:
        momentum = self.state[parameter]["momentum"]
        momentum.lerp_(parameter.grad, 1 - MOMENTUM)
        matrix = parameter.grad.lerp(momentum, MOMENTUM).flatten(1)
        size = WEIGHT_SIZE * max(matrix.shape) ** 0.5
        parameter.add_(orthogonal(matrix).reshape(parameter.shape), alpha=-rate * size)


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """The nearest matrix with orthonormal rows or columns, roughly: five quintic Newton-Schulz steps.

    A step multiplies x by a polynomial of x xT. Taking the steps on x xT, which is small and square, and multiplying
    x by the product of the polynomials at the end gives the same for half of the work.
    """
    x = matrix.float() / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    square = x @ x.T
    identity = torch.eye(len(square), device=square.device)
    factors = identity
    for _ in range(5):
        factor = 3.4445 * identity - 4.7750 * square + 2.0315 * square @ square
        factors, square = factor @ factors, factor @ square @ factor
    x = factors @ x
    return x.T if tall else x
