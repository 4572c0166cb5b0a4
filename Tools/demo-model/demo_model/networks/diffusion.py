"""UNet and text encoders as one model, the noise schedule, and Euler sampling."""

import torch
from torch import nn

from .autoencoder import Autoencoder
from .clip import LENGTH, TextEncoders
from .unet import UNet

TIMES = 1000
BETA_START, BETA_END = 0.00085, 0.012
PICTURE = 128
SIZES = [PICTURE, PICTURE, 0, 0, PICTURE, PICTURE]
STEPS, GUIDANCE = 20, 3.0


def signal_shares() -> torch.Tensor:
    """The cumulative product of 1 - beta of the scaled-linear schedule, [1000]."""
    betas = torch.linspace(BETA_START**0.5, BETA_END**0.5, TIMES, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, 0).float()


class Diffusion(nn.Module):
    """Predicts noise for rows of token ids (see Vocabulary); rows that `dropped` marks are drawn from nothing."""

    def __init__(self, vocabulary: int, end: int):
        super().__init__()
        self.unet, self.text = UNet(), TextEncoders(vocabulary, end)

    def forward(self, noisy, times, rows, dropped=None, sizes=None):
        context, pooled = self.text(rows)
        if dropped is not None:
            kept = (~dropped).to(context.dtype)
            context, pooled = context * kept[:, None, None], pooled * kept[:, None]
        if sizes is None:
            sizes = torch.tensor([SIZES], device=noisy.device, dtype=torch.float32).repeat(len(noisy), 1)
        return self.unet(noisy, times, context, pooled, sizes)


@torch.no_grad()
def draw(model: Diffusion, vae: Autoencoder, rows: torch.Tensor, seed: int, steps: int = STEPS,
         guidance: float = GUIDANCE) -> torch.Tensor:
    """Pictures [n, 3, 128, 128] in -1...1 for rows of ids [n, 77], noise drawn picture by picture from seed + index.

    Euler steps at `leading` times with an offset of one, as diffusers' EulerDiscreteScheduler takes them.
    """
    shares = signal_shares()
    times = (torch.arange(steps) * (TIMES // steps)).flip(0) + 1
    sigmas = torch.cat([((1 - shares) / shares).sqrt()[times], torch.zeros(1)])
    shape = (4, PICTURE // 8, PICTURE // 8)
    noise = [torch.randn(shape, generator=torch.Generator().manual_seed(seed + i)) for i in range(len(rows))]
    x = torch.stack(noise).to(rows.device) * (sigmas[0] ** 2 + 1).sqrt()
    context, pooled = model.text(rows)
    context, pooled = (torch.cat([torch.zeros_like(part), part]) for part in (context, pooled))
    sizes = torch.tensor([SIZES], device=rows.device, dtype=torch.float32).repeat(2 * len(rows), 1)
    for index, time in enumerate(times):
        scaled = (x / (sigmas[index] ** 2 + 1).sqrt()).repeat(2, 1, 1, 1)
        empty, told = model.unet(scaled, time.expand(len(scaled)).to(x.device), context, pooled, sizes).chunk(2)
        x = x + (empty + guidance * (told - empty)) * (sigmas[index + 1] - sigmas[index])
    return vae.pictures(x).clamp(-1, 1)


def padded(ids: list[list[int]], end: int) -> torch.Tensor:
    """Ids of several prompts as rows of 77, filled up with the end token."""
    return torch.tensor([row + [end] * (LENGTH - len(row)) for row in ids])
