#!/usr/bin/env python3
"""Makes Tests/CalderaDiffusionTests/Fixtures/noise.json: draws of torch's CUDA generator, and the web UI's variations.

No GPU is needed: torch's CUDA kernel (`distribution_nullary_kernel` with `curand_normal4`) is repeated thread by thread
for a given number of GPU threads. The core was checked with Random123's known answers, small draws with the vectors that
the web UI documents. Values are little-endian fp32 in base64, all draws of a stream after one another.
"""

import base64
import json
import pathlib

import numpy as np
import torch

FIXTURE = pathlib.Path(__file__).parents[2] / "Tests/CalderaDiffusionTests/Fixtures/noise.json"
# Seed, GPU threads, sizes of consecutive draws. 40 multiprocessors of 1024 threads are a T4.
STREAMS = (
    (0, None, [12, 4]), (42, None, [1, 300, 7]), (2**33 + 7, None, [5, 5, 1000]), (2**64 - 1, None, [3, 4]),
    (1234, 256, [300, 2000, 5]), (1234, 512, [512, 513, 4096, 3]), (7, 40 * 1024, [1024, 256]),
)
# Seed, other seed, strength, shape.
VARIATIONS = (
    (1234, 42, 0.1, (4, 6, 8)), (1234, 42, 0.5, (4, 5, 7)), (7, 8, 1.0, (4, 8, 8)), (7, 8, 0.75, (16, 9, 4)),
    # The same seed on both sides: no angle.
    (7, 7, 0.3, (4, 8, 8)),
)
UNROLL, BLOCK = 4, 256


def philox(counter: list[np.ndarray], seed: int) -> list[np.ndarray]:
    """Philox4x32-10 of uint64 arrays that hold 32-bit words."""
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        first, second = counter[0] * np.uint64(0xD2511F53), counter[2] * np.uint64(0xCD9E8D57)
        low = np.uint64(0xFFFFFFFF)
        counter = [
            (second >> np.uint64(32)) ^ counter[1] ^ np.uint64(key[0]), second & low,
            (first >> np.uint64(32)) ^ counter[3] ^ np.uint64(key[1]), first & low]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return counter


def box_muller(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inverse = np.float32(2.3283064e-10)
    turn = np.float32(2.3283064e-10 * 6.2831855)
    u = left.astype(np.float32) * inverse + inverse / np.float32(2)
    v = right.astype(np.float32) * turn + turn / np.float32(2)
    radius = np.sqrt(np.float32(-2) * np.log(u))
    return radius * np.sin(v), radius * np.cos(v)


def randn(seed: int, threads: int | None, offset: int, numel: int) -> tuple[np.ndarray, int]:
    """One call; the offset is counted in blocks of four words, as Philox's counter is."""
    grid = -(-numel // BLOCK)
    if threads is not None:
        grid = min(grid, threads // BLOCK)
    total = grid * BLOCK
    rounds = (numel - 1) // (total * UNROLL) + 1
    result = np.zeros(rounds * UNROLL * total, np.float32)
    thread = np.arange(total, dtype=np.uint64)
    for number in range(rounds):
        zeros = np.zeros(total, np.uint64)
        words = philox([zeros + np.uint64(offset + number), zeros, thread, zeros], seed)
        four = [*box_muller(words[0], words[1]), *box_muller(words[2], words[3])]
        for part in range(UNROLL):
            start = (number * UNROLL + part) * total
            result[start:start + total] = four[part]
    return result[:numel], offset + rounds


def stream(seed: int, threads: int | None, sizes: list[int]) -> dict:
    offset, draws = 0, []
    for size in sizes:
        values, offset = randn(seed, threads, offset, size)
        draws.append(values)
    return {"seed": str(seed), "threads": threads, "sizes": sizes, "values": encoded(np.concatenate(draws))}


def slerp(strength: float, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """The web UI's, on [channels, height, width]."""
    unit_low = low / torch.linalg.vector_norm(low, dim=1, keepdim=True)
    unit_high = high / torch.linalg.vector_norm(high, dim=1, keepdim=True)
    cosine = (unit_low * unit_high).sum(1)
    if cosine.mean() > 0.9995:
        return low * strength + high * (1 - strength)
    angle = torch.acos(cosine)[:, None]
    return (torch.sin((1 - strength) * angle) * low + torch.sin(strength * angle) * high) / torch.sin(angle)


def variation(seed: int, other: int, strength: float, shape: tuple[int, int, int]) -> dict:
    noise, foreign = (torch.randn(shape, generator=torch.Generator().manual_seed(value)) for value in (seed, other))
    mixed = slerp(strength, noise, foreign)
    return {
        "seed": seed, "other": other, "strength": strength, "shape": list(shape), "values": encoded(mixed.numpy())}


def encoded(values: np.ndarray) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def main() -> None:
    golden = {
        "streams": [stream(*entry) for entry in STREAMS], "variations": [variation(*entry) for entry in VARIATIONS]}
    FIXTURE.write_text(json.dumps(golden, indent=1) + "\n")
    print(f"{FIXTURE}: {FIXTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
