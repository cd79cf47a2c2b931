"""Points that hang in the air: how many a cloud has, how many are left once the filter has run, and what it cost.

A point lies on the surface if the true cloud has a point within x of its depth of it; else it is off the surface, for
whatever reason, and mostly because the network is wrong there by a smooth error. A point flies if it is near a true depth
edge, along its ray between the nearest and the farthest true depth that there is around it, and farther than x of its depth
from every true depth there.

The same is measured on the true depth itself, shrunk to the size of a small network and enlarged again as its maps are: a
cloud without any error but flying points.
"""

import cv2
import numpy as np

from depth_ros.core.camera import Camera
from depth_ros.core.cloud import find_flying
from depth_ros.errors import need
from depth_ros.evaluation import metrics
from depth_ros.settings import CloudSettings

SHARES = (0.03, 0.05, 0.10)    # x
REACH = 1 / 40                 # of the short side: how far around a point the true depths are looked at
STEP_PX = 2                    # every n-th pixel is judged and is a true depth around others
POINT_STEP_PX = 4              # every n-th pixel is a point whose distance to the true cloud is measured
SMALL_PX = 192                 # short side of the small network, in multiples of MULTIPLE_PX
MULTIPLE_PX = 32


def score_cloud(depth_m: np.ndarray, truth_m: np.ndarray, valid: np.ndarray, camera: Camera,
                settings: CloudSettings) -> dict[str, float]:
    """Return shares of the points before and after (`_left`) the filter, and edge Chamfer distances [m].

    depth_m, truth_m (H, W) m, valid (H, W) bool as of `metrics.scored`. `flying_5`: fly at x = 5 %; `off_5`: are off the
    surface; `kept_5`: share of those on it that stay. Raises MissingDependency without scipy.
    """
    flies = find_flying(depth_m, settings.edge_ratio, settings.edge_px)
    distance = _distance(depth_m, truth_m, valid, camera)
    judged, stays = distance[np.isfinite(distance)], ~flies[np.isfinite(distance)]
    known = {'edge_chamfer_m': metrics.edge_chamfer(depth_m, truth_m, camera, valid),
             'edge_chamfer_left_m': metrics.edge_chamfer(np.where(flies, np.nan, depth_m), truth_m, camera, valid)}
    for x in SHARES:
        hangs, name = flying(depth_m, truth_m, x), f'{100 * x:.0f}'
        left, seen = hangs & ~flies[::STEP_PX, ::STEP_PX], valid[::STEP_PX, ::STEP_PX]
        on = judged <= x
        known |= {f'flying_{name}': _mean(hangs[seen]), f'flying_{name}_left': _mean(left[seen]),
                  f'off_{name}': _mean(~on), f'off_{name}_left': _mean(~on[stays]), f'kept_{name}': _mean(stays[on])}
    return known


def flying(depth_m: np.ndarray, truth_m: np.ndarray, x: float) -> np.ndarray:
    """Return (H / 2, W / 2) bool: every second pixel flies, in the sense above. Pixels without either depth do not."""
    edges = metrics.depth_edges(truth_m).astype(np.uint8)
    reach = max(1, round(min(depth_m.shape) * REACH))
    near = cv2.dilate(edges, np.ones((2 * reach + 1,) * 2, np.uint8))[::STEP_PX, ::STEP_PX] > 0
    depth_m, truth_m, reach = depth_m[::STEP_PX, ::STEP_PX], truth_m[::STEP_PX, ::STEP_PX], reach // STEP_PX
    v, u = np.nonzero(near & metrics.scored(depth_m, truth_m))
    z = depth_m[v, u]
    padded = np.pad(truth_m, reach, constant_values=np.nan)
    nearest, farthest, misfit = np.full(len(z), np.inf), np.full(len(z), -np.inf), np.full(len(z), np.inf)
    for dv in range(2 * reach + 1):
        for du in range(2 * reach + 1):
            truth = padded[v + dv, u + du]
            nearest, farthest = np.fmin(nearest, truth), np.fmax(farthest, truth)
            misfit = np.fmin(misfit, np.abs(truth - z))
    found = np.zeros(depth_m.shape, bool)
    found[v, u] = (misfit > x * z) & (nearest < z) & (z < farthest)
    return found


def through_small(truth_m: np.ndarray) -> np.ndarray:
    """Return (H, W) true depth after inverse depth was shrunk to a small network's size by area and enlarged bilinearly.

    A hole of the truth is left only where it is larger than a pixel of the network: maps of networks have none.
    """
    height, width = truth_m.shape
    scale = SMALL_PX / min(height, width)
    size = tuple(max(1, round(side * scale / MULTIPLE_PX)) * MULTIPLE_PX for side in (width, height))
    known = metrics.scored(truth_m, truth_m)
    inverse = np.where(known, 1 / np.where(known, truth_m, 1), 0).astype(np.float32)
    share = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    small = cv2.resize(inverse, size, interpolation=cv2.INTER_AREA) / np.maximum(share, 1e-6)
    small[share == 0] = np.nan
    return 1 / cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def _distance(depth_m: np.ndarray, truth_m: np.ndarray, valid: np.ndarray, camera: Camera) -> np.ndarray:
    """Return (H, W) the distance of points to the true cloud over their depth; NaN but for every n-th known pixel."""
    tree = need('scipy.spatial', "pip install 'depth_ros[eval]'").cKDTree
    every, some = np.zeros(valid.shape, bool), np.zeros(valid.shape, bool)
    every[::STEP_PX, ::STEP_PX], some[::POINT_STEP_PX, ::POINT_STEP_PX] = True, True
    truth = metrics.cloud(truth_m, camera, metrics.scored(truth_m, truth_m) & every)
    some &= valid
    distance = np.full(valid.shape, np.nan)
    if len(truth) and some.any():
        distance[some] = tree(truth).query(metrics.cloud(depth_m, camera, some))[0] / depth_m[some]
    return distance


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else np.nan
