"""The worker alone: what fails inside it stays inside it."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np

from depth_ros.core.frame import Anchor, DepthFrame, Frame, Quantity
from depth_ros.io.measured import Measurements
from depth_ros.ros.diagnostics import Statistics, WarnOnce
from depth_ros.ros.worker import Worker
from depth_ros.settings import MetricSettings, Settings
from test.ros.rig import HEIGHT, WIDTH, camera_info, grey_picture, image, wait


class PatientStream:
    """Keeps what it gets."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.settings, self.fill, self.seconds, self.resets = Settings(), 1.0, {}, Counter[str]()

    def push(self, frame: Frame) -> list[DepthFrame]:
        self.frames.append(frame)
        return []

    def reset(self) -> list[DepthFrame]:
        return []


class FailingStream:
    """Fails at every second picture."""

    def __init__(self) -> None:
        self.pushed, self.settings, self.fill, self.seconds, self.resets = 0, Settings(), 1.0, {}, Counter[str]()

    def push(self, frame: Frame) -> list[DepthFrame]:
        self.pushed += 1
        if self.pushed % 2:
            raise MemoryError(f'no {self.pushed} bytes left')
        return [DepthFrame(self.pushed, frame, frame.rgb[..., 0].astype('f4'), Quantity.DISPARITY_AFFINE)]

    def reset(self) -> list[DepthFrame]:
        self.resets['asked for'] += 1
        return []


def make_worker(stream: Any, out: list[DepthFrame], log: list[str], metric: MetricSettings) -> Worker:
    outputs: Any = SimpleNamespace(listeners=lambda: 1, publish=lambda depth, cloud: out.append(depth),
                                   node=SimpleNamespace(context=SimpleNamespace(ok=lambda: True)))
    engines: Any = SimpleNamespace(start=lambda: None, stop=lambda: None)
    return Worker(stream, engines, Measurements(metric), outputs, Statistics(), WarnOnce(log.append), Settings)


def test_a_failing_inference_costs_one_picture_and_a_new_segment() -> None:
    out: list[DepthFrame] = []
    log: list[str] = []
    stream = FailingStream()
    worker = make_worker(stream, out, log, MetricSettings())
    statistics = worker.statistics
    worker.start(exact=False)
    worker.on_camera_info(camera_info(0))
    for count in range(1, 5):
        worker.on_image(image(grey_picture(), count * 10**8))
        wait(lambda count=count: statistics.drops.total() + len(out) == count, 'the picture')
    worker.stop()
    assert [depth.stamp_ns for depth in out] == [2 * 10**8, 4 * 10**8]
    assert (statistics.drops, stream.resets) == ({'failed inference': 2}, {'asked for': 2})
    assert [text for text in log if 'failed' in text] == ['failed inference: MemoryError: no 1 bytes left']
    assert statistics.problem == '' and not worker.received_s    # the last one was fine, and nothing is left of the others


def test_what_was_measured_goes_with_the_next_picture_and_is_forgotten_when_a_segment_begins() -> None:
    stream, log = PatientStream(), list[str]()
    worker = make_worker(stream, [], log, MetricSettings(source='range'))
    worker.on_measured('range', 'before the node was active')
    worker.measurements.notes.append('what was assumed')
    worker.start(exact=False)
    for count, (stamp, reset) in enumerate(((10, False), (11, False), (5, False), (6, False), (7, True))):
        worker.reset_wanted = reset
        worker.on_measured('range', 'no message at all')
        worker.on_measured('range', image(np.ones((HEIGHT, WIDTH, 3), np.uint8), (stamp + 2) * 10**9))    # of the future
        worker.on_image(image(grey_picture(), stamp * 10**9))
        wait(lambda count=count: len(stream.frames) > count, 'the picture')
    worker.stop()
    assert [len(frame.measured) for frame in stream.frames] == [1, 1, 0, 1, 0]
    assert all(item.problem for frame in stream.frames for item in frame.measured)
    assert log == ['what was assumed']    # what is wrong with them is the anchor's to say


def test_metres_that_are_late_or_lost_are_said_once_in_the_log() -> None:
    out, log = list[DepthFrame](), list[str]()
    worker = make_worker(PatientStream(), out, log, MetricSettings())
    for state, age_s in (('converging', 1.0), ('locked', 9.0), ('converging', 3.0), ('lost', 1.0), ('lost', 2.0)):
        worker._publish([DepthFrame(0, Frame(grey_picture(), 0), np.ones((2, 2), np.float32), Quantity.DISPARITY_AFFINE,
                                    anchor=Anchor(state, age_s=age_s, reason='too few points'))], Settings())
    assert log == ['metres converging: too few points', 'metres lost: too few points'] and len(out) == 5
