"""Exact optical flow between two frames of a scene, with what moves in it."""

from __future__ import annotations

import numpy as np

from depth_ros.training.synthetic.rays import trace
from depth_ros.training.synthetic.scene import Scene


def optical_flow(
    scene: Scene,
    T_world_cam: np.ndarray,
    T_world_next: np.ndarray,
    K: np.ndarray,
    height: int,
    width: int,
    time_s: float = 0.0,
    next_s: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return how far (du, dv) each pixel's surface point moves until the next frame (H, W, 2) float32 [px], and
    whether it is seen there (H, W) bool.

    The first frame is taken at `time_s` from T_world_cam, the next at `next_s` from T_world_next (4, 4), both with K
    (3, 3). A point moves with its solid; the sky is infinitely far. NaN where the point comes to lie behind the camera.
    """
    v, u = (a.ravel().astype(np.float32) for a in np.mgrid[:height, :width])
    depth, solid = trace(scene, T_world_cam, K, u, v, time_s)
    point = _moved(scene, T_world_cam, K, u, v, depth, solid, next_s - time_s)  # (4, N)
    p = K @ (np.linalg.inv(T_world_next) @ point)[:3]
    with np.errstate(divide='ignore', invalid='ignore'):
        there = np.where(p[2] > 0, p[:2] / p[2], np.nan)
    visible = _is_seen(scene, T_world_next, K, there, np.where(solid < 0, np.inf, p[2]), (height, width), next_s)
    flow = (there - [u, v]).T.reshape(height, width, 2).astype(np.float32)
    return flow, visible.reshape(height, width)


def _moved(
    scene: Scene,
    T_world_cam: np.ndarray,
    K: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    depth: np.ndarray,
    solid: np.ndarray,
    seconds: float,
) -> np.ndarray:
    """Return the world points (4, N), homogeneous, that the pixels see, after so many seconds; the sky's are directions."""
    ray = T_world_cam[:3, :3] @ np.linalg.inv(K) @ np.stack([u, v, np.ones_like(u)]).astype(np.float64)
    sky = solid < 0
    at = T_world_cam[:3, 3:] + ray * np.where(sky, 0, depth)
    velocity = np.array([s.velocity for s in scene.solids] + [np.zeros(3)])[solid]  # -1 picks the last: the sky
    return np.concatenate([np.where(sky, ray, at + velocity.T * seconds), np.where(sky, 0.0, 1.0)[None]])


def _is_seen(
    scene: Scene,
    T_world_cam: np.ndarray,
    K: np.ndarray,
    uv: np.ndarray,
    z: np.ndarray,
    shape: tuple[int, int],
    time_s: float,
) -> np.ndarray:
    """Return whether a camera sees points at pixels uv (2, N) and depth z (N,) [m]: inside the picture, not covered."""
    inside = (uv[0] >= -0.5) & (uv[1] >= -0.5) & (uv[0] <= shape[1] - 0.5) & (uv[1] <= shape[0] - 0.5)
    seen = np.zeros(z.shape, bool)
    at = np.flatnonzero(inside)
    u, v = uv[:, at].astype(np.float32)
    depth, _ = trace(scene, T_world_cam, K, u, v, time_s)
    with np.errstate(invalid='ignore'):
        seen[at] = (depth == z[at]) | (np.abs(depth - z[at]) < 0.005 * z[at])
    return seen
