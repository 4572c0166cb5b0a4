"""The runs that pipelines.py makes goldens of, and the tiny families that only they need."""

from dataclasses import dataclass, replace

from families import (
    BETAS, CROSS_DOWN, CROSS_UP, DOWN, EULER_LEADING, FAMILIES, PROMPT, UP, Family, clip, text_time, unet, vae)

NEGATIVE = "blurry, yellow"
LONG_PROMPT = "an old harbour with nine red boats, a white lighthouse and gulls under heavy clouds; " * 8
EULER, ANCESTRAL, DDIM = "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "DDIMScheduler"
DPM, HEUN = "DPMSolverMultistepScheduler", "HeunDiscreteScheduler"
PNDM, LMS, LCM = "PNDMScheduler", "LMSDiscreteScheduler", "LCMScheduler"
EDM_EULER, EDM_DPM = "EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"


@dataclass
class Run:
    """One call of a pipeline; every seed is one picture of the batch. None leaves an argument out.

    The names are those of the pipelines' arguments; `scheduler_options` go over the folder's scheduler config. `image`
    and `mask` name tensors of the golden file. An ensemble hands the latents of `family` at `denoising_end` to
    `refiner_family`, which goes on at `denoising_start` with the same generators, scheduler class and number of steps.
    """

    name: str
    family: str
    kind: str = "text2img"
    prompt: str = PROMPT
    negative_prompt: str | None = None
    scheduler: str = EULER
    scheduler_options: dict | None = None
    seeds: tuple[int, ...] = (7, 8)
    steps: int = 8
    guidance_scale: float = 5.0
    width: int = 72
    height: int = 56
    image: str | None = None
    mask: str | None = None
    strength: float | None = None
    guidance_rescale: float | None = None
    clip_skip: int | None = None
    denoising_end: float | None = None
    denoising_start: float | None = None
    refiner_family: str | None = None
    aesthetic_score: float | None = None
    negative_aesthetic_score: float | None = None
    # Heights come first in sizes, as in the pipelines.
    original_size: tuple[int, int] | None = None
    crops_coords_top_left: tuple[int, int] | None = None
    target_size: tuple[int, int] | None = None
    eta: float | None = None
    timesteps: tuple[int, ...] | None = None
    sigmas: tuple[float, ...] | None = None


# ---------------------------------------------------------------------------------------------------------------------
# Families.

BY_NAME = {family.name: family for family in FAMILIES}
EULER_ANCESTRAL_LEADING = BETAS | {
    "_class_name": ANCESTRAL, "_diffusers_version": "0.21.0.dev0", "clip_sample": False,
    "interpolation_type": "linear", "prediction_type": "epsilon", "sample_max_value": 1.0, "set_alpha_to_one": False,
    "skip_prk_steps": True, "steps_offset": 1, "timestep_spacing": "leading", "trained_betas": None,
    "use_karras_sigmas": False,
}
EDM = {
    "_class_name": EDM_DPM, "_diffusers_version": "0.27.0.dev0", "algorithm_type": "dpmsolver++",
    "dynamic_thresholding_ratio": 0.995, "euler_at_final": False, "final_sigmas_type": "zero",
    "lower_order_final": True, "num_train_timesteps": 1000, "prediction_type": "epsilon", "rho": 7.0,
    "sample_max_value": 1.0, "sigma_data": 0.5, "sigma_max": 80.0, "sigma_min": 0.002, "solver_order": 2,
    "solver_type": "midpoint", "thresholding": False,
}
LCM_DISTILLED = BETAS | {
    "_class_name": LCM, "_diffusers_version": "0.22.0.dev0", "clip_sample": False, "clip_sample_range": 1.0,
    "dynamic_thresholding_ratio": 0.995, "original_inference_steps": 50, "prediction_type": "epsilon",
    "rescale_betas_zero_snr": False, "sample_max_value": 1.0, "set_alpha_to_one": True, "steps_offset": 0,
    "thresholding": False, "timestep_scaling": 10.0, "timestep_spacing": "leading", "trained_betas": None,
}
PLAYGROUND_V25_VAE = {
    "scaling_factor": 0.5, "latents_mean": [-1.6574, 1.886, -1.383, 2.5155],
    "latents_std": [8.4927, 5.9022, 6.5498, 5.2299],
}

# Of these the repository keeps descriptions only: their networks, taken alone, are those of other families.
PIPELINE_FAMILIES = [
    # 9 channels: latents, mask, masked picture.
    replace(
        BY_NAME["sd15"], name="sd15_inpaint", pipeline="StableDiffusionInpaintPipeline", cases=[],
        unet=unet([32, 48, 64], 2, [CROSS_DOWN] * 2 + [DOWN], [UP] + [CROSS_UP] * 2, 32, in_channels=9),
        vae=vae([16, 32, 32, 48], 0.18215)),
    replace(
        BY_NAME["sdxl"], name="sdxl_inpaint", pipeline="StableDiffusionXLInpaintPipeline", cases=[],
        unet=unet(
            [32, 48], [2, 3], [DOWN, CROSS_DOWN], [CROSS_UP, UP], 80, in_channels=9,
            transformer_layers_per_block=[1, 2], **text_time(40, 6))),
    # Playground v2: SDXL's networks, with a scheduler and a guidance of its own.
    replace(BY_NAME["sdxl"], name="playground", scheduler=EULER_ANCESTRAL_LEADING, cases=[]),
    # Playground v2.5: noise levels up to 80, latents normalised channel by channel.
    replace(
        BY_NAME["sdxl"], name="playground_v25", scheduler=EDM, cases=[],
        vae=vae([24, 32, 48, 72], force_upcast=True, **PLAYGROUND_V25_VAE)),
    # The UNet takes the guidance scale as an embedding and needs no unguided half of the batch.
    Family(
        name="lcm", pipeline="LatentConsistencyModelPipeline",
        text_encoder=clip(32, 4, "quick_gelu", 32), text_encoder_2=None,
        unet=unet(
            [32, 48, 64], 2, [CROSS_DOWN] * 2 + [DOWN], [UP] + [CROSS_UP] * 2, 32, time_cond_proj_dim=16),
        vae=vae([16, 32, 32, 48], 0.18215), scheduler=LCM_DISTILLED, unet_timestep=499,
        tokenizers={"tokenizer": "tokenizer"}, cases=[]),
]

# ---------------------------------------------------------------------------------------------------------------------
# Runs. Pictures and masks are those of pipelines.py's `pictures`.


def image_to_image() -> list[Run]:
    def run(name: str, family: str, **more) -> Run:
        return Run(f"img2img_{family}_{name}", family, "img2img", image="image", **more)

    runs = [
        run(f"{label}_{round(100 * strength)}", "sd15", scheduler=scheduler, strength=strength, **more)
        for label, scheduler, more in (
            ("euler", EULER, {}), ("ddim", DDIM, {}), ("dpm", DPM, {}), ("pndm", PNDM, {}), ("heun", HEUN, {}),
            ("euler_a", ANCESTRAL, {}), ("lms", LMS, {}))
        for strength in (0.3, 0.75, 1.0)
    ]
    runs += [
        run("ddim_eta", "sd15", scheduler=DDIM, strength=0.75, eta=0.7),
        run("dpm_sde", "sd15", scheduler=DPM, strength=0.75, scheduler_options={"algorithm_type": "sde-dpmsolver++"}),
        run("unipc", "sd15", scheduler="UniPCMultistepScheduler", strength=0.75),
        run("negative", "sd15", negative_prompt=NEGATIVE, strength=0.75),
        run("clip_skip", "sd15", strength=0.75, clip_skip=1),
        replace(run("tall", "sd15", strength=0.6), image="image_tall", width=40, height=64, seeds=(3,)),
        run("euler_30", "sdxl", strength=0.3),
        run("euler_75", "sdxl", strength=0.75),
        run("dpm_30", "sdxl", scheduler=DPM, strength=0.3),
        run("dpm_75", "sdxl", scheduler=DPM, strength=0.75),
        run("rescale", "sdxl", strength=0.75, guidance_rescale=0.7),
        run("ddim_75", "sd21", scheduler=DDIM, strength=0.75),
        run("euler_75", "sd21", strength=0.75),
        run("euler_30", "refiner", strength=0.3, steps=20),
        run("scores", "refiner", strength=0.3, steps=20, aesthetic_score=7.0, negative_aesthetic_score=3.0),
        run("edm_75", "playground_v25", scheduler=EDM_DPM, strength=0.75, guidance_scale=3.0),
    ]
    return runs


def inpainting() -> list[Run]:
    def run(name: str, family: str, **more) -> Run:
        return Run(f"inpaint_{family}_{name}", family, "inpaint", image="image", mask="mask", **more)

    schedulers = (("euler", EULER), ("ddim", DDIM), ("euler_a", ANCESTRAL))
    runs = [
        run(f"{label}_{round(100 * strength)}", family, scheduler=scheduler, strength=strength)
        for family in ("sd15", "sdxl", "sd15_inpaint", "sdxl_inpaint")
        for label, scheduler in schedulers
        for strength in (1.0, 0.6)
    ]
    tall = dict(width=40, height=64, seeds=(3,))
    runs += [
        replace(run("tall", "sd15", strength=0.6), image="image_tall", mask="mask_tall", **tall),
        replace(run("tall", "sd15_inpaint", strength=1.0), image="image_tall", mask="mask_tall", **tall),
        run("heun_60", "sd15", scheduler=HEUN, strength=0.6),
        run("dpm_60", "sd15", scheduler=DPM, strength=0.6),
        run("pndm_60", "sd15", scheduler=PNDM, strength=0.6),
        run("unguided", "sd15_inpaint", strength=1.0, guidance_scale=1.0),
        run("rescale", "sdxl", strength=0.6, guidance_rescale=0.7),
    ]
    return runs


def ensembles() -> list[Run]:
    def run(name: str, **more) -> Run:
        return Run(
            f"ensemble_{name}", "sdxl", "ensemble", refiner_family="refiner",
            **dict(denoising_end=0.8, denoising_start=0.8) | more)

    runs = [
        run(f"{label}_{steps}", scheduler=scheduler, steps=steps)
        for label, scheduler in (("euler", EULER), ("dpm", DPM), ("heun", HEUN))
        for steps in (20, 25)
    ]
    early = dict(denoising_end=0.2, denoising_start=0.2)
    return runs + [
        run("euler_a_20", scheduler=ANCESTRAL, steps=20),
        run("ddim_20", scheduler=DDIM, steps=20),
        run("negative", steps=20, negative_prompt=NEGATIVE),
        # The last fifth of the steps changes so little that the scores would hardly show there.
        run("early", steps=20, **early),
        run("early_scores", steps=20, aesthetic_score=9.0, negative_aesthetic_score=1.0, **early),
    ]


# Class, and what goes over the folder's config.
SCHEDULERS = {
    "euler": (EULER, None),
    "euler_karras": (EULER, {"use_karras_sigmas": True}),
    "euler_exponential": (EULER, {"use_exponential_sigmas": True}),
    "euler_beta": (EULER, {"use_beta_sigmas": True}),
    "euler_trailing": (EULER, {"timestep_spacing": "trailing"}),
    "euler_a": (ANCESTRAL, None),
    "heun": (HEUN, None),
    "ddim": (DDIM, None),
    "ddpm": ("DDPMScheduler", None),
    "pndm": (PNDM, None),
    "lms": (LMS, None),
    "dpm_2m": (DPM, None),
    "dpm_2m_karras": (DPM, {"use_karras_sigmas": True}),
    "dpm_2m_sde": (DPM, {"algorithm_type": "sde-dpmsolver++"}),
    "dpm_2m_sde_karras": (DPM, {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True}),
    "dpm_singlestep": ("DPMSolverSinglestepScheduler", None),
    "dpm_singlestep_karras": ("DPMSolverSinglestepScheduler", {"use_karras_sigmas": True}),
    "dpm2": ("KDPM2DiscreteScheduler", None),
    "dpm2_a": ("KDPM2AncestralDiscreteScheduler", None),
    "unipc": ("UniPCMultistepScheduler", None),
    "lcm": (LCM, None),
    "tcd": ("TCDScheduler", None),
}
# Its noise is not the pipeline's: a Brownian tree (torchsde) with a seed of the config gives it, for the whole batch.
# Caldera seeds the tree with the picture's own seed, as the web UI does.
DPM_SDE = ("DPMSolverSDEScheduler", {"noise_sampler_seed": 7})


def text_to_image() -> list[Run]:
    runs = [
        Run(f"scheduler_{family}_{label}", family, scheduler=scheduler, scheduler_options=options)
        for family in ("sd15", "sdxl")
        for label, (scheduler, options) in SCHEDULERS.items()
    ]
    scheduler, options = DPM_SDE
    runs += [Run("scheduler_sd15_dpm_sde", "sd15", scheduler=scheduler, scheduler_options=options, seeds=(7,))]
    runs += [
        Run(f"{family}_{name}", family, **more)
        for family in ("sd15", "sdxl")
        for name, more in {
            "rescale": {"guidance_rescale": 0.7},
            "clip_skip_1": {"clip_skip": 1},
            "clip_skip_2": {"clip_skip": 2},
            "clip_skip_negative": {"clip_skip": 1, "negative_prompt": NEGATIVE},
            "guidance_1": {"guidance_scale": 1.0},
            "guidance_0": {"guidance_scale": 0.0},
            "negative": {"negative_prompt": NEGATIVE},
            "empty_negative": {"negative_prompt": ""},
            "long_prompt": {"prompt": LONG_PROMPT},
            "one_step": {"steps": 1},
        }.items()
    ]
    timesteps, sigmas = (999, 850, 700, 500, 300, 150, 50), (14.6, 8.0, 4.5, 2.0, 0.9, 0.3, 0.1, 0.0)
    runs += [
        Run("timesteps_euler", "sdxl", timesteps=timesteps, steps=7),
        Run("timesteps_heun", "sd15", scheduler=HEUN, timesteps=timesteps, steps=7),
        Run("timesteps_dpm", "sd15", scheduler=DPM, timesteps=timesteps, steps=7),
        Run("timesteps_ddpm", "sd15", scheduler="DDPMScheduler", timesteps=timesteps, steps=7),
        Run("timesteps_lcm", "sd15", scheduler=LCM, timesteps=(959, 699, 459, 219), steps=4),
        Run("timesteps_tcd", "sd15", scheduler="TCDScheduler", timesteps=(959, 699, 459, 219), steps=4),
        Run("eta_ddim", "sd15", scheduler=DDIM, eta=0.7),
        Run("eta_tcd", "sd15", scheduler="TCDScheduler", eta=0.3),
        Run("sigmas_euler", "sdxl", sigmas=sigmas, steps=8),
        Run(
            "sizes", "sdxl", original_size=(512, 384), crops_coords_top_left=(16, 40), target_size=(128, 160)),
        Run("sd21_ddim", "sd21", scheduler=DDIM),
        # Stable Diffusion 2.1 base: the same networks, trained to predict the noise.
        Run(
            "sd21_base_pndm", "sd21", scheduler="PNDMScheduler",
            scheduler_options={"prediction_type": "epsilon"}),
        Run("playground", "playground", scheduler=ANCESTRAL, guidance_scale=3.0, steps=12),
        Run("playground_negative", "playground", scheduler=ANCESTRAL, guidance_scale=3.0, negative_prompt=NEGATIVE),
        Run("playground_v25", "playground_v25", scheduler=EDM_DPM, guidance_scale=3.0, steps=12),
        Run("playground_v25_euler", "playground_v25", scheduler=EDM_EULER, guidance_scale=5.0, steps=12),
        Run("lcm", "lcm", scheduler=LCM, guidance_scale=8.5, steps=4),
        Run("lcm_guidance_2", "lcm", scheduler=LCM, guidance_scale=2.0, steps=6),
    ]
    return runs


RUNS = text_to_image() + image_to_image() + inpainting() + ensembles()
