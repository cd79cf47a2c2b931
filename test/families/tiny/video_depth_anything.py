"""A tiny Video Depth Anything in one file, with every key of the published one."""

from pathlib import Path

import torch

from depth_ros.models import video_depth_anything
from depth_ros.models.temporal import sinusoids
from test.parity.fill import weight

SETTINGS: dict[str, object] = {'model.short_side_px': 56}
DIM, DEPTH, FEATURES, CHANNELS = 64, 4, 32, (8, 16, 32, 32)
PE = 'head.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0.pos_encoder.pe'
SIZES = {    # the entries by which the network knows its sizes
    'pretrained.patch_embed.proj.weight': (DIM, 3, 14, 14),
    'pretrained.pos_embed': (1, 1 + 5 * 5, DIM),
    'pretrained.mask_token': (1, DIM),
    'pretrained.blocks.0.mlp.fc1.weight': (2 * DIM, DIM),
    f'pretrained.blocks.{DEPTH - 1}.ls1.gamma': (DIM,),
    **{f'head.projects.{i}.weight': (channels, DIM, 1, 1) for i, channels in enumerate(CHANNELS)},
    **{f'head.resize_layers.{i}.weight': (CHANNELS[i], CHANNELS[i], side, side) for i, side in ((0, 4), (1, 2), (3, 3))},
    'head.scratch.layer1_rn.weight': (FEATURES, CHANNELS[0], 3, 3),
    'head.scratch.refinenet4.resConfUnit1.conv1.weight': (FEATURES, FEATURES, 3, 3),
    PE: (1, 32, CHANNELS[2]),
}


def write(folder: Path) -> Path:
    """Write the file with pseudo-random weights and return it."""
    tensors = {}
    for key, shape in video_depth_anything.expected('model', SIZES).items():
        values = weight(key, shape, 0)
        tensors[key] = sinusoids(*shape[1:])[None] if values is None else torch.from_numpy(values)
    tensors['head.scratch.output_conv2.2.bias'].fill_(5)    # keeps the disparity away from 0
    torch.save(tensors, folder / 'video_depth_anything_vits.pth')
    return folder / 'video_depth_anything_vits.pth'
