"""The path of one frame: window, resize, infer, resize back, stitch, anchor. Node, bag tool and benchmark all push here."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from depth_ros.core.alignment import Aligned, ScaleLock, Stitcher
from depth_ros.core.camera import rectify, resize_camera, resize_K
from depth_ros.core.frame import Clip, DepthFrame, Frame
from depth_ros.core.metric import MetricAnchor
from depth_ros.core.metric_trajectory import MetricTrajectory
from depth_ros.core.motion import is_cut, thumbnail
from depth_ros.core.pose import Trajectory
from depth_ros.core.sources import Ask, open_source
from depth_ros.core.two_view import Tracker
from depth_ros.core.window import RollingWindow, Window, WindowSpec
from depth_ros.errors import InputError
from depth_ros.settings import Settings

if TYPE_CHECKING:
    from depth_ros.families.family import Family, Graph, Prediction


class Item(NamedTuple):
    """What the window keeps of a frame."""

    frame: Frame
    small: np.ndarray     # thumbnail, (h', w') uint8
    rgb: np.ndarray       # network size, (h, w, 3)


class DepthStream:
    """Frames in, depth frames out: one for each, in order, on one scale per segment.

    A segment ends by itself where the stream cannot go on: another picture size or camera, a stamp that goes back or
    leaps, a cut. What was pushed before comes out before.
    """

    def __init__(self, family: 'Family', graphs: Mapping[str, 'Graph'], spec: WindowSpec, settings: Settings,
                 info: Mapping[str, str] | None = None, ask: Ask | None = None) -> None:
        self.family = family
        self.graphs = graphs
        self.spec = spec
        self.settings = settings
        self.info = dict(info or {})                  # backend, weights and their hash, for diagnostics
        self.ask = ask                                # the slow network of metric.source=family
        tracker = Tracker()
        self.anchor = MetricAnchor(family.quantity, open_source(settings.metric, family.quantity, tracker, ask))
        self.way = MetricTrajectory(family.quantity, settings.pose.from_pictures, tracker)
        self.resets: Counter[str] = Counter()         # how often a segment ended, by reason
        self.seconds: dict[str, float] = {}           # stage -> time of the last push
        self.segment = 0
        self.pushed = 0
        self.last: tuple[Frame, np.ndarray] | None = None    # newest frame of the segment and its thumbnail
        self._start()

    def push(self, frame: Frame) -> list[DepthFrame]:
        """Return the depth frames that this frame completes (often one), oldest first.

        Raises InputError for a picture that is not (H, W, 3) uint8 or smaller than a patch of the network; the stream goes
        on as if it had not come.
        """
        if frame.rgb.ndim != 3 or frame.rgb.shape[2] != 3 or frame.rgb.dtype != np.uint8 or not frame.rgb.size:
            raise InputError(f'picture is {frame.rgb.dtype} {frame.rgb.shape}, expected uint8 (height, width, 3)')
        if min(frame.rgb.shape[:2]) < self.family.patch_px:
            raise InputError(f'picture of {frame.rgb.shape[1]}x{frame.rgb.shape[0]} px is smaller than one patch of '
                             f'{self.family.name}, {self.family.patch_px} px; give larger pictures')
        self.seconds = {}
        frame = self._rectified(frame)
        with self._timed('resize'):
            small = thumbnail(frame.rgb)
            height, width = frame.rgb.shape[:2]
            item = Item(frame, small, self.family.shrink(frame.rgb, self.family.size(height, width, frame.camera)))
        reason = self._reason_to_start_anew(frame, small)
        done = self.reset(reason) if reason else []
        self.last = frame, small
        self.pushed += 1
        window = self.window.push(item)
        return done + (self._infer(window) if window else [])

    def flush(self) -> list[DepthFrame]:
        """Return what still waits for frames to come, as at the end of a recording; the next frame starts anew."""
        if self.last is None:
            return []
        done = []
        while window := self.window.flush():
            done += self._infer(window)
        done += [self._finish(aligned) for aligned in self.stitcher.flush()]
        self.segment = self.stitcher.segment + 1
        self._start()
        return done

    def reset(self, reason: str = 'asked for') -> list[DepthFrame]:
        """Forget the past and start a new segment; return what was still waiting."""
        if self.last is not None:
            self.resets[reason] += 1
        return self.flush()

    @property
    def fill(self) -> float:
        """Share of the next window that is there."""
        return min(1.0, (len(self.window.slots) + 1) / self.spec.length)

    def _start(self) -> None:
        self.window: RollingWindow[Item] = RollingWindow(self.spec)
        self.stitcher = Stitcher(self.spec, self.settings.alignment, self.segment)
        self.trajectory = Trajectory()
        self.lock = self._make_lock()
        self._unanchor(self.segment)
        self.state: Any = None                                   # what the family carries from window to window
        self.first = self.pushed                                 # stream position of the segment's first frame
        self.last = None
        # What is there of frames whose map is not settled yet, by position; the last is T_world_cam.
        self.waiting: dict[int, tuple[Item, Prediction, np.ndarray | None]] = {}

    def _unanchor(self, segment: int) -> None:
        """Forget where the metres came from: a new segment has a scale of its own."""
        self.anchored_segment = segment
        self.anchor.reset()
        self.way.reset()

    def _make_lock(self) -> ScaleLock | None:
        single = self.spec.length == 1 and not self.family.carries_state
        wanted = {'on': True, 'off': False, 'auto': single and not self.family.quantity.is_metric}
        settings = self.settings.alignment
        return ScaleLock(self.family.quantity, settings) if wanted[settings.per_frame] else None

    def _rectified(self, frame: Frame) -> Frame:
        if self.settings.camera.model != 'rectify' or frame.camera is None:
            return frame
        with self._timed('rectify'):
            rgb, camera = rectify(frame.rgb, frame.camera)
        return replace(frame, rgb=rgb, camera=camera)

    def _reason_to_start_anew(self, frame: Frame, small: np.ndarray) -> str:
        if self.last is None:
            return ''
        last, last_small = self.last
        if frame.rgb.shape != last.rgb.shape:
            return 'picture size changed'
        if frame.camera and last.camera and frame.camera != last.camera:
            return 'camera changed'
        if frame.stamp_ns < last.stamp_ns:
            return 'stamp went back'
        if frame.stamp_ns - last.stamp_ns > self.settings.alignment.gap_s * 1e9:
            return 'gap between stamps'
        with self._timed('motion'):
            return 'cut' if self.settings.alignment.cuts and is_cut(last_small, small) else ''

    def _infer(self, window: Window[Item]) -> list[DepthFrame]:
        with self._timed('infer'):
            prediction, self.state = self.family.infer(self.graphs, self._clip(window), self.state)
        with self._timed('resize back'):
            size = window.items[0].frame.rgb.shape[:2]
            maps = np.stack([self.family.enlarge(map, size) for map in prediction.maps])    # (T, H, W)
        with self._timed('stitch'):
            segment = self.stitcher.segment
            settled = self.stitcher.add(window.indices, window.fresh, maps)
            if self.stitcher.segment != segment:
                self.trajectory = Trajectory()
            T_world_cam = self._in_one_world(window, prediction.T_ref_cam)
        self.waiting.update((window.indices[slot], (window.items[slot], prediction, _at(T_world_cam, slot)))
                            for slot in window.fresh)
        return [self._finish(aligned) for aligned in settled]

    def _in_one_world(self, window: Window[Item], T_ref_cam: np.ndarray | None) -> np.ndarray | None:
        if T_ref_cam is None or self.family.carries_state:    # whose reference is the first frame of the segment
            return T_ref_cam
        return self.trajectory.add(window.indices, window.fresh, T_ref_cam, self.stitcher.fit.scale)

    def _clip(self, window: Window[Item]) -> Clip:
        frame, rgb = window.items[0].frame, np.stack([item.rgb for item in window.items])    # (T, h, w, 3)
        camera = frame.camera and resize_camera(frame.camera, *rgb.shape[1:3])
        return Clip(rgb, window.indices, camera)

    def _finish(self, aligned: Aligned) -> DepthFrame:
        item, prediction, T_world_cam = self.waiting.pop(aligned.index)
        map, fit, slot = aligned.map, aligned.fit, aligned.slot
        if self.lock:
            with self._timed('stitch'):
                map, fit = self.lock(map, item.small)
        map = np.where(np.isfinite(map), map, np.float32(np.nan))
        with self._timed('resize back'):
            confidence = prediction.confidence
            confidence = None if confidence is None else self.family.enlarge(confidence[slot], map.shape)
        with self._timed('anchor'):
            if aligned.segment != self.anchored_segment:
                self._unanchor(aligned.segment)
            depth_m, anchor = self.anchor(item.frame, map, self.settings.metric)
        with self._timed('pose'):
            T_metric_cam = self.way.add(item.frame, map, depth_m, T_world_cam)
        return DepthFrame(
            index=self.first + aligned.index, frame=item.frame, map=map, quantity=self.family.quantity, depth_m=depth_m,
            confidence=confidence, T_world_cam=T_world_cam, T_metric_cam=T_metric_cam,
            embedding=_at(prediction.embedding, slot),
            K=None if prediction.K is None else resize_K(prediction.K[slot], prediction.maps.shape[1:], map.shape),
            scale=fit.scale, shift=fit.shift, residual=fit.residual, held=fit.held, segment=aligned.segment,
            anchor=anchor)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


def _at(values: np.ndarray | None, slot: int) -> np.ndarray | None:
    return None if values is None else values[slot]
