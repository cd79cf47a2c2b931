"""Pictures in and maps out as Depth Anything V2, Video Depth Anything and GemDepth were published with."""

from dataclasses import dataclass

import cv2
import numpy as np

from depth_ros.core.camera import Camera

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)    # of ImageNet, red green blue
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


def shrink_cubic(rgb: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the picture (H, W, 3) uint8 at the network `size` (h, w) as float32, 0..1 but for what bicubic overshoots."""
    return cv2.resize(rgb.astype(np.float32) / 255, size[::-1], interpolation=cv2.INTER_CUBIC)


def normalise(rgb: np.ndarray) -> np.ndarray:
    """Return pictures (T, h, w, 3), float32 as of `shrink_cubic` or uint8, as (T, 3, h, w) float32 over ImageNet's spread."""
    if rgb.dtype == np.uint8:
        rgb = rgb.astype(np.float32) / 255
    rgb = (rgb - np.float32(MEAN)) / np.float32(DEVIATION)
    return np.ascontiguousarray(rgb.transpose(0, 3, 1, 2), np.float32)


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
