"""Weights that a formula gives, so that a test can make them again instead of reading them from a file.

The rule (Tests/CalderaTestSupport/DeterministicWeights.swift follows the same one): the tensor names of a component,
as its file on disk has them, are sorted by bytes; k is a name's index in that order, i the row-major index of an
element. In float64, then rounded to float32:

    rank 1, name ends with "weight" (a norm's gain)   1 + 0.1 sin(0.7 i + k)
    rank 1, any other (a bias)                        0.1 cos(0.3 i + k)
    rank 2 and more                                   sin(0.1 ((7919 i + 104729 k) mod 10007)) / sqrt(prod(shape[1:]))
"""

import math

import numpy as np

PERIOD = 10007
WAVE = np.sin(0.1 * np.arange(PERIOD, dtype=np.float64))


def tensor(name: str, shape: list[int], k: int) -> np.ndarray:
    """The values of one tensor, float32."""
    i = np.arange(math.prod(shape), dtype=np.int64)
    if len(shape) == 1:
        values = 1 + 0.1 * np.sin(0.7 * i + k) if name.endswith("weight") else 0.1 * np.cos(0.3 * i + k)
    else:
        values = WAVE[(i * 7919 + k * 104729) % PERIOD] / math.sqrt(math.prod(shape[1:]))
    return values.astype(np.float32).reshape(shape)


def component(manifest: dict[str, list[int]]) -> dict[str, np.ndarray]:
    """Every tensor of a component whose manifest maps names to shapes."""
    names = sorted(manifest, key=lambda name: name.encode())
    return {name: tensor(name, manifest[name], k) for k, name in enumerate(names)}
