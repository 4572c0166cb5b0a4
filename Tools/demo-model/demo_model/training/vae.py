"""Trains the autoencoder on whole renders; can start from a narrower one and stay near its latents.

    python -m demo_model.training.vae RUN --steps N [--start VAE.safetensors] [--stay 0.5 | --decoder-only]

With `--decoder-only` the encoder stays as it is, and with it the latents: a UNet that knows them needs no training.
"""

import argparse
import copy
import random
from functools import partial
from pathlib import Path

import numpy
import torch
import torch.nn.functional as F

from ..networks.autoencoder import Autoencoder, CONFIG, widen
from ..networks.weights import read
from ..pictures import MOSTLY_OBJECTS, sample
from .ahead import Ahead
from .latents import OUTLINE
from .loop import Training, as_tensor, autocast, cores, device, psnr, share, streams

SEED = 1
UNSEEN_SEED = 990_001
OUTLINED = 0.08


def rendered(batch: int, step: int) -> list[numpy.ndarray]:
    """A step's pictures, each [128, 128, 3] of bytes."""
    rng, _ = streams(SEED, step)
    return [sample(rng, OUTLINE if rng.random() < OUTLINED else 0, MOSTLY_OBJECTS).pixels for _ in range(batch)]


class Loss:
    """Root mean square error of each picture, of its edges, and, where the encoder learns, its latents' size or way."""

    def __init__(self, vae: Autoencoder, old: Autoencoder | None, batch: int, stay: float, noise: float = 0.03):
        self.vae, self.old, self.stay, self.noise = vae, old, stay, noise
        self.rendered = Ahead(partial(rendered, batch))

    def __call__(self, step: int) -> torch.Tensor:
        _, generator = streams(SEED, step)
        pictures = as_tensor(self.rendered(step))
        with autocast():
            mean, log_variance = self.vae.encode(pictures)
            scale = self.vae.config["scaling_factor"]
            noise = torch.randn(mean.shape, generator=generator).to(mean) * self.noise / scale
            decoded = self.vae.decode(mean + noise)
        loss = self._error(decoded.float() - pictures)
        if not mean.requires_grad:
            return loss
        loss = loss + 1e-4 * (log_variance.float() + 6).square().mean()
        return loss + self._departure(pictures, mean.float() * scale)

    @staticmethod
    def _error(error):
        rows, columns = error[..., 1:, :] - error[..., :-1, :], error[..., 1:] - error[..., :-1]
        root = (error.square().mean((1, 2, 3)) + 1e-5).sqrt().mean()
        return root + 0.15 * (rows.abs().mean() + columns.abs().mean())

    def _departure(self, pictures, latents):
        if self.old is None:  # Latents of size one are what the noise schedule expects.
            return 1e-3 * (latents.square().mean() - 1).square() + 1e-3 * latents.mean((0, 2, 3)).square().sum()
        with torch.no_grad(), autocast():
            old = self.old.latents(pictures).float()
        return self.stay * (latents - old).square().mean()


@torch.no_grad()
def evaluate(vae: Autoencoder, count: int = 256) -> dict:
    """Reconstruction of renders that no training sees, their seed being apart, and how far fp16 is from fp32."""
    rng, ratios, errors = random.Random(UNSEEN_SEED), [], []
    for _ in range(count // 32):
        pictures = as_tensor([sample(rng).pixels for _ in range(32)])
        decoded = vae.decode(vae.encode(pictures)[0])
        ratios.append(psnr(decoded, pictures))
        errors.append((decoded.clamp(-1, 1) - pictures).square().mean())
    pooled = 10 * torch.log10(4 / torch.stack(errors).mean())
    return {"psnr": round(torch.cat(ratios).mean().item(), 2), "psnr_of_mean_error": round(pooled.item(), 2),
            "largest_fp16_difference": round(half_difference(vae, pictures[:8]), 5)}


def half_difference(vae: Autoencoder, pictures: torch.Tensor) -> float:
    """The largest difference between decoding in fp16 and in fp32, both with weights that fp16 can hold."""
    half = copy.deepcopy(vae).half()
    codes = vae.encode(pictures)[0].half()
    return (half.decode(codes).float() - half.float().decode(codes.float())).abs().max().item()


def stored(path: Path) -> Autoencoder:
    """The autoencoder of a file, whose levels may be narrower than `CONFIG` has them."""
    state = read(path)
    levels = range(len(CONFIG["block_out_channels"]))
    widths = [len(state[f"encoder.down_blocks.{level}.resnets.0.conv2.bias"]) for level in levels]
    vae = Autoencoder({"block_out_channels": widths})
    vae.load_state_dict(state)
    return vae.to(device(), memory_format=torch.channels_last).requires_grad_(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch", type=int, default=8 if device().type == "cpu" else 128)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--start", type=Path, help="the safetensors file of an autoencoder as wide or narrower")
    parser.add_argument("--stay", type=float, default=0.5, help="weight of the squared way from its latents")
    parser.add_argument("--decoder-only", action="store_true", help="leave the encoder as it is")
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    vae = Autoencoder().to(device(), memory_format=torch.channels_last)
    old = stored(arguments.start) if arguments.start else None
    if old is not None:
        vae.load_state_dict(widen({k: v.cpu() for k, v in old.state_dict().items()}, vae))
    if arguments.decoder_only:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    training = Training(vae, arguments.run / "vae.pt", arguments.rate, parts=cores())
    average = training.run(Loss(vae, old, share(arguments.batch), arguments.stay), arguments.steps)
    vae.load_state_dict(average)
    print(evaluate(vae))


if __name__ == "__main__":
    main()
