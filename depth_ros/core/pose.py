"""From relative camera motions to one trajectory."""

import numpy as np


def chain(T_world_prev: np.ndarray, T_prev_cam: np.ndarray) -> np.ndarray:
    """Return T_world_cam (4, 4) float64 of the next frame; its rotation is made exactly orthonormal again."""
    T_world_cam = T_world_prev @ np.asarray(T_prev_cam, np.float64)
    U, _, Vt = np.linalg.svd(T_world_cam[:3, :3])
    T_world_cam[:3, :3] = U @ np.diag([1, 1, np.linalg.det(U @ Vt)]) @ Vt
    return T_world_cam
