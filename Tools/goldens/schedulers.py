#!/usr/bin/env python3
"""Makes Tests/CalderaDiffusionTests/Fixtures/schedulers.json from diffusers 0.42.1.

Each table holds a scheduler's configuration, its timesteps, sigmas and initial scale for a number of steps, and for
each prediction type the latents after every evaluation of a toy model (`support/sampling.py`). Tables with a `first`
evaluation start as image-to-image pipelines do and hold what `add_noise` makes before each evaluation.

Arrays are little-endian fp32 in base64. `misses` holds the arguments for which this CPU's torch does not return the
nearest root, logarithm or exponential.

What diffusers itself cannot do, and so has no table:
- DPM-Solver without "++" with final_sigmas_type zero, and sde-dpmsolver of third order: refused or not written.
- UniPC of type bh1 with final_sigmas_type zero: infinity times zero in the last step. With a family of sigmas and
  sigma_min: the last step has length 0 and divides by it.
- DDPM with variance_type fixed_large_log: the root of a negative logarithm.
- trailing spacing with counts of steps (61, 103, ...) for which numpy's arange runs one element too far.
"""

import json
import pathlib
import sys

import diffusers
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parent / "support"))
from sampling import Misses, Run, encoded  # noqa: E402

FIXTURE = pathlib.Path(__file__).parents[2] / "Tests/CalderaDiffusionTests/Fixtures/schedulers.json"
STEPS = (1, 2, 5, 20, 50)
SPACINGS = ("linspace", "leading", "trailing")
PREDICTIONS = ("epsilon", "v_prediction")
ALL_PREDICTIONS = (*PREDICTIONS, "sample")
FAMILIES = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")
STABLE_DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
SDXL = {**STABLE_DIFFUSION, "timestep_spacing": "leading"}
DDIM = {"clip_sample": False, "set_alpha_to_one": False}
STOCHASTIC = {"algorithm_type": "sde-dpmsolver++"}

EULER, ANCESTRAL, IMPLICIT = "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "DDIMScheduler"
HEUN, LMS = "HeunDiscreteScheduler", "LMSDiscreteScheduler"
MIDPOINT, MIDPOINT_ANCESTRAL = "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler"
DDPM, PNDM, UNIPC = "DDPMScheduler", "PNDMScheduler", "UniPCMultistepScheduler"
MULTISTEP, SINGLESTEP = "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler"
BROWNIAN, LCM, TCD = "DPMSolverSDEScheduler", "LCMScheduler", "TCDScheduler"
EDM_EULER, EDM_MULTISTEP = "EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"

# What a class needs beside the betas and the spacing.
OWN = {
    IMPLICIT: DDIM, DDPM: {"clip_sample": False}, PNDM: {"skip_prk_steps": True, "set_alpha_to_one": False},
    BROWNIAN: {"noise_sampler_seed": 42},
}  # fmt: skip
WITHOUT_SAMPLE = (ANCESTRAL, MIDPOINT, MIDPOINT_ANCESTRAL, BROWNIAN, PNDM, EDM_EULER, EDM_MULTISTEP)
SPACED = (EULER, ANCESTRAL, IMPLICIT, HEUN, LMS, MIDPOINT, MIDPOINT_ANCESTRAL, DDPM, PNDM, MULTISTEP, BROWNIAN, UNIPC)
WITH_FAMILIES = (EULER, HEUN, LMS, MIDPOINT, MIDPOINT_ANCESTRAL, MULTISTEP, SINGLESTEP, BROWNIAN, UNIPC)
DISTILLED, EDM = (LCM, TCD), (EDM_EULER, EDM_MULTISTEP)


def predictions(name):
    return PREDICTIONS if name in WITHOUT_SAMPLE else ALL_PREDICTIONS


def full(name, config):
    return {**config, **OWN.get(name, {})}


def grid():
    """Every scheduler with every spacing that it has and every number of steps, with the betas of Stable Diffusion."""
    for steps in STEPS:
        for spacing in SPACINGS:
            config = {**STABLE_DIFFUSION, "timestep_spacing": spacing}
            for name in SPACED:
                yield Run(name, full(name, config), steps), predictions(name)
            yield Run(MULTISTEP, {**config, **STOCHASTIC}, steps), PREDICTIONS
        for name in (SINGLESTEP, *DISTILLED):
            yield Run(name, STABLE_DIFFUSION, steps), predictions(name)
        for name in EDM:
            yield Run(name, {}, steps), predictions(name)


def families():
    """Every family of sigmas of every scheduler that has them."""
    for steps in STEPS:
        for family in FAMILIES:
            for name in WITH_FAMILIES:
                for spacing in SPACINGS if steps == 5 else ("leading",):
                    config = {**STABLE_DIFFUSION, "timestep_spacing": spacing, family: True}
                    yield Run(name, full(name, config), steps), ("epsilon",)
    for family in FAMILIES:
        for name in WITH_FAMILIES:
            limits = {**SDXL, family: True, "sigma_min": 0.1, "sigma_max": 10.0}
            yield Run(name, full(name, limits), 5), ("epsilon",)
        yield Run(MULTISTEP, {**SDXL, **STOCHASTIC, family: True}, 5), ("epsilon",)
    cosine = {"beta_schedule": "squaredcos_cap_v2", "use_karras_sigmas": True}
    for name in (MULTISTEP, SINGLESTEP, UNIPC):
        yield Run(name, cosine, 7), ("epsilon",)


def noise_schedules():
    """Other betas, numbers of training timesteps and schedules without signal at their end."""
    velocity = ("v_prediction",)
    zero_snr = {**STABLE_DIFFUSION, "timestep_spacing": "trailing", "rescale_betas_zero_snr": True}
    trained = [0.01, 0.02, 0.04, 0.05, 0.08, 0.1, 0.2, 0.3, 0.4, 0.6]
    for name in (*SPACED, SINGLESTEP, *DISTILLED):
        own = {"clip_sample": False, **OWN.get(name, {})}
        own["original_inference_steps"] = 10
        yield Run(name, {**zero_snr, **own}, 5), velocity
        yield Run(name, {**own, "num_train_timesteps": 500}, 7), PREDICTIONS
        yield Run(name, {**own, "num_train_timesteps": 500, "beta_schedule": "squaredcos_cap_v2"}, 7), PREDICTIONS
        yield Run(name, {**own, "num_train_timesteps": 10, "trained_betas": trained}, 4), PREDICTIONS


def options():
    """The remaining keys of a configuration, one at a time."""
    epsilon = ("epsilon",)
    for change in ({"final_sigmas_type": "sigma_min"}, {"interpolation_type": "log_linear"}):
        yield Run(EULER, {**SDXL, **change}, 5), PREDICTIONS
    yield Run(IMPLICIT, {**SDXL, **DDIM, "set_alpha_to_one": True}, 5), PREDICTIONS
    for eta in (1.0, 0.4):
        yield Run(IMPLICIT, {**SDXL, **DDIM}, 5, eta=eta), PREDICTIONS
    for eta in (0.0, 0.7, 1.0):
        yield Run(TCD, SDXL, 5, eta=eta), PREDICTIONS
    for change in ({"timestep_scaling": 1.0}, {"original_inference_steps": 100}):
        yield Run(LCM, {**SDXL, **change}, 4), PREDICTIONS
    for variance in ("fixed_small_log", "fixed_large"):
        yield Run(DDPM, {**SDXL, "clip_sample": False, "variance_type": variance}, 5), PREDICTIONS
    for steps in (5, 20):
        yield Run(PNDM, {**SDXL, "skip_prk_steps": True, "set_alpha_to_one": True}, steps), PREDICTIONS
        yield from solvers(steps)
        yield from correctors(steps)
    yield Run(MULTISTEP, {"beta_schedule": "squaredcos_cap_v2", "lambda_min_clipped": -5.1}, 7), epsilon
    yield Run(SINGLESTEP, {"beta_schedule": "squaredcos_cap_v2", "lambda_min_clipped": -5.1}, 7), epsilon
    for name in EDM:
        for change in (
            {"sigma_schedule": "exponential"}, {"final_sigmas_type": "sigma_min"},
            {"sigma_min": 0.01, "sigma_max": 30.0, "sigma_data": 0.7, "rho": 5.0},
        ):  # fmt: skip
            yield Run(name, change, 5), PREDICTIONS


def solvers(steps):
    """The orders, types and algorithms of DPM-Solver."""
    for algorithm in ("dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++"):
        for order in (1, 2, 3):
            for solver in ("midpoint", "heun"):
                config = {**SDXL, "algorithm_type": algorithm, "solver_order": order, "solver_type": solver}
                if not algorithm.endswith("++"):
                    config["final_sigmas_type"] = "sigma_min"
                if not (algorithm == "sde-dpmsolver" and order == 3):
                    yield Run(MULTISTEP, config, steps), ALL_PREDICTIONS if steps == 5 else ("epsilon",)
                if algorithm != "sde-dpmsolver":
                    yield Run(SINGLESTEP, config, steps), ALL_PREDICTIONS if steps == 5 else ("epsilon",)
                if algorithm == "dpmsolver++" or (algorithm == "sde-dpmsolver++" and order < 3):
                    edm = {"algorithm_type": algorithm, "solver_order": order, "solver_type": solver}
                    yield Run(EDM_MULTISTEP, edm, steps), ("epsilon",)
    for change in (
        {"final_sigmas_type": "sigma_min"}, {"final_sigmas_type": "sigma_min", "lower_order_final": False},
        {"final_sigmas_type": "sigma_min", "euler_at_final": True},
        {"solver_type": "bh2"},
        {"algorithm_type": "deis", "solver_type": "logrho", "final_sigmas_type": "sigma_min"},
    ):  # fmt: skip
        for order in (2, 3):
            for name in (MULTISTEP, SINGLESTEP):
                yield Run(name, {**SDXL, **change, "solver_order": order}, steps), ("epsilon",)
    # Groups of three and of two that come out even, and not.
    for count in (6, 7, 8):
        for order in (2, 3):
            config = {**SDXL, "solver_order": order, "final_sigmas_type": "sigma_min"}
            yield Run(SINGLESTEP, config, count), ("epsilon",)


def correctors(steps):
    """The orders and types of UniPC."""
    for order in (1, 2, 3):
        for change in (
            {}, {"solver_type": "bh1", "final_sigmas_type": "sigma_min"},
            {"predict_x0": False, "final_sigmas_type": "sigma_min"},
            {"disable_corrector": [0, 2]}, {"final_sigmas_type": "sigma_min", "lower_order_final": False},
            {"solver_type": "midpoint"},
        ):  # fmt: skip
            config = {**SDXL, **change, "solver_order": order}
            yield Run(UNIPC, config, steps), ALL_PREDICTIONS if steps == 5 else ("epsilon",)


def starts():
    """Loops that begin later, as image-to-image with a strength below 1: nothing is remembered there."""
    for name in (*SPACED, SINGLESTEP, *DISTILLED, *EDM):
        order = getattr(diffusers, name).order
        config = {} if name in EDM else full(name, SDXL)
        for steps, skipped in ((8, 1), (8, 3), (20, 14)):
            yield Run(name, config, steps, first=skipped * order), ("epsilon",)
    for name in (MULTISTEP, SINGLESTEP, UNIPC):
        for skipped in (1, 2, 4):
            yield Run(name, {**SDXL, "solver_order": 3}, 8, first=skipped), ("epsilon",)


def custom():
    """Lists of timesteps and sigmas."""
    timesteps = [999, 845, 730, 587, 443, 310, 193, 116, 53, 13]
    for name in (EULER, HEUN, DDPM, MULTISTEP, SINGLESTEP, *DISTILLED):
        yield Run(name, full(name, SDXL), len(timesteps), grid={"timesteps": timesteps}), ("epsilon",)
        yield Run(name, full(name, SDXL), 3, grid={"timesteps": [700, 400, 0]}), PREDICTIONS
    align_your_steps = [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.38, 0.234, 0.113]
    yield Run(EULER, SDXL, 10, grid={"sigmas": align_your_steps}), PREDICTIONS
    yield Run(EULER, SDXL, 10, first=4, grid={"sigmas": align_your_steps}), ("epsilon",)


def borrowed():
    """Configurations of another class, as a person gets them who chooses a scheduler of their own."""
    pndm = {
        "_class_name": "PNDMScheduler", **STABLE_DIFFUSION, "clip_sample": False, "set_alpha_to_one": False,
        "skip_prk_steps": True, "trained_betas": None, "num_train_timesteps": 1000,
    }  # fmt: skip
    karras = {
        "_class_name": "EulerDiscreteScheduler", **STABLE_DIFFUSION, "timestep_spacing": "leading",
        "use_karras_sigmas": True, "final_sigmas_type": "sigma_min", "clip_sample": False, "skip_prk_steps": True,
        "_use_default_values": ["final_sigmas_type", "timestep_spacing"],
    }  # fmt: skip
    unipc = {"_class_name": "UniPCMultistepScheduler", **SDXL, "solver_type": "bh2", "solver_order": 3, **DDIM}
    unipc["skip_prk_steps"] = True
    for config in (pndm, karras, unipc):
        for name in (*SPACED, SINGLESTEP, *DISTILLED):
            brownian = {"noise_sampler_seed": 42} if name == BROWNIAN else {}
            yield Run(name, {**config, **brownian}, 5), PREDICTIONS


def main():
    torch.set_num_threads(1)
    initial = torch.randn((1, 4, 1, 1), generator=torch.Generator("cpu").manual_seed(7))
    runs = [*grid(), *families(), *noise_schedules(), *options(), *starts(), *custom(), *borrowed()]
    misses = Misses()
    tables = [run.table(initial, predictions, misses) for run, predictions in runs]
    lines = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in tables)
    head = f'"diffusers":"{diffusers.__version__}","initial":"{encoded(initial)}"'
    head += f',"misses":{json.dumps(misses.encoded(), separators=(",", ":"))}'
    FIXTURE.parent.mkdir(parents=True, exist_ok=True)
    FIXTURE.write_text(f'{{{head},"tables":[\n{lines}\n]}}\n')
    doubles = sum("double" in table for table in tables)
    print(f"{FIXTURE}: {len(tables)} tables, {doubles} of them in fp64, {FIXTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
