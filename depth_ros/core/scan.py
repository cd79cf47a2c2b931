"""A flat scan of depth: the nearest point in each direction of the camera's horizontal plane."""

from functools import lru_cache

import numpy as np

from depth_ros.core.camera import Camera, rays
from depth_ros.core.cloud import find_flying
from depth_ros.settings import ScanSettings


def make_scan(depth_m: np.ndarray, camera: Camera, settings: ScanSettings,
              edge_ratio: float, edge_px: int = 0) -> tuple[float, float, np.ndarray]:
    """Return the first angle and the step [rad], counter-clockwise as seen from above, 0 straight ahead, and the ranges (N)
    float32 m of the nearest points of a band of rows of depth (H, W), measured in that plane; those that fly are left out.

    In depth, +inf is far, -inf too near, NaN unknown. Ranges are -inf where something is nearer than min_range_m; without a
    point what `far` says, if anything is known to be farther than max_range_m, else NaN.
    """
    first, last = _band(camera, settings.rows)
    angle, step, order, starts, bins, slant = _bins(camera, first, last, settings.bin_deg)
    flying = np.zeros((last - first, 1), bool)
    if edge_ratio:
        reach_px = edge_px or max(1, round(min(depth_m.shape) / 60))
        top = max(0, first - 2 * reach_px)    # rows around the band tell what flies in it
        flying = find_flying(depth_m[top:last + 2 * reach_px], edge_ratio, reach_px)[first - top:last - top]
    flat = depth_m[first:last] * slant    # (rows, W) m
    flat = np.where(flying, np.float32(np.nan), flat)
    near, far = flat < settings.min_range_m, flat > settings.max_range_m
    free = {'nan': np.nan, 'inf': np.inf, 'cap': settings.max_range_m}[settings.far]
    nearest = _nearest(np.where(near | far | np.isnan(flat), np.inf, flat), order, starts)
    ranges = np.full(int(bins[-1]) + 1 if len(bins) else 0, np.nan, np.float32)
    ranges[bins] = np.where(np.isfinite(nearest), nearest, _nearest(np.where(far, free, np.nan), order, starts))
    ranges[bins[_nearest(np.where(near, 0, 1), order, starts) == 0]] = -np.inf
    return angle, step, ranges


def _nearest(values: np.ndarray, order: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the smallest of the values of each bin, NaN only where all are."""
    return np.fmin.reduceat(values.reshape(-1)[order], starts) if len(starts) else np.empty(0)


def _band(camera: Camera, share: float) -> tuple[int, int]:
    """Return the first row and the one after the last: about the optical axis, inside the picture, at least one."""
    rows = max(1, round(share * camera.height))
    first = int(np.clip(round(camera.cy - (rows - 1) / 2), 0, camera.height - rows))
    return first, first + rows


@lru_cache(maxsize=4)
def _bins(camera: Camera, first: int, last: int,
          bin_deg: float) -> tuple[float, float, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the angle of the first bin, the step (no finer than pixels), the pixels sorted by bin, where each bin starts,
    the numbers of the bins, and the range over Z (rows, W).
    """
    tangent = rays(camera)[first:last, :, 0].astype(np.float64)    # (rows, W) x/z
    angles = np.arctan(-tangent)
    known = np.flatnonzero(np.isfinite(angles))
    lowest = float(np.nanmin(angles)) if len(known) else 0.0
    step = max(np.radians(bin_deg), np.nan_to_num(np.abs(np.diff(angles, axis=1))).max(initial=0))
    number = np.floor((angles.reshape(-1)[known] - lowest) / step).astype(int)
    order = known[np.argsort(number, kind='stable')]
    bins, starts = np.unique(np.sort(number), return_index=True)
    return lowest + step / 2, float(step), order, starts, bins, np.sqrt(1 + tangent ** 2).astype(np.float32)
