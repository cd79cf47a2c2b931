"""From a depth map to points: unproject, drop flying points, decimate."""

import cv2
import numpy as np

from depth_ros.core.camera import Camera, rays
from depth_ros.settings import CloudSettings


def make_cloud(depth_m: np.ndarray, rgb: np.ndarray, camera: Camera,
               settings: CloudSettings) -> tuple[np.ndarray, np.ndarray]:
    """Return the organised cloud: xyz (H', W', 3) float32 metres in the optical frame, NaN where there is no point, and
    its colours (H', W', 3) uint8. H', W' are H, W over the stride.
    """
    step = settings.stride_px
    depth_m = drop_flying(depth_m, settings.edge_ratio)[::step, ::step]
    with np.errstate(invalid='ignore'):
        wanted = (depth_m >= settings.min_depth_m) & (depth_m <= settings.max_depth_m)
    depth_m = np.where(wanted, depth_m, np.float32(np.nan))
    return unproject(depth_m, rays(camera)[::step, ::step]), rgb[::step, ::step]


def unproject(depth_m: np.ndarray, ray_xy: np.ndarray) -> np.ndarray:
    """Return (H, W, 3) float32 points of depth (H, W) along rays (H, W, 2); the third coordinate is the depth itself."""
    return cv2.merge((ray_xy[..., 0] * depth_m, ray_xy[..., 1] * depth_m, depth_m))


def drop_flying(depth_m: np.ndarray, ratio: float) -> np.ndarray:
    """Return (H, W) depth with NaN where a pixel hangs between a nearer and a farther neighbour.

    A pixel flies if, across it in u or in v, depth changes monotonically by more than `ratio` of itself on both sides:
    the smeared edge of a resized map. A true edge has its jump on one side only, and a slope has no jump.
    """
    if ratio <= 0:
        return depth_m
    flying = np.zeros(depth_m.shape, bool)
    for axis in (0, 1):
        depth = depth_m.swapaxes(0, axis)
        step = np.diff(depth, axis=0)                          # (H-1, W)
        before, after, jump = step[:-1], step[1:], ratio * depth[1:-1]
        with np.errstate(invalid='ignore'):
            flying.swapaxes(0, axis)[1:-1] |= (np.minimum(before, after) > jump) | (np.maximum(before, after) < -jump)
    return np.where(flying, np.float32(np.nan), depth_m)
