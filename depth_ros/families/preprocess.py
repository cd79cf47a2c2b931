"""Pictures in and maps out in the ways that several of the families were published with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from depth_ros.core.camera import Camera
from depth_ros.core.frame import Clip
from depth_ros.families.family import Graph

MEAN = np.array([0.485, 0.456, 0.406], np.float32)         # of ImageNet, red green blue
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
ENCODED_AT_ONCE = 8    # frames: bounds the memory
WIDE = 1.78    # from this aspect on, a video is shown to the network at a smaller short side


@dataclass(frozen=True)
class ShortSide:
    """Network size: the short side at least `short_side_px`, the aspect kept to the nearest multiple of the patch."""

    short_side_px: int = 518
    patch_px: int = 14
    wide: bool = True    # the rule for wide videos holds

    def __call__(self, height: int, width: int, camera: Camera | None = None) -> tuple[int, int]:
        """Return (h, w) for a picture of `height` x `width`; the camera does not matter."""
        least, patch = self.short_side_px, self.patch_px
        ratio = max(height, width) / min(height, width)
        if self.wide and ratio > WIDE:
            least = max(patch, round(int(least * 1.777 / ratio) / patch) * patch)
        scale = least / min(height, width)
        sides = [round(scale * side / patch) * patch for side in (height, width)]
        h, w = (side if side >= least else -(-least // patch) * patch for side in sides)
        return h, w


def shrink_area_cubic(rgb: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the picture (H, W, 3) uint8 at the network `size` (h, w), uint8: means if that is smaller, cubic if larger."""
    smaller = size[0] * size[1] < rgb.shape[0] * rgb.shape[1]
    return cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def shrink_linear(rgb: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the picture (H, W, 3) uint8 at the network `size` (h, w) as float32 in 0..1, bilinear whatever the factor."""
    return cv2.resize(rgb.astype(np.float32) / 255, size[::-1], interpolation=cv2.INTER_LINEAR)


def shrink_cubic(rgb: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the picture (H, W, 3) uint8 at the network `size` (h, w) as float32, 0..1 but for what bicubic overshoots."""
    return cv2.resize(rgb.astype(np.float32) / 255, size[::-1], interpolation=cv2.INTER_CUBIC)


def normalise(rgb: np.ndarray) -> np.ndarray:
    """Return pictures (T, h, w, 3), uint8 or as of `shrink_cubic`, as (T, 3, h, w) float32 about 0, of spread 1."""
    if rgb.dtype == np.uint8:
        rgb = rgb.astype(np.float32) / 255
    return np.ascontiguousarray(((rgb - MEAN) / DEVIATION).transpose(0, 3, 1, 2), np.float32)


def enlarge_corners(map: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the map (h, w) at the picture's `size` (H, W), bilinear in float32, corner pixels on corner pixels."""
    for axis, new in enumerate(size):
        old = map.shape[axis]
        place = np.arange(new, dtype=np.float32) * np.float32((old - 1) / max(1, new - 1))
        first = np.minimum(place.astype(int), max(0, old - 2))
        share = (place - first).astype(np.float32)
        share = share[:, None] if axis == 0 else share
        map = np.take(map, first, axis) * (1 - share) + np.take(map, np.minimum(first + 1, old - 1), axis) * share
    return map.astype(np.float32, copy=False)


def encode_new(graphs: Mapping[str, Graph], clip: Clip, known: Mapping[int, Any] | None) -> dict[int, Any]:
    """Return {position: what the graph `encoder` makes of it} of the frames of a clip; `known` ones are not run again."""
    tokens = dict(known or {})
    new = {index: slot for slot, index in enumerate(clip.indices) if index not in tokens}
    for first in range(0, len(new), ENCODED_AT_ONCE):
        indices = list(new)[first: first + ENCODED_AT_ONCE]
        rgb = normalise(clip.rgb[[new[index] for index in indices]])
        tokens.update(zip(indices, graphs['encoder'].run({'rgb': rgb}).values(), strict=True))
    return {index: tokens[index] for index in clip.indices}
