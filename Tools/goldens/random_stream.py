#!/usr/bin/env python3
"""Makes Tests/CalderaDiffusionTests/Fixtures/random.json: what torch.randn draws on the CPU in fp32.

Each stream is a seed and the sizes of its consecutive draws, which share one generator. Seeds are strings because
JSON numbers do not hold 64 bits everywhere; values are little-endian fp32 in base64, all draws after one another.
"""

import base64
import json
import pathlib

import torch

FIXTURE = pathlib.Path(__file__).parents[2] / "Tests/CalderaDiffusionTests/Fixtures/random.json"
SEEDS = (0, 42, 1234, 2**32 - 1, 2**32 + 5, 2**63)
# One draw each, then mixtures: the spare normal of an odd small draw must survive the large draws between.
SIZES = ([1], [5], [15], [16], [17], [20], [31], [1, 1, 1], [3, 16, 2, 20, 1], [17, 5, 33, 4], [0, 7, 640, 1])
LARGE = ((42, [1024]), (2**63, [1024]), (42, [16384]))


def stream(seed, sizes):
    generator = torch.Generator("cpu").manual_seed(seed)
    values = torch.cat([torch.randn(size, generator=generator) for size in sizes])
    text = base64.b64encode(values.numpy().astype("<f4").tobytes()).decode()
    return {"seed": str(seed), "sizes": sizes, "values": text}


def main():
    streams = [stream(seed, sizes) for seed in SEEDS for sizes in SIZES]
    streams += [stream(seed, sizes) for seed, sizes in LARGE]
    lines = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in streams)
    FIXTURE.parent.mkdir(parents=True, exist_ok=True)
    FIXTURE.write_text(f'{{"torch":"{torch.__version__.split("+")[0]}","streams":[\n{lines}\n]}}\n')
    print(f"{FIXTURE}: {len(streams)} streams, {FIXTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
