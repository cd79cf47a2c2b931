"""Pixel-Perfect Video Depth (2601.05246): disparity of a window of frames, drawn from noise in pixel space.

As Pixel-Perfect Depth, and to make the frames agree: semantics from a geometry transformer that sees them all (Pi3);
tokens of the first three frames of the window, thinned out, shown to every frame in the last blocks (reference-guided token
propagation); and three blocks that look along the time at one place. Positions are a fixed table, so that the network is
tied to one picture size, 512 x 512 px as published; the table in the file says which.

The transformer's entries are published as `dit_video.*`; another prefix, or none, is understood as well. Of the file of Pi3
the encoder and decoder are read; its heads may be there and are not used.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depth_ros.errors import WeightsError
from depth_ros.models import weights
from depth_ros.models.dit import DiTBlock, FinalLayer, Sizes, TimeEmbedding, fusion, prefix_of, refine, sizes_of
from depth_ros.models.pi3 import UNUSED, Pi3, pi3_like
from depth_ros.models.pixel_perfect import check_fit
from depth_ros.models.vit import PatchEmbed
from depth_ros.models.weights import Shapes, count, shape

REFERENCES = 3    # frames at the head of a window that all others see
THINNING = 4      # their tokens are means of 4 x 4


class Semantics(nn.Module):
    """What is where, the same in every frame: one token of unit length for each coarse patch."""

    resident = ('semantics',)    # need not leave the device

    def __init__(self, pi3: Pi3, patch: int = 16) -> None:
        super().__init__()
        self.pi3 = pi3
        self.patch = patch    # of the diffusion transformer

    def forward(self, rgb: Tensor) -> dict[str, Tensor]:
        """Return `semantics` (T, N, S) of frames (T, 3, h, w) in 0..1; N = h/16 * w/16."""
        h, w = (side // self.patch * self.pi3.encoder.patch for side in rgb.shape[-2:])
        tokens = self.pi3(F.interpolate(rgb, (h, w), mode='bilinear'))
        return {'semantics': F.normalize(tokens.float(), dim=-1)}


class VideoDiT(nn.Module):
    """The velocity from the data to the noise for a window of frames, given the frames and their semantics."""

    def __init__(self, sizes: Sizes, side: int, temporal: int) -> None:
        """Positions on a coarse grid of `side` x `side`; `temporal` blocks along the time before the last ones."""
        super().__init__()
        self.pos_embed = nn.Parameter(sincos_2d(sizes.dim, side), requires_grad=False)
        self.x_embedder = PatchEmbed(sizes.dim, sizes.patch, sizes.channels)
        self.t_embedder = TimeEmbedding(sizes.dim, sizes.waves)
        self.blocks = nn.ModuleList(DiTBlock(sizes) for _ in range(sizes.depth))
        self.proj_fusion = fusion(sizes)
        self.temporal_blocks = nn.ModuleList(DiTBlock(sizes) for _ in range(temporal))
        self.final_layer = FinalLayer(sizes)

    def forward(self, latent: Tensor, rgb: Tensor, semantics: Tensor, t: Tensor) -> dict[str, Tensor]:
        """Return `velocity` (T, 1, h, w) at the time step `t` (1), 1000 = noise.

        `latent` (T, 1, h, w), `rgb` (T, 3, h, w) in 0..1, `semantics` (T, h/16 * w/16, S), h x w as the table of positions.
        """
        time = self.t_embedder(t)
        x = self.x_embedder(torch.cat((latent, rgb - 0.5), dim=1)) + self.pos_embed    # (T, N, C)
        h, w = (side // self.x_embedder.proj.stride[0] for side in rgb.shape[-2:])
        depth = len(self.blocks)
        half, first_guided, first_temporal = depth // 2, depth * 3 // 4, depth - len(self.temporal_blocks)

        for block in self.blocks[:half]:
            x = block(x, time)
        x = refine(self.proj_fusion(torch.cat((x, semantics), dim=-1)), h, w)          # (T, 4N, C)
        for block in self.blocks[half:first_guided]:
            x = block(x, time)
        for i in range(first_guided, depth):
            if i >= first_temporal:
                x = self.temporal_blocks[i - first_temporal](x.transpose(0, 1), time).transpose(0, 1)
            guided = torch.cat((x, references(x, 2 * h, 2 * w)), dim=1)                # (T, 4N + 3N/4, C)
            x = self.blocks[i](guided, time)[:, :x.shape[1]]
        return {'velocity': self.final_layer(x, time, 2 * h, 2 * w)}


def references(x: Tensor, h: int, w: int) -> Tensor:
    """Return the thinned-out tokens of the first frames, once for each frame: (T, 3 * h*w/16, C) of (T, h*w, C)."""
    first = x[:REFERENCES].transpose(1, 2).unflatten(-1, (h, w))           # (3, C, h, w)
    thin = F.avg_pool2d(first, THINNING).flatten(2).transpose(1, 2)        # (3, h*w/16, C)
    return thin.flatten(0, 1).expand(len(x), -1, -1)


def video_dit_like(shapes: Shapes, prefix: str) -> VideoDiT:
    """Return the network in the sizes that the file shows; WeightsError if it is another file."""
    side = round(shape(shapes, f'{prefix}pos_embed', 3)[1] ** 0.5)
    return VideoDiT(sizes_of(shapes, prefix), side, count(shapes, f'{prefix}temporal_blocks.'))


def sincos_2d(dim: int, side: int) -> Tensor:
    """Return the table of positions (1, side * side, dim): waves of the column, then of the row (He et al. 2022)."""
    speed = 10_000 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    angle = torch.arange(side, dtype=torch.float64)[:, None] * speed       # (side, dim/4)
    waves = torch.cat((angle.sin(), angle.cos()), dim=-1)                  # (side, dim/2)
    rows, columns = waves[:, None].expand(-1, side, -1), waves[None].expand(side, -1, -1)
    return torch.cat((columns, rows), dim=-1).reshape(1, side * side, dim).float()


def expected(role: str, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Return {key: shape} that the file of the role `model` or `semantics` must have, in the size that it shows.

    Raises WeightsError if it is another file.
    """
    with torch.device('meta'):
        if role == 'model':
            prefix = prefix_of(shapes)
            return {prefix + key: size for key, size in weights.shapes_of(video_dit_like(shapes, prefix)).items()}
        used = weights.shapes_of(pi3_like(shapes))
    return used | {key: tuple(size) for key, size in shapes.items() if key.startswith(UNUSED)}


def open_graphs(files: Mapping[str, Path], dtype: torch.dtype, device: str, side_px: int = 512) -> dict[str, nn.Module]:
    """Return the graphs semantics and denoise of the files `model` and `semantics`, for frames of `side_px` x `side_px`.

    Raises WeightsError if a file does not fit its network, the two do not fit each other, or the file is for another size.
    """
    tensors = weights.read_tensors(files['model'])
    shapes = weights.shapes_of(tensors)
    prefix = prefix_of(shapes)
    sizes = sizes_of(shapes, prefix)
    seen = {key: value for key, value in weights.read_tensors(files['semantics']).items() if not key.startswith(UNUSED)}
    with torch.device('meta'):
        denoise = video_dit_like(shapes, prefix)
        pi3 = pi3_like(weights.shapes_of(seen))
    made_for_px = round(denoise.pos_embed.shape[1] ** 0.5) * sizes.patch
    if made_for_px != side_px:
        raise WeightsError(f'{files["model"].name} is made for frames of {made_for_px} x {made_for_px} px, asked for were '
                           f'{side_px} x {side_px}; set model.short_side_px to {made_for_px}')
    check_fit(sizes, 2 * pi3.register_token.shape[-1], files)
    tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    weights.load(pi3, seen, files['semantics'].name, dtype, device)
    return {'semantics': Semantics(pi3, sizes.patch).eval(),
            'denoise': weights.load(denoise, tensors, files['model'].name, dtype, device)}
