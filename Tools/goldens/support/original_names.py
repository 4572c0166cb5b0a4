"""Names and shapes of the tensors in single-file checkpoints, as the original code builds the networks.

Written after the constructors of the original repositories: latent-diffusion's and generative-models' `UNetModel`
(openaimodel.py), latent-diffusion's `Encoder` and `Decoder` (model.py), transformers' CLIPTextModel and OpenCLIP's text
tower. Shapes are PyTorch's.
"""

from dataclasses import dataclass, replace

Shapes = dict[str, list[int]]


@dataclass(frozen=True)
class UNet:
    model_channels: int
    channel_mult: tuple[int, ...]
    # Transformer blocks in each level's transformers, 0 where a level has none.
    depth: tuple[int, ...]
    middle_depth: int
    context: int
    linear: bool
    labels: int | None = None
    in_channels: int = 4
    layers: int = 2


@dataclass(frozen=True)
class Autoencoder:
    channels: int
    channel_mult: tuple[int, ...] = (1, 2, 4, 4)
    layers: int = 2
    latents: int = 4


@dataclass(frozen=True)
class TextEncoder:
    """`form` is "transformers" or "open_clip"; `projection` is the width of text_projection, if there is one."""

    prefix: str
    form: str
    width: int
    layers: int
    projection: int | None = None
    vocabulary: int = 49408
    positions: int = 77


@dataclass(frozen=True)
class Checkpoint:
    unet: UNet
    autoencoder: Autoencoder
    text_encoders: dict[str, TextEncoder]

    def shapes(self) -> Shapes:
        shapes = prefixed("model.diffusion_model.", unet(self.unet))
        shapes |= prefixed("first_stage_model.", autoencoder(self.autoencoder))
        for encoder in self.text_encoders.values():
            make = open_clip if encoder.form == "open_clip" else transformers_clip
            shapes |= prefixed(encoder.prefix, make(encoder))
        return shapes

    def tiny(self) -> "Checkpoint":
        """The same structure with narrow layers. The width of the text stays where it tells architectures apart."""
        context = self.unet.context if self.unet.context in (768, 1024) else 24
        labels = self.unet.labels and 40
        encoders = {
            name: replace(
                encoder, width=12, vocabulary=30, positions=7, projection=encoder.projection and 20)
            for name, encoder in self.text_encoders.items()
        }
        return Checkpoint(
            replace(self.unet, model_channels=4, context=context, labels=labels), replace(self.autoencoder, channels=4),
            encoders)


def prefixed(prefix: str, shapes: Shapes) -> Shapes:
    return {prefix + name: shape for name, shape in shapes.items()}


class Collector:
    """Adds the tensors of layers to one table."""

    def __init__(self) -> None:
        self.shapes: Shapes = {}

    def norm(self, name: str, channels: int) -> None:
        self.shapes |= {f"{name}.weight": [channels], f"{name}.bias": [channels]}

    def linear(self, name: str, inner: int, outer: int, bias: bool = True) -> None:
        self.shapes[f"{name}.weight"] = [outer, inner]
        if bias:
            self.shapes[f"{name}.bias"] = [outer]

    def conv(self, name: str, inner: int, outer: int, size: int = 3) -> None:
        self.shapes |= {f"{name}.weight": [outer, inner, size, size], f"{name}.bias": [outer]}


class UNetCollector(Collector):
    def __init__(self, config: UNet) -> None:
        super().__init__()
        self.config = config
        self.time = 4 * config.model_channels

    def res_block(self, name: str, inner: int, outer: int) -> None:
        self.norm(f"{name}.in_layers.0", inner)
        self.conv(f"{name}.in_layers.2", inner, outer)
        self.linear(f"{name}.emb_layers.1", self.time, outer)
        self.norm(f"{name}.out_layers.0", outer)
        self.conv(f"{name}.out_layers.3", outer, outer)
        if inner != outer:
            self.conv(f"{name}.skip_connection", inner, outer, 1)

    def spatial_transformer(self, name: str, channels: int, depth: int) -> None:
        self.norm(f"{name}.norm", channels)
        for projection in ("proj_in", "proj_out"):
            if self.config.linear:
                self.linear(f"{name}.{projection}", channels, channels)
            else:
                self.conv(f"{name}.{projection}", channels, channels, 1)
        for number in range(depth):
            self.transformer_block(f"{name}.transformer_blocks.{number}", channels)

    def transformer_block(self, name: str, channels: int) -> None:
        for attention, context in (("attn1", channels), ("attn2", self.config.context)):
            self.linear(f"{name}.{attention}.to_q", channels, channels, bias=False)
            for part in ("to_k", "to_v"):
                self.linear(f"{name}.{attention}.{part}", context, channels, bias=False)
            self.linear(f"{name}.{attention}.to_out.0", channels, channels)
        self.linear(f"{name}.ff.net.0.proj", channels, 8 * channels)
        self.linear(f"{name}.ff.net.2", 4 * channels, channels)
        for number in (1, 2, 3):
            self.norm(f"{name}.norm{number}", channels)


def unet(config: UNet) -> Shapes:
    make, base = UNetCollector(config), config.model_channels
    make.linear("time_embed.0", base, make.time)
    make.linear("time_embed.2", make.time, make.time)
    if config.labels:
        make.linear("label_emb.0.0", config.labels, make.time)
        make.linear("label_emb.0.2", make.time, make.time)
    make.conv("input_blocks.0.0", config.in_channels, base)
    current, block, skips = base, 1, [base]
    last = len(config.channel_mult) - 1
    for level, mult in enumerate(config.channel_mult):
        for _ in range(config.layers):
            make.res_block(f"input_blocks.{block}.0", current, mult * base)
            current = mult * base
            if config.depth[level]:
                make.spatial_transformer(f"input_blocks.{block}.1", current, config.depth[level])
            skips.append(current)
            block += 1
        if level != last:
            make.conv(f"input_blocks.{block}.0.op", current, current)
            skips.append(current)
            block += 1
    make.res_block("middle_block.0", current, current)
    make.spatial_transformer("middle_block.1", current, config.middle_depth)
    make.res_block("middle_block.2", current, current)
    block = 0
    for level, mult in reversed(list(enumerate(config.channel_mult))):
        for layer in range(config.layers + 1):
            make.res_block(f"output_blocks.{block}.0", current + skips.pop(), mult * base)
            current, place = mult * base, 1
            if config.depth[level]:
                make.spatial_transformer(f"output_blocks.{block}.1", current, config.depth[level])
                place = 2
            if level and layer == config.layers:
                make.conv(f"output_blocks.{block}.{place}.conv", current, current)
            block += 1
    make.norm("out.0", base)
    make.conv("out.2", base, 4)
    return make.shapes


class AutoencoderCollector(Collector):
    def resnet(self, name: str, inner: int, outer: int) -> None:
        self.norm(f"{name}.norm1", inner)
        self.conv(f"{name}.conv1", inner, outer)
        self.norm(f"{name}.norm2", outer)
        self.conv(f"{name}.conv2", outer, outer)
        if inner != outer:
            self.conv(f"{name}.nin_shortcut", inner, outer, 1)

    def middle(self, name: str, channels: int) -> None:
        self.resnet(f"{name}.mid.block_1", channels, channels)
        self.norm(f"{name}.mid.attn_1.norm", channels)
        for part in ("q", "k", "v", "proj_out"):
            self.conv(f"{name}.mid.attn_1.{part}", channels, channels, 1)
        self.resnet(f"{name}.mid.block_2", channels, channels)


def autoencoder(config: Autoencoder) -> Shapes:
    make = AutoencoderCollector()
    widths = [config.channels * mult for mult in config.channel_mult]
    last, current = len(widths) - 1, config.channels
    make.conv("encoder.conv_in", 3, current)
    for level, width in enumerate(widths):
        for layer in range(config.layers):
            make.resnet(f"encoder.down.{level}.block.{layer}", current, width)
            current = width
        if level != last:
            make.conv(f"encoder.down.{level}.downsample.conv", current, current)
    make.middle("encoder", current)
    make.norm("encoder.norm_out", current)
    make.conv("encoder.conv_out", current, 2 * config.latents)
    make.conv("decoder.conv_in", config.latents, current)
    make.middle("decoder", current)
    for level, width in reversed(list(enumerate(widths))):
        for layer in range(config.layers + 1):
            make.resnet(f"decoder.up.{level}.block.{layer}", current, width)
            current = width
        if level:
            make.conv(f"decoder.up.{level}.upsample.conv", current, current)
    make.norm("decoder.norm_out", current)
    make.conv("decoder.conv_out", current, 3)
    make.conv("quant_conv", 2 * config.latents, 2 * config.latents, 1)
    make.conv("post_quant_conv", config.latents, config.latents, 1)
    return make.shapes


def transformers_clip(config: TextEncoder) -> Shapes:
    make, width = Collector(), config.width
    make.shapes["text_model.embeddings.token_embedding.weight"] = [config.vocabulary, width]
    make.shapes["text_model.embeddings.position_embedding.weight"] = [config.positions, width]
    for number in range(config.layers):
        layer = f"text_model.encoder.layers.{number}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            make.linear(f"{layer}.self_attn.{part}", width, width)
        make.norm(f"{layer}.layer_norm1", width)
        make.norm(f"{layer}.layer_norm2", width)
        make.linear(f"{layer}.mlp.fc1", width, 4 * width)
        make.linear(f"{layer}.mlp.fc2", 4 * width, width)
    make.norm("text_model.final_layer_norm", width)
    return make.shapes


def open_clip(config: TextEncoder) -> Shapes:
    make, width = Collector(), config.width
    make.shapes["positional_embedding"] = [config.positions, width]
    make.shapes["token_embedding.weight"] = [config.vocabulary, width]
    make.shapes["text_projection"] = [width, config.projection or width]
    make.shapes["logit_scale"] = []
    for number in range(config.layers):
        block = f"transformer.resblocks.{number}"
        make.shapes[f"{block}.attn.in_proj_weight"] = [3 * width, width]
        make.shapes[f"{block}.attn.in_proj_bias"] = [3 * width]
        make.linear(f"{block}.attn.out_proj", width, width)
        make.norm(f"{block}.ln_1", width)
        make.norm(f"{block}.ln_2", width)
        make.linear(f"{block}.mlp.c_fc", width, 4 * width)
        make.linear(f"{block}.mlp.c_proj", 4 * width, width)
    make.norm("ln_final", width)
    return make.shapes
