"""The way of the camera in metres: `MetricTrajectory`."""

import numpy as np

from depth_ros.core.frame import Frame, Quantity
from depth_ros.core.pose import chain
from depth_ros.core.two_view import Tracker, TwoView, values_at

GRID_PX = 16                 # every n-th pixel says how many metres a unit of the stream is
LEAST_CORNERS = 5            # with depth


class MetricTrajectory:
    """Poses in metres; the world is the camera where the metres began, and begins anew where the way was lost.

    The way is the one that the network predicts, every step as long as its units are metres now. From pictures, turn and
    direction follow from corners seen from two places, and the length of the way from the metric depth at the corners.
    """

    def __init__(self, quantity: Quantity, from_pictures: bool, tracker: Tracker) -> None:
        self.quantity, self.from_pictures, self.tracker = quantity, from_pictures, tracker
        self.reset()

    def reset(self) -> None:
        """Forget the way; a new segment begins."""
        self.tracker.reset()
        self._begin()

    def _begin(self) -> None:
        self.known: dict[int, np.ndarray] = {}         # stamp -> T_metric_cam, of the keyframe and the last frame
        self.last: np.ndarray | None = None            # T_world_cam of the last frame
        self.moves = False                             # the network predicts a way at all
        self.T_metric_cam = np.eye(4)

    def add(self, frame: Frame, map: np.ndarray, depth_m: np.ndarray | None,
            T_world_cam: np.ndarray | None) -> np.ndarray | None:
        """Return T_metric_cam (4, 4) float64 of the next frame, None where it is not known.

        `map` (H, W) is in the stream's own space, `depth_m` (H, W) in metres, `T_world_cam` (4, 4) in the stream's unit.
        """
        view = self.tracker.see(frame, frame.camera) if self.from_pictures and frame.camera else None
        if depth_m is None:
            self._begin()
            return None
        if self.from_pictures:
            return self._from_view(view, depth_m) if view else None
        return None if T_world_cam is None else self._from_network(T_world_cam, map, depth_m)

    def _from_view(self, view: TwoView, depth_m: np.ndarray) -> np.ndarray | None:
        T_key_now = _metric_step(view, depth_m)
        if T_key_now is None:
            return None
        T_metric_key = self.known.get(view.key_ns, np.linalg.inv(T_key_now))
        T_metric_cam = chain(T_metric_key, T_key_now)
        self.known = {view.key_ns: T_metric_key, view.stamp_ns: T_metric_cam}
        return T_metric_cam

    def _from_network(self, T_world_cam: np.ndarray, map: np.ndarray, depth_m: np.ndarray) -> np.ndarray | None:
        if self.last is not None:
            step = np.linalg.inv(self.last) @ T_world_cam
            step[:3, 3] *= metres_per_unit(map, depth_m, self.quantity)
            self.T_metric_cam = chain(self.T_metric_cam, step)
        self.last = T_world_cam
        self.moves |= bool(T_world_cam[:3, 3].any())
        return self.T_metric_cam.copy() if self.moves else None


def metres_per_unit(map: np.ndarray, depth_m: np.ndarray, quantity: Quantity) -> float:
    """Return how many metres one unit of the stream is: the median of metric over its own depth; 0 where none is known."""
    own, metres = (each[::GRID_PX, ::GRID_PX].astype(np.float64) for each in (map, depth_m))
    valid = np.isfinite(metres) & (own > 0)
    own, metres = own[valid], metres[valid]
    if quantity is Quantity.LOG_DEPTH_AFFINE:
        own = np.expm1(own)
    ratios = metres / own if quantity.grows_with_depth else metres * own
    return float(np.median(ratios)) if len(ratios) else 0.0


def _metric_step(view: TwoView, depth_m: np.ndarray) -> np.ndarray | None:
    """Return T_key_now (4, 4) in metres: the way is the weighted median of depth times inverse depth per way."""
    if view.R_key_now is None:
        return None
    step = np.eye(4)
    step[:3, :3] = view.R_key_now
    if view.direction is None:
        return step
    depths = values_at(depth_m, view.pixels)                                                # (N,) m
    ways = depths * view.inverse_depth
    known = np.isfinite(ways)
    if known.sum() < LEAST_CORNERS:
        return None
    # The errors of a map are about equal in inverse depth: what is near knows best how long the way was.
    step[:3, 3] = weighted_median(ways[known], 1 / depths[known] ** 2) * view.direction
    return step


def weighted_median(values: np.ndarray, weight: np.ndarray) -> float:
    """Return the value that half of the weight is below of."""
    order = np.argsort(values, kind='stable')
    total = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])
