"""Writes a model as a single file, with everything in it that the published ones have."""

import math
from pathlib import Path

import numpy as np

import configs
import original_names
from original_names import UNET
from weights import Normals, TensorFile, components, values

Constants = dict[str, np.ndarray]
LOGIT_SCALE = math.log(100)
EMA = "model_ema."


def write(arch: str, path: Path, normals: Normals, seed: int, with_ema: bool) -> None:
    """The weights are those of a folder of the same seed; what only single files have comes from another one."""
    dtype = normals.dtype.name
    parts = components(arch)
    others = Normals(seed + 1, dtype)
    constants = constant_tensors(arch, parts, others)
    places = {part: original_names.places(arch, part, shapes) for part, (_, shapes, _) in parts.items()}
    layout = {name: (value.dtype.name, list(value.shape)) for name, value in constants.items()}
    # Types of 8 and 4 bytes first, so that every tensor is aligned.
    layout = dict(sorted(layout.items(), key=lambda item: -np.dtype(item[1][0]).itemsize))
    layout |= {place.name: (dtype, place.shape) for part in places.values() for place in part.values()}
    if with_ema:
        layout |= {ema_name(place.name): (dtype, place.shape) for place in places["unet"].values()}

    path.parent.mkdir(parents=True, exist_ok=True)
    with TensorFile(path, layout) as file:
        for name, value in constants.items():
            file.fill(name, [value.tobytes()])
        for part, (_, shapes, _) in parts.items():
            for name in sorted(shapes):
                fill(file, places[part][name], name, shapes[name], normals)
        if with_ema:
            for name, place in places["unet"].items():
                file.fill(ema_name(place.name), values(name, place.shape, others))


def fill(file: TensorFile, place: original_names.Place, name: str, shape: list[int], normals: Normals) -> None:
    chunks = values(name, shape, normals)
    if place.transposed:
        matrix = np.frombuffer(b"".join(chunks), normals.dtype).reshape(shape)
        chunks = [np.ascontiguousarray(matrix.T).tobytes()]
    file.fill(place.name, chunks, place.offset * normals.dtype.itemsize)


def ema_name(name: str) -> str:
    """The averaging module of latent-diffusion takes the dots out of the names that it copies."""
    return EMA + name.removeprefix("model.").replace(".", "")


def constant_tensors(arch: str, parts: dict, others: Normals) -> Constants:
    """Tensors that no diffusers folder has, none of which a picture depends on."""
    constants: Constants = {}
    for part, (prefix, is_open_clip) in original_names.TEXT_PREFIXES[arch].items():
        config, shapes, _ = parts[part]
        if not is_open_clip:
            constants[f"{prefix}text_model.embeddings.position_ids"] = np.arange(77, dtype="<i8")[None]
            continue
        constants[f"{prefix}logit_scale"] = np.array(LOGIT_SCALE, others.dtype)
        if "text_projection.weight" not in shapes:
            constants |= unused_end(prefix, config, others)
    if arch in configs.FIRST_GENERATION:
        constants |= noise_schedule()
        constants[f"{EMA}decay"] = np.array(0.9999, np.float32)
        constants[f"{EMA}num_updates"] = np.array(0, np.int32)
    return constants


def unused_end(prefix: str, config: dict, others: Normals) -> Constants:
    """The last block and the projection of OpenCLIP ViT-H, which SD2.x leaves out."""
    width, inner, block = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    shapes = {
        "attn.in_proj_weight": [3 * width, width], "attn.in_proj_bias": [3 * width],
        "attn.out_proj.weight": [width, width], "attn.out_proj.bias": [width], "ln_1.weight": [width],
        "ln_1.bias": [width], "ln_2.weight": [width], "ln_2.bias": [width], "mlp.c_fc.weight": [inner, width],
        "mlp.c_fc.bias": [inner], "mlp.c_proj.weight": [width, inner], "mlp.c_proj.bias": [width],
    }
    shapes = {f"transformer.resblocks.{block}.{name}": shape for name, shape in shapes.items()}
    shapes["text_projection"] = [width, width]
    return {
        prefix + name: np.frombuffer(b"".join(values(name, shape, others)), others.dtype).reshape(shape)
        for name, shape in shapes.items()
    }


def noise_schedule() -> Constants:
    """The buffers of latent-diffusion's DDPM class (Ho et al. 2020, formulas 6 and 7), float32."""
    ends = (math.sqrt(configs.BETAS["beta_start"]), math.sqrt(configs.BETAS["beta_end"]))
    betas = np.linspace(*ends, configs.BETAS["num_train_timesteps"]) ** 2
    alphas = 1 - betas
    products = np.cumprod(alphas)
    previous = np.append(1.0, products[:-1])
    variance = betas * (1 - previous) / (1 - products)
    buffers = {
        "betas": betas, "alphas_cumprod": products, "alphas_cumprod_prev": previous,
        "sqrt_alphas_cumprod": np.sqrt(products), "sqrt_one_minus_alphas_cumprod": np.sqrt(1 - products),
        "log_one_minus_alphas_cumprod": np.log(1 - products), "sqrt_recip_alphas_cumprod": np.sqrt(1 / products),
        "sqrt_recipm1_alphas_cumprod": np.sqrt(1 / products - 1), "posterior_variance": variance,
        "posterior_log_variance_clipped": np.log(np.maximum(variance, 1e-20)),
        "posterior_mean_coef1": betas * np.sqrt(previous) / (1 - products),
        "posterior_mean_coef2": (1 - previous) * np.sqrt(alphas) / (1 - products),
    }
    return {name: value.astype(np.float32) for name, value in buffers.items()}
