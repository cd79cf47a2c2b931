"""A tiny Video Depth Anything in one file, with every key of the published one; and the tensors of one of any size."""

from collections.abc import Sequence
from pathlib import Path

import torch

from depth_ros.models import video_depth_anything
from depth_ros.models.temporal import sinusoids
from test.parity.fill import weight

SETTINGS: dict[str, object] = {'model.short_side_px': 56}


def write(folder: Path) -> Path:
    """Write the file with pseudo-random weights and return it."""
    torch.save(small(), folder / 'video_depth_anything_vits.pth')
    return folder / 'video_depth_anything_vits.pth'


def small() -> dict[str, torch.Tensor]:
    """Return the tensors of the tiny file."""
    tensors = fill(shapes(dim=64, depth=4, features=32, channels=(8, 16, 32, 32), positions=1 + 5 * 5))
    tensors['head.scratch.output_conv2.2.bias'].fill_(5)    # keeps the disparity away from 0
    return tensors


def fill(shapes: video_depth_anything.Shapes) -> dict[str, torch.Tensor]:
    """Return the pseudo-random tensors of the parity kit, and the computed tables."""
    tensors = {}
    for key, shape in shapes.items():
        values = weight(key, shape, 0)
        tensors[key] = sinusoids(*shape[1:])[None] if values is None else torch.from_numpy(values)
    return tensors


def shapes(dim: int = 384, depth: int = 12, features: int = 64, channels: Sequence[int] = (48, 96, 192, 384),
           positions: int = 1370) -> dict[str, tuple[int, ...]]:
    """Return {official key: shape} of a file, by default of the small one."""
    pe = 'head.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0.pos_encoder.pe'
    return video_depth_anything.expected('model', {    # the entries by which the network knows its sizes
        'pretrained.patch_embed.proj.weight': (dim, 3, 14, 14),
        'pretrained.pos_embed': (1, positions, dim),
        'pretrained.mask_token': (1, dim),
        'pretrained.blocks.0.mlp.fc1.weight': (4 * dim, dim),
        f'pretrained.blocks.{depth - 1}.ls1.gamma': (dim,),
        **{f'head.projects.{i}.weight': (channel, dim, 1, 1) for i, channel in enumerate(channels)},
        **{f'head.resize_layers.{i}.weight': (channels[i], channels[i], side, side) for i, side in ((0, 4), (1, 2), (3, 3))},
        'head.scratch.layer1_rn.weight': (features, channels[0], 3, 3),
        'head.scratch.refinenet4.resConfUnit1.conv1.weight': (features, features, 3, 3),
        pe: (1, 32, channels[2]),
    })
