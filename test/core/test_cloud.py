"""Clouds are where the depth says, without points that hang in the air."""

import numpy as np
import pytest

from depth_ros.core.camera import Camera
from depth_ros.core.cloud import drop_flying, make_cloud
from depth_ros.settings import CloudSettings

CAMERA = Camera(40, 60, 50, 50, 30, 20)
RGB = np.arange(40 * 60 * 3, dtype=np.uint32).reshape(40, 60, 3).astype(np.uint8)


def test_a_wall_two_metres_away_becomes_a_plane_at_z_two():
    xyz, rgb = make_cloud(np.full((40, 60), 2.0, np.float32), RGB, CAMERA, CloudSettings())
    assert np.all(xyz[..., 2] == 2) and np.array_equal(rgb, RGB)
    assert xyz[20, 30] == pytest.approx((0, 0, 2)) and xyz[10, 55] == pytest.approx((1.0, -0.4, 2))


def test_points_out_of_range_and_invalid_depth_are_holes():
    depth_m = np.full((40, 60), 5.0, np.float32)
    depth_m[0], depth_m[1], depth_m[2] = np.nan, 0.05, 30
    xyz, _ = make_cloud(depth_m, RGB, CAMERA, CloudSettings(edge_ratio=0.0))
    assert np.isnan(xyz[:3]).all() and np.isfinite(xyz[3:]).all()


def test_a_stride_takes_every_nth_pixel_with_its_own_ray():
    depth_m = np.full((40, 60), 2.0, np.float32)
    full, _ = make_cloud(depth_m, RGB, CAMERA, CloudSettings())
    thin, rgb = make_cloud(depth_m, RGB, CAMERA, CloudSettings(stride_px=4))
    assert np.array_equal(thin, full[::4, ::4]) and np.array_equal(rgb, RGB[::4, ::4])


def test_the_smeared_edge_between_a_box_and_the_wall_is_dropped_and_both_stay():
    depth_m = np.full((40, 60), 1.0, np.float32)
    depth_m[:, 30:] = 4.0
    depth_m[:, 28:32] = (1.5, 2.2, 2.9, 3.5)
    kept = np.isfinite(drop_flying(depth_m, 0.08))
    assert not kept[:, 28:32].any() and kept[:, :28].all() and kept[:, 32:].all()


def test_a_sharp_edge_and_a_slanted_floor_lose_nothing():
    sharp = np.where(np.arange(60) < 30, 1.0, 4.0).astype(np.float32) * np.ones((40, 1), np.float32)
    floor = np.linspace(1, 3, 60, dtype=np.float32) * np.ones((40, 1), np.float32)
    for depth_m in (sharp, floor):
        assert np.isfinite(drop_flying(depth_m, 0.08)).all()
