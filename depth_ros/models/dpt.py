"""Dense prediction head (DPT, Ranftl et al. 2021): four sets of tokens to one map, coarse to fine.

Attribute names are the keys of the published checkpoints of Depth Anything, Video Depth Anything, GemDepth and DepthVLM.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depth_ros.models.temporal import Attend, TemporalModule, in_window
from depth_ros.models.weights import Shapes, shape

FRAMES_AT_ONCE = 4    # that the fine half of the head, which knows no time, computes together: bounds the memory


class DPT(nn.Module):
    """Four sets of tokens, projected, brought to four scales and fused; with `positions`, frames exchange in between.

    `scales` are the pixels per token and axis of the four maps. `relu_skip`: the residual units add relu(x) instead of x;
    `idle_unit`: the coarsest fusion has, as published, a first residual unit that nothing reaches.
    """

    def __init__(self, embed_dim: int, features: int, out_channels: Sequence[int], positions: int = 0,
                 scales: Sequence[float] = (4, 2, 1, 0.5), relu_skip: bool = False, idle_unit: bool = True) -> None:
        super().__init__()
        self.scales = scales
        self.projects = nn.ModuleList(nn.Conv2d(embed_dim, channels, 1) for channels in out_channels)
        self.resize_layers = nn.ModuleList(_resize(*pair) for pair in zip(out_channels, scales, strict=True))
        self.scratch = Scratch(features, out_channels, relu_skip, idle_unit)
        places = (out_channels[2], out_channels[3], features, features) if positions else ()
        self.motion_modules = nn.ModuleList(TemporalModule(channels, positions) for channels in places)

    def forward(self, tokens: Sequence[Tensor], grid: tuple[int, int], size: tuple[int, int],
                attend: Attend = in_window) -> Tensor:
        """Return (T, h, w), before the last activation, from the four sets of `tokens` (T, N, C) on a `grid` of N patches.

        `size` is (h, w). With temporal modules the T frames are one window, or what `attend` makes of them.
        """
        fuse, (h, w) = self.scratch, grid
        layer_3 = fuse.layer3_rn(self._over_time(0, self._map(2, tokens[2], grid), attend))    # (T, features, h, w)
        layer_4 = fuse.layer4_rn(self._over_time(1, self._map(3, tokens[3], grid), attend))
        path_4 = self._over_time(2, fuse.refinenet4(layer_4, size=layer_3.shape[-2:]), attend)
        finer = int(h * self.scales[1]), int(w * self.scales[1])
        path_3 = self._over_time(3, fuse.refinenet3(path_4, layer_3, size=finer), attend)
        return torch.cat([self._finish(path, one, two, grid, size) for path, one, two in zip(
            *(part.split(FRAMES_AT_ONCE) for part in (path_3, tokens[0], tokens[1])), strict=True)])

    def _finish(self, path_3: Tensor, tokens_1: Tensor, tokens_2: Tensor, grid: tuple[int, int],
                size: tuple[int, int]) -> Tensor:
        fuse = self.scratch
        layer_1, layer_2 = fuse.layer1_rn(self._map(0, tokens_1, grid)), fuse.layer2_rn(self._map(1, tokens_2, grid))
        path_2 = fuse.refinenet2(path_3, layer_2, size=layer_1.shape[-2:])
        path_1 = fuse.refinenet1(path_2, layer_1, size=(2 * layer_1.shape[-2], 2 * layer_1.shape[-1]))
        x = upsample(fuse.output_conv1(path_1), size)
        return fuse.output_conv2(x)[:, 0]

    def _map(self, i: int, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        x = self.projects[i](tokens.transpose(1, 2).unflatten(2, grid))
        return self.resize_layers[i](x)

    def _over_time(self, i: int, x: Tensor, attend: Attend) -> Tensor:
        return self.motion_modules[i](x, attend) if self.motion_modules else x


class Scratch(nn.Module):
    """The layers of the head that are made from nothing, under their published name."""

    def __init__(self, features: int, out_channels: Sequence[int], relu_skip: bool, idle_unit: bool) -> None:
        super().__init__()
        self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn = (
            nn.Conv2d(channels, features, 3, padding=1, bias=False) for channels in out_channels)
        self.refinenet1, self.refinenet2, self.refinenet3 = (Fusion(features, relu_skip) for _ in range(3))
        self.refinenet4 = Fusion(features, relu_skip, idle_unit)
        self.output_conv1 = nn.Conv2d(features, features // 2, 3, padding=1)
        self.output_conv2 = nn.Sequential(nn.Conv2d(features // 2, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 1, 1))


class Fusion(nn.Module):
    """The coarser path plus the next layer, refined, enlarged (RefineNet, Lin et al. 2017)."""

    def __init__(self, features: int, relu_skip: bool, first_unit: bool = True) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(features, features, 1)
        if first_unit:
            self.resConfUnit1 = ResidualUnit(features, relu_skip)
        self.resConfUnit2 = ResidualUnit(features, relu_skip)

    def forward(self, path: Tensor, layer: Tensor | None = None, *, size: tuple[int, int]) -> Tensor:
        """Return (T, features, *size); `layer` is of the shape of `path`, None for the coarsest."""
        if layer is not None:
            path = path + self.resConfUnit1(layer)
        return self.out_conv(upsample(self.resConfUnit2(path), size))


class ResidualUnit(nn.Module):
    """x + conv(relu(conv(relu(x))))."""

    def __init__(self, features: int, relu_skip: bool) -> None:
        super().__init__()
        self.relu_skip = relu_skip
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        positive = F.relu(x)
        return (positive if self.relu_skip else x) + self.conv2(F.relu(self.conv1(positive)))


def dpt_like(shapes: Shapes, prefix: str) -> DPT:
    """Return the head whose entries in a file begin with `prefix`, in the sizes that the file shows.

    Raises WeightsError if it is not there.
    """
    projects = [shape(shapes, f'{prefix}projects.{i}.weight', 4) for i in range(4)]
    table = f'{prefix}motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0.pos_encoder.pe'
    return DPT(
        projects[0][1], shape(shapes, f'{prefix}scratch.layer1_rn.weight', 4)[0], [channels for channels, *_ in projects],
        positions=shape(shapes, table, 3)[1] if table in shapes else 0,
        scales=[_scale(shapes, f'{prefix}resize_layers.{i}.weight') for i in range(4)],
        idle_unit=f'{prefix}scratch.refinenet4.resConfUnit1.conv1.weight' in shapes)


def upsample(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Return (B, C, h, w) enlarged to `size`, bilinear, corner pixels on corner pixels."""
    return F.interpolate(x, size, mode='bilinear', align_corners=True)


def _scale(shapes: Shapes, key: str) -> float:
    kernel = shape(shapes, key, 4)[-1] if key in shapes else 1
    return 0.5 if kernel == 3 else kernel


def _resize(channels: int, scale: float) -> nn.Module:
    if scale > 1:
        return nn.ConvTranspose2d(channels, channels, int(scale), stride=int(scale))
    return nn.Identity() if scale == 1 else nn.Conv2d(channels, channels, 3, stride=2, padding=1)
