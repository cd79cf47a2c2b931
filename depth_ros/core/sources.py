"""The metric sources: which one the settings name, and the two that know the depth of many pixels."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np

from depth_ros.core.camera import Camera, project
from depth_ros.core.frame import Frame, Quantity
from depth_ros.core.ground import CameraHeight
from depth_ros.core.measurement import Correspondences, Measurement
from depth_ros.core.metric import Source
from depth_ros.core.odometry import Odometry
from depth_ros.core.two_view import Tracker
from depth_ros.errors import DepthRosError, SettingsError
from depth_ros.settings import MetricSettings

SPAN_NS = 2_000_000_000    # frames are kept this long for measurements that come late,
MOST_FRAMES = 60           # at most so many,
MOST_POINTS = 6_000        # of a measurement that are looked for in the picture
KEPT_PX = 2                # and every n-th pixel of them
ASKED_ROWS = 30            # so many rows, and as dense columns, of a network's answer are used

Ask = Callable[[Frame], 'Future[np.ndarray]']    # picture -> (H, W) depth in metres, sooner or later


def open_source(settings: MetricSettings, quantity: Quantity, tracker: Tracker, ask: Ask | None = None) -> Source | None:
    """Return what measures metres by the settings, None where nothing is to be measured. `tracker` follows corners.

    Raises SettingsError for settings that cannot work.
    """
    if settings.source == 'range':
        return RangeSource(settings)
    if settings.source == 'camera_height':
        return CameraHeight(settings, quantity)
    if settings.source == 'odometry':
        return Odometry(settings, tracker)
    if settings.source == 'family':
        if ask is None:
            raise SettingsError('metric.source=family needs the network that is asked; open the stream with open_stream')
        return FamilySource(settings, ask)
    return None


class Seen(NamedTuple):
    """What is kept of a frame."""

    stamp_ns: int
    map: np.ndarray          # every KEPT_PX-th pixel
    camera: Camera


class RangeSource:
    """Points of a LiDAR or of a depth camera, each looked up in the map of the frame that was taken with it."""

    def __init__(self, settings: MetricSettings) -> None:
        self.tolerance_ns = round(settings.tolerance_s * 1e9)
        self.reset()

    def reset(self) -> None:
        self.seen: deque[Seen] = deque(maxlen=MOST_FRAMES)
        self.waiting: list[Measurement] = []    # newer than the newest frame

    def correspond(self, frame: Frame, map: np.ndarray, camera: Camera) -> list[Correspondences]:
        """Return the correspondences of every measurement that is not newer than this frame."""
        self.seen.append(Seen(frame.stamp_ns, map[::KEPT_PX, ::KEPT_PX].copy(), camera))
        while frame.stamp_ns - self.seen[0].stamp_ns > SPAN_NS:
            self.seen.popleft()
        ready = [item for item in (*self.waiting, *frame.measured) if item.stamp_ns <= frame.stamp_ns]
        self.waiting = [item for item in (*self.waiting, *frame.measured) if item.stamp_ns > frame.stamp_ns]
        return [self._look_up(item) for item in ready]

    def _look_up(self, measured: Measurement) -> Correspondences:
        near = min(self.seen, key=lambda seen: abs(seen.stamp_ns - measured.stamp_ns))
        apart_ns = abs(near.stamp_ns - measured.stamp_ns)
        if measured.points_m is None:
            return Correspondences(near.stamp_ns, problem=measured.problem)
        if apart_ns > self.tolerance_ns:
            return Correspondences(near.stamp_ns, problem=(
                f'the range measurement is {apart_ns / 1e9:.3f} s away from the nearest picture, metric.tolerance_s allows '
                f'{self.tolerance_ns / 1e9:g} s; check the clocks of the two, or allow more'))
        points_m = measured.points_m[::-(-len(measured.points_m) // MOST_POINTS) or 1]
        uv, depth_m = project(points_m, near.camera)
        column, row = (np.minimum(uv / KEPT_PX + 0.5, np.array(near.map.shape[::-1]) - 0.5)).astype(int).T
        if not len(depth_m):
            ahead = int((points_m[:, 2] > 0).sum())
            return Correspondences(near.stamp_ns, problem=(
                f'none of {len(points_m)} measured points lies in the picture, {ahead} of them in front of the '
                'camera; check where the sensor sits (metric.extrinsic or /tf_static) and its frame_id'))
        return Correspondences(near.stamp_ns, near.map[row, column].astype(np.float64), 1 / depth_m, np.ones(len(depth_m)))


class FamilySource:
    """A metric network that is asked about a picture now and then; its answer belongs to that picture, however late."""

    def __init__(self, settings: MetricSettings, ask: Ask) -> None:
        self.every_ns = round(settings.every_s * 1e9)
        self.name = settings.family
        self.ask = ask
        self.asked: tuple[int, np.ndarray, Future[np.ndarray]] | None = None    # stamp, thinned map, answer
        self.reset()

    def reset(self) -> None:
        if self.asked:    # nobody waits for it any more; what has begun goes on
            self.asked[2].cancel()
        self.asked = None
        self.last_ns: int | None = None                                         # stamp of the last question
        self.answers = 0

    def correspond(self, frame: Frame, map: np.ndarray, camera: Camera) -> list[Correspondences]:
        """Return the answer that has come, if one has; ask about this frame if it is time to."""
        done = self._answer()
        # The first two questions follow each other at once: one answer alone does not lock.
        due = self.last_ns is None or self.answers < 2 or frame.stamp_ns - self.last_ns >= self.every_ns
        if self.asked is None and due:
            self.asked = frame.stamp_ns, _thin(map).copy(), self.ask(frame)
            self.last_ns = frame.stamp_ns
            done += self._answer()    # of a network that is waited for
        return done

    def _answer(self) -> list[Correspondences]:
        if self.asked is None or not self.asked[2].done():
            return []
        (stamp_ns, map, answer), self.asked = self.asked, None
        self.answers += 1
        try:
            depth_m = _thin(answer.result())
        except Exception as error:    # a network can fail in any way; the stream goes on without it
            reason = str(error) if isinstance(error, DepthRosError) else f'{type(error).__name__}: {error}'
            return [Correspondences(stamp_ns, problem=f'metric.family={self.name} failed: {reason}')]
        with np.errstate(divide='ignore'):
            inverse_depth = 1 / depth_m.astype(np.float64).ravel()
        return [Correspondences(stamp_ns, map.astype(np.float64).ravel(), inverse_depth, np.ones(map.size))]


def _thin(map: np.ndarray) -> np.ndarray:
    step = max(1, min(map.shape) // ASKED_ROWS)
    return map[::step, ::step]
