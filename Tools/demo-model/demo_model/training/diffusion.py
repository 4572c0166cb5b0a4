"""Trains the UNet and both text encoders together on cached latents.

    python -m demo_model.training.diffusion RUN --steps N

The loss is the squared error of the predicted noise, weighted by min-SNR-5 (Hang et al., 2023). A tenth of the
captions is dropped: half become zeros, as guidance has them, half the empty prompt.
"""

import argparse
from pathlib import Path

import torch

from ..networks.diffusion import SIZES, TIMES, Diffusion, signal_shares
from ..networks.tokenizer import Tokenizer, Vocabulary, grammar_vocabulary
from .loop import Training, autocast, cores, device, load, share, streams

SEED = 11
DROPPED, UNKNOWN_WORDS, OTHER_SIZES = 0.1, 0.08, 0.1
SNR_LIMIT = 5.0


class Latents:
    """All shards of a kind on the device."""

    def __init__(self, run: Path, kind: str = "plain"):
        shards = [load(path) for path in sorted((run / "latents").glob(f"{kind}-*.pt"))]
        if not shards:
            raise SystemExit(f"{run}/latents holds no {kind} latents: run demo_model.training.latents first.")
        self.clip_ids = shards[0]["clip_ids"]
        self.latents = torch.cat([shard["latents"] for shard in shards]).to(device())
        self.rows = torch.cat([shard["rows"] for shard in shards])

    def choose(self, count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = torch.randint(len(self.latents), (count,), generator=generator)
        return self.latents[chosen.to(device())].float(), self.rows[chosen].long()


class Loss:
    def __init__(self, model: Diffusion, vocabulary: Vocabulary, latents: Latents, batch: int):
        self.model, self.vocabulary, self.latents, self.batch = model, vocabulary, latents, batch
        self.shares = signal_shares()
        ratios = self.shares / (1 - self.shares)
        self.weights = ratios.clamp(max=SNR_LIMIT) / ratios

    def __call__(self, step: int) -> torch.Tensor:
        _, generator = streams(SEED, step)
        latents, rows = self.latents.choose(self.batch, generator)
        rows, dropped = self._worn(rows, generator)
        # One time from each of `batch` equal parts.
        parts = torch.randperm(self.batch, generator=generator) + torch.rand(self.batch, generator=generator)
        times = (parts / self.batch * TIMES).long().clamp(max=TIMES - 1)
        noise = torch.randn(latents.shape, generator=generator).to(device())
        share = self.shares[times].to(device())[:, None, None, None]
        noisy = (share.sqrt() * latents + (1 - share).sqrt() * noise).contiguous(memory_format=torch.channels_last)
        sizes = self._sizes(generator)
        with autocast():
            predicted = self.model(noisy, *(value.to(device()) for value in (times, rows, dropped, sizes)))
        errors = (predicted.float() - noise).square().mean((1, 2, 3))
        return (errors * self.weights[times].to(device())).mean()

    def _worn(self, rows: torch.Tensor, generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Some rows get an unknown word, some become the empty prompt, some are marked as dropped."""
        for index in (torch.rand(self.batch, generator=generator) < UNKNOWN_WORDS).nonzero().flatten().tolist():
            length = int((rows[index] != self.vocabulary.end).sum())
            at = int(torch.randint(1, length + 1, (1,), generator=generator))
            unknown = torch.tensor([self.vocabulary.UNKNOWN])
            rows[index] = torch.cat([rows[index, :at], unknown, rows[index, at:-1]])
        chance = torch.rand(self.batch, generator=generator)
        empty = torch.full_like(rows[0], self.vocabulary.end)
        empty[0] = self.vocabulary.start
        rows[chance < DROPPED / 2] = empty
        return rows, (chance >= DROPPED / 2) & (chance < DROPPED)

    def _sizes(self, generator) -> torch.Tensor:
        sizes = torch.tensor([SIZES], dtype=torch.float32).repeat(self.batch, 1)
        others = torch.rand(self.batch, generator=generator) < OTHER_SIZES
        random_sizes = torch.randint(64, 1025, sizes.shape, generator=generator).float()
        random_sizes[:, 2:4] = 0
        return torch.where(others[:, None], random_sizes, sizes)


class DiffusionTraining(Training):
    """Keeps the vocabulary beside the weights."""

    def __init__(self, *arguments, vocabulary: Vocabulary, **options):
        self.vocabulary = vocabulary
        super().__init__(*arguments, **options)

    def state(self) -> dict:
        return {**super().state(), "clip_ids": self.vocabulary.clip_ids}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch", type=int, default=16 if device().type == "cpu" else 512)
    parser.add_argument("--rate", type=float, default=1e-3)
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    latents = Latents(arguments.run)
    vocabulary = grammar_vocabulary(Tokenizer())
    if vocabulary.clip_ids != latents.clip_ids:
        raise SystemExit("The grammar has other words than the latents were made with: make the latents anew.")
    model = Diffusion(vocabulary.size, vocabulary.end)
    torch.nn.init.normal_(model.unet.conv_out.weight, std=1e-3)
    model.to(device(), memory_format=torch.channels_last)
    training = DiffusionTraining(model, arguments.run / "diffusion.pt", arguments.rate, vocabulary=vocabulary,
                                 parts=cores())
    training.run(Loss(model, vocabulary, latents, share(arguments.batch)), arguments.steps)


if __name__ == "__main__":
    main()
