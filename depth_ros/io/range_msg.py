"""Points of range sensors: PointCloud2 in any layout, and depth images."""

from typing import Any

import numpy as np

from depth_ros.core.camera import Camera, rays
from depth_ros.errors import InputError
from depth_ros.io.image_msg import Layout, stored_pixels

FLOATS = {7: 'f4', 8: 'f8'}                                              # PointField.FLOAT32, FLOAT64
DEPTHS = {'16UC1': (np.uint16, 1e-3), '32FC1': (np.float32, 1.0), '64FC1': (np.float64, 1.0)}    # type, metres per unit
NO_DEPTH = 65535    # 16UC1: besides 0, some sensors mark holes with it
MOST = 20_000       # points of one measurement


def cloud_points(msg: Any, near_m: float, far_m: float) -> np.ndarray:
    """Return the points (N, 3) float32 m of a PointCloud2 that are finite and between two distances from the sensor.

    Raises InputError if there are none, or if fields, steps and data do not fit together.
    """
    fields = {item.name: item for item in msg.fields}
    missing = [name for name in 'xyz' if name not in fields]
    if missing:
        raise InputError(f'the cloud has no field {", ".join(missing)} (its fields: {", ".join(fields) or "none"}); '
                         'choose the topic with points')
    kinds = [fields[name].datatype for name in 'xyz']
    if not set(kinds) <= set(FLOATS):
        raise InputError(f'the fields x, y, z of the cloud have the datatypes {kinds}; expected 7 (FLOAT32) or 8 (FLOAT64)')
    order = '>' if msg.is_bigendian else '<'
    formats, offsets = [order + FLOATS[kind] for kind in kinds], [fields[name].offset for name in 'xyz']
    end = max(offset + np.dtype(kind).itemsize for offset, kind in zip(offsets, formats, strict=True))
    count = msg.height * msg.width
    if not count:
        raise InputError('the cloud is empty; check that the sensor sees anything')
    data = np.frombuffer(msg.data, np.uint8)
    row_step = msg.row_step if msg.height > 1 else msg.width * msg.point_step
    needed = (msg.height - 1) * row_step + (msg.width - 1) * msg.point_step + end
    if end > msg.point_step or msg.width * msg.point_step > row_step or data.size < needed:
        raise InputError(f'the cloud of {msg.width}x{msg.height} points has {data.size} bytes, point_step {msg.point_step} '
                         f'and row_step {msg.row_step}, which do not fit its fields; correct its driver')
    layout = np.dtype({'names': list('xyz'), 'formats': formats, 'offsets': offsets, 'itemsize': end})
    stored = np.ndarray((msg.height, msg.width), layout, data, strides=(row_step, msg.point_step))
    x, y, z = (stored[name].ravel().astype(np.float32) for name in 'xyz')
    with np.errstate(invalid='ignore', over='ignore'):
        kept = _between(np.sqrt(x * x + y * y + z * z), near_m, far_m, 'the cloud', 'points')
    return np.stack([x[kept], y[kept], z[kept]], axis=1)


def depth_points(msg: Any, camera: Camera, near_m: float, far_m: float) -> np.ndarray:
    """Return (N, 3) float32 m of the pixels of a depth image between two depths, in the frame of its `camera`.

    N is at most 20 000. Raises InputError if there are none or the image cannot be read.
    """
    dtype, unit = DEPTHS[msg.encoding]
    stored = stored_pixels(msg, Layout(dtype=dtype))[..., 0]
    depth = stored.astype(np.float32).ravel()
    if dtype is np.uint16:
        depth[depth == NO_DEPTH] = 0
    if unit != 1:
        depth *= np.float32(unit)
    kept = thin(_between(depth, near_m, far_m, 'the depth image', 'pixels'))
    z, table = depth[kept], rays(camera).reshape(-1, 2)
    points = np.stack([table[kept, 0] * z, table[kept, 1] * z, z], axis=1)
    return points[np.isfinite(points[:, 0])]    # there are pixels that no ray of the lens meets


def check_encoding(msg: Any) -> None:
    """Raise InputError if an image holds no depth."""
    if msg.encoding not in DEPTHS:
        known = 'mono16 does not say its unit' if msg.encoding == 'mono16' else 'that is no depth'
        raise InputError(f'the range image has the encoding {msg.encoding!r}, {known}; publish depth as 16UC1 (mm) or '
                         '32FC1 (m)')


def thin(indices: np.ndarray) -> np.ndarray:
    """Return at most 20 000 of (N) indices, evenly over their order; the same ones every time."""
    return indices if len(indices) <= MOST else indices[np.arange(MOST) * len(indices) // MOST]


def _between(distance: np.ndarray, near_m: float, far_m: float, name: str, what: str) -> np.ndarray:
    """Return the indices of those distances (N) m that are within the limits. Raises InputError if none is."""
    kept = np.flatnonzero((distance >= max(near_m, 1e-6)) & (distance <= far_m))    # NaN is neither
    if not len(kept):
        there = distance[(distance > 0) & np.isfinite(distance)]
        if not len(there):
            raise InputError(f'{name} has {len(distance)} {what} and not one valid distance; check that the sensor sees '
                             'anything')
        raise InputError(f'{name} has distances of {there.min():.3g} to {there.max():.3g} m, none between '
                         f'metric.range_min_m={near_m:g} and metric.range_max_m={far_m:g}')
    return kept
