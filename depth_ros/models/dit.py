"""The parts of a cascade diffusion transformer in pixel space (Pixel-Perfect Visual Geometry Estimation, 2601.05246, III-E).

A diffusion transformer (DiT, Peebles & Xie 2023) whose first half sees 16 px patches and whose second half, after a fusion
with semantics of the picture, sees 8 px patches. It predicts the velocity of a flow from data x_0 to noise x_1:

    x_t = t x_1 + (1 - t) x_0        (eq. 1)        v = x_1 - x_0        (eq. 2)

Attribute names are the keys of the published checkpoints.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from depth_ros.models.vit import Attention, Mlp, Rope
from depth_ros.models.weights import Shapes, count, shape

FREQUENCIES = 10_000.0    # the slowest wave of the time embedding turns once in 2 pi times as many time steps
FIRST = 'x_embedder.proj.weight'    # the entry by which a file of such a network is known


@dataclass(frozen=True)
class Sizes:
    """What a file shows of its network."""

    dim: int          # channels of a token
    depth: int        # blocks, half of them on the coarse grid
    head_dim: int
    hidden: int       # units of an MLP
    patch: int        # of the coarse grid [px]
    channels: int     # of what goes in: latent and picture
    waves: int        # of the time embedding
    semantics: int    # channels of a semantic token
    fused: int        # units of the fusion

    @property
    def heads(self) -> int:
        return self.dim // self.head_dim


def sizes_of(shapes: Shapes, prefix: str) -> Sizes:
    """Return the sizes of the network whose entries begin with `prefix`; WeightsError if the file does not show them."""
    dim, channels, patch, _ = shape(shapes, prefix + FIRST, 4)
    fused, joined = shape(shapes, f'{prefix}proj_fusion.0.weight', 2)
    return Sizes(
        dim=dim, depth=count(shapes, f'{prefix}blocks.'), patch=patch, channels=channels,
        semantics=joined - dim, fused=fused,
        head_dim=shape(shapes, f'{prefix}blocks.0.attn.q_norm.weight', 1)[0],
        hidden=shape(shapes, f'{prefix}blocks.0.mlp.fc1.weight', 2)[0],
        waves=shape(shapes, f'{prefix}t_embedder.mlp.0.weight', 2)[1])


def prefix_of(shapes: Shapes) -> str:
    """Return what stands before the network's own keys in a file, '' if nothing does."""
    return next((key.removesuffix(FIRST) for key in shapes if key.endswith(FIRST)), '')


class TimeEmbedding(nn.Module):
    """A time step as waves, then an MLP."""

    def __init__(self, dim: int, waves: int) -> None:
        super().__init__()
        self.waves = waves
        self.mlp = nn.Sequential(nn.Linear(waves, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, t: Tensor) -> Tensor:
        """Return (B, C) of the time steps (B), 0 = data to 1000 = noise; exact only if they come as float32 or integers."""
        rank = torch.arange(self.waves // 2, dtype=torch.float32, device=t.device) / (self.waves // 2)
        angle = t.float()[:, None] * torch.exp(-math.log(FREQUENCIES) * rank)                      # (B, waves/2)
        waves = torch.cat((angle.cos(), angle.sin()), dim=-1)
        return self.mlp(waves.to(next(self.mlp.parameters()).dtype))


class DiTBlock(nn.Module):
    """Attention and MLP, each shifted and scaled before and gated behind by the time (adaLN-Zero)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(sizes.dim, eps=1e-6, elementwise_affine=False)
        self.attn = Attention(sizes.dim, sizes.heads, qk_norm=True)
        self.norm2 = nn.LayerNorm(sizes.dim, eps=1e-6, elementwise_affine=False)
        self.mlp = Mlp(sizes.dim, sizes.hidden, approximate='tanh')
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(sizes.dim, 6 * sizes.dim))

    def forward(self, x: Tensor, time: Tensor, rope: Rope | None = None) -> Tensor:
        """Return (B, N, C) of (B, N, C); `time` (1, C) is the same for all B."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(time)[:, None].chunk(6, dim=-1)    # (1, 1, C)
        x = x + gate1 * self.attn(self.norm1(x) * (1 + scale1) + shift1, rope)
        x = x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)
        return x


class FinalLayer(nn.Module):
    """Tokens to the pixels of their patches, one channel."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.norm_final = nn.LayerNorm(sizes.dim, eps=1e-6, elementwise_affine=False)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(sizes.dim, 2 * sizes.dim))
        self.linear = nn.Linear(sizes.dim, (sizes.patch // 2) ** 2)

    def forward(self, x: Tensor, time: Tensor, h: int, w: int) -> Tensor:
        """Return (B, 1, h*p, w*p) of the tokens (B, h*w, C) of a grid of p px patches."""
        shift, scale = self.adaLN_modulation(time)[:, None].chunk(2, dim=-1)
        x = self.linear(self.norm_final(x) * (1 + scale) + shift)                        # (B, h*w, p*p)
        p = round(x.shape[-1] ** 0.5)
        return x.reshape(len(x), 1, h, w, p, p).transpose(3, 4).reshape(len(x), 1, h * p, w * p)


def fusion(sizes: Sizes) -> nn.Sequential:
    """Return the MLP that turns a coarse token and the semantics of its place into the four fine tokens there."""
    return nn.Sequential(
        nn.Linear(sizes.dim + sizes.semantics, sizes.fused), nn.SiLU(), nn.Linear(sizes.fused, sizes.fused), nn.SiLU(),
        nn.Linear(sizes.fused, 4 * sizes.dim))


def refine(x: Tensor, h: int, w: int) -> Tensor:
    """Return the tokens (B, 2h * 2w, C) of the grid twice as fine, of the coarse tokens (B, h*w, 4C): (row, column, C)."""
    x = x.reshape(len(x), h, w, 2, 2, -1).transpose(2, 3)    # (B, h, 2, w, 2, C)
    return x.reshape(len(x), 4 * h * w, -1)
