"""Files of the published small size with pseudo-random weights, to time networks with where the published ones are not.

    python -m test.families.full video_depth_anything video_depth_anything_vits.pth
"""

import sys
from importlib import import_module
from pathlib import Path

import torch

from test.families.tiny import video_depth_anything


def write(name: str, path: Path) -> None:
    """Write the file of a family whose tiny module has `shapes` of the small one for a default."""
    tensors = video_depth_anything.fill(import_module(f'test.families.tiny.{name}').shapes())
    for key, value in tensors.items():
        if key.endswith('scratch.output_conv2.2.bias'):
            value.fill_(5)    # keeps the disparity away from 0
    torch.save(tensors, path)


if __name__ == '__main__':
    write(sys.argv[1], Path(sys.argv[2]))
