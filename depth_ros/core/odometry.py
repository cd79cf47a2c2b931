"""Metres from how far the camera went: the metric source `Odometry`.

Corners that are seen from two places are triangulated in units of the way between them, and odometry says how long that way
was. A predicted translation would give the scale alone, and only with the networks that predict one; near and far corners
give scale and shift, with any network.
"""

import math
from bisect import bisect_left

import cv2
import numpy as np

from depth_ros.core.camera import Camera
from depth_ros.core.frame import Frame
from depth_ros.core.measurement import Correspondences, Measurement
from depth_ros.core.two_view import Tracker, TwoView, values_at
from depth_ros.settings import MetricSettings

LEAST_SPAN = 0.4                 # of the values of the map that corners have to be at
LEAST_CORNERS = 10
LEAST_WAY_M = 0.02               # odometry is no better
LEAST_PARALLAX_PX = 2.0          # median motion beyond the turn; corners are followed to some tenths of a pixel
LEAST_WEIGHT = 0.02              # squared sine of the angle between ray and way
LEAP_M, LEAP_M_S2 = 0.2, 30.0    # an odometry that changes its step by more than both has jumped
TURN_DEG, TURN_SHARE = 2.0, 0.3    # odometry and pictures may disagree by that, or that share of the turn
BINS, LEAST_OF_BIN = 8, 4         # of map values, and corners in each
KEPT = 2000                      # poses
BRIDGED_NS = 500_000_000         # between two poses so far apart, the camera went straight on


class Odometry:
    """Says of the corners in a frame how far away they are."""

    def __init__(self, settings: MetricSettings, tracker: Tracker) -> None:
        self.settings = settings
        self.tracker = tracker
        self.reset()

    def reset(self) -> None:
        """Forget where the camera was."""
        self.poses: list[tuple[int, np.ndarray]] = []    # stamp and T_odom_cam, since the last leap
        self.tracker.reset()

    def correspond(self, frame: Frame, map: np.ndarray, camera: Camera) -> list[Correspondences]:
        """Return the corners of one frame, or one empty entry that says why there are none."""
        problem = self._take(frame.measured)
        view = self.tracker.see(frame, camera)
        T_key_now = self._between(view.key_ns, view.stamp_ns)
        if T_key_now is None:
            problem = problem or (f'no odometry within {self.settings.tolerance_s:g} s of the picture; check its stamps, or '
                                  'raise metric.tolerance_s')
            return [Correspondences(frame.stamp_ns, problem=problem)]
        problem = problem or _contradiction(view, T_key_now)
        if problem:
            return [Correspondences(frame.stamp_ns, problem=problem)]
        value, inverse_depth = values_at(map, view.pixels), view.inverse_depth / np.linalg.norm(T_key_now[:3, 3])
        good = np.flatnonzero((view.weight > LEAST_WEIGHT) & (inverse_depth > 0) & np.isfinite(value))
        if len(good) < LEAST_CORNERS:
            return [Correspondences(frame.stamp_ns, problem=f'only {len(good)} corners say how far they are, '
                                    f'{LEAST_CORNERS} are needed; the camera moves towards the others')]
        thin = map[::16, ::16]
        good = good[evenly(inverse_depth[good], view.weight[good])]
        share = _span(value[good]) / max(_span(thin[np.isfinite(thin)]), 1e-12)
        if share < LEAST_SPAN:
            return [Correspondences(frame.stamp_ns, problem=f'the corners followed span {share:.0%} of the map, '
                                    f'{LEAST_SPAN:.0%} are needed; nothing near can be followed')]
        return [Correspondences(frame.stamp_ns, value[good], inverse_depth[good], view.weight[good])]

    def _take(self, measured: tuple[Measurement, ...]) -> str:
        """Keep new poses; return why they are of no use, if they are not."""
        problem = ''
        for new in measured:
            if new.T_odom_cam is None:
                problem = new.problem
            elif not self.poses or new.stamp_ns > self.poses[-1][0]:
                problem = _leap(self.poses[-2:], new.stamp_ns, new.T_odom_cam)
                if problem:    # no way leads from before it to after it
                    self.tracker.renew()
                self.poses = [*([] if problem else self.poses[-KEPT:]), (new.stamp_ns, new.T_odom_cam)]
        return problem

    def _between(self, key_ns: int, now_ns: int) -> np.ndarray | None:
        """Return T_key_now (4, 4) by odometry, None where it does not reach."""
        T_odom_key, T_odom_now = self._pose(key_ns), self._pose(now_ns)
        return None if T_odom_key is None or T_odom_now is None else np.linalg.inv(T_odom_key) @ T_odom_now

    def _pose(self, stamp_ns: int) -> np.ndarray | None:
        """Return T_odom_cam (4, 4): the nearest turn, and the place on the line through the poses before and after."""
        if not self.poses:
            return None
        stamps = [stamp for stamp, _ in self.poses]
        after = min(max(bisect_left(stamps, stamp_ns), 1), len(stamps) - 1)    # the last two lead on beyond the last
        before = max(after - 1, 0)
        (t0, T0), (t1, T1) = self.poses[before], self.poses[after]
        nearest_ns = min(abs(t0 - stamp_ns), abs(t1 - stamp_ns))
        if nearest_ns > self.settings.tolerance_s * 1e9 and not (t0 < stamp_ns < t1 and t1 - t0 < BRIDGED_NS):
            return None
        T = (T0 if abs(t0 - stamp_ns) < abs(t1 - stamp_ns) else T1).copy()
        if t1 > t0:
            T[:3, 3] = T0[:3, 3] + (stamp_ns - t0) / (t1 - t0) * (T1[:3, 3] - T0[:3, 3])
        return T


def evenly(value: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return indices of values (N,) that are about equally many near and far, of each the ones of most weight.

    Far away is most of what has corners, and would decide alone.
    """
    if not len(value):
        return np.empty(0, int)
    low, high = np.percentile(value, (5, 95))
    bins = ((value - low) / max(high - low, 1e-12) * BINS).astype(int).clip(0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    most = max(LEAST_OF_BIN, int(np.median(counts[counts > 0])))
    order = np.argsort(-weight, kind='stable')
    return np.sort(np.concatenate([order[bins[order] == number][:most] for number in range(BINS)]))


def _span(values: np.ndarray) -> float:
    return float(np.ptp(np.percentile(values, (5, 95)))) if len(values) else 0.0


def _leap(poses: list[tuple[int, np.ndarray]], stamp_ns: int, T_odom_cam: np.ndarray) -> str:
    """Return why a pose cannot follow the last ones, if it cannot."""
    if not np.isfinite(T_odom_cam).all():
        return 'the odometry is not finite; correct its driver'
    if len(poses) < 2:
        return ''    # how fast it goes is not known yet
    (t0, T0), (t1, T1) = poses
    seconds, step = (stamp_ns - t1) / 1e9, T_odom_cam[:3, 3] - T1[:3, 3]
    expected = (T1[:3, 3] - T0[:3, 3]) * seconds / ((t1 - t0) / 1e9)
    if np.linalg.norm(step - expected) < LEAP_M + LEAP_M_S2 * seconds ** 2:
        return ''
    return f'the odometry leapt by {np.linalg.norm(step):.2f} m within {seconds:.2f} s; it was reset or the wheels slipped'


def _contradiction(view: TwoView, T_key_now: np.ndarray) -> str:
    """Return why a way by odometry and what the pictures say do not make metres, if they do not."""
    if view.problem or view.R_key_now is None:
        return view.problem
    parallax_px = float(np.median(view.parallax_px))
    if parallax_px < LEAST_PARALLAX_PX:
        return f'only {parallax_px:.1f} px of parallax yet, {LEAST_PARALLAX_PX:g} are needed; move the camera'
    way_m = float(np.linalg.norm(T_key_now[:3, 3]))
    if way_m < LEAST_WAY_M:
        return (f'the odometry went {way_m:.3f} m while the picture moved by {parallax_px:.1f} px; check that it is the one '
                'of this camera')
    turn, odometry_turn = (math.degrees(np.linalg.norm(cv2.Rodrigues(R)[0])) for R in (view.R_key_now, T_key_now[:3, :3]))
    if abs(turn - odometry_turn) > TURN_DEG + TURN_SHARE * turn:
        return f'the odometry turned by {odometry_turn:.1f} degrees and the pictures by {turn:.1f}; check its stamps'
    return ''
