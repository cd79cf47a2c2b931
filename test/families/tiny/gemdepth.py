"""A tiny GemDepth in one file, with every key of the published one; and the shapes of one of any size."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from depth_ros.models import gemdepth
from depth_ros.models.temporal import sinusoids
from test.parity.fill import weight

SETTINGS: dict[str, object] = {'length': 8, 'model.short_side_px': 28}
TINY = {'dim': 64, 'depth': 4, 'features': 32, 'channels': (32, 32, 32, 32), 'widths': (8, 16, 32), 'trunk': 1,
        'positions': 17}
PUBLISHED = {'dim': 1024, 'depth': 24, 'features': 256, 'channels': (256, 512, 1024, 1024), 'widths': (128, 256, 512),
             'trunk': 4, 'positions': 1370}


def write(folder: Path) -> Path:
    """Write the file with pseudo-random weights and return it."""
    tensors = fill(shapes(**TINY))
    tensors['head.scratch.output_conv2.2.bias'].fill_(3.0)              # keeps the disparity away from 0
    tensors['camera_head.pose_branch.fc2.weight'] *= 0.1                # a camera that moves little
    tensors['camera_head.pose_branch.fc2.bias'] = torch.tensor([0, 0, 0, 0, 0, 0, 0.25, 0.25, 0.25])
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(tensors, folder / 'gemdepth.pth')
    return folder / 'gemdepth.pth'


def fill(shapes: gemdepth.Shapes) -> dict[str, torch.Tensor]:
    """Return the pseudo-random tensors of the parity kit, and the computed tables."""
    def one(key: str) -> torch.Tensor:
        values = weight(key, shapes[key], 0)
        return sinusoids(*shapes[key][1:])[None] if values is None else torch.from_numpy(values)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(shapes, pool.map(one, shapes), strict=True))


def shapes(dim: int, depth: int, features: int, channels: tuple[int, ...], widths: tuple[int, ...], trunk: int,
           positions: int) -> dict[str, tuple[int, ...]]:
    """Return {official key: shape} of a file; the network itself says the keys that it uses."""
    pe = 'temporal_transformer.transformer_blocks.0.attention_blocks.0.pos_encoder.pe'
    found: dict[str, tuple[int, ...]] = {
        'register_token': (1, 2, 4, dim),
        'pretrained.patch_embed.proj.weight': (dim, 3, 14, 14),
        'pretrained.pos_embed': (1, positions, dim),
        'pretrained.mask_token': (1, dim),
        'pretrained.blocks.0.mlp.fc1.weight': (4 * dim, dim),
        f'pretrained.blocks.{depth - 1}.ls1.gamma': (dim,),
        f'camera_head.trunk.{trunk - 1}.ls1.gamma': (2 * dim,),
        'camera_head.pose_branch.fc1.weight': (dim, 2 * dim),
        'spatial_blocks.1.norm1.weight': (dim,),
        **{f'{name}.encoder.{place}.weight': shape
           for name, inputs in (('cam_rot_encoder', 4), ('cam_trans_encoder', 3), ('cam_trans_scale_encoder', 1))
           for place, shape in zip(('0.0.0.0', '0.0.1', '0.1', '1'), zip((*widths, dim), (inputs, *widths), strict=True),
                                   strict=True)},
        **{f'head.projects.{i}.weight': (channel, dim, 1, 1) for i, channel in enumerate(channels)},
        **{f'head.resize_layers.{i}.weight': (channels[i], channels[i], side, side) for i, side in ((0, 4), (1, 2), (3, 3))},
        'head.scratch.layer1_rn.weight': (features, channels[0], 3, 3),
        'head.scratch.refinenet4.resConfUnit1.conv1.weight': (features, features, 3, 3),
        f'head.motion_modules.0.{pe}': (1, 32, channels[2]),
        # what no inference reads
        'pos_encoder.pe': (1, 32, dim),
        **{f'head.proj.{i}.weight': (channel, dim) for i, channel in enumerate(channels)},
        **{f'head.proj.{i}.bias': (channel,) for i, channel in enumerate(channels)},
    }
    for i, channel in enumerate((channels[2], channels[3], features, features)):
        name = f'head.motion_modules.{i}.temporal_transformer.'
        found |= {f'{name}layer_norm.weight': (channel,), f'{name}layer_norm.bias': (channel,),
                  f'{name}fusion_gate1.0.weight': (channel, 2 * channel), f'{name}fusion_gate1.0.bias': (channel,)}
    found = gemdepth.expected('model', found)
    return found | {key.replace('_blocks.0.', '_blocks.1.'): shape for key, shape in found.items()
                    if key.startswith(('frame_blocks.0.', 'global_blocks.0.'))}
