"""What a sensor beside the camera would have measured, made from the truth of a data set."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from depth_ros.core.camera import rays
from depth_ros.core.measurement import Measurement
from depth_ros.evaluation.datasets import Sample
from depth_ros.settings import MetricSettings

OUTLIERS_M = (0.5, 10.0)    # where points that are wrong are found

Measure = Callable[[Sample], tuple[Measurement, ...]]


@dataclass(frozen=True)
class RangeSensor:
    """A sparse range sensor in the camera's place."""

    points: int = 200          # random pixels of true depth per measurement,
    outliers: float = 0.0      # the share of them that is anywhere in OUTLIERS_M
    rate_hz: float = 0.0       # 0: with every picture


def made(settings: MetricSettings, sensor: RangeSensor) -> Measure:
    """Return what gives the measurements of each picture in turn: those that the metric source of the settings needs.

    Odometry is the true pose. The same pictures are measured in the same way every time.
    """
    random, slots = np.random.default_rng(0), [-1]

    def measure(sample: Sample) -> tuple[Measurement, ...]:
        if settings.source == 'odometry' and sample.T_world_cam is not None:
            return (Measurement(sample.stamp_ns, T_odom_cam=sample.T_world_cam),)
        if settings.source != 'range' or sample.depth_m is None or sample.camera is None:
            return ()
        slot = int(sample.stamp_ns * sensor.rate_hz // 1e9)
        due, slots[0] = not sensor.rate_hz or slot != slots[0], slot
        return (Measurement(sample.stamp_ns, _points(sample, sensor, random)),) if due else ()

    return measure


def _points(sample: Sample, sensor: RangeSensor, random: np.random.Generator) -> np.ndarray:
    """Return (N, 3) float32 points [m] in the optical frame."""
    assert sample.depth_m is not None and sample.camera is not None
    known = np.argwhere(sample.depth_m > 0)
    pixels = known[random.choice(len(known), min(sensor.points, len(known)), replace=False)]
    depth_m = sample.depth_m[tuple(pixels.T)]
    wrong = slice(round(sensor.outliers * len(depth_m)))
    depth_m[wrong] = random.uniform(*OUTLIERS_M, len(depth_m[wrong]))
    xy = rays(sample.camera)[tuple(pixels.T)]
    return np.concatenate([xy * depth_m[:, None], depth_m[:, None]], axis=1)
