"""Point clouds in messages and PLY files."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depth_ros.io.messages import MessageTypes

POINT_BYTES = 16    # x, y, z, rgb


def cloud_message(types: MessageTypes, header: Any, xyz: np.ndarray, rgb: np.ndarray, out: np.ndarray | None = None) -> Any:
    """Return the organised PointCloud2 of points (H, W, 3) float32, NaN where there is none, and colours uint8.

    `out` (H, W, 4) float32 takes the points; where the payload is a view, the message is good until `out` is used again.
    """
    height, width = xyz.shape[:2]
    return types.PointCloud2(
        header=header, height=height, width=width, fields=_fields(types), is_bigendian=False, point_step=POINT_BYTES,
        row_step=width * POINT_BYTES, data=types.payload(pack_points(xyz, rgb, out)), is_dense=False)


def pack_points(xyz: np.ndarray, rgb: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return (H, W, 4) float32: x, y, z and the colour as 0x00RRGGBB in the bits of a float."""
    colour = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA).view(np.uint32)[..., 0]    # 0xFFRRGGBB on a little-endian machine
    return cv2.merge((*cv2.split(xyz), (colour & 0x00FFFFFF).view(np.float32)), out)


def _fields(types: MessageTypes) -> list[Any]:
    return [types.PointField(name=name, offset=4 * index, datatype=7, count=1)    # 7: FLOAT32
            for index, name in enumerate(('x', 'y', 'z', 'rgb'))]


def write_ply(path: Path, xyz: np.ndarray, rgb: np.ndarray) -> int:
    """Write the finite points of (..., 3) float32 with colours uint8 as binary PLY and return how many there are."""
    finite = np.isfinite(xyz).all(axis=-1)
    points = np.empty(int(finite.sum()), [('xyz', '<f4', 3), ('rgb', 'u1', 3)])
    points['xyz'], points['rgb'] = xyz[finite], rgb[finite]
    lines = ['ply', 'format binary_little_endian 1.0', f'element vertex {len(points)}',
             *(f'property float {name}' for name in 'xyz'),
             *(f'property uchar {name}' for name in ('red', 'green', 'blue')), 'end_header', '']
    path.write_bytes('\n'.join(lines).encode() + points.tobytes())
    return len(points)
