"""Camera geometry: intrinsics, distortion, viewing rays, rectification, resizing.

Pixel centres are integers, the centre of the top left pixel is (0, 0), as in ROS and OpenCV.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from depth_ros.errors import InputError

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
COEFFICIENTS = {'plumb_bob': (4, 5), 'rational_polynomial': (8, 12, 14), 'equidistant': (4,)}


@dataclass(frozen=True)
class Camera:
    """Intrinsics of a picture in its own pixels. Hashable, so that what derives from it can be cached."""

    height: int
    width: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion_model: str = ''              # '' (none), plumb_bob, rational_polynomial or equidistant
    D: tuple[float, ...] = ()               # coefficients in OpenCV's order
    R: tuple[float, ...] = IDENTITY         # rectifying rotation, row by row
    P: tuple[float, float, float, float] | None = None    # fx, fy, cx, cy of the rectified picture

    def __post_init__(self) -> None:
        numbers = (self.fx, self.fy, self.cx, self.cy, *self.D, *self.R, *(self.P or ()))
        if not np.all(np.isfinite(numbers)) or self.fx <= 0 or self.fy <= 0:
            raise InputError(f'camera needs finite intrinsics and positive focal lengths, got fx={self.fx} fy={self.fy} '
                             f'cx={self.cx} cy={self.cy} D={list(self.D)}; calibrate the camera')
        if self.P is not None and min(self.P[:2]) <= 0:
            raise InputError(f'camera has no usable projection matrix P (focal lengths {self.P[0]}, {self.P[1]}); '
                             'calibrate the camera or declare the picture raw')
        if self.D and self.distortion_model not in COEFFICIENTS:
            raise InputError(f'unknown distortion model {self.distortion_model!r}; known: {", ".join(COEFFICIENTS)}')
        if self.D and len(self.D) not in COEFFICIENTS[self.distortion_model]:
            raise InputError(f'{self.distortion_model} takes {COEFFICIENTS[self.distortion_model]} coefficients, '
                             f'got {len(self.D)}')

    @property
    def K(self) -> np.ndarray:
        """The (3, 3) intrinsic matrix, px."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])

    @property
    def is_distorted(self) -> bool:
        return any(self.D)


def rectified_camera(camera: Camera) -> Camera:
    """Return the pinhole camera of the rectified picture: P where it is given, else K."""
    fx, fy, cx, cy = camera.P or (camera.fx, camera.fy, camera.cx, camera.cy)
    return Camera(camera.height, camera.width, fx, fy, cx, cy)


def resize_camera(camera: Camera, height: int, width: int) -> Camera:
    """Return the camera of the same view in `height` x `width` pixels; distortion does not depend on the size."""
    sy, sx = height / camera.height, width / camera.width

    def scaled(fx: float, fy: float, cx: float, cy: float) -> tuple[float, float, float, float]:
        return fx * sx, fy * sy, (cx + 0.5) * sx - 0.5, (cy + 0.5) * sy - 0.5

    fx, fy, cx, cy = scaled(camera.fx, camera.fy, camera.cx, camera.cy)
    P = scaled(*camera.P) if camera.P else None
    return replace(camera, height=height, width=width, fx=fx, fy=fy, cx=cx, cy=cy, P=P)


def resize_K(K: np.ndarray, size: tuple[int, int], new_size: tuple[int, int]) -> np.ndarray:
    """Return the intrinsics (3, 3) px of the same view when (h, w) pixels become (H, W); pixel centres are integers."""
    (h, w), (height, width) = size, new_size
    sx, sy = width / w, height / h
    scaling = np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5], [0, 0, 1.0]])
    return scaling @ K


def crop_camera(camera: Camera, x: int, y: int, height: int, width: int) -> Camera:
    """Return the camera of the region that starts at pixel (x, y)."""
    P = (camera.P[0], camera.P[1], camera.P[2] - x, camera.P[3] - y) if camera.P else None
    return replace(camera, height=height, width=width, cx=camera.cx - x, cy=camera.cy - y, P=P)


@lru_cache(maxsize=8)
def rays(camera: Camera) -> np.ndarray:
    """Return (H, W, 2) float32: x/z and y/z of the viewing ray through every pixel, distortion undone.

    Pixels beyond the reach of the distortion model are NaN.
    """
    u, v = np.meshgrid(np.arange(camera.width, dtype=np.float64), np.arange(camera.height, dtype=np.float64))
    if camera.is_distorted:
        pixels = np.stack([u, v], axis=-1).reshape(-1, 1, 2)
        D = np.array(camera.D)
        if camera.distortion_model == 'equidistant':
            xy = cv2.fisheye.undistortPoints(pixels, camera.K, D)
        else:
            xy = _undistort(pixels, camera.K, D)
        xy = xy.reshape(camera.height, camera.width, 2)
        xy[np.abs(xy).max(axis=-1) > 1e4] = np.nan    # OpenCV's mark for "behind the camera"
    else:
        xy = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy], axis=-1)
    table = xy.astype(np.float32)
    table.flags.writeable = False
    return table


def project(points_m: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels u, v (M, 2) float64 and depth (M,) float64 m of those of the points (N, 3) that lie in the picture.

    Points farther from the axis than any ray of the picture are left out before the lens model can fold them into it.
    """
    points = np.asarray(points_m, np.float64)
    points = points[np.isfinite(points).all(axis=1) & (points[:, 2] > 0)]
    xy = points[:, :2] / points[:, 2:]
    if camera.is_distorted:
        widest = np.nanmax(np.abs(rays(camera)), axis=(0, 1))
        inside = (np.abs(xy) <= widest).all(axis=1)
        points, xy = points[inside], xy[inside]
    uv = to_pixels(xy, camera)
    inside = ((uv > -0.5) & (uv < (camera.width - 0.5, camera.height - 0.5))).all(axis=1)
    return uv[inside], points[inside, 2]


def to_pixels(xy: np.ndarray, camera: Camera) -> np.ndarray:
    """Return the pixels u, v (N, 2) float64 of directions x/z, y/z (N, 2) through the lens, in the picture or not."""
    if not camera.is_distorted or not len(xy):
        return xy * np.array([camera.fx, camera.fy]) + (camera.cx, camera.cy)
    ahead = np.concatenate([xy, np.ones((len(xy), 1))], axis=1)[:, None]
    lens = cv2.fisheye if camera.distortion_model == 'equidistant' else cv2
    return lens.projectPoints(ahead, np.zeros(3), np.zeros(3), camera.K, np.array(camera.D))[0].reshape(-1, 2)


def _undistort(pixels: np.ndarray, K: np.ndarray, D: np.ndarray) -> np.ndarray:
    # OpenCV's default of 5 iterations misses by half a pixel at the rim of a wide lens
    exact = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-6)
    if hasattr(cv2, 'undistortPointsIter'):    # before OpenCV 5
        return cv2.undistortPointsIter(pixels, K, D, None, None, exact)
    return cv2.undistortPoints(pixels, K, D, criteria=exact)


@lru_cache(maxsize=8)
def rectify_maps(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Return the two (H, W) float32 maps for `cv2.remap` that turn the raw picture into the rectified one."""
    R, K_new = np.array(camera.R).reshape(3, 3), rectified_camera(camera).K
    size, D = (camera.width, camera.height), np.array(camera.D or (0.0,) * 4)
    undistort = cv2.fisheye if camera.distortion_model == 'equidistant' else cv2
    return undistort.initUndistortRectifyMap(camera.K, D, R, K_new, size, cv2.CV_32FC1)


def rectify(rgb: np.ndarray, camera: Camera) -> tuple[np.ndarray, Camera]:
    """Return the rectified picture (H, W, 3) and its pinhole camera."""
    u, v = rectify_maps(camera)
    return cv2.remap(rgb, u, v, cv2.INTER_LINEAR), rectified_camera(camera)
