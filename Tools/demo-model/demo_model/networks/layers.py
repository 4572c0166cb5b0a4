"""Layers that the autoencoder and the UNet share."""

import torch
import torch.nn.functional as F
from torch import nn


class GroupNorm(nn.GroupNorm):
    """Group norm whose epsilon is named by place; on the CPU it runs channels first, where torch's kernel is fast."""

    def __init__(self, groups: int, channels: int, epsilon: float):
        super().__init__(groups, channels, eps=epsilon)

    def forward(self, x):
        if x.is_cuda or x.dim() < 4:
            return super().forward(x)
        return super().forward(x.contiguous()).contiguous(memory_format=torch.channels_last)


class ResnetBlock(nn.Module):
    """Norm, SiLU, convolution, twice, plus the input; a time embedding may be added in the middle."""

    def __init__(self, inputs: int, outputs: int, groups: int, epsilon: float, embedding: int = 0):
        super().__init__()
        self.norm1 = GroupNorm(groups, inputs, epsilon)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = GroupNorm(groups, outputs, epsilon)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.time_emb_proj = nn.Linear(embedding, outputs) if embedding else None
        self.conv_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x, embedding=None):
        hidden = self.conv1(F.silu(self.norm1(x)))
        if self.time_emb_proj is not None:
            hidden = hidden + self.time_emb_proj(F.silu(embedding))[:, :, None, None]
        hidden = self.conv2(F.silu(self.norm2(hidden)))
        return hidden + (self.conv_shortcut(x) if self.conv_shortcut is not None else x)
