"""One tiny adapter of each kind and form, and the weights that it makes of the same few layers."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from lycoris.functional.general import weight_decompose
from lycoris.functional.locon import diff_weight as locon_weight
from lycoris.functional.loha import diff_weight as loha_weight
from lycoris.functional.lokr import kron_weight
from safetensors.torch import save_file

BLOCK = "down_blocks.0.attentions.0"
LINEAR = f"{BLOCK}.transformer_blocks.0.attn1.to_q"
OUT = f"{BLOCK}.transformer_blocks.0.attn1.to_out.0"
ONE = f"{BLOCK}.proj_in"
CONV = "down_blocks.0.resnets.0.conv1"
NORM = "down_blocks.0.resnets.0.norm1"
SHAPES = {
    f"{LINEAR}.weight": (12, 8), f"{OUT}.weight": (8, 12), f"{OUT}.bias": (8,), f"{ONE}.weight": (8, 12, 1, 1),
    f"{CONV}.weight": (12, 8, 3, 3), f"{CONV}.bias": (12,), f"{NORM}.weight": (8,), f"{NORM}.bias": (8,),
}


@dataclass
class Case:
    name: str
    tensors: dict[str, torch.Tensor]
    # The merged weights by their names in the base.
    merged: dict[str, torch.Tensor]
    strength: float = 1.0
    metadata: dict[str, str] = field(default_factory=dict)


class Maker:
    """Random tensors, the same at each run."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(20)
        self.base = {name: self(*shape) for name, shape in SHAPES.items()}

    def __call__(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=self.generator)

    def __getitem__(self, layer: str) -> torch.Tensor:
        return self.base[f"{layer}.weight"]


def kohya(layer: str) -> str:
    return "lora_unet_" + layer.replace(".", "_")


def named(prefix: str, **tensors: torch.Tensor) -> dict[str, torch.Tensor]:
    """`lora_up__weight` becomes `PREFIX.lora_up.weight`."""
    return {f"{prefix}.{name.replace('__', '.')}": value for name, value in tensors.items()}


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.safetensors"):
        old.unlink()
    make = Maker()
    cases = low_rank(make) + hadamard(make) + kronecker(make) + decomposed(make) + differences(make) + peft(make)
    save_file(make.base, folder / "base.safetensors")
    merged = {}
    for case in cases:
        save_file(case.tensors, folder / f"{case.name}.safetensors", metadata=case.metadata or None)
        merged |= {f"{case.name}/{name}": value.float().contiguous() for name, value in case.merged.items()}
    # Several at once, in order, one of them negative and one with magnitudes.
    merged |= {f"stack/{name}": value for name, value in stacked(make, cases).items()}
    save_file(merged, folder / "merged.safetensors")
    strengths = {case.name: case.strength for case in cases}
    (folder / "cases.json").write_text(json.dumps(strengths, indent=2, sort_keys=True) + "\n")
    print(f"families: {len(cases)} cases, {len(merged)} tensors", flush=True)


def low_rank(make: Maker) -> list[Case]:
    cases = []
    for name, layer, alpha, strength in (
        ("kohya_linear", LINEAR, 2.0, 1.0), ("kohya_no_alpha", LINEAR, None, 0.75),
        ("kohya_negative", LINEAR, 6.0, -0.5), ("kohya_conv1x1", ONE, 1.0, 1.0), ("locon_conv3x3", CONV, 2.0, 0.8),
    ):
        weight = make[layer]
        down, up = make(4, *weight.shape[1:]), make(weight.shape[0], 4, *[1] * (weight.dim() - 2))
        tensors = named(kohya(layer), lora_down__weight=down, lora_up__weight=up)
        if alpha is not None:
            tensors[f"{kohya(layer)}.alpha"] = torch.tensor(alpha)
        scale = (4 if alpha is None else alpha) / 4
        delta = locon_weight(down, up, None, gamma=scale).reshape(weight.shape)
        cases.append(Case(name, tensors, {f"{layer}.weight": weight + strength * delta}, strength))
    weight = make[CONV]
    down, mid, up = make(4, 8, 1, 1), make(4, 4, 3, 3), make(12, 4, 1, 1)
    tensors = named(
        kohya(CONV), lora_down__weight=down, lora_mid__weight=mid, lora_up__weight=up, alpha=torch.tensor(2.0))
    delta = locon_weight(down, up, mid, gamma=0.5)
    cases.append(Case("locon_tucker", tensors, {f"{CONV}.weight": weight + delta}))
    # A linear layer's factors for a base with 1x1 convolutions; the file's own scale goes before alpha / rank.
    down, up = make(3, 12), make(8, 3)
    tensors = named(
        kohya(ONE), lora_down__weight=down, lora_up__weight=up, alpha=torch.tensor(1.0), scale=torch.tensor(0.25))
    merged = {f"{ONE}.weight": make[ONE] + 0.25 * (up @ down)[..., None, None]}
    return cases + [Case("linear_for_conv1x1", tensors, merged)]


def hadamard(make: Maker) -> list[Case]:
    cases = []
    for name, layer in (("loha_linear", LINEAR), ("loha_conv3x3", CONV)):
        weight = make[layer]
        (out, width), rank = weight.reshape(weight.shape[0], -1).shape, 3
        w1a, w1b, w2a, w2b = make(out, rank), make(rank, width), make(out, rank), make(rank, width)
        if weight.dim() == 4:
            w1b, w2b = (value.reshape(rank, *weight.shape[1:]) for value in (w1b, w2b))
        tensors = named(
            kohya(layer), hada_w1_a=w1a, hada_w1_b=w1b, hada_w2_a=w2a, hada_w2_b=w2b, alpha=torch.tensor(1.5))
        delta = loha_weight(w1b, w1a, w2b, w2a, None, None, gamma=torch.tensor(0.5)).reshape(weight.shape)
        cases.append(Case(name, tensors, {f"{layer}.weight": weight + delta}))
    weight, rank = make[CONV], 3
    w1a, w1b, w2a, w2b = make(rank, 12), make(rank, 8), make(rank, 12), make(rank, 8)
    t1, t2 = make(rank, rank, 3, 3), make(rank, rank, 3, 3)
    tensors = named(
        kohya(CONV), hada_w1_a=w1a, hada_w1_b=w1b, hada_w2_a=w2a, hada_w2_b=w2b, hada_t1=t1, hada_t2=t2,
        alpha=torch.tensor(1.5))
    delta = loha_weight(w1b, w1a, w2b, w2a, t1, t2, gamma=torch.tensor(0.5))
    return cases + [Case("loha_tucker", tensors, {f"{CONV}.weight": weight + 0.7 * delta}, 0.7)]


def kronecker(make: Maker) -> list[Case]:
    """[12, 8] as [3, 2] x [4, 4]; a 3x3 convolution as [3, 2] x [4, 4, 3, 3]."""
    def full(*shape: int) -> dict:
        return {"lokr_w2": make(*shape)}

    seconds = {
        "lokr_full": (LINEAR, {"lokr_w1": make(3, 2)}, full(4, 4)),
        "lokr_low_second": (LINEAR, {"lokr_w1": make(3, 2)}, {"lokr_w2_a": make(4, 2), "lokr_w2_b": make(2, 4)}),
        "lokr_low_first": (LINEAR, {"lokr_w1_a": make(3, 2), "lokr_w1_b": make(2, 2)}, full(4, 4)),
        "lokr_low_both": (
            LINEAR, {"lokr_w1_a": make(3, 2), "lokr_w1_b": make(2, 2)},
            {"lokr_w2_a": make(4, 2), "lokr_w2_b": make(2, 4)}),
        "lokr_conv": (CONV, {"lokr_w1": make(3, 2)}, full(4, 4, 3, 3)),
        "lokr_conv_low": (CONV, {"lokr_w1": make(3, 2)}, {"lokr_w2_a": make(4, 2), "lokr_w2_b": make(2, 4, 3, 3)}),
        "lokr_tucker": (
            CONV, {"lokr_w1": make(3, 2)},
            {"lokr_w2_a": make(2, 4), "lokr_w2_b": make(2, 4), "lokr_t2": make(2, 2, 3, 3)}),
    }
    cases = []
    for name, (layer, first, second) in seconds.items():
        tensors = named(kohya(layer), **first, **second, alpha=torch.tensor(3.0))
        parts = {"lokr_t2": None} | first | second
        keys = ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")
        factors = [parts.get(key) for key in keys]
        # Two full matrices have no rank, and alpha says nothing.
        scale = 1.0 if name in ("lokr_full", "lokr_conv") else 3.0 / 2
        delta = kron_weight(*factors, scale=scale)
        cases.append(Case(name, tensors, {f"{layer}.weight": make[layer] + delta}))
    return cases


def decomposed(make: Maker) -> list[Case]:
    cases = []
    for name, layer, on_out, strength in (
        ("dora_rows", LINEAR, True, 1.0), ("dora_columns", LINEAR, False, 1.0), ("dora_conv_rows", CONV, True, 1.0),
        ("dora_conv_columns", CONV, False, 0.6),
    ):
        weight = make[layer]
        down, up = make(4, *weight.shape[1:]), make(weight.shape[0], 4, *[1] * (weight.dim() - 2))
        shape = [1] * weight.dim()
        shape[0 if on_out else 1] = weight.shape[0 if on_out else 1]
        magnitude = make(*shape).abs() + 0.5
        tensors = named(
            kohya(layer), lora_down__weight=down, lora_up__weight=up, alpha=torch.tensor(2.0), dora_scale=magnitude)
        delta = locon_weight(down, up, None, gamma=0.5).reshape(weight.shape)
        changed = weight_decompose(weight + delta, magnitude, 1, on_out)
        merged = weight + strength * (changed - weight)
        cases.append(Case(name, tensors, {f"{layer}.weight": merged}, strength))
    weight, rank = make[LINEAR], 3
    w1a, w1b, w2a, w2b = make(12, rank), make(rank, 8), make(12, rank), make(rank, 8)
    magnitude = make(1, 8).abs() + 0.5
    tensors = named(
        kohya(LINEAR), hada_w1_a=w1a, hada_w1_b=w1b, hada_w2_a=w2a, hada_w2_b=w2b, alpha=torch.tensor(3.0),
        dora_scale=magnitude)
    delta = loha_weight(w1b, w1a, w2b, w2a, None, None, gamma=torch.tensor(1.0))
    merged = {f"{LINEAR}.weight": weight_decompose(weight + delta, magnitude, 1, False)}
    return cases + [Case("loha_dora", tensors, merged)]


def differences(make: Maker) -> list[Case]:
    weight, bias = make(12, 8, 3, 3), make(12)
    full = {
        f"{CONV}.weight": make[CONV] - 0.5 * weight, f"{CONV}.bias": make.base[f"{CONV}.bias"] - 0.5 * bias}
    gain, shift = make(8), make(8)
    norm = {
        f"{NORM}.weight": make[NORM] + 0.5 * gain, f"{NORM}.bias": make.base[f"{NORM}.bias"] + 0.5 * shift}
    return [
        Case("diff", named(kohya(CONV), diff=weight, diff_b=bias), full, -0.5),
        Case("norm", named(kohya(NORM), w_norm=gain, b_norm=shift), norm, 0.5),
    ]


def peft(make: Maker) -> list[Case]:
    """Scales from the metadata: alpha / r, a pattern's alpha, alpha / sqrt(r); a bias; a magnitude of the outputs."""
    def factors(layer: str, rank: int, prefix: str = "unet.", infix: str = "") -> tuple[dict, torch.Tensor]:
        weight = make[layer]
        down, up = make(rank, *weight.shape[1:]), make(weight.shape[0], rank, *[1] * (weight.dim() - 2))
        keys = (f"{prefix}{layer}.lora_A.{infix}weight", f"{prefix}{layer}.lora_B.{infix}weight")
        delta = locon_weight(down, up, None, gamma=1.0).reshape(weight.shape)
        return dict(zip(keys, (down, up), strict=True)), delta

    def settings(prefix: str = "unet.", **values) -> dict[str, str]:
        return {"lora_adapter_metadata": json.dumps({prefix + key: value for key, value in values.items()})}

    plain, linear = factors(LINEAR, 4)
    other, out = factors(OUT, 2)
    patterns = settings(r=4, lora_alpha=8, rank_pattern={"to_out.0": 2}, alpha_pattern={"attn1.to_out.0": 3})
    bias = make(8)
    wrapped, rows = factors(OUT, 2, prefix="base_model.model.", infix="default.")
    conv, kernel = factors(CONV, 2)
    magnitude = make(1, 12, 1, 1).abs() + 0.5
    return [
        Case("peft_plain", plain, {f"{LINEAR}.weight": make[LINEAR] + linear}),
        Case(
            "peft_patterns", plain | other,
            {f"{LINEAR}.weight": make[LINEAR] + 2 * linear, f"{OUT}.weight": make[OUT] + 1.5 * out}, 1, patterns),
        Case(
            "peft_rslora", plain, {f"{LINEAR}.weight": make[LINEAR] + 4 * linear}, 1,
            settings(r=4, lora_alpha=8, use_rslora=True)),
        Case(
            "peft_wrapped", wrapped | {f"base_model.model.{OUT}.lora_B.default.bias": bias},
            {f"{OUT}.weight": make[OUT] + 4 * rows, f"{OUT}.bias": make.base[f"{OUT}.bias"] + 4 * bias}, 1,
            settings(prefix="", r=2, lora_alpha=8)),
        Case(
            "peft_dora", conv | {f"unet.{CONV}.lora_magnitude_vector": magnitude},
            {f"{CONV}.weight": weight_decompose(make[CONV] + kernel, magnitude.reshape(12, 1, 1, 1), 1, True)}),
    ]


def stacked(make: Maker, cases: list[Case]) -> dict[str, torch.Tensor]:
    """kohya_linear, kohya_negative and lokr_full on one layer: the sum of what each adds."""
    name = f"{LINEAR}.weight"
    by_name = {case.name: case for case in cases}
    parts = [by_name[key].merged[name] - make[LINEAR] for key in ("kohya_linear", "kohya_negative", "lokr_full")]
    return {name: make[LINEAR] + sum(parts)}
