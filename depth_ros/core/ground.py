"""Metres from the ground that the camera looks at from a known height: the metric source `CameraHeight`.

Ground that is level under a camera at height h, with gravity along the unit vector n, has 1/Z = n . (x/z, y/z, 1) / h in
every pixel: metres without looking at the map. What the map is needed for is to tell which pixels are ground.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from depth_ros.core.camera import Camera, rays
from depth_ros.core.frame import Frame, Quantity
from depth_ros.core.measurement import Correspondences
from depth_ros.core.scale_fit import value_of
from depth_ros.errors import SettingsError
from depth_ros.settings import MetricSettings

GRID = 36, 27                # columns and rows of pixels looked at
FAR_HEIGHTS = 15.0           # ground farther than so many heights is too thin in the picture to say anything
LEANS_DEG = (-8, 0, 8)       # that the ground may have sideways: a banked road, a gravity that is not exact
MOST_LEAN_DEG = 15.0
LINES = 24                   # pairs of pixels that candidates go through
TOLERANCE = 0.05             # misfit that still is ground, over the spread of the map below the horizon
SMALL_LEAN = 1e-4
STAYS = 0.1                  # so much less merit may the last ground have
PASSES = 5                   # of reweighting; fixed, so that the ground is a function of the map alone
LEAST_SHARE = 0.25           # of the pixels below the horizon that have to be ground
BELOW_SHARE = 0.3            # at most so many may be under it
LEAST_SPREAD = 1.5           # farthest over nearest of what could be ground, and of what is

Line = tuple[float, float, float]    # scale, shift, lean


class CameraHeight:
    """Says of the ground in a frame how far away it is."""

    def __init__(self, settings: MetricSettings, quantity: Quantity) -> None:
        if settings.height_m <= 0:
            raise SettingsError(f'metric.source=camera_height needs the height of the camera over the ground, and it is '
                                f'{settings.height_m:g} m; set metric.height_m to a positive number of metres')
        self.settings = settings
        self.quantity = quantity
        self.reset()

    def reset(self) -> None:
        """Forget where down and the ground were."""
        self.line: Line | None = None
        self.down = down_of(self.settings) if self.settings.gravity == 'parameter' else None

    def correspond(self, frame: Frame, map: np.ndarray, camera: Camera) -> list[Correspondences]:
        """Return the ground pixels of one frame, or one empty entry that says why there are none."""
        problem = ''
        if self.settings.gravity != 'parameter':
            for measurement in frame.measured:
                self.down = self.down if measurement.down is None else measurement.down
                problem = measurement.problem
        if self.down is None:
            problem = problem or f'no gravity came yet; check what metric.gravity={self.settings.gravity} listens to'
            return [Correspondences(frame.stamp_ns, problem=problem)]
        found, self.line = find_ground(map, camera, self.down, self.settings.height_m, self.quantity, self.line)
        return [replace(found, stamp_ns=frame.stamp_ns)]


def down_of(settings: MetricSettings) -> np.ndarray:
    """Return gravity (3,) in the optical frame of a camera that looks `pitch_deg` down and is rolled clockwise."""
    pitch, roll = math.radians(settings.pitch_deg), math.radians(settings.roll_deg)
    return np.array([math.sin(roll) * math.cos(pitch), math.cos(roll) * math.cos(pitch), math.sin(pitch)])


def find_ground(map: np.ndarray, camera: Camera, down: np.ndarray, height_m: float, quantity: Quantity,
                last: Line | None = None) -> tuple[Correspondences, Line | None]:
    """Return the ground pixels of a map (H, W), or why there are none, and the line they are on.

    Below the horizon the map of the ground is scale * f(1/Z) + shift, f being the space of the quantity. A line through
    two pixels, with a lean of the ground about the viewing axis, is the better the more pixels are on it and the fewer
    under it, where nothing can be; the `last` one stays unless another is clearly better. Gauss-Newton on scale, shift and
    lean refines it. A wall that is tilted back cannot be told from ground as long as the shift is unknown.
    """
    value, ray = _grid(map, camera)
    nearness, aside = ray @ down, ray[:, 0] * down[1] - ray[:, 1] * down[0]    # height / Z, and its change with the lean
    seen = np.isfinite(value) & (nearness > 1 / FAR_HEIGHTS)
    if seen.sum() < LINES:
        return _nothing('no ground is in view: nothing below the horizon has depth; check metric.pitch_deg, or what gravity '
                        'is known from')
    value, nearness, aside = value[seen], nearness[seen], aside[seen]
    near, far = np.percentile(nearness, (95, 5))
    if near < LEAST_SPREAD * far:
        return _nothing(f'ground would be {height_m / near:.1f} to {height_m / far:.1f} m away, too little to tell the '
                        'scale from; tilt the camera up')

    def expected(lean: float) -> np.ndarray:
        return value_of(height_m / np.maximum(nearness + lean * aside, 0.2 / FAR_HEIGHTS), quantity)

    sign = -1.0 if quantity.grows_with_depth else 1.0    # of a misfit that is nearer
    tolerance = TOLERANCE * float(np.ptp(np.percentile(value, (2, 98)))) + 1e-12
    leans = np.tan(np.radians(LEANS_DEG))
    candidates = [(*_best_line(expected(lean), value, nearness, tolerance, sign), lean) for lean in leans]
    merit, *line = max(candidates)
    if last and _merit(sign * (value - last[0] * expected(last[2]) - last[1]), tolerance) > merit - STAYS:
        line = list(last)
    scale, shift, lean = _refine(value, expected, line, tolerance)
    miss = sign * (value - scale * expected(lean) - shift)
    ground, under = np.abs(miss) < tolerance, float(np.mean(miss < -2 * tolerance))
    problem = _doubt(float(ground.mean()), under, math.degrees(math.atan(lean)), scale, nearness[ground])
    if problem:
        return _nothing(problem)
    inverse_depth = (nearness + lean * aside)[ground] / height_m / math.hypot(1, lean * math.hypot(*down[:2]))
    weight = 1 - (miss[ground] / tolerance) ** 2
    return Correspondences(0, value[ground], inverse_depth, weight), (scale, shift, lean)


def _best_line(x: np.ndarray, value: np.ndarray, nearness: np.ndarray, tolerance: float,
               sign: float) -> tuple[float, float, float]:
    """Return (merit, scale, shift) of the best line value = scale * x + shift through two pixels."""
    order = np.argsort(nearness, kind='stable')
    pick = np.linspace(0, len(order) // 2 - 1, LINES).astype(int)
    far, near = order[pick], order[pick + len(order) // 2]
    scale = (value[near] - value[far]) / np.where(x[near] == x[far], np.inf, x[near] - x[far])    # (LINES)
    shift = value[far] - scale * x[far]
    miss = sign * (value[::3] - scale[:, None] * x[::3] - shift[:, None])                         # (LINES, N / 3)
    merit = _merit(miss, tolerance) - 2 * (scale <= 0)
    best = int(np.argmax(merit))
    return float(merit[best]), float(scale[best]), float(shift[best])


def _merit(miss: np.ndarray, tolerance: float) -> np.ndarray:
    """Return the share of misfits (..., N) that are ground less the share that is under it."""
    merit: np.ndarray = np.mean(np.abs(miss) < tolerance, axis=-1) - np.mean(miss < -2 * tolerance, axis=-1)
    return merit


def _refine(value: np.ndarray, expected: Callable[[float], np.ndarray], line: Sequence[float],
            tolerance: float) -> tuple[float, float, float]:
    """Return (scale, shift, lean) that fit the pixels near the line, with Geman-McClure weights."""
    scale, shift, lean = line
    for _ in range(PASSES):
        x = expected(lean)
        slope = (expected(lean + SMALL_LEAN) - x) / SMALL_LEAN
        miss = value - scale * x - shift
        weight = 1 / (1 + (miss / tolerance) ** 2) ** 2
        A = np.column_stack((x, np.ones(len(x)), scale * slope))    # (N, 3)
        Aw = (A * weight[:, None]).T
        H = Aw @ A
        step = np.linalg.solve(H + np.diag(1e-9 * np.diag(H) + 1e-15), Aw @ miss)
        scale, shift, lean = scale + step[0], shift + step[1], lean + step[2]
    return float(scale), float(shift), float(lean)


def _doubt(share: float, under: float, lean_deg: float, scale: float, nearness: np.ndarray) -> str:
    """Return why what was found is no ground, '' if it may be."""
    if scale <= 0:
        return ('no ground is in view: what is below the horizon comes nearer upwards; check metric.pitch_deg, or what '
                'gravity is known from')
    if share < LEAST_SHARE:
        return (f'no ground is in view: only {share:.0%} of the picture below the horizon is one plane that rises towards '
                f'the camera, {LEAST_SHARE:.0%} are needed')
    if under > BELOW_SHARE:
        return (f'{under:.0%} of the picture below the horizon is under what looks like ground; the camera sees a table, or '
                'gravity is wrong')
    if abs(lean_deg) > MOST_LEAN_DEG:
        return (f'what looks like ground leans {abs(lean_deg):.0f} degrees sideways; check metric.roll_deg, or what gravity '
                'is known from')
    near, far = np.percentile(nearness, (95, 5))
    return '' if near > LEAST_SPREAD * far else 'too little ground is in view to tell the scale from; tilt the camera up'


def _nothing(problem: str) -> tuple[Correspondences, None]:
    return Correspondences(0, problem=problem), None


def _grid(map: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Return the map's values (N,) at a grid of pixels, and the rays (N, 3) through them."""
    height, width = map.shape
    columns, rows = ((np.arange(count) * size + size // 2) // count for count, size in ((GRID[0], width), (GRID[1], height)))
    at = np.ix_(rows, columns)
    ray = rays(camera)[at].reshape(-1, 2).astype(np.float64)
    return map[at].reshape(-1).astype(np.float64), np.column_stack((ray, np.ones(len(ray))))
