"""Goldens of adapters: LoRA, LoCon, LoHa, LoKr, DoRA, full differences and norms, merged into weights.

Writes Tests/CalderaAdaptersTests/Fixtures/:

    families/base.safetensors     a few layers of each kind
    families/<case>.safetensors   an adapter for them
    families/merged.safetensors   <case>/<weight>: what LyCORIS' functions (or PEFT's rules) make of the base
    pipelines/<case>.json         an adapter for a tiny model, as names and shapes (the values follow from a formula:
                                  support/deterministic_weights.py), its metadata, and how strongly it is applied
    pipelines/merged.safetensors  <case>/<component>/<weight>: a sample of the weights after diffusers' own
                                  load_lora_weights and fuse_lora
    names/<model>.json            every weight of the true UNets of SD1.5 and SDXL
    names/spo_sdxl.json           the layers of SPO's LoRA for SDXL in kohya's names: [name, in, out]

    Tools/goldens/adapters.py
"""

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

import adapter_families  # noqa: E402
import adapter_pipelines  # noqa: E402
import folders  # noqa: E402

REPOSITORY = HERE.parent.parent
FIXTURES = REPOSITORY / "Tests/CalderaAdaptersTests/Fixtures"
EMBEDDED_MODEL = REPOSITORY / "Sources/Caldera/Resources/EmbeddedModel"

SD15 = dict(
    sample_size=64, cross_attention_dim=768, attention_head_dim=8, block_out_channels=[320, 640, 1280, 1280],
)
SDXL = dict(
    sample_size=128, cross_attention_dim=2048, attention_head_dim=[5, 10, 20], block_out_channels=[320, 640, 1280],
    down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], transformer_layers_per_block=[1, 2, 10],
    use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=256,
    projection_class_embeddings_input_dim=2816,
)


def main() -> None:
    torch.set_num_threads(2)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    adapter_families.write(FIXTURES / "families")
    with tempfile.TemporaryDirectory() as temporary:
        adapter_pipelines.write(FIXTURES / "pipelines", EMBEDDED_MODEL, Path(temporary))
    write_names(FIXTURES / "names")


def write_names(folder: Path) -> None:
    for name, config in {"sd15": SD15, "sdxl": SDXL}.items():
        with torch.device("meta"):
            model = diffusers.UNet2DConditionModel(**config)
        shapes = {key: list(value.shape) for key, value in model.state_dict().items()}
        folders.write_manifest(shapes, folder / f"{name}.json")
    layers = spo_layers()
    lines = [json.dumps(layer) for layer in layers]
    (folder / "spo_sdxl.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(f"names: {len(layers)} layers of SPO's LoRA for SDXL", flush=True)


def spo_layers() -> list[tuple[str, int, int]]:
    """Every attention projection of SDXL's UNet, by the blocks of generative-models' openaimodel.py: block, width,
    transformer blocks."""
    blocks = [(f"input_blocks_{i}_1", 640, 2) for i in (4, 5)] + [(f"input_blocks_{i}_1", 1280, 10) for i in (7, 8)]
    blocks += [("middle_block_1", 1280, 10)]
    blocks += [(f"output_blocks_{i}_1", 1280, 10) for i in (0, 1, 2)]
    blocks += [(f"output_blocks_{i}_1", 640, 2) for i in (3, 4, 5)]
    layers = []
    for block, width, depth in blocks:
        for layer in range(depth):
            for attention, context in (("attn1", width), ("attn2", 2048)):
                path = f"lora_unet_{block}_transformer_blocks_{layer}_{attention}"
                layers += [(f"{path}_to_q", width, width), (f"{path}_to_k", context, width)]
                layers += [(f"{path}_to_v", context, width), (f"{path}_to_out_0", width, width)]
    return layers


if __name__ == "__main__":
    main()
