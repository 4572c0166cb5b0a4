"""Golden tensors of whole models: text encoders, UNet forward, autoencoder, and latents after the last step.

Writes Tests/CalderaModelsTests/Fixtures/models/<family>/: the folder's description (configs, weights.json with every
tensor's shape; the values follow from a formula, see support/deterministic_weights.py), golden.safetensors and
pipeline.json. The family `embedded` is the model that the package ships; it has no description, only goldens and
pictures.

    Tools/goldens/models.py [--embedded-model FOLDER] [FAMILY ...]
"""

import argparse
import dataclasses
import json
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Siblings of this script carry names of standard modules (random.py), which they must not hide.
sys.path = [str(HERE / "support")] + [path for path in sys.path if Path(path or ".").resolve() != HERE]

import diffusers  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

import folders  # noqa: E402
import record  # noqa: E402
import soundness  # noqa: E402
from families import EMBEDDED_CASES, FAMILIES, Case, Family  # noqa: E402

REPOSITORY = HERE.parent.parent
FIXTURES = REPOSITORY / "Tests/CalderaModelsTests/Fixtures/models"
EMBEDDED_MODEL = REPOSITORY / "Sources/Caldera/Resources/EmbeddedModel"
LARGEST_GOLDEN = 600_000


def main() -> None:
    names = [family.name for family in FAMILIES] + ["embedded"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedded-model", type=Path, default=EMBEDDED_MODEL)
    parser.add_argument("--check", action="store_true", help="also run each first case in fp16 (slow), see soundness.py")
    parser.add_argument("families", metavar="FAMILY", nargs="*", help=f"among {', '.join(names)}; all when none is given")
    arguments = parser.parse_args()
    if unknown := set(arguments.families) - set(names):
        parser.error(f"no such family: {', '.join(sorted(unknown))}")
    chosen = arguments.families or names

    torch.set_num_threads(2)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    for family in FAMILIES:
        if family.name in chosen:
            make_family(family, arguments.embedded_model, arguments.check)
    if "embedded" in chosen:
        make_embedded(arguments.embedded_model)


def make_family(family: Family, embedded_model: Path, check: bool) -> None:
    fixture = FIXTURES / family.name
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        folders.write(family, embedded_model, folder, fixture)
        pipe = open_pipeline(folder)
        soundness.check_loaded(pipe, folder)
        golden = parts(
            pipe, family.unet_timestep, {"unet": (8, 8), "unet_odd": (5, 7)}, {"vae": (4, 6), "vae_odd": (5, 7)})
        add_cases(pipe, family.cases, fixture, golden)
        if check:
            soundness.check_case(family.name, pipe, family.cases[0], golden["pipeline.latents"])
    save(golden, fixture)


def make_embedded(model: Path) -> None:
    fixture = FIXTURES / "embedded"
    fixture.mkdir(parents=True, exist_ok=True)
    pipe = open_pipeline(model)
    golden = parts(pipe, 601, {"unet": (8, 12), "unet_odd": (9, 7)}, {"vae": (8, 10)})
    add_cases(pipe, EMBEDDED_CASES, fixture, golden)
    save(golden, fixture)


def open_pipeline(folder: Path):
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder, dtype=torch.float32, low_cpu_mem_usage=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def parts(pipe, timestep: float, unet_sizes: dict, vae_sizes: dict) -> dict[str, torch.Tensor]:
    golden: dict[str, torch.Tensor] = {}
    for suffix in ("", "_2"):
        if getattr(pipe, "text_encoder" + suffix, None) is not None:
            record.text_encoder(pipe, suffix, golden)
    record.unet(pipe, timestep, unet_sizes, golden)
    record.vae(pipe.vae, vae_sizes, golden)
    return golden


def add_cases(pipe, cases: list[Case], fixture: Path, golden: dict) -> None:
    """Runs every case; pipeline.json says how, so that a test can repeat it."""
    described = []
    for case in cases:
        final = record.latents(pipe, case)
        golden[f"{case.name}.latents"] = final
        description = dataclasses.asdict(case) | {"latents": f"{case.name}.latents", "pictures": []}
        description["scheduler_config"] = scheduler_values(record.scheduler_of(pipe, case.scheduler))
        if case.pictures:
            for seed, picture in zip(case.seeds, record.pictures(pipe, final), strict=True):
                description["pictures"].append(f"{case.name}-{seed}.png")
                picture.save(fixture / description["pictures"][-1], optimize=True)
        described.append(description)
    folders.write_json({"pipeline": type(pipe).__name__, "cases": described}, fixture / "pipeline.json")


def scheduler_values(scheduler) -> dict:
    """The config values that the scheduler runs with, its own defaults filled in."""
    return {key: value for key, value in scheduler.config.items() if not key.startswith("_")}


def save(golden: dict[str, torch.Tensor], fixture: Path) -> None:
    for name, value in golden.items():
        if not torch.isfinite(value.float()).all():
            raise SystemExit(f"{fixture.name}: {name} has a value that is not finite")
    path = fixture / "golden.safetensors"
    save_file({name: value.contiguous() for name, value in golden.items()}, path)
    size = path.stat().st_size
    print(f"{fixture.name}: {len(load_file(path))} tensors, {size:,} bytes", flush=True)
    if size > LARGEST_GOLDEN:
        raise SystemExit(f"{path} is larger than {LARGEST_GOLDEN:,} bytes; make its cases smaller")


if __name__ == "__main__":
    main()
