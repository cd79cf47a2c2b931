"""Depth Anything V2 (Yang et al. 2024): DINOv2 and a DPT head, one picture at a time."""

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depth_ros.models import weights
from depth_ros.models.dpt import dpt_like
from depth_ros.models.vit import check_size, layers_of, vit_like
from depth_ros.models.weights import Shapes


class DepthAnything(nn.Module):
    """The network in the sizes of a weights file."""

    def __init__(self, shapes: Shapes, farthest_m: float = 0.0) -> None:
        """`farthest_m`: the depth that a network for metres ends at, 0 for a relative one.

        Raises WeightsError if `shapes` are not those of such a file.
        """
        super().__init__()
        self.pretrained = vit_like(shapes, 'pretrained.')
        self.depth_head = dpt_like(shapes, 'depth_head.')
        self.farthest_m = farthest_m

    def forward(self, x: Tensor) -> Tensor:
        """Return disparity (B, h, w), affine-invariant, or depth [m], of pictures (B, 3, h, w), normalised for DINOv2."""
        tokens = self.pretrained(x, layers_of(len(self.pretrained.blocks)))
        h, w = x.shape[-2:]
        patch = self.pretrained.patch
        map = self.depth_head(tokens, (h // patch, w // patch), (h, w))
        return self.farthest_m * map.sigmoid() if self.farthest_m else F.relu(map)


class Depth(nn.Module):
    """Graph: pictures -> maps, each by itself."""

    def __init__(self, network: DepthAnything) -> None:
        super().__init__()
        self.network = network

    def forward(self, rgb: Tensor) -> dict[str, Tensor]:
        """Return 'map' (T, h, w) of `rgb` (T, 3, h, w), normalised."""
        return {'map': self.network(rgb)}


def expected(role: str, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Return {key: shape} that the file must have, in the size that it shows; WeightsError if it is another network's."""
    with torch.device('meta'):
        return weights.shapes_of(DepthAnything(shapes))


def open_graphs(files: Mapping[str, Path], dtype: torch.dtype, device: str, size: str = '',
                farthest_m: float = 0.0) -> dict[str, nn.Module]:
    """Return the graph depth of the file `files['model']`.

    Raises WeightsError if the file does not fit, or is not of the `size` (small, base or large; '': any).
    """
    path = files['model']
    tensors = weights.read_tensors(path)
    with torch.device('meta'):
        network = DepthAnything(weights.shapes_of(tensors), farthest_m)
    check_size(network.pretrained, size, path.name)
    weights.load(network, tensors, path.name, dtype, device)
    return {'depth': Depth(network)}
