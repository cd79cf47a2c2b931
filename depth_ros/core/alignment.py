"""One scale for a whole stream: `fit_scale_shift`, `Stitcher` for windows, `ScaleLock` for single pictures.

Maps are aligned in the family's own space as `scale * map + shift`. A fit that cannot be trusted is not applied: the last
good one holds and the result says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from depth_ros.core.frame import Quantity
from depth_ros.core.motion import measure_motion
from depth_ros.core.window import WindowSpec
from depth_ros.settings import AlignmentSettings

FIT_PASSES = 6              # reweighting passes; fixed, so that a fit is a function of its input alone
FIT_LINES, FIT_JUDGES = 48, 250    # lines through two pixels to start from, and the pixels that judge them
FIT_PIXELS = 4_000          # pixels a fit looks at, evenly spaced
FIT_LEAST = 50              # fewer say nothing
LEVEL_MEMORY = 0.8          # share of its past that the running residual keeps per fit
CUT_RESIDUAL = 0.25         # a fit this bad
CUT_FACTOR = 6.0            # and this many times worse than usual ends the segment
LOG_SPREAD = 2.3            # what a log-depth map is taken to span: a tenfold depth; its unit is not known
FORGET = 0.002              # share of its correction that the scale lock gives up per frame,
FORGET_NEARING = 3.0        # per unit of log expansion of the picture,
FORGET_PASSING = 1.0        # and per picture width that the scene moved by


@dataclass(frozen=True)
class Fit:
    """`scale * source + shift`, and how well that met its target."""

    scale: float = 1.0
    shift: float = 0.0
    residual: float = 0.0    # median misfit over the spread of the target: 0 perfect, 1 no relation
    held: bool = False       # refused; scale and shift are those of the last good fit


def fit_scale_shift(source: np.ndarray, target: np.ndarray, weight: np.ndarray | float = 1.0,
                    symmetric: bool = False) -> tuple[float, float]:
    """Return (scale, shift) that minimise the weighted squares of `scale * source + shift - target`.

    scale = Cov(source, target) / Var(source), shift = mean(target) - scale * mean(source) (DVD, eq. 9), in float64.
    Noise in the source pulls that scale towards 0. `symmetric` takes scale = std(target) / std(source) instead (reduced
    major axis), which noise of equal share on both sides leaves alone, so that a chain of fits does not fade.
    The scale of a constant source is 0.
    """
    x, y = np.asarray(source, np.float64), np.asarray(target, np.float64)
    w = np.broadcast_to(np.asarray(weight, np.float64), x.shape)
    total = w.sum()
    mean_x, mean_y = (w * x).sum() / total, (w * y).sum() / total
    dx, dy = x - mean_x, y - mean_y
    variance, covariance = (w * dx * dx).sum(), (w * dx * dy).sum()
    if variance <= 0:
        return 0.0, float(mean_y)
    scale = covariance / variance
    if symmetric:
        scale = np.sign(covariance) * np.sqrt((w * dy * dy).sum() / variance)
    return float(scale), float(mean_y - scale * mean_x)


def fit_robustly(source: np.ndarray, target: np.ndarray, symmetric: bool = False) -> Fit | None:
    """Return the fit of two maps of one shape that outliers do not move, or None if they do not allow one.

    Starts from the best of a fixed set of lines through two pixels (least median of squares, Rousseeuw 1984), which up
    to half of the pixels cannot spoil; then reweighted least squares with Geman-McClure weights.
    """
    x, y = source.reshape(-1), target.reshape(-1)
    step = max(1, len(x) // FIT_PIXELS)
    x, y = x[::step].astype(np.float64), y[::step].astype(np.float64)
    valid = np.isfinite(x) & np.isfinite(y)
    x, y = x[valid], y[valid]
    if len(x) < FIT_LEAST or _spread(x) <= 1e-6 * np.abs(x).max() or _spread(y) <= 0:
        return None
    scale, shift, _ = fit_line(x, y, symmetric=symmetric)
    return Fit(scale, shift, float(np.median(np.abs(scale * x + shift - y)) / _spread(y)))


def fit_line(x: np.ndarray, y: np.ndarray, weight: np.ndarray | float = 1.0, outlier: float = 3.0,
             symmetric: bool = False) -> tuple[float, float, np.ndarray]:
    """Return (scale, shift) of points x, y (N,) that outliers do not move, and what each point counts (N,).

    A misfit of `outlier` times the median costs a point three quarters of its `weight`.
    """
    scale, shift = _line_of_the_majority(x, y)
    least = 1e-12 * np.abs(y).max()
    for _ in range(FIT_PASSES):
        miss = np.abs(scale * x + shift - y)
        counts = weight / (1 + (miss / (outlier * _median(miss) + least)) ** 2) ** 2
        scale, shift = fit_scale_shift(x, y, counts, symmetric)
    return scale, shift, counts


def fit_as_published(source: np.ndarray, target: np.ndarray, scale_only: bool = False) -> Fit | None:
    """Return the plain least squares fit over every pixel of two maps of one shape, as the video papers have it.

    None where the maps do not allow one. `scale_only` is scale = sum(x y) / (sum(x x) + 1e-6), shift = 0.
    """
    valid = np.isfinite(source) & np.isfinite(target)
    x, y = source[valid].astype(np.float64), target[valid].astype(np.float64)
    if len(x) < FIT_LEAST or _spread(x) <= 1e-6 * np.abs(x).max() or _spread(y) <= 0:
        return None
    scale, shift = ((x * y).sum() / ((x * x).sum() + 1e-6), 0.0) if scale_only else fit_scale_shift(x, y)
    return Fit(float(scale), shift, float(np.median(np.abs(scale * x + shift - y)) / _spread(y)))


def _line_of_the_majority(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    order, half = np.argsort(x, kind='stable'), len(x) // 2
    pick = np.linspace(0, half - 1, FIT_LINES).astype(int)
    low, high = order[pick], order[pick + half]                          # far apart in x
    scale = (y[high] - y[low]) / np.maximum(x[high] - x[low], 1e-12)     # (lines)
    shift = y[low] - scale * x[low]
    judges = order[:: max(1, len(x) // FIT_JUDGES)]
    miss = np.abs(scale[:, None] * x[judges] + shift[:, None] - y[judges])
    best = int(np.argmin(_median(miss)))
    return float(scale[best]), float(shift[best])


def _median(values: np.ndarray) -> np.ndarray:
    """Return the median along the last axis of finite values: what np.median says, in half the time."""
    middle = values.shape[-1] // 2
    if values.shape[-1] % 2:
        return np.partition(values, middle)[..., middle]
    return np.partition(values, (middle - 1, middle))[..., middle - 1:middle + 1].mean(axis=-1)


def _spread(values: np.ndarray) -> float:
    low, high = np.percentile(values, (10, 90))
    return float(high - low) / 2


@dataclass(frozen=True)
class Aligned:
    """One map on the stream's scale."""

    index: int           # position in the stream
    slot: int            # in the window that brought it, where the rest of its prediction is
    map: np.ndarray      # (h, w) float32
    fit: Fit
    segment: int


class Stitcher:
    """Puts the windows of one stream on the scale of its first one, and gives out every map exactly once, in order."""

    def __init__(self, spec: WindowSpec, settings: AlignmentSettings, segment: int = 0) -> None:
        self.spec = spec
        self.settings = settings
        self.segment = segment
        self.fit = Fit()
        self.level: float | None = None                # running residual
        self.shared: dict[int, np.ndarray] = {}        # aligned maps of the frames that the next window holds again
        self.waiting: list[Aligned] = []               # maps that the next window cross-fades

    def add(self, indices: Sequence[int], fresh: range, maps: np.ndarray) -> list[Aligned]:
        """Return the maps that this window settles, oldest first.

        `indices` (T) are the stream positions of its slots, `fresh` the slots of new frames, `maps` (T, h, w).
        """
        if self.shared:
            self._align(indices[:fresh.start], maps)
        aligned = (self.fit.scale * maps + self.fit.shift).astype(np.float32)
        if self.spec.floor is not None:
            aligned = np.maximum(aligned, np.float32(self.spec.floor))
        known = self._cross_fade(indices[:fresh.start], aligned) if self.shared else self.flush()
        new = [Aligned(indices[slot], slot, aligned[slot], self.fit, self.segment) for slot in fresh]
        self._remember(indices, aligned, known + new)
        still = [item for item in (known if self.spec.moved_back else []) + new if self._is_held_back(item, indices)]
        self.waiting = still
        return (known + new)[:len(known) + len(new) - len(still)]

    def flush(self) -> list[Aligned]:
        """Return the maps that still wait for a next window."""
        waiting, self.waiting = self.waiting, []
        return waiting

    def _align(self, known: Sequence[int], maps: np.ndarray) -> None:
        slots = range(len(known) if self.spec.moved_back else self.spec.anchors)
        if not slots:
            return
        fit = self._fit(maps[slots], np.stack([self.shared[known[slot]] for slot in slots]))
        if fit and self.settings.cuts and self._is_cut(fit.residual):
            self.segment, self.fit, self.level, self.shared = self.segment + 1, Fit(), None, {}
            return
        self.fit = accept(fit, self.fit, self.settings)
        if self.spec.scale_limits:
            self.fit = replace(self.fit, scale=float(np.clip(self.fit.scale, *self.spec.scale_limits)))
        if fit:
            self.level = LEVEL_MEMORY * (self.level or fit.residual) + (1 - LEVEL_MEMORY) * fit.residual

    def _fit(self, source: np.ndarray, target: np.ndarray) -> Fit | None:
        if self.settings.fit == 'robust':
            return fit_robustly(source, target)
        return fit_as_published(source, target, self.settings.fit == 'scale_only')

    def _is_cut(self, residual: float) -> bool:
        return self.level is not None and residual > max(CUT_RESIDUAL, CUT_FACTOR * self.level)

    def _cross_fade(self, known: Sequence[int], aligned: np.ndarray) -> list[Aligned]:
        blend = len(known) if self.spec.moved_back else self.spec.blend
        first = len(known) - blend
        slots = {index: first + number for number, index in reversed(list(enumerate(known[first:])))}
        faded = []
        for item in self.flush():
            if item.index in slots:
                slot = slots[item.index]
                share = (slot - first) / max(1, blend - 1)    # 0 and 1 at the ends
                item = replace(item, map=((1 - share) * item.map + share * aligned[slot]).astype(np.float32))
            faded.append(item)
        return faded

    def _remember(self, indices: Sequence[int], aligned: np.ndarray, items: Sequence[Aligned]) -> None:
        settled = {item.index: item.map for item in items}
        if self.spec.moved_back:
            self.shared = settled
        else:
            self.shared = {indices[slot]: settled.get(indices[slot], self.shared.get(indices[slot], aligned[slot]))
                           for slot in self.spec.keyframes}

    def _is_held_back(self, item: Aligned, indices: Sequence[int]) -> bool:
        if self.spec.moved_back:
            return item.index > indices[-1] - self.spec.held_back
        return item.slot >= self.spec.length - self.spec.held_back


class ScaleLock:
    """Keeps the maps of a single-picture network on one scale.

    Each map is fitted to the one before, seen from where the camera is now: moved along by the optical flow, and nearer
    by the expansion of the picture. That is a guess whose errors add up with the motion, so the correction is given up with
    the motion, too: flicker goes, and a drift stays bounded.
    """

    def __init__(self, quantity: Quantity, settings: AlignmentSettings) -> None:
        self.quantity = quantity
        self.settings = settings
        self.fit = Fit()
        self.last: tuple[np.ndarray, np.ndarray] | None = None    # thumbnail and its aligned map, (h, w) each

    def __call__(self, map: np.ndarray, thumbnail: np.ndarray) -> tuple[np.ndarray, Fit]:
        """Return the (h, w) map on the scale of the maps before it, and the fit that put it there."""
        small = cv2.resize(map, thumbnail.shape[::-1], interpolation=cv2.INTER_AREA)
        if self.last is not None:
            motion = measure_motion(self.last[0], thumbnail)
            nearing = motion.expansion()
            expected = self._brought_nearer(motion.warp(self.last[1]), nearing)
            fit = fit_robustly(small, np.where(motion.consistent, expected, np.nan), symmetric=True)
            keep = max(0.0, 1.0 - FORGET - FORGET_NEARING * abs(np.log(nearing)) - FORGET_PASSING * motion.passing())
            if fit and fit.scale > 0:
                fit = replace(fit, scale=fit.scale ** keep, shift=fit.shift * keep)
            self.fit = accept(fit, self.fit, self.settings)
        self.last = thumbnail, (self.fit.scale * small + self.fit.shift).astype(np.float32)
        return (self.fit.scale * map + self.fit.shift).astype(np.float32), self.fit

    def _brought_nearer(self, map: np.ndarray, factor: float) -> np.ndarray:
        if self.quantity is Quantity.LOG_DEPTH_AFFINE:
            low, high = np.percentile(map, (5, 95))
            return map - np.float32(np.log(factor) * (high - low) / LOG_SPREAD)
        return map / factor if self.quantity.grows_with_depth else map * factor


def accept(fit: Fit | None, last: Fit, settings: AlignmentSettings) -> Fit:
    """Return `fit`, or the `last` good one marked as held where `fit` is missing or beyond the limits of its scale."""
    if fit is None or not settings.scale_low <= fit.scale <= settings.scale_high:
        return replace(last, held=True, residual=fit.residual if fit else 1.0)
    return fit
