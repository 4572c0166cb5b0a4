#!/usr/bin/env python3
"""Makes Tests/CalderaDiffusionTests/Fixtures/schedulers.json from diffusers 0.42.1.

Each table holds a scheduler's configuration, its timesteps, sigmas and initial scale for a number of steps, and for
each prediction type the latents after every step, driven by a toy model whose output depends on its scaled input and
on the timestep: 0.9 tanh(x) + 0.05 sin(t / 100). Ancestral noise comes from a CPU generator with seed 42.

Arrays are little-endian fp32 in base64.

The latents are computed in fp32 as diffusers has it, but for schedules that start at a noise level in the thousands:
there the first steps subtract numbers of that size to land near one, and fp32 keeps four digits of the result. Those
run through the same code in fp64, with the same fp32 noise, so that what is compared is the formulas.
"""

import base64
import contextlib
import json
import pathlib
import unittest.mock

import diffusers
import numpy
import torch

FIXTURE = pathlib.Path(__file__).parents[2] / "Tests/CalderaDiffusionTests/Fixtures/schedulers.json"
STEPS = (1, 2, 5, 20, 50)
SPACINGS = ("linspace", "leading", "trailing")
PREDICTIONS = ("epsilon", "v_prediction")
STABLE_DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
DDIM = {"clip_sample": False, "set_alpha_to_one": False}
EULER, ANCESTRAL, IMPLICIT = "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "DDIMScheduler"


def encoded(values):
    return base64.b64encode(numpy.asarray(values, dtype="<f4").tobytes()).decode()


def toy_model(scaled, timestep):
    return 0.9 * torch.tanh(scaled) + 0.05 * torch.sin(torch.as_tensor(timestep).float() / 100)


@contextlib.contextmanager
def double_precision(scheduler):
    """Makes the Euler schedulers compute in fp64 while they draw noise in fp32."""
    scheduler.sigmas = scheduler.sigmas.double()
    ancestral = diffusers.schedulers.scheduling_euler_ancestral_discrete
    draw = ancestral.randn_tensor

    def drawn(shape, dtype, **options):
        return draw(shape, dtype=single, **options).to(dtype)

    single = torch.float32
    with unittest.mock.patch.object(torch, "float32", torch.float64):
        with unittest.mock.patch.object(ancestral, "randn_tensor", drawn):
            yield


def trajectory(scheduler, initial, options):
    if scheduler.init_noise_sigma > 1000:
        with double_precision(scheduler):
            return latents_of_every_step(scheduler, initial.double(), options)
    return latents_of_every_step(scheduler, initial, options)


def latents_of_every_step(scheduler, initial, options):
    generator = torch.Generator("cpu").manual_seed(42)
    if not isinstance(scheduler, diffusers.EulerDiscreteScheduler):
        options = {**options, "generator": generator}
    latents = initial * scheduler.init_noise_sigma
    every = []
    for timestep in scheduler.timesteps:
        output = toy_model(scheduler.scale_model_input(latents, timestep), timestep)
        latents = scheduler.step(output, timestep, latents, **options).prev_sample
        every.append(latents.numpy())
    result = numpy.stack(every)
    assert numpy.isfinite(result).all()
    return encoded(result)


def table(name, config, steps, initial, predictions=PREDICTIONS, eta=None):
    result = {"scheduler": name, "config": config, "steps": steps, "trajectories": {}}
    if eta is not None:
        result["eta"] = eta
    options = {} if eta is None else {"eta": eta}
    for prediction in predictions:
        scheduler = getattr(diffusers, name).from_config({**config, "prediction_type": prediction})
        scheduler.set_timesteps(steps)
        result["timesteps"] = encoded(scheduler.timesteps)
        if hasattr(scheduler, "sigmas"):
            # The log-linear interpolation leaves one sigma behind the last that a step uses.
            result["sigmas"] = encoded(scheduler.sigmas[: steps + 1])
        result["init_noise_sigma"] = float(scheduler.init_noise_sigma)
        result["trajectories"][prediction] = trajectory(scheduler, initial, options)
    return result


def grid(initial):
    """Every scheduler with every spacing and number of steps, with the betas of Stable Diffusion."""
    for steps in STEPS:
        for spacing in SPACINGS:
            config = {**STABLE_DIFFUSION, "timestep_spacing": spacing}
            yield table(EULER, config, steps, initial)
            yield table(EULER, {**config, "use_karras_sigmas": True}, steps, initial)
            yield table(ANCESTRAL, config, steps, initial)
            yield table(IMPLICIT, {**config, **DDIM}, steps, initial)


def options(initial):
    """The remaining keys of a configuration, one at a time."""
    velocity = ("v_prediction",)
    zero_snr = {**STABLE_DIFFUSION, "timestep_spacing": "trailing", "rescale_betas_zero_snr": True}
    for name in (EULER, ANCESTRAL, IMPLICIT):
        yield table(name, {**zero_snr, **(DDIM if name == IMPLICIT else {})}, 5, initial, velocity)
        pixel = {"clip_sample": False, "num_train_timesteps": 500}
        yield table(name, pixel, 7, initial)
        yield table(name, {**pixel, "beta_schedule": "squaredcos_cap_v2"}, 7, initial)
        trained = [0.01, 0.02, 0.04, 0.05, 0.08, 0.1, 0.2, 0.3, 0.4, 0.6]
        yield table(name, {"clip_sample": False, "num_train_timesteps": 10, "trained_betas": trained}, 4, initial)
    for name in (EULER, IMPLICIT):
        yield table(name, {**STABLE_DIFFUSION, **DDIM, "timestep_spacing": "leading"}, 5, initial, ("sample",))
    sdxl = {**STABLE_DIFFUSION, "timestep_spacing": "leading"}
    yield table(EULER, {**sdxl, "final_sigmas_type": "sigma_min"}, 5, initial)
    yield table(EULER, {**sdxl, "interpolation_type": "log_linear"}, 5, initial)
    limits = {"use_karras_sigmas": True, "sigma_min": 0.1, "sigma_max": 10.0}
    yield table(EULER, {**sdxl, **limits}, 5, initial)
    yield table(IMPLICIT, {**sdxl, **DDIM, "set_alpha_to_one": True}, 5, initial)
    yield table(IMPLICIT, {**sdxl, **DDIM}, 5, initial, eta=1.0)
    yield table(IMPLICIT, {**sdxl, **DDIM}, 5, initial, eta=0.4)


def borrowed(initial):
    """Configurations of another class, as a person gets them who chooses a scheduler of their own."""
    pndm = {
        "_class_name": "PNDMScheduler", **STABLE_DIFFUSION, "clip_sample": False, "set_alpha_to_one": False,
        "skip_prk_steps": True, "trained_betas": None, "num_train_timesteps": 1000,
    }  # fmt: skip
    karras = {
        "_class_name": "EulerDiscreteScheduler", **STABLE_DIFFUSION, "timestep_spacing": "leading",
        "use_karras_sigmas": True, "final_sigmas_type": "sigma_min", "clip_sample": False,
        "_use_default_values": ["final_sigmas_type", "timestep_spacing"],
    }  # fmt: skip
    for config in (pndm, karras):
        for name in (EULER, ANCESTRAL, IMPLICIT):
            yield table(name, config, 5, initial)


def main():
    torch.set_num_threads(1)
    initial = torch.randn((1, 4, 2, 2), generator=torch.Generator("cpu").manual_seed(7))
    tables = [*grid(initial), *options(initial), *borrowed(initial)]
    lines = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in tables)
    head = f'"diffusers":"{diffusers.__version__}","initial":"{encoded(initial)}"'
    FIXTURE.parent.mkdir(parents=True, exist_ok=True)
    FIXTURE.write_text(f'{{{head},"tables":[\n{lines}\n]}}\n')
    print(f"{FIXTURE}: {len(tables)} tables, {FIXTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
