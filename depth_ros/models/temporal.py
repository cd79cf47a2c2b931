"""Temporal modules of Video Depth Anything (Chen et al. 2025, section 3.1): each place of the picture attends over time.

Attribute names are the keys of the published checkpoints (`motion_modules.N.temporal_transformer. ...`).
"""

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEADS = 8
GROUPS = 32

# How the frames in hand meet the others: (attention, normalised tokens (N, T, C)) -> (N, T, C).
Attend: TypeAlias = 'Callable[[TemporalAttention, Tensor], Tensor]'


def in_window(attention: 'TemporalAttention', x: Tensor) -> Tensor:
    """Return `attention` over the frames at hand: they are one whole window."""
    return attention(x)


class TemporalModule(nn.Module):
    """A feature map plus what a transformer along time makes of it."""

    def __init__(self, channels: int, positions: int = 32) -> None:
        super().__init__()
        self.temporal_transformer = TemporalTransformer(channels, positions)

    def forward(self, x: Tensor, attend: Attend = in_window) -> Tensor:
        """Return (T, C, h, w) of the maps (T, C, h, w) of T frames."""
        return x + self.temporal_transformer(x, attend)


class TemporalTransformer(nn.Module):
    """Tokens (N, T, C), one sequence in time for each of N = h*w places."""

    def __init__(self, channels: int, positions: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList([TemporalBlock(channels, positions)])
        self.proj_out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, attend: Attend) -> Tensor:
        h = self.proj_in(self.norm(x).flatten(2).permute(2, 0, 1))    # (N, T, C)
        for block in self.transformer_blocks:
            h = block(h, attend)
        return self.proj_out(h).permute(1, 2, 0).reshape(x.shape)


class TemporalBlock(nn.Module):
    """Attention over time twice, then a feed-forward layer."""

    def __init__(self, channels: int, positions: int) -> None:
        super().__init__()
        self.attention_blocks = nn.ModuleList(TemporalAttention(channels, positions) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.ff = FeedForward(channels)
        self.ff_norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, attend: Attend) -> Tensor:
        for norm, attention in zip(self.norms, self.attention_blocks, strict=True):
            x = x + attend(attention, norm(x))    # type: ignore[arg-type]
        return x + self.ff(self.ff_norm(x))


class TemporalAttention(nn.Module):
    """Every frame looks at every frame of its window; the position in the window is added to the tokens.

    Keys and values are linear without a bias, so W (x + p) = W x + W p: `step` keeps W x of past frames and adds W p of
    whatever slot they have moved on to.
    """

    def __init__(self, channels: int, positions: int) -> None:
        super().__init__()
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(channels, channels, bias=False)
        self.to_v = nn.Linear(channels, channels, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])
        self.pos_encoder = Positions(positions, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, T, C) of the tokens (N, T, C) of a window."""
        x = x + self.pos_encoder.pe[:, : x.shape[1]]
        return self._attend(self.to_q(x), self.to_k(x), self.to_v(x))

    def step(self, x: Tensor, past: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return what `forward` makes of the newest frame's tokens `x` (N, 1, C), and what to keep of that frame.

        That is (2, N, C): its keys and values without a position. `past` holds those of the frames before it, oldest first.
        """
        keep = torch.stack((self.to_k(x), self.to_v(x))).squeeze(2)    # (2, N, C)
        k, v = torch.stack((*past, keep), dim=2)                       # (N, P + 1, C) each
        positions = self.pos_encoder.pe[0, : k.shape[1]]
        attended = self._attend(self.to_q(x + positions[-1]), k + self.to_k(positions), v + self.to_v(positions))
        return attended, keep

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in (q, k, v))    # (N, heads, T, D)
        x = F.scaled_dot_product_attention(q, k, v)
        return self.to_out[0](x.transpose(1, 2).flatten(2))


class Positions(nn.Module):
    """The table of sines and cosines; it is in the checkpoints although it is never learnt."""

    pe: Tensor

    def __init__(self, positions: int, channels: int) -> None:
        super().__init__()
        self.register_buffer('pe', sinusoids(positions, channels)[None])    # (1, positions, C)


class FeedForward(nn.Module):
    """Linear, GEGLU (Shazeer 2020), linear."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.ModuleList([Geglu(channels, 4 * channels), nn.Identity(), nn.Linear(4 * channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.net:
            x = layer(x)
        return x


class Geglu(nn.Module):
    """One half of a linear layer, gated by the GELU of the other."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, 2 * out)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


def sinusoids(positions: int, channels: int) -> Tensor:
    """Return the table (positions, C) of Vaswani et al. 2017: sine and cosine in turns, waves of 2 pi to 20000 pi."""
    speed = torch.exp(torch.arange(0, channels, 2) * (-math.log(10000.0) / channels))    # (C/2)
    angle = torch.arange(positions)[:, None] * speed
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)
