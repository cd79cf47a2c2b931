"""Pixel-Perfect Depth in miniature: the published file and key names, pseudo-random weights."""

from pathlib import Path

import torch
from torch import nn

from depth_ros.models.dit import Sizes
from depth_ros.models.pixel_perfect import CascadeDiT, Semantics
from depth_ros.models.vit import VisionTransformer
from test.parity.fill import fill_torch

SETTINGS: dict[str, object] = {'model.short_side_px': 48, 'model.steps': 2}
SIZES = Sizes(dim=32, depth=4, head_dim=16, hidden=64, patch=16, channels=4, waves=16, semantics=64, fused=64)


def write(folder: Path) -> Path:
    """Write both weights files to `folder` and return it."""
    encoder = VisionTransformer(64, depth=2, heads=1, positions=1 + 4 * 4)
    unused = {'depth_head.projects.0.weight': torch.zeros(1, 64, 1, 1)}
    torch.save(filled(CascadeDiT(SIZES), 'dit.'), folder / 'ppd.pth')
    torch.save(filled(Semantics(encoder), '') | unused, folder / 'depth_anything_v2_vitl.pth')
    return folder


def filled(module: nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    """Return the entries of the module, pseudo-random but for its tables, by their names in a file."""
    fill_torch(module, 0, prefix)
    return {prefix + key: value for key, value in module.state_dict().items()}
