"""How a map whose scale and shift are unknown is made comparable with metres.

A relative map is right up to one scale and one shift, in the space that its `Quantity` names: disparity, depth or log
depth. Both are fitted to the truth by least squares in that space, per picture (MiDaS, Ranftl et al. 2022, eq. 4) or once
for a whole video (Video Depth Anything, Chen et al. 2025, sec. 4.1), where a scale that drifts costs accuracy. A scale
that comes out negative, near and far swapped, is applied as it is. A metric map is not fitted: `to_metric_depth` with
scale 1 and shift 0.
"""

from collections.abc import Iterable

import numpy as np

from depth_ros.core.alignment import fit_scale_shift
from depth_ros.core.frame import Quantity

NEAR_M = 0.001    # a fit may put pixels at or behind the camera; they are scored as this near
CONSTANT = 1e-12  # share of its mean square below which the variance of a map is rounding


def align_picture(map: np.ndarray, depth_m: np.ndarray, valid: np.ndarray | None, quantity: Quantity,
                  far_m: float) -> np.ndarray:
    """Return the (H, W) float32 depth [m] of one map after the scale and shift that fit its own truth best.

    `depth_m` (H, W) is the truth, NaN or 0 where unknown; `valid` (H, W) bool narrows what is fitted. The result is NaN
    where the map is, and everywhere if there is nothing to fit.
    """
    x, y = _pairs(map, depth_m, valid, quantity)
    scale, shift = fit_scale_shift(x, y) if len(x) else (np.nan, np.nan)
    return to_metric_depth(map, scale, shift, quantity, far_m)


def align_video(maps: Iterable[np.ndarray], depths_m: Iterable[np.ndarray], valids: Iterable[np.ndarray | None],
                quantity: Quantity) -> tuple[float, float]:
    """Return the one (scale, shift) that fits the maps (H, W) of a video best to their truth; every pixel counts alike.

    The three may be generators: one frame at a time is held. (nan, nan) if no frame has truth.
    """
    fit = VideoFit(quantity)
    for map, depth_m, valid in zip(maps, depths_m, valids, strict=True):
        fit.add(map, depth_m, valid)
    return fit.solve()


class VideoFit:
    """The least squares fit of `align_video`, fed map by map: it keeps five sums."""

    def __init__(self, quantity: Quantity) -> None:
        self.quantity = quantity
        self.sums = np.zeros(5)    # of 1, x, y, x * x, x * y

    def add(self, map: np.ndarray, depth_m: np.ndarray, valid: np.ndarray | None = None) -> None:
        """Take in the map (H, W) of one frame and its truth (H, W) [m]; arguments as for `align_picture`."""
        x, y = _pairs(map, depth_m, valid, self.quantity)
        self.sums += len(x), x.sum(), y.sum(), x @ x, x @ y

    def solve(self) -> tuple[float, float]:
        """Return (scale, shift) of all frames so far; scale 0 for maps without contrast, (nan, nan) without truth."""
        count = self.sums[0]
        if not count:
            return np.nan, np.nan
        x, y, xx, xy = self.sums[1:] / count    # means
        variance = xx - x * x
        scale = (xy - x * y) / variance if variance > CONSTANT * xx else 0.0
        return float(scale), float(y - scale * x)


def to_metric_depth(map: np.ndarray, scale: float, shift: float, quantity: Quantity, far_m: float) -> np.ndarray:
    """Return (H, W) float32 depth [m] of `scale * map + shift`, between NEAR_M and `far_m`, NaN where the map is.

    A disparity is clipped below at 1 / far_m before it is inverted, as usual (MiDaS): what the fit puts at or beyond
    infinity is far, not behind the camera.
    """
    value = scale * map.astype(np.float64) + shift
    if quantity in (Quantity.DISPARITY_METRIC, Quantity.DISPARITY_AFFINE):
        depth_m = 1 / np.maximum(value, 1 / far_m)
    elif quantity is Quantity.LOG_DEPTH_AFFINE:
        depth_m = np.expm1(np.minimum(value, np.log1p(far_m)))
    else:
        depth_m = value
    return np.clip(depth_m, NEAR_M, far_m).astype(np.float32)


def _pairs(map: np.ndarray, depth_m: np.ndarray, valid: np.ndarray | None,
           quantity: Quantity) -> tuple[np.ndarray, np.ndarray]:
    """Return the values (N) of the map where the truth is known, and those (N) that they should have, float64."""
    with np.errstate(invalid='ignore'):
        use = np.isfinite(map) & np.isfinite(depth_m) & (depth_m > 0)
    if valid is not None:
        use = use & valid
    x, z = map[use].astype(np.float64), depth_m[use].astype(np.float64)
    if quantity in (Quantity.DISPARITY_METRIC, Quantity.DISPARITY_AFFINE):
        return x, 1 / z
    return x, np.log1p(z) if quantity is Quantity.LOG_DEPTH_AFFINE else z
