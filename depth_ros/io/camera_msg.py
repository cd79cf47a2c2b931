"""Calibration: `Camera` from camera_info, a file or four numbers, and camera_info from `Camera`."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from depth_ros.core.camera import COEFFICIENTS, IDENTITY, Camera, crop_camera, resize_camera
from depth_ros.errors import InputError
from depth_ros.io.messages import MessageTypes
from depth_ros.settings import CameraSettings


def camera_from_info(info: Any, height: int, width: int, model: str = 'rectified') -> Camera | None:
    """Return the camera of a picture of `height` x `width`, or None if camera_info says "uncalibrated" (K[0] == 0).

    `model` is the setting camera.model: `rectified` takes P and no distortion, `raw` and `rectify` keep K, D, R, P.
    Raises InputError if the numbers are unusable or do not belong to a picture of this size.
    """
    K, D, R, P = (_numbers(info, name) for name in 'KDRP')
    if K[0] == 0:
        return None
    if not np.isfinite([*K, *D, *R, *P]).all():
        raise InputError('camera_info has numbers that are not finite; calibrate the camera')
    roi = info.roi
    crop_h, crop_w = roi.height or info.height - roi.y_offset, roi.width or info.width - roi.x_offset
    bin_y, bin_x = max(1, info.binning_y), max(1, info.binning_x)
    if (crop_h // bin_y, crop_w // bin_x) != (height, width):
        raise InputError(f'camera_info is for pictures of {crop_w // bin_x}x{crop_h // bin_y} pixels, the picture has '
                         f'{width}x{height}; use the calibration of this size')
    camera = _full_camera(info, K, D, R, P, model)
    if (roi.x_offset, roi.y_offset, crop_h, crop_w) != (0, 0, info.height, info.width):
        camera = crop_camera(camera, roi.x_offset, roi.y_offset, crop_h, crop_w)
    return camera if (crop_h, crop_w) == (height, width) else resize_camera(camera, height, width)


def _full_camera(info: Any, K: list[float], D: list[float], R: list[float], P: list[float], model: str) -> Camera:
    """Return the camera of the whole sensor."""
    focal = (K[0], K[4], K[2], K[5])
    projection = (P[0], P[5], P[2], P[6]) if any(P) else None
    if model == 'rectified':
        if projection is None and any(D):
            raise InputError('camera_info has distortion but no projection matrix P, so the picture is not rectified; '
                             'set camera.model to raw or rectify')
        return Camera(info.height, info.width, *(projection or focal))
    distortion = {'distortion_model': info.distortion_model, 'D': tuple(D)} if any(D) else {}
    return Camera(info.height, info.width, *focal, **distortion, R=tuple(R) if any(R) else IDENTITY, P=projection)


def has_distortion(info: Any) -> bool:
    """Return whether camera_info tells of a lens that bends straight lines."""
    return any(_numbers(info, 'D'))


def _numbers(info: Any, name: str) -> list[float]:
    """Return a matrix of camera_info, lower case in ROS 2, upper case in ROS 1."""
    values = getattr(info, name.lower()) if hasattr(info, name.lower()) else getattr(info, name)
    return [float(value) for value in values]


def camera_info_message(types: MessageTypes, header: Any, camera: Camera) -> Any:
    """Return the CameraInfo of pictures taken by `camera`."""
    fx, fy, cx, cy = camera.P or (camera.fx, camera.fy, camera.cx, camera.cy)
    model = camera.distortion_model or 'plumb_bob'
    region = types.RegionOfInterest(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return types.CameraInfo(
        header=header, height=camera.height, width=camera.width, distortion_model=model,
        d=types.floats(camera.D or (0.0,) * COEFFICIENTS[model][-1]),
        k=types.floats([camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0]),
        r=types.floats(camera.R),
        p=types.floats([fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]),
        binning_x=0, binning_y=0, roi=region)


def camera_from_settings(settings: CameraSettings, height: int, width: int) -> Camera | None:
    """Return the camera that the settings state for pictures of `height` x `width`, or None if they state none."""
    if settings.fx_fy_cx_cy:
        return Camera(height, width, *parse_intrinsics(settings.fx_fy_cx_cy))
    if settings.file:
        camera = camera_from_info(read_calibration(settings.file), height, width, settings.model)
        if camera is None:
            raise InputError(f'{settings.file} says that the camera is not calibrated (fx = 0); calibrate it')
        return camera
    return None


def parse_intrinsics(text: str) -> tuple[float, float, float, float]:
    """Return (fx, fy, cx, cy) in pixels of the text "fx,fy,cx,cy"."""
    try:
        fx, fy, cx, cy = (float(part) for part in text.split(','))
    except ValueError:
        raise InputError(f'camera {text!r}: expected four numbers fx,fy,cx,cy in pixels') from None
    return fx, fy, cx, cy


def read_calibration(path: str | Path) -> Any:
    """Return the fields of camera_info in a calibration YAML as camera_calibration writes it."""
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding='utf8'))
        size = {name: int(content[f'image_{name}']) for name in ('height', 'width')}
        K, D, R, P = (np.array(content[key]['data'], float).tolist() if key in content else [0.0] * size_of
                      for key, size_of in (('camera_matrix', 9), ('distortion_coefficients', 0),
                                           ('rectification_matrix', 9), ('projection_matrix', 12)))
        if (len(K), len(R), len(P)) != (9, 9, 12):
            raise ValueError(f'matrices of {len(K)}, {len(R)}, {len(P)} numbers, expected 9, 9, 12')
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        reason = ' '.join(str(error).split())
        raise InputError(f'{path} is no calibration YAML as camera_calibration writes it ({reason})') from error
    whole = SimpleNamespace(x_offset=0, y_offset=0, height=0, width=0)
    return SimpleNamespace(**size, k=K, d=D, r=R, p=P, distortion_model=content.get('distortion_model', 'plumb_bob'),
                           binning_x=0, binning_y=0, roi=whole)
