"""From the stream's own scale to metres, where there is a source of metres; and a nominal scale for looking only."""

import math

import numpy as np

from depth_ros.core.frame import DepthFrame, Quantity
from depth_ros.errors import SettingsError
from depth_ros.settings import MetricSettings

NOMINAL_NEAR_M, NOMINAL_FAR_M = 1.0, 8.0
LOG_LIMIT = 20.0    # log(1 + depth) beyond any depth


def to_depth_m(map: np.ndarray, quantity: Quantity, settings: MetricSettings) -> np.ndarray | None:
    """Return (H, W) float32 depth in metres along Z, NaN where invalid or out of limits; None without a source of metres.

    Raises SettingsError where the source does not fit the quantity.
    """
    if settings.source == 'fixed':
        if quantity.is_metric:
            raise SettingsError(f'metric.source=fixed scales what has no scale, this family gives {quantity.value}; '
                                'set metric.source to family')
        depth_m = _to_depth(settings.scale * map + settings.shift, quantity)
    elif quantity.is_metric:
        depth_m = _to_depth(map, quantity)
    else:
        return None
    with np.errstate(invalid='ignore'):
        depth_m[~((depth_m >= settings.min_depth_m) & (depth_m <= settings.max_depth_m))] = np.nan
    return depth_m


class NominalScale:
    """Turns relative maps into depth that looks plausible: one fixed relation per segment, taken from its first frame."""

    def __init__(self) -> None:
        self.segment = -1
        self.scale, self.shift = 1.0, 0.0    # map in its own space, with metres = scale * map + shift

    def depth(self, depth: DepthFrame) -> np.ndarray:
        """Return (H, W) float32: metres where the frame has them, else a nominal depth, NaN where invalid."""
        if depth.depth_m is not None:
            return depth.depth_m
        if depth.segment != self.segment:
            self.segment = depth.segment
            self._fit(depth.map, depth.quantity)
        nominal = _to_depth(self.scale * depth.map + self.shift, depth.quantity)
        return np.where((nominal > 0) & (nominal <= 10 * NOMINAL_FAR_M), nominal, np.float32(np.nan))

    def _fit(self, map: np.ndarray, quantity: Quantity) -> None:
        finite = map[np.isfinite(map)]
        low, high = np.percentile(finite, (2, 98)) if len(finite) else (0.0, 1.0)
        first, last = NOMINAL_NEAR_M, NOMINAL_FAR_M
        if not quantity.grows_with_depth:
            first, last = last, first
        first, last = (float(_from_depth(value, quantity)) for value in (first, last))
        self.scale = (last - first) / max(high - low, 1e-6)
        self.shift = first - self.scale * low


def _to_depth(map: np.ndarray, quantity: Quantity) -> np.ndarray:
    """Return (H, W) float32 depth of a map whose scale and shift are those of metres; NaN where it has none."""
    if quantity is Quantity.LOG_DEPTH_AFFINE:
        return np.expm1(np.minimum(map, LOG_LIMIT)).astype(np.float32)
    if quantity.grows_with_depth:
        return map.astype(np.float32)
    depth = np.full(map.shape, np.nan, np.float32)
    np.divide(1.0, map, out=depth, where=map > 1e-9, casting='same_kind')
    return depth


def _from_depth(depth_m: float, quantity: Quantity) -> float:
    if quantity is Quantity.LOG_DEPTH_AFFINE:
        return math.log1p(depth_m)
    return depth_m if quantity.grows_with_depth else 1 / depth_m
