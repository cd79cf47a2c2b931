"""From relative camera motions to one trajectory: `chain` for one motion after the other, `Trajectory` for windows."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

PASSES = 5            # of reweighting; fixed, so that a trajectory is a function of its input alone
DEPTH_TRUST = 0.25    # relative error that the scale of the depth may well have
SCALE_LIMIT = 4.0     # factor between that scale and the one of the positions that is not believed any more


def chain(T_world_prev: np.ndarray, T_prev_cam: np.ndarray) -> np.ndarray:
    """Return T_world_cam (4, 4) float64 of the next frame; its rotation is made exactly orthonormal again."""
    T_world_cam = T_world_prev @ np.asarray(T_prev_cam, np.float64)
    T_world_cam[:3, :3] = nearest_rotation(T_world_cam[:3, :3])
    return T_world_cam


class Trajectory:
    """Puts the windows of one segment into one world: that of its first camera, in the unit of its first window.

    Each window comes in a world and a unit of its own. The frames that it shares with the window before say where it lies:

        T_world_cam = [R R_k | scale R c_k + o]    for T_ref_cam = [R_k | c_k] of slot k

    R is the mean of the rotations that the shared frames ask for, so that windows whose shared frames interleave stay one
    trajectory. Scale and o follow from the positions c_k -> C_k of the shared frames and from what the depth says of the
    scale (`fit_scale_offset`). Frames that disagree with the others lose their say. What was given out is not rewritten.
    """

    def __init__(self) -> None:
        self.known: dict[int, np.ndarray] = {}    # stream position -> T_world_cam of the frames of the last window
        self.newest = np.eye(4)

    def add(self, indices: Sequence[int], fresh: range, T_ref_cam: np.ndarray, scale: float = 1.0) -> np.ndarray:
        """Return T_world_cam (T, 4, 4) float64 of every slot of the next window.

        `indices` (T) are the stream positions of its slots, `fresh` the slots of new frames, `T_ref_cam` (T, 4, 4) maps
        from each camera to the window's own world. `scale` > 0 is that of the fit of its maps: aligned disparity = scale *
        disparity + shift makes depth, and with it every way, 1 / scale as long. A window that shares no frame goes on where
        the newest frame stood.
        """
        T_ref_cam = np.asarray(T_ref_cam, np.float64)
        slots = [slot for index, slot in dict(zip(indices, range(len(indices)), strict=True)).items() if index in self.known]
        if slots:
            known = np.stack([self.known[indices[slot]] for slot in slots])    # (K, 4, 4)
        else:
            slots, known = [[*fresh, 0][0]], self.newest[None]
        R = mean_rotation(known[:, :3, :3] @ T_ref_cam[slots, :3, :3].transpose(0, 2, 1))
        ways = T_ref_cam[:, :3, 3] @ R.T
        factor, offset = fit_scale_offset(ways[slots], known[:, :3, 3], 1 / scale)
        T_world_cam = np.tile(np.eye(4), (len(indices), 1, 1))
        for slot, T in enumerate(T_world_cam):
            T[:3, :3] = nearest_rotation(R @ T_ref_cam[slot, :3, :3])
            T[:3, 3] = factor * ways[slot] + offset
        poses: dict[int, np.ndarray] = {}
        for slot in [*fresh, *range(len(indices))]:    # of a frame that fills up several slots, the new one counts
            poses.setdefault(indices[slot], self.known.get(indices[slot], T_world_cam[slot]))
        self.known = poses
        self.newest = poses[max(poses)]
        return np.stack([poses[index] for index in indices])


def fit_scale_offset(c: np.ndarray, C: np.ndarray, expected: float) -> tuple[float, np.ndarray]:
    """Return (scale, offset (3)) that bring points `c` (K, 3) to `C` (K, 3), and the scale near the `expected` one.

    Minimises, over weighted points less their weighted means, the symmetric squares

        sum_k w_k |sqrt(scale) c_k - C_k / sqrt(scale)|^2 + p (sqrt(scale) - expected / sqrt(scale))^2

    whose minimum is scale = sqrt((sum w |C|^2 + p expected^2) / (sum w |c|^2 + p)). Plain squares of scale c - C would make
    the scale smaller with every noisy window of a long chain. The prior weighs p = variance of the misfits / (DEPTH_TRUST
    expected)^2: exact positions decide alone, points on one spot leave the scale as expected. The weights (Geman-McClure)
    come from the misfits, first of the best among all scales and offsets that two points ask for (least median, Rousseeuw
    1984), so that fewer than half of the points can be anything.
    """
    scale, offset = _best_of_pairs(c, C, expected)
    for _ in range(PASSES):
        miss = np.linalg.norm(scale * c + offset - C, axis=1)                              # (K)
        weight = 1 / (1 + (miss / (3 * np.median(miss) + 1e-9 * np.ptp(C) + 1e-12)) ** 2) ** 2
        share = weight / weight.sum()
        middle, Middle = share @ c, share @ C
        freedom = max(3 * weight.sum() - 4, 1.0)
        prior = float(weight @ miss ** 2) / freedom / (DEPTH_TRUST * expected) ** 2 + 1e-18
        length, Length = weight @ ((c - middle) ** 2).sum(1), weight @ ((C - Middle) ** 2).sum(1)
        scale = float(np.sqrt((Length + prior * expected ** 2) / (length + prior)))
        scale = min(max(scale, expected / SCALE_LIMIT), expected * SCALE_LIMIT)
        offset = Middle - scale * middle
    return scale, offset


def _best_of_pairs(c: np.ndarray, C: np.ndarray, expected: float) -> tuple[float, np.ndarray]:
    guesses = [(expected, C[i] - expected * c[i]) for i in range(len(c))]
    for i, j in combinations(range(len(c)), 2):
        length, Length = np.linalg.norm(c[i] - c[j]), np.linalg.norm(C[i] - C[j])
        if length > 0 and expected / SCALE_LIMIT < Length / length < expected * SCALE_LIMIT:
            scale = Length / length
            guesses.append((scale, (C[i] + C[j] - scale * (c[i] + c[j])) / 2))
    misses = [np.median(np.linalg.norm(scale * c + offset - C, axis=1)) for scale, offset in guesses]
    return guesses[int(np.argmin(misses))]


def mean_rotation(rotations: np.ndarray) -> np.ndarray:
    """Return the mean (3, 3) of rotations (K, 3, 3) that a minority of wrong ones does not move.

    The nearest rotation to their weighted sum (chordal mean), starting from the one nearest to the others.
    """
    apart = np.linalg.norm(rotations[:, None] - rotations, axis=(2, 3))                    # (K, K)
    R: np.ndarray = rotations[int(np.argmin(np.median(apart, axis=1)))]
    for _ in range(PASSES):
        miss = np.linalg.norm(rotations - R, axis=(1, 2))
        weight = 1 / (1 + (miss / (3 * np.median(miss) + 1e-9)) ** 2) ** 2
        R = nearest_rotation(np.einsum('k,kij->ij', weight, rotations))
    return R


def nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    """Return the proper rotation (3, 3) float64 that is nearest to a matrix."""
    U, _, Vt = np.linalg.svd(matrix)
    rotation: np.ndarray = U @ np.diag([1, 1, np.linalg.det(U @ Vt)]) @ Vt
    return rotation


def rotation(quaternion: np.ndarray) -> np.ndarray:
    """Return the rotations (..., 3, 3) float64 of quaternions (..., 4) x y z w of any length; none at all is no rotation."""
    q = np.asarray(quaternion, np.float64)
    x, y, z, w = np.moveaxis(q / np.maximum(np.linalg.norm(q, axis=-1, keepdims=True), 1e-12), -1, 0)
    rows = np.stack((1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
                     2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
                     2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)), axis=-1)
    return rows.reshape(*q.shape[:-1], 3, 3)
