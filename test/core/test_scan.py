"""A scan sees what a flat laser scanner in the camera's place would."""

import numpy as np
import pytest

from depth_ros.core.camera import Camera
from depth_ros.core.scan import make_scan
from depth_ros.settings import ScanSettings

CAMERA = Camera(480, 640, 320, 320, 319.5, 239.5)    # 90 degrees wide


def scan(depth_m, camera=CAMERA, **settings):
    depth_m = depth_m.astype(np.float32)
    first, step, ranges = make_scan(depth_m, camera, ScanSettings(**settings), 0.05)
    return np.degrees(first + step * np.arange(len(ranges))), ranges


def test_a_wall_two_metres_ahead_is_two_metres_over_the_cosine_away():
    angles, ranges = scan(np.full((480, 640), 2.0))
    assert angles[0] == pytest.approx(-44.75, abs=0.1) and angles[-1] == pytest.approx(44.75, abs=0.2)
    assert ranges == pytest.approx(2 / np.cos(np.radians(angles)), rel=0.01)


def test_what_is_on_the_left_has_positive_angles():
    depth_m = np.full((480, 640), 5.0)
    depth_m[:, :100] = 1.0
    angles, ranges = scan(depth_m)
    assert np.all(ranges[angles > 36] < 2) and np.all(ranges[angles < 30] > 4)


def test_the_nearest_point_of_the_band_counts_and_no_other_row():
    depth_m = np.full((480, 640), 5.0)
    depth_m[239, 320], depth_m[10] = 1.0, 1.0
    ranges = scan(depth_m, rows=0.1)[1]
    assert (ranges < 2).sum() == 1 and ranges.min() == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize('far, value', [('nan', np.nan), ('inf', np.inf), ('cap', 10.0)])
def test_a_ray_without_a_point_says_what_was_asked_for(far, value):
    for nothing in (np.inf, 50.0):
        assert np.array_equal(scan(np.full((480, 640), nothing), far=far)[1], np.full(180, value), equal_nan=True)
    assert np.isnan(scan(np.full((480, 640), np.nan), far=far)[1]).all()    # nothing is known


@pytest.mark.parametrize('far', ['nan', 'inf', 'cap'])
@pytest.mark.parametrize('behind', [5.0, np.inf])
@pytest.mark.parametrize('near', [0.05, -np.inf])
def test_what_is_too_near_is_not_free(near, behind, far):
    depth_m = np.full((480, 640), behind)
    depth_m[239, 320] = near
    assert np.isneginf(scan(depth_m, far=far)[1]).sum() == 1


def test_the_limits_themselves_are_ranges():
    camera = Camera(1, 1, 10, 10, 0, 0)
    for z in (0.5, 8.0):
        assert scan(np.full((1, 1), z), camera, min_range_m=0.5, max_range_m=8.0)[1].tolist() == [z]


def test_the_band_lies_about_the_optical_axis_and_inside_the_picture():
    for cy, seen in ((100.0, 100), (600.0, 479), (-50.0, 0)):
        depth_m = np.full((480, 640), 5.0)
        depth_m[seen] = 1.0
        ranges = scan(depth_m, Camera(480, 640, 320, 320, 319.5, cy), rows=0.01)[1]
        assert len(ranges) == 180 and np.all(ranges < 2)


def test_rows_beside_the_band_tell_what_flies_in_it():
    v = (np.arange(480) - 240) / 8
    depth_m = 1 / (1 + np.clip(v + 0.5, 0, 1) * (0.25 - 1))[:, None] * np.ones((1, 640))    # an edge along the band
    near, far = scan(depth_m, Camera(480, 640, 320, 320, 319.5, 235), rows=0.001)[1], scan(depth_m, rows=0.005, far='inf')[1]
    assert np.all(near < 1.5) and np.isnan(far).all()    # in the band is nothing but what flies, which is not free


def test_rays_between_which_the_picture_has_none_are_unknown():
    depth_m = np.full((1, 4), 2.0)
    depth_m[0, 1:3] = np.nan
    ranges = scan(depth_m, Camera(1, 4, 2, 2, 1.5, 0), far='inf')[1]
    assert np.isfinite(ranges[[0, -1]]).all() and np.isnan(ranges[1:-1]).all()


def test_a_flying_point_is_no_obstacle():
    share = np.clip((np.arange(640) - 320) / 8 + 0.5, 0, 1)
    depth_m = 1 / (1 + share * (0.25 - 1)) * np.ones((480, 1))
    ranges = scan(depth_m, bin_deg=0.2)[1]
    flat = ranges[np.isfinite(ranges)]
    assert not ((flat > 1.7) & (flat < 3.5)).any() and np.isnan(ranges).any()


def test_a_wide_lens_is_undone():
    for model, D in (('plumb_bob', (-0.2, 0.03, 0.0, 0.0)), ('equidistant', (0.0, 0.0, 0.0, 0.0))):
        camera = Camera(480, 640, 300, 300, 319.5, 239.5, model, D)
        angles, ranges = scan(np.full((480, 640), 2.0), camera)
        assert ranges == pytest.approx(2 / np.cos(np.radians(angles)), rel=0.02)


def test_a_small_picture_has_no_empty_rays():
    assert np.isfinite(scan(np.full((24, 32), 2.0), Camera(24, 32, 40, 40, 16, 12))[1]).all()


def test_one_row_is_enough():
    camera = Camera(1, 640, 320, 320, 319.5, 0)
    assert np.isfinite(scan(np.full((1, 640), 2.0), camera)[1]).all()
