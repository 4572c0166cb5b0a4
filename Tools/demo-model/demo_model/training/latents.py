"""Renders captioned pictures and keeps their latents, in shards that a stopped run goes on from.

    python -m demo_model.training.latents RUN --shards N [--outlined N]

Each shard holds 2,048 latents [2048, 4, 16, 16] in fp16 and rows of ids [2048, 77]; it depends on its number alone.
Every other shard has more named objects than the grammar. `--outlined` makes shards of outlined objects, for the LoRA.
"""

import argparse
import multiprocessing
import os
import random
from pathlib import Path

import torch

from ..networks.autoencoder import Autoencoder
from ..networks.tokenizer import Tokenizer, Vocabulary, grammar_vocabulary
from ..pictures import MOSTLY_OBJECTS, sample
from .loop import as_tensor, autocast, device, load, save

SEED = 7
SHARD, PART = 2048, 128
OUTLINE = 3


def shard_path(run: Path, kind: str, number: int) -> Path:
    return run / "latents" / f"{kind}-{number:04}.pt"


def rendered(job: tuple[str, int, int]) -> tuple[list, list[str]]:
    """Pixels and captions of one part of a shard."""
    kind, shard, part = job
    rng = random.Random(f"{SEED}/{kind}/{shard}/{part}")
    kinds = MOSTLY_OBJECTS if shard % 2 else None
    samples = [sample(rng, OUTLINE if kind == "outlined" else 0, kinds) for _ in range(PART)]
    return [one.pixels for one in samples], [one.sentence.caption for one in samples]


@torch.no_grad()
def make_shard(vae: Autoencoder, vocabulary: Vocabulary, tokenizer: Tokenizer, kind: str, number: int, pool) -> dict:
    jobs = [(kind, number, part) for part in range(SHARD // PART)]
    latents, rows = [], []
    for pixels, captions in pool.imap(rendered, jobs):
        with autocast():
            latents.append(vae.latents(as_tensor(pixels)).half().cpu())
        rows.append(vocabulary.encode(tokenizer, captions))
    return {"latents": torch.cat(latents), "rows": torch.cat(rows), "clip_ids": vocabulary.clip_ids}


def load_autoencoder(run: Path) -> Autoencoder:
    state = load(run / "vae.pt")
    vae = Autoencoder(state.get("config"))
    vae.load_state_dict(state["average"])
    return vae.to(device(), memory_format=torch.channels_last).eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--shards", type=int, required=True)
    parser.add_argument("--outlined", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    tokenizer = Tokenizer()
    vocabulary, vae = grammar_vocabulary(tokenizer), load_autoencoder(arguments.run)
    wanted = [("plain", number) for number in range(arguments.shards)]
    wanted += [("outlined", number) for number in range(arguments.outlined)]
    # Forked workers would share CUDA's state.
    with multiprocessing.get_context("spawn").Pool(arguments.workers) as pool:
        for kind, number in wanted:
            path = shard_path(arguments.run, kind, number)
            if not path.exists():
                save(path, make_shard(vae, vocabulary, tokenizer, kind, number, pool))
                print(path, flush=True)


if __name__ == "__main__":
    main()
