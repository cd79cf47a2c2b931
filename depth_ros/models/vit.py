"""Vision transformer DINOv2 (Oquab et al. 2023, with registers Darcet et al. 2023), and the blocks that its relatives share.

Attribute names are the keys of the published checkpoints.
"""

from collections.abc import Sequence
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depth_ros.errors import InputError, WeightsError
from depth_ros.models.weights import Shapes, count, shape

Rope: TypeAlias = tuple[Tensor, Tensor]    # cosine and sine, (..., N, D) each
HEAD_DIM = 64                              # of every published size
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)    # of ImageNet, red green blue
SIZES = {'small': 384, 'base': 768, 'large': 1024}    # channels of a token
LAYERS = {12: (2, 5, 8, 11), 24: (4, 11, 17, 23), 40: (9, 19, 29, 39)}    # depth -> blocks that a dense head looks at


class VisionTransformer(nn.Module):
    """Picture to tokens: patches, class token and registers through `depth` blocks."""

    def __init__(self, embed_dim: int, depth: int, heads: int, patch: int = 14, hidden: int = 0, positions: int = 1370,
                 registers: int = 0, mask_token: bool = True, position_offset: float = 0.1, antialias: bool = False) -> None:
        """`hidden` units of the MLPs, 0: 4 embed_dim. `positions`: one for the class token and a square of patches, 37 x 37.

        The table is stretched to a grid of n patches by the factor (n + position_offset) / 37, as published; 0: by n / 37.
        """
        super().__init__()
        self.patch = patch
        self.position_offset = position_offset
        self.antialias = antialias
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, positions, embed_dim))
        if registers:
            self.register_tokens = nn.Parameter(torch.zeros(1, registers, embed_dim))
        if mask_token:    # of the pre-training; nothing here reads it
            self.mask_token = nn.Parameter(torch.zeros(1, embed_dim))
        self.patch_embed = PatchEmbed(embed_dim, patch)
        self.blocks = nn.ModuleList(Block(embed_dim, heads, hidden or 4 * embed_dim) for _ in range(depth))
        self.norm = nn.LayerNorm(embed_dim, eps=1e-6)

    def forward(self, x: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Return the patch tokens (B, N, C) behind each of the blocks `layers`, all through the final norm.

        `x` (B, 3, h, w) is normalised by the mean and deviation of ImageNet; N = h/patch * w/patch, row by row.
        Raises InputError if h or w is not a multiple of the patch.
        """
        h, w = (side // self.patch for side in x.shape[-2:])
        if not h or not w or x.shape[-2:] != (h * self.patch, w * self.patch):
            raise InputError(f'picture of {x.shape[-2]} x {x.shape[-1]} px: sides must be multiples of {self.patch} px')
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), self.patch_embed(x)), dim=1)    # (B, 1 + N, C)
        x = x + self._positions(h, w)
        special = 1
        if hasattr(self, 'register_tokens'):    # they have no position
            x = torch.cat((x[:, :1], self.register_tokens.expand(len(x), -1, -1), x[:, 1:]), dim=1)
            special += self.register_tokens.shape[1]
        kept = {}
        for i, block in enumerate(self.blocks[: max(layers) + 1]):
            x = block(x)
            if i in layers:
                kept[i] = self.norm(x[:, special:])
        return [kept[i] for i in layers]

    def features(self, x: Tensor) -> Tensor:
        """Return the four sets of tokens (B, 4, h/patch, w/patch, C) that a dense head looks at, of `x` as above."""
        tokens = torch.stack(self(x, layers_of(len(self.blocks))), dim=1)    # (B, 4, N, C)
        return tokens.unflatten(2, (x.shape[-2] // self.patch, x.shape[-1] // self.patch))

    def _positions(self, h: int, w: int) -> Tensor:
        """Return the table (1, 1 + h*w, C) for a grid of h x w patches: as it stands on its own grid, else bicubic."""
        side = round((self.pos_embed.shape[1] - 1) ** 0.5)
        if (h, w) == (side, side):
            return self.pos_embed
        table = self.pos_embed[:, 1:].float().unflatten(1, (side, side)).permute(0, 3, 1, 2)    # (1, C, side, side)
        # The factor, not only the size, decides where the table is sampled.
        factor = ((h + self.position_offset) / side, (w + self.position_offset) / side)
        how = {'scale_factor': factor} if self.position_offset else {'size': (h, w)}
        table = F.interpolate(table, **how, mode='bicubic', antialias=self.antialias)
        return torch.cat((self.pos_embed[:, :1], table.flatten(2).transpose(1, 2).to(self.pos_embed.dtype)), dim=1)


class Encoder(nn.Module):
    """Graph: pictures -> tokens for a dense head, each frame by itself."""

    resident = ('frame',)    # outputs that may stay where they are: a caller only hands them on

    def __init__(self, transformer: VisionTransformer) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, rgb: Tensor) -> dict[str, Tensor]:
        """Return 'frame00', 'frame01', ...: (4, h/14, w/14, C), of `rgb` (T, 3, h, w), normalised."""
        return {f'frame{i:02}': tokens.clone() for i, tokens in enumerate(self.transformer.features(rgb))}


class PatchEmbed(nn.Module):
    """One token per patch."""

    def __init__(self, embed_dim: int, patch: int, channels: int = 3) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, embed_dim, patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, N, C) of (B, channels, h, w), row by row."""
        tokens: Tensor = self.proj(x).flatten(2).transpose(1, 2)
        return tokens


class Block(nn.Module):
    """x + attention, x + MLP, both normalised before, both scaled per channel behind (unless `layer_scale` is off)."""

    def __init__(self, dim: int, heads: int, hidden: int = 0, eps: float = 1e-6, layer_scale: bool = True,
                 qk_norm: bool = False) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = Attention(dim, heads, qk_norm)
        self.ls1 = LayerScale(dim) if layer_scale else nn.Identity()
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, hidden or 4 * dim)
        self.ls2 = LayerScale(dim) if layer_scale else nn.Identity()

    def forward(self, x: Tensor, rope: Rope | None = None) -> Tensor:
        """Return (B, N, C) of (B, N, C); `rope` as `rope_2d` makes it."""
        x = x + self.ls1(self.attn(self.norm1(x), rope))
        x = x + self.ls2(self.mlp(self.norm2(x)))
        return x


class Attention(nn.Module):
    """Every token looks at every token."""

    def __init__(self, dim: int, heads: int, qk_norm: bool = False, norm_eps: float = 1e-5) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.q_norm = nn.LayerNorm(dim // heads, eps=norm_eps) if qk_norm else nn.Identity()
        self.k_norm = nn.LayerNorm(dim // heads, eps=norm_eps) if qk_norm else nn.Identity()
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, rope: Rope | None = None) -> Tensor:
        """Return (B, N, C) of (B, N, C)."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))       # (B, N, 3, heads, D)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)                       # (B, heads, N, D) each
        q, k = self.q_norm(q), self.k_norm(k)
        if rope is not None:
            q, k = rotate(q, rope), rotate(k, rope)
        x = F.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two linear layers with a GELU between; `approximate` as torch names it, 'tanh' in diffusion transformers."""

    def __init__(self, dim: int, hidden: int, out: int = 0, approximate: str = 'none') -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU(approximate)
        self.fc2 = nn.Linear(hidden, out or dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class LayerScale(nn.Module):
    """One factor per channel (Touvron et al. 2021)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


def rope_2d(positions: Tensor, head_dim: int, frequency: float = 100.0) -> Rope:
    """Return the cosines and sines (..., N, head_dim) that turn tokens at `positions` (..., N, 2), rows and columns.

    The first half of a head is turned by the row, the second by the column (RoPE, Su et al. 2021, along both axes). Within a
    half of d channels, channels i and i + d/2 turn by position / frequency^(2i/d). For queries (B, heads, N, D) that differ
    in position from picture to picture, give positions (B, 1, N, 2).
    """
    d = head_dim // 2
    speed = frequency ** -(torch.arange(0, d, 2, dtype=torch.float32, device=positions.device) / d)    # (d/2)
    angle = positions.float()[..., None] * speed              # (..., N, 2, d/2)
    angle = torch.cat((angle, angle), dim=-1).flatten(-2)     # (..., N, D)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, rope: Rope) -> Tensor:
    """Return queries or keys (B, heads, N, D) turned by their positions."""
    cos, sin = (table.to(x.dtype) for table in rope)
    a, b = x.unflatten(-1, (2, 2, -1)).unbind(-2)             # (B, heads, N, 2, d/2) each
    return x * cos + torch.stack((-b, a), dim=-2).flatten(-3) * sin


def normalised(rgb: Tensor) -> Tensor:
    """Return pictures (B, 3, h, w) in 0..1 as DINOv2 has them: about 0, of spread 1."""
    mean, std = (rgb.new_tensor(values)[:, None, None] for values in (MEAN, STD))
    return (rgb - mean) / std


def vit_like(shapes: Shapes, prefix: str, position_offset: float = 0.1, antialias: bool = False) -> VisionTransformer:
    """Return the transformer whose entries in a file begin with `prefix`, in the sizes that the file shows.

    Raises WeightsError if it is not there.
    """
    dim, _, patch, _ = shape(shapes, f'{prefix}patch_embed.proj.weight', 4)
    registers = f'{prefix}register_tokens'
    return VisionTransformer(
        dim, count(shapes, f'{prefix}blocks.'), max(1, dim // HEAD_DIM), patch,
        hidden=shape(shapes, f'{prefix}blocks.0.mlp.fc1.weight', 2)[0], positions=shape(shapes, f'{prefix}pos_embed', 3)[1],
        registers=shape(shapes, registers, 3)[1] if registers in shapes else 0, mask_token=f'{prefix}mask_token' in shapes,
        position_offset=position_offset, antialias=antialias)


def layers_of(depth: int) -> tuple[int, ...]:
    """Return the four blocks of a transformer of `depth` blocks that a dense head looks at."""
    return LAYERS.get(depth) or tuple(max(0, depth * (i + 1) // 4 - 1) for i in range(4))


def check_size(transformer: VisionTransformer, size: str, file: str) -> None:
    """Raise WeightsError if a file of weights is not of the `size` (small, base or large; '': any) that was asked for."""
    channels = transformer.cls_token.shape[-1]
    if size and channels != SIZES[size]:
        found = next((name for name, wide in SIZES.items() if wide == channels), 'another')
        raise WeightsError(f'{file} holds the {found} network ({channels} channels), asked for was {size} '
                           f'({SIZES[size]}); set model.variant to {found} or give the file of {size}')
