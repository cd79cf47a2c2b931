"""What goes in and what comes out: `Frame`, `DepthFrame`, and `Quantity`, the meaning of a map."""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from depth_ros.core.camera import Camera
from depth_ros.core.measurement import Measurement


class Quantity(Enum):
    """What the values of a map are. Affine: right up to one scale and one shift in the space named."""

    DEPTH_METRIC = 'depth_metric'            # Z, m
    DISPARITY_METRIC = 'disparity_metric'    # 1/Z, 1/m
    DISPARITY_AFFINE = 'disparity_affine'    # scale / Z + shift
    LOG_DEPTH_AFFINE = 'log_depth_affine'    # scale * log(1 + Z) + shift
    DEPTH_AFFINE = 'depth_affine'            # scale * Z + shift

    @property
    def is_metric(self) -> bool:
        return self in (Quantity.DEPTH_METRIC, Quantity.DISPARITY_METRIC)

    @property
    def grows_with_depth(self) -> bool:
        return self not in (Quantity.DISPARITY_METRIC, Quantity.DISPARITY_AFFINE)


@dataclass(frozen=True)
class Frame:
    """One picture as the camera gave it."""

    rgb: np.ndarray                 # (H, W, 3) uint8
    stamp_ns: int                   # of the exposure, never of "now"
    camera: Camera | None = None    # None: uncalibrated
    frame_id: str = ''              # optical frame: x right, y down, z forward
    measured: tuple[Measurement, ...] = ()    # what came since the frame before, oldest first


@dataclass(frozen=True)
class Clip:
    """What one inference sees: T frames at network size."""

    rgb: np.ndarray                  # (T, h, w, 3), uint8 or float32 in 0..1, as the family's `shrink` made it
    indices: tuple[int, ...]         # their positions in the segment: of a frame that comes again, work can be kept
    camera: Camera | None = None     # of these pictures at network size; None: uncalibrated


@dataclass(frozen=True)
class Anchor:
    """How the stream's scale hangs on metres. In the space of the map's quantity: metric value = scale * map + shift."""

    state: str = 'none'          # none (no source, or metres come without one), converging, locked, lost
    scale: float = 1.0
    shift: float = 0.0
    residual: float = 0.0        # median relative error of the depth of what was measured, at the last fix
    inliers: float = 0.0         # share of the points that agree with it
    points: int = 0              # that were used
    age_s: float = 0.0           # of the last fix, by the stamps
    uncertainty: float = 0.0     # standard deviation of the depth over the depth, from scale and shift alone
    reason: str = ''             # why it is not locked, or what is wrong with the newest measurement


@dataclass(frozen=True)
class DepthFrame:
    """The depth of one `Frame`: stamp, camera and frame_id are those of its picture."""

    index: int                               # position in the stream, from 0
    frame: Frame                             # the picture it belongs to (rectified, if that was asked for)
    map: np.ndarray                          # (H, W) float32 in the family's own space, NaN where invalid
    quantity: Quantity
    depth_m: np.ndarray | None = None        # (H, W) float32 metres along Z, NaN where invalid; only if metric
    confidence: np.ndarray | None = None     # (H, W) float32, 0..1
    T_world_cam: np.ndarray | None = None    # (4, 4) float64; world = first camera of the segment, stream's unit
    T_metric_cam: np.ndarray | None = None   # (4, 4) float64, m; world = camera where the metres began; only if metric
    embedding: np.ndarray | None = None      # (D,) float32
    K: np.ndarray | None = None              # (3, 3) float64 px, as the network sees it in the picture alone
    scale: float = 1.0                       # map = scale * network output + shift
    shift: float = 0.0
    residual: float = 0.0                    # relative misfit of the last fit, 0 = perfect
    held: bool = False                       # the last fit was refused, scale and shift are those before it
    segment: int = 0                         # increments where one scale ends (cut, reset)
    anchor: Anchor = Anchor()                # where the metres of `depth_m` come from, or why there are none

    @property
    def stamp_ns(self) -> int:
        return self.frame.stamp_ns

    @property
    def camera(self) -> Camera | None:
        return self.frame.camera

    @property
    def frame_id(self) -> str:
        return self.frame.frame_id
