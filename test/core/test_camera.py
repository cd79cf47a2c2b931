"""Rays, rectification and resizing agree with what a camera does."""

import cv2
import numpy as np
import pytest

from depth_ros.core.camera import Camera, crop_camera, rays, rectified_camera, rectify, resize_camera, resize_K
from depth_ros.errors import InputError

PINHOLE = Camera(480, 640, 500, 510, 320, 240)
PLUMB_BOB = Camera(480, 640, 500, 510, 320, 240, 'plumb_bob', (-0.3, 0.12, 0.001, -0.002, 0.01))
RATIONAL = Camera(480, 640, 500, 510, 320, 240, 'rational_polynomial', (0.4, -0.2, 0.001, 0.0, 0.05, 0.7, -0.1, 0.02))
FISHEYE = Camera(480, 640, 300, 300, 320, 240, 'equidistant', (0.05, -0.01, 0.003, -0.001))
CAMERAS = [PINHOLE, PLUMB_BOB, RATIONAL, FISHEYE]


def project(camera, points):
    """Pixels of (N, 3) points as OpenCV projects them."""
    D, still = np.array(camera.D or (0.0,) * 4), np.zeros(3)
    if camera.distortion_model == 'equidistant':
        return cv2.fisheye.projectPoints(points[:, None], still, still, camera.K, D)[0][:, 0]
    return cv2.projectPoints(points, still, still, camera.K, D)[0][:, 0]


@pytest.mark.parametrize('camera', CAMERAS)
def test_a_point_on_the_ray_of_a_pixel_is_seen_at_that_pixel(camera):
    table = rays(camera)
    for u, v in [(320, 240), (100, 80), (600, 400), (5, 470)]:
        ray = np.append(table[v, u], 1.0).astype(np.float64)
        assert project(camera, 3 * ray[None]) == pytest.approx(np.array([[u, v]]), abs=0.05)


def test_the_ray_table_is_computed_once_and_cannot_be_spoilt():
    assert rays(PINHOLE) is rays(Camera(480, 640, 500, 510, 320, 240))
    with pytest.raises(ValueError, match='read-only'):
        rays(PINHOLE)[0, 0] = 0


def test_halving_a_picture_moves_the_centre_by_half_pixels():
    half = resize_camera(PINHOLE, 240, 320)
    assert (half.fx, half.fy, half.cx, half.cy) == (250, 255, 159.75, 119.75)
    assert rays(half)[60, 80] == pytest.approx(rays(PINHOLE)[120:122, 160:162].mean(axis=(0, 1)), abs=1e-6)


def test_a_region_keeps_the_rays_of_its_pixels():
    region = crop_camera(PINHOLE, 100, 50, 200, 300)
    assert np.array_equal(rays(region), rays(PINHOLE)[50:250, 100:400])


def test_straight_lines_are_straight_in_the_rectified_picture():
    camera = Camera(480, 640, 500, 500, 320, 240, 'plumb_bob', (-0.3, 0.1, 0.0, 0.0, 0.0), P=(450, 450, 320, 240))
    line = np.stack([np.linspace(-0.4, 0.4, 400), np.full(400, -0.25), np.ones(400)], axis=1)
    picture = np.zeros((480, 640, 3), np.uint8)
    for u, v in project(camera, line).round().astype(int):
        cv2.circle(picture, (int(u), int(v)), 2, (255, 255, 255), -1)
    straight, pinhole = rectify(picture, camera)
    v, u = np.nonzero(straight[..., 0] > 128)
    expected_v = 450 * -0.25 + 240
    assert pinhole == Camera(480, 640, 450, 450, 320, 240)
    assert np.abs(v - expected_v).max() <= 4 and u.max() - u.min() > 300


def test_the_rectified_camera_is_P_where_there_is_one_and_K_where_not():
    assert rectified_camera(PLUMB_BOB) == PINHOLE
    assert rectified_camera(Camera(480, 640, 500, 510, 320, 240, P=(400, 401, 300, 200))).cx == 300


@pytest.mark.parametrize(('arguments', 'word'), [
    ((480, 640, float('nan'), 500, 320, 240), 'finite'),
    ((480, 640, 0.0, 500, 320, 240), 'positive focal'),
    ((480, 640, 500, 500, 320, 240, 'barrel', (0.1,)), 'barrel'),
    ((480, 640, 500, 500, 320, 240, 'plumb_bob', (0.1, 0.2)), 'got 2'),
])
def test_a_camera_that_cannot_be_is_refused_with_the_reason(arguments, word):
    with pytest.raises(InputError, match=word):
        Camera(*arguments)


def test_intrinsics_are_resized_as_their_camera_is():
    assert np.allclose(resize_K(PINHOLE.K, (480, 640), (96, 160)), resize_camera(PINHOLE, 96, 160).K)
