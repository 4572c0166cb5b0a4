"""CLIP's text encoder in plain torch, with transformers' tensor names, and both of SDXL's together."""

import torch
import torch.nn.functional as F
from torch import nn

LENGTH = 77
FIRST = {"hidden_size": 32, "num_attention_heads": 2, "hidden_act": "quick_gelu", "projection_dim": None}
SECOND = {"hidden_size": 48, "num_attention_heads": 3, "hidden_act": "gelu", "projection_dim": 64}
LAYERS = 2


def quick_gelu(x: torch.Tensor) -> torch.Tensor:
    return x * torch.sigmoid(1.702 * x)


class SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        q, k, v = (part(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
                   for part in (self.q_proj, self.k_proj, self.v_proj))
        return self.out_proj(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, width: int, activation):
        super().__init__()
        self.fc1, self.fc2, self.activation = nn.Linear(width, 4 * width), nn.Linear(4 * width, width), activation

    def forward(self, x):
        return self.fc2(self.activation(self.fc1(x)))


class Layer(nn.Module):
    def __init__(self, width: int, heads: int, activation):
        super().__init__()
        self.self_attn, self.mlp = SelfAttention(width, heads), FeedForward(width, activation)
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x):
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class Embeddings(nn.Module):
    def __init__(self, width: int, vocabulary: int):
        super().__init__()
        self.token_embedding, self.position_embedding = nn.Embedding(vocabulary, width), nn.Embedding(LENGTH, width)
        nn.init.normal_(self.token_embedding.weight, std=0.5)
        nn.init.normal_(self.position_embedding.weight, std=0.15)

    def forward(self, ids):
        return self.token_embedding(ids) + self.position_embedding.weight[: ids.shape[1]]


class Encoder(nn.Module):
    def __init__(self, layers: list[Layer]):
        super().__init__()
        self.layers = nn.ModuleList(layers)


class TextModel(nn.Module):
    def __init__(self, config: dict, vocabulary: int):
        super().__init__()
        width, heads = config["hidden_size"], config["num_attention_heads"]
        activation = quick_gelu if config["hidden_act"] == "quick_gelu" else F.gelu
        self.embeddings = Embeddings(width, vocabulary)
        self.encoder = Encoder([Layer(width, heads, activation) for _ in range(LAYERS)])
        self.final_layer_norm = nn.LayerNorm(width)


class TextEncoder(nn.Module):
    """Ids [batch, 77] -> the penultimate states [batch, 77, width] and, projected, the end token's last state."""

    def __init__(self, config: dict, vocabulary: int):
        super().__init__()
        self.text_model = TextModel(config, vocabulary)
        if config["projection_dim"]:
            self.text_projection = nn.Linear(config["hidden_size"], config["projection_dim"], bias=False)

    def forward(self, ids, ends):
        model = self.text_model
        x = model.embeddings(ids)
        for layer in model.encoder.layers[:-1]:
            x = layer(x)
        if not hasattr(self, "text_projection"):
            return x, None
        last = model.final_layer_norm(model.encoder.layers[-1](x))
        return x, self.text_projection(last[torch.arange(len(ids), device=ids.device), ends])


class TextEncoders(nn.Module):
    """SDXL's two: the first pads with the end token, the second with `!`."""

    def __init__(self, vocabulary: int, end: int, exclamation_mark: int = 0):
        super().__init__()
        self.end, self.exclamation_mark = end, exclamation_mark
        self.first, self.second = TextEncoder(FIRST, vocabulary), TextEncoder(SECOND, vocabulary)

    def forward(self, ids):
        """Ids [batch, 77] padded with the end token -> context [batch, 77, 80] and pooled [batch, 64]."""
        ends = (ids == self.end).int().argmax(1)
        behind = torch.arange(ids.shape[1], device=ids.device)[None] > ends[:, None]
        first, _ = self.first(ids, ends)
        second, pooled = self.second(ids.masked_fill(behind, self.exclamation_mark), ends)
        return torch.cat([first, second], -1), pooled
