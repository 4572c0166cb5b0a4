"""Weights that a formula gives, so that a test can make them again instead of reading them from a file.

The rule (Tests/CalderaTestSupport/DeterministicWeights.swift follows the same one): the tensor names of a component,
as its file on disk has them, are sorted by bytes; k is a name's index in that order, i the row-major index of an
element. In float64, then rounded to float32:

    rank 1, name ends with "weight" (a norm's gain)   1 + 0.1 sin(0.7 i + k)
    rank 1, any other (a bias)                        0.1 cos(0.3 i + k)
    rank 2 and more                                   u sqrt(3 / prod(shape[1:])), u uniform in [-1, 1)

with u = 2^-52 (h >> 11) - 1, h the SplitMix64 finaliser (Steele, Lea and Flood 2014) of i + 2^32 k + 0x9E3779B97F4A7C15.
Weights of unit gain without structure keep a network well conditioned: with a plain wave in place of u, PyTorch's own
bf16 decoder was 17 % off its fp32 one.
"""

import math

import numpy as np


def tensor(name: str, shape: list[int], k: int) -> np.ndarray:
    """The values of one tensor, float32."""
    i = np.arange(math.prod(shape), dtype=np.int64)
    if len(shape) == 1:
        values = 1 + 0.1 * np.sin(0.7 * i + k) if name.endswith("weight") else 0.1 * np.cos(0.3 * i + k)
    else:
        values = uniform(i.astype(np.uint64), k) * math.sqrt(3 / math.prod(shape[1:]))
    return values.astype(np.float32).reshape(shape)


def uniform(i: np.ndarray, k: int) -> np.ndarray:
    """u of the rule, float64."""
    h = i + np.uint64((k << 32) + 0x9E3779B97F4A7C15)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    h ^= h >> np.uint64(31)
    return (h >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1


def component(manifest: dict[str, list[int]]) -> dict[str, np.ndarray]:
    """Every tensor of a component whose manifest maps names to shapes."""
    names = sorted(manifest, key=lambda name: name.encode())
    return {name: tensor(name, manifest[name], k) for k, name in enumerate(names)}
