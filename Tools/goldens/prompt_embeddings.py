"""Makes Tests/CalderaModelsTests/Fixtures/prompts/<family>.safetensors and .json: what the UNet is told of a prompt.

Plain prompts are encoded by diffusers' pipelines, those of the web UI by transformers' encoders under the rules of
support/webui.py, for the tiny models of support/families.py.

    Tools/goldens/prompt_embeddings.py [FAMILY ...]
"""

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Siblings of this script carry names of standard modules, which they must not hide.
sys.path = [str(HERE / "support")] + [path for path in sys.path if Path(path or ".").resolve() != HERE]

import diffusers  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

import folders  # noqa: E402
import webui  # noqa: E402
from families import FAMILIES, Family  # noqa: E402

ROOT = HERE.parent.parent
FIXTURES = ROOT / "Tests/CalderaModelsTests/Fixtures/prompts"
EMBEDDED_MODEL = ROOT / "Sources/Caldera/Resources/EmbeddedModel"
EMBEDDINGS = [webui.Embedding("<toy>", (49408,)), webui.Embedding("style-one", (49409, 49410, 49411))]
LARGEST = 950_000

LONG = (
    "a (castle:1.3) on a hill, [dark] forest, two rivers, seven green cats in the rain, an old wooden bridge, "
    "a red circle above a blue square, oil painting, ((sharp focus)), highly detailed, golden hour, mist between trees, "
    "birds in the sky, tiny boats with white sails, a lighthouse far away, snow on the mountains, ")


@dataclass
class Case:
    name: str
    prompt: str
    negative_prompt: str | None = None
    syntax: str = "webui"
    clip_skip: int | None = None
    steps: int = 4
    embeddings: bool = False


PLAIN = [
    Case("plain", "a (red:1.3) circle [above] a blue square", syntax="plain"),
    Case("plain_negative", LONG, "blurry, yellow", syntax="plain"),
    Case("plain_skip_1", "a red circle", "blurry", syntax="plain", clip_skip=1),
    Case("plain_skip_2", "a red circle", "blurry", syntax="plain", clip_skip=2),
    Case("plain_embedding", "a <toy> in style-one, red", "style-one", syntax="plain", embeddings=True),
]
WEBUI = [
    Case("webui", "a (red:1.3) circle [above] a ((blue)) square"),
    Case("webui_negative", "a red circle", "(blurry:1.4), yellow"),
    Case("webui_skip_2", "a (red:1.2) circle", "blurry", clip_skip=2),
    Case("webui_long", LONG + LONG, "blurry"),
    Case("webui_break", "a (red:0.7) circle BREAK a blue square :1.5", LONG),
    Case("webui_long_zero", "a red circle BREAK a blue square"),
    Case("webui_schedule", "a [(red:1.4):blue BREAK green:1] circle", "[yellow|dark]", steps=3),
    Case("webui_embedding", "a (<toy>:1.2) in style-one, red", "style-one", embeddings=True),
]
# SDXL has no third layer to skip, and under the web UI none at all.
SKIPS = [
    Case("plain_skip_3", "a red circle", "blurry", syntax="plain", clip_skip=3),
    Case("webui_skip_1", "a (red:1.2) circle", "blurry", clip_skip=1),
    Case("webui_skip_3", "a (red:1.2) circle", "blurry", clip_skip=3),
]


class Encoder:
    """A text encoder with its tokenizer, as the web UI uses them."""

    def __init__(self, pipe, suffix: str, is_xl: bool, embeddings: list):
        self.model = getattr(pipe, "text_encoder" + suffix)
        tokenizer = getattr(pipe, "tokenizer" + suffix)
        self.chunker = webui.Chunker(tokenizer, embeddings)
        self.is_xl = is_xl
        self.counts_skip = not is_xl and tokenizer.pad_token_id == tokenizer.eos_token_id

    def states(self, ids: list[list[int]], skip: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """[B, 77, C] and the pooled [B, P]."""
        output = self.model(torch.tensor(ids), output_hidden_states=True)
        if self.is_xl:
            return output.hidden_states[-2], self.pooled(ids, output)
        if self.counts_skip and skip > 1:
            return final_norm(self.model)(output.hidden_states[-skip]), None
        return output.last_hidden_state, None

    def pooled(self, ids: list[list[int]], output) -> torch.Tensor | None:
        """At the end of the text, wherever the ids of embeddings stand."""
        if not hasattr(self.model, "text_projection"):
            return None
        last = final_norm(self.model)(output.hidden_states[-1])
        ends = [row.index(self.chunker.end) for row in ids]
        return self.model.text_projection(last[torch.arange(len(ids)), ends])

    def conditions(self, texts: list[str], skip: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """[texts, 77 n, C], and the pooled output of each text's first chunk."""
        chunked = [self.chunker.chunks(text) for text in texts]
        states, pooled = [], None
        for number in range(max(len(chunks) for chunks in chunked)):
            batch = [chunks[number] if number < len(chunks) else self.chunker.padded([]) for chunks in chunked]
            chunk, first = self.states([ids for ids, _ in batch], skip)
            pooled = first if number == 0 else pooled
            states.append(webui.emphasized(chunk, [weights for _, weights in batch]))
            check_mean(chunk, states[-1])
        return torch.cat(states, dim=1), pooled


def check_mean(before: torch.Tensor, after: torch.Tensor) -> None:
    """A mean near zero would make the emphasis meaningless, and no half-precision run could meet it."""
    if not (before.mean().abs() > 0.002 * before.std() and after.abs().max() < 4 * before.abs().max()):
        raise SystemExit(f"mean {before.mean():.4f} of deviation {before.std():.3f}, {after.abs().max():.2f}")


def final_norm(model):
    return getattr(model, "text_model", model).final_layer_norm


@torch.no_grad()
def webui_segments(pipe, case: Case, is_xl: bool) -> tuple[list[dict], float]:
    embeddings = EMBEDDINGS if case.embeddings else []
    suffixes = [suffix for suffix in ("", "_2") if getattr(pipe, "text_encoder" + suffix, None) is not None]
    encoders = [Encoder(pipe, suffix, is_xl, embeddings) for suffix in suffixes]
    prompt, factor = webui.composition(case.prompt)
    sides = {}
    for side, text in (("positive", prompt), ("negative", case.negative_prompt or "")):
        entries = webui.schedule(text, case.steps)
        results = [encoder.conditions([entry for _, entry in entries], case.clip_skip or 1) for encoder in encoders]
        context = torch.cat([context for context, _ in results], dim=-1)
        pooled = next((pooled for _, pooled in results if pooled is not None), None)
        if side == "negative" and text == "" and is_xl:
            context, pooled = torch.zeros_like(context), torch.zeros_like(pooled)
        sides[side] = ([last for last, _ in entries], context, pooled)
    empty = torch.cat([encoder.conditions([""], case.clip_skip or 1)[0] for encoder in encoders], dim=-1)
    tokens = max(context.shape[1] for _, context, _ in sides.values())
    segments: list[dict] = []
    for evaluation in range(case.steps):
        segment = {"end": evaluation + 1}
        for side, (lasts, context, pooled) in sides.items():
            entry = next(index for index, last in enumerate(lasts) if evaluation <= last)
            padding = empty.repeat(1, (tokens - context.shape[1]) // 77, 1)
            segment[f"{side}.context"] = torch.cat([context, padding.expand(len(lasts), -1, -1)], dim=1)[entry]
            if pooled is not None:
                segment[f"{side}.pooled"] = pooled[entry]
        if segments and same(segments[-1], segment):
            segments[-1]["end"] = segment["end"]
        else:
            segments.append(segment)
    return segments, factor


def same(left: dict, right: dict) -> bool:
    return all(torch.equal(left[name], right[name]) for name in left if name != "end")


@torch.no_grad()
def plain_segments(pipe, case: Case, is_xl: bool) -> list[dict]:
    arguments = dict(
        prompt=case.prompt, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=True,
        negative_prompt=case.negative_prompt, clip_skip=case.clip_skip)
    if not is_xl:
        positive, negative = pipe.encode_prompt(**arguments)
        return [{"end": case.steps, "positive.context": positive[0], "negative.context": negative[0]}]
    positive, negative, pooled, negative_pooled = pipe.encode_prompt(**arguments)
    return [{
        "end": case.steps, "positive.context": positive[0], "negative.context": negative[0],
        "positive.pooled": pooled[0], "negative.pooled": negative_pooled[0]}]


def add_embeddings(pipe, golden: dict) -> None:
    """Longer token tables, filled by diffusers; the golden keeps the vectors."""
    for number, suffix in enumerate(("", "_2")):
        encoder = getattr(pipe, "text_encoder" + suffix, None)
        if encoder is None:
            continue
        tokenizer = getattr(pipe, "tokenizer" + suffix)
        table = encoder.get_input_embeddings().weight
        generator = torch.Generator().manual_seed(20 + number)
        vectors = torch.randn(4, table.shape[1], generator=generator) * table.std().item()
        golden[f"embedding.text_encoder{suffix}"] = vectors
        for embedding in EMBEDDINGS:
            rows = vectors[[index - 49408 for index in embedding.ids]]
            load_embedding(pipe, rows, embedding.trigger, tokenizer, encoder)


def load_embedding(pipe, rows, trigger: str, tokenizer, encoder) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "embedding.safetensors"
        save_file({"emb_params": rows.contiguous()}, path)
        loader = diffusers.loaders.TextualInversionLoaderMixin.load_textual_inversion
        loader(pipe, str(path), token=trigger, tokenizer=tokenizer, text_encoder=encoder)


def make(family: Family) -> None:
    golden: dict[str, torch.Tensor] = {}
    described = []
    is_xl = family.pipeline != "StableDiffusionPipeline"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        folders.write(family, EMBEDDED_MODEL, folder, Path(temporary) / "description")
        pipe = diffusers.DiffusionPipeline.from_pretrained(folder, dtype=torch.float32, low_cpu_mem_usage=False)
    if not is_xl:
        # diffusers' clip_skip looks for the norm where transformers 4 had it.
        object.__setattr__(pipe.text_encoder, "text_model", pipe.text_encoder)
    cases = PLAIN + WEBUI + ([] if is_xl else SKIPS)
    for case in sorted(cases, key=lambda case: case.embeddings):
        if case.embeddings and "embedding.text_encoder" not in golden and "embedding.text_encoder_2" not in golden:
            add_embeddings(pipe, golden)
        if case.syntax == "plain":
            segments, factor = plain_segments(pipe, case, is_xl), 1.0
        else:
            segments, factor = webui_segments(pipe, case, is_xl)
        for number, segment in enumerate(segments):
            golden |= {f"{case.name}.{number}.{key}": value for key, value in segment.items() if key != "end"}
        described.append(vars(case) | {"ends": [segment["end"] for segment in segments], "guidance_factor": factor})
    save(family.name, golden, described)


def save(name: str, golden: dict[str, torch.Tensor], described: list[dict]) -> None:
    FIXTURES.mkdir(parents=True, exist_ok=True)
    path = FIXTURES / f"{name}.safetensors"
    # Zeros are not worth their bytes: a tensor of one element stands for them.
    kept = {key: value.clone().contiguous() if value.any() else torch.zeros(1) for key, value in golden.items()}
    save_file(kept, path)
    folders.write_json(described, FIXTURES / f"{name}.json")
    print(f"{name}: {len(described)} cases, {path.stat().st_size:,} bytes")
    if path.stat().st_size > LARGEST:
        raise SystemExit(f"{path} is larger than {LARGEST:,} bytes; make its cases fewer")


def main() -> None:
    torch.set_num_threads(2)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    names = sys.argv[1:] or [family.name for family in FAMILIES]
    for family in FAMILIES:
        if family.name in names:
            make(family)


if __name__ == "__main__":
    main()
