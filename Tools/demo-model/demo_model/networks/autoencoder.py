"""AutoencoderKL in plain torch, with diffusers' tensor names, so that its state dict is the exported file.

Pictures are [batch, 3, height, width] in -1...1, latents [batch, 4, height / 8, width / 8].
"""

import torch
import torch.nn.functional as F
from torch import nn

from .layers import GroupNorm, ResnetBlock

CONFIG = {
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": [32, 64, 72, 96],
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 4,
    "scaling_factor": 0.13025,
}
EPSILON = 1e-6


class Attention(nn.Module):
    """The middle block's single-head self-attention over all positions."""

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.group_norm = GroupNorm(groups, channels, EPSILON)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x):
        tokens = self.group_norm(x).flatten(2).transpose(1, 2)
        out = F.scaled_dot_product_attention(self.to_q(tokens), self.to_k(tokens), self.to_v(tokens))
        return x + self.to_out[0](out).transpose(1, 2).reshape(x.shape)


class Middle(nn.Module):
    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.resnets = nn.ModuleList([ResnetBlock(channels, channels, groups, EPSILON) for _ in range(2)])
        self.attentions = nn.ModuleList([Attention(channels, groups)])

    def forward(self, x):
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class HalfSize(nn.Module):
    """Strided convolution, padded on the right and at the bottom alone."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x):
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class DoubleSize(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """The resnets of one resolution and, where there is a next one, the step to it (`resampler` names it)."""

    def __init__(self, inputs: int, outputs: int, layers: int, groups: int, resampler: tuple | None):
        super().__init__()
        widths = [inputs] + [outputs] * (layers - 1)
        self.resnets = nn.ModuleList([ResnetBlock(width, outputs, groups, EPSILON) for width in widths])
        self.resampler = resampler[0] if resampler else None
        if resampler:
            setattr(self, self.resampler, nn.ModuleList([resampler[1](outputs)]))

    def forward(self, x):
        for resnet in self.resnets:
            x = resnet(x)
        return getattr(self, self.resampler)[0](x) if self.resampler else x


class Encoder(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        widths, groups, layers = config["block_out_channels"], config["norm_num_groups"], config["layers_per_block"]
        self.conv_in = nn.Conv2d(config["in_channels"], widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList()
        for index, width in enumerate(widths):
            step = ("downsamplers", HalfSize) if index < len(widths) - 1 else None
            self.down_blocks.append(Level(widths[max(0, index - 1)], width, layers, groups, step))
        self.mid_block = Middle(widths[-1], groups)
        self.conv_norm_out = GroupNorm(groups, widths[-1], EPSILON)
        self.conv_out = nn.Conv2d(widths[-1], 2 * config["latent_channels"], 3, padding=1)

    def forward(self, x):
        x = self.conv_in(x)
        for block in self.down_blocks:
            x = block(x)
        return self.conv_out(F.silu(self.conv_norm_out(self.mid_block(x))))


class Decoder(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        widths = config["block_out_channels"][::-1]
        groups, layers = config["norm_num_groups"], config["layers_per_block"]
        self.conv_in = nn.Conv2d(config["latent_channels"], widths[0], 3, padding=1)
        self.mid_block = Middle(widths[0], groups)
        self.up_blocks = nn.ModuleList()
        for index, width in enumerate(widths):
            step = ("upsamplers", DoubleSize) if index < len(widths) - 1 else None
            self.up_blocks.append(Level(widths[max(0, index - 1)], width, layers + 1, groups, step))
        self.conv_norm_out = GroupNorm(groups, widths[-1], EPSILON)
        self.conv_out = nn.Conv2d(widths[-1], config["out_channels"], 3, padding=1)

    def forward(self, x):
        x = self.mid_block(self.conv_in(x))
        for block in self.up_blocks:
            x = block(x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class Autoencoder(nn.Module):
    """`encode` gives mean and log variance; what the UNet sees is `latents`: mean times scaling factor."""

    def __init__(self, config: dict | None = None):
        super().__init__()
        self.config = {**CONFIG, **(config or {})}
        channels = self.config["latent_channels"]
        self.encoder, self.decoder = Encoder(self.config), Decoder(self.config)
        self.quant_conv = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.post_quant_conv = nn.Conv2d(channels, channels, 1)

    def encode(self, pictures):
        return self.quant_conv(self.encoder(pictures)).chunk(2, 1)

    def decode(self, codes):
        return self.decoder(self.post_quant_conv(codes))

    def latents(self, pictures):
        return self.encode(pictures)[0] * self.config["scaling_factor"]

    def pictures(self, latents):
        return self.decode(latents / self.config["scaling_factor"])


def widen(state: dict, wide: Autoencoder) -> dict:
    """The state of a narrow autoencoder in the shapes of `wide`, computing nearly the same (Net2Net, Chen et al.).

    Channels are doubled beside themselves, which leaves each group norm's statistics as they were where all of a
    level's channels are; their readers share the weight unevenly between the copies, so that training can tell them
    apart.
    """
    widened = {}
    for name, target in wide.state_dict().items():
        value = state[name].float()
        if value.dim() > 1 and target.shape[1] != value.shape[1]:
            source = _sources(value.shape[1], target.shape[1])
            share = torch.rand(len(source)) + 0.5
            share = share / torch.zeros(value.shape[1]).index_add_(0, source, share)[source]
            value = value[:, source] * share.reshape(1, -1, *[1] * (value.dim() - 2))
        widened[name] = value[_sources(value.shape[0], target.shape[0])]
    return widened


def _sources(narrow: int, wide: int) -> torch.Tensor:
    """For each of `wide` channels the one of `narrow` channels that it copies; order and groups stay."""
    return torch.arange(wide) * narrow // wide
