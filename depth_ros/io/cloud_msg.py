"""Point clouds in messages and PLY files, and flat scans."""

from pathlib import Path
from typing import Any

import numpy as np

from depth_ros.core.cloud import unpack_colour
from depth_ros.io.messages import MessageTypes
from depth_ros.settings import ScanSettings

POINT_BYTES = 16    # x, y, z and one more
OPTICAL = ('_optical_frame', '_optical')    # endings of frames with z forward


def cloud_message(types: MessageTypes, header: Any, points: np.ndarray, field: str = 'rgb') -> Any:
    """Return the PointCloud2 of points as `make_cloud` gives them: (H, W, 4) float32, NaN where there is none, or (N, 4).

    Where the payload is a view, the message is good until `points` is used again.
    """
    height, width = points.shape[:2] if points.ndim == 3 else (1, len(points))
    fields = [types.PointField(name=name, offset=4 * index, datatype=7, count=1)    # 7: FLOAT32
              for index, name in enumerate(('x', 'y', 'z', field))]
    return types.PointCloud2(
        header=header, height=height, width=width, fields=fields, is_bigendian=False, point_step=POINT_BYTES,
        row_step=width * POINT_BYTES, data=types.payload(points), is_dense=points.ndim == 2)


def scan_message(types: MessageTypes, header: Any, first_rad: float, step_rad: float, ranges: np.ndarray,
                 settings: ScanSettings) -> Any:
    """Return the LaserScan of ranges (N) float32 m. Its frame has x forward and y left, so it is not the optical one."""
    header.frame_id = settings.frame_id or scan_frame(header.frame_id)
    none, values = types.floats([]), types.floats(ranges.tolist())
    if isinstance(values, np.ndarray):    # of a bag, which wants the very type
        none, values = none.astype(np.float32), values.astype(np.float32)
    return types.LaserScan(
        header=header, angle_min=first_rad, angle_max=first_rad + step_rad * max(0, len(ranges) - 1),
        angle_increment=step_rad, time_increment=0.0, scan_time=0.0, range_min=settings.min_range_m,
        range_max=settings.max_range_m, ranges=values, intensities=none)


def scan_frame(optical: str) -> str:
    """Return what the frame of the camera's body is called: the optical one without its ending."""
    for ending in OPTICAL:
        if optical.endswith(ending):
            return optical[:-len(ending)]
    return optical


def write_ply(path: Path, cloud: np.ndarray) -> int:
    """Write the finite points of a cloud with colours, (..., 4) float32, as binary PLY and return how many there are."""
    finite = cloud[np.isfinite(cloud[..., :3]).all(axis=-1)]
    points = np.empty(len(finite), [('xyz', '<f4', 3), ('rgb', 'u1', 3)])
    points['xyz'], points['rgb'] = finite[:, :3], unpack_colour(finite)
    lines = ['ply', 'format binary_little_endian 1.0', f'element vertex {len(points)}',
             *(f'property float {name}' for name in 'xyz'),
             *(f'property uchar {name}' for name in ('red', 'green', 'blue')), 'end_header', '']
    path.write_bytes('\n'.join(lines).encode() + points.tobytes())
    return len(points)
