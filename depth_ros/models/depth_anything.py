"""Depth Anything V2 (Yang et al. 2024): DINOv2 and a DPT head, one picture at a time."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depth_ros.models import weights
from depth_ros.models.dpt import dpt_like
from depth_ros.models.vit import layers_of, vit_like
from depth_ros.models.weights import Shapes


class DepthAnything(nn.Module):
    """The network in the sizes of a weights file."""

    def __init__(self, shapes: Shapes) -> None:
        """Raises WeightsError if `shapes` are not those of such a file."""
        super().__init__()
        self.pretrained = vit_like(shapes, 'pretrained.')
        self.depth_head = dpt_like(shapes, 'depth_head.')

    def forward(self, x: Tensor) -> Tensor:
        """Return disparity (B, h, w), affine-invariant, of pictures (B, 3, h, w), normalised as DINOv2 has them."""
        tokens = self.pretrained(x, layers_of(len(self.pretrained.blocks)))
        h, w = x.shape[-2:]
        patch = self.pretrained.patch
        return F.relu(self.depth_head(tokens, (h // patch, w // patch), (h, w)))


def expected(role: str, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Return {key: shape} that the file must have, in the size that it shows; WeightsError if it is another network's."""
    with torch.device('meta'):
        return weights.shapes_of(DepthAnything(shapes))
