"""From the stream's own scale to metres, where there is a source of metres; and a nominal scale for looking only."""

from typing import Protocol

import cv2
import numpy as np

from depth_ros.core.camera import Camera
from depth_ros.core.frame import Anchor, DepthFrame, Frame, Quantity
from depth_ros.core.measurement import Correspondences
from depth_ros.core.scale_fit import ScaleFit, percentiles, value_of
from depth_ros.errors import SettingsError
from depth_ros.settings import MetricSettings

NOMINAL_NEAR_M, NOMINAL_FAR_M = 1.0, 8.0
LOG_LIMIT = 20.0          # log(1 + depth) beyond any depth
LOCK_FIXES = 2            # so many fixes, and
LOCK_UNCERTAINTY = 0.2    # this standard deviation of depth over depth, lock
EXTRAPOLATED = 0.6        # share of the picture far from all measured depth that is worth a warning
STEP = 0.025              # change of the scale, and of depth in the median, from frame to frame while metres go out
PERCENTILES = (10, 30, 50, 70, 90)    # of a map that stand for all of it
NOT_CALIBRATED = ('the camera is not calibrated, so that nothing measured can be found in its pictures; publish '
                  'camera_info, or set camera.file or camera.fx_fy_cx_cy')


class Source(Protocol):
    """What measures metres."""

    def correspond(self, frame: Frame, map: np.ndarray, camera: Camera) -> list[Correspondences]:
        """Return what has become known of this frame, or of an earlier one of the segment; called for each in order."""
        ...

    def reset(self) -> None:
        """Forget the frames; a new segment begins."""
        ...


class MetricAnchor:
    """Gives the frames of a stream their metres, as long as what the source measures fits what the network sees.

    converging    not enough is known: no metres
    locked        metres; scale and shift follow the fixes in small steps
    lost          no fix for metric.timeout_s: the last metres for metric.hold_s more, or none (metric.on_lost)
    """

    def __init__(self, quantity: Quantity, source: Source | None) -> None:
        self.quantity, self.source = quantity, source
        self._start()

    def _start(self) -> None:
        self.fit, self.anchor = ScaleFit(self.quantity), Anchor()
        self.first_ns: int | None = None
        self.gives_metres = False

    def reset(self) -> None:
        """Forget the scale; a new segment has one of its own."""
        self._start()
        if self.source:
            self.source.reset()

    def __call__(self, frame: Frame, map: np.ndarray, settings: MetricSettings) -> tuple[np.ndarray | None, Anchor]:
        """Return (H, W) float32 depth in metres along Z, NaN where invalid or out of limits, or None without metres; and how
        they are known.

        Raises SettingsError for a fixed scale on a map that is in metres already.
        """
        if self.quantity.is_metric:
            if settings.source == 'fixed':
                raise SettingsError('metric.source=fixed scales what has no scale, this family gives '
                                    f'{self.quantity.value}; set metric.source to none')
            self.anchor = Anchor('locked')
        elif settings.source == 'fixed':
            self.anchor = Anchor('locked', settings.scale, settings.shift)
        elif self.source:
            self.anchor = self._follow(frame, map, settings)
        held = self.anchor.state == 'lost' and settings.on_lost == 'hold' and self.gives_metres
        self.gives_metres = self.anchor.state == 'locked' or (
            held and self.anchor.age_s <= patience_s(settings) + settings.hold_s)
        return to_depth_m(map, self.quantity, self.anchor, settings) if self.gives_metres else None, self.anchor

    def _follow(self, frame: Frame, map: np.ndarray, settings: MetricSettings) -> Anchor:
        """Return the anchor after what has been measured by now."""
        assert self.source
        fit = self.fit
        if frame.camera is None:
            fit.problem = NOT_CALIBRATED
        else:
            for measured in self.source.correspond(frame, map, frame.camera):
                fit.learn(measured)
        if self.first_ns is None:
            self.first_ns = frame.stamp_ns
        thin = map[::8, ::8]
        thin = thin[np.isfinite(thin)]
        values = percentiles(thin, PERCENTILES) if len(thin) else fit.ends
        age_s = max(frame.stamp_ns - (fit.newest_ns if fit.fixes else self.first_ns), 0) / 1e9
        uncertainty = fit.uncertainty(values)
        state, reason = self._state(age_s, uncertainty, settings)
        beyond = fit.extrapolated(thin)
        if state == 'locked' and beyond > EXTRAPOLATED:
            reason = reason or f'{100 * beyond:.0f} % of the picture is far from all depth that was measured: a guess there'
        scale, shift = self._step(values) if self.gives_metres and state != 'converging' else (fit.scale, fit.shift)
        return Anchor(state, scale, shift, fit.residual, fit.inliers, fit.points, age_s, uncertainty, reason)

    def _state(self, age_s: float, uncertainty: float, settings: MetricSettings) -> tuple[str, str]:
        fit, was = self.fit, self.anchor.state
        if age_s > patience_s(settings):
            return ('lost' if was in ('locked', 'lost') else 'converging',
                    f'no fix for {age_s:.1f} s: {fit.problem or "nothing is measured any more; check the source of metres"}')
        if fit.fixes < LOCK_FIXES:
            return 'converging', fit.problem or f'{fit.fixes} of {LOCK_FIXES} fixes'
        if uncertainty > LOCK_UNCERTAINTY * (2 if was == 'locked' else 1):
            return ('lost' if was in ('locked', 'lost') else 'converging',
                    fit.problem or f'scale and shift leave the depth uncertain by {100 * uncertainty:.0f} %')
        return 'locked', fit.problem

    def _step(self, values: np.ndarray) -> tuple[float, float]:
        """Return (scale, shift) at most a small step from the last ones towards the fit."""
        last, fit = self.anchor, self.fit
        before, after = last.scale * values + last.shift, fit.scale * values + fit.shift
        changes = np.append(np.abs(after - before) / np.maximum(np.abs(before), 1e-9), 0)
        wanted = max(abs(fit.scale / last.scale - 1), float(np.median(changes)))
        share = min(1.0, STEP / max(wanted, 1e-12))
        return last.scale + share * (fit.scale - last.scale), last.shift + share * (fit.shift - last.shift)


def patience_s(settings: MetricSettings) -> float:
    """Return how long a locked scale does without a fix [s]."""
    return settings.timeout_s + (2 * settings.every_s if settings.source == 'family' else 0.0)


def to_depth_m(map: np.ndarray, quantity: Quantity, anchor: Anchor, settings: MetricSettings) -> np.ndarray:
    """Return (H, W) float32 depth in metres along Z of a map with its anchor, NaN where invalid or out of limits."""
    value = _metric_value(map, anchor)
    limits = value_of(np.array([settings.min_depth_m, settings.max_depth_m]).clip(1e-9), quantity)
    depth_m = _to_depth(value, quantity)
    np.copyto(depth_m, np.float32(np.nan), where=cv2.inRange(value, limits.min(), limits.max()) == 0)    # NaN is in no range
    return depth_m


def tell_far(depth: DepthFrame, far_m: float) -> np.ndarray:
    """Return (H, W) float32 m: `depth_m`, and of what it leaves out by its limits +inf where the map says that it is farther
    than far_m, else -inf. NaN only where the map says nothing.

    So that what is too near is not taken for free space. The frame has to have metres.
    """
    assert depth.depth_m is not None
    unknown = np.isnan(depth.depth_m)
    if not unknown.any():
        return depth.depth_m
    value, limit = _metric_value(depth.map, depth.anchor), float(value_of(np.array(far_m), depth.quantity))
    beyond = value > limit if depth.quantity.grows_with_depth else value < limit
    told = depth.depth_m.copy()
    np.copyto(told, np.float32(-np.inf), where=unknown & np.isfinite(value))
    np.copyto(told, np.float32(np.inf), where=unknown & beyond)
    return told


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
        first, last = value_of(np.array([first, last]), quantity).tolist()
        self.scale = (last - first) / max(high - low, 1e-6)
        self.shift = first - self.scale * low


def _metric_value(map: np.ndarray, anchor: Anchor) -> np.ndarray:
    """Return scale * map + shift (H, W) float32: 1/Z, log(1 + Z) or Z by the map's quantity."""
    is_metric = (anchor.scale, anchor.shift) == (1, 0)
    return map if is_metric else cv2.addWeighted(map, anchor.scale, map, 0, anchor.shift)


def _to_depth(value: np.ndarray, quantity: Quantity) -> np.ndarray:
    """Return (H, W) float32 depth of metric values; anything where they have none."""
    if quantity is Quantity.LOG_DEPTH_AFFINE:
        return np.expm1(np.minimum(value, LOG_LIMIT)).astype(np.float32)
    if quantity.grows_with_depth:
        return value.astype(np.float32)
    with np.errstate(divide='ignore', invalid='ignore'):
        return np.reciprocal(value, dtype=np.float32)
