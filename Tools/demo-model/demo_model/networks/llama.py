"""A small LlamaForCausalLM in plain torch, with transformers' tensor names."""

import torch
import torch.nn.functional as F
from torch import nn

CONFIG = {
    "vocab_size": 1024,
    "hidden_size": 160,
    "intermediate_size": 432,
    "num_hidden_layers": 4,
    "num_attention_heads": 5,
    "num_key_value_heads": 5,
    "head_dim": 32,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
}
ROPE_THETA = 10000.0


class RMSNorm(nn.Module):
    def __init__(self, width: int, epsilon: float):
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.ones(width)), epsilon

    def forward(self, x):
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.epsilon)


class Attention(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        self.heads, inner = config["num_attention_heads"], config["num_attention_heads"] * config["head_dim"]
        width = config["hidden_size"]
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, inner, bias=False) for _ in range(3))
        self.o_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x, turns):
        q, k, v = (part(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
                   for part in (self.q_proj, self.k_proj, self.v_proj))
        out = F.scaled_dot_product_attention(turned(q, turns), turned(k, turns), v, is_causal=True)
        return self.o_proj(out.transpose(1, 2).flatten(2))


def turned(x: torch.Tensor, turns: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Rotary position embedding of halves, as transformers pairs the channels."""
    cosines, sines = turns
    low, high = x.chunk(2, -1)
    return torch.cat([low * cosines - high * sines, high * cosines + low * sines], -1).to(x.dtype)


class FeedForward(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        width, inner = config["hidden_size"], config["intermediate_size"]
        self.gate_proj, self.up_proj = (nn.Linear(width, inner, bias=False) for _ in range(2))
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        width, epsilon = config["hidden_size"], config["rms_norm_eps"]
        self.self_attn, self.mlp = Attention(config), FeedForward(config)
        self.input_layernorm, self.post_attention_layernorm = (RMSNorm(width, epsilon) for _ in range(2))

    def forward(self, x, turns):
        x = x + self.self_attn(self.input_layernorm(x), turns)
        return x + self.mlp(self.post_attention_layernorm(x))


class Body(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        self.embed_tokens = nn.Embedding(config["vocab_size"], config["hidden_size"])
        nn.init.normal_(self.embed_tokens.weight, std=0.05)
        self.layers = nn.ModuleList([Layer(config) for _ in range(config["num_hidden_layers"])])
        self.norm = RMSNorm(config["hidden_size"], config["rms_norm_eps"])


class Llama(nn.Module):
    """Ids [batch, length] -> logits [batch, length, vocabulary]; the output weights are the embedding's."""

    def __init__(self, config: dict):
        super().__init__()
        self.config = {**CONFIG, **config}
        self.model = Body(self.config)

    def forward(self, ids):
        half = self.config["head_dim"] // 2
        frequencies = ROPE_THETA ** (-torch.arange(half, device=ids.device) / half)
        angles = torch.arange(ids.shape[1], device=ids.device)[:, None] * frequencies
        x, turns = self.model.embed_tokens(ids), (angles.cos(), angles.sin())
        for layer in self.model.layers:
            x = layer(x, turns)
        return F.linear(self.model.norm(x), self.model.embed_tokens.weight)
