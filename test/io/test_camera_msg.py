from types import SimpleNamespace

import numpy as np
import pytest

from depth_ros.core.camera import Camera
from depth_ros.errors import InputError
from depth_ros.io.camera_msg import camera_from_info, camera_from_settings, camera_info_message, parse_intrinsics
from depth_ros.io.messages import recorded_types
from depth_ros.settings import CameraSettings

RAW = Camera(480, 640, 500.0, 510.0, 320.0, 240.0, 'plumb_bob', (0.1, -0.2, 0.001, 0.002, 0.0),
             P=(490.0, 495.0, 318.0, 238.0))


def info(camera=RAW, **changes):
    msg = camera_info_message(recorded_types(), None, camera)
    for name, value in changes.items():
        setattr(msg, name, value)
    return msg


def region(x, y, height, width):
    return SimpleNamespace(x_offset=x, y_offset=y, height=height, width=width)


def test_a_camera_comes_back_from_its_own_camera_info():
    assert camera_from_info(info(), 480, 640, 'raw') == RAW
    fisheye = Camera(480, 640, 300.0, 300.0, 320.0, 240.0, 'equidistant', (0.1, 0.2, 0.3, 0.4))
    back = camera_from_info(info(fisheye), 480, 640, 'rectify')
    assert back.D == fisheye.D and back.distortion_model == 'equidistant' and back.P == (300.0, 300.0, 320.0, 240.0)


def test_a_rectified_picture_follows_p_and_has_no_distortion():
    assert camera_from_info(info(), 480, 640) == Camera(480, 640, 490.0, 495.0, 318.0, 238.0)


def test_a_pinhole_camera_writes_k_and_p_alike():
    msg = info(Camera(48, 64, 50.0, 51.0, 32.0, 24.0))
    assert msg.k.reshape(3, 3).tolist() == [[50, 0, 32], [0, 51, 24], [0, 0, 1]]
    assert msg.p.reshape(3, 4).tolist() == [[50, 0, 32, 0], [0, 51, 24, 0], [0, 0, 1, 0]]
    assert msg.d.tolist() == [0] * 5 and msg.r.reshape(3, 3).tolist() == np.eye(3).tolist()


def test_capital_names_of_ros_1_are_read_too():
    msg = info()
    old = SimpleNamespace(height=480, width=640, K=msg.k, D=msg.d, R=msg.r, P=msg.p, distortion_model='plumb_bob',
                          binning_x=0, binning_y=0, roi=region(0, 0, 0, 0))
    assert camera_from_info(old, 480, 640, 'raw') == RAW


def test_k_of_zero_means_uncalibrated():
    assert camera_from_info(info(k=np.zeros(9)), 480, 640) is None


def test_without_p_the_matrix_k_serves_if_there_is_no_distortion():
    camera = camera_from_info(info(p=np.zeros(12), d=np.zeros(5)), 480, 640)
    assert camera == Camera(480, 640, 500.0, 510.0, 320.0, 240.0)
    with pytest.raises(InputError, match='no projection matrix P.*raw or rectify'):
        camera_from_info(info(p=np.zeros(12)), 480, 640)


def test_a_region_of_interest_moves_the_centre():
    camera = camera_from_info(info(roi=region(100, 50, 240, 320)), 240, 320)
    assert (camera.height, camera.width, camera.fx, camera.cx, camera.cy) == (240, 320, 490.0, 218.0, 188.0)


def test_binning_halves_the_picture_and_its_matrix():
    camera = camera_from_info(info(binning_x=2, binning_y=2), 240, 320)
    assert (camera.fx, camera.cx) == (245.0, (318.0 + 0.5) / 2 - 0.5)
    assert camera_from_info(info(binning_x=2, binning_y=2, roi=region(100, 50, 240, 320)), 120, 160).fy == 247.5


@pytest.mark.parametrize(('changes', 'words'), [
    ({'height': 240, 'width': 320}, '320x240 pixels, the picture has 640x480'),
    ({'binning_x': 2}, '320x480 pixels, the picture has 640x480'),
    ({'k': np.full(9, np.nan)}, 'not finite'),
    ({'p': np.full(12, np.nan)}, 'not finite'),
])
def test_camera_info_that_cannot_be_true_is_refused(changes, words):
    with pytest.raises(InputError, match=words):
        camera_from_info(info(**changes), 480, 640)


def test_an_unknown_distortion_model_is_refused_where_it_matters():
    assert camera_from_info(info(distortion_model='mirror ball'), 480, 640)
    with pytest.raises(InputError, match="unknown distortion model 'mirror ball'; known: plumb_bob"):
        camera_from_info(info(distortion_model='mirror ball'), 480, 640, 'raw')


def test_four_numbers_are_a_camera():
    assert camera_from_settings(CameraSettings(fx_fy_cx_cy='500,510,320,240'), 480, 640).fy == 510
    assert camera_from_settings(CameraSettings(), 480, 640) is None
    for text in ('500,510,320', '1,2,3,x', ''):
        with pytest.raises(InputError, match='four numbers'):
            parse_intrinsics(text)


CALIBRATION = """
image_width: 640
image_height: 480
camera_name: head
camera_matrix: {rows: 3, cols: 3, data: [500.0, 0.0, 320.0, 0.0, 510.0, 240.0, 0.0, 0.0, 1.0]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0.1, -0.2, 0.001, 0.002, 0.0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [490, 0, 318, 0, 0, 495, 238, 0, 0, 0, 1, 0]}
"""


def test_a_calibration_file_is_a_camera(tmp_path):
    file = tmp_path / 'head.yaml'
    file.write_text(CALIBRATION)
    assert camera_from_settings(CameraSettings(model='raw', file=str(file)), 480, 640) == RAW
    with pytest.raises(InputError, match='640x480 pixels, the picture has 320x240'):
        camera_from_settings(CameraSettings(file=str(file)), 240, 320)


@pytest.mark.parametrize('content', ['', 'a: b', 'image_width: 640', CALIBRATION.replace('510.0, ', ''), '{', '\0'])
def test_a_file_that_is_no_calibration_is_refused(tmp_path, content):
    (tmp_path / 'head.yaml').write_text(content)
    with pytest.raises(InputError, match='no calibration YAML'):
        camera_from_settings(CameraSettings(file=str(tmp_path / 'head.yaml')), 480, 640)


def test_a_calibration_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match='No such file'):
        camera_from_settings(CameraSettings(file=str(tmp_path / 'none.yaml')), 480, 640)
