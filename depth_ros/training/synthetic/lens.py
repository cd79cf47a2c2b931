"""A camera: where it looks and what its lens is."""

from __future__ import annotations

import numpy as np


def look(position: np.ndarray, yaw: float, pitch: float, roll: float = 0.0) -> np.ndarray:
    """Return T_world_cam (4, 4) of a camera that looks along yaw (0 = +x, to the left positive) and pitch (up
    positive)."""
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0])
    down = np.cross(forward, right)
    c, s = np.cos(roll), np.sin(roll)
    T = np.eye(4)
    T[:3, :3] = np.stack([c * right + s * down, c * down - s * right, forward], 1)
    T[:3, 3] = position
    return T


def make_K(width: int, height: int, fov_deg: float) -> np.ndarray:
    """Return K (3, 3) of a centred camera with this horizontal field of view."""
    f = 0.5 * width / np.tan(np.radians(fov_deg) / 2)
    return np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1.0]])
