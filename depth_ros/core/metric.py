"""From the stream's own scale to metres, where there is a source of metres; and a nominal scale for looking only."""

import numpy as np

from depth_ros.core.frame import DepthFrame, Quantity
from depth_ros.errors import SettingsError
from depth_ros.settings import MetricSettings

NOMINAL_NEAR_M, NOMINAL_FAR_M = 1.0, 8.0


def to_depth_m(map: np.ndarray, quantity: Quantity, settings: MetricSettings) -> np.ndarray | None:
    """Return (H, W) float32 depth in metres along Z, NaN where invalid or out of limits; None without a source of metres.

    Raises SettingsError where the source does not fit the quantity.
    """
    if settings.source == 'fixed':
        if quantity is not Quantity.DISPARITY_AFFINE:
            raise SettingsError(f'metric.source=fixed scales an affine disparity, this family gives {quantity.value}; '
                                'set metric.source to family')
        depth_m = _invert(settings.scale * map + settings.shift)
    elif quantity is Quantity.DISPARITY_METRIC:
        depth_m = _invert(map)
    elif quantity is Quantity.DEPTH_METRIC:
        depth_m = map.astype(np.float32)
    else:
        return None
    with np.errstate(invalid='ignore'):
        depth_m[~((depth_m >= settings.min_depth_m) & (depth_m <= settings.max_depth_m))] = np.nan
    return depth_m


class NominalScale:
    """Turns relative maps into depth that looks plausible: one fixed relation per segment, taken from its first frame."""

    def __init__(self) -> None:
        self.segment = -1
        self.scale, self.shift = 1.0, 0.0    # inverse depth = scale * disparity + shift

    def depth(self, depth: DepthFrame) -> np.ndarray:
        """Return (H, W) float32: metres where the frame has them, else a nominal depth, NaN where invalid."""
        if depth.depth_m is not None:
            return depth.depth_m
        disparity = -depth.map if depth.quantity.grows_with_depth else depth.map
        if depth.segment != self.segment:
            self.segment = depth.segment
            self._fit(disparity)
        nominal = _invert(np.maximum(self.scale * disparity + self.shift, 0))
        return np.where(nominal <= 10 * NOMINAL_FAR_M, nominal, np.float32(np.nan))

    def _fit(self, disparity: np.ndarray) -> None:
        finite = disparity[np.isfinite(disparity)]
        far, near = np.percentile(finite, (2, 98)) if len(finite) else (0.0, 1.0)
        self.scale = (1 / NOMINAL_NEAR_M - 1 / NOMINAL_FAR_M) / max(near - far, 1e-6)
        self.shift = 1 / NOMINAL_FAR_M - self.scale * far


def _invert(inverse_depth: np.ndarray) -> np.ndarray:
    depth = np.full(inverse_depth.shape, np.nan, np.float32)
    np.divide(1.0, inverse_depth, out=depth, where=inverse_depth > 1e-9, casting='same_kind')
    return depth
