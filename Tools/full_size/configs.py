"""Configs of the original models, with the keys that the hub's files have."""

# Parameters of each part as the original models have them: a wrong shape or a missing tensor shows here.
PARAMETERS = {
    "sd15": {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480},
    "sd15-inpaint": {"unet": 859_535_364, "vae": 83_653_863, "text_encoder": 123_060_480},
    "sd21": {"unet": 865_910_724, "vae": 83_653_863, "text_encoder": 340_387_840},
    "sdxl": {
        "unet": 2_567_463_684, "vae": 83_653_863, "text_encoder": 123_060_480, "text_encoder_2": 694_659_840},
    "refiner": {"unet": 2_259_526_660, "vae": 83_653_863, "text_encoder_2": 694_659_840},
}
# What differs in the configs alone: SDXL 0.9 does not even in them.
for playground in ("playground", "playground-512", "playground-256"):
    PARAMETERS[playground] = PARAMETERS["sdxl"]
PARAMETERS["sd21-base"] = PARAMETERS["sd21"]
# Of the year 2022: other names in the VAE, position ids in the text encoder, one text encoder.
FIRST_GENERATION = ("sd15", "sd15-inpaint", "sd21", "sd21-base")

DOWN, CROSS_DOWN, UP, CROSS_UP = "DownBlock2D", "CrossAttnDownBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"
FOUR_LEVELS = {
    "block_out_channels": [320, 640, 1280, 1280],
    "down_block_types": [CROSS_DOWN, CROSS_DOWN, CROSS_DOWN, DOWN],
    "up_block_types": [UP, CROSS_UP, CROSS_UP, CROSS_UP],
}
UNET = {
    "_class_name": "UNet2DConditionModel", "act_fn": "silu", "center_input_sample": False, "downsample_padding": 1,
    "flip_sin_to_cos": True, "freq_shift": 0, "in_channels": 4, "layers_per_block": 2, "mid_block_scale_factor": 1,
    "norm_eps": 1e-05, "norm_num_groups": 32, "out_channels": 4,
}
TEXT_TIME = {
    "addition_embed_type": "text_time", "addition_time_embed_dim": 256, "use_linear_projection": True,
    "upcast_attention": None, "resnet_time_scale_shift": "default", "time_embedding_type": "positional",
    "only_cross_attention": False, "dual_cross_attention": False, "class_embed_type": None,
    "conv_in_kernel": 3, "conv_out_kernel": 3,
}
UNETS = {
    "sd15": UNET | FOUR_LEVELS | {"sample_size": 64, "attention_head_dim": 8, "cross_attention_dim": 768},
    "sd21": UNET | FOUR_LEVELS | {
        "sample_size": 96, "attention_head_dim": [5, 10, 20, 20], "cross_attention_dim": 1024,
        "use_linear_projection": True, "upcast_attention": True, "dual_cross_attention": False,
        "num_class_embeds": None, "only_cross_attention": False},
    "sdxl": UNET | TEXT_TIME | {
        "sample_size": 128, "block_out_channels": [320, 640, 1280], "attention_head_dim": [5, 10, 20],
        "down_block_types": [DOWN, CROSS_DOWN, CROSS_DOWN], "up_block_types": [CROSS_UP, CROSS_UP, UP],
        "cross_attention_dim": 2048, "transformer_layers_per_block": [1, 2, 10],
        "projection_class_embeddings_input_dim": 2816},
    "refiner": UNET | TEXT_TIME | {
        "sample_size": 128, "block_out_channels": [384, 768, 1536, 1536], "attention_head_dim": [6, 12, 24, 24],
        "down_block_types": [DOWN, CROSS_DOWN, CROSS_DOWN, DOWN], "up_block_types": [UP, CROSS_UP, CROSS_UP, UP],
        "cross_attention_dim": 1280, "transformer_layers_per_block": 4,
        "projection_class_embeddings_input_dim": 2560},
}
UNETS |= {
    "sd15-inpaint": UNETS["sd15"] | {"in_channels": 9}, "sd21-base": UNETS["sd21"] | {"sample_size": 64},
    "playground": UNETS["sdxl"], "playground-512": UNETS["sdxl"] | {"sample_size": 64},
    "playground-256": UNETS["sdxl"] | {"sample_size": 32},
}


def vae_config(arch: str) -> dict:
    config = {
        "_class_name": "AutoencoderKL", "act_fn": "silu", "block_out_channels": [128, 256, 512, 512],
        "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4, "in_channels": 3,
        "latent_channels": 4, "layers_per_block": 2, "norm_num_groups": 32, "out_channels": 3,
        "sample_size": {"sd21": 768}.get(arch, 512) if arch in FIRST_GENERATION else 1024,
    }
    if arch not in FIRST_GENERATION:
        config |= {"scaling_factor": 0.13025, "force_upcast": True}
    return config


def clip_config(width: int, layers: int, heads: int, activation: str, projection: int, projected: bool) -> dict:
    return {
        "architectures": ["CLIPTextModelWithProjection" if projected else "CLIPTextModel"], "attention_dropout": 0.0,
        "bos_token_id": 0, "dropout": 0.0, "eos_token_id": 2, "hidden_act": activation, "hidden_size": width,
        "initializer_factor": 1.0, "initializer_range": 0.02, "intermediate_size": 4 * width, "layer_norm_eps": 1e-05,
        "max_position_embeddings": 77, "model_type": "clip_text_model", "num_attention_heads": heads,
        "num_hidden_layers": layers, "pad_token_id": 1, "projection_dim": projection, "vocab_size": 49408,
    }


CLIP_L = clip_config(768, 12, 12, "quick_gelu", 768, False)
CLIP_H = clip_config(1024, 23, 16, "gelu", 512, False)
CLIP_BIG_G = clip_config(1280, 32, 20, "gelu", 1280, True)
TEXT_ENCODERS = {
    "sd15": {"text_encoder": CLIP_L},
    "sd21": {"text_encoder": CLIP_H},
    "sdxl": {"text_encoder": CLIP_L, "text_encoder_2": CLIP_BIG_G},
    "refiner": {"text_encoder_2": CLIP_BIG_G},
}
TEXT_ENCODERS |= {"sd15-inpaint": TEXT_ENCODERS["sd15"], "sd21-base": TEXT_ENCODERS["sd21"]}
TEXT_ENCODERS |= dict.fromkeys(("playground", "playground-512", "playground-256"), TEXT_ENCODERS["sdxl"])

BETAS = {
    "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "clip_sample": False,
    "num_train_timesteps": 1000, "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1,
    "trained_betas": None,
}
EULER = BETAS | {
    "_class_name": "EulerDiscreteScheduler", "interpolation_type": "linear", "prediction_type": "epsilon",
    "sample_max_value": 1.0, "timestep_spacing": "leading", "use_karras_sigmas": False,
}
SCHEDULERS = {
    "sd15": BETAS | {"_class_name": "PNDMScheduler"},
    "sd15-inpaint": BETAS | {"_class_name": "PNDMScheduler"},
    "sd21": BETAS | {"_class_name": "DDIMScheduler", "prediction_type": "v_prediction"},
    "sd21-base": BETAS | {"_class_name": "PNDMScheduler", "prediction_type": "epsilon"},
    "sdxl": EULER,
    "refiner": EULER,
}
SCHEDULERS |= dict.fromkeys(
    ("playground", "playground-512", "playground-256"),
    EULER | {"_class_name": "EulerAncestralDiscreteScheduler"})


def model_index(arch: str) -> dict:
    """Class names and components; the checker and the extractors of the originals are left out."""
    index: dict = {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.6.0"}
    if arch in FIRST_GENERATION:
        index |= {"safety_checker": [None, None], "feature_extractor": [None, None]}
    else:
        index |= {"_class_name": "StableDiffusionXLPipeline", "_diffusers_version": "0.19.0.dev0"}
        index["force_zeros_for_empty_prompt"] = arch != "refiner"
    if arch == "sd15-inpaint":
        index["_class_name"] = "StableDiffusionInpaintPipeline"
    if arch == "refiner":
        index |= {"_class_name": "StableDiffusionXLImg2ImgPipeline", "requires_aesthetics_score": True}
        index |= {"text_encoder": [None, None], "tokenizer": [None, None]}
    for name, config in TEXT_ENCODERS[arch].items():
        index[name] = ["transformers", config["architectures"][0]]
        index[name.replace("text_encoder", "tokenizer")] = ["transformers", "CLIPTokenizer"]
    return index | {
        "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", SCHEDULERS[arch]["_class_name"]],
    }
