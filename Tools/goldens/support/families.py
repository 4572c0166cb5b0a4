"""The tiny model folders: one per family of Stable Diffusion, each with the quirks of its family at small sizes.

Sizes are varied on purpose: channel counts that are no powers of two, levels that do not only grow, head counts that
differ by level. norm_num_groups is 8 throughout.
"""

from dataclasses import dataclass, field

GROUPS = 8
DOWN, CROSS_DOWN = "DownBlock2D", "CrossAttnDownBlock2D"
UP, CROSS_UP = "UpBlock2D", "CrossAttnUpBlock2D"
PROMPT = "a red circle above a blue square"
OTHER_PROMPT = "seven green cats in the rain"
BETAS = {"beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "num_train_timesteps": 1000}
# What the repositories of SD1.x and SD2.x on the hub hold: no timestep_spacing, so each scheduler's own default counts.
PNDM = BETAS | {
    "_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0", "trained_betas": None,
    "skip_prk_steps": True, "set_alpha_to_one": False, "steps_offset": 1, "clip_sample": False,
}
DDIM_V = BETAS | {
    "_class_name": "DDIMScheduler", "_diffusers_version": "0.8.0", "trained_betas": None, "clip_sample": False,
    "prediction_type": "v_prediction", "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1,
}
EULER_LEADING = BETAS | {
    "_class_name": "EulerDiscreteScheduler", "_diffusers_version": "0.19.0.dev0", "trained_betas": None,
    "clip_sample": False, "interpolation_type": "linear", "prediction_type": "epsilon", "sample_max_value": 1.0,
    "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1, "timestep_spacing": "leading",
    "use_karras_sigmas": False,
}


@dataclass
class Case:
    """One run of a pipeline: every seed of `seeds` is one picture of the batch."""

    name: str
    prompt: str = PROMPT
    negative_prompt: str | None = None
    scheduler: str = "EulerDiscreteScheduler"
    seeds: tuple[int, ...] = (7, 8)
    steps: int = 20
    guidance_scale: float = 7.5
    width: int = 72
    height: int = 56
    pictures: bool = False


@dataclass
class Family:
    name: str
    pipeline: str
    text_encoder: dict | None
    text_encoder_2: dict | None
    unet: dict
    vae: dict
    scheduler: dict
    cases: list[Case]
    unet_timestep: float
    pipeline_values: dict = field(default_factory=dict)
    # Which of the embedded model's tokenizer folders each tokenizer of this family is a copy of.
    tokenizers: dict = field(default_factory=dict)
    # Configs cut down to the keys that the hub's files of 2022 hold, and the VAE's attention under its names of then.
    files_of_2022: bool = False


def clip(hidden: int, heads: int, activation: str, projection: int) -> dict:
    return dict(
        vocab_size=49408, max_position_embeddings=77, hidden_size=hidden, intermediate_size=2 * hidden,
        num_hidden_layers=3, num_attention_heads=heads, hidden_act=activation, projection_dim=projection,
        layer_norm_eps=1e-5, bos_token_id=0, eos_token_id=2, pad_token_id=1,
    )


def unet(channels: list[int], heads: int | list[int], down: list[str], up: list[str], cross: int, **more) -> dict:
    return dict(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=2, norm_num_groups=GROUPS,
        block_out_channels=channels, attention_head_dim=heads, down_block_types=down, up_block_types=up,
        cross_attention_dim=cross,
    ) | more


def vae(channels: list[int], scaling_factor: float, **more) -> dict:
    return dict(
        sample_size=64, in_channels=3, out_channels=3, latent_channels=4, layers_per_block=2, norm_num_groups=GROUPS,
        block_out_channels=channels, scaling_factor=scaling_factor,
        down_block_types=["DownEncoderBlock2D"] * len(channels), up_block_types=["UpDecoderBlock2D"] * len(channels),
    ) | more


def text_time(pooled: int, scalars: int) -> dict:
    return dict(
        addition_embed_type="text_time", addition_time_embed_dim=8, use_linear_projection=True,
        projection_class_embeddings_input_dim=pooled + 8 * scalars,
    )


FAMILIES = [
    # attention_head_dim is one number of heads for all levels (head sizes 16, 40, 80, 40); 1x1 convolutions as
    # projections; a scheduler that has to be replaced.
    Family(
        name="sd15", pipeline="StableDiffusionPipeline", files_of_2022=True,
        text_encoder=clip(32, 4, "quick_gelu", 32), text_encoder_2=None,
        unet=unet([32, 80, 160, 80], 2, [CROSS_DOWN] * 3 + [DOWN], [UP] + [CROSS_UP] * 3, 32),
        vae=vae([16, 32, 48, 64], 0.18215), scheduler=PNDM, unet_timestep=601,
        tokenizers={"tokenizer": "tokenizer"},
        cases=[
            Case("pipeline"),
            Case("pipeline_negative", negative_prompt="blurry, yellow"),
            Case("pipeline_ddim", scheduler="DDIMScheduler"),
        ],
    ),
    # Linear projections, heads by level, attention logits in fp32, v prediction, "!" as padding.
    Family(
        name="sd21", pipeline="StableDiffusionPipeline",
        text_encoder=clip(32, 2, "gelu", 32), text_encoder_2=None,
        unet=unet(
            [32, 64, 96, 96], [2, 2, 4, 4], [CROSS_DOWN] * 3 + [DOWN], [UP] + [CROSS_UP] * 3, 32,
            use_linear_projection=True, upcast_attention=True),
        vae=vae([16, 32, 32, 48], 0.18215), scheduler=DDIM_V, unet_timestep=947.3157958984375,
        tokenizers={"tokenizer": "tokenizer_2"},
        cases=[
            Case("pipeline", guidance_scale=5.0),
            Case("pipeline_ddim", scheduler="DDIMScheduler", guidance_scale=5.0),
        ],
    ),
    # Two text encoders of unlike width, transformers of depth 2 and 3 (mirrored on the way up), text and time ids.
    Family(
        name="sdxl", pipeline="StableDiffusionXLPipeline", pipeline_values={"force_zeros_for_empty_prompt": True},
        text_encoder=clip(32, 4, "quick_gelu", 32), text_encoder_2=clip(48, 3, "gelu", 40),
        unet=unet(
            [32, 64, 96], [2, 4, 3], [DOWN, CROSS_DOWN, CROSS_DOWN], [CROSS_UP, CROSS_UP, UP], 80,
            transformer_layers_per_block=[1, 2, 3], **text_time(40, 6)),
        vae=vae([24, 32, 48, 72], 0.13025, force_upcast=True), scheduler=EULER_LEADING, unet_timestep=951,
        tokenizers={"tokenizer": "tokenizer", "tokenizer_2": "tokenizer_2"},
        cases=[
            Case("pipeline", guidance_scale=5.0),
            Case("pipeline_euler_a", scheduler="EulerAncestralDiscreteScheduler", guidance_scale=5.0),
        ],
    ),
    # The second text encoder alone, an aesthetic score among five ids, one depth for all levels, no zeroed negative.
    Family(
        name="refiner", pipeline="StableDiffusionXLImg2ImgPipeline",
        pipeline_values={"force_zeros_for_empty_prompt": False, "requires_aesthetics_score": True},
        text_encoder=None, text_encoder_2=clip(48, 3, "gelu", 32),
        unet=unet(
            [32, 64, 64, 64], [2, 4, 8, 8], [DOWN, CROSS_DOWN, CROSS_DOWN, DOWN], [UP, CROSS_UP, CROSS_UP, UP], 48,
            transformer_layers_per_block=2, **text_time(32, 5)),
        vae=vae([16, 24, 32, 40], 0.13025, force_upcast=True), scheduler=EULER_LEADING, unet_timestep=199,
        tokenizers={"tokenizer_2": "tokenizer_2"},
        cases=[Case("pipeline", guidance_scale=5.0)],
    ),
]

EMBEDDED_CASES = [
    Case("pipeline", guidance_scale=4.5, width=128, height=128, pictures=True),
    Case(
        "pipeline_wide", prompt="a green triangle on a white background", seeds=(3,), guidance_scale=4.5,
        width=160, height=96, pictures=True),
    Case(
        "pipeline_negative", prompt="a yellow star", negative_prompt="black background", seeds=(11,),
        guidance_scale=4.5, width=128, height=128, pictures=True),
]
