"""How far a depth map is from the truth, in one picture and over time.

`depth_m` is the prediction and `truth_m` the truth, (H, W) metres along Z; `valid` (H, W) bool narrows what is scored.
A pixel counts where both depths are known, finite and positive: holes of either are left out everywhere, also where
neighbours are compared. So a map with holes is scored by what is left; `scored` tells how much that is.
A metric over no pixel is NaN.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from depth_ros.core.camera import Camera, rays
from depth_ros.core.cloud import unproject
from depth_ros.errors import need

THRESHOLDS = np.linspace(5, 25, 10)      # of a depth boundary, % of the nearer depth
EDGE_LOW, EDGE_HIGH = 0.05, 0.10         # of a depth edge, step in log depth
EDGE_UNIT = 1000                         # Canny wants integers
HIDDEN = 1.05                            # this much farther than what lies before it


def scored(depth_m: np.ndarray, truth_m: np.ndarray, valid: np.ndarray | None = None,
           far_m: float = np.inf) -> np.ndarray:
    """Return (H, W) bool: both depths are known, the truth is not beyond `far_m`, and `valid` allows it."""
    with np.errstate(invalid='ignore'):
        known = np.isfinite(depth_m) & (depth_m > 0) & np.isfinite(truth_m) & (truth_m > 0) & (truth_m <= far_m)
    return known if valid is None else known & valid


# --- accuracy of one picture (Eigen et al. 2014, sec. 4.3)


def absrel(depth_m: np.ndarray, truth_m: np.ndarray, valid: np.ndarray | None = None) -> float:
    """Return the mean of |prediction - truth| / truth."""
    z, truth = _pairs(depth_m, truth_m, valid)
    return _mean(np.abs(z - truth) / truth)


def delta(depth_m: np.ndarray, truth_m: np.ndarray, valid: np.ndarray | None = None, power: int = 1) -> float:
    """Return the share of pixels whose max(prediction / truth, truth / prediction) is below 1.25 ** power."""
    z, truth = _pairs(depth_m, truth_m, valid)
    return _mean(np.maximum(z / truth, truth / z) < 1.25 ** power)


def rmse(depth_m: np.ndarray, truth_m: np.ndarray, valid: np.ndarray | None = None) -> float:
    """Return the root of the mean squared error, m."""
    z, truth = _pairs(depth_m, truth_m, valid)
    return float(np.sqrt(_mean((z - truth) ** 2)))


def silog(depth_m: np.ndarray, truth_m: np.ndarray, valid: np.ndarray | None = None) -> float:
    """Return 100 times the standard deviation of log(prediction / truth): the scale-invariant error as KITTI lists it."""
    z, truth = _pairs(depth_m, truth_m, valid)
    return 100 * float(np.std(np.log(z / truth))) if len(z) else np.nan


# --- over time


def scale_factor(depth_m: np.ndarray, truth_m: np.ndarray, valid: np.ndarray | None = None) -> float:
    """Return what a picture has to be multiplied with: the median of truth / prediction (Zhou et al. 2017, sec. 4.1)."""
    z, truth = _pairs(depth_m, truth_m, valid)
    return float(np.median(truth / z)) if len(z) else np.nan


def scale_variation(factors: Sequence[float]) -> float:
    """Return how much the scale of a video wanders: standard deviation over mean of the scale factors of its frames."""
    known = np.array([factor for factor in factors if np.isfinite(factor)])
    return float(known.std() / known.mean()) if len(known) else np.nan


def temporal_alignment_error(depth_a_m: np.ndarray, depth_b_m: np.ndarray, camera: Camera, T_b_a: np.ndarray) -> float:
    """Return how much the depths of two frames disagree on what both see: TAE (Chen et al. 2025, Video Depth Anything).

    AbsRel(f(a, T_b_a), b) and AbsRel(f(b, T_a_b), a), averaged, where f moves the points of one depth map into the other
    camera; T_b_a (4, 4) maps points of camera a to camera b, m. The paper's value is 100 times the mean over all pairs of
    neighbouring frames. Set pixels that shall not count to NaN. The scene has to stand still.
    """
    one = _misfit_after_motion(depth_a_m, depth_b_m, camera, T_b_a)
    other = _misfit_after_motion(depth_b_m, depth_a_m, camera, np.linalg.inv(T_b_a))
    return (one + other) / 2


def _misfit_after_motion(depth_a_m: np.ndarray, depth_b_m: np.ndarray, camera: Camera, T_b_a: np.ndarray) -> float:
    """Return the AbsRel between the points of a, seen from b, and the depth of b where each of them is seen.

    The depth of b is taken between pixels, linearly in inverse depth, which is exact on planes. Points that lie behind
    others, seen from b, are left out.
    """
    points = cloud(depth_a_m, camera, depth_a_m > 0) @ T_b_a[:3, :3].T + T_b_a[:3, 3]    # (N, 3)
    points = points[points[:, 2] > 0]
    if not len(points):
        return np.nan
    uv = _project(points, camera)
    inside = np.all((uv > -0.5) & (uv < (camera.width - 0.5, camera.height - 0.5)), axis=1)
    uv, z = uv[inside], points[inside, 2]
    seen = _in_front(uv, z, camera)
    expected = _between_pixels(depth_b_m, uv[seen])
    known = np.isfinite(expected)
    return _mean(np.abs(z[seen][known] / expected[known] - 1))


def _project(points: np.ndarray, camera: Camera) -> np.ndarray:
    """Return the pixels (N, 2) of points (N, 3) before the camera."""
    if camera.is_distorted:
        return cv2.projectPoints(points, np.zeros(3), np.zeros(3), camera.K, np.array(camera.D))[0][:, 0]
    return points[:, :2] / points[:, 2:] * (camera.fx, camera.fy) + (camera.cx, camera.cy)


def _in_front(uv: np.ndarray, z: np.ndarray, camera: Camera) -> np.ndarray:
    """Return (N) bool: no other point of the same pixel is clearly nearer."""
    pixel = np.rint(uv).astype(int) @ (1, camera.width)
    nearest = np.full(camera.height * camera.width, np.inf)
    np.minimum.at(nearest, pixel, z)
    return z <= HIDDEN * nearest[pixel]


def _between_pixels(depth_m: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Return the depth (N) at the places `uv` (N, 2), NaN where one of the four pixels around is unknown."""
    with np.errstate(divide='ignore', invalid='ignore'):
        disparity = np.where(depth_m > 0, 1 / depth_m, np.nan)
    u, v = uv.T
    u0, v0 = np.floor(u).astype(int), np.floor(v).astype(int)
    inside = (u0 >= 0) & (v0 >= 0) & (u0 < depth_m.shape[1] - 1) & (v0 < depth_m.shape[0] - 1)
    u0, v0, a, b = np.where(inside, u0, 0), np.where(inside, v0, 0), u - u0, v - v0
    top = (1 - a) * disparity[v0, u0] + a * disparity[v0, u0 + 1]
    bottom = (1 - a) * disparity[v0 + 1, u0] + a * disparity[v0 + 1, u0 + 1]
    return np.where(inside, 1 / ((1 - b) * top + b * bottom), np.nan)


def still_noise(maps: np.ndarray) -> float:
    """Return how much the map of a still camera trembles: the standard deviation over time, mean over pixels.

    `maps` (T, H, W) of any quantity; the result is a share of the range (5 to 95 %) of their mean. Ours, from no paper.
    """
    maps = np.asarray(maps, np.float64)
    known = np.isfinite(maps).all(axis=0)
    if not known.any():
        return np.nan
    low, high = np.percentile(maps.mean(axis=0)[known], (5, 95))
    return float(maps.std(axis=0)[known].mean() / (high - low)) if high > low else np.nan


# --- boundaries (Depth Pro, Bochkovskii et al. 2024, sec. 3.2)


def boundary_f1(depth_m: np.ndarray, truth_m: np.ndarray, valid: np.ndarray | None = None) -> float:
    """Return how well the depth boundaries of prediction and truth coincide, 0 to 1, to the pixel; independent of scale.

    Between neighbours i and j, i the nearer, lies an occluding contour if depth[j] / depth[i] > 1 + t / 100. Precision and
    recall count the contours in all four directions together; their F1 is averaged over ten thresholds t from 5 to 25 with
    weights in proportion to t. (The paper weights high thresholds more without saying how, and names no number of them.)
    Thresholds at which the truth has no contour do not count.
    """
    use = scored(depth_m, truth_m, valid)
    pairs = [(_log_ratio(depth_m, use, way), _log_ratio(truth_m, use, way)) for way in range(4)]

    def f1(step: float) -> float:
        found = sum(int((z > step).sum()) for z, _ in pairs)
        there = sum(int((truth > step).sum()) for _, truth in pairs)
        both = sum(int(((z > step) & (truth > step)).sum()) for z, truth in pairs)
        return 2 * both / (found + there) if there else np.nan

    return _over_thresholds(f1)


def boundary_recall(depth_m: np.ndarray, mask: np.ndarray, valid: np.ndarray | None = None) -> float:
    """Return the share of an object's outline at which the depth has a boundary, 0 to 1, to the pixel.

    `mask` (H, W) bool is the object, in front of what surrounds it: a contour lies between i in the mask and its neighbour
    j outside. A blurred boundary would meet the outline somewhere on its slope, so of each run of neighbouring contours of
    the prediction along a row or column, in one direction, only the steepest counts. Averaged over
    thresholds as in `boundary_f1`.
    """
    use = scored(depth_m, depth_m, valid)
    ways = [(_log_ratio(depth_m, use, way), _outline(mask, use, way)) for way in range(4)]
    there = sum(int(outline.sum()) for _, outline in ways)

    def recall(step: float) -> float:
        met = sum(int((_steepest(ratio, step) & outline).sum()) for ratio, outline in ways)
        return met / there if there else np.nan

    return _over_thresholds(recall)


def _neighbours(map: np.ndarray, way: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the values at i and at its neighbour j to the right, left, below or above; pairs along the last axis."""
    lines = map if way < 2 else map.T
    return (lines[:, :-1], lines[:, 1:]) if way % 2 == 0 else (lines[:, 1:], lines[:, :-1])


def _log_ratio(depth_m: np.ndarray, use: np.ndarray, way: int) -> np.ndarray:
    """Return log(depth[j] / depth[i]) of all pairs, 0 where one of the two is not to be used."""
    i, j = _neighbours(np.log(np.where(use, depth_m, 1.0)), way)
    return np.where(np.logical_and(*_neighbours(use, way)), j - i, 0.0)


def _outline(mask: np.ndarray, use: np.ndarray, way: int) -> np.ndarray:
    i, j = _neighbours(mask.astype(bool), way)
    return i & ~j & np.logical_and(*_neighbours(use, way))


def _steepest(ratio: np.ndarray, step: float) -> np.ndarray:
    """Return where `ratio` (lines, pairs) is above `step` and the largest of its run of neighbours above `step`."""
    above = ratio > step
    starts = above.copy()
    starts[:, 1:] &= ~above[:, :-1]
    run = np.cumsum(starts.reshape(-1))[above.reshape(-1)]    # (n) which run each contour belongs to
    places = np.flatnonzero(above)
    order = np.lexsort((-ratio.reshape(-1)[places], run))     # stable: the first of equals comes first
    first = np.unique(run[order], return_index=True)[1]
    kept = np.zeros(ratio.size, bool)
    kept[places[order[first]]] = True
    return kept.reshape(ratio.shape)


def _over_thresholds(score: Callable[[float], float]) -> float:
    """Return the mean of `score(log step)` over the thresholds that have one, weighted by the threshold."""
    values = np.array([score(float(np.log1p(t / 100))) for t in THRESHOLDS])
    known = np.isfinite(values)
    return float(np.average(values[known], weights=THRESHOLDS[known])) if known.any() else np.nan


# --- point clouds


def depth_edges(depth_m: np.ndarray) -> np.ndarray:
    """Return (H, W) bool: the depth edges, by Canny on log depth, so that they do not depend on the unit.

    A sharp edge starts with a step of 10 % and is followed down to 5 %. The rims of holes are no edges.
    """
    known = scored(depth_m, depth_m)
    log = np.log(np.where(known, depth_m, 1.0)).astype(np.float32)
    inner = cv2.erode(known.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    dx, dy = (np.where(inner, cv2.Sobel(log, cv2.CV_32F, *way), 0) * (EDGE_UNIT / 4) for way in ((1, 0), (0, 1)))
    edges = cv2.Canny(dx.astype(np.int16), dy.astype(np.int16), EDGE_LOW * EDGE_UNIT, EDGE_HIGH * EDGE_UNIT,
                      L2gradient=True)
    return edges > 0


def cloud(depth_m: np.ndarray, camera: Camera, where: np.ndarray) -> np.ndarray:
    """Return the points (N, 3) float64 of the pixels `where` (H, W) bool, m, x right, y down, z forward."""
    points = unproject(depth_m.astype(np.float32), rays(camera))[where].astype(np.float64)
    return points[np.isfinite(points).all(axis=1)]


def chamfer(points: np.ndarray, truth_points: np.ndarray) -> float:
    """Return the mean distance of each point (N, 3) to the nearest of the other cloud (M, 3), both ways, averaged; m.

    Raises MissingDependency without scipy.
    """
    there, back = _nearest(points, truth_points), _nearest(truth_points, points)
    return (_mean(there) + _mean(back)) / 2


def edge_chamfer(depth_m: np.ndarray, truth_m: np.ndarray, camera: Camera, valid: np.ndarray | None = None,
                 reach_px: int = 3) -> float:
    """Return the Chamfer distance of the points within `reach_px` of the depth edges of the truth, m.

    Points that fly between foreground and background show here (Pixel-Perfect Depth, Xu et al. 2025, sec. 4: edges by
    Canny on the true depth). The square reach is ours, the paper says only "near". NaN where the truth has no edges, as that
    of a laser scanner with gaps between its points. Raises MissingDependency without scipy.
    """
    square = np.ones((2 * reach_px + 1,) * 2, np.uint8)
    near = (cv2.dilate(depth_edges(truth_m).astype(np.uint8), square) > 0) & scored(depth_m, truth_m, valid)
    return chamfer(cloud(depth_m, camera, near), cloud(truth_m, camera, near))


def cloud_f1(points: np.ndarray, truth_points: np.ndarray, distance_m: float) -> tuple[float, float, float]:
    """Return (F1, precision, recall): the shares of points (N, 3) and of true points (M, 3) that have one of the other
    cloud within `distance_m` (Tanks and Temples, Knapitsch et al. 2017, sec. 3). Raises MissingDependency without scipy.
    """
    precision = _mean(_nearest(points, truth_points) <= distance_m)
    recall = _mean(_nearest(truth_points, points) <= distance_m)
    both = precision + recall
    return (2 * precision * recall / both if both else both), precision, recall


def _nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the distance (N) of each point to the nearest of the others; none if there are no others."""
    tree = need('scipy.spatial', "pip install 'depth_ros[eval]'").cKDTree
    return tree(others).query(points)[0] if len(points) and len(others) else np.empty(0)


def _pairs(depth_m: np.ndarray, truth_m: np.ndarray, valid: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the scored values (N) of prediction and truth, float64."""
    use = scored(depth_m, truth_m, valid)
    return depth_m[use].astype(np.float64), truth_m[use].astype(np.float64)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else np.nan
