"""What the correspondences of a segment say about its scale: one robust fit per picture, a running fit over pictures.

Map and metres are compared in the family's own space, where the map is right up to one scale and one shift:

    metric value = scale * map + shift,    metric value = 1/Z, log(1 + Z) or Z by the map's quantity
"""

import math

import numpy as np

from depth_ros.core.alignment import fit_line
from depth_ros.core.frame import Quantity
from depth_ros.core.measurement import Correspondences

LEAST_POINTS = 20         # fewer do not make a fix
MOST_POINTS = 1_000       # more are thinned evenly
OUTLIER = 1.5             # median misfits at which a point has lost three quarters of its weight
AGREEING = 0.1            # and this share of its weight still makes an inlier, as does
RIGHT = 0.01              # a relative error of depth as small as this
INDEPENDENT = 40          # the errors of one map hang together: so many points of it tell as much as all
MEMORY_S = 0.4            # time after which a fix counts 1/e
HELD = 0.05               # what "as it was" weighs in the running fit, against a fix
ENDS = (10, 90)           # percentiles that a set of values is taken to span
ONE_DEPTH = 1.15          # points whose far end is less than this times as far as their near end do not make a fix alone
AGREEMENT = 0.15          # rank correlation of map and points below which they have nothing to do with each other
AGREEMENT_MEMORY = 0.7    # share of its past that the running correlation keeps per fix
WORST = 0.5               # median relative error of depth that a fix may have
OFF = 0.15                # by which the running fit may be worse than that, before the fix contradicts it
MARGIN = 0.5              # what lies this share of its span beyond the ends of a fit is far from them
CHANGED_FIXES = 3         # so many in a row that do, and the scale itself has changed


class ScaleFit:
    """Weighted least squares over the last fixes, which fade with MEMORY_S, and how good they were.

    What the points leave open stays as it was: a single wall tells one factor of both, not scale from shift. A fix that
    contradicts the running fit is left out; several in a row make a new one.
    """

    def __init__(self, quantity: Quantity) -> None:
        self.quantity = quantity
        self.problem = 'nothing has been measured yet'           # with the newest correspondences
        self.residual, self.inliers, self.points = 0.0, 0.0, 0   # of them: median relative error of depth, share, number
        self.agreement = math.nan                                # running rank correlation of map and points
        self.contradictions = 0                                  # in a row
        self._forget()

    def _forget(self) -> None:
        self.fixes, self.newest_ns = 0, 0
        self.scale, self.shift, self.variance = 1.0, 0.0, 0.0
        self.ends = np.zeros(2)                                  # values of the map between which the fit was determined
        self.normal, self.right = np.zeros((2, 2)), np.zeros(2)

    def learn(self, measured: Correspondences) -> None:
        """Take the correspondences of one frame, or note in `problem` why not."""
        if measured.problem:
            self.problem = measured.problem
            return
        x, y, weight = _usable(measured, self.quantity)
        self.points = len(x)
        if len(x) < LEAST_POINTS:
            self.problem = f'{len(x)} points of known depth are in the picture, a fix needs {LEAST_POINTS}'
            return
        depth_m = depth_of(y, self.quantity)
        scale, shift, counts = fit_line(x, y, weight, OUTLIER)
        own, running = (np.abs(depth_of(s * x + t, self.quantity) / depth_m - 1)
                        for s, t in ((scale, shift), (self.scale, self.shift)))
        agree = (counts > AGREEING * weight) | (own < RIGHT)
        near, far = percentiles(depth_m[agree], ENDS)
        flat = far < ONE_DEPTH * near
        if flat and not self.fixes:
            self.problem = (f'all points are about equally far ({near:.2f} to {far:.2f} m), which tells the scale from '
                            'nothing; let the sensor see something nearer or farther too')
            return
        off = float(np.median(running))
        self.residual, self.inliers = off if flat else float(np.median(own)), float(np.mean(agree))
        self.problem = '' if flat else self._disagreement(x, y, scale)
        if not self.problem and self.fixes and off > self.residual * (not flat) + OFF:
            self.contradictions += 1
            self.problem = f'the newest points contradict the scale: with it their depth is off by {100 * off:.0f} %'
            if self.contradictions >= CHANGED_FIXES and not flat:
                self._forget()
                self.problem = ''
        if not self.problem:
            self.contradictions = 0
            self._add(x, y, counts, flat, measured.stamp_ns)

    def _disagreement(self, x: np.ndarray, y: np.ndarray, scale: float) -> str:
        """Return why map and points cannot belong together, '' if they can."""
        now = _correlation(_ranks(x), _ranks(y))
        past = now if math.isnan(self.agreement) else self.agreement
        self.agreement = AGREEMENT_MEMORY * past + (1 - AGREEMENT_MEMORY) * now
        if self.agreement < AGREEMENT or self.residual > WORST:
            return (f'the points do not fit the picture (rank correlation {self.agreement:.2f}, median error of depth '
                    f'{100 * self.residual:.0f} %); check where the sensor sits, its frame_id and its stamps')
        return '' if scale > 0 else 'by the newest points alone near and far would be swapped'

    def _add(self, x: np.ndarray, y: np.ndarray, weight: np.ndarray, flat: bool, stamp_ns: int) -> None:
        share = INDEPENDENT * weight / weight.sum()
        keep = math.exp(-max(stamp_ns - self.newest_ns, 0) / 1e9 / MEMORY_S) if self.fixes else 0.0
        if flat:    # one depth tells one factor; how the map errs about it would pull the scale to 0
            factor = float(share @ y) / float(share @ (self.scale * x + self.shift))
            self.right = self.right * (1 + (1 - keep) * (factor - 1))
        else:
            normal, right = _equations(x, y, share)
            if self.fixes:
                held = np.full(2, (1 - keep) * HELD * INDEPENDENT / 2)
                as_it_was = _equations(self.ends, self.scale * self.ends + self.shift, held)
                normal, right = normal + as_it_was[0], right + as_it_was[1]
            self.normal, self.right = keep * self.normal + normal, keep * self.right + right
        ends = percentiles(x, ENDS)
        if not flat and np.ptp(ends) >= np.ptp(self.ends) / 2:
            self.ends = ends
        self.scale, self.shift = (float(number) for number in np.linalg.lstsq(self.normal, self.right, rcond=None)[0])
        self.variance = float(share @ (self.scale * x + self.shift - y) ** 2) / INDEPENDENT
        self.newest_ns, self.fixes = max(stamp_ns, self.newest_ns), self.fixes + 1

    def extrapolated(self, x: np.ndarray) -> float:
        """Return the share of values x (N,) that lie far from those that the fit was determined between."""
        low, high = self.ends
        margin = MARGIN * (high - low)
        return float(np.mean((x < low - margin) | (x > high + margin))) if len(x) else 0.0

    def uncertainty(self, x: np.ndarray) -> float:
        """Return the standard deviation of depth over depth, in the median over values x (N,) of the map."""
        if not self.fixes or self.scale <= 0:
            return math.inf
        # Of the weight of one fix, for the errors of those after it are the same; its 2x2 equations are solved by hand.
        (xx, x1), (_, weight) = self.normal * (INDEPENDENT / self.normal[1, 1])
        variance = self.variance * (weight * x * x - 2 * x1 * x + xx) / max(xx * weight - x1 * x1, 1e-30)
        y = self.scale * x + self.shift
        depth_m = depth_of(y, self.quantity)
        slope = (1 + depth_m) / depth_m if self.quantity is Quantity.LOG_DEPTH_AFFINE else 1 / np.abs(y)
        return float(np.median(np.sqrt(variance) * slope))


def _usable(measured: Correspondences, quantity: Quantity) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return map values, metric values and weights (N,) of at most MOST_POINTS correspondences."""
    x, inverse, weight = measured.value, measured.inverse_depth, measured.weight
    with np.errstate(invalid='ignore'):
        valid = np.isfinite(x) & np.isfinite(inverse) & (inverse > 0) & (weight > 0)
    x, inverse, weight = (values[valid].astype(np.float64) for values in (x, inverse, weight))
    thin = slice(None, None, -(-len(x) // MOST_POINTS) or 1)
    return x[thin], value_of(1 / inverse[thin], quantity), weight[thin]


def _equations(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the normal equations (2, 2), (2,) of weighted points (N,)."""
    X = np.stack([x, np.ones_like(x)])
    return (X * weight) @ X.T, (X * weight) @ y


def percentiles(values: np.ndarray, shares: tuple[int, ...]) -> np.ndarray:
    """Return the values (len(shares),) float64 that stand at these percentiles of values (N,), N > 0."""
    order = np.sort(values)    # a tenth of the time that np.percentile takes
    return order[[share * (len(order) - 1) // 100 for share in shares]].astype(np.float64)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the rank of each value (N,), equal values sharing theirs: a saturated map has no order."""
    _, which, count = np.unique(values, return_inverse=True, return_counts=True)
    ranks: np.ndarray = (np.cumsum(count) - count / 2)[which]
    return ranks


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return the correlation of a and b (N,), 0 where one of them is constant."""
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / (math.sqrt((a @ a) * (b @ b)) or 1.0))


def depth_of(value: np.ndarray, quantity: Quantity) -> np.ndarray:
    """Return depth [m] (N,) of metric values (N,) float64; as good as infinite where they lie at or beyond infinity."""
    if quantity is Quantity.LOG_DEPTH_AFFINE:
        return np.expm1(np.minimum(value, 20.0))
    return value if quantity.grows_with_depth else 1 / np.maximum(value, 1e-9)


def value_of(depth_m: np.ndarray, quantity: Quantity) -> np.ndarray:
    """Return the metric values (N,) of depth [m] (N,): what an ideal map would be."""
    if quantity is Quantity.LOG_DEPTH_AFFINE:
        return np.log1p(depth_m)
    return depth_m if quantity.grows_with_depth else 1 / depth_m
