"""Names and shapes of the tensors of each network, as diffusers and transformers name them.

Each function adds the tensors of one module to `shapes`.
"""

from configs import CROSS_DOWN, CROSS_UP

Shapes = dict[str, list[int]]


def norm(shapes: Shapes, name: str, channels: int) -> None:
    shapes[f"{name}.weight"] = [channels]
    shapes[f"{name}.bias"] = [channels]


def linear(shapes: Shapes, name: str, inner: int, outer: int, bias: bool = True) -> None:
    shapes[f"{name}.weight"] = [outer, inner]
    if bias:
        shapes[f"{name}.bias"] = [outer]


def conv(shapes: Shapes, name: str, inner: int, outer: int, size: int = 3) -> None:
    shapes[f"{name}.weight"] = [outer, inner, size, size]
    shapes[f"{name}.bias"] = [outer]


def resnet(shapes: Shapes, name: str, inner: int, outer: int, time: int | None) -> None:
    norm(shapes, f"{name}.norm1", inner)
    conv(shapes, f"{name}.conv1", inner, outer)
    if time:
        linear(shapes, f"{name}.time_emb_proj", time, outer)
    norm(shapes, f"{name}.norm2", outer)
    conv(shapes, f"{name}.conv2", outer, outer)
    if inner != outer:
        conv(shapes, f"{name}.conv_shortcut", inner, outer, 1)


def transformer(shapes: Shapes, name: str, config: dict, channels: int, depth: int) -> None:
    norm(shapes, f"{name}.norm", channels)
    for projection in ("proj_in", "proj_out"):
        if config.get("use_linear_projection"):
            linear(shapes, f"{name}.{projection}", channels, channels)
        else:
            conv(shapes, f"{name}.{projection}", channels, channels, 1)
    for layer in range(depth):
        block = f"{name}.transformer_blocks.{layer}"
        for number, context in (1, channels), (2, config["cross_attention_dim"]):
            linear(shapes, f"{block}.attn{number}.to_q", channels, channels, bias=False)
            linear(shapes, f"{block}.attn{number}.to_k", context, channels, bias=False)
            linear(shapes, f"{block}.attn{number}.to_v", context, channels, bias=False)
            linear(shapes, f"{block}.attn{number}.to_out.0", channels, channels)
        for number in (1, 2, 3):
            norm(shapes, f"{block}.norm{number}", channels)
        linear(shapes, f"{block}.ff.net.0.proj", channels, 8 * channels)
        linear(shapes, f"{block}.ff.net.2", 4 * channels, channels)


def unet_shapes(config: dict) -> Shapes:
    shapes: Shapes = {}
    channels, layers = config["block_out_channels"], config["layers_per_block"]
    levels, time = len(channels), 4 * channels[0]
    depths = config.get("transformer_layers_per_block", 1)
    depths = [depths] * levels if isinstance(depths, int) else depths
    conv(shapes, "conv_in", config["in_channels"], channels[0])
    linear(shapes, "time_embedding.linear_1", channels[0], time)
    linear(shapes, "time_embedding.linear_2", time, time)
    if "addition_embed_type" in config:
        linear(shapes, "add_embedding.linear_1", config["projection_class_embeddings_input_dim"], time)
        linear(shapes, "add_embedding.linear_2", time, time)

    skips, current = [channels[0]], channels[0]
    for level, kind in enumerate(config["down_block_types"]):
        block = f"down_blocks.{level}"
        for layer in range(layers):
            resnet(shapes, f"{block}.resnets.{layer}", current, channels[level], time)
            current = channels[level]
            if kind == CROSS_DOWN:
                transformer(shapes, f"{block}.attentions.{layer}", config, current, depths[level])
            skips.append(current)
        if level < levels - 1:
            conv(shapes, f"{block}.downsamplers.0.conv", current, current)
            skips.append(current)

    for number in (0, 1):
        resnet(shapes, f"mid_block.resnets.{number}", current, current, time)
    transformer(shapes, "mid_block.attentions.0", config, current, depths[-1])

    for number, kind in enumerate(config["up_block_types"]):
        block, level = f"up_blocks.{number}", levels - 1 - number
        for layer in range(layers + 1):
            resnet(shapes, f"{block}.resnets.{layer}", current + skips.pop(), channels[level], time)
            current = channels[level]
            if kind == CROSS_UP:
                transformer(shapes, f"{block}.attentions.{layer}", config, current, depths[level])
        if level > 0:
            conv(shapes, f"{block}.upsamplers.0.conv", current, current)
    norm(shapes, "conv_norm_out", channels[0])
    conv(shapes, "conv_out", channels[0], config["out_channels"])
    return shapes


def vae_shapes(config: dict, attention_of_2022: bool) -> Shapes:
    shapes: Shapes = {}
    channels, layers, latent = config["block_out_channels"], config["layers_per_block"], config["latent_channels"]

    def half(name: str, blocks: str, sampler: str, first: int, order: list[int], layers: int, last: int) -> None:
        conv(shapes, f"{name}.conv_in", first, order[0])
        current = order[0]
        if name == "decoder":
            middle(name, current)
        for level, width in enumerate(order):
            for layer in range(layers):
                resnet(shapes, f"{name}.{blocks}.{level}.resnets.{layer}", current, width, None)
                current = width
            if level < len(order) - 1:
                conv(shapes, f"{name}.{blocks}.{level}.{sampler}.0.conv", current, current)
        if name == "encoder":
            middle(name, current)
        norm(shapes, f"{name}.conv_norm_out", current)
        conv(shapes, f"{name}.conv_out", current, last)

    def middle(name: str, width: int) -> None:
        for number in (0, 1):
            resnet(shapes, f"{name}.mid_block.resnets.{number}", width, width, None)
        attention = f"{name}.mid_block.attentions.0"
        norm(shapes, f"{attention}.group_norm", width)
        of_2022, of_today = ("query", "key", "value", "proj_attn"), ("to_q", "to_k", "to_v", "to_out.0")
        for projection in of_2022 if attention_of_2022 else of_today:
            linear(shapes, f"{attention}.{projection}", width, width)

    half("encoder", "down_blocks", "downsamplers", config["in_channels"], channels, layers, 2 * latent)
    half("decoder", "up_blocks", "upsamplers", latent, channels[::-1], layers + 1, config["out_channels"])
    conv(shapes, "quant_conv", 2 * latent, 2 * latent, 1)
    conv(shapes, "post_quant_conv", latent, latent, 1)
    return shapes


def clip_shapes(config: dict) -> Shapes:
    shapes: Shapes = {}
    width = config["hidden_size"]
    shapes["text_model.embeddings.token_embedding.weight"] = [config["vocab_size"], width]
    shapes["text_model.embeddings.position_embedding.weight"] = [config["max_position_embeddings"], width]
    for number in range(config["num_hidden_layers"]):
        layer = f"text_model.encoder.layers.{number}"
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            linear(shapes, f"{layer}.self_attn.{projection}", width, width)
        norm(shapes, f"{layer}.layer_norm1", width)
        norm(shapes, f"{layer}.layer_norm2", width)
        linear(shapes, f"{layer}.mlp.fc1", width, config["intermediate_size"])
        linear(shapes, f"{layer}.mlp.fc2", config["intermediate_size"], width)
    norm(shapes, "text_model.final_layer_norm", width)
    if config["architectures"] == ["CLIPTextModelWithProjection"]:
        linear(shapes, "text_projection", width, config["projection_dim"], bias=False)
    return shapes
