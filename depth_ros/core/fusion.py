"""The last few clouds seen from the newest camera, to fill its holes and to vote out what flickers."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from depth_ros.core.camera import Camera, rays, to_pixels
from depth_ros.core.frame import DepthFrame

AGREE = 0.05     # depths that differ by less, as a share, are one surface
SCALE = 0.03     # a scale that changed by more, as a share, ends the history


@dataclass
class History:
    """Depth and poses of the last frames of one segment, one scale and one camera."""

    views: deque[tuple[np.ndarray, np.ndarray]] = field(default_factory=deque)    # (H, W) m, NaN; T_world_cam (4, 4)
    segment: int = -1
    scale: float = 1.0
    camera: Camera | None = None
    moves: bool = False              # poses have a translation in metres

    def fuse(self, z: np.ndarray, depth: DepthFrame, frames: int, limit_m: float) -> np.ndarray:
        """Return depth (H, W) float32 with the holes filled where the last `frames` agree, and NaN where most of them see
        another depth; remember it as it came. NaN and what is at `limit_m` or beyond is no surface.

        The motion is that in metres where there is one, else the rotation alone, which holds for a camera that turns in
        place. A family without any pose counts as one that stands still.
        """
        assert depth.camera is not None
        changed = abs(depth.anchor.scale / self.scale - 1) > SCALE if self.scale else True
        moves = depth.T_metric_cam is not None
        if changed or (depth.segment, depth.camera, moves) != (self.segment, self.camera, self.moves):
            self.views.clear()
            self.segment, self.camera, self.moves, self.scale = depth.segment, depth.camera, moves, depth.anchor.scale
        T_world_cam = _pose(depth)
        seen = [_seen_from(past, depth.camera, np.linalg.inv(T_world_cam) @ T) for past, T in self.views]
        surface = np.where(z < limit_m, z, np.float32(np.nan))
        self.views.append((surface, T_world_cam))
        while len(self.views) > frames:
            self.views.popleft()
        return _vote(z, surface, np.stack(seen)) if len(seen) > 1 else z


def _pose(depth: DepthFrame) -> np.ndarray:
    if depth.T_metric_cam is not None:
        return depth.T_metric_cam
    T = np.eye(4)
    if depth.T_world_cam is not None:
        T[:3, :3] = depth.T_world_cam[:3, :3]
    return T


def _seen_from(past_m: np.ndarray, camera: Camera, T_now_past: np.ndarray) -> np.ndarray:
    """Return (H, W) float32 the nearest depth of a past view's points in each pixel of the newest, NaN where none is."""
    height, width = past_m.shape
    ray = rays(camera)
    known = np.isfinite(past_m) & np.isfinite(ray[..., 0])
    z = past_m[known]
    R, t = T_now_past[:3, :3].astype(np.float32), T_now_past[:3, 3].astype(np.float32)
    points = np.column_stack((ray[known] * z[:, None], z)) @ R.T + t
    points = points[points[:, 2] > 0]
    u, v = _pixels(points, camera)
    inside = (u >= 0) & (v >= 0) & (u < width) & (v < height)
    found = np.full(height * width, np.inf, np.float32)
    np.minimum.at(found, v[inside] * width + u[inside], points[inside, 2])
    return np.where(np.isfinite(found), found, np.float32(np.nan)).reshape(height, width)


def _pixels(points: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest pixels u, v (N) int of points (N, 3) before the camera."""
    uv = to_pixels(points[:, :2] / points[:, 2:], camera)
    uv = np.rint(np.clip(uv, -1, max(camera.height, camera.width))).astype(int)
    return uv[:, 0], uv[:, 1]


def _vote(z: np.ndarray, surface: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return depth (H, W): the views `seen` (T, H, W) fill holes where all that see something agree, most of them seeing it,
    and drop surfaces that most of those that see something deny.
    """
    known = np.isfinite(seen)
    count = known.sum(axis=0)
    low, high = np.where(known, seen, np.inf).min(axis=0), np.where(known, seen, -np.inf).max(axis=0)
    with np.errstate(invalid='ignore'):
        fills = np.isnan(z) & (2 * count > len(seen)) & (high < low * (1 + AGREE))
        agree = (np.abs(seen - surface) < AGREE * surface).sum(axis=0)
    denied = np.isfinite(surface) & (count > 1) & (2 * agree < count)
    return np.where(fills, low, np.where(denied, np.float32(np.nan), z)).astype(np.float32)
