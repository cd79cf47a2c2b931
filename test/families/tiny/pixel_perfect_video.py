"""Pixel-Perfect Video Depth in miniature: the published file and key names, pseudo-random weights."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from depth_ros.models.dit import Sizes
from depth_ros.models.pi3 import Pi3
from depth_ros.models.pixel_perfect_video import VideoDiT
from depth_ros.models.vit import VisionTransformer
from test.families.tiny.pixel_perfect import filled

SIDE_PX = 64
SETTINGS: dict[str, object] = {'model.short_side_px': SIDE_PX, 'model.steps': 2}
SIZES = Sizes(dim=32, depth=8, head_dim=16, hidden=64, patch=16, channels=4, waves=16, semantics=128, fused=64)


def write(folder: Path) -> Path:
    """Write both weights files to `folder` and return it."""
    encoder = VisionTransformer(64, depth=2, heads=1, positions=1 + 4 * 4, registers=4, mask_token=False)
    pi3 = Pi3(encoder, dim=64, depth=4, head_dim=32, hidden=128, registers=5)
    unused = {'point_head.proj.weight': torch.zeros(2, 64)}
    torch.save(filled(VideoDiT(SIZES, SIDE_PX // SIZES.patch, temporal=1), 'dit_video.'), folder / 'ppvd.pth')
    save_file(filled(pi3, '') | unused, folder / 'model.safetensors')
    return folder
