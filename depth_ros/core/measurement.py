"""What is measured in metres beside the pictures, and what it says about a map: `Measurement`, `Correspondences`."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Measurement:
    """One measurement of something that has metres, seen from the camera's optical frame at about `stamp_ns`."""

    stamp_ns: int
    points_m: np.ndarray | None = None      # (N, 3) float32: where a beam or a depth sensor met a surface
    T_odom_cam: np.ndarray | None = None    # (4, 4) float64, m: pose of the camera in a frame that does not jump
    down: np.ndarray | None = None          # (3,) float64, unit: where gravity pulls
    problem: str = ''                       # why there is nothing to use, with the remedy


def _nothing() -> np.ndarray:
    return np.empty(0)


@dataclass(frozen=True)
class Correspondences:
    """Places of one frame whose distance is known: the one thing that every metric source yields."""

    stamp_ns: int                                                    # of the frame that they belong to
    value: np.ndarray = field(default_factory=_nothing)              # (N,) float64 of the map, on the stream's scale
    inverse_depth: np.ndarray = field(default_factory=_nothing)      # (N,) float64, 1/m along Z
    weight: np.ndarray = field(default_factory=_nothing)             # (N,) float64, how much each counts; 1 is usual
    problem: str = ''                                                # why there are none, with the remedy
