"""SDXL's UNet (UNet2DConditionModel) in plain torch, small, with diffusers' tensor names."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from .layers import GroupNorm, ResnetBlock

CONFIG = {
    "sample_size": 16,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": [64, 96, 128],
    "layers_per_block": 1,
    "attention_head_dim": [2, 3, 4],
    "cross_attention_dim": 80,
    "addition_time_embed_dim": 32,
    "projection_class_embeddings_input_dim": 256,
    "norm_num_groups": 8,
}
EPSILON = 1e-5
TRANSFORMER_NORM_EPSILON = 1e-6


def sinusoid(values: torch.Tensor, width: int) -> torch.Tensor:
    """Cosines, then sines, of values [n] at width / 2 frequencies from 1 to 1/10000 -> [n, width]."""
    half = width // 2
    frequencies = torch.exp(torch.arange(half, device=values.device) * (-math.log(10000) / half))
    angles = values.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], 1)


class Embedding(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(inputs, outputs), nn.Linear(outputs, outputs)

    def forward(self, x):
        return self.linear_2(F.silu(self.linear_1(x)))


class Attention(nn.Module):
    def __init__(self, width: int, context: int, heads: int):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k, self.to_v = (nn.Linear(context, width, bias=False) for _ in range(2))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x, context):
        q, k, v = (self._split(part) for part in (self.to_q(x), self.to_k(context), self.to_v(context)))
        return self.to_out[0](F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    def _split(self, x):
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class GatedGELU(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.proj = nn.Linear(inputs, 2 * outputs)

    def forward(self, x):
        value, gate = self.proj(x).chunk(2, -1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.net = nn.ModuleList([GatedGELU(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width)])

    def forward(self, x):
        return self.net[2](self.net[0](x))


class TransformerBlock(nn.Module):
    def __init__(self, width: int, context: int, heads: int):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.attn1, self.attn2 = Attention(width, width, heads), Attention(width, context, heads)
        self.ff = FeedForward(width)

    def forward(self, x, context):
        normed = self.norm1(x)
        x = x + self.attn1(normed, normed)
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class Transformer(nn.Module):
    """Self- and cross-attention over the positions of a map."""

    def __init__(self, width: int, context: int, heads: int, groups: int):
        super().__init__()
        self.norm = GroupNorm(groups, width, TRANSFORMER_NORM_EPSILON)
        self.proj_in, self.proj_out = nn.Linear(width, width), nn.Linear(width, width)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(width, context, heads)])

    def forward(self, x, context):
        tokens = self.proj_in(self.norm(x).flatten(2).transpose(1, 2))
        tokens = self.proj_out(self.transformer_blocks[0](tokens, context))
        return x + tokens.transpose(1, 2).reshape(x.shape)


class Convolution(nn.Module):
    """A convolution under diffusers' name `conv`, of every second position or of a map of twice the size."""

    def __init__(self, width: int, doubles: bool):
        super().__init__()
        self.doubles = doubles
        self.conv = nn.Conv2d(width, width, 3, stride=1 if doubles else 2, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest") if self.doubles else x)


class Block(nn.Module):
    """The layers of one resolution: resnets, each with a transformer behind it where `heads` is not zero."""

    def __init__(self, config: dict, inputs: list[int], width: int, heads: int, embedding: int):
        super().__init__()
        groups = config["norm_num_groups"]
        self.resnets = nn.ModuleList([ResnetBlock(count, width, groups, EPSILON, embedding) for count in inputs])
        if heads:
            context = config["cross_attention_dim"]
            self.attentions = nn.ModuleList([Transformer(width, context, heads, groups) for _ in inputs])

    def layer(self, index: int, x, embedding, context):
        x = self.resnets[index](x, embedding)
        return self.attentions[index](x, context) if hasattr(self, "attentions") else x


class Middle(nn.Module):
    def __init__(self, config: dict, width: int, heads: int, embedding: int):
        super().__init__()
        groups = config["norm_num_groups"]
        self.resnets = nn.ModuleList([ResnetBlock(width, width, groups, EPSILON, embedding) for _ in range(2)])
        self.attentions = nn.ModuleList([Transformer(width, config["cross_attention_dim"], heads, groups)])

    def forward(self, x, embedding, context):
        return self.resnets[1](self.attentions[0](self.resnets[0](x, embedding), context), embedding)


class UNet(nn.Module):
    """Predicts the noise in latents [batch, 4, h, w].

    `times` [batch] counts 0...999, `context` is [batch, 77, 80], `pooled` [batch, 64], `sizes` [batch, 6] (original
    size, crop, target size, each height before width).
    """

    def __init__(self, config: dict | None = None):
        super().__init__()
        self.config = {**CONFIG, **(config or {})}
        widths, heads = self.config["block_out_channels"], [0, *self.config["attention_head_dim"][1:]]
        groups, layers, embedding = self.config["norm_num_groups"], self.config["layers_per_block"], 4 * widths[0]
        self.conv_in = nn.Conv2d(self.config["in_channels"], widths[0], 3, padding=1)
        self.time_embedding = Embedding(widths[0], embedding)
        self.add_embedding = Embedding(self.config["projection_class_embeddings_input_dim"], embedding)
        self.down_blocks, skips = nn.ModuleList(), [widths[0]]
        for index, width in enumerate(widths):
            inputs = [widths[max(0, index - 1)]] + [width] * (layers - 1)
            block = Block(self.config, inputs, width, heads[index], embedding)
            skips += [width] * layers
            if index < len(widths) - 1:
                block.downsamplers = nn.ModuleList([Convolution(width, doubles=False)])
                skips.append(width)
            self.down_blocks.append(block)
        self.mid_block = Middle(self.config, widths[-1], heads[-1], embedding)
        self.up_blocks, current = nn.ModuleList(), widths[-1]
        for index, width in reversed(list(enumerate(widths))):
            inputs = []
            for _ in range(layers + 1):
                inputs.append(current + skips.pop())
                current = width
            block = Block(self.config, inputs, width, heads[index], embedding)
            if index > 0:
                block.upsamplers = nn.ModuleList([Convolution(width, doubles=True)])
            self.up_blocks.append(block)
        self.conv_norm_out = GroupNorm(groups, widths[0], EPSILON)
        self.conv_out = nn.Conv2d(widths[0], self.config["out_channels"], 3, padding=1)

    def forward(self, x, times, context, pooled, sizes):
        embedding = self._embedding(times, pooled, sizes)
        x = self.conv_in(x)
        skips = [x]
        for block in self.down_blocks:
            for index in range(len(block.resnets)):
                x = block.layer(index, x, embedding, context)
                skips.append(x)
            if hasattr(block, "downsamplers"):
                x = block.downsamplers[0](x)
                skips.append(x)
        x = self.mid_block(x, embedding, context)
        for block in self.up_blocks:
            for index in range(len(block.resnets)):
                x = block.layer(index, torch.cat([x, skips.pop()], 1), embedding, context)
            x = block.upsamplers[0](x) if hasattr(block, "upsamplers") else x
        return self.conv_out(F.silu(self.conv_norm_out(x)))

    def _embedding(self, times, pooled, sizes):
        time = self.time_embedding(sinusoid(times, self.config["block_out_channels"][0]).to(pooled.dtype))
        numbers = sinusoid(sizes.flatten(), self.config["addition_time_embed_dim"]).reshape(len(sizes), -1)
        return time + self.add_embedding(torch.cat([pooled, numbers.to(pooled.dtype)], 1))
