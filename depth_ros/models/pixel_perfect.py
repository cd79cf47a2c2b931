"""Pixel-Perfect Depth (2601.05246 and 2510.07316): depth of one picture, drawn from noise in pixel space.

Semantics of the picture, the last tokens of a Depth Anything V2 encoder, prompt a cascade diffusion transformer. Two graphs:
`semantics` runs once per picture, `denoise` gives the velocity of the flow once per Euler step; the family takes the steps.

The transformer's entries are published as `dit.*`; another prefix, or none, is understood as well. Of the file of Depth
Anything V2 the encoder is read; its depth head may be there and is not used.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depth_ros.errors import WeightsError
from depth_ros.models import weights
from depth_ros.models.dit import DiTBlock, FinalLayer, Sizes, TimeEmbedding, fusion, prefix_of, refine, sizes_of
from depth_ros.models.vit import PatchEmbed, VisionTransformer, normalised, rope_2d, vit_like
from depth_ros.models.weights import Shapes

UNUSED = 'depth_head.'


class Semantics(nn.Module):
    """What is where: one token of unit length for each coarse patch of the diffusion transformer."""

    resident = ('semantics',)    # need not leave the device

    def __init__(self, pretrained: VisionTransformer, patch: int = 16) -> None:
        super().__init__()
        self.pretrained = pretrained
        self.patch = patch    # of the diffusion transformer

    def forward(self, rgb: Tensor) -> dict[str, Tensor]:
        """Return `semantics` (B, N, S) of pictures (B, 3, h, w) in 0..1; N = h/16 * w/16 (III-C, eq. 5 and 6)."""
        h, w = (side // self.patch * self.pretrained.patch for side in rgb.shape[-2:])
        x = F.interpolate(rgb, (h, w), mode='bicubic')
        tokens, = self.pretrained(normalised(x), [len(self.pretrained.blocks) - 1])
        return {'semantics': F.normalize(tokens.float(), dim=-1)}


class CascadeDiT(nn.Module):
    """The velocity from the data to the noise, given the picture and its semantics."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.head_dim = sizes.head_dim
        self.x_embedder = PatchEmbed(sizes.dim, sizes.patch, sizes.channels)
        self.t_embedder = TimeEmbedding(sizes.dim, sizes.waves)
        self.blocks = nn.ModuleList(DiTBlock(sizes) for _ in range(sizes.depth))
        self.proj_fusion = fusion(sizes)
        self.final_layer = FinalLayer(sizes)

    def forward(self, latent: Tensor, rgb: Tensor, semantics: Tensor, t: Tensor) -> dict[str, Tensor]:
        """Return `velocity` (B, 1, h, w) at the time step `t` (1), 1000 = noise.

        `latent` (B, 1, h, w), `rgb` (B, 3, h, w) in 0..1, `semantics` (B, h/16 * w/16, S); h and w multiples of 16.
        """
        time = self.t_embedder(t)
        x = self.x_embedder(torch.cat((latent, rgb - 0.5), dim=1))    # (B, N, C)
        h, w = (side // self.x_embedder.proj.stride[0] for side in rgb.shape[-2:])
        half = len(self.blocks) // 2

        rope = rope_2d(grid(h, w, x.device), self.head_dim)
        for block in self.blocks[:half]:
            x = block(x, time, rope)
        x = refine(self.proj_fusion(torch.cat((x, semantics), dim=-1)), h, w)    # (B, 4N, C)
        rope = rope_2d(grid(2 * h, 2 * w, x.device), self.head_dim)
        for block in self.blocks[half:]:
            x = block(x, time, rope)
        return {'velocity': self.final_layer(x, time, 2 * h, 2 * w)}


def grid(h: int, w: int, device: torch.device) -> Tensor:
    """Return the (row, column) of each of h x w tokens, (h*w, 2), from 0."""
    return torch.cartesian_prod(torch.arange(h, device=device), torch.arange(w, device=device))


def expected(role: str, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Return {key: shape} that the file of the role `model` or `semantics` must have, in the size that it shows.

    Raises WeightsError if it is another file.
    """
    with torch.device('meta'):
        if role == 'model':
            prefix = prefix_of(shapes)
            found = weights.shapes_of(CascadeDiT(sizes_of(shapes, prefix)))
            return {prefix + key: size for key, size in found.items()}
        used = weights.shapes_of(Semantics(vit_like(shapes, 'pretrained.')))
    return used | {key: tuple(size) for key, size in shapes.items() if key.startswith(UNUSED)}


def open_graphs(files: Mapping[str, Path], dtype: torch.dtype, device: str) -> dict[str, nn.Module]:
    """Return the graphs semantics and denoise of the files `model` and `semantics`.

    Raises WeightsError if a file does not fit its network, or the two do not fit each other.
    """
    tensors = weights.read_tensors(files['model'])
    shapes = weights.shapes_of(tensors)
    prefix = prefix_of(shapes)
    sizes = sizes_of(shapes, prefix)
    seen = {key: value for key, value in weights.read_tensors(files['semantics']).items() if not key.startswith(UNUSED)}
    with torch.device('meta'):
        denoise = CascadeDiT(sizes)
        semantics = Semantics(vit_like(weights.shapes_of(seen), 'pretrained.'), sizes.patch)
    check_fit(sizes, semantics.pretrained.norm.weight.numel(), files)
    tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return {'semantics': weights.load(semantics, seen, files['semantics'].name, dtype, device),
            'denoise': weights.load(denoise, tensors, files['model'].name, dtype, device)}


def check_fit(sizes: Sizes, channels: int, files: Mapping[str, Path]) -> None:
    """Raise WeightsError unless semantics of so many channels are what the diffusion transformer was made for."""
    if channels != sizes.semantics:
        raise WeightsError(f'{files["model"].name} takes semantics of {sizes.semantics} channels, {files["semantics"].name} '
                           f'gives {channels}; take the file of the size that was published with it')
