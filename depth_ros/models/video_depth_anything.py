"""Video Depth Anything (Chen et al. 2025): DINOv2 per frame, and a DPT head whose frames exchange along time.

Three graphs: `encoder` sees each picture once, `head` makes the maps of a window, `step` (the published streaming form) the
map of the newest frame from what was kept of those before it. What belongs to a frame travels as one array of its own, so
that a caller can keep it and show it again.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depth_ros.errors import WeightsError
from depth_ros.models import weights
from depth_ros.models.dpt import dpt_like
from depth_ros.models.temporal import Attend, TemporalAttention, in_window
from depth_ros.models.vit import Encoder, check_size, vit_like
from depth_ros.models.weights import Shapes


class VideoDepthAnything(nn.Module):
    """The network in the sizes of a weights file."""

    def __init__(self, shapes: Shapes) -> None:
        """Raises WeightsError if `shapes` are not those of such a file."""
        super().__init__()
        self.pretrained = vit_like(shapes, 'pretrained.')
        self.head = dpt_like(shapes, 'head.')
        if not self.head.motion_modules:
            raise WeightsError('the weights have no temporal modules; take the official file of Video Depth Anything')

    def decode(self, features: Tensor, attend: Attend = in_window) -> Tensor:
        """Return the maps (T, h, w) of a window from its tokens (T, 4, h/14, w/14, C)."""
        h, w = features.shape[2:4]
        size = h * self.pretrained.patch, w * self.pretrained.patch
        return F.relu(self.head(features.flatten(2, 3).unbind(1), (h, w), size, attend))


class Head(nn.Module):
    """Graph: tokens of the frames of a window -> their maps."""

    def __init__(self, network: VideoDepthAnything) -> None:
        super().__init__()
        self.network = network

    def forward(self, **frames: Tensor) -> dict[str, Tensor]:
        """Return 'map' (T, h, w) of the frames (4, h/14, w/14, C), in the order given."""
        return {'map': self.network.decode(torch.stack(tuple(frames.values())))}


class Step(nn.Module):
    """Graph: tokens of the newest frame, and what was kept of earlier ones -> its map, and what to keep of it."""

    resident = ('keep',)

    def __init__(self, network: VideoDepthAnything) -> None:
        super().__init__()
        self.network = network

    def forward(self, frame: Tensor, **past: Tensor) -> dict[str, Tensor]:
        """Return 'map' (1, h, w) and 'keep' (L), the keys and values of all temporal attentions one after the other.

        `frame` (4, h/14, w/14, C); `past`: 'keep' of the frames that precede it, oldest first, none for a first frame.
        """
        kept: list[Tensor] = []
        read = 0    # of each of `past`

        def attend(attention: TemporalAttention, x: Tensor) -> Tensor:    # x: (N, 1, C)
            nonlocal read
            size = 2 * x.numel()
            out, keep = attention.step(x, [one[read: read + size].view(2, x.shape[0], x.shape[2]) for one in past.values()])
            kept.append(keep.flatten())
            read += size
            return out

        return {'map': self.network.decode(frame[None], attend), 'keep': torch.cat(kept)}


def expected(role: str, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Return {key: shape} that the file must have, in the size that it shows.

    Raises WeightsError if it is not a file of this family.
    """
    with torch.device('meta'):
        return weights.shapes_of(VideoDepthAnything(shapes))


def open_graphs(files: Mapping[str, Path], dtype: torch.dtype, device: str, size: str = '') -> dict[str, nn.Module]:
    """Return the graphs encoder, head and step of the file `files['model']`.

    Raises WeightsError if the file does not fit, or is not of the `size` (small, base or large; '': any).
    """
    path = files['model']
    tensors = weights.read_tensors(path)
    with torch.device('meta'):
        network = VideoDepthAnything(weights.shapes_of(tensors))
    check_size(network.pretrained, size, path.name)
    weights.load(network, tensors, path.name, dtype, device)
    return {'encoder': Encoder(network.pretrained), 'head': Head(network), 'step': Step(network)}
