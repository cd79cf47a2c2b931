"""A tiny Depth Anything V2 in one file, with every key of the published one; and the shapes of one of any size."""

from pathlib import Path

import torch

from test.families.tiny import video_depth_anything

SETTINGS: dict[str, object] = {'model.short_side_px': 56}


def write(folder: Path) -> Path:
    """Write the file with pseudo-random weights and return it."""
    wanted = shapes(dim=64, depth=4, features=32, channels=(8, 16, 32, 32), positions=1 + 5 * 5)
    tensors = video_depth_anything.fill(wanted)
    tensors['depth_head.scratch.output_conv2.2.bias'].fill_(5)    # keeps the disparity away from 0
    torch.save(tensors, folder / 'depth_anything_v2_vits.pth')
    return folder / 'depth_anything_v2_vits.pth'


def shapes(**sizes: object) -> dict[str, tuple[int, ...]]:
    """Return {official key: shape} of a file: what the video network has too, by default of the small one."""
    video = video_depth_anything.shapes(**sizes)
    return {key.replace('head.', 'depth_head.', 1) if key.startswith('head.') else key: shape
            for key, shape in video.items() if 'motion_modules' not in key}
